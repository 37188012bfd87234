"""Views and rearrangements: what moves elements and computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from .. import autograd
from .. import dtypes as dt
from ..graph import Node, cast, const, iota
from ..ops.functional import Geometry, ViewRow, apply, apply_view, device_of, take
from ..ops.row import Row
from ..promotion import result_type
from ..shape import (
    Shape,
    contiguous_strides,
    extent,
    infer_size,
    is_contiguous,
    numel,
    reshape_strides,
    wrap_dim,
    wrap_dims,
)
from ..tensor import Tensor


def _ints(args: tuple[Any, ...]) -> tuple[int, ...]:
    """``f(2, 3)`` and ``f([2, 3])`` alike."""
    one = len(args) == 1 and isinstance(args[0], _LISTS)
    return tuple(map(int, args[0] if one else args))


_LISTS = (list, tuple)  # a union would be made anew at every call


# --- reshapes -----------------------------------------------------------------------------------


def _view_geometry(shape: Shape, strides: Shape, offset: int, *, size: Shape) -> Geometry:
    out = reshape_strides(shape, strides, size)
    if out is None:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one "
            "dimension spans across two contiguous subspaces). Use .reshape(...) instead."
        )
    return size, out, offset


VIEW = ViewRow("view", _view_geometry, lambda g, shape: g.reshape(shape))


def view(input: Tensor, *shape: Any, dtype: Any = None) -> Tensor:
    """The same elements under another shape, sharing storage; -1 is inferred."""
    if dtype is not None or (len(shape) == 1 and isinstance(shape[0], dt.DType)):
        from .bits import view_dtype

        return view_dtype(input, dtype or shape[0])
    size = infer_size(_ints(shape), input.numel())
    return apply_view(VIEW, input, size=size)


def reshape(input: Tensor, *shape: Any) -> Tensor:
    """As ``view`` where possible, else of a copy."""
    size = infer_size(_ints(shape), input.numel())
    if size == input._shape and not input.requires_grad:
        return input._window(size, input._strides, input._offset)
    if reshape_strides(input._shape, input._strides, size) is not None:
        return apply_view(VIEW, input, size=size)
    y = apply_view(VIEW, contiguous(input), size=size)
    y._base, y._origin = None, ""  # the copy is seen by nobody else
    return y


def view_as(input: Tensor, other: Tensor) -> Tensor:
    """``view`` with the other's shape."""
    return view(input, other._shape)


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """``reshape`` to the other's shape."""
    return reshape(input, other._shape)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Joins a range of dimensions into one."""
    if not input._shape:
        return reshape(input, 1)
    a, b = wrap_dim(start_dim, input.ndim), wrap_dim(end_dim, input.ndim)
    if a > b:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if a == b:
        return input
    s = input._shape
    return reshape(input, (*s[:a], numel(s[a : b + 1]), *s[b + 1 :]))


def ravel(input: Tensor) -> Tensor:
    """All elements in one dimension, in row-major order."""
    return reshape(contiguous(input), -1)


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Splits one dimension into several."""
    d = wrap_dim(dim, input.ndim)
    s = input._shape
    return view(input, (*s[:d], *infer_size(tuple(sizes), s[d]), *s[d + 1 :]))


def _squeeze_geometry(shape: Shape, strides: Shape, offset: int, *, dims: Shape) -> Geometry:
    keep = [d for d in range(len(shape)) if not (d in dims and shape[d] == 1)]
    return tuple(shape[d] for d in keep), tuple(strides[d] for d in keep), offset


SQUEEZE = ViewRow("squeeze", _squeeze_geometry, lambda g, shape: g.reshape(shape))


def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Drops dimensions of size 1."""
    if isinstance(dim, list | tuple) and not dim:
        return apply_view(SQUEEZE, input, dims=())
    return apply_view(SQUEEZE, input, dims=wrap_dims(dim, input.ndim))


def _unsqueeze_geometry(shape: Shape, strides: Shape, offset: int, *, dim: int) -> Geometry:
    step = shape[dim] * strides[dim] if dim < len(shape) else 1
    return (*shape[:dim], 1, *shape[dim:]), (*strides[:dim], step, *strides[dim:]), offset


UNSQUEEZE = ViewRow("unsqueeze", _unsqueeze_geometry, lambda g, shape: g.reshape(shape))


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A new dimension of size 1."""
    return apply_view(UNSQUEEZE, input, dim=wrap_dim(dim, input.ndim + 1))


