"""Pooling: reductions over windows, which are views of the padded input."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from ...dtypes import bool_, int32
from ...graph import Node, compare, const, elementwise, iota, view
from ...ops.functional import apply, reduce_node
from ...ops.row import Row
from ...shape import Shape, contiguous_strides, numel
from ...tensor import Tensor
from ._conv import _batched, _tuple
from ._shape import _indices, pad

Sizes = tuple[int, ...]


def _pooled_size(n: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> int:
    span = dilation * (kernel - 1) + 1
    out = -(-(n + 2 * padding - span) // stride) if ceil else (n + 2 * padding - span) // stride
    if ceil and out * stride >= n + padding:
        out -= 1  # the last window must begin inside
    return out + 1


def _windows(
    x: Tensor,
    out: Sizes,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    fill: float,
) -> Tensor:
    """(N, C, *out, *kernel): the windows, with ``fill`` outside of the input."""
    if _are_tiles(x._shape, out, kernel, stride, padding, dilation):
        return _tiles(x, out, kernel)
    n = len(kernel)
    sides: list[int] = []
    for i in reversed(range(n)):
        span = (out[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1
        sides += [padding[i], max(span - padding[i] - x.shape[2 + i], 0)]
    if any(sides):
        x = pad(x, sides, value=fill)
    for i in range(n):
        x = x.unfold(2 + i, dilation[i] * (kernel[i] - 1) + 1, stride[i])
        x = x.narrow(2 + i, 0, out[i])
    if any(d != 1 for d in dilation):
        x = x[(..., *(slice(None, None, d) for d in dilation))]
    return x


@lru_cache(1024)
def _are_tiles(
    shape: Shape, out: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> bool:
    """Whether windows lie side by side within the input."""
    spans = [m * k for m, k in zip(out, kernel, strict=True)]
    whole = all(span <= size for span, size in zip(spans, shape[2:], strict=True))
    return kernel == stride and whole and not any(padding) and all(d == 1 for d in dilation)


def _tiles(x: Tensor, out: Sizes, kernel: Sizes) -> Tensor:
    """Windows side by side: the input with its dimensions in another order, so that the gradient
    is, too."""
    for i, (m, k) in enumerate(zip(out, kernel, strict=True)):
        if m * k < x._shape[2 + i]:
            x = x.narrow(2 + i, 0, m * k)
    split, order = _tiling(out, kernel)
    return x.reshape(*x._shape[:2], *split).permute(order)


@lru_cache(1024)
def _tiling(out: Sizes, kernel: Sizes) -> tuple[Sizes, Sizes]:
    """The windows' places and the places in them as dimensions in turn, and all of those last."""
    split = tuple(m for pair in zip(out, kernel, strict=True) for m in pair)
    end = 2 + len(split)
    return split, (0, 1, *range(2, end, 2), *range(3, end, 2))


def _numbers(x: Node, dims: Sizes) -> Node:
    """0, 1, 2 … over one window."""
    shape = tuple([x.shape[d] for d in dims])
    return iota(shape, contiguous_strides(shape), 0, int32)


def _first_index(x: Node, out: Node, dims: Sizes) -> Node:
    """Number of the first maximum in each window, or of its first nan; kept dimensions."""
    kept = (*out.shape, *(1,) * len(dims))
    equal = compare("eq", x, view(out, kept, contiguous_strides(kept), 0))
    largest = elementwise("or", (equal, compare("ne", x, x)), bool_)
    numbers = _numbers(x, dims)
    count = const(numel(numbers.shape), int32)
    candidates = elementwise("where", (largest, numbers, count), int32)
    return reduce_node(candidates, "min", dims, True)


def _grad_max(g: Tensor, x: Tensor, out: Tensor, dims: Sizes, keepdim: bool) -> Tensor:
    node = x.node()
    first = compare("eq", _numbers(node, dims), _first_index(node, out.node(), dims))
    g = g.reshape(*g._shape, *(1,) * len(dims))
    return g.where(Tensor._wrap(first, x.storage.device), 0.0)


# as amax, but the gradient of a window goes to its first maximum alone
_MAX_OVER = Row("max_pool2d_with_indices", "x", reduce_node, {"x": _grad_max})


def _max_over(windows: Tensor, n: int, with_index: bool) -> tuple[Tensor, Tensor | None]:
    """The maximum of each window; the gradient goes to the first one."""
    dims = tuple(range(windows.ndim - n, windows.ndim))
    out = apply(_MAX_OVER, windows, kind="max", dims=dims, keepdim=False)
    if not with_index:
        return out, None
    first = _first_index(windows.node(), out.node(), dims)
    return out, Tensor._wrap(first, out.storage.device).reshape(out._shape)


