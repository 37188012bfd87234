"""Order: sort, topk, unique, searchsorted."""

from __future__ import annotations

from typing import Any

from .. import dtypes as dt
from ..graph import cast, elementwise
from ..ops import functional as ops
from ..shape import wrap_dim
from ..tensor import Tensor
from .reduction import Pair, pair


def _keys(x: Tensor, descending: bool) -> Tensor:
    """Integers that sort as the values do, nan last (first when descending)."""
    d = x.dtype
    node = x.detach().node()
    if d.is_floating_point:
        work = dt.float64 if d is dt.float64 else dt.float32
        key = dt.int64 if d is dt.float64 else dt.int32
        node = elementwise("order_key", (cast(node, work),), key)
    else:
        node = cast(node, dt.int64 if d is dt.int64 else dt.int32)
    if descending:
        node = elementwise("not", (node,), node.dtype)
    return Tensor._wrap(node, x.storage.device)


def _order(x: Tensor, descending: bool, first: int | None = None) -> Tensor:
    """Stable order along the last dimension, int32."""
    return ops.sort_permutation(_keys(x, descending), first)


def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Pair:
    """Values in order along a dimension, and where they were; always stable."""
    if not input._shape:
        wrap_dim(dim, 0)
        return pair("sort", input.clone(), input.new_zeros((), dtype=dt.int64))
    d = wrap_dim(dim, input.ndim)
    index = _order(input.transpose(d, -1), descending).to(dt.int64).transpose(d, -1)
    values = input.gather(d, index) if input.numel() else input.clone()
    if values._grad_fn is not None:
        values._grad_fn.label = "SortBackward0"
    return pair("sort", values, index)


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """Where the sorted values are."""
    return sort(input.detach(), dim, descending)[1]


def msort(input: Tensor) -> Tensor:
    """Sorted along the first dimension."""
    return sort(input, 0)[0]


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Pair:
    """The ``k`` largest (or smallest) values and where they are."""
    n = input._shape[wrap_dim(dim, input.ndim)] if input._shape else 1
    if not 0 <= k <= n:
        raise RuntimeError("selected index k out of range")
    if not input._shape:
        return pair("topk", input.clone(), input.new_zeros((), dtype=dt.int64))
    d = wrap_dim(dim, input.ndim)
    order = _order(input.transpose(d, -1), largest, max(k, 1)).narrow(-1, 0, k)
    index = order.to(dt.int64).transpose(d, -1)
    values = input.gather(d, index)
    if values._grad_fn is not None:
        values._grad_fn.label = "TopkBackward0"
    return pair("topk", values, index)


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Pair:
    """The k-th smallest value and where it is."""
    d = wrap_dim(dim, input.ndim)
    n = input._shape[d] if input._shape else 1
    if not 1 <= k <= n:
        raise RuntimeError("kthvalue(): selected number k out of range for dimension " + str(d))
    s = sort(input, d)
    values, index = (t.narrow(d, k - 1, 1) if t._shape else t for t in s)
    if not keepdim and values._shape:
        values, index = values.squeeze(d), index.squeeze(d)
    return pair("kthvalue", values, index)


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct values in order; the size depends on the values, so this waits."""
    if dim is not None:
        raise NotImplementedError("unique(dim=…): only of all elements (dim=None) is there")
    flat = input.detach().reshape(-1)
    order = _order(flat, False)
    s = ops.take(flat, order)
    return _runs(s, order, input, return_inverse, return_counts)


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Runs of equal values reduced to one each."""
    if dim is not None:
        raise NotImplementedError("unique_consecutive(dim=…): only of all elements is there")
    return _runs(input.detach().reshape(-1), None, input, return_inverse, return_counts)


def _runs(s: Tensor, order: Tensor | None, x: Tensor, inverse: bool, counts: bool) -> Any:
    from .movement import cat

    n = s._shape[0]
    if n:
        first = cat(
            [s.new_ones((1,), dtype=dt.bool_), s.narrow(0, 1, n - 1) != s.narrow(0, 0, n - 1)]
        )
    else:
        first = s.new_zeros((0,), dtype=dt.bool_)
    values = s.masked_select(first)
    out: list[Any] = [values]
    run = first.to(dt.int32).cumsum(0).to(dt.int32) - 1
    if inverse:
        back = run
        if order is not None and n:
            back = ops.scatter(run.new_zeros((n,)), order, run, "set")
        out.append(back.to(dt.int64).reshape(x._shape))
    if counts:
        zero = s.new_zeros((values._shape[0],), dtype=dt.int64)
        ones = s.new_ones((n,), dtype=dt.int64)
        out.append(ops.scatter(zero, run, ones, "add") if n else zero)
    return out[0] if len(out) == 1 else tuple(out)


def searchsorted(
    sorted_sequence: Tensor, input: Any, *, right: bool = False, side: str | None = None,
    out_int32: bool = False,
) -> Tensor:  # fmt: skip
    """Where values would be inserted to keep the order."""
    x = input if isinstance(input, Tensor) else sorted_sequence.new_tensor(input)
    after = right or side == "right"
    seq = sorted_sequence
    rows = seq.unsqueeze(-2) if seq.ndim > 1 else seq
    wide = x.unsqueeze(-1)
    y = ((rows <= wide) if after else (rows < wide)).sum(-1)
    return y.to(dt.int32) if out_int32 else y


def bucketize(
    input: Tensor, boundaries: Tensor, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    """The bucket each value falls into."""
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


def quantile(
    input: Tensor,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """The q-th quantile, interpolated linearly."""
    if interpolation != "linear":
        raise NotImplementedError("quantile: interpolation='linear' is there")
    x = input.reshape(-1) if dim is None else input
    d = wrap_dim(-1 if dim is None else dim, x.ndim)
    s = sort(x, d)[0].movedim(d, -1)
    qs = q.tolist() if isinstance(q, Tensor) else q
    parts = [_quantile_at(s, v) for v in (qs if isinstance(qs, list) else [qs])]
    if keepdim:
        parts = [p.unsqueeze(d) if dim is not None else p.reshape((1,) * input.ndim) for p in parts]
    from .movement import stack

    return stack(parts, 0) if isinstance(qs, list) else parts[0]


def _quantile_at(s: Tensor, q: float) -> Tensor:
    if not 0 <= q <= 1:
        raise RuntimeError("quantile() q values must be in the range [0, 1]")
    n = s._shape[-1]
    at = q * (n - 1)
    lo = int(at)
    hi = min(lo + 1, n - 1)
    a, b = s.select(-1, lo), s.select(-1, hi)
    return a + (b - a) * (at - lo)


def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Counts in equal bins between min and max (of the data, if both are 0)."""
    lo, hi = float(min), float(max)
    if lo == hi == 0:
        lo, hi = float(input.min().item()), float(input.max().item())
    if lo == hi:
        lo, hi = lo - 1, hi + 1
    x = input.detach().reshape(-1)
    place = ((x - lo) * (bins / (hi - lo))).floor().clamp(0, bins - 1).to(dt.int32)
    inside = ((x >= lo) & (x <= hi)).to(x.dtype)
    return ops.scatter(x.new_zeros((bins,)), place, inside, "add")
