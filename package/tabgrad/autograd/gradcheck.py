"""Checks gradients against finite differences, as ``torch.autograd.gradcheck``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..dtypes import float64
from ..tensor import Tensor
from . import tape as autograd


class GradcheckError(RuntimeError):
    """An analytical gradient differs from the numerical one."""


def _outputs(fn: Callable[..., Any], inputs: tuple[Any, ...]) -> list[Tensor]:
    out = fn(*inputs)
    outs = out if isinstance(out, tuple | list) else (out,)
    return [y for y in outs if isinstance(y, Tensor) and y.dtype.is_floating_point]


def _numerical(
    fn: Callable[..., Any], inputs: tuple[Any, ...], k: int, eps: float
) -> list[list[list[float]]]:
    """∂outputs/∂inputs[k] by central differences: per output, per input element, a column."""
    x = inputs[k]
    base = x.detach().reshape(-1).tolist()
    columns: list[list[list[float]]] = []
    for i in range(len(base)):
        sides = []
        for step in (eps, -eps):
            moved = list(base)
            moved[i] += step
            changed = x.new_tensor(moved).reshape(x._shape)
            args = (*inputs[:k], changed.requires_grad_(), *inputs[k + 1 :])
            sides.append([y.detach().reshape(-1).tolist() for y in _outputs(fn, args)])
        columns.append(
            [
                [(a - b) / (2 * eps) for a, b in zip(up, down, strict=True)]
                for up, down in zip(*sides, strict=True)
            ]
        )
    return columns


def _analytical(fn: Callable[..., Any], inputs: tuple[Any, ...], k: int) -> list[list[list[float]]]:
    outs = _outputs(fn, inputs)
    n = inputs[k].numel()
    columns: list[list[list[float]]] = [[[] for _ in outs] for _ in range(n)]
    for o, y in enumerate(outs):
        for j in range(y.numel()):
            seed = [0.0] * y.numel()
            seed[j] = 1.0
            g = y.new_tensor(seed).reshape(y._shape)
            (got,) = (
                autograd.grad(y, [inputs[k]], g, retain_graph=True, allow_unused=True)
                if y.requires_grad else (None,)
            )  # fmt: skip
            row = [0.0] * n if got is None else got.detach().reshape(-1).tolist()
            for i in range(n):
                columns[i][o].append(row[i])
    return columns


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    **_: Any,
) -> bool:
    """True if backward agrees with central differences for every input that requires grad.

    Use float64 inputs: ``eps`` is too small for float32.
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = [k for k, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of the "
            "them have requires_grad=True."
        )
    for k in checked:
        if inputs[k].dtype is not float64:
            import warnings

            warnings.warn(
                f"Input #{k} requires gradient and is not a double precision floating point. "
                "This check will likely fail if all the inputs are not of double precision "
                "floating point. ",
                stacklevel=2,
            )
        want, got = _numerical(func, inputs, k, eps), _analytical(func, inputs, k)
        for i, (a, b) in enumerate(zip(want, got, strict=True)):
            for o, (u, v) in enumerate(zip(a, b, strict=True)):
                if any(not abs(p - q) <= atol + rtol * abs(p) for p, q in zip(u, v, strict=True)):
                    if not raise_exception:
                        return False
                    raise GradcheckError(
                        f"Jacobian mismatch for output {o} with respect to input {k} (element {i}),"
                        f"\nnumerical:{u}\nanalytical:{v}\n"
                    )
    return True


def gradgradcheck(
    func: Callable[..., Any], inputs: Any, grad_outputs: Any = None, **kw: Any
) -> bool:
    """As ``gradcheck``, of the gradients themselves."""
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    outs = _outputs(func, inputs)
    n = len(outs)
    seeds = tuple(
        y.new_tensor([0.5 + 0.25 * (i % 3) for i in range(y.numel())]).reshape(y._shape)
        .requires_grad_() for y in outs
    )  # fmt: skip

    def first(*args: Any) -> Any:
        xs, gs = args[: len(inputs)], args[len(inputs) :]
        wrt = [x for x in xs if isinstance(x, Tensor) and x.requires_grad]
        ys = [y for y in _outputs(func, xs) if y.requires_grad]
        got = autograd.grad(ys, wrt, list(gs[: len(ys)]), create_graph=True, allow_unused=True)
        return tuple(g for g in got if g is not None)

    return gradcheck(first, (*inputs, *seeds[:n]), **kw)
