"""From values to steps: rewrite → group → emit. Runs on a plan-cache miss only.

It is told what the device can do (``Caps``) and asks nobody: it runs without a device.

A group is one kernel. Groups grow backwards: a value joins the group that consumes it when all its
consumers are in that group, so only a group's last value (and values somebody holds) go to memory,
and groups cannot depend on each other in a circle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from .dtypes import COMPUTE, DType, bfloat16, float16, float32, int32
from .graph import Node, const, view
from .ir import Fused, Instr, Slot, Structured
from .ops.elementwise import ELEMENTWISE
from .shape import (
    Shape,
    broadcast_strides,
    collapse,
    contiguous_strides,
    decompose,
    is_contiguous,
    numel,
    refine,
    split_strides,
)


class Caps(NamedTuple):
    """What an executor can do."""

    max_operands: int = 64  # buffers of one kernel
    max_instrs: int = 256
    packed: bool = False  # 16-bit floats share a word: only contiguous elementwise stores
    split_over: int = 0  # reductions of few rows longer than this are done in two steps; 0: never
    wide: bool = True  # has int64 and float64; else int64 is kept in 32 bits
    max_inner: int = 1 << 16  # longest row that may be walked more than once in a kernel


VIRTUAL = ("number", "const", "iota")
FUSIBLE = frozenset(ELEMENTWISE) | {"cast", "index", "take", "copy", "reduce"}
_PACKED = (float16, bfloat16)
_NEUTRAL = {"sum": 0, "prod": 1, "max": -math.inf, "min": math.inf}
_DEEP = 12  # how far views are moved down and numbers are folded: bounds the recursion


class Schedule(NamedTuple):
    """Steps over slots: leaves first, then results, then temporaries."""

    steps: tuple[Any, ...]  # Fused | Structured
    slots: tuple[Slot, ...]
    n_leaf: int
    n_out: int
    outs: tuple[Any, ...]  # per root: ("slot", k) or ("leaf", k)


def schedule(
    roots: Sequence[Node], leaves: Sequence[Node], numbers: Sequence[Node], caps: Caps
) -> Schedule:
    """Plans the computation of ``roots`` from ``leaves``; ``numbers`` are the scalar slots."""
    graph = _Rewriter(caps, roots).run()
    groups = _Grouper(graph, caps).run()
    return _Emitter(graph, groups, leaves, {id(n): i for i, n in enumerate(numbers)}, caps).run()


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


# --- rewrite: views move to the leaves, odd dtypes get casts ------------------------------------


class _Graph(NamedTuple):
    roots: list[Node]
    order: list[Node]


def _identity(node: Node) -> bool:
    """True for a view that only renames the dimensions of its source."""
    strides, offset = node.arg
    return (
        offset == 0
        and numel(node.shape) == numel(node.srcs[0].shape)
        and is_contiguous(node.shape, strides)
    )


def peel(node: Node) -> Node:
    """The value under views that only reshape it."""
    while node.op == "view" and _identity(node):
        node = node.srcs[0]
    return node


class _Rewriter:
    """Makes the graph that is scheduled: same values, fewer and better placed views."""

    def __init__(self, caps: Caps, roots: Sequence[Node]) -> None:
        self.caps = caps
        self.roots = roots
        self.new: dict[int, Node] = {}
        self.uses: dict[int, int] = {}
        self.keep: list[Node] = []  # rewritten nodes must outlive their ids

    def run(self) -> _Graph:
        order = toposort(self.roots)
        for node in order:
            for s in node.srcs:
                self.uses[id(s)] = self.uses.get(id(s), 0) + 1
        for node in self.roots:
            self.uses[id(node)] = self.uses.get(id(node), 0) + 1
        for node in order:
            self.new[id(node)] = self._rewrite(node)
        roots = [self.new[id(r)] for r in self.roots]
        return _Graph(roots, toposort(roots))

    def _rewrite(self, node: Node) -> Node:
        if not numel(node.shape) and node.op not in ("buffer", "const"):
            return const(0, node.dtype, node.shape)
        if not node.srcs:
            return node
        srcs = tuple(self.new[id(s)] for s in node.srcs)
        if node.op == "reduce":
            trivial = self._trivial_reduce(node, srcs[0])
            if trivial is not None:
                return trivial
        if node.op == "view":
            out = self._view(srcs[0], node, self.uses.get(id(node.srcs[0]), 0) <= 1)
        elif node.op in FUSIBLE:
            out = node if srcs == node.srcs else _rebuilt(node, srcs)
            if node.op == "reduce":
                out = self._split(self._unpacked(out))
        else:
            out = self._structured(node, srcs)
        self.keep.append(out)
        self.uses.setdefault(id(out), self.uses.get(id(node), 0))
        return out

    def _trivial_reduce(self, node: Node, src: Node) -> Node | None:
        """A reduction over nothing is its neutral element, over one element a copy."""
        kind, k = node.arg
        inner = numel(src.shape[len(src.shape) - k :])
        if inner == 0:
            return const(_NEUTRAL[kind], node.dtype, node.shape)
        if inner != 1:
            return None
        window = view(src, node.shape, contiguous_strides(node.shape), 0)
        self.keep.append(window)
        return self._view(src, window, False)

    def _view(self, src: Node, node: Node, single: bool, depth: int = 0) -> Node:
        """A view of ``src``, moved as near to the leaves as it goes."""
        shape, (strides, offset) = node.shape, node.arg
        if src.op == "view" and not _identity(src):
            composed = _compose(src, shape, strides, offset)
            if composed is not None:
                return composed
        src = peel(src)
        if src.op == "view":
            composed = _compose(src, shape, strides, offset)
            if composed is not None:
                return composed
        if src.op in ("number", "const"):
            return (
                Node(src.op, (), shape, src.dtype, src.arg)
                if src.op == "const"
                else _renamed(src, shape)
            )
        if src.op == "iota":
            moved = _compose_strides(src.shape, src.arg, shape, strides, offset)
            if moved is not None:
                return Node("iota", (), shape, src.dtype, moved)
        out = Node("view", (src,), shape, src.dtype, (strides, offset))
        movable = src.op in FUSIBLE and src.op != "reduce" and depth < _DEEP
        if movable and not _identity(out):
            free = is_virtual(src)
            if free or (single and numel(shape) <= numel(src.shape)):
                pushed = self._push(src, shape, strides, offset, depth + 1)
                if pushed is not None:
                    return pushed
        return out

    def _push(
        self, src: Node, shape: Shape, strides: Shape, offset: int, depth: int
    ) -> Node | None:
        """view(f(a, b)) → f(view(a), view(b))."""
        steps = decompose(shape, strides, offset, src.shape)
        if steps is None:
            return None
        start, along = steps
        first = 1 if src.op == "take" else 0  # what is taken from stays as it is
        srcs = list(src.srcs)
        for i in range(first, len(srcs)):
            s = srcs[i]
            base = broadcast_strides(s.shape, contiguous_strides(s.shape), src.shape)
            new = tuple(k * base[d] if base else 0 for d, k in along)
            begin = sum(k * b for k, b in zip(start, base, strict=True))
            window = Node("view", (s,), shape, s.dtype, (new, begin))
            srcs[i] = self._view(s, window, self.uses.get(id(s), 2) <= 1, depth)
        out = Node(src.op, tuple(srcs), shape, src.dtype, src.arg)
        self.keep.extend(srcs)
        return out

    def _unpacked(self, node: Node) -> Node:
        """A reduction of packed floats in float32: a row's result cannot be half a word."""
        if not self.caps.packed or node.dtype not in _PACKED:
            return node
        src = Node("cast", node.srcs, node.srcs[0].shape, float32)
        wide = Node("reduce", (src,), node.shape, float32, node.arg)
        self.keep += [src, wide]
        return Node("cast", (self._split(wide),), node.shape, node.dtype)

    def _split(self, node: Node) -> Node:
        """A long reduction of few rows in two steps, so that many workgroups have work."""
        if node.op != "reduce":
            return node
        kind, k = node.arg
        src, limit = node.srcs[0], self.caps.split_over
        inner = numel(src.shape[len(src.shape) - k :])
        rows = numel(node.shape)
        if not limit or inner <= limit or rows >= 64:
            return node
        chunk = next((c for c in range(1024, 63, -1) if inner % c == 0), 0)
        if not chunk:
            return node
        parts = inner // chunk
        shape = (rows, parts, chunk)
        seen = Node("view", (src,), shape, src.dtype, (contiguous_strides(shape), 0))
        first = Node("reduce", (seen,), (rows, parts), node.dtype, (kind, 1))
        self.keep += [seen, first]
        return self._split(Node("reduce", (first,), node.shape, node.dtype, (kind, 1)))

    def _structured(self, node: Node, srcs: tuple[Node, ...]) -> Node:
        """Structured kernels compute in 4- or 8-byte types: narrower ones are cast around them."""
        if node.op == "sort" or (node.op == "matmul" and node.dtype is float32):
            return _rebuilt(node, srcs)
        if node.op == "store":
            narrow = self.caps.packed and node.dtype in _PACKED
        else:
            narrow = node.dtype.code < int32.code or node.dtype in _PACKED
        if not narrow:
            return _rebuilt(node, srcs)
        wide = float32 if node.dtype.is_floating_point else int32
        cast = tuple(
            Node("cast", (s,), s.shape, wide) if s.dtype is node.dtype else s for s in srcs
        )
        inner = Node(node.op, cast, node.shape, wide, node.arg)
        self.keep += [*cast, inner]
        return Node("cast", (inner,), node.shape, node.dtype)


