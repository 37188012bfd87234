"""The lazy graph: immutable nodes, and the one mutable cell that holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

from .dtypes import DType, bool_
from .shape import Shape, broadcast_shapes

if TYPE_CHECKING:
    from .runtime import Device

RUN_AHEAD = 1024  # pending values before a flush happens by itself


class capture:
    """What the rest of the package tells ``tabgrad.compile``."""

    recorder: Any = None  # while a call is recorded: nothing is flushed then
    changes = 0  # counts changes to modules, optimizers and tensors that a recording relies on
    writes = 0  # counts storages that were given another value, tensors given another history


trash: list[Any] = []  # what is to be dropped; nobody else may hold it
_emptying = False


def empty_trash() -> None:
    """Drops references in a loop: freeing a long chain by recursion overflows WASM's small stack.

    Callers append to ``trash`` and keep no reference in a variable: what a variable holds is freed
    when its function returns, one frame deeper for each link.
    """
    global _emptying
    if _emptying:
        return
    _emptying = True
    try:
        while trash:
            trash.pop()
    finally:
        _emptying = False


class Node:
    """A value: an op applied to values, or, once computed, a device buffer (``op == "buffer"``)."""

    __slots__ = ("arg", "buffer", "dtype", "op", "shape", "srcs")

    def __init__(
        self, op: str, srcs: tuple[Node, ...], shape: Shape, dtype: DType, arg: Any = None
    ) -> None:
        self.op = op
        self.srcs = srcs
        self.shape = shape
        self.dtype = dtype
        self.arg = arg
        self.buffer: Any = None

    def __del__(self) -> None:
        if self.srcs:
            trash.append(self.srcs)
            self.srcs = ()
            if not _emptying:
                empty_trash()

    def __repr__(self) -> str:
        return f"<{self.op} {list(self.shape)} {self.dtype.name}>"

    def realize(self, buffer: Any) -> None:
        """Turns the node into a leaf that holds its computed value."""
        trash.append(self.srcs)
        self.srcs = ()
        self.op, self.arg, self.buffer = "buffer", None, buffer
        empty_trash()


def leaf(buffer: Any, shape: Shape, dtype: DType) -> Node:
    """A value that is already in device memory."""
    node = Node("buffer", (), shape, dtype)
    node.buffer = buffer
    return node


def number(value: float, dtype: DType, shape: Shape = ()) -> Node:
    """A number that rides in a scalar slot: changing it does not change the plan."""
    return Node("number", (), shape, dtype, value)


def const(value: float, dtype: DType, shape: Shape = ()) -> Node:
    """A number baked into the kernel: part of the structure."""
    return Node("const", (), shape, dtype, value)


def iota(shape: Shape, strides: Shape, offset: int, dtype: DType) -> Node:
    """Integers ``offset + Σ index·stride``; needs no memory."""
    return Node("iota", (), shape, dtype, (strides, offset))


def view(src: Node, shape: Shape, strides: Shape, offset: int) -> Node:
    """A window on a value's linear numbering."""
    return Node("view", (src,), shape, src.dtype, (strides, offset))


def elementwise(op: str, srcs: tuple[Node, ...], dtype: DType, arg: Any = None) -> Node:
    """An elementwise op over operands that broadcast."""
    shape = srcs[0].shape
    for s in srcs[1:]:
        if s.shape != shape:
            shape = broadcast_shapes(shape, s.shape)
    return Node(op, srcs, shape, dtype, arg)


def cast(src: Node, dtype: DType) -> Node:
    """A value as another dtype."""
    return src if src.dtype is dtype else Node("cast", (src,), src.shape, dtype)


def compare(op: str, a: Node, b: Node) -> Node:
    """A comparison: the result is bool."""
    return elementwise(op, (a, b), bool_)


class Storage:
    """The cell behind one or many tensors: its content is a Node, and changes by rebinding."""

    __slots__ = (
        "__weakref__", "device", "dtype", "generation", "nelems", "node", "version", "written",
    )  # fmt: skip

    def __init__(self, node: Node, nelems: int, device: Device) -> None:
        self.node = node
        self.nelems = nelems
        self.dtype = node.dtype
        self.device = device
        self.version = 0  # counts in-place writes
        self.generation = 0  # counts in-place writes that autograd has seen
        self.written = 0  # what ``capture.writes`` was at the last in-place write
        if node.op != "buffer":
            self._wait()
        elif capture.recorder is not None:
            capture.recorder.note(self)

    def _wait(self) -> None:
        """Joins what the next flush computes; a long queue flushes by itself."""
        device = self.device
        device.pending.append(ref(self))
        if len(device.pending) >= RUN_AHEAD:
            device.flush()

    def set(self, node: Node) -> None:
        """Replaces the content: an in-place write."""
        if self.node.op == "buffer":
            self.device.replaced.append(self.node)
        capture.writes += 1
        self.node, self.written = node, capture.writes
        self.version += 1
        if node.op != "buffer":
            self._wait()
