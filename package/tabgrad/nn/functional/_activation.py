"""Activations and softmaxes, as compositions of Tensor methods."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from ...autograd import is_grad_enabled
from ...functions.elementwise import Rule, limited, recorded, unary
from ...functions.elementwise import softplus as softplus
from ...functions.reduction import label
from ...tensor import Tensor


def _result(f: Callable[[Tensor], Tensor], x: Tensor, inplace: bool) -> Tensor:
    """``f(x)``, written over ``x`` if asked for."""
    return x.copy_(f(x.clone())) if inplace else f(x)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0)

    Examples::

        >>> F.relu(torch.tensor([-1.0, 0.0, 2.0]))
        tensor([0., 0., 2.])
    """
    return input.relu_() if inplace else input.relu()


def relu_(input: Tensor) -> Tensor:
    """As :func:`relu`, in place."""
    return input.relu_()


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """x limited to [min_val, max_val]"""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")

    def f(x: Tensor) -> Tensor:
        y = limited(x, min_val, max_val)
        if not (x.requires_grad and is_grad_enabled()):
            return y

        def grad(g: Tensor, out: Tensor) -> Tensor:  # on the limits themselves it is zero
            return g.where((out != min_val) & (out != max_val), 0.0)

        return recorded(y, x, "HardtanhBackward0", Rule("hardtanh", grad))

    return _result(f, input, inplace)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6)"""
    return hardtanh(input, 0.0, 6.0, inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where positive, negative_slope · x elsewhere"""
    return _result(lambda x: x.where(x > 0, x * negative_slope), input, inplace)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where positive, weight · x elsewhere; one weight, or one for each channel"""
    if weight.numel() != 1:
        if input.ndim == 0:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = input.shape[1] if input.ndim > 1 else 1
        if weight.numel() != channels:
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{weight.numel()} and channel size = {channels}."
            )
    if input.ndim > 1:
        weight = weight.reshape(1, -1, *(1 for _ in range(input.ndim - 2)))
    elif input.ndim == 0:
        weight = weight.reshape(())
    return input.where(input > 0, input * weight)


def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """Leaky ReLU whose slope is drawn anew for each element while training"""
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    slope = input.detach().clone().uniform_(lower, upper)
    return _result(lambda x: x.where(x > 0, x * slope), input, inplace)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where positive, α · (exp(x) − 1) elsewhere"""
    return _result(lambda x: x.where(x > 0, x.clamp(max=0).expm1() * alpha), input, inplace)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """scale · elu(x, α), with the constants that keep mean 0 and variance 1"""
    alpha, scale = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
    return _result(lambda x: elu(x, alpha) * scale, input, inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where positive, α · (exp(x / α) − 1) elsewhere"""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")

    def f(x: Tensor) -> Tensor:
        return x.where(x > 0, (x.clamp(max=0) / alpha).expm1() * alpha)

    return _result(f, input, inplace)


def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    """x · Φ(x), Φ the normal distribution function, or its approximation by tanh

    Examples::

        >>> F.gelu(torch.tensor([0.0, 1.0]))
        tensor([0.0000, 0.8413])
    """
    if approximate == "none":
        y = input * unary("phi", input)
    elif approximate == "tanh":
        a = math.sqrt(8 / math.pi)  # (1 + tanh(x)) / 2 is sigmoid(2 x)
        y = input * (input * (input * input * (a * 0.044715) + a)).sigmoid()
    else:
        raise RuntimeError("approximate argument must be either none or tanh.")
    return label(y, "GeluBackward0")


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x · sigmoid(x)"""
    return _result(lambda x: label(x * x.sigmoid(), "SiluBackward0"), input, inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x · tanh(softplus(x))"""
    return _result(lambda x: x * softplus(x).tanh(), input, inplace)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(−x))"""
    return input.sigmoid()


def tanh(input: Tensor) -> Tensor:
    """(exp(x) − exp(−x)) / (exp(x) + exp(−x))"""
    return input.tanh()


def tanhshrink(input: Tensor) -> Tensor:
    """x − tanh(x)"""
    return input - input.tanh()


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)"""
    return input / (input.abs() + 1)


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), computed without overflow"""
    return input.minimum(input.new_zeros(())) - (-input.abs()).exp().log1p()


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where it exceeds the threshold, value elsewhere"""
    return _result(lambda x: x.masked_fill(x <= threshold, value), input, inplace)


def threshold_(input: Tensor, threshold_: float, value: float) -> Tensor:
    """As :func:`threshold`, in place."""
    return threshold(input, threshold_, value, True)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """relu6(x + 3) / 6"""
    return _result(lambda x: relu6(x + 3) / 6, input, inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x · relu6(x + 3) / 6"""
    return _result(lambda x: x * relu6(x + 3) / 6, input, inplace)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x, and 0 within [−λ, λ]"""
    return input.masked_fill((input >= -lambd) & (input <= lambd), 0.0)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by λ, and 0 within [−λ, λ]"""
    if lambd < 0:
        raise RuntimeError(
            f"lambda must be in range [0, 3.40282e+38] for input dtype Float, but found {lambd:g}"
        )
    return (input - input.clamp(-lambd, lambd)).masked_fill(input.abs() <= lambd, 0.0)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a · sigmoid(b), a and b the halves of x along ``dim``"""
    if input.ndim == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    n = input.shape[dim]
    if n % 2:
        where = dim % input.ndim
        raise RuntimeError(f"Halving dimension must be even, but dimension {where} is size {n}")
    a, b = input.chunk(2, dim)
    return a * b.sigmoid()


# --- softmax -------------------------------------------------------------------------------------


def _softmax_dim(name: str, x: Tensor, dim: int | None) -> int:
    if dim is not None:
        return dim
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include "
        "dim=X as an argument.",
        stacklevel=4,
    )
    return 0 if x.ndim in (0, 1, 3) else 1


def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """exp(x) / Σ exp(x) along ``dim``

    Args:
        input: any shape.
        dim: the dimension that sums to one.
        dtype: what the input is converted to first.

    Examples::

        >>> F.softmax(torch.tensor([0.0, 0.0]), dim=0)
        tensor([0.5000, 0.5000])
    """
    return input.softmax(_softmax_dim("softmax", input, dim), dtype=dtype)


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """softmax(−x)"""
    return softmax(-input, _softmax_dim("softmin", input, dim), dtype=dtype)


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """x − log Σ exp(x) along ``dim``"""
    return input.log_softmax(_softmax_dim("log_softmax", input, dim), dtype=dtype)


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """A differentiable draw from the categories of ``logits``; one-hot if ``hard``"""
    noise = -logits.detach().clone().exponential_().log()
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    index = soft.detach().argmax(dim, keepdim=True)
    one_hot = soft.new_zeros(soft.shape).scatter_(dim, index, 1.0)
    return one_hot - soft.detach() + soft