# --- permutations -------------------------------------------------------------------------------


def _permute_geometry(shape: Shape, strides: Shape, offset: int, *, dims: Shape) -> Geometry:
    return tuple([shape[d] for d in dims]), tuple([strides[d] for d in dims]), offset


def _unpermute(g: Tensor, dims: Shape) -> Tensor:
    return permute(g, tuple(dims.index(d) for d in range(len(dims))))


PERMUTE = ViewRow("permute", _permute_geometry, _unpermute)
TRANSPOSE = ViewRow("transpose", _permute_geometry, _unpermute)
T = ViewRow("t", _permute_geometry, _unpermute)


def permute(input: Tensor, *dims: Any) -> Tensor:
    """The dimensions in another order."""
    if not dims:
        raise TypeError('permute() missing 1 required positional arguments: "dims"')
    order = _ints(dims)
    if len(order) != input.ndim:
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the "
            f"length of the desired ordering of dimensions i.e. input.dim() = {input.ndim} is not "
            f"equal to len(dims) = {len(order)}"
        )
    return apply_view(PERMUTE, input, dims=_permutation(order))


@lru_cache(4096)
def _permutation(dims: Shape) -> Shape:
    order = tuple(wrap_dim(d, len(dims)) for d in dims)
    if len(set(order)) != len(order):
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return order


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions swapped."""
    order = [*range(input.ndim)]
    if order:
        a, b = wrap_dim(dim0, input.ndim), wrap_dim(dim1, input.ndim)
        order[a], order[b] = order[b], order[a]
    else:
        wrap_dim(dim0, 0), wrap_dim(dim1, 0)
    return apply_view(TRANSPOSE, input, dims=tuple(order))


swapaxes = swapdims = transpose


def t(input: Tensor, name: str = "t") -> Tensor:
    """A matrix transposed."""
    if input.ndim > 2:
        raise RuntimeError(
            f"{name}() expects a tensor with <= 2 dimensions, but self is {input.ndim}D"
        )
    return apply_view(T, input, dims=(1, 0) if input.ndim == 2 else tuple(range(input.ndim)))


def mT(input: Tensor) -> Tensor:
    """The last two dimensions swapped."""
    if input.ndim < 2:
        raise RuntimeError(
            "tensor.mT is only supported on matrices or batches of matrices. Got "
            f"{input.ndim}-D tensor."
        )
    return transpose(input, -2, -1)


def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Dimensions moved to other places."""
    src = wrap_dims(source, input.ndim)
    dst = wrap_dims(destination, input.ndim)
    order = [d for d in range(input.ndim) if d not in src]
    for d, s in sorted(zip(dst, src, strict=True)):
        order.insert(d, s)
    out = permute(input, order)
    if not order and out._grad_fn is not None:
        out._grad_fn.label = "AliasBackward0"
    return out


moveaxis = movedim


# --- expansion ----------------------------------------------------------------------------------


def _expand_geometry(shape: Shape, strides: Shape, offset: int, *, size: Shape) -> Geometry:
    pad = len(size) - len(shape)
    out = [
        0 if n == 1 and m != 1 else s for n, s, m in zip(shape, strides, size[pad:], strict=True)
    ]
    for d in range(pad - 1, -1, -1):  # a new dimension of 1 steps over the next one
        out.insert(0, size[d + 1] * out[0] if shape and size[d] == 1 else 0)
    return size, tuple(out), offset


EXPAND = ViewRow("expand", _expand_geometry, lambda g: g)  # the engine sums it down


