"""Reading and writing by index: gather, scatter, select, mask, nonzero."""

from __future__ import annotations

from typing import Any

from .. import dtypes as dt
from ..dtypes import DType
from ..graph import const, elementwise, iota
from ..ops import functional as ops
from ..shape import Shape, contiguous_strides, numel, wrap_dim
from ..tensor import Tensor


def _check_index(name: str, index: Tensor) -> None:
    if index.dtype not in (dt.int64, dt.int32):
        both = "int32 or int64" if name == "index_select" else "int32/int64"
        raise RuntimeError(f"{name}(): Expected dtype {both} for index")


def _along(
    name: str, x: Tensor, dim: int, index: Tensor, from_end: bool = False
) -> tuple[Tensor, Shape]:
    """Which rows of ``x`` an index along one dimension means, and their shape: that of the last
    dimensions where the index is one number, expanded."""
    _check_index(name, index)
    ops.device_of(name, (x, index))
    if x.ndim != index.ndim and not (x.ndim <= 1 and index.ndim <= 1):
        raise RuntimeError(
            "Index tensor must have the same number of dimensions as "
            f"{'input' if name == 'gather' else 'self'} tensor"
        )
    d = wrap_dim(dim, x.ndim)
    shape = x._shape or (1,)
    own = index._shape or (1,)
    for k, (n, m) in enumerate(zip(own, shape, strict=True)):
        if k != d and n > m:
            raise RuntimeError(
                f"Size does not match at dimension {k} expected index {list(index._shape)} to be "
                f"no larger than self {list(x._shape)} apart from dimension {d}"
            )
    k = len(own)
    while k > d + 1 and index._strides[k - 1] == 0 and own[k - 1] == shape[k - 1]:
        k -= 1
    head = index._shape[:k]
    index = index._window(head, index._strides[:k], index._offset)
    error = "index" if from_end else "gather"
    at = _flat(shape[:k], d, index.reshape(own[:k]), own[:k], from_end, error)
    return at.reshape(head), own[k:]


def _flat(shape: Shape, d: int, index: Tensor, own: Shape, from_end: bool, error: str) -> Tensor:
    """Positions in the linear numbering of ``shape``: those of ``own``, but along ``d`` what
    ``index`` says."""
    basis = contiguous_strides(shape)
    rest = iota(own, tuple(0 if k == d else s for k, s in enumerate(basis)), 0, dt.int32)
    at = ops.checked_index(index, shape[d], d, from_end, error).node()
    step = elementwise("mul", (at, const(basis[d], dt.int32)), dt.int32)
    return Tensor._wrap(elementwise("add", (rest, step), dt.int32), index.storage.device)


def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """``out[i][j] = input[index[i][j]][j]`` for ``dim`` 0, and so on."""
    return _gathered(input, dim, index, False)


def _gathered(input: Tensor, dim: int, index: Tensor, from_end: bool) -> Tensor:
    if not index.numel():
        wrap_dim(dim, input.ndim)
        return input.new_zeros(index._shape)
    y = ops.take(input, *_along("gather", input, dim, index, from_end))
    return _labelled(y, "GatherBackward0")


