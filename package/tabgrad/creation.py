"""New tensors: from Python data, numpy arrays, sizes and ranges."""

from __future__ import annotations

import math
import struct
from array import array
from operator import index
from typing import Any

from . import dtypes as dt
from . import runtime
from .dtypes import DType
from .graph import Node, cast, const, elementwise, iota, number
from .promotion import fit
from .shape import Shape
from .tensor import LEGACY_TYPES, Tensor, check_dims, upload


def _finish(node: Node, device: Any, requires_grad: bool, out: Tensor | None = None) -> Tensor:
    x = Tensor._wrap(node, device)
    if out is not None:
        return out._resized(x._shape)._write(x)
    if requires_grad:
        x.requires_grad_()
    return x


def _place(dtype: DType | None, device: Any) -> tuple[DType, Any]:
    made = runtime.resolve(device)
    if dtype is None:
        dtype = dt.get_default_dtype()
    elif not isinstance(dtype, DType):
        raise TypeError(f"argument 'dtype' must be torch.dtype, not {type(dtype).__name__}")
    made.check_dtype(dtype)
    return dtype, made


def sizes(size: tuple[Any, ...]) -> Shape:
    """``f(2, 3)`` and ``f((2, 3))`` alike; sizes are checked."""
    if len(size) == 1 and not isinstance(size[0], int) and not _is_scalar_tensor(size[0]):
        if isinstance(size[0], str | float) or not hasattr(size[0], "__iter__"):
            raise TypeError(_SIZE.format(f"tuple of ints, not {type(size[0]).__name__}"))
        size = tuple(size[0])
    shape = tuple(n if type(n) is int else _size(n) for n in size)
    check_dims(shape)
    return shape


def _size(n: Any) -> int:
    try:
        return index(n)
    except TypeError:
        raise TypeError(_SIZE.format(f"tuple of ints, but got {type(n).__name__}")) from None


_SIZE = "zeros(): argument 'size' (position 1) must be {}"


def _is_scalar_tensor(x: Any) -> bool:
    return isinstance(x, Tensor) and not x._shape


# --- from data ----------------------------------------------------------------------------------


