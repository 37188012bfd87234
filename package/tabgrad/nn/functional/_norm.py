"""Normalisations: mean and mean of squared differences, with one gradient for all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...autograd import is_grad_enabled, no_grad
from ...functions.elementwise import Rule, recorded
from ...tensor import Tensor


def _statistics(x: Tensor, dims: list[int]) -> tuple[Tensor, Tensor]:
    """Mean and biased variance over ``dims``, which are kept."""
    mean = x.mean(dims, keepdim=True)
    d = x - mean
    return mean, (d * d).mean(dims, keepdim=True)


def _normalized(
    x: Tensor, dims: list[int], eps: float, stats: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """(x − mean) / √(variance + eps) over ``dims``.

    Source of the gradient: Ioffe and Szegedy, Batch Normalization (2015), section 3, simplified.
    """
    with no_grad():
        mean, var = stats or _statistics(x, dims)
        rstd = (var + eps).rsqrt()
        y = (x - mean) * rstd
    if not (x.requires_grad and is_grad_enabled()):
        return y

    def grad(g: Tensor, x: Tensor) -> Tensor:
        m, r = mean, rstd
        if is_grad_enabled():  # to be differentiated again
            m, v = _statistics(x, dims)
            r = (v + eps).rsqrt()
        xhat = (x - m) * r
        along = xhat * (g * xhat).mean(dims, keepdim=True)
        return (g - g.mean(dims, keepdim=True) - along) * r

    return recorded(y, x, "NormalizeBackward0", Rule("normalize", grad))


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: Sequence[int]) -> Tensor:
    if weight is not None:
        x = x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | Tensor = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x − mean) / √(variance + eps) · weight + bias for each channel

    While training, mean and variance are the batch's, and the running ones move towards them
    by the share ``momentum`` (with the unbiased variance).
    """
    shape = [1, -1] + [1] * (input.ndim - 2)
    _check_running(input, running_mean, running_var, training)
    if not training:
        assert running_mean is not None and running_var is not None
        scale = (running_var + eps).rsqrt()
        scale = scale if weight is None else scale * weight
        shift = -running_mean * scale if bias is None else bias - running_mean * scale
        return input * scale.reshape(shape) + shift.reshape(shape)  # as PyTorch groups it
    count = input.numel() // max(input.shape[1], 1)
    if count == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {input.size()}"
        )
    dims = [d for d in range(input.ndim) if d != 1]
    mean, var = _statistics(input.detach(), dims)
    _track(running_mean, mean, momentum, 1.0)
    _track(running_var, var, momentum, count / (count - 1))
    return _affine(_normalized(input, dims, eps, (mean, var)), weight, bias, shape)


def _check_running(
    x: Tensor, running_mean: Tensor | None, running_var: Tensor | None, training: bool
) -> None:
    for name, stat in (("mean", running_mean), ("var", running_var)):
        if stat is None and not training:
            raise RuntimeError(f"running_{name} must be defined in evaluation mode")
        if stat is not None and stat.numel() != x.shape[1]:
            raise RuntimeError(
                f"running_{name} should contain {x.shape[1]} elements not {stat.numel()}"
            )


@no_grad()
def _track(running: Tensor | None, value: Tensor, momentum: float | Tensor, factor: float) -> None:
    if running is not None:
        new = value.detach().reshape(running.shape).to(running.dtype) * factor
        running.mul_(1 - momentum).add_(new * momentum)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """As :func:`batch_norm`, with each sample normalised by itself"""
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    count = math.prod(input.shape[2:])
    if count == 1:
        raise ValueError(
            f"Expected more than 1 spatial element when training, got input size {input.size()}"
        )
    dims = list(range(2, input.ndim))
    mean, var = _statistics(input.detach(), dims)
    _track(running_mean, mean.mean(0), momentum, 1.0)
    _track(running_var, var.mean(0), momentum, count / max(count - 1, 1))
    out = _normalized(input, dims, eps, (mean, var))
    return _affine(out, weight, bias, [1, -1] + [1] * len(dims))


def _check_normalized(x: Tensor, shape: Sequence[int], gap: str = ", ") -> list[int]:
    """The dimensions to normalise over."""
    n = len(shape)
    if n < 1 or list(x.shape[-n:]) != list(shape):
        wanted = "*" + gap + ", ".join(map(str, shape))
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [{wanted}], but got "
            f"input of size{list(x.shape)}"
        )
    return list(range(-n, 0))


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x − mean) / √(variance + eps) · weight + bias over the last dimensions

    Examples::

        >>> F.layer_norm(torch.tensor([[1.0, 3.0]]), (2,))
        tensor([[-1.0000,  1.0000]])
    """
    dims = _check_normalized(input, normalized_shape)
    return _affine(_normalized(input, dims, eps), weight, bias, list(normalized_shape))


def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """x / √(mean of x² + eps) · weight over the last dimensions"""
    dims = _check_normalized(input, normalized_shape, "")
    eps = _EPSILON[str(input.dtype).split(".")[-1]] if eps is None else eps
    out = input * ((input * input).mean(dims, keepdim=True) + eps).rsqrt()
    return out if weight is None else out * weight


_EPSILON = {
    "float32": 2.0**-23, "float64": 2.0**-52, "float16": 2.0**-10, "bfloat16": 2.0**-7,
}  # fmt: skip


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """As :func:`layer_norm` over groups of channels of (N, C, …)"""
    if input.ndim < 2:
        raise RuntimeError(
            f"Expected at least 2 dimensions for input tensor but received {input.ndim}"
        )
    n, c = input.shape[:2]
    if c % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of "
            f"shape {list(input.shape)} and num_groups={num_groups}"
        )
    out = _normalized(input.reshape(n, num_groups, -1), [-1], eps).reshape(input.shape)
    return _affine(out, weight, bias, [1, c] + [1] * (input.ndim - 2))


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """x / (k + α · mean of x² over neighbouring channels)^β"""
    from ._shape import pad

    squares = (input * input).transpose(1, -1)
    padded = pad(squares, (size // 2, (size - 1) // 2))
    mean = padded.unfold(-1, size, 1).mean(-1).transpose(1, -1)
    return input / (mean * alpha + k).pow(beta)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x / max(‖x‖ₚ, eps) along ``dim``

    Examples::

        >>> F.normalize(torch.tensor([3.0, 4.0]), dim=0)
        tensor([0.6000, 0.8000])
    """
    return input / input.norm(p, dim, keepdim=True).clamp(min=eps)