def expand(input: Tensor, *size: Any, implicit: bool = False) -> Tensor:
    """Dimensions of size 1 seen as larger; -1 keeps a size."""
    want = _ints(size)
    pad = len(want) - input.ndim
    if pad < 0:
        kind = _EXPAND_NAMES.get(input.dtype.name) or input.type_name()
        raise RuntimeError(
            f"expand({kind}{{{list(input._shape)}}}, size={list(want)}): the number of "
            f"sizes provided ({len(want)}) must be greater or equal to the number of dimensions in "
            f"the tensor ({input.ndim})"
        )
    out = list(want)
    for i, n in reversed([*enumerate(want)]):
        have = input._shape[i - pad] if i >= pad else 1
        if n == -1:
            if i < pad:
                raise RuntimeError(
                    f"expand({input.type_name()}{{{list(input._shape)}}}, size={list(want)}): the "
                    f"expanded size of the tensor (-1) isn't allowed in a leading, non-existing "
                    f"dimension {i}"
                )
            out[i] = have
        elif n != have and have != 1:
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) must match the existing size ({have}) at "
                f"non-singleton dimension {i}.  Target sizes: {list(want)}.  Tensor sizes: "
                f"{list(input._shape)}"
            )
    return apply_view(EXPAND, input, size=tuple(out))


# these have no legacy type, says PyTorch
_EXPAND_NAMES = {"bool": "CPUBoolType", "bfloat16": "CPUBFloat16Type"}


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """``expand`` to the other's shape."""
    return expand(input, other._shape)


def broadcast_to(input: Tensor, *size: Any, shape: Any = None) -> Tensor:
    """``expand`` to a shape."""
    return expand(input, *(size if shape is None else (tuple(shape),)))


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All expanded to their common shape."""
    shape = broadcast_shapes(*[x._shape for x in tensors])
    return tuple(expand(x, shape) for x in tensors)


def broadcast_shapes(*shapes: Sequence[int]) -> Any:
    """The common shape."""
    from ..shape import broadcast_shapes as join
    from ..tensor import Size

    out: Shape = ()
    for s in shapes:
        out = join(out, (s,) if isinstance(s, int) else tuple(s))
    return Size(out)


def repeat(input: Tensor, *repeats: Any) -> Tensor:
    """Copies along each dimension."""
    times = _ints(repeats)
    if len(times) < input.ndim:
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of "
            "tensor"
        )
    shape = (1,) * (len(times) - input.ndim) + input._shape
    if 0 in times:
        return input.new_zeros(tuple(n * k for n, k in zip(shape, times, strict=True)))
    split: list[int] = []
    wide: list[int] = []
    for n, k in zip(shape, times, strict=True):
        split += [1, n]
        wide += [k, n]
    out = clone(expand(reshape(input, split), wide))
    return reshape(out, tuple(n * k for n, k in zip(shape, times, strict=True)))


def tile(input: Tensor, *dims: Any) -> Tensor:
    """As ``repeat``; missing leading repeats are 1."""
    times = _ints(dims)
    return repeat(input, (1,) * (input.ndim - len(times)) + times)


def _counts(repeats: Tensor) -> list[int]:
    counts: list[int] = repeats.tolist()
    if min(counts, default=0) < 0:
        raise RuntimeError("repeats can not be negative")
    return counts


def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each element repeated in place."""
    if repeats is None:
        counts = _counts(input)
        index = [i for i, k in enumerate(counts) for _ in range(k)]
        return input.new_tensor(index, dtype=dt.int64)
    if dim is None:
        input, dim = reshape(input, -1), 0
    dim = wrap_dim(dim, input.ndim)
    if isinstance(repeats, Tensor) and repeats.numel() > 1:
        counts = _counts(repeats)
        if len(counts) != input._shape[dim]:
            raise RuntimeError(
                "repeats must have the same size as input along dim, but got "
                f"repeats.size(0) = {len(counts)} and input.size({dim}) = {input._shape[dim]}"
            )
        rows = [i for i, k in enumerate(counts) for _ in range(k)]
        return input.index_select(dim, input.new_tensor(rows, dtype=dt.int64))
    k = int(repeats)
    if k < 0:
        raise RuntimeError("Repeats must be non-negative")
    s = input._shape
    wide = expand(unsqueeze(input, dim + 1), (*s[: dim + 1], k, *s[dim + 1 :]))
    return reshape(contiguous(wide), (*s[:dim], s[dim] * k, *s[dim + 1 :]))


# --- windows ------------------------------------------------------------------------------------


def _slice_geometry(
    shape: Shape, strides: Shape, offset: int, *, dim: int, start: int, step: int, length: int
) -> Geometry:
    return (
        (*shape[:dim], length, *shape[dim + 1 :]),
        (*strides[:dim], strides[dim] * step, *strides[dim + 1 :]),
        offset + start * strides[dim],
    )


SLICE = ViewRow("slice", _slice_geometry)