def _rebuilt(node: Node, srcs: tuple[Node, ...]) -> Node:
    return node if srcs == node.srcs else Node(node.op, srcs, node.shape, node.dtype, node.arg)


class _Number(Node):
    """A number seen at another shape; keeps the slot of the first."""

    __slots__ = ("origin",)
    origin: Node


def _renamed(src: Node, shape: Shape) -> Node:
    out = _Number("number", (), shape, src.dtype, src.arg)
    out.origin = origin(src)
    return out


def origin(node: Node) -> Node:
    """The number node a slot was given to."""
    return node.origin if isinstance(node, _Number) else node


def is_virtual(node: Node, depth: int = 0) -> bool:
    """True if the value needs no memory to be read: a short expression of numbers and positions."""
    if node.op in VIRTUAL:
        return True
    if depth < _DEEP and (node.op in ("view", "cast", "copy") or node.op in ELEMENTWISE):
        return all(is_virtual(s, depth + 1) for s in node.srcs)
    return False


def _compose(inner: Node, shape: Shape, strides: Shape, offset: int) -> Node | None:
    """view(view(x)) as one view."""
    moved = _compose_strides(inner.shape, inner.arg, shape, strides, offset)
    if moved is None:
        return None
    return Node("view", inner.srcs, shape, inner.dtype, moved)