def _flat_positions(
    number: Tensor, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> Tensor:
    """Where in the flattened input the window's element of that number lies."""
    from ... import creation
    from ...dtypes import int64

    rest = number.to(int64)
    flat = rest * 0
    scale = 1
    for i in reversed(range(len(kernel))):
        dim = 2 + i
        shape = [1] * number.ndim
        shape[dim] = number.shape[dim]
        start = creation.arange(number.shape[dim], device=number.device).reshape(shape)
        within = rest.remainder(kernel[i])
        rest = rest.div(kernel[i], rounding_mode="floor")
        flat = flat + (start * stride[i] - padding[i] + within * dilation[i]) * scale
        scale *= size[i]
    return flat


_MAX_POOL_INPUT = {
    1: "max_pool1d: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for "
    "input, but got:{}",
    2: "non-empty 3D or 4D (batch mode) tensor expected for input",
    3: "non-empty 4D or 5D (batch mode) tensor expected for input",
}


def _max_pool(
    n: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    if input.ndim not in (n + 1, n + 2):
        raise RuntimeError(_MAX_POOL_INPUT[n].format(list(input.shape)))
    x, unbatched = _batched(input, n, f"max_pool{n}d")
    kernel, padding, dilation = _tuple(kernel_size, n), _tuple(padding, n), _tuple(dilation, n)
    stride = kernel if stride is None or stride == [] else _tuple(stride, n)
    _check_padding(padding, kernel, dilation)
    out_size = _check_sizes(x._shape, kernel, stride, padding, dilation, ceil_mode)
    windows = _windows(x, out_size, kernel, stride, padding, dilation, -math.inf)
    out, number = _max_over(windows, n, return_indices)
    if number is None:
        return out.squeeze(0) if unbatched else out
    at = _flat_positions(number, tuple(x.shape[2:]), kernel, stride, padding, dilation)
    return (out.squeeze(0), at.squeeze(0)) if unbatched else (out, at)


@lru_cache(1024)
def _check_padding(padding: Sizes, kernel: Sizes, dilation: Sizes) -> None:
    for p, k, d in zip(padding, kernel, dilation, strict=True):
        if p < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {p}")
        if p > ((k - 1) * d + 1) // 2:
            raise RuntimeError(
                "pad should be at most half of effective kernel size, but got "
                f"pad={p}, kernel_size={k} and dilation={d}"
            )


@lru_cache(1024)
def _check_sizes(
    shape: Shape, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil_mode: bool
) -> Sizes:
    """How many windows there are along each dimension."""
    sizes = zip(shape[2:], kernel, stride, padding, dilation, strict=True)
    out = tuple(_pooled_size(*s, ceil_mode) for s in sizes)
    if any(s < 1 for s in out):
        given, got = ("x".join(map(str, s)) for s in (shape[1:], (shape[1], *out)))
        raise RuntimeError(
            f"Given input size: ({given}). Calculated output size: ({got}). Output size is too "
            "small"
        )
    return out


def max_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window of (N, C, L)"""
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window of (N, C, H, W)

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: size of the window.
        stride: step of the window, its size if not given.
        padding: elements of minus infinity on both sides.
        dilation: step within the window.
        ceil_mode: also windows that begin inside and end outside.
        return_indices: give the positions in the flattened (H, W) too.

    Examples::

        >>> F.max_pool2d(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), 2)
        tensor([[[4.]]])
    """
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window of (N, C, D, H, W)"""
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _counts(n: int, out: int, kernel: int, stride: int, padding: int, include: bool) -> list[int]:
    """How many elements each window along one dimension divides by."""
    counts = []
    for i in range(out):
        start = i * stride - padding
        stop = min(start + kernel, n + padding)
        counts.append(stop - start if include else min(stop, n) - max(start, 0))
    return counts


def _avg_pool(
    n: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Tensor:
    x, unbatched = _batched(input, n, f"avg_pool{n}d")
    kernel, padding = _tuple(kernel_size, n), _tuple(padding, n)
    stride = kernel if stride is None or stride == [] else _tuple(stride, n)
    if any(p > k // 2 for p, k in zip(padding, kernel, strict=True)):
        raise RuntimeError(
            "pad should be at most half of effective kernel size, but got "
            f"pad={max(padding)}, kernel_size={min(kernel)} and dilation=1"
        )
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    ones = (1,) * n
    out_size = _check_sizes(x._shape, kernel, stride, padding, ones, ceil_mode)
    total = _windows(x, out_size, kernel, stride, padding, ones, 0.0).sum(tuple(range(-n, 0)))
    if divisor_override is not None:
        out = total / divisor_override
    else:
        for i in range(n):
            counts = _counts(
                x.shape[2 + i], out_size[i], kernel[i], stride[i], padding[i], count_include_pad
            )
            total = _divide(total, 2 + i, counts)
        out = total
    return out.squeeze(0) if unbatched else out


def _divide(x: Tensor, dim: int, counts: list[int]) -> Tensor:
    """Each position along ``dim`` divided by its count."""
    if len(set(counts)) == 1:
        return x / counts[0]
    shape = [1] * x.ndim
    shape[dim] = len(counts)
    return x / _indices(counts, x).to(x.dtype).reshape(shape)


def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of (N, C, L)"""
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of (N, C, H, W)

    Examples::

        >>> F.avg_pool2d(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), 2)
        tensor([[[2.5000]]])
    """
    return _avg_pool(
        2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def avg_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of (N, C, D, H, W)"""
    return _avg_pool(
        3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def _check_dims(n: int, x: Tensor, who: str, colon: str) -> None:
    if x.ndim not in (n + 1, n + 2):
        raise RuntimeError(
            f"{who}Expected {n + 1}D or {n + 2}D tensor, but got{colon} {list(x.shape)}"
        )


# --- adaptive ------------------------------------------------------------------------------------


def _adaptive_sizes(x: Tensor, n: int, output_size: Any) -> Sizes:
    """The output sizes; None keeps the input's."""
    if not isinstance(output_size, tuple | list):
        output_size = (output_size,) * n
    return tuple(x.shape[2 + i] if s is None else int(s) for i, s in enumerate(output_size))


def _bounds(n: int, out: int) -> list[tuple[int, int]]:
    """Start and end of each output's window."""
    return [(i * n // out, -(-(i + 1) * n // out)) for i in range(out)]


def _adaptive_avg(x: Tensor, out: Sizes) -> Tensor:
    for i, size in enumerate(out):
        dim, n = 2 + i, x.shape[2 + i]
        if size == 1:
            x = x.mean(dim, keepdim=True)
        elif size and n % size == 0:
            x = x.unflatten(dim, (size, n // size)).mean(dim + 1)
        else:
            x = _mean_by_matrix(x, dim, _bounds(n, size))
    return x


def _mean_by_matrix(x: Tensor, dim: int, bounds: list[tuple[int, int]]) -> Tensor:
    """Windows of different lengths: a product with a matrix of shares."""
    n = x.shape[dim]
    shares = [[(a <= j < b) / (b - a) for a, b in bounds] for j in range(n)]
    matrix = x.new_tensor(shares).reshape(n, len(bounds))
    return x.transpose(dim, -1).matmul(matrix).transpose(dim, -1)


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Means of as many windows as the output shall have elements, (N, C, L)"""
    return _adaptive(1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Means of as many windows as the output shall have elements, (N, C, H, W)

    Examples::

        >>> F.adaptive_avg_pool2d(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), 1)
        tensor([[[2.5000]]])
    """
    return _adaptive(2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Means of as many windows as the output shall have elements, (N, C, D, H, W)"""
    return _adaptive(3, input, output_size)


def _adaptive(n: int, input: Tensor, output_size: Any) -> Tensor:
    _check_dims(n, input, f"adaptive_avg_pool{n}d(): ", "")
    x, unbatched = _batched(input, n, f"adaptive_avg_pool{n}d")
    out = _adaptive_avg(x, _adaptive_sizes(x, n, output_size))
    return out.squeeze(0) if unbatched else out


def _adaptive_max(n: int, input: Tensor, output_size: Any, return_indices: bool) -> Any:
    """Windows of equal length, made by repeating the last element of shorter ones."""
    _check_dims(n, input, f"adaptive_max_pool{n}d(): ", ":")
    x, unbatched = _batched(input, n, f"adaptive_max_pool{n}d")
    out_size = _adaptive_sizes(x, n, output_size)
    windows, tables = x, []
    for i, size in enumerate(out_size):
        bounds = _bounds(x.shape[2 + i], size)
        longest = max(b - a for a, b in bounds)
        table = [[min(a + k, b - 1) for k in range(longest)] for a, b in bounds]
        tables.append(table)
        dim = 2 + 2 * i
        flat = [j for row in table for j in row]
        windows = windows.index_select(dim, _indices(flat, x)).unflatten(dim, (size, longest))
    order = [0, 1, *(2 + 2 * i for i in range(n)), *(3 + 2 * i for i in range(n))]
    out, number = _max_over(windows.permute(order), n, return_indices)
    if number is None:
        return out.squeeze(0) if unbatched else out
    at = _table_positions(number, x, tables)
    return (out.squeeze(0), at.squeeze(0)) if unbatched else (out, at)


def _table_positions(number: Tensor, x: Tensor, tables: list[list[list[int]]]) -> Tensor:
    """Where in the flattened input a window's element lies, by tables of positions."""
    from ...dtypes import int64

    rest = number.to(int64)
    flat, scale = rest * 0, 1
    for i in reversed(range(len(tables))):
        longest = len(tables[i][0])
        shape = [1] * number.ndim
        shape[2 + i] = len(tables[i])
        rows = _indices([r * longest for r in range(len(tables[i]))], x).reshape(shape)
        within = rest.remainder(longest)
        rest = rest.div(longest, rounding_mode="floor")
        table = _indices([j for row in tables[i] for j in row], x)
        flat = flat + table[rows + within] * scale
        scale *= x.shape[2 + i]
    return flat


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima of as many windows as the output shall have elements, (N, C, L)"""
    return _adaptive_max(1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima of as many windows as the output shall have elements, (N, C, H, W)"""
    return _adaptive_max(2, input, output_size, return_indices)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(Σ xᵖ)^(1/p) of each window"""
    kernel = _tuple(kernel_size, 2)
    out = avg_pool2d(input.pow(norm_type), kernel, stride, 0, ceil_mode)
    return (out.sign() * out.abs().relu() * math.prod(kernel)).pow(1.0 / norm_type)