def slice_dim(input: Tensor, dim: int, start: int, step: int, length: int) -> Tensor:
    """Every ``step``-th of ``length`` positions from ``start`` on."""
    return apply_view(SLICE, input, dim=dim, start=start, step=step, length=length)


def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """``length`` positions from ``start`` on."""
    if not input._shape:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    d = wrap_dim(dim, input.ndim)
    n, start = input._shape[d], int(start)
    if not -n <= start <= n:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-n}, {n}], but got {start})"
        )
    start = start + n if start < 0 else start
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if start + length > n:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    return slice_dim(input, d, start, 1, length)


def _select_geometry(
    shape: Shape, strides: Shape, offset: int, *, dim: int, index: int
) -> Geometry:
    return (
        shape[:dim] + shape[dim + 1 :],
        strides[:dim] + strides[dim + 1 :],
        offset + index * strides[dim],
    )


SELECT = ViewRow("select", _select_geometry)


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """One position of a dimension, which goes away."""
    if not input._shape:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    d = wrap_dim(dim, input.ndim)
    n = input._shape[d]
    if not -n <= index < n:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(input._shape)} at "
            f"dimension {d}"
        )
    return apply_view(SELECT, input, dim=d, index=index + n if index < 0 else index)


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """All positions of a dimension as a tuple."""
    d = wrap_dim(dim, input.ndim)
    if not input._shape:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    out = [apply_view(SELECT, input, dim=d, index=i) for i in range(input._shape[d])]
    return _many(out, "Unbind")


def _many(views: list[Tensor], name: str) -> tuple[Tensor, ...]:
    """Views made by one call: none of them may be written to where history is kept."""
    for i, x in enumerate(views):
        if x._origin != "no_grad":
            x._origin = f"Output {i} of {name}"
            x._born = x.storage.version
    return tuple(views)


