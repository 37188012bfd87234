"""``x.view(dtype)``: the same memory read as elements of another type."""

from __future__ import annotations

from typing import Any

from .. import runtime
from ..dtypes import DType
from ..graph import Node, Storage
from ..promotion import title
from ..shape import Shape
from ..tensor import Tensor, upload


class Bits(Storage):
    """Another storage's bytes as another dtype. No device op reinterprets bytes of every dtype, so
    they go through the host: when they are read after a change, and at each write."""

    __slots__ = ("_of", "_value", "source")

    def __init__(self, source: Storage, dtype: DType) -> None:
        self.source = source
        self.dtype = dtype
        self.device = source.device
        self.nelems = source.nelems * source.dtype.itemsize // dtype.itemsize
        self.generation = 0
        self._of: Node | None = None

    @property
    def node(self) -> Node:  # type: ignore[override]
        """The source's content now."""
        source = self.source.node
        if self._of is not source:
            self._of, self._value = source, _reread(source, self, self.dtype, self.nelems)
        return self._value

    @property
    def version(self) -> int:
        """Writes to either are writes to both."""
        return self.source.version

    @version.setter
    def version(self, value: int) -> None:
        self.source.version = value

    def set(self, node: Node) -> None:
        """Writes the bytes back."""
        self.source.set(_reread(node, self, self.source.dtype, self.source.nelems))


def _reread(node: Node, at: Storage, dtype: DType, n: int) -> Node:
    return upload(bytes(runtime.read(node, at.device)), (n,), dtype, at.device)


def view_dtype(x: Tensor, dtype: DType) -> Tensor:
    """A window of the same bytes; the last dimension grows or shrinks with the element size."""
    if dtype is x.dtype:
        return x.view(x._shape)
    x.storage.device.check_dtype(dtype)
    source = getattr(x.storage, "source", x.storage)
    y = x.detach()
    y._shape, y._strides, y._offset = _geometry(x, dtype)
    y.storage = source if dtype is source.dtype else Bits(source, dtype)
    y.dtype = dtype
    y._node = y._seen = None
    return y


def _geometry(x: Tensor, dtype: DType) -> tuple[Shape, Shape, int]:
    old, new = x.dtype.itemsize, dtype.itemsize
    shape, strides, offset = x._shape, x._strides, x._offset
    if old == new:
        return shape, strides, offset
    what = f"to view {title(x.dtype)} as {title(dtype)} (different element sizes)"
    if not shape:
        raise RuntimeError(f"self.dim() cannot be 0 {what}")
    if strides[-1] != 1:
        raise RuntimeError(f"self.stride(-1) must be 1 {what}, but got {strides[-1]}")
    if old > new:
        k = old // new
        return (*shape[:-1], shape[-1] * k), (*(s * k for s in strides[:-1]), 1), offset * k
    k = new // old
    _check_divisible("self.size(-1)", shape[-1], k, what)
    _check_divisible("self.storage_offset()", offset, k, what)
    for d, s in enumerate(strides[:-1]):
        _check_divisible(f"self.stride({d})", s, k, what)
    return (*shape[:-1], shape[-1] // k), (*(s // k for s in strides[:-1]), 1), offset // k


def _check_divisible(name: str, n: Any, k: int, what: str) -> None:
    if n % k:
        raise RuntimeError(f"{name} must be divisible by {k} {what}, but got {n}")
