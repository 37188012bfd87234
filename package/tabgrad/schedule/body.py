"""The instructions of one fused kernel, written from its group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..dtypes import COMPUTE, DType
from ..graph import Node
from ..ir import Fused, Instr
from ..shape import (
    Shape,
    broadcast_strides,
    collapse,
    contiguous_strides,
    numel,
    refine,
    split_strides,
)
from .group import Group
from .values import is_virtual, origin, peel

if TYPE_CHECKING:
    from .emit import Emitter


class Body:
    """The instructions of one group."""

    def __init__(self, emitter: Emitter, group: Group) -> None:
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
        operand = self._operand(self.e.slot_for(node))
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
            operand = self._operand(self.e.material(node.srcs[0]))
            k = self._read(node.srcs[1], at, level)
            return self._emit("take", type_, (k,), (operand, node.arg), 0)
        srcs = tuple([self._read(s, at, level) for s in node.srcs])  # a list: no frames in C
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
            slot = self.e.material(flat.srcs[0])
            if s is not flat:  # a reshape of a window
                fine = refine(tuple(n for n in shape if n != 1), s.shape)
                if fine is None or self._sub(s.shape, at, fine, level) is None:
                    slot, strides, offset, shape = (
                        self.e.material(flat),
                        contiguous_strides(s.shape),
                        0,
                        s.shape,
                    )
                else:
                    return self._load_fine(slot, s, flat, fine, at, level)
            elif self._turned(flat, at):
                slot, strides, offset = self.e.material(flat), contiguous_strides(shape), 0
        else:
            slot, strides, offset, shape = (
                self.e.material(s),
                contiguous_strides(s.shape),
                0,
                s.shape,
            )
        strides, real = self._strides(at, broadcast_strides(shape, strides, at), level)
        return self._emit("load", type_, (), (self._operand(slot), strides, offset), real)

    def _turned(self, view: Node, at: Shape) -> bool:
        """Is it a transposed operand of an elementwise kernel, that is better turned beforehand?"""
        dims = [(n, s) for n, s in zip(view.shape, view.arg[0], strict=True) if n != 1]
        group = self.group
        copies = len(group.members) == 1 and group.sink.op in ("copy", "store")
        if not self.e.caps.turned or group.inner is not None or copies:
            return False
        if numel(view.shape) != numel(at) or numel(at) < 4096 or len(dims) < 2:
            return False
        along = any(s == 1 and n >= 8 for n, s in dims[:-1])
        return along and dims[-1][1] not in (0, 1) and dims[-1][0] >= 8

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
