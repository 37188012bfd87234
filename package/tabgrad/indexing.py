"""``x[...]`` and ``x[...] = v``: basic indices are views, the rest becomes flat positions."""

from __future__ import annotations

from typing import Any, NamedTuple

from . import dtypes as dt
from .creation import tensor
from .graph import Node, const, elementwise, iota, view
from .ops import functional as ops
from .shape import Shape, broadcast_shapes, contiguous_strides, numel
from .tensor import Tensor

_KINDS = (
    "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid "
    "indices (got {})"
)
_NO_DIMS = (
    "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ "
    "to "
    "convert a 0-dim tensor to a number"
)
_NO_SLICE = "slice() cannot be applied to a 0-dim tensor."


_PARTS = (list, tuple, slice, type(...), type(None), Tensor)


class Advanced(NamedTuple):
    """Index tensors over dimensions of a view: ``at[d]`` or None."""

    view: Tensor
    at: list[Tensor | None]


def _split(x: Tensor, key: Any) -> Advanced:
    """Applies ints, slices, None and ``...`` as views; collects index tensors."""
    from .functions.movement import select, slice_dim, unsqueeze

    keys = list(key) if isinstance(key, tuple) else [key]
    if isinstance(key, list) and len(key) < 32 and any(isinstance(k, _PARTS) for k in key):
        keys = list(key)  # a list that can be no index of its own is taken for a tuple
    used = sum(_consumes(k) for k in keys)
    if used > x.ndim:
        if not x._shape and not isinstance(key, list | tuple | Tensor):
            if _is_int(keys[0]) and int(keys[0]):
                raise IndexError(f"index {keys[0]} is out of bounds for dimension 0 with size 0")
            raise IndexError(_NO_DIMS if _is_int(keys[0]) else _NO_SLICE)
        raise IndexError(f"too many indices for tensor of dimension {x.ndim}")
    out, d = x, 0
    index: dict[int, Tensor] = {}
    waiting: list[tuple[int, Any]] = []  # index tensors and where: checked against the last view
    seen_dots = False
    for place, k in enumerate(keys):
        if isinstance(k, Tensor) and not k._shape and k.dtype in _INTEGERS:
            k = int(k.item())  # as PyTorch: a number, hence a view
        if k is Ellipsis:
            if seen_dots:
                raise IndexError("an index can only have a single ellipsis ('...')")
            seen_dots = True
            d += x.ndim - used
        elif k is None:
            out, d = unsqueeze(out, d), d + 1
        elif _is_flag(k):  # a mask of no dimensions: a new one of one element, or of none
            out = unsqueeze(out, d)
            waiting.append((d, x.new_tensor([0] if k else [], dtype=dt.int64)))
            d += 1
        elif isinstance(k, slice):
            n = out._shape[d]
            start, stop, step = _bounds(k, n)
            length = max((stop - start + step - 1) // step, 0)
            if (start, step, length) != (0, 1, n):
                out = slice_dim(out, d, min(start, n), step, length)
            d += 1
        elif _is_int(k):
            out = _select(select, out, d, int(k), place)
        else:
            waiting.append((d, _known(k)))
            d += _consumes(k)
    for d, k in waiting:
        for i, t in enumerate(_tensors(out, d, k, len(index))):
            index[d + i] = t
    return Advanced(out, [index.get(i) for i in range(out.ndim)] if index else [])


_INTEGERS = (dt.int64, dt.int32, dt.int16, dt.int8)


def _select(select: Any, view: Tensor, d: int, k: int, place: int) -> Tensor:
    n = view._shape[d]
    if not -n <= k < n:
        raise IndexError(f"index {k} is out of bounds for dimension {place} with size {n}")
    return select(view, d, k)


def _is_flag(k: Any) -> bool:
    if isinstance(k, Tensor):
        return not k._shape and k.dtype in (dt.bool_, dt.uint8)
    return isinstance(k, bool)


def _is_int(k: Any) -> bool:
    if isinstance(k, Tensor):
        return False
    return isinstance(k, int) or (hasattr(k, "__index__") and not hasattr(k, "__len__"))


def _bounds(k: slice, n: int) -> tuple[int, int, int]:
    parts = [
        None if v is None else int(v) if not isinstance(v, float) else _not_int(v)
        for v in (k.start, k.stop, k.step)
    ]
    step = 1 if parts[2] is None else parts[2]
    if step <= 0:
        raise ValueError("step must be greater than zero")
    start, stop, _ = slice(parts[0], parts[1], step).indices(n)
    return start, max(start, stop), step


def _not_int(v: Any) -> int:
    raise TypeError("slice indices must be integers or None or have an __index__ method")


def _consumes(k: Any) -> int:
    """How many dimensions an index uses up."""
    if k is None or k is Ellipsis or isinstance(k, bool):
        return 0
    if isinstance(k, Tensor) and k.dtype in (dt.bool_, dt.uint8):
        return k.ndim
    if isinstance(k, list | tuple) or (hasattr(k, "__array__") and not isinstance(k, Tensor)):
        depth = 0
        inner: Any = k
        while isinstance(inner, list | tuple) and inner:
            depth, inner = depth + 1, inner[0]
        if isinstance(inner, bool):
            return depth
        if hasattr(k, "dtype") and str(k.dtype) == "bool":
            return len(inner.shape)
    return 1


def _known(k: Any) -> Any:
    """An index that is a tensor or becomes one."""
    if not isinstance(k, Tensor) and (
        isinstance(k, str | dict | float) or not hasattr(k, "__len__")
    ):
        raise IndexError(_KINDS.format(type(k).__name__))
    return k


def _tensors(view: Tensor, d: int, k: Any, nr: int) -> list[Tensor]:
    """The ``nr``-th index as integer tensors, one per dimension it covers, masks as positions."""
    if not isinstance(k, Tensor):
        if isinstance(k, list | tuple | range):
            _check_listed(view, d, k, nr)
        k = tensor(
            list(k) if isinstance(k, tuple | range) else k,
            dtype=None if len(k) else dt.int64,
            device=view.storage.device,
        )
    if k.dtype in (dt.bool_, dt.uint8):
        for i, n in enumerate(k._shape):
            if n != view._shape[d + i]:
                raise IndexError(
                    f"The shape of the mask {list(k._shape)} at index {i} does not match the shape "
                    f"of the indexed tensor {list(view._shape)} at index {d + i}"
                )
        return list((k if k.dtype is dt.bool_ else k != 0).nonzero(as_tuple=True))
    if k.dtype.is_floating_point:
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    if k.storage.device is not view.storage.device:
        k = k.to(view.device)
    return [k]


def _check_listed(view: Tensor, d: int, k: Any, nr: int) -> None:
    """Positions that are known on the host are checked there, so that the error names them."""
    if d >= view.ndim or not view._shape[d]:
        return
    n = view._shape[d]
    for i in k:
        if type(i) is int and not -n <= i < n:
            raise IndexError(f"index {i} is out of bounds for dimension {nr} with size {n}")


def _lead(a: Advanced) -> tuple[Shape, Shape, Shape, list[int]]:
    """Shapes before, of and after the index tensors, and the dimensions they cover."""
    dims = [d for d, t in enumerate(a.at) if t is not None]
    shape: Shape = ()
    for d in dims:
        t: Any = a.at[d]
        try:
            shape = broadcast_shapes(shape, t._shape)
        except RuntimeError:
            shapes = ", ".join(str(list(a.at[k]._shape)) for k in dims)  # type: ignore[union-attr]
            raise IndexError(
                "shape mismatch: indexing tensors could not be broadcast together with shapes "
                f"{shapes}"
            ) from None
    together = dims == list(range(dims[0], dims[-1] + 1))
    rest = [d for d in range(a.view.ndim) if d not in dims]
    before = [d for d in rest if together and d < dims[0]]
    after = [d for d in rest if d not in before]
    s = a.view._shape
    return tuple(s[d] for d in before), shape, tuple(s[d] for d in after), dims


def positions(a: Advanced) -> tuple[Tensor, Shape]:
    """Which rows of ``view`` the index reads, and their shape; both are the result's."""
    before, shape, after, dims = _lead(a)
    tail = a.view._shape[dims[-1] + 1 :]  # indexed whole
    basis = contiguous_strides(a.view._shape[: dims[-1] + 1])
    rest = [d for d in range(dims[-1]) if d not in dims]
    n = len(shape)
    strides = [basis[d] for d in rest]
    strides[len(before) : len(before)] = [0] * n
    after = after[: len(rest) - len(before)]
    full = (*before, *shape, *after)
    out: Node = iota(full, tuple(strides), 0, dt.int32)
    for nr, d in enumerate(dims):  # PyTorch's errors count index tensors, not dimensions
        t: Any = a.at[d]
        size = a.view._shape[d]
        if not size and numel(full + tail):
            raise IndexError("index is out of bounds for dimension with size 0")
        k = ops.checked_index(t, size, nr, from_end=True).node()
        seen = k.shape
        k = view(k, (*seen, *(1,) * len(after)), (*contiguous_strides(seen), *(1,) * len(after)), 0)
        term = elementwise("mul", (k, const(basis[d], dt.int32)), dt.int32)
        out = elementwise("add", (out, term), dt.int32)
    return Tensor._wrap(out, a.view.storage.device), tail


def getitem(x: Tensor, key: Any) -> Tensor:
    """``x[key]``: a view for ints, slices, None and ``...``; a copy with index tensors."""
    a = _split(x, key)
    if not a.at:
        return a.view if a.view is not x else x._window_of_all()
    _check_static(a)
    y = ops.take(a.view, *positions(a))
    if y._grad_fn is not None:
        y._grad_fn.label = "IndexBackward0"
    return y


def _check_static(a: Advanced) -> None:
    if a.view.numel() >= 1 << 31:
        raise RuntimeError("indexing: a tensor of 2**31 elements or more is not supported")


def setitem(x: Tensor, key: Any, value: Any) -> None:
    """``x[key] = value``, broadcast and converted to the dtype of ``x``."""
    if isinstance(key, Tensor) and key.dtype is dt.bool_ and _is_number(value):
        _set_masked(x, key, value)
        return
    a = _split(x, key)
    if not isinstance(value, Tensor):
        value = (
            x.new_tensor(value, dtype=x.dtype)
            if not _is_number(value)
            else (x.new_full((), value, dtype=x.dtype))
        )
    if value.storage.device is not x.storage.device:
        value = value.to(x.device)
    if not a.at:
        _set_view(a.view, value)
        return
    _check_static(a)
    put(a, value, accumulate=False)


def _is_number(v: Any) -> bool:
    return isinstance(v, bool | int | float) or (isinstance(v, Tensor) and not v._shape)


def _set_masked(x: Tensor, mask: Tensor, value: Any) -> None:
    """A number where a mask holds: no positions are needed."""
    if mask.ndim > x.ndim:
        raise IndexError(f"too many indices for tensor of dimension {x.ndim}")
    for i, n in enumerate(mask._shape):
        if n != x._shape[i]:
            raise IndexError(
                f"The shape of the mask {list(mask._shape)} at index {i} does not match the shape "
                f"of the indexed tensor {list(x._shape)} at index {i}"
            )
    wide = mask.reshape((*mask._shape, *(1,) * (x.ndim - mask.ndim)))
    if not isinstance(value, Tensor):
        value = x.new_full((), value, dtype=x.dtype)
    x._write(wide.where_(value.to(x.dtype), x._before_write()), repeats=True)


def _set_view(view: Tensor, value: Tensor) -> None:
    """Into a window; leading ones of the value are dropped, as PyTorch does."""
    if value._shape != view._shape:
        while value._shape and value._shape[0] == 1:
            value = value.squeeze(0)
        value = value.expand(view._shape)
    view.copy_(value)


def put(a: Advanced, value: Tensor, accumulate: bool) -> None:
    """Writes or adds at index tensors of a view, in place."""
    at, tail = positions(a)
    shape = at._shape + tail
    if value.dtype is not a.view.dtype:
        value = value.to(a.view.dtype)
    while value.ndim > len(shape) and value._shape[0] == 1:
        value = value.squeeze(0)
    try:
        value = value.expand(shape)
    except RuntimeError:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(value._shape)} cannot be broadcast to "
            f"indexing result of shape {list(shape)}"
        ) from None
    old = a.view._before_write()
    mode = "add" if accumulate else "set"
    new = ops.scatter(old.reshape(-1), at, value, mode)
    a.view._write(new.reshape(a.view._shape))


def index_put_(self: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """Puts (or adds) values at index tensors, in place."""
    put(_split(self, tuple(indices)), values, accumulate)
    return self


def index_put(self: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy with values put at index tensors."""
    return index_put_(self.clone(), indices, values, accumulate)


def relative_geometry(x: Tensor, base: Tensor) -> tuple[Shape, Shape, int]:
    """A window over the linear numbering of a base that is itself not contiguous."""
    if not numel(x._shape):
        return x._shape, contiguous_strides(x._shape), 0
    order = sorted(
        (d for d in range(base.ndim) if base._shape[d] > 1), key=lambda d: -base._strides[d]
    )
    span = tuple(base._strides[d] for d in order)
    basis = contiguous_strides(base._shape)
    strides = []
    offset, rest = 0, x._offset - base._offset
    for d, s in zip(order, span, strict=True):
        offset += (rest // s) * basis[d]
        rest %= s
    for n, s in zip(x._shape, x._strides, strict=True):
        k = next((k for k in order if s and s % base._strides[k] == 0), None)
        strides.append(0 if k is None or n == 1 else s // base._strides[k] * basis[k])
    return x._shape, tuple(strides), offset
