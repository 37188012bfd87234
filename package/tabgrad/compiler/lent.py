"""What is lent to a call while it is recorded: leaves under names of their own, windows cut out."""

from __future__ import annotations

from typing import Any

from ..graph import Storage, leaf
from ..runtime import Buffer
from ..shape import extent, numel
from ..tensor import Tensor
from .watch import Refused


def aliases(storages: list[Any]) -> list[int]:
    """Which of the storages are the same one: the first place of each."""
    first: dict[int, int] = {}
    return [first.setdefault(id(s), i) for i, s in enumerate(storages)]


class Alias(Buffer):
    """A storage's buffer under a name of its own: copies may share one buffer, but a replay must
    know which of them it reads."""

    __slots__ = ("of",)

    def __init__(self, of: Buffer) -> None:
        self.of = of
        self.device, self.handle, self.nbytes = of.device, of.handle, of.nbytes

    def __del__(self) -> None:
        pass


class Known:
    """A storage that was there before the call."""

    def __init__(self, storage: Storage) -> None:
        if type(storage) is not Storage:
            raise Refused("it uses a tensor that views another's bytes as another dtype")
        if storage.node.op != "buffer":
            storage.device.flush(storage.node)
        self.storage, self.before = storage, storage.node
        self.leaf = leaf(Alias(storage.node.buffer), storage.node.shape, storage.node.dtype)
        self.version, self.generation = storage.version, storage.generation
        storage.node = self.leaf

    def restore(self) -> None:
        self.leaf.buffer = self.before.buffer
        if self.storage.node is self.leaf:
            self.storage.node = self.before


class Window:
    """An argument that is a part of a larger storage, cut out for the time of the call, so that
    the recording does not depend on where in the storage it lies."""

    def __init__(self, x: Tensor, part: Buffer, low: int, count: int) -> None:
        self.x, self.storage, self.low = x, x.storage, low
        node = leaf(part, (count,), x.storage.dtype)
        x.storage = self.part = Storage(node, count, x.storage.device)
        x._offset -= low

    def restore(self, results: list[Tensor]) -> None:
        """Puts the argument back; what was written, or is returned, belongs to the whole."""
        part, storage = self.part, self.storage
        for t in [self.x, *results]:
            if t.storage is part:
                t.storage, t._offset = storage, t._offset + self.low
                t._node = t._seen = None
        if part.version:
            whole = Tensor._wrap(storage.node, storage.device)
            whole.storage = storage
            whole._window((part.nelems,), (1,), self.low)._put(part.node)
            storage.generation += part.generation


def reach(x: Tensor) -> tuple[int, int]:
    """Where the memory that a tensor covers begins, and how many elements there are."""
    low, high = extent(x._shape, x._strides, x._offset)
    return low, high + 1 - low


def is_window(x: Tensor) -> bool:
    """True for a tensor that leaves some of its storage out."""
    return bool(numel(x._shape)) and reach(x)[1] < x.storage.nelems


def cut(x: Tensor) -> Buffer | None:
    """The memory that a tensor covers as a buffer of its own, if the device can cut there."""
    s = x.storage
    if s.node.op != "buffer":
        s.device.flush(s.node)
    return s.device.window(s.node.buffer, s.dtype, *reach(x))
