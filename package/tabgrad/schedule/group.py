"""Second pass: which values share a kernel.

Groups grow backwards: a value joins the group that consumes it. When all its consumers are in that
group it needs no memory. When there are others, a cheap value joins all the same and is stored for
them, unless they in turn feed the group, which would make two kernels wait for each other.
"""

from __future__ import annotations

from typing import Any

from ..graph import Node
from ..ops.elementwise import ELEMENTWISE
from ..shape import Shape, numel, refine
from .values import (
    CHEAP,
    FUSIBLE,
    PACKED,
    VIRTUAL,
    Caps,
    Graph,
    base_of,
    is_reshape,
    is_virtual,
    peel,
)


class Group:
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


Unit = Group | Node  # a kernel, or a step that is not fused, or a window


class Grouper:
    def __init__(self, graph: Graph, caps: Caps) -> None:
        self.graph = graph
        self.caps = caps
        self.group_of: dict[int, Group] = {}
        self.consumers: dict[int, list[tuple[Node, Node]]] = {}
        self.roots = {id(peel(r)) for r in graph.roots}
        self.virtual: set[int] = set()
        self.reduced: dict[int, tuple[int, int]] = {}  # id → (rows, inner elements) it comes from
        self.forced = {
            id(r) for r in map(peel, graph.roots) if r.op in VIRTUAL or r.op in ("view", "buffer")
        }

    def run(self) -> list[Group]:
        for node in self.graph.order:
            self._note(node)
        groups: list[Group] = []
        for node in reversed(self.graph.order):
            if id(node) in self.virtual and id(node) not in self.roots:
                continue
            if node.op in FUSIBLE or node.op == "store":
                group = self._join(node) if node.op != "store" else None
                if group is None:
                    group = Group(node, self.space(node))
                    groups.append(group)
                    if node.op == "reduce":
                        self._set_inner_below(group, node)
                    self._add(group, node, 0)
                    group.stores.add(id(node))
        return groups

    def space(self, node: Node) -> Shape:
        """What a value is computed over."""
        return node.srcs[1].shape if node.op == "store" else node.shape

    def _note(self, node: Node) -> None:
        """Consumers, looking through reshapes; what is virtual; what comes from a reduction."""
        if is_virtual(node):
            self.virtual.add(id(node))
        if node.op == "view" and is_reshape(node):
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

    def _join(self, node: Node) -> Group | None:
        """The group of consumers that the value fits into; else None."""
        uses = self.consumers.get(id(node), [])
        units = {id(u): u for u in (self.unit(c) for c, _ in uses)}
        groups = [u for u in units.values() if isinstance(u, Group)]
        if len(units) > 1:
            if node.op not in CHEAP and node.op != "reduce":
                return None
            needs = self._needs(node)
            groups.sort(key=lambda g: -len(needs & g.externals))
        for group in groups:
            others = [u for u in units.values() if u is not group]
            mine = [use for use in uses if self.group_of.get(id(use[0])) is group]
            if not self.reaches(others, group) and self._enter(group, node, mine, bool(others)):
                return group
        return None

    def _enter(self, group: Group, node: Node, uses: list[tuple[Node, Node]], shared: bool) -> bool:
        """Adds a value to a group if it fits."""
        if len(group.members) >= self.caps.max_instrs:
            return False
        level = self._level(group, node, uses)
        if level is None:
            return False
        stored = shared or id(node) in self.roots
        if stored and self.caps.packed and node.dtype in PACKED and (group.inner is not None):
            return False
        externals = (group.externals - {id(node)}) | self._needs(node)
        if len(externals) + len(group.stores) + stored > self.caps.max_operands - 1:
            group.why = "operands"
            return False
        self._commit(group, node, level)
        if stored:
            group.stores.add(id(node))
        return True

    def unit(self, node: Node) -> Unit:
        """The step that computes a value."""
        return self.group_of.get(id(node), node)

    def reaches(self, starts: list[Unit], target: Group, around: Group | None = None) -> bool:
        """Does one of these steps feed the group, directly or through others?

        A kernel with several results may lie both before and after a step in the order of values,
        so only the steps themselves say what comes first.
        """
        seen = {id(around)}
        pending = list(starts)
        while pending:
            unit = pending.pop()
            if unit is target:
                return True
            if id(unit) in seen:
                continue
            seen.add(id(unit))
            for k in unit.members if isinstance(unit, Group) else (id(unit),):
                pending += [self.unit(c) for c, _ in self.consumers.get(k, [])]
        return False

    def _needs(self, node: Node) -> set[int]:
        """The buffers it reads. A window that is a table, or is seen in another shape, may have to
        be copied to one of its own."""
        real = [s for s in node.srcs if id(s) not in self.virtual]
        copied = {id(peel(s)) for s in real if peel(s) is not s and peel(s).op == "view"}
        if node.op == "take":
            copied.add(id(peel(node.srcs[0])))
        return {id(base_of(s)) for s in real} | copied

    def _add(self, group: Group, node: Node, level: int) -> None:
        group.members[id(node)] = (node, level)
        group.externals = (group.externals - {id(node)}) | self._needs(node)
        self.group_of[id(node)] = group

    # a level plan is (level of the node, dims, rows, inner) to be committed
    def _level(self, group: Group, node: Node, uses: list[tuple[Node, Node]]) -> Any:
        plans = [self._edge(group, node, c, s) for c, s in uses]
        plan = plans[0]
        if plan is None or any(p != plan for p in plans):
            return None
        if node.op == "reduce" and not self._can_reduce(group, node, plan):
            return None
        return plan

    def _edge(self, group: Group, node: Node, consumer: Node, s: Node) -> tuple[Any, ...] | None:
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
        want = self.space(consumer)
        if numel(node.shape) == numel(want):
            return self._refined(group, node, at)
        if self.rows_then_inner(s.shape, want):
            return self._as_row(group, node, at, numel(want))
        return None

    @staticmethod
    def rows_then_inner(small: Shape, big: Shape) -> bool:
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

    def _refined(self, group: Group, node: Node, level: int) -> tuple[Any, ...] | None:
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

    def _as_row(self, group: Group, node: Node, at: int, full: int) -> tuple[Any, ...] | None:
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
            group.members[k][0].dtype in PACKED for k in group.stores if k in group.members
        ):
            return None
        if any(m.op == "store" for m, _ in group.members.values()):
            return None
        inner = full // rows
        if inner > self.caps.max_inner or (
            rows < 4 and inner > 4 * self.caps.chunk and self.caps.split_over
        ):
            return None
        split = refine(group.dims, (rows, inner))
        cut = self._cut(split, rows, 0)
        if cut is None:
            return None
        tail = refine(cut[1], node.shape)
        return None if tail is None else (0, tail, cut[2], "split")

    def _can_reduce(self, group: Group, node: Node, plan: tuple[Any, ...]) -> bool:
        """A reduction sets the inner space of its group, or must agree with it."""
        level, _, inner = plan[:3]
        if level != 0:
            return False
        src = node.srcs[0]
        cut = len(src.shape) - node.arg[1]
        own = src.shape[cut:]
        if inner is not None:
            return numel(own) == numel(inner) and refine(inner, own) is not None
        if self.caps.packed and any(group.members[k][0].dtype in PACKED for k in group.stores):
            return False
        return not any(m.op == "store" for m, _ in group.members.values())

    def _commit(self, group: Group, node: Node, plan: tuple[Any, ...]) -> None:
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
    def _set_inner_below(group: Group, node: Node) -> None:
        src = node.srcs[0]
        own = tuple(n for n in src.shape[len(src.shape) - node.arg[1] :] if n != 1)
        group.inner = own if group.inner is None else refine(group.inner, own)
        group.rows = numel(group.dims)
