"""Padding: constant, reflect, replicate, circular."""

from __future__ import annotations

from typing import Any

from ..ops.functional import store
from ..shape import Shape, contiguous_strides
from ..tensor import Tensor


def pad(input: Tensor, pads: Shape, mode: str, value: float | None) -> Tensor:
    """Pads the last dimensions by ``(before, after)`` pairs, last dimension first."""
    if len(pads) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(pads) // 2 > input.ndim:
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got "
            f"padding length {len(pads)} and input of dimension {input.ndim}"
        )
    sides = [(0, 0)] * (input.ndim - len(pads) // 2)
    sides += [(pads[i], pads[i + 1]) for i in range(len(pads) - 2, -1, -2)]
    if mode == "constant":
        return _constant(input, sides, value or 0)
    if value is not None:
        raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in _INDEX:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    for d, (a, b) in enumerate(sides):
        if a or b:
            input = _indexed(input, d, a, b, mode)
    return input


def _constant(x: Tensor, sides: list[tuple[int, int]], value: float) -> Tensor:
    from .movement import clone, narrow

    for d, (a, b) in enumerate(sides):
        if x._shape[d] + a + b < 0:
            raise RuntimeError(
                f"The input size {x._shape[d]}, plus negative padding {a} and {b}, resulted in a "
                f"negative output size, which is invalid. Check dimension {d} of your input."
            )
        if a < 0 or b < 0:
            x = narrow(x, d, max(-a, 0), x._shape[d] + min(a, 0) + min(b, 0))
    sides = [(max(a, 0), max(b, 0)) for a, b in sides]
    if not any(a or b for a, b in sides):
        return clone(x)
    shape = tuple(n + a + b for n, (a, b) in zip(x._shape, sides, strict=True))
    strides = contiguous_strides(shape)
    start = sum(a * s for (a, _), s in zip(sides, strides, strict=True))
    return store(x.new_full(shape, value, dtype=x.dtype), x, (x._shape, strides, start))


def _reflect(i: int, n: int) -> int:
    period = 2 * (n - 1) or 1
    i = abs(i) % period
    return min(i, period - i) if n > 1 else 0


_INDEX: dict[str, Any] = {
    "reflect": _reflect,
    "replicate": lambda i, n: min(max(i, 0), n - 1),
    "circular": lambda i, n: i % n,
}


def _indexed(x: Tensor, d: int, a: int, b: int, mode: str) -> Tensor:
    """Padding that repeats elements of the input: by index."""
    n = x._shape[d]
    if mode == "reflect" and (a >= n or b >= n):
        raise RuntimeError(
            "Argument #4: Padding size should be less than the corresponding input dimension, but "
            f"got: padding ({a}, {b}) at dimension {d} of input {list(x._shape)}"
        )
    if mode == "circular" and (a > n or b > n):
        raise RuntimeError("Padding value causes wrapping around more than once.")
    index = [_INDEX[mode](i, n) for i in range(-a, n + b)]
    from ..dtypes import int64

    return x.index_select(d, x.new_tensor(index, dtype=int64))
