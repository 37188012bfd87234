"""Third pass: groups become steps over slots, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..graph import Node
from ..ir import Epilogue, Slot, Structured
from ..shape import Shape, broadcast_strides, collapse, contiguous_strides, numel
from .body import Body
from .epilogue import Ended
from .group import Group, Unit
from .values import FUSIBLE, VIRTUAL, Caps, Graph, base_of, is_virtual, peel


class Schedule(NamedTuple):
    """Steps over slots: leaves first, then results, then temporaries."""

    steps: tuple[Any, ...]  # Fused | Structured
    slots: tuple[Slot, ...]
    n_leaf: int
    n_out: int
    outs: tuple[Any, ...]  # per root: ("slot", k) or ("leaf", k)


class Emitter:
    def __init__(
        self,
        graph: Graph,
        groups: list[Group],
        leaves: Sequence[Node],
        scalars: dict[int, int],
        caps: Caps,
        given: Sequence[int] = (),
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
        self.held = {id(base_of(r)) for r in graph.roots}
        self.given = {k: leaves[k] for k in given if id(leaves[k]) not in self.held}
        self.readers: dict[int, set[int]] = {}  # of values whose memory ends: the steps to come

    def run(self) -> Schedule:
        out_nodes = [peel(r) for r in self.graph.roots]
        for node in self.graph.order:
            for s in node.srcs:  # of the window, and of what it is a window on
                for read in {id(peel(s)), id(base_of(s))}:
                    self.reads[read] = self.reads.get(read, 0) + 1
        self.root_ids = {id(n) for n in out_nodes}
        for unit in self._in_order():
            if isinstance(unit, Group):
                self._fused(unit)
            else:
                self._structured(unit)
            for readers in self.readers.values():
                readers.discard(id(unit))
        outs = [self._root(n) for n in out_nodes]
        return self._number(outs)

    def _in_order(self) -> list[Unit]:
        """Kernels and other steps, each after those it reads from."""
        unit_of: dict[int, Unit] = {k: g for g in self.groups for k in g.members}
        skipped = ("view", "buffer", *VIRTUAL)
        for node in self.graph.order:
            if node.op not in FUSIBLE and node.op not in skipped:
                unit_of.setdefault(id(node), node)
        self._find_readers(unit_of)
        order: list[Unit] = []
        state: dict[int, bool] = {}  # False: its sources are being placed, True: placed
        stack = [unit_of[id(n)] for n in reversed(self.graph.order) if id(n) in unit_of]
        while stack:
            unit = stack[-1]
            if id(unit) not in state:
                state[id(unit)] = False
                members = (
                    [m for m, _ in unit.members.values()] if isinstance(unit, Group) else [unit]
                )
                sources = {id(base_of(s)) for m in members for s in m.srcs} & unit_of.keys()
                stack += [unit_of[k] for k in sources if id(unit_of[k]) not in state]
            else:
                stack.pop()
                if not state[id(unit)]:
                    state[id(unit)] = True
                    order.append(unit)
        return order

    # -- memory of values that end

    def _find_readers(self, unit_of: dict[int, Unit]) -> None:
        ending = [*map(id, self.given.values()), *(k for k in unit_of if k not in self.held)]
        self.readers = {k: set() for k in ending}
        for node in self.graph.order:
            for s in node.srcs if node.op != "view" else ():
                if id(base_of(s)) in self.readers:
                    self.readers[id(base_of(s))].add(id(unit_of[id(node)]))

    def _take_over(self, group: Group) -> None:
        """Results of an elementwise kernel go to the memory of values that it is the last to read,
        element by element."""
        if group.inner is not None or group.sink.op == "store":
            return
        members = self._ordered(group)
        for k, value in self._ending(group, members).items():
            same = numel(value.shape) == numel(group.dims)
            if same and self.readers[id(value)] <= {id(group)}:
                result = self._heir(group, members, value)
                if result is not None:
                    self.slot_of[id(result)] = k
                    self.given.pop(k, None)

    def _ending(self, group: Group, members: list[Node]) -> dict[int, Node]:
        """By slot: leaves that are given, and what the group reads of values in between."""
        found = dict(self.given)
        for value in (base_of(s) for m in members for s in m.srcs):
            k = self.slot_of.get(id(value), -1)
            if k >= self.n_leaf and id(value) in self.readers and id(value) not in group.members:
                found[k] = value
        return found

    def _heir(self, group: Group, members: list[Node], value: Node) -> Node | None:
        """A result that can be written where the value is: after that is read."""
        n = numel(value.shape)
        found, read = None, not self.readers[id(value)]
        for node in members:
            mine = [s for s in node.srcs if base_of(s) is value]
            whole = all(peel(s) is value and numel(s.shape) == n for s in mine)
            if not whole or (node.op == "take" and base_of(node.srcs[0]) is value):
                return None
            read = read or bool(mine)
            fits = node.dtype is value.dtype and numel(node.shape) == n
            free = id(node) in group.stores and id(node) not in self.slot_of
            if found is None and read and fits and free:
                found = node
        return found

    def _ordered(self, group: Group) -> list[Node]:
        return sorted(
            (m for m, _ in group.members.values()), key=lambda m: self.position.get(id(m), 0)
        )

    # -- slots

    def slot_for(self, node: Node) -> int:
        """The slot a value is written to."""
        k = self.slot_of.get(id(node))
        if k is None:
            k = len(self.slots)
            self.slots.append(Slot(node.dtype, numel(node.shape)))
            self.slot_of[id(node)] = k
        return k

    def material(self, node: Node) -> int:
        """The slot of a value in row-major order, copied there if it is only a view."""
        node = peel(node)
        if id(node) in self.slot_of:
            return self.slot_of[id(node)]
        if node.op != "view" and not is_virtual(node):
            raise RuntimeError(f"the kernels of a plan wait for each other ({node.op})")
        copy = Node("copy", (node,), node.shape, node.dtype)
        self.keep.append(copy)
        group = Group(copy, copy.shape)
        group.members[id(copy)] = (copy, 0)
        group.stores.add(id(copy))
        self._fused(group)
        self.slot_of[id(node)] = self.slot_of[id(copy)]
        return self.slot_of[id(node)]

    def _root(self, node: Node) -> tuple[str, int]:
        k = self.material(node)
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
            return self.slot_for(out)
        k = self.material(base)
        last = self.reads.get(id(base), 0) <= 1
        own = k >= self.n_leaf or k in self.given
        if own and last and id(base) not in self.root_ids:
            self.given.pop(k, None)
            self.slot_of[id(out)] = k
            return k
        dst = self.slot_for(out)
        self._step("copy", (), (k, dst))
        return dst

    def _step(
        self,
        op: str,
        arg: tuple[Any, ...],
        operands: Sequence[int],
        epilogue: Epilogue | None = None,
    ) -> None:
        self.steps.append(
            Structured(
                op,
                arg,
                tuple(operands),
                tuple(self.slots[k].dtype for k in operands),
                tuple(self.slots[k].nelems for k in operands),
                epilogue,
            )
        )

    def _structured(self, node: Node) -> None:
        if node.op == "matmul":
            self._matmul(node)
        elif node.op in ("attention", "attention_grad"):
            self._attention(node)
        elif node.op == "scatter":
            base, index, value = node.srcs
            operands = [self.material(index), self.material(value)]
            out = self._base_slot(base, node)
            n, m, width = numel(base.shape), numel(index.shape), numel(value.shape)
            self._step("scatter", (n, m, node.arg, width // m), (out, *operands))
        elif node.op == "empty":
            self.slot_for(node)
        elif node.op in ("scan", "sort"):
            n = node.shape[-1] if node.shape else 1
            last = node.arg if node.op == "scan" or node.arg is not None else n
            arg = (numel(node.shape) // n, n, last)
            self._step(node.op, arg, (self.material(node.srcs[0]), self.slot_for(node)))
        else:
            operands = [self.material(s) for s in node.srcs]
            own, end = node.arg if isinstance(node.arg, Ended) else (node.arg, None)
            self._step(node.op, own, (*operands, self.slot_for(node)), end)

    def _matmul(self, node: Node) -> None:
        a, b, *more = node.srcs
        batch = node.shape[:-2]
        (slot_a, view_a), (slot_b, view_b) = self._matrix(a, batch), self._matrix(b, batch)
        sizes, (sa, sb) = collapse(batch, [view_a[0], view_b[0]])
        arg = (
            sizes, node.shape[-2], node.shape[-1], a.shape[-1],
            (sa, *view_a[1:]), (sb, *view_b[1:]),
        )  # fmt: skip
        operands = (slot_a, slot_b, *map(self.material, more), self.slot_for(node))
        self._step("matmul", arg, operands, node.arg.end if more or node.arg else None)

    def _attention(self, node: Node) -> None:
        q, k, v, *more = node.srcs
        batch = (more[0] if node.op == "attention_grad" else node).shape[:-2]
        slots, views = zip(*(self._matrix(s, batch, True) for s in node.srcs), strict=True)
        sizes, leads = collapse(batch, [view[0] for view in views])
        places = [(lead, *view[1:3]) for lead, view in zip(leads, views, strict=True)]
        shape = (q.shape[-2], k.shape[-2], q.shape[-1], v.shape[-1])
        self._step(node.op, (sizes, shape, *node.arg, *places), (*slots, self.slot_for(node)))

    def _matrix(self, node: Node, batch: Shape, rows: bool = False) -> tuple[int, tuple[Any, ...]]:
        """An operand as slot and (batch strides, offset, row stride, column stride).

        rows: copied if the elements of a row are no neighbours.
        """
        flat = peel(node)
        if flat.op == "view" and id(flat) not in self.slot_of and flat.shape == node.shape:
            (strides, offset), slot = flat.arg, self.material(flat.srcs[0])
            if min(strides, default=0) < 0 or (rows and strides[-1] != 1 < node.shape[-1]):
                strides, offset, slot = contiguous_strides(node.shape), 0, self.material(flat)
        else:
            strides, offset, slot = contiguous_strides(node.shape), 0, self.material(node)
        lead = broadcast_strides(node.shape[:-2], strides[:-2], batch)
        return slot, (lead, offset, strides[-2], strides[-1])

    # -- fused kernels

    def _fused(self, group: Group) -> None:
        sink = group.sink
        if sink.op == "store":
            base = peel(sink.srcs[0])
            self._base_slot(base, sink)
        self._take_over(group)
        body = Body(self, group)
        for node in self._ordered(group):
            body.member(node)
        self.steps.append(body.finish())
