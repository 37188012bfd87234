"""dtype and device conversions, and writing whole tensors."""

from __future__ import annotations

from typing import Any

from .. import autograd, runtime
from .. import dtypes as dt
from ..dtypes import DType
from ..graph import cast, const
from ..ops.functional import apply
from ..ops.row import Row
from ..shape import broadcast_shapes, numel
from ..tensor import LEGACY_TYPES, Tensor


class _Cast:
    """The row of a conversion: the gradient comes back in the input's dtype and device."""

    inputs = ("x",)
    saves = (("g",),)

    def __init__(self, name: str, device: Any = None) -> None:
        self.name = name
        self.grads = (lambda g: g if device is None else g.to(device.public),)


_TO = _Cast("to_copy")


def _converted(x: Tensor, dtype: DType, device: Any) -> Tensor:
    node = x.node()
    source = x.storage.device
    if device is not source:
        device.check_dtype(dtype)
        node = runtime.transfer(node, source, device)
    elif dtype is not x.dtype:
        device.check_dtype(dtype)
    y = Tensor._wrap(cast(node, dtype), device)
    if x._requires_grad and autograd.mode.grad and dtype.is_floating_point:
        row = _TO if device is source else _Cast("to_copy", source)
        autograd.record(row, (x,), y, {})  # type: ignore[arg-type]
    return y


def to(input: Tensor, *args: Any, **kw: Any) -> Tensor:
    """Another dtype or device: ``to(dtype)``, ``to(device)``, ``to(device, dtype)``, ``to(other)``.
    The tensor itself if nothing changes."""
    dtype, device, copy = kw.get("dtype"), kw.get("device"), kw.get("copy", False)
    for a in args:
        if isinstance(a, DType):
            dtype = a
        elif isinstance(a, Tensor):
            dtype, device = a.dtype, a.storage.device
        elif isinstance(a, bool):
            continue
        elif a is not None:
            device = a
    target = input.storage.device if device is None else runtime.resolve(device)
    dtype = dtype or input.dtype
    if dtype is input.dtype and target is input.storage.device:
        return input.clone() if copy else input
    return _converted(input, dtype, target)


async def to_async(input: Tensor, device: Any) -> Tensor:
    """As ``to(device)``, where the page cannot wait for the GPU."""
    from ..tensor import upload

    target = runtime.resolve(device)
    data = await runtime.read_async(input.node(), input.storage.device)
    return Tensor._wrap(upload(data, input._shape, input.dtype, target), target)


def _shorthand(dtype: DType) -> Any:
    def f(input: Tensor, memory_format: Any = None) -> Tensor:
        return to(input, dtype)

    f.__doc__ = f"As ``to({dtype!r})``."
    return f


SHORTHANDS = {
    "float": dt.float32, "double": dt.float64, "half": dt.float16, "bfloat16": dt.bfloat16,
    "long": dt.int64, "int": dt.int32, "short": dt.int16, "char": dt.int8, "byte": dt.uint8,
    "bool": dt.bool_,
}  # fmt: skip
METHODS = {name: _shorthand(d) for name, d in SHORTHANDS.items()}


def cpu(input: Tensor, memory_format: Any = None) -> Tensor:
    """On the host's executor."""
    return to(input, "cpu")


def type_as(input: Tensor, other: Tensor) -> Tensor:
    """In the other's dtype."""
    return to(input, other.dtype)


def type(input: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The legacy type name, or a conversion by dtype or legacy name."""
    if dtype is None:
        return input.type_name()
    if isinstance(dtype, str):
        name = dtype.removeprefix("torch.").removeprefix("cuda.")
        if name not in LEGACY_TYPES:
            raise ValueError(f"invalid type: '{dtype}'")
        dtype = next(d for d in dt.DTYPES if d.name == LEGACY_TYPES[name])
    return to(input, getattr(dtype, "dtype", dtype))


# --- writing ------------------------------------------------------------------------------------


def _expand_node(x: Any, shape: tuple[int, ...]) -> Any:
    from ..graph import view
    from ..shape import broadcast_strides, contiguous_strides

    if x.shape == shape:
        return x
    return view(x, shape, broadcast_strides(x.shape, contiguous_strides(x.shape), shape), 0)


COPY = Row("copy_", "x", _expand_node, {"x": lambda g: g})


def copy_(self: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    """Writes another tensor's values here, broadcast, converted and moved."""
    if not isinstance(src, Tensor):
        src = self.new_tensor(src)
    self._check_writable(src.requires_grad)
    self._check_overlap(src)
    if src._shape != self._shape:
        shape = broadcast_shapes(self._shape, src._shape)
        if shape != self._shape:
            raise RuntimeError(
                f"output with shape {list(self._shape)} doesn't match the broadcast shape "
                f"{list(shape)}"
            )
    src = src.to(self.storage.device, self.dtype)
    if src._shape != self._shape or src.requires_grad:
        src = apply(COPY, src, shape=self._shape)
    return self._write(src)


def fill_(self: Tensor, value: Any) -> Tensor:
    """Writes one number everywhere."""
    if isinstance(value, Tensor):
        if value._shape:
            raise RuntimeError(
                "fill_ only supports 0-dimension value tensor but got tensor with "
                f"{value.ndim} dimensions."
            )
        return copy_(self, value)
    return self._write(self.new_full(self._shape, value, dtype=self.dtype), repeats=True)


def zero_(self: Tensor) -> Tensor:
    """Writes zeros."""
    node = const(0, self.dtype, self._shape)
    return self._write(Tensor._wrap(node, self.storage.device), repeats=True)


def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Writes one number on the main diagonal."""
    self.diagonal().fill_(fill_value)
    return self


def set_(self: Tensor, source: Tensor) -> Tensor:
    """Becomes a window on the other's storage."""
    self._set_data(source)
    return self


def resize_(self: Tensor, *size: Any) -> Tensor:
    """Another shape; grown elements are zeros."""
    from ..creation import sizes

    shape = sizes(size)
    if self._requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    flat = self.reshape(-1)
    n = numel(shape)
    if n > flat._shape[0]:
        from .movement import cat

        flat = cat([flat, flat.new_zeros((n - flat._shape[0],))])
    self._set_data(flat.narrow(0, 0, n).reshape(shape).clone())
    return self


def _resized(self: Tensor, shape: tuple[int, ...]) -> Tensor:
    """An ``out=`` tensor in the result's shape."""
    if self._shape != shape:
        if numel(self._shape):
            import warnings

            warnings.warn(
                f"An output with one or more elements was resized since it had shape "
                f"{list(self._shape)}, which does not match the required output shape "
                f"{list(shape)}.",
                UserWarning,
                stacklevel=3,
            )
        self._set_data(self.new_zeros(shape))
    return self