def _compose_strides(
    mid: Shape, arg: tuple[Shape, int], shape: Shape, strides: Shape, offset: int
) -> tuple[Shape, int] | None:
    """A view over the numbering of ``mid``, itself a view ``arg``, as one view."""
    mid_strides, mid_offset = arg
    steps = decompose(shape, strides, offset, mid)
    if steps is None:
        merged, (inner,) = collapse(mid, [mid_strides])
        steps = decompose(shape, strides, offset, merged)
        if steps is None:
            return None
        mid_strides = inner
    start, along = steps
    out = tuple(k * mid_strides[d] if mid_strides else 0 for d, k in along)
    return out, mid_offset + sum(k * s for k, s in zip(start, mid_strides, strict=True))


# --- group: which values share a kernel -----------------------------------------------------------


class _Group:
    """One kernel in the making. ``dims`` is its space; once it has a reduction, ``rows`` ×
    ``inner``."""

    __slots__ = (
        "dims",
        "externals",
        "has_row",
        "inner",
        "members",
        "rows",
        "sink",
        "stores",
        "why",
    )

    def __init__(self, sink: Node, dims: Shape) -> None:
        self.sink = sink
        self.dims = tuple(n for n in dims if n != 1)
        self.rows = 0  # elements of the row space once known
        self.inner: Shape | None = None
        self.members: dict[int, tuple[Node, int]] = {}  # id → (node, level: 0 base or row, 1 full)
        self.externals: set[int] = set()
        self.stores: set[int] = set()
        self.has_row = False
        self.why = "end"