def _labelled(y: Tensor, name: str) -> Tensor:
    if y._grad_fn is not None:
        y._grad_fn.label = name
    return y


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """``gather`` with broadcasting, also of positions from the end; flat without ``dim``."""
    if dim is None:
        return _gathered(input.reshape(-1), 0, indices.reshape(-1), True)
    d = wrap_dim(dim, input.ndim)
    shape = list(input._shape)
    wide = list(indices._shape)
    for k in range(input.ndim):
        if k != d:
            shape[k] = wide[k] = max(shape[k], wide[k])
    return _gathered(input.expand(shape), d, indices.expand(wide), True)


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The given positions of a dimension."""
    _check_index("index_select", index)
    if index.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    ops.device_of("index_select", (input, index))
    if not input._shape:
        return input.clone()
    d = wrap_dim(dim, input.ndim)
    k = index.reshape(-1)
    y = ops.take(input, *_rows(input, d, k, error="rows"))
    return _labelled(y, "IndexSelectBackward0")


def _rows(
    x: Tensor, d: int, index: Tensor, from_end: bool = False, error: str = "index"
) -> tuple[Tensor, Shape]:
    """Which rows of ``x`` whole slices along a dimension are, and their shape."""
    own, tail = (*x._shape[:d], index._shape[0]), x._shape[d + 1 :]
    if not numel(own + tail):
        return Tensor._wrap(const(0, dt.int32, own), x.storage.device), tail
    return _flat(x._shape[: d + 1], d, index, own, from_end, error), tail


# --- scatter ------------------------------------------------------------------------------------

_REDUCE = {
    "add": "add", "sum": "add", "multiply": "prod", "prod": "prod", "amax": "max", "amin": "min",
}  # fmt: skip


def _put(x: Tensor, at: Tensor, tail: Shape, src: Any, mode: str) -> Tensor:
    """A copy of ``x`` changed at flat positions, which count rows of the shape ``tail``."""
    shape = at._shape + tail
    if not numel(shape):
        return x.clone()
    if not isinstance(src, Tensor):
        src = x.new_full((), src, dtype=x.dtype)
    return ops.scatter(x.reshape(-1), at, src.expand(shape), mode).reshape(x._shape)


def _source(name: str, x: Tensor, index: Tensor, src: Tensor) -> Tensor:
    """``src`` cut to the shape of the index."""
    if src.dtype is not x.dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype")
    if src.ndim != index.ndim and not (src.ndim <= 1 and index.ndim <= 1):
        raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
    if src._shape == index._shape:
        return src
    for d, (n, m) in enumerate(zip(index._shape, src._shape, strict=False)):
        if n > m:
            raise RuntimeError(
                f"Expected index {list(index._shape)} to be no larger than self {list(x._shape)} "
                f"apart from dimension {d} and to be no larger size than src {list(src._shape)}"
            )
    for d, n in enumerate(index._shape):
        src = src.narrow(d, 0, n)
    return src


def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Any = None,
    *,
    value: Any = None,
    reduce: str | None = None,
) -> Tensor:
    """``out[index[i][j]][j] = src[i][j]`` for ``dim`` 0, and so on, in a copy."""
    src = value if src is None else src
    mode = "set" if reduce is None else _REDUCE[reduce]
    if isinstance(src, Tensor) and src._shape:
        src = _source("scatter", input, index, src)
    if not index.numel():
        return input.clone()
    return _labelled(
        _put(input, *_along("scatter", input, dim, index), src, mode), "ScatterBackward0"
    )


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Adds ``src`` at the index, in a copy."""
    src = _source("scatter_add", input, index, src)
    if not index.numel():
        return input.clone()
    y = _put(input, *_along("scatter", input, dim, index), src, "add")
    return _labelled(y, "ScatterAddBackward0")


def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Combines ``src`` at the index by sum, prod, mean, amax or amin, in a copy."""
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError("reduce argument must be either sum, prod, mean, amax or amin.")
    src = _source("scatter_reduce", input, index, src)
    at = _along("scatter_reduce", input, dim, index)
    mode = "add" if reduce == "mean" else _REDUCE[reduce]
    base = input if include_self else _put(input, *at, _NEUTRAL[mode](input.dtype), "set")
    y = _put(base, *at, src, mode)
    if reduce != "mean":
        return y
    ones = input.new_zeros(input._shape) + (1 if include_self else 0)
    count = _put(ones, *at, 1, "add").clamp(min=1)
    if not input.dtype.is_floating_point:
        return y.div(count, rounding_mode="floor")
    return y / count


def _lowest(d: DType) -> Any:
    if d.is_floating_point:
        return float("-inf")
    return 0 if d is dt.uint8 else -(1 << (8 * min(d.itemsize, 4) - 1))


def _highest(d: DType) -> Any:
    if d.is_floating_point:
        return float("inf")
    return 255 if d is dt.uint8 else (1 << (8 * min(d.itemsize, 4) - 1)) - 1


_NEUTRAL: dict[str, Any] = {
    "add": lambda d: 0, "prod": lambda d: 1, "max": _lowest, "min": _highest,
}  # fmt: skip


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """Adds slices of ``source`` to the given positions of a dimension, in a copy."""
    d = wrap_dim(dim, input.ndim)
    if source._shape and source._shape[d] != index.numel():
        raise RuntimeError(
            f"index_add_(): Number of indices ({index.numel()}) should be equal to "
            "source.size(dim): "
            f"({source._shape[d]}), for dim: {d}"
        )
    source = source if alpha == 1 else source * alpha
    return _put(input, *_rows(input, d, index.reshape(-1), error="gather"), source, "add")


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """Copies slices of ``source`` to the given positions of a dimension, in a copy."""
    d = wrap_dim(dim, input.ndim)
    return _put(input, *_rows(input, d, index.reshape(-1)), source, "set")


def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """Fills the given positions of a dimension, in a copy; negative ones count from its end."""
    d = wrap_dim(dim, input.ndim)
    return _put(input, *_rows(input, d, index.reshape(-1), from_end=True), value, "set")


def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Puts (or adds) at flat positions, in a copy."""
    at = ops.checked_index(index, input.numel(), 0, from_end=True)
    return _put(input, at, (), source.reshape(index._shape), "add" if accumulate else "set")