def split(input: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of pieces of a size, or of the given sizes."""
    if not input._shape:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    d = wrap_dim(dim, input.ndim)
    n = input._shape[d]
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size < 0 or (size == 0 and n):
            raise RuntimeError(
                f"split expects split_size be non-negative, but got split_size={size}"
            )
        sizes = [min(size, n - i) for i in range(0, n, size)] if n else [0]
    else:
        sizes = [int(s) for s in split_size_or_sections]
        if sum(sizes) != n:
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size "
                f"at dimension {d}), but got split_sizes={sizes}"
            )
    out, start = [], 0
    for s in sizes:
        out.append(slice_dim(input, d, start, 1, s))
        start += s
    return _many(out, "Split")


def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """As ``split`` with a list."""
    return split(input, list(split_sizes), dim)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` views of equal size, the last perhaps smaller."""
    if not input._shape:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    d = wrap_dim(dim, input.ndim)
    n = input._shape[d]
    if not n:
        return tuple(input for _ in range(chunks))
    return split(input, -(-n // chunks), d)


def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Cut at the given positions, or into pieces that differ by at most one."""
    d = wrap_dim(dim, input.ndim)
    n = input._shape[d]
    if isinstance(indices_or_sections, int):
        k = indices_or_sections
        marks = [n // k * i + min(i, n % k) for i in range(1, k)]
    else:
        marks = [min(i + n if i < 0 else i, n) for i in map(int, indices_or_sections)]
    edges = [0, *marks, n]
    return tuple(
        slice_dim(input, d, a, 1, max(b - a, 0)) for a, b in zip(edges, edges[1:], strict=False)
    )


def hsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """``tensor_split`` along columns."""
    return tensor_split(input, indices_or_sections, 0 if input.ndim == 1 else 1)


def vsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """``tensor_split`` along rows."""
    return tensor_split(input, indices_or_sections, 0)


def _diagonal_geometry(
    shape: Shape, strides: Shape, offset: int, *, k: int, dim1: int, dim2: int
) -> Geometry:
    n = max(min(shape[dim1], shape[dim2] - k) if k >= 0 else min(shape[dim1] + k, shape[dim2]), 0)
    if n:
        offset += k * strides[dim2] if k >= 0 else -k * strides[dim1]
    rest = [d for d in range(len(shape)) if d not in (dim1, dim2)]
    return (
        (*[shape[d] for d in rest], n),
        (*[strides[d] for d in rest], strides[dim1] + strides[dim2]),
        offset,
    )


DIAGONAL = ViewRow("diagonal", _diagonal_geometry)


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A view of a diagonal, as the last dimension."""
    a, b = wrap_dim(dim1, input.ndim), wrap_dim(dim2, input.ndim)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return apply_view(DIAGONAL, input, k=offset, dim1=a, dim2=b)


def diag(input: Tensor, diagonal_: int = 0, *, diagonal: int | None = None) -> Tensor:
    """The diagonal of a matrix (a copy), or a matrix with this diagonal."""
    k = diagonal_ if diagonal is None else diagonal
    if input.ndim == 2:
        return clone(globals()["diagonal"](input, k))
    if input.ndim != 1:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")
    return diag_embed(input, k)


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices with the given diagonals."""
    from ..ops.functional import store

    size = input._shape[-1] + abs(offset)
    shape = (*input._shape[:-1], size, size)
    n = len(shape)
    geometry = _diagonal_geometry(
        shape, contiguous_strides(shape), 0, k=offset, dim1=n - 2, dim2=n - 1
    )
    out = store(input.new_zeros(shape), input, geometry)
    return movedim(out, (-2, -1), (dim1, dim2)) if (dim1, dim2) != (-2, -1) else out


def _unfold_geometry(
    shape: Shape, strides: Shape, offset: int, *, dim: int, size: int, step: int
) -> Geometry:
    n = (shape[dim] - size) // step + 1
    return (
        (*shape[:dim], n, *shape[dim + 1 :], size),
        (*strides[:dim], strides[dim] * step, *strides[dim + 1 :], strides[dim]),
        offset,
    )


UNFOLD = ViewRow("unfold", _unfold_geometry)


def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Sliding windows along a dimension, as a new last dimension; they share storage."""
    d = wrap_dim(dimension, input.ndim)
    n = input._shape[d] if input._shape else 1
    if size > n:
        raise RuntimeError(f"maximum size for tensor at dimension {d} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    if not input._shape:
        return expand(reshape(input, 1), size)
    return apply_view(UNFOLD, input, dim=d, size=size, step=step)


def _as_strided_geometry(
    shape: Shape, strides: Shape, offset: int, *, size: Shape, stride: Shape, at: int, own: Any
) -> Geometry:
    return size, stride, at


def _grad_as_strided(g: Tensor, size: Shape, stride: Shape, at: int, own: Any) -> Tensor:
    """Adds the gradient at the addresses read, then looks through the input's own window."""
    from ..ops.functional import place, window

    _, top = extent(*own)
    _, top2 = extent(size, stride, at)
    flat = place(g, (max(top, top2) + 1,), (size, stride, at))
    return window(flat, own)


AS_STRIDED = ViewRow("as_strided", _as_strided_geometry, _grad_as_strided)


def as_strided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """Any window on the storage, in elements."""
    size, stride = tuple(size), tuple(stride)
    at = input._offset if storage_offset is None else storage_offset
    if len(size) != len(stride):
        raise RuntimeError("mismatch in length of strides and shape")
    if any(s < 0 for s in stride):
        raise RuntimeError(
            "as_strided: Negative strides are not supported at the moment, got strides: "
            f"{list(stride)}"
        )
    if at < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {at}")
    _, top = extent(size, stride, at)
    if top >= input.storage.nelems:
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {at}, and "
            f"itemsize {input.dtype.itemsize} requiring a storage size of "
            f"{(top + 1) * input.dtype.itemsize} are out of bounds for storage of size "
            f"{input.storage.nelems * input.dtype.itemsize}"
        )
    own = (input._shape, input._strides, input._offset)
    return apply_view(AS_STRIDED, input, size=size, stride=stride, at=at, own=own)


# --- copies -------------------------------------------------------------------------------------

CLONE = Row("clone", "x", lambda x: Node("copy", (x,), x.shape, x.dtype) if x.op == "view" else x,
            {"x": lambda g: g})  # fmt: skip


def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy with storage of its own (copied when either is written)."""
    return apply(CLONE, input)


def contiguous(input: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself if its elements lie in row-major order, else a copy that does."""
    return input if is_contiguous(input._shape, input._strides) else clone(input)


def _flip_geometry(shape: Shape, strides: Shape, offset: int, *, dims: Shape) -> Geometry:
    for d in dims:
        offset += (shape[d] - 1) * strides[d]
    return shape, tuple(-s if d in dims else s for d, s in enumerate(strides)), offset


def _flip_node(x: Node, dims: Shape) -> Node:
    from ..graph import view as window

    if not numel(x.shape):
        return x
    return window(x, *_flip_geometry(x.shape, contiguous_strides(x.shape), 0, dims=dims))


FLIP = Row("flip", "x", _flip_node, {"x": lambda g, dims: flip(g, dims)})


def flip(input: Tensor, *dims: Any) -> Tensor:
    """The order along the given dimensions reversed, as a copy."""
    return apply(FLIP, input, dims=tuple(wrap_dim(d, input.ndim) for d in _ints(dims)))


def fliplr(input: Tensor) -> Tensor:
    """Columns reversed."""
    return flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """Rows reversed."""
    return flip(input, 0)


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Rotated by 90° in a plane, ``k`` times."""
    a, b = dims
    k %= 4
    if k == 0:
        return clone(input)
    if k == 2:
        return flip(input, (a, b))
    return transpose(flip(input, b if k == 1 else a), a, b)


def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Elements shifted along dimensions, what falls off coming back in."""
    if dims is None or dims == ():
        return reshape(roll(reshape(input, -1), shifts, 0), input._shape)
    shifts = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(shifts) != len(dims):
        raise RuntimeError(
            f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}"
        )
    x = input
    for k, dim in zip(shifts, dims, strict=True):
        d = wrap_dim(dim, x.ndim)
        n = x._shape[d]
        k = k % n if n else 0
        if k:
            x = cat([narrow(x, d, n - k, k), narrow(x, d, 0, n - k)], d)
    return x if x is not input else clone(input)


def _cat_node(*srcs: Node, dim: int) -> Node:
    """One store after another into the same memory."""
    first = srcs[0]
    total = sum(s.shape[dim] for s in srcs)
    shape = (*first.shape[:dim], total, *first.shape[dim + 1 :])
    strides = contiguous_strides(shape)
    out = Node("empty", (), shape, first.dtype)
    at = 0
    for s in srcs:
        if numel(s.shape):
            out = Node("store", (out, s), shape, first.dtype, (strides, at * strides[dim]))
        at += s.shape[dim]
    return out if at and numel(shape) else const(0, first.dtype, shape)


class _Cat:
    """The row of a concatenation: as many inputs as tensors."""

    name = "cat"

    def __init__(self, sizes: list[int], dim: int) -> None:
        self.inputs = tuple(f"x{i}" for i in range(len(sizes)))
        self.saves = tuple(("g",) for _ in sizes)
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        self.grads = tuple(
            (lambda g, a=a, n=n: narrow(g, dim, a, n)) for a, n in zip(starts, sizes, strict=True)
        )


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of the elements of 1-d tensors, one per row."""
    from ..creation import meshgrid

    if len(tensors) == 1:
        return tensors[0]
    return stack([reshape(x, -1) for x in meshgrid(*tensors, indexing="ij")], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of ``r`` elements of a 1-d tensor, one per row."""
    import itertools

    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = [list(c) for c in choose(range(input._shape[0]), r)]
    index = input.new_tensor(rows, dtype=dt.int64).reshape(len(rows), r)
    return reshape(take(input, index.to(dt.int32)), index._shape)


def detach(input: Tensor) -> Tensor:
    """The same storage, cut off from the tape."""
    return input.detach()


def cat(tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None) -> Tensor:
    """Tensors joined along a dimension; other sizes must agree."""
    xs = list(tensors)
    if not xs:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    dim = dim if axis is None else axis
    for i, x in enumerate(xs):
        if not isinstance(x, Tensor):
            raise TypeError(
                f"expected Tensor as element {i} in argument 0, but got {type(x).__name__}"
            )
        if not x._shape:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    dtype = xs[0].dtype
    if any(x.dtype is not dtype for x in xs):
        dtype = result_type(*xs)
    real = [x for x in xs if x._shape != (0,)] or xs[:1]
    d = wrap_dim(dim, real[0].ndim)
    _check_cat(real, xs, d)
    device = device_of("cat", real)
    node = _cat_node(*[cast(x.node(), dtype) for x in real], dim=d)
    out = Tensor._wrap(node, device)
    if autograd.mode.grad and dtype.is_floating_point and any(x.requires_grad for x in real):
        autograd.record(_Cat([x._shape[d] for x in real], d), real, out, {})  # type: ignore[arg-type]
    return out


def _check_cat(real: list[Tensor], xs: list[Tensor], d: int) -> None:
    first = real[0]
    for x in real[1:]:
        if x.ndim != first.ndim:
            raise RuntimeError(
                f"Tensors must have same number of dimensions: got {first.ndim} and {x.ndim}"
            )
        for k, (a, b) in enumerate(zip(first._shape, x._shape, strict=True)):
            if a != b and k != d:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {d}. Expected size {a} but "
                    f"got size {b} for tensor number {[y is x for y in xs].index(True)} in the "
                    "list."
                )


concat = concatenate = cat


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape joined along a new dimension."""
    xs = list(tensors)
    if not xs:
        raise RuntimeError("stack expects a non-empty TensorList")
    for i, x in enumerate(xs):
        if x._shape != xs[0]._shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(xs[0]._shape)} at "
                f"entry 0 and {list(x._shape)} at entry {i}"
            )
    d = wrap_dim(dim, xs[0].ndim + 1)
    out = cat([unsqueeze(x, d) for x in xs], d)
    if out._grad_fn is not None:
        out._grad_fn.label = "StackBackward0"
    return out


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along columns."""
    xs = [reshape(x, 1) if not x._shape else x for x in tensors]
    return cat(xs, 0 if xs[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along rows."""
    return cat([reshape(x, (1, -1)) if x.ndim < 2 else x for x in tensors], 0)


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along depth."""
    return cat([atleast_3d(x) for x in tensors], 2)


def atleast_1d(input: Tensor) -> Tensor:
    """With at least one dimension."""
    return input if input.ndim else reshape(input, 1)


def atleast_2d(input: Tensor) -> Tensor:
    """With at least two dimensions."""
    return input if input.ndim >= 2 else reshape(input, (1, -1))


def atleast_3d(input: Tensor) -> Tensor:
    """With at least three dimensions."""
    return input if input.ndim >= 3 else unsqueeze(atleast_2d(input), -1)


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of matrices, zeros above."""
    return _triangle(input, diagonal, "ge")


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of matrices, zeros below."""
    return _triangle(input, diagonal, "le")


def _triangle(x: Tensor, k: int, op: str) -> Tensor:
    from ..graph import compare

    if x.ndim < 2:
        raise RuntimeError(
            f"tri{'l' if op == 'ge' else 'u'}: input tensor must have at least 2 dimensions"
        )
    n, m = x._shape[-2:]
    row, col = iota((n, 1), (1, 0), k, dt.int32), iota((1, m), (0, 1), 0, dt.int32)
    mask = Tensor._wrap(compare(op, row, col), x.storage.device)
    from .elementwise import where

    return where(mask, x, x.new_zeros(()))


def triangle_indices(row: int, col: int, offset: int, lower: bool, device: Any) -> Tensor:
    """Indices of a triangle, as (2, n)."""
    from ..creation import tensor

    pairs = [
        (i, j) for i in range(row) for j in range(col)
        if (j - i <= offset if lower else j - i >= offset)
    ]  # fmt: skip
    return tensor([[p[0] for p in pairs], [p[1] for p in pairs]], dtype=dt.int64, device=device)


def tril_indices(row: int, col: int, offset: int = 0, *, device: Any = None, **_: Any) -> Tensor:
    """Row and column indices of the lower triangle."""
    return triangle_indices(row, col, offset, True, device)


def triu_indices(row: int, col: int, offset: int = 0, *, device: Any = None, **_: Any) -> Tensor:
    """Row and column indices of the upper triangle."""
    return triangle_indices(row, col, offset, False, device)


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Widens (or with negative numbers narrows) the last dimensions; pairs from the last one on."""
    from .padding import pad as padded

    return padded(input, tuple(pad), mode, value)


def take_flat(input: Tensor, index: Tensor) -> Tensor:
    """Elements at flat positions, as ``torch.take``."""
    from ..ops.functional import checked_index

    flat = reshape(input, -1)
    return take(flat, checked_index(index, flat._shape[0], 0, from_end=True))