class _Grouper:
    def __init__(self, graph: _Graph, caps: Caps) -> None:
        self.graph = graph
        self.caps = caps
        self.position = {id(n): i for i, n in enumerate(graph.order)}
        self.group_of: dict[int, _Group] = {}
        self.consumers: dict[int, list[tuple[Node, Node]]] = {}
        self.roots = {id(peel(r)) for r in graph.roots}
        self.virtual: set[int] = set()
        self.reduced: dict[int, tuple[int, int]] = {}  # id → (rows, inner elements) it comes from
        self.forced = {
            id(r) for r in map(peel, graph.roots) if r.op in VIRTUAL or r.op in ("view", "buffer")
        }

    def run(self) -> list[_Group]:
        for node in self.graph.order:
            self._note(node)
        groups: list[_Group] = []
        for node in reversed(self.graph.order):
            if id(node) in self.virtual and id(node) not in self.roots:
                continue
            if node.op in FUSIBLE or node.op == "store":
                group = self._join(node) if node.op != "store" else None
                if group is None:
                    group = _Group(node, self._space(node))
                    groups.append(group)
                    if node.op == "reduce":
                        self._set_inner_below(group, node)
                    self._add(group, node, 0)
                    group.stores.add(id(node))
        return groups

    def _space(self, node: Node) -> Shape:
        return node.srcs[1].shape if node.op == "store" else node.shape

    def _note(self, node: Node) -> None:
        """Consumers, looking through reshapes; what is virtual; what comes from a reduction."""
        if is_virtual(node):
            self.virtual.add(id(node))
        if node.op == "view" and _identity(node):
            pass
        else:
            for s in node.srcs:
                self.consumers.setdefault(id(peel(s)), []).append((node, s))
        if node.op == "reduce":
            inner = numel(node.srcs[0].shape[len(node.srcs[0].shape) - node.arg[1] :])
            self.reduced[id(node)] = (numel(node.shape), inner)
        elif node.op in ELEMENTWISE or node.op in ("cast", "copy"):
            for s in node.srcs:
                got = self.reduced.get(id(peel(s)))
                if got is not None and got[0] == numel(node.shape):
                    self.reduced[id(node)] = got
                    break

    def _join(self, node: Node) -> _Group | None:
        """The group of all consumers, if the value fits into it; else None, with the reason."""
        uses = self.consumers.get(id(node), [])
        if not uses:
            return None
        groups = {id(self.group_of.get(id(c))): self.group_of.get(id(c)) for c, _ in uses}
        if len(groups) != 1:
            return None
        group = next(iter(groups.values()))
        if group is None or len(group.members) >= self.caps.max_instrs:
            return None
        level = self._level(group, node, uses)
        if level is None:
            return None
        stored = id(node) in self.roots
        if stored and self.caps.packed and node.dtype in _PACKED and (group.inner is not None):
            return None
        needed = self._needs(node)
        externals = (group.externals - {id(node)}) | needed
        if len(externals) + len(group.stores) + stored > self.caps.max_operands - 1:
            group.why = "operands"
            return None
        self._commit(group, node, level)
        if stored:
            group.stores.add(id(node))
        return group

    def _needs(self, node: Node) -> set[int]:
        return {id(_base(s)) for s in node.srcs if id(s) not in self.virtual}

    def _add(self, group: _Group, node: Node, level: int) -> None:
        group.members[id(node)] = (node, level)
        group.externals = (group.externals - {id(node)}) | self._needs(node)
        self.group_of[id(node)] = group

    # a level plan is (level of the node, dims, rows, inner) to be committed
    def _level(self, group: _Group, node: Node, uses: list[tuple[Node, Node]]) -> Any:
        plans = [self._edge(group, node, c, s) for c, s in uses]
        plan = plans[0]
        if plan is None or any(p != plan for p in plans):
            return None
        if node.op == "reduce" and not self._can_reduce(group, node, plan):
            return None
        return plan

    def _edge(self, group: _Group, node: Node, consumer: Node, s: Node) -> tuple[Any, ...] | None:
        """Where the value would sit, seen from one consumer."""
        if consumer.op not in FUSIBLE and consumer.op != "store":
            return None
        if consumer.op == "take" and peel(consumer.srcs[0]) is node:
            return None
        if consumer.op == "store" and peel(consumer.srcs[0]) is node:
            return None
        if peel(s) is not node:
            return None
        at = group.members[id(consumer)][1]
        if consumer.op == "reduce":
            return self._refined(group, node, 1)
        want = self._space(consumer)
        if numel(node.shape) == numel(want):
            return self._refined(group, node, at)
        if self._rows_then_inner(s.shape, want):
            return self._as_row(group, node, at, numel(want))
        return None

    @staticmethod
    def _rows_then_inner(small: Shape, big: Shape) -> bool:
        """True if broadcasting only repeats each element along the trailing dimensions."""
        pad = len(big) - len(small)
        small = (1,) * pad + small
        repeating = False
        for a, b in zip(small, big, strict=True):
            if a != b:
                repeating = True
            elif b != 1 and repeating:
                return False
        return True

    def _refined(self, group: _Group, node: Node, level: int) -> tuple[Any, ...] | None:
        """Same elements in the same order, perhaps under another shape."""
        n = numel(node.shape)
        if group.inner is None:
            dims = refine(group.dims, node.shape)
            return None if dims is None or level != 0 else (0, dims, None)
        if level == 0:
            dims = refine(group.dims, node.shape)
            return None if dims is None else (0, dims, group.inner)
        if n != group.rows * numel(group.inner):
            return None
        full = refine(group.dims + group.inner, node.shape)
        return self._cut(full, group.rows, 1)

    @staticmethod
    def _cut(full: Shape | None, rows: int, level: int) -> tuple[Any, ...] | None:
        """Splits refined dims into rows and inner."""
        if full is None:
            return None
        done, i = 1, 0
        while done < rows and i < len(full):
            done *= full[i]
            i += 1
        return (level, full[:i], full[i:]) if done == rows else None

    def _as_row(self, group: _Group, node: Node, at: int, full: int) -> tuple[Any, ...] | None:
        """A value per row, repeated along the rest."""
        rows = numel(node.shape)
        if group.inner is not None:
            if at != 1 or rows != group.rows:
                return None
            dims = refine(group.dims, node.shape)
            return None if dims is None else (0, dims, group.inner)
        if self.reduced.get(id(node)) != (rows, full // rows if rows else 0):
            return None
        if self.caps.packed and any(
            group.members[k][0].dtype in _PACKED for k in group.stores if k in group.members
        ):
            return None
        if any(m.op == "store" for m, _ in group.members.values()):
            return None
        inner = full // rows
        if inner > self.caps.max_inner or (rows < 4 and inner > 4096 and self.caps.split_over):
            return None
        split = refine(group.dims, (rows, inner))
        cut = self._cut(split, rows, 0)
        if cut is None:
            return None
        tail = refine(cut[1], node.shape)
        return None if tail is None else (0, tail, cut[2], "split")

    def _can_reduce(self, group: _Group, node: Node, plan: tuple[Any, ...]) -> bool:
        """A reduction sets the inner space of its group, or must agree with it."""
        level, _, inner = plan[:3]
        if level != 0:
            return False
        src = node.srcs[0]
        cut = len(src.shape) - node.arg[1]
        own = src.shape[cut:]
        if inner is not None:
            return numel(own) == numel(inner) and refine(inner, own) is not None
        if self.caps.packed and any(group.members[k][0].dtype in _PACKED for k in group.stores):
            return False
        return not any(m.op == "store" for m, _ in group.members.values())

    def _commit(self, group: _Group, node: Node, plan: tuple[Any, ...]) -> None:
        level, dims, inner = plan[:3]
        if len(plan) == 4:  # the space splits: all members so far are full
            group.members = {k: (m, 1) for k, (m, _) in group.members.items()}
        group.dims = tuple(n for n in dims if n != 1)
        if inner is not None:
            group.inner = tuple(n for n in inner if n != 1)
            group.rows = numel(group.dims)
        if node.op == "reduce":
            self._set_inner_below(group, node)
        self._add(group, node, level)

    @staticmethod
    def _set_inner_below(group: _Group, node: Node) -> None:
        src = node.srcs[0]
        own = tuple(n for n in src.shape[len(src.shape) - node.arg[1] :] if n != 1)
        group.inner = own if group.inner is None else refine(group.inner, own)
        group.rows = numel(group.dims)


def _base(node: Node) -> Node:
    """The value in memory that a source is read from."""
    while node.op == "view":
        node = node.srcs[0]
    return node


# --- emit: instructions, slots, order -----------------------------------------------------------


class _Emitter:
    def __init__(
        self,
        graph: _Graph,
        groups: list[_Group],
        leaves: Sequence[Node],
        scalars: dict[int, int],
        caps: Caps,
    ) -> None:
        self.graph, self.groups, self.caps, self.scalars = graph, groups, caps, scalars
        self.leaf_slot = {id(n): i for i, n in enumerate(leaves)}
        self.slots: list[Slot] = [Slot(n.dtype, numel(n.shape)) for n in leaves]
        self.n_leaf = len(leaves)
        self.slot_of: dict[int, int] = dict(self.leaf_slot)
        self.steps: list[Any] = []
        self.position = {id(n): i for i, n in enumerate(graph.order)}
        self.reads: dict[int, int] = {}
        self.keep: list[Node] = []

    def run(self) -> Schedule:
        sinks = {id(g.sink): g for g in self.groups}
        out_nodes = [peel(r) for r in self.graph.roots]
        for node in self.graph.order:
            for s in node.srcs:  # of the window, and of what it is a window on
                for read in {id(peel(s)), id(_base(s))}:
                    self.reads[read] = self.reads.get(read, 0) + 1
        self.root_ids = {id(n) for n in out_nodes}
        for node in self.graph.order:
            if id(node) in sinks:
                self._fused(sinks[id(node)])
            elif node.op not in FUSIBLE and node.op not in ("view", "buffer", *VIRTUAL):
                self._structured(node)
        outs = [self._root(n) for n in out_nodes]
        return self._number(outs)

    # -- slots

    def _slot(self, node: Node) -> int:
        """The slot a value is written to."""
        k = self.slot_of.get(id(node))
        if k is None:
            k = len(self.slots)
            self.slots.append(Slot(node.dtype, numel(node.shape)))
            self.slot_of[id(node)] = k
        return k

    def _material(self, node: Node) -> int:
        """The slot of a value in row-major order, copied there if it is only a view."""
        node = peel(node)
        if id(node) in self.slot_of:
            return self.slot_of[id(node)]
        if node.op == "view" or node.op in VIRTUAL or id(node) not in self.slot_of:
            copy = Node("copy", (node,), node.shape, node.dtype)
            self.keep.append(copy)
            group = _Group(copy, copy.shape)
            group.members[id(copy)] = (copy, 0)
            group.stores.add(id(copy))
            self._fused(group)
            self.slot_of[id(node)] = self.slot_of[id(copy)]
        return self.slot_of[id(node)]

    def _root(self, node: Node) -> tuple[str, int]:
        k = self._material(node)
        return ("leaf", k) if k < self.n_leaf else ("slot", k)

    def _number(self, outs: list[tuple[str, int]]) -> Schedule:
        """Renumbers: leaves, results, temporaries."""
        out_slots = list(dict.fromkeys(k for kind, k in outs if kind == "slot"))
        rest = [k for k in range(self.n_leaf, len(self.slots)) if k not in set(out_slots)]
        order = [*range(self.n_leaf), *out_slots, *rest]
        to = {k: i for i, k in enumerate(order)}
        steps = tuple(s._replace(operands=tuple(to[k] for k in s.operands)) for s in self.steps)
        return Schedule(
            steps,
            tuple(self.slots[k] for k in order),
            self.n_leaf,
            len(out_slots),
            tuple((kind, to[k]) for kind, k in outs),
        )

    # -- structured steps

    def _base_slot(self, base: Node, out: Node) -> int:
        """A slot for ``out`` that holds the content of ``base``: its own, or a copy."""
        base = peel(base)
        if base.op == "empty":
            return self._slot(out)
        k = self._material(base)
        last = self.reads.get(id(base), 0) <= 1
        if k >= self.n_leaf and last and id(base) not in self.root_ids:
            self.slot_of[id(out)] = k
            return k
        dst = self._slot(out)
        self._step("copy", (), (k, dst))
        return dst

    def _step(self, op: str, arg: tuple[Any, ...], operands: Sequence[int]) -> None:
        self.steps.append(
            Structured(
                op,
                arg,
                tuple(operands),
                tuple(self.slots[k].dtype for k in operands),
                tuple(self.slots[k].nelems for k in operands),
            )
        )

    def _structured(self, node: Node) -> None:
        if node.op == "matmul":
            self._matmul(node)
        elif node.op == "scatter":
            base, index, value = node.srcs
            operands = [self._material(index), self._material(value)]
            out = self._base_slot(base, node)
            arg = (numel(base.shape), numel(index.shape), node.arg)
            self._step("scatter", arg, (out, *operands))
        elif node.op == "empty":
            self._slot(node)
        elif node.op in ("scan", "sort"):
            n = node.shape[-1] if node.shape else 1
            arg = (numel(node.shape) // n, n) + ((node.arg,) if node.op == "scan" else ())
            self._step(node.op, arg, (self._material(node.srcs[0]), self._slot(node)))
        else:
            operands = [self._material(s) for s in node.srcs]
            self._step(node.op, node.arg, (*operands, self._slot(node)))

    def _matmul(self, node: Node) -> None:
        a, b = node.srcs
        batch = node.shape[:-2]
        (slot_a, view_a), (slot_b, view_b) = self._matrix(a, batch), self._matrix(b, batch)
        sizes, (sa, sb) = collapse(batch, [view_a[0], view_b[0]])
        arg = (
            sizes, node.shape[-2], node.shape[-1], a.shape[-1],
            (sa, *view_a[1:]), (sb, *view_b[1:]),
        )  # fmt: skip
        self._step("matmul", arg, (slot_a, slot_b, self._slot(node)))

    def _matrix(self, node: Node, batch: Shape) -> tuple[int, tuple[Any, ...]]:
        """A matmul operand as slot and (batch strides, offset, row stride, column stride)."""
        flat = peel(node)
        if flat.op == "view" and id(flat) not in self.slot_of and flat.shape == node.shape:
            (strides, offset), slot = flat.arg, self._material(flat.srcs[0])
            if min(strides, default=0) < 0:
                strides, offset, slot = contiguous_strides(node.shape), 0, self._material(flat)
        else:
            strides, offset, slot = contiguous_strides(node.shape), 0, self._material(node)
        lead = broadcast_strides(node.shape[:-2], strides[:-2], batch)
        return slot, (lead, offset, strides[-2], strides[-1])

    # -- fused kernels

    def _fused(self, group: _Group) -> None:
        sink = group.sink
        if sink.op == "store":
            base = peel(sink.srcs[0])
            self._base_slot(base, sink)
        body = _Body(self, group)
        members = sorted(group.members.values(), key=lambda m: self.position.get(id(m[0]), 0))
        for node, _level in members:
            body.member(node)
        self.steps.append(body.finish())


class _Body:
    """The instructions of one group."""

    def __init__(self, emitter: _Emitter, group: _Group) -> None:
        self.e, self.group = emitter, group
        self.full = group.dims + (group.inner or ())
        self.instrs: list[Instr] = []
        self.seen: dict[Any, int] = {}
        self.value: dict[int, int] = {}
        self.operands: list[int] = []
        self.writes: list[int] = []

    def _emit(self, op: str, type_: str, srcs: tuple[int, ...], arg: Any, level: int) -> int:
        phase = 0
        for s in srcs:
            i = self.instrs[s]
            phase = max(phase, i.phase + (i.op == "reduce"))
            if i.op != "reduce":
                level = max(level, i.level) if op != "reduce" else 0
        if op != "store":
            key = (op, type_, srcs, repr(arg), level)
            got = self.seen.get(key)
            if got is not None:
                return got
            self.seen[key] = len(self.instrs)
        self.instrs.append(Instr(op, type_, srcs, arg, level, phase))
        return len(self.instrs) - 1

    def _operand(self, slot: int) -> int:
        if slot not in self.operands:
            self.operands.append(slot)
        return self.operands.index(slot)

    def _dims(self, level: int) -> Shape:
        return self.full if level else self.group.dims

    def _strides(self, shape: Shape, strides: Shape, level: int) -> tuple[Shape, int]:
        """A view's strides over the kernel's space, and the level it really needs."""
        keep = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
        out = split_strides(tuple(n for n, _ in keep), tuple(s for _, s in keep), self._dims(level))
        rows = len(self.group.dims)
        if level and not any(out[rows:]):
            return out[:rows], 0
        return out, level

    def member(self, node: Node) -> None:
        """Emits one value of the group, and its store if it is kept."""
        level = self.group.members[id(node)][1]
        if node.op == "store":
            self._store_window(node)
            return
        k = self._compute(node, node.shape, level)
        self.value[id(node)] = k
        if id(node) in self.group.stores:
            self._store(node, k, level)

    def _store(self, node: Node, k: int, level: int) -> None:
        operand = self._operand(self.e._slot(node))
        self.writes.append(operand)
        self._emit("store", node.dtype.compute, (k,), (operand, None, 0), level)

    def _store_window(self, node: Node) -> None:
        value, (strides, offset) = node.srcs[1], node.arg
        k = self._read(value, value.shape, 0)
        if value.dtype is not node.dtype:
            k = self._emit("cast", node.dtype.compute, (k,), node.dtype, 0)
        operand = self._operand(self.e.slot_of[id(node)])
        self.writes.append(operand)
        out, _ = self._strides(value.shape, strides, 0)
        self._emit("store", node.dtype.compute, (k,), (operand, out, offset), 0)

    def _compute(self, node: Node, at: Shape, level: int) -> int:
        """An op of the group, over the space ``at`` (its own shape, or broadcast for virtuals)."""
        op, type_ = node.op, node.dtype.compute
        if op == "reduce":
            src = node.srcs[0]
            k = self._read(src, src.shape, 1)
            if self.instrs[k].level == 0:  # the same value all along the row
                k = self._force_full(k, src.dtype)
            return self._emit("reduce", type_, (k,), node.arg[0], 0)
        if op == "copy":
            return self._read(node.srcs[0], at, level)
        if op == "take":
            operand = self._operand(self.e._material(node.srcs[0]))
            k = self._read(node.srcs[1], at, level)
            return self._emit("take", type_, (k,), (operand, node.arg), 0)
        srcs = tuple(self._read(s, at, level) for s in node.srcs)
        arg = node.dtype if op == "cast" else node.arg
        k = self._emit(op, type_, srcs, arg, max(self._level_of(s) for s in srcs))
        if op != "cast" and node.dtype.name in _WRAPPED and op not in ("where", "index"):
            k = self._emit("cast", type_, (k,), node.dtype, self._level_of(k))
        return k

    def _level_of(self, k: int) -> int:
        i = self.instrs[k]
        return 0 if i.op == "reduce" else i.level

    def _force_full(self, k: int, dtype: DType) -> int:
        self.instrs.append(
            Instr("cast", dtype.compute, (k,), COMPUTE[dtype.compute], 1,
                  self.instrs[k].phase + (self.instrs[k].op == "reduce"))
        )  # fmt: skip
        return len(self.instrs) - 1

    def _read(self, s: Node, at: Shape, level: int) -> int:
        """A source, broadcast to ``at``."""
        inside = self.value.get(id(peel(s)))
        if inside is not None:
            return inside
        type_ = s.dtype.compute
        if s.op in ("number", "const"):
            if s.op == "number":
                return self._emit("scalar", type_, (), self.e.scalars[id(origin(s))], 0)
            return self._emit("const", type_, (), s.arg, 0)
        if s.op == "iota":
            strides, real = self._strides(at, broadcast_strides(s.shape, s.arg[0], at), level)
            return self._emit("addr", type_, (), (strides, s.arg[1]), real)
        if self._inline(s):
            return self._compute(s, at, level)
        flat = peel(s)
        if flat.op == "view" and id(flat) not in self.e.slot_of:
            strides, offset = flat.arg
            shape = flat.shape
            slot = self.e._material(flat.srcs[0])
            if s is not flat:  # a reshape of a window
                fine = refine(tuple(n for n in shape if n != 1), s.shape)
                if fine is None or self._sub(s.shape, at, fine, level) is None:
                    slot, strides, offset, shape = (
                        self.e._material(flat),
                        contiguous_strides(s.shape),
                        0,
                        s.shape,
                    )
                else:
                    return self._load_fine(slot, s, flat, fine, at, level)
        else:
            slot, strides, offset, shape = (
                self.e._material(s),
                contiguous_strides(s.shape),
                0,
                s.shape,
            )
        strides, real = self._strides(at, broadcast_strides(shape, strides, at), level)
        return self._emit("load", type_, (), (self._operand(slot), strides, offset), real)

    def _inline(self, s: Node) -> bool:
        """Numbers and positions are computed where they are used, unless a view could not be moved
        to them: then they go through memory."""
        return s.op != "view" and is_virtual(s) and id(s) not in self.e.slot_of

    def _sub(self, shape: Shape, at: Shape, fine: Shape, level: int) -> Any:
        """Whether the refinement of a reshaped window fits the kernel's space."""
        if shape != at:
            return None
        return (
            refine(fine, self._dims(level)) == tuple(n for n in self._dims(level) if n != 1) or None
        )

    def _load_fine(self, slot: int, s: Node, flat: Node, fine: Shape, at: Shape, level: int) -> int:
        strides, offset = flat.arg
        keep = [(n, st) for n, st in zip(flat.shape, strides, strict=True) if n != 1]
        over = split_strides(tuple(n for n, _ in keep), tuple(st for _, st in keep), fine)
        out, real = self._strides(fine, over, level)
        return self._emit("load", s.dtype.compute, (), (self._operand(slot), out, offset), real)

    def finish(self) -> Fused:
        """Merges dimensions, fixes levels of stores, and closes the kernel."""
        rows, inner = self.group.dims, self.group.inner or ()
        instrs = self._collapse(rows, inner)
        (rows, inner), instrs = instrs
        slots = self.e.slots
        return Fused(
            rows,
            inner,
            tuple(instrs),
            tuple(self.operands),
            tuple(slots[k].dtype for k in self.operands),
            tuple(slots[k].nelems for k in self.operands),
            tuple(dict.fromkeys(self.writes)),
            self.group.why,
        )

    def _collapse(self, rows: Shape, inner: Shape) -> Any:
        """Adjacent dimensions become one where every view allows it."""
        cut = len(rows)
        views: list[Shape] = []
        where: list[tuple[int, int]] = []
        for k, i in enumerate(self.instrs):
            strides = _strides_of(i)
            if strides is None and i.op == "store":
                continue
            if strides is not None:
                full = strides + (0,) * (cut + len(inner) - len(strides))
                views.append(full)
                where.append((k, len(strides)))
        new_rows, row_views = collapse(rows, [v[:cut] for v in views])
        new_inner, inner_views = collapse(inner, [v[cut:] for v in views])
        out = list(self.instrs)
        for (k, n), r, s in zip(where, row_views, inner_views, strict=True):
            strides = r + s if n > cut or (out[k].level == 1) else r
            out[k] = _with_strides(out[k], strides)
        fused = self.group.inner is not None
        return (new_rows, new_inner if fused else ()), out


_WRAPPED = ("uint8", "int8", "int16", "float16", "bfloat16")


def _strides_of(i: Instr) -> Shape | None:
    if i.op in ("load", "store"):
        return i.arg[1]
    return i.arg[0] if i.op == "addr" else None


def _with_strides(i: Instr, strides: Shape) -> Instr:
    if i.op == "addr":
        return i._replace(arg=(strides, i.arg[1]))
    return i._replace(arg=(i.arg[0], strides, i.arg[2]))
