"""What the passes ask of a value: order, what it is a window on, whether it needs memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..dtypes import bfloat16, float16
from ..graph import Node
from ..ops.elementwise import ELEMENTWISE
from ..shape import Shape, is_contiguous, numel

VIRTUAL = ("number", "const", "iota")
FUSIBLE = frozenset(ELEMENTWISE) | {"cast", "index", "take", "copy", "reduce"}
# costs less than to read the result from memory
CHEAP = frozenset(
    "add sub mul neg abs where maximum minimum eq ne lt le gt ge and or xor not isnan sign".split()
) | {"cast", "copy", "phi"}
PACKED = (float16, bfloat16)
# ops whose first sources are factors, which an executor may read as float16
FACTORS = {"matmul": 2, "conv2d": 2, "conv2d_input": 2, "conv2d_weight": 2, "attention": 3,
           "attention_grad": 4}  # fmt: skip
DEEP = 12  # how far views are moved down and numbers are folded: bounds the recursion


class Caps(NamedTuple):
    """What an executor can do."""

    max_operands: int = 64  # buffers of one kernel
    max_instrs: int = 256
    packed: bool = False  # 16-bit floats share a word: only contiguous elementwise stores
    halves: bool = False  # FACTORS that are float16 are read as they are
    split_over: int = 0  # reductions of few rows longer than this are done in two steps; 0: never
    chunk: int = 1024  # at most so many elements of such a reduction go to one partial result
    columns: int = 0  # sums down columns of at least so many elements are done in parts; 0: never
    turned: bool = False  # transposed operands of an elementwise kernel are turned beforehand
    wide: bool = True  # has int64 and float64; else int64 is kept in 32 bits
    max_inner: int = 1 << 16  # longest row that may be walked more than once in a kernel
    epilogues: bool = False  # matmul and conv2d scale, add and limit before they store
    joined: int = 0  # elementwise steps of at most so many elements share a launch
    attention: int = 0  # queries from which on its kernel is used; 0: there is none
    scores: int = 0  # of attention with gradients, from which on they are not stored


class Graph(NamedTuple):
    roots: list[Node]
    order: list[Node]


def toposort(roots: Sequence[Node]) -> list[Node]:
    """Sources before consumers, without recursion."""
    order: list[Node] = []
    state: dict[int, bool] = {}
    stack = list(reversed(roots))
    while stack:
        node = stack[-1]
        done = state.get(id(node))
        if done is None:
            state[id(node)] = False
            stack.extend(s for s in reversed(node.srcs) if id(s) not in state)
        else:
            stack.pop()
            if not done:
                state[id(node)] = True
                order.append(node)
    return order


def is_reshape(node: Node) -> bool:
    """True for a view that only renames the dimensions of its source."""
    strides, offset = node.arg
    return (
        offset == 0
        and numel(node.shape) == numel(node.srcs[0].shape)
        and is_contiguous(node.shape, strides)
    )


def peel(node: Node) -> Node:
    """The value under views that only reshape it."""
    while node.op == "view" and is_reshape(node):
        node = node.srcs[0]
    return node


def base_of(node: Node) -> Node:
    """The value in memory that a source is read from."""
    while node.op == "view":
        node = node.srcs[0]
    return node


def is_virtual(node: Node, depth: int = 0) -> bool:
    """True if the value needs no memory to be read: a short expression of numbers and positions."""
    if node.op in VIRTUAL:
        return True
    if depth < DEEP and (node.op in ("view", "cast", "copy") or node.op in ELEMENTWISE):
        # a list, no generator: a page's stack in C is small
        return False not in [is_virtual(s, depth + 1) for s in node.srcs]
    return False


class _Number(Node):
    """A number seen at another shape; keeps the slot of the first."""

    __slots__ = ("origin",)
    origin: Node


def renamed(src: Node, shape: Shape) -> Node:
    out = _Number("number", (), shape, src.dtype, src.arg)
    out.origin = origin(src)
    return out


def origin(node: Node) -> Node:
    """The number node a slot was given to."""
    return node.origin if isinstance(node, _Number) else node