# --- masks --------------------------------------------------------------------------------------


def _count(mask: Tensor) -> tuple[int, Tensor]:
    """How many hold (read from the device), and the running count before each."""
    ones = mask.reshape(-1).to(dt.int32)
    upto = ops.scan(ones, "sum") if ones.numel() else ones
    n = int(upto[-1].item()) if upto.numel() else 0
    return n, upto - ones


def _true_positions(mask: Tensor) -> Tensor:
    """Flat positions where a mask holds, int32, in order."""
    n, before = _count(mask)
    flat = mask.reshape(-1)
    total = flat.numel()
    device = mask.storage.device
    if not n:
        return Tensor._wrap(const(0, dt.int32, (0,)), device)
    place = Tensor._wrap(iota((total,), (1,), 0, dt.int32), device)
    slot = flat.where_(before, before.new_full((), n))
    out = ops.scatter(before.new_zeros((n + 1,)), slot, place, "set")
    return out.narrow(0, 0, n)


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Indices of elements that are not 0, as (n, ndim), or one 1-d tensor per dimension.

    The size depends on the values: this waits for the device.
    """
    mask = (input if input.dtype is dt.bool_ else input != 0).detach()
    flat = _true_positions(mask)
    columns = []
    for n, step in zip(mask._shape, contiguous_strides(mask._shape), strict=True):
        columns.append(((flat // step) % n).to(dt.int64) if n else flat.to(dt.int64))
    if as_tuple:
        if not columns:
            return (flat.to(dt.int64),)
        return tuple(columns)
    if not columns:
        return input.new_zeros((flat._shape[0], 0), dtype=dt.int64)
    from .movement import stack

    return stack(columns, 1)


def argwhere(input: Tensor) -> Tensor:
    """As ``nonzero``."""
    return nonzero(input)


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """Elements where a mask holds, 1-d."""
    if mask.dtype is not dt.bool_:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    from ..shape import broadcast_shapes

    shape = broadcast_shapes(input._shape, mask._shape)
    x, m = input.expand(shape), mask.expand(shape)
    return _labelled(ops.take(x, _true_positions(m.detach())), "MaskedSelectBackward0")


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """Elements of ``source``, in order, where a mask holds, in a copy."""
    m = mask.expand(input._shape)
    n, before = _count(m.detach())
    if n > source.numel():
        raise RuntimeError(
            f"masked_scatter: expected self and source to have same dtypes and source of at least "
            f"{n} elements, got {source.numel()}"
        )
    at = before.reshape(input._shape).clamp(max=max(source.numel() - 1, 0))
    return m.where_(ops.take(source.reshape(-1), at), input)


def where_(condition: Tensor, input: Tensor, other: Any = None) -> Tensor:
    """``where`` from the mask's side; ``other`` defaults to zeros."""
    from .elementwise import where

    return where(condition, input, input.new_zeros(()) if other is None else other)


# --- counting -----------------------------------------------------------------------------------


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each number 0, 1, … occurs (or the sum of its weights)."""
    if input.ndim != 1 or input.dtype.is_floating_point:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    n = max(int(input.max().item()) + 1 if input.numel() else 0, minlength)
    if input.numel() and int(input.min().item()) < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    base = input.new_zeros((n,), dtype=dt.int64 if weights is None else weights.dtype)
    at = ops.checked_index(input, max(n, 1), 0)
    return _put(base, at, (), 1 if weights is None else weights, "add")


def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """1 at the class, 0 elsewhere, along a new last dimension."""
    if input.dtype is not dt.int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if num_classes == -1:
        num_classes = int(input.max().item()) + 1
    elif num_classes < 1:
        raise RuntimeError("Class values must be smaller than num_classes.")
    classes = Tensor._wrap(iota((num_classes,), (1,), 0, dt.int64), input.storage.device)
    checked = ops.checked_index(input, num_classes, 0, error="classes")
    return (checked.unsqueeze(-1) == classes.to(dt.int32)).to(dt.int64)