def tensor(
    data: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor that copies ``data``: numbers, nested sequences, numpy arrays or tensors.

    Args:
        data: what to copy
        dtype: default by the data: bool, int64, or the default float
        device: default ``get_default_device()``
        requires_grad: whether gradients are computed for it

    Examples:
        >>> tensor([[1, 2], [3, 4]])
        tensor([[1, 2],
                [3, 4]])
    """
    if isinstance(data, Tensor):
        target = data.storage.device if device is None else runtime.resolve(device)
        x = data.detach().to(target.public, dtype or data.dtype)
        return _finish(x.node(), target, requires_grad)
    if hasattr(data, "__array_interface__") or type(data).__module__ == "numpy":
        return _from_array(data, dtype, runtime.resolve(device), requires_grad)
    if isinstance(data, bool | int | float) and not isinstance(data, complex):
        return _scalar(data, dtype, runtime.resolve(device), requires_grad)
    return _from_nested(data, dtype, runtime.resolve(device), requires_grad)


def _scalar(value: Any, dtype: DType | None, device: Any, requires_grad: bool) -> Tensor:
    if dtype is None:
        dtype = (
            dt.bool_ if isinstance(value, bool)
            else dt.int64 if isinstance(value, int) else dt.get_default_dtype()
        )  # fmt: skip
    device.check_dtype(dtype)
    return _finish(number(fit_on(value, dtype, device), dtype), device, requires_grad)


def fit_on(value: Any, dtype: DType, device: Any) -> Any:
    """A number as a device holds it; int64 beyond 32 bits raises where the device keeps 32."""
    value = fit(value, dtype)
    if dtype is dt.int64 and not device.caps.wide and not -(1 << 31) <= value < 1 << 31:
        raise RuntimeError(
            f"value {value} cannot be converted to the 32 bits that the {device} device keeps of "
            'int64 without overflow; make it on the host: device="cpu"'
        )
    return rounded(value, dtype) if dtype.itemsize == 2 else value


def rounded(value: Any, dtype: DType) -> Any:
    """The nearest number that a half holds; others as they are."""
    if not dtype.is_floating_point:
        return value
    raw = pack([value], dtype)
    if dtype is dt.float16:
        return struct.unpack("<e", raw)[0]
    return struct.unpack("<f", b"\0\0" + raw)[0]


def _from_nested(data: Any, dtype: DType | None, device: Any, requires_grad: bool) -> Tensor:
    shape: list[int] = []
    flat: list[Any] = []
    _flatten(data, 0, shape, flat)
    if flat and any(isinstance(v, Tensor) for v in flat):
        flat = [v.item() if isinstance(v, Tensor) else v for v in flat]
    if dtype is None:
        dtype = _infer(flat)
    device.check_dtype(dtype)
    bytes_ = pack(flat, dtype)
    return _finish(upload(bytes_, tuple(shape), dtype, device), device, requires_grad)


def _flatten(data: Any, depth: int, shape: list[int], flat: list[Any]) -> None:
    if isinstance(data, Tensor) and data._shape:
        data = data.tolist()
    if hasattr(data, "tolist") and not isinstance(data, Tensor):
        data = data.tolist()
    if not isinstance(data, list | tuple | range):
        if len(shape) != depth:
            raise ValueError(
                f"expected sequence of length {shape[depth]} at dim {depth} (got a number)"
            )
        if not isinstance(data, int | float | Tensor):
            raise TypeError(f"new(): invalid data type '{type(data).__name__}'")
        flat.append(data)
        return
    if len(shape) == depth:
        if flat:
            raise ValueError(f"expected a number at dim {depth} (got a sequence)")
        shape.append(len(data))
    elif shape[depth] != len(data):
        raise ValueError(
            f"expected sequence of length {shape[depth]} at dim {depth} (got {len(data)})"
        )
    for item in data:
        _flatten(item, depth + 1, shape, flat)


def _infer(flat: list[Any]) -> DType:
    kinds = {type(v) for v in flat}
    if not flat or float in kinds or any(issubclass(k, float) for k in kinds):
        return dt.get_default_dtype()
    return dt.bool_ if kinds == {bool} else dt.int64


def pack(flat: list[Any], dtype: DType) -> bytes:
    """Python numbers as little-endian bytes of a dtype; raises when one does not fit."""
    if dtype.is_floating_point:
        if dtype is dt.float32:
            try:
                return array("f", flat).tobytes()
            except OverflowError:
                flat = [_to_float32(v) for v in flat]
                return array("f", flat).tobytes()
        if dtype is dt.float64:
            return array("d", flat).tobytes()
        if dtype is dt.float16:
            return b"".join(_half(float(v)) for v in flat)
        return _bfloat(array("f", [_to_float32(v) for v in flat]))
    if dtype is dt.bool_:
        return bytes([1 if v else 0 for v in flat])
    return array(dtype.struct, [fit(v, dtype) for v in flat]).tobytes()


def _to_float32(v: float) -> float:
    return math.copysign(math.inf, v) if abs(v) > 3.4028235677973366e38 and v == v else float(v)


def _half(v: float) -> bytes:
    v = array("f", [_to_float32(v)])[0]  # rounded twice, as in PyTorch
    try:
        return struct.pack("<e", v)
    except OverflowError:
        return struct.pack("<e", math.copysign(math.inf, v))


def _bfloat(floats: array[float]) -> bytes:
    words = memoryview(floats).cast("B").cast("I")
    out = array("H")
    for w in words:
        nan = (w & 0x7FFFFFFF) > 0x7F800000
        out.append(0x7FC0 if nan else ((w + 0x7FFF + (w >> 16 & 1)) >> 16) & 0xFFFF)
    return out.tobytes()


_NUMPY = {d.name: d for d in dt.DTYPES}


def _from_array(data: Any, dtype: DType | None, device: Any, requires_grad: bool) -> Tensor:
    import numpy as np

    a = np.asarray(data)
    own = _NUMPY.get(a.dtype.name)
    if own is None:
        if a.dtype.kind not in "uif":
            raise TypeError(
                f"can't convert np.ndarray of type {a.dtype}. The only supported types are: "
                "float64, float32, float16, int64, int32, int16, int8, uint8, and bool."
            )
        own = dt.int64 if a.dtype.kind in "ui" else dt.float64
        a = a.astype(own.name)
    want = own if dtype is None else dtype
    if want is not own and want is not dt.bfloat16:
        with np.errstate(all="ignore"):
            a, own = a.astype(want.numpy_name), want
    device.check_dtype(own)
    raw: Any = np.ascontiguousarray(a)
    node = upload(memoryview(raw.reshape(-1)).cast("B") if raw.size else b"", a.shape, own, device)
    return _finish(cast(node, want), device, requires_grad)


def from_numpy(ndarray: Any) -> Tensor:
    """A tensor of a numpy array's values, dtype kept. The values are copied: device memory is not
    numpy's."""
    if type(ndarray).__module__ != "numpy":
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    return _from_array(ndarray, None, runtime.default_device(), False)


def as_tensor(data: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """``data`` itself if it is a tensor that fits, else a new tensor."""
    if isinstance(data, Tensor):
        return data.to(device if device is not None else data.device, dtype or data.dtype)
    return tensor(data, dtype=dtype, device=device)


asarray = as_tensor


def frombuffer(
    buffer: Any, *, dtype: DType, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A 1-d tensor that copies bytes."""
    raw = memoryview(buffer).cast("B")
    size = dtype.itemsize
    if offset < 0 or offset >= max(len(raw), 1):
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length "
            f"({len(raw)} bytes) minus 1"
        )
    if count < 0:
        if (len(raw) - offset) % size:
            raise ValueError(
                f"buffer length ({len(raw) - offset} bytes) after offset ({offset} bytes) must be "
                f"a multiple of element size ({size})"
            )
        count = (len(raw) - offset) // size
    if offset + count * size > len(raw):
        raise ValueError(
            f"requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) must "
            f"not be greater than actual buffer length ({len(raw)} bytes)"
        )
    device = runtime.default_device()
    node = upload(raw[offset : offset + count * size], (count,), dtype, device)
    return _finish(node, device, requires_grad)


# --- filled -------------------------------------------------------------------------------------


def full(
    *size: Any,
    fill_value: Any = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    layout: Any = None,
    names: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor filled with one number: ``full((2, 3), 7)``."""
    if fill_value is None:
        *size_, fill_value = size
        size = tuple(size_)
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    if dtype is None:
        dtype = (
            dt.bool_ if isinstance(fill_value, bool)
            else dt.int64 if isinstance(fill_value, int) else None
        )  # fmt: skip
    dtype, made = _place(dtype, device)
    if isinstance(fill_value, float) and math.isfinite(fill_value) and not dtype.is_floating_point:
        fill_value = bool(fill_value) if dtype is dt.bool_ else int(fill_value)
    node = number(fit_on(fill_value, dtype, made), dtype, sizes(size))
    return _finish(node, made, requires_grad, out)


def _filled(value: int, size: tuple[Any, ...], kw: dict[str, Any]) -> Tensor:
    size = kw.pop("size", size)
    for ignored in ("layout", "pin_memory", "memory_format", "names"):
        kw.pop(ignored, None)
    requires_grad, out = kw.pop("requires_grad", False), kw.pop("out", None)
    dtype, made = _place(kw.pop("dtype", None), kw.pop("device", None))
    if kw:
        raise TypeError(f"zeros() got an unexpected keyword argument '{next(iter(kw))}'")
    size = size if isinstance(size, tuple) else (size,)
    return _finish(const(value, dtype, sizes(size)), made, requires_grad, out)


def zeros(*size: Any, **kw: Any) -> Tensor:
    """Zeros: ``zeros(2, 3)`` or ``zeros((2, 3), dtype=…, device=…)``."""
    if any(n < 0 for n in size if type(n) is int):
        raise RuntimeError("zeros: Dimension size must be non-negative.")
    return _filled(0, size, kw)


def ones(*size: Any, **kw: Any) -> Tensor:
    """Ones."""
    return _filled(1, size, kw)


def empty(*size: Any, **kw: Any) -> Tensor:
    """Memory as it comes: zeros here, since a page must not see another's memory."""
    return _filled(0, size, kw)


def _like(x: Tensor, kw: dict[str, Any]) -> dict[str, Any]:
    kw.pop("memory_format", None)
    kw["dtype"] = kw.get("dtype") or x.dtype
    kw["device"] = kw.get("device") or x.storage.device
    return kw


def zeros_like(input: Tensor, **kw: Any) -> Tensor:
    """Zeros of the shape, dtype and device of another tensor."""
    return zeros(input._shape, **_like(input, kw))


def ones_like(input: Tensor, **kw: Any) -> Tensor:
    """Ones of the shape, dtype and device of another tensor."""
    return ones(input._shape, **_like(input, kw))


def empty_like(input: Tensor, **kw: Any) -> Tensor:
    """As ``zeros_like``."""
    return zeros(input._shape, **_like(input, kw))


def full_like(input: Tensor, fill_value: Any, **kw: Any) -> Tensor:
    """A number in the shape, dtype and device of another tensor."""
    return full(input._shape, fill_value, **_like(input, kw))


def new_zeros(self: Tensor, *size: Any, **kw: Any) -> Tensor:
    """Zeros of this tensor's dtype and device."""
    return _filled(0, size, _like(self, kw))


def new_ones(self: Tensor, *size: Any, **kw: Any) -> Tensor:
    """Ones of this tensor's dtype and device."""
    return ones(*size, **_like(self, kw))


new_empty = new_zeros


def new_full(self: Tensor, size: Any, fill_value: Any, **kw: Any) -> Tensor:
    """A number in this tensor's dtype and device."""
    return full(size, fill_value, **_like(self, kw))


def new_tensor(self: Tensor, data: Any, **kw: Any) -> Tensor:
    """``tensor(data)`` of this tensor's dtype and device."""
    return tensor(data, **_like(self, kw))


def scalar_tensor(s: Any, **kw: Any) -> Tensor:
    """A 0-d tensor of the default float."""
    return full((), s, **{"dtype": dt.get_default_dtype(), **kw})


# --- ranges -------------------------------------------------------------------------------------


def arange(
    *args: Any,
    start: Any = None,
    end: Any = None,
    step: Any = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """``start, start + step, …`` below ``end``.

    Examples:
        >>> arange(1, 2.5, 0.5)
        tensor([1.0000, 1.5000, 2.0000])
    """
    args = tuple(a.item() if isinstance(a, Tensor) else a for a in args)
    if len(args) == 1 and end is None:
        end = args[0]
    elif args:
        start, end = args[0], args[1] if len(args) > 1 else end
        step = args[2] if len(args) > 2 else step
    start, step = 0 if start is None else start, 1 if step is None else step
    if dtype is None:
        whole = all(isinstance(v, int) for v in (start, end, step))
        dtype = dt.int64 if whole else dt.get_default_dtype()
    n = _range_length(start, end, step)
    dtype, made = _place(dtype, device)
    fit_on(int(start) if not dtype.is_floating_point else start, dtype, made)
    if not dtype.is_floating_point and n:
        fit_on(int(start + step * (n - 1)), dtype, made)
    return _finish(_range_node(n, start, step, dtype), made, requires_grad, out)


def _range_length(start: Any, end: Any, step: Any) -> int:
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if any(isinstance(v, float) and not math.isfinite(v) for v in (start, end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (step > 0 and end < start) or (step < 0 and end > start):
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    return max(0, math.ceil((end - start) / step))


def _range_node(n: int, start: Any, step: Any, dtype: DType) -> Node:
    if dtype.compute == "l" or not dtype.is_floating_point:
        place = iota((n,), (1,), 0, dt.int64 if dtype is dt.int64 else dt.int32)
        node: Node = place
        if step != 1:
            node = elementwise("mul", (node, number(int(step), node.dtype)), node.dtype)
        if start != 0:
            node = elementwise("add", (node, number(int(start), node.dtype)), node.dtype)
        return cast(node, dtype)
    place = cast(iota((n,), (1,), 0, dt.int32), dtype)
    scaled = elementwise("mul", (place, number(float(step), dtype)), dtype)
    return elementwise("add", (scaled, number(float(start), dtype)), dtype)


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """``steps`` numbers from ``start`` to ``end``, both included."""
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    start, end = (v.item() if isinstance(v, Tensor) else v for v in (start, end))
    dtype, made = _place(dtype, device)
    if steps == 1:
        return full((1,), start, dtype=dtype, device=made, requires_grad=requires_grad)
    work = dtype if dtype.is_floating_point else dt.float32
    step = (end - start) / max(steps - 1, 1)
    half = steps // 2  # from both ends, so that both are exact
    up = _range_node(steps, start, step, work)
    i = cast(iota((steps,), (-1,), steps - 1, dt.int32), work)
    back = elementwise("mul", (i, number(float(step), work)), work)
    down = elementwise("sub", (number(float(end), work), back), work)
    first = elementwise("lt", (iota((steps,), (1,), 0, dt.int32), const(half, dt.int32)), dt.bool_)
    node = cast(elementwise("where", (first, up, down), work), dtype)
    return _finish(node, made, requires_grad, out)


def logspace(start: float, end: float, steps: int, base: float = 10.0, **kw: Any) -> Tensor:
    """``base`` to the powers of ``linspace``."""
    return (linspace(start, end, steps, **kw) * math.log(base)).exp()


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Ones on the diagonal."""
    m = n if m is None else m
    check_dims((n, m))
    dtype, made = _place(dtype, device)
    row, col = iota((n, 1), (1, 0), 0, dt.int32), iota((1, m), (0, 1), 0, dt.int32)
    return _finish(cast(elementwise("eq", (row, col), dt.bool_), dtype), made, requires_grad, out)


def legacy_tensor(cls: type, dtype: DType, *args: Any, **kwargs: Any) -> Tensor:
    """``Tensor(2, 3)``, ``Tensor([1, 2])``, ``FloatTensor(…)``: sizes or data."""
    if args and all(isinstance(a, int) for a in args):
        return zeros(*args, dtype=dtype, **kwargs)
    if len(args) == 1 and isinstance(args[0], Tensor):
        return args[0].detach().to(dtype)
    if len(args) == 1 and isinstance(args[0], tuple) and type(args[0]) is not tuple:
        return zeros(args[0], dtype=dtype)
    return tensor(args[0] if args else [], dtype=dtype, **kwargs)


class LegacyType:
    """``torch.FloatTensor`` and its kin: constructors and type names."""

    def __init__(self, name: str) -> None:
        self.__name__ = name
        self.dtype = next(d for d in dt.DTYPES if d.name == LEGACY_TYPES[name])

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        return legacy_tensor(Tensor, self.dtype, *args, **kwargs)

    def __instancecheck__(self, x: Any) -> bool:
        return isinstance(x, Tensor) and x.dtype is self.dtype

    def __repr__(self) -> str:
        return f"<class 'torch.{self.__name__}'>"


def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Coordinates of the grid of 1-d tensors; ``indexing`` "ij" (default) or "xy"."""
    xs = (
        tuple(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors
    )
    swap = indexing == "xy" and len(xs) > 1
    if swap:
        xs = (xs[1], xs[0], *xs[2:])
    shape = tuple(x.numel() for x in xs)
    out = [
        x.reshape(tuple(-1 if i == k else 1 for i in range(len(xs)))).expand(shape)
        for k, x in enumerate(xs)
    ]
    if swap:
        out[0], out[1] = out[1], out[0]
    return tuple(out)


__all__ = [
    "arange", "as_tensor", "asarray", "empty", "empty_like", "eye", "from_numpy", "frombuffer",
    "full", "full_like", "linspace", "logspace", "meshgrid", "ones", "ones_like", "scalar_tensor",
    "tensor", "zeros", "zeros_like",
]  # fmt: skip
