"""A plan: what a flush runs, cached by the structure of the graph.

``linearize`` turns the pending graph into a key (structure), leaves (buffers) and numbers (scalar
slots); ``words`` lays a schedule out for JavaScript (twin: web/format.js).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from sys import getrefcount
from typing import Any, NamedTuple

from .errors import OutOfMemoryError
from .graph import Node
from .ir import Launch, Structured
from .schedule import Schedule
from .shape import extent, numel

VERSION = 1
RUN, COPY, ALLOC, FREE = 1, 2, 3, 4
(IN_A_LIST,) = map(getrefcount, [object()])  # what is held by one list and nothing else


class Pending(NamedTuple):
    """The graph of a flush, taken apart."""

    key: tuple[Any, ...]
    leaves: list[Node]
    numbers: list[Node]
    windows: list[Node]  # views of small parts of leaves
    places: list[int]  # of the leaves, in the key
    reads: list[int]  # the place of each operand of each op
    given: tuple[int, ...] = ()  # leaves that nobody needs after the run: it may write over them


def without_places(graph: Pending) -> tuple[Any, ...]:
    """The key of a graph but for where in their leaves its windows lie."""
    return tuple((*e[:3], e[3][0]) + e[4:] if e and e[0] == "view" else e for e in graph.key)


def linearize(roots: Sequence[Node]) -> Pending:
    """One walk, without recursion: key, leaves and numbers in the order they are met."""
    index: dict[Node, int] = {}  # places in the key
    buffers: dict[Any, int] = {}
    leaves: list[Node] = []
    numbers: list[Node] = []
    windows: list[Node] = []
    reads: list[int] = []
    key: list[Any] = []
    place, stack = index.get, [*reversed(roots)]
    while stack:
        node = stack[-1]
        at: list[Any] = [*map(place, node.srcs)]
        if None in at:
            stack.append(node.srcs[at.index(None)])
            continue
        stack.pop()
        if node in index:
            continue
        index[node] = len(key)
        op, dtype, shape = node.op, node.dtype, node.shape
        if op == "buffer":
            k = buffers.setdefault(node.buffer, len(buffers))
            leaves.append(node)
            key.append((k, shape, dtype.code))
        elif op == "number":
            numbers.append(node)
            key.append((dtype.code, shape))
        else:
            arg = node.arg
            if op == "view" and node.srcs[0].op == "buffer" and _is_window(node):
                windows.append(node)
            reads += at
            key.append((op, dtype.code, shape, arg, type(arg), *at))
    key.append(tuple([index[root] for root in roots]))
    return Pending(tuple(key), leaves, numbers, windows, [index[n] for n in leaves], reads)


def given(graph: Pending, replaced: Sequence[Node]) -> tuple[int, ...]:
    """Which leaves are ``replaced`` values that nothing but the graph holds any more.

    A new value of a parameter then takes the memory of the old one, as in eager PyTorch. Who holds
    a value or its buffer, the reference counts tell.
    """
    place = {id(n): i for i, n in enumerate(graph.leaves)}
    found = [n for n in replaced if id(n) in place]
    if not found:
        return ()
    nodes = [*map(getrefcount, found)]
    buffers = [*map(getrefcount, [n.buffer for n in found])]
    free = []
    for n, of_node, of_buffer in zip(found, nodes, buffers, strict=True):
        k = place[id(n)]
        uses = graph.reads.count(graph.places[k])
        # besides the list: `replaced`, the leaves, the values that read it; of the buffer, the node
        if of_node - IN_A_LIST == 2 + uses and of_buffer - IN_A_LIST == 1:
            free.append(k)
    return tuple(sorted(free))


def _is_window(node: Node) -> bool:
    """True for a view of a small part of its source that leaves little of that part out."""
    low, high = extent(node.shape, *node.arg)
    span = high - low + 1
    return span < numel(node.srcs[0].shape) and span <= 2 * numel(node.shape)


class Liveness(NamedTuple):
    """Per step: slots that come alive before it and temporaries that die after it."""

    alloc: list[list[int]]
    free: list[list[int]]


def liveness(schedule: Schedule) -> Liveness:
    """When each result and temporary needs memory."""
    n = len(schedule.steps)
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for i, step in enumerate(schedule.steps):
        for k in step.operands:
            first.setdefault(k, i)
            last[k] = i
    alloc: list[list[int]] = [[] for _ in range(n + 1)]
    free: list[list[int]] = [[] for _ in range(n + 1)]
    for k in range(schedule.n_leaf, len(schedule.slots)):
        alloc[first.get(k, n)].append(k)
        if k >= schedule.n_leaf + schedule.n_out and k in last:
            free[last[k]].append(k)
    return Liveness(alloc, free)


def words(
    schedule: Schedule,
    n_scalar: int,
    lower: Callable[[Any], list[Launch]],
    slot_bytes: Callable[[Any], int],
) -> tuple[array[int], list[str]]:
    """The int32 words and kernel texts of ``load``."""
    kernels: dict[str, int] = {}
    live = liveness(schedule)
    temps = len(schedule.slots) - schedule.n_leaf - schedule.n_out
    head = [VERSION, schedule.n_leaf, schedule.n_out, temps, n_scalar]
    body: list[int] = []
    count = 0

    def put(*ws: int) -> None:
        nonlocal count
        body.extend(ws)
        count += 1

    for i, step in enumerate([*schedule.steps, None]):
        for k in live.alloc[i]:
            put(ALLOC, k)
        if isinstance(step, Structured) and step.op == "copy":
            put(COPY, *step.operands, _unsigned(slot_bytes(schedule.slots[step.operands[0]])))
        elif step is not None:
            for run in lower(step):
                kernel = kernels.setdefault(run.kernel, len(kernels))
                put(RUN, kernel, run.flags, *run.grid, len(run.slots), *run.slots,
                    len(run.words), *run.words)  # fmt: skip
        for k in live.free[i]:
            put(FREE, k)
    sizes = [_unsigned(slot_bytes(s)) for s in schedule.slots]
    return array("i", [*head, *sizes, count, *body]), list(kernels)


def _unsigned(nbytes: int) -> int:
    """A size as the int32 word that JavaScript reads as unsigned."""
    if nbytes >= 1 << 32:
        raise OutOfMemoryError(
            f"a tensor of {nbytes / (1 << 30):.2f} GiB: a browser's device holds less than 4 GiB"
        )
    return nbytes if nbytes < 1 << 31 else nbytes - (1 << 32)
