"""A ``Fused`` step → the word program that ``wasm_kernels/fused.c`` interprets.

Made in this order: normalise → pick the lanes' direction → sections → registers → words.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from ..dtypes import COMPUTE, DType
from ..ir import USES_SCALARS, USES_STATUS, Fused, Instr, Launch
from ..shape import contiguous_strides
from .wasm_copy import copied
from .wasm_ops import FOLDS, TYPES, opcode
from .wasm_softmax import softmax

SCRATCH_BYTES, MAX_REGISTERS, MAX_REDUCTIONS = 512 * 1024, 1024, 64  # twins in fused.c
TILE_BYTES = 32 * 1024  # the registers of a kernel should fit the L1 cache together
KEEP = 0x10000
KEPT_BYTES = 256 * 1024  # of the scratch memory, for values that later phases read again
LOAD, STORE, OUT, ADDR, SCALAR, CONST, SPLAT, TAKE, INDEX, REDUCE, KEPT, HOT = range(12)
IN_PLACE, ALIGNED, NARROW = 1, 2, 4  # how a load goes
_SECONDS = ("add", "sub", "rsub", "mul")
HOTS = (
    *("add", "sub", "mul", "div", "maximum", "minimum"),
    *(f"{first}_{second}" for first in ("add", "sub", "mul") for second in _SECONDS),
    "sub_exp",
)  # in the order of fused.c
LANE_BYTES = {"f": 4, "d": 8, "i": 4, "l": 8, "b": 4}
_FOREVER = 1 << 60


# ---- normalise: no casts to the type a value has, int32 where a value is gathered by index -------


def _normalise(instrs: tuple[Instr, ...]) -> list[Instr]:
    new: list[Instr] = []
    place: list[int] = []  # where each old instruction went
    uses = Counter(s for instr in instrs for s in instr.srcs)
    for instr in instrs:
        srcs = tuple(place[s] for s in instr.srcs)
        alone = srcs and new[srcs[0]].op == "index" and uses[instr.srcs[0]] == 1
        if alone and instr.op == "cast" and instr.arg is COMPUTE["i"]:
            new[srcs[0]] = new[srcs[0]]._replace(type="i")
        if instr.op == "mul" and instr.type in "il" and _is_one(new[srcs[1]]):
            place.append(srcs[0])
            continue
        if instr.op == "cast" and _is_same(new[srcs[0]].type, instr.arg):
            place.append(srcs[0])
            continue
        if instr.op == "take" and new[srcs[0]].type == "l":
            index = new[srcs[0]]
            new.append(Instr("cast", "i", srcs, COMPUTE["i"], index.level, index.phase))
            srcs = (len(new) - 1,)
        place.append(len(new))
        new.append(instr._replace(srcs=srcs))
    return new


def _paired(instrs: list[Instr]) -> list[Instr]:
    """Two float32 ops become one where the first has no other use; what is added to an index that
    values are taken by becomes the place from which it counts."""
    uses = [0] * len(instrs)
    for instr in instrs:
        for s in instr.srcs:
            uses[s] += 1
    new: list[Instr] = []
    gone: set[int] = set()
    for instr in instrs:
        pair = _pair(new, uses, gone, instr)
        if pair is not None:
            first, name, rest = pair
            gone.add(first)
            instr = instr._replace(op=name, srcs=new[first].srcs + rest)
        if instr.op == "take":
            instr = _placed(new, uses, gone, instr)
        new.append(instr)
    keep = [k for k in range(len(new)) if k not in gone]
    place = [-1] * len(new)
    for at, k in enumerate(keep):
        place[k] = at
    return [new[k]._replace(srcs=tuple(place[s] for s in new[k].srcs)) for k in keep]


def _placed(before: list[Instr], uses: list[int], gone: set[int], take: Instr) -> Instr:
    """The arg becomes (operand, strides, offset), as that of a load: where index 0 is."""
    (at,), place = take.srcs, ((), 0)
    addr, *rest = before[at].srcs or (at,)
    if before[at].op == "add" and uses[at] == 1 and before[addr].op == "addr":
        place, take = before[addr].arg, take._replace(srcs=(*rest,))
        gone |= {at, addr} if uses[addr] == 1 else {at}
    return take._replace(arg=(take.arg[0], *place))


def _pair(
    before: list[Instr], uses: list[int], gone: set[int], instr: Instr
) -> tuple[int, str, tuple[int, ...]] | None:
    """(first op, name of the pair, the second op's other operand) of a second op."""
    if instr.type != "f" or instr.op not in ("add", "sub", "mul", "exp"):
        return None
    for at, k in enumerate(instr.srcs):
        first = before[k]
        name = f"{first.op}_{'rsub' if instr.op == 'sub' and at else instr.op}"
        alone = uses[k] == 1 and k not in gone and len(first.srcs) == 2
        if alone and name in HOTS and first[4:] == instr[4:]:
            return k, name, instr.srcs[:at] + instr.srcs[at + 1 :]
    return None


def _is_one(instr: Instr) -> bool:
    return instr.op == "const" and instr.arg == 1


def _is_same(t: str, to: DType) -> bool:
    return COMPUTE[t] is to or (t == "b" and COMPUTE["i"] is to)  # a bool is kept as an int32


def _uniform(instrs: list[Instr]) -> list[bool]:
    """Which values are the same everywhere: they are computed once, in all lanes."""
    known: list[bool] = []
    for instr in instrs:
        if instr.op in ("store", "reduce"):
            known.append(False)
        else:
            moves = instr.op in ("load", "addr", "take") and any(instr.arg[-2])
            known.append(not moves and all(known[s] for s in instr.srcs))
    return known


# ---- views ---------------------------------------------------------------------------------------


def _view(sizes: tuple[int, ...], strides: tuple[int, ...]) -> list[int]:
    """[number of dimensions, size, stride, …], innermost first, merged for this operand alone."""
    dims: list[list[int]] = []
    for size, stride in zip(reversed(sizes), reversed(strides), strict=True):
        if size == 1:
            continue
        if dims and stride == dims[-1][0] * dims[-1][1]:
            dims[-1][0] *= size
        else:
            dims.append([size, stride])
    return [len(dims), *(x for dim in dims for x in dim)]


def _walk_cost(view: list[int]) -> float:
    """Nanoseconds per element, roughly, of reading along a view."""
    if view[0] == 0 or view[2] == 0:
        return 0.2
    cost = 0.3 if view[2] == 1 else 1.5
    return cost if view[0] == 1 else cost + 8 / view[1]


# ---- a fused kernel ------------------------------------------------------------------------------


class _Section(NamedTuple):
    """Values computed together; ``kind`` is uniform, rows, splats or tile."""

    kind: str
    phase: int
    values: list[int]


class _Kernel:
    """The state of compiling one Fused step; ``fused`` below runs the passes in order."""

    def __init__(self, step: Fused) -> None:
        self.step = step
        self.instrs = _paired(_normalise(step.instrs))
        self.uniform = _uniform(self.instrs)
        self.rows = math.prod(step.rows)
        self.inner = math.prod(step.inner) if step.inner else 0
        self.reduces = [k for k, instr in enumerate(self.instrs) if instr.op == "reduce"]
        self.phases = 1 + max(self.phase(k) for k in range(len(self.instrs)))
        self.stored = [i.arg[0] for i in self.instrs if i.op == "store"]
        self.loaded = {i.arg[0] for i in self.instrs if i.op in ("load", "take")}
        wide = any(LANE_BYTES[i.type] == 8 for i in self.instrs)
        self.bytes = 8 if wide else 4
        self.along_inner = False
        self.register: dict[Any, int] = {}
        self.n_registers = 0
        self.kept: dict[int, int] = {}  # values that later phases read again → phase that made them
        self.tile_lanes = 0
        self.kept_at: dict[int, int] = {}  # their places in the scratch memory
        self.row_bytes = 0
        self.compact: set[Any] = set()  # names of which one vector is enough

    def phase(self, k: int) -> int:
        """The phase that computes a value; a reduction runs with the loop over its source."""
        instr = self.instrs[k]
        return self.instrs[instr.srcs[0]].phase if instr.op == "reduce" else instr.phase

    def outside(self, k: int) -> bool:
        """Is it computed outside of the loop over the inner space?"""
        return self.uniform[k] or self.instrs[k].level == 0 or self.instrs[k].op == "reduce"

    # -- sections

    def roots(self, phase: int) -> list[int]:
        """What the loop over the inner space is for."""
        return [
            k
            for k, i in enumerate(self.instrs)
            if self.phase(k) == phase and (i.op == "reduce" or (i.op == "store" and i.level == 1))
        ]

    def tile(self, phase: int) -> list[int]:
        found: set[int] = set()
        pending = self.roots(phase)
        while pending:
            k = pending.pop()
            if k not in found:
                found.add(k)
                if not self.again(phase, k):
                    pending += [s for s in self.instrs[k].srcs if not self.outside(s)]
        return sorted(found)

    def again(self, phase: int, k: int) -> bool:
        """Is it a kept value, read by a later phase than the one that made it?"""
        return self.kept.get(k, phase) < phase

    def keep(self) -> None:
        """Picks the values that phases share; they are computed once where a block has room."""
        made: dict[int, int] = {}
        for phase in range(self.phases):
            for k in self.tile(phase):
                at = made.setdefault(k, phase)
                if at < phase and self.instrs[k].op not in _EMITTERS:
                    self.kept[k] = at
        used = {k for p in range(self.phases) for k in self.tile(p) if self.again(p, k)}
        self.kept = {k: p for k, p in self.kept.items() if k in used}
        self.row_bytes = (self.inner + 15) // 16 * 16 * self.bytes
        if len(self.kept) * self.row_bytes > KEPT_BYTES:
            self.kept = {}

    def row_values(self, phase: int) -> list[int]:
        return [
            k
            for k, i in enumerate(self.instrs)
            if i.level == 0 and i.op != "reduce" and not self.uniform[k] and i.phase == phase
        ]

    def sections(self) -> list[_Section]:
        made = [_Section("uniform", 0, [k for k, same in enumerate(self.uniform) if same])]
        for phase in range(self.phases):
            tile = self.tile(phase)
            used = {s for k in tile for s in self.instrs[k].srcs}
            splats = sorted(s for s in used if self.outside(s) and not self.uniform[s])
            made.append(_Section("rows", phase, self.row_values(phase)))
            made.append(_Section("splats", phase, splats if self.along_inner else []))
            made.append(_Section("tile", phase, tile))
        return made

    # -- direction of the lanes

    def views(self, k: int) -> tuple[list[int], list[int]]:
        """(along the lanes, across them) of a load, addr, take or store."""
        instr, rows = self.instrs[k], self.step.rows
        space = rows + (self.step.inner if instr.level else ())
        strides = instr.arg[-2]
        if strides is None:
            strides = contiguous_strides(space)
        strides += (0,) * (len(space) - len(strides))  # of a place that is the same for all rows
        n = len(rows)
        over_rows, over_inner = _view(rows, strides[:n]), _view(space[n:], strides[n:])
        if instr.level and self.along_inner:
            return over_inner, over_rows
        return over_rows, over_inner

    def cost(self, along_inner: bool) -> float:
        self.along_inner = along_inner
        tiles = [self.tile(p) for p in range(self.phases)]
        walks = sum(
            _walk_cost(self.views(k)[0])
            for tile in tiles
            for k in tile
            if self.instrs[k].op in ("load", "addr", "take", "store")
        )
        dispatch = 10 * sum(map(len, tiles))
        across, along = (self.rows, self.inner) if along_inner else (self.inner, self.rows)
        per_row = 40 * self.phases * self.rows if along_inner else 0
        return self.rows * self.inner * walks + across * -(-along // 512) * dispatch + per_row

    def pick_direction(self) -> None:
        self.along_inner = bool(self.step.inner) and self.cost(True) <= self.cost(False)

    # -- registers: linear scan over the sections, each value alive from birth to last use

    def allocate(self, sections: list[_Section]) -> None:
        births, deaths = self.lifetimes(sections)
        free: list[int] = []
        ends: dict[int, list[int]] = {}
        for name in sorted(births, key=births.__getitem__):
            for t in sorted(t for t in ends if t < births[name]):
                free += ends.pop(t)
            if not free:
                free.append(self.n_registers)
                self.n_registers += 1
            self.register[name] = free.pop()
            ends.setdefault(deaths[name], []).append(self.register[name])

    def lifetimes(self, sections: list[_Section]) -> tuple[dict[Any, int], dict[Any, int]]:
        """Names are value numbers, ("tile", phase, value), ("splat", phase, value) and, for partial
        sums, ("part", value)."""
        births: dict[Any, int] = {}
        deaths: dict[Any, int] = {}
        now = 0
        for at, section in enumerate(sections):
            start, end = now, now + len(section.values)
            if section.kind == "splats":  # repeated with the tile section that follows
                end += 1 + len(sections[at + 1].values)
                for k in self.totals(section.phase):
                    births[k] = births["part", k] = start
                    deaths[k] = deaths["part", k] = end
            for k in section.values:
                now += 1
                for name in self.operands(section, k):  # read again in the next round of a loop?
                    again = section.kind in ("splats", "tile") and births[name] <= start
                    deaths[name] = max(deaths[name], end if again else now)
                name = self.written(section, k)
                if name is not None:
                    births[name] = now
                    deaths[name] = _FOREVER if section.kind == "uniform" else now
            now += 1
        return births, deaths

    def totals(self, phase: int) -> list[int]:
        return [k for k in self.reduces if self.phase(k) == phase]

    def operands(self, section: _Section, k: int) -> list[Any]:
        if section.kind == "splats":
            return [k]
        if section.kind == "tile" and self.again(section.phase, k):
            return []
        return [self.name(section, s) for s in self.instrs[k].srcs]

    def written(self, section: _Section, k: int) -> Any:
        if section.kind == "splats":
            return ("splat", section.phase, k)
        if self.instrs[k].op in ("store", "reduce"):
            return None
        return ("tile", section.phase, k) if section.kind == "tile" else k

    def name(self, section: _Section, s: int) -> Any:
        """Under which name a section reads a value."""
        if section.kind != "tile" or self.uniform[s]:
            return s
        if not self.outside(s):
            return ("tile", section.phase, s)
        return ("splat", section.phase, s) if self.along_inner else s

    # -- words

    def words(self) -> list[int]:
        self.pick_direction()
        if self.along_inner:
            self.keep()
        sections = self.sections()
        self.allocate(sections)
        self.tile_lanes = lanes = self.lanes()
        self.block = lanes
        if self.along_inner:  # few enough rows that the second phase finds them in the cache
            self.block = max(1, min(lanes, 16384 // max(self.inner * (1 + len(self.kept)), 1)))
            while self.block > 1 and self.kept_bytes() > KEPT_BYTES:
                self.block //= 2
        for at, k in enumerate(self.kept):
            self.kept_at[k] = SCRATCH_BYTES + at * self.block * self.row_bytes
        self.merge = (1 << max(3, (self.inner.bit_length() + 1) // 2)) - 1
        self.find_compact(sections)
        head = [self.rows, self.inner, int(self.along_inner), lanes, self.block]
        words = [*head, lanes * self.bytes, self.phases, self.merge]
        for section in sections:
            if section.kind == "splats":
                totals = self.totals(section.phase)
                words += [len(totals), *(word for k in totals for word in self.total(k))]
            code = [word for k in section.values for word in self.code(section, k)]
            words += [len(code), *code]
        return words

    def shares(self) -> int:
        """How many threads are worth it, at some 10 µs each; a share is some blocks of rows."""
        nanoseconds = 0.1 * len(self.instrs) * self.rows * max(self.inner, 1)
        blocks = -(-self.rows // self.block)
        return max(1, min(64, blocks, int(nanoseconds / 10_000)))

    def kept_bytes(self) -> int:
        return len(self.kept) * self.block * self.row_bytes

    def find_compact(self, sections: list[_Section]) -> None:
        """Names of values that are the same in all lanes and only read where one vector will do."""
        for section in sections:
            for k in section.values:
                instr = self.instrs[k]
                if section.kind == "splats":
                    same = True
                elif instr.op == "load":
                    same = section.kind != "uniform" and self.how(section, k) & NARROW > 0
                else:
                    same = instr.op in ("scalar", "const")
                if same and instr.type == "f":
                    self.compact.add(self.written(section, k))
        for section in sections:
            for k in section.values:
                if (
                    section.kind == "splats"
                    or self.instrs[k].op not in HOTS
                    or self.instrs[k].type != "f"
                ):
                    self.compact -= set(self.operands(section, k))

    def lanes(self) -> int:
        if self.n_registers > MAX_REGISTERS or len(self.reduces) > MAX_REDUCTIONS:
            raise NotImplementedError(
                "a fused kernel has too many values at once for the wasm device"
            )
        row = self.bytes * max(self.n_registers, 1)
        most = (4096 if self.along_inner else 2048) if self.bare() else 1024
        lanes = min(most, max(TILE_BYTES // row, 256), SCRATCH_BYTES // row)
        space = self.inner if self.along_inner else self.rows
        if not self.along_inner and self.inner > 64:  # columns: enough blocks for several threads
            lanes = min(lanes, max(128, space // 4))
        lanes = max(4, min(lanes, max(self.rows, self.inner) + 15) // 16 * 16)
        return self.fitting(lanes)

    def bare(self) -> bool:
        """Is nothing computed but totals of what is loaded?"""
        return {i.op for i in self.instrs} <= {"load", "reduce", "store"}

    def fitting(self, lanes: int) -> int:
        """Lanes that divide the runs of all views, if there are such: no tile ends within one."""
        run = 0
        for k, instr in enumerate(self.instrs):
            if instr.op in ("load", "store") and (instr.level == 1 or not self.step.inner):
                view = self.views(k)[0]
                if view[0] > 1 and view[2] in (0, 1):
                    run = math.gcd(run, view[1])
        return next((n for n in range(lanes, 255, -16) if run and run % n == 0), lanes)

    def how(self, section: _Section, k: int) -> int:
        """How a load or store goes: see fused.c."""
        view = self.views(k)[0]
        tiled = section.kind == ("tile" if self.along_inner else section.kind)
        if view[0] == 0 or (view[0] == 1 and view[2] == 0):
            return NARROW
        aligned = view[0] > 1 and tiled and view[1] % self.tile_lanes == 0
        if view[0] > 1 and not aligned:
            return 0
        step = self.step.dtypes[self.instrs[k].arg[0]]
        plain = COMPUTE[step.compute] is step and step.code > 0
        if view[2] == 1 and plain:
            return IN_PLACE | (ALIGNED if aligned else 0)
        return NARROW if view[2] == 0 else 0

    def fold(self, k: int) -> int:
        t = self.instrs[self.instrs[k].srcs[0]].type
        return 4 * TYPES.index("i" if t == "b" else t) + FOLDS.index(self.instrs[k].arg)

    def parted(self, k: int) -> bool:
        """Does a sum over lanes of rows need partial sums to be accurate?"""
        instr = self.instrs[k]
        return (
            not self.along_inner and instr.arg == "sum" and instr.type in "fd" and self.inner > 64
        )

    def total(self, k: int) -> list[int]:
        part = self.register["part", k] if self.parted(k) else -1
        return [self.fold(k), self.register[k], part]

    def code(self, section: _Section, k: int) -> list[int]:
        into = self.written(section, k)
        if section.kind == "splats":
            size, narrow = LANE_BYTES[self.instrs[k].type], int(into in self.compact)
            return _instruction(SPLAT, self.into(section, k), self.register[k], size, narrow)
        if section.kind == "tile" and self.again(section.phase, k):
            return self.keep_place(section, k)
        emit = _EMITTERS.get(self.instrs[k].op, _emit_op)
        return emit(self, section, k, self.instrs[k])

    def keep_place(self, section: _Section, k: int) -> list[int]:
        place = (self.kept_at[k], self.row_bytes, self.bytes)
        return _instruction(KEPT, self.into(section, k), *place)

    def into(self, section: _Section, k: int) -> int:
        return self.register[self.written(section, k)]

    def source(self, section: _Section, k: int, n: int = 0) -> int:
        return self.register[self.name(section, self.instrs[k].srcs[n])]

    def direct_store(self, section: _Section, k: int) -> int | None:
        """The store to whose memory the op of value k can write at once."""
        stores = [s for s, i in enumerate(self.instrs) if i.op == "store" and k in i.srcs]
        if (
            len(stores) != 1
            or stores[0] not in section.values
            or not self.how(section, stores[0]) & IN_PLACE
            or k in self.kept
        ):
            return None
        operand = self.instrs[stores[0]].arg[0]
        alone = self.stored.count(operand) == 1
        unread = operand not in self.loaded or self.read_before(operand)
        return stores[0] if alone and unread else None

    def read_before(self, operand: int) -> bool:
        """Is an operand that is stored, too, read for the last time by the op whose result goes
        there, element by element? Then neither needs a copy."""
        stores = [k for k, i in enumerate(self.instrs) if i.op == "store" and i.arg[0] == operand]
        if len(stores) != 1 or self.step.inner:
            return False
        (value,), (_, _, offset) = self.instrs[stores[0]].srcs, self.instrs[stores[0]].arg
        for k, instr in enumerate(self.instrs):
            if instr.op == "take" and instr.arg[0] == operand:
                return False
            if instr.op != "load" or instr.arg[0] != operand:
                continue
            last = max((j for j, i in enumerate(self.instrs) if k in i.srcs), default=0)
            same = self.views(k) == self.views(stores[0]) and instr.arg[2] == (offset or 0)
            if not same or last > value:
                return False
        return True


def _instruction(opcode: int, *fields: int) -> list[int]:
    return [opcode, 2 + len(fields), *fields]


def _destination(kernel: _Kernel, section: _Section, k: int) -> tuple[list[int], int]:
    """What goes before an op that writes to memory at once, and the op's register."""
    into, before = kernel.into(section, k), []
    store = kernel.direct_store(section, k)
    if k in kernel.kept and section.kind == "tile":
        before = kernel.keep_place(section, k)
    elif store is not None:
        operand, _, offset = kernel.instrs[store].arg
        lanes, outer = kernel.views(store)
        size, how = kernel.step.dtypes[operand].itemsize, kernel.how(section, store)
        before = _instruction(OUT, into, operand, size, how, offset or 0, *lanes, *outer)
    return before, into | KEEP if before else into


def _emit_op(kernel: _Kernel, section: _Section, k: int, instr: Instr) -> list[int]:
    before, into = _destination(kernel, section, k)
    srcs = [kernel.source(section, k, n) for n in range(len(instr.srcs))]
    if instr.op in HOTS and instr.type == "f":
        names = [kernel.name(section, s) for s in instr.srcs]
        steps = sum(1 << n for n, name in enumerate(names) if name not in kernel.compact)
        operands = (srcs * 3)[:3]
        return [*before, *_instruction(HOT, into, *operands, HOTS.index(instr.op), steps)]
    number = opcode(instr, kernel.instrs[instr.srcs[-1]].type)
    return [*before, *_instruction(number, into, *(srcs * 3)[: max(3, len(srcs))])]


def _emit_load(kernel: _Kernel, section: _Section, k: int, instr: Instr) -> list[int]:
    operand, _, offset = instr.arg
    lanes, outer = kernel.views(k)
    how = kernel.how(section, k)
    if operand in kernel.stored and not kernel.read_before(operand):
        how &= ~(IN_PLACE | ALIGNED)
    if how & NARROW and kernel.written(section, k) not in kernel.compact:
        how = 0
    code = kernel.step.dtypes[operand].code
    fields = (kernel.into(section, k), operand, code, how, offset, *lanes, *outer)
    return _instruction(LOAD, *fields)


def _emit_store(kernel: _Kernel, section: _Section, k: int, instr: Instr) -> list[int]:
    operand, _, offset = instr.arg
    lanes, outer = kernel.views(k)
    code = kernel.step.dtypes[operand].code
    value = kernel.source(section, k)
    return _instruction(STORE, value, operand, code, offset or 0, *lanes, *outer)


def _emit_addr(kernel: _Kernel, section: _Section, k: int, instr: Instr) -> list[int]:
    lanes, outer = kernel.views(k)
    wide = int(instr.type == "l")
    return _instruction(ADDR, kernel.into(section, k), wide, instr.arg[-1], *lanes, *outer)


def _emit_scalar(kernel: _Kernel, section: _Section, k: int, instr: Instr) -> list[int]:
    t = "i" if instr.type == "b" else instr.type
    narrow = int(kernel.written(section, k) in kernel.compact)
    return _instruction(SCALAR, kernel.into(section, k), TYPES.index(t), instr.arg, narrow)


def _emit_const(kernel: _Kernel, section: _Section, k: int, instr: Instr) -> list[int]:
    low, high = struct.unpack("<ii", _bits(instr.arg, instr.type))
    narrow = int(kernel.written(section, k) in kernel.compact)
    size = LANE_BYTES[instr.type]
    return _instruction(CONST, kernel.into(section, k), size, low, high, narrow)


def _bits(value: Any, t: str) -> bytes:
    """Eight bytes that begin with a constant's; a number beyond float32 becomes infinite."""
    if t in "ibl":
        bits = 64 if t == "l" else 32
        if value in (math.inf, -math.inf):
            value = (1 << bits - 1) - 1 if value > 0 else -1 << bits - 1
        return struct.pack("<q", int(value))
    if t == "d":
        return struct.pack("<d", value)
    try:
        return struct.pack("<fI", value, 0)
    except OverflowError:
        return struct.pack("<fI", math.copysign(math.inf, value), 0)


def _emit_take(kernel: _Kernel, section: _Section, k: int, instr: Instr) -> list[int]:
    operand, _, offset = instr.arg
    lanes, outer = kernel.views(k)
    code = kernel.step.dtypes[operand].code
    before, into = _destination(kernel, section, k)
    fields = (into, kernel.source(section, k), operand, code, offset, *lanes, *outer)
    return [*before, *_instruction(TAKE, *fields)]


def _emit_index(kernel: _Kernel, section: _Section, k: int, instr: Instr) -> list[int]:
    wide = (kernel.instrs[instr.srcs[0]].type == "l") + (instr.type == "l")  # operand, result
    return _instruction(INDEX, kernel.into(section, k), kernel.source(section, k), wide, *instr.arg)


def _emit_reduce(kernel: _Kernel, section: _Section, k: int, instr: Instr) -> list[int]:
    number = kernel.totals(section.phase).index(k)
    total = kernel.register["part", k] if kernel.parted(k) else kernel.register[k]
    return _instruction(REDUCE, number, kernel.source(section, k), kernel.fold(k), total)


_EMITTERS: dict[str, Callable[[_Kernel, _Section, int, Instr], list[int]]] = {
    "load": _emit_load,
    "store": _emit_store,
    "addr": _emit_addr,
    "scalar": _emit_scalar,
    "const": _emit_const,
    "take": _emit_take,
    "index": _emit_index,
    "reduce": _emit_reduce,
}


def fused(step: Fused) -> list[Launch]:
    ops = {instr.op for instr in step.instrs}
    flags = (USES_SCALARS if "scalar" in ops else 0) | (USES_STATUS if "index" in ops else 0)
    plain = _normalise(step.instrs)
    known = copied(step, plain) or softmax(step, plain)
    if known:
        return known
    kernel = _Kernel(step)
    words = tuple(kernel.words())
    return [Launch("fused", step.operands, words, (kernel.shares(), 1, 1), flags)]
