"""Fused steps as generated WGSL.

Every instruction becomes one ``let``: ``v7``, or ``v7_0 … v7_3`` where an invocation computes
several elements. A pure elementwise kernel has an invocation per 1, 2 or 4 elements. A kernel
with reductions has workgroups of ``tall`` rows × ``wide`` invocations that walk a row together.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from ..dtypes import DType, bfloat16, bool_, float16, float32, int8, int16, uint8
from ..ir import USES_SCALARS, USES_STATUS, Fused, Instr, Joined, Launch
from ..ops.elementwise import ELEMENTWISE
from .wgsl import Limits, folded, grid, prelude

TYPES = {"f": "f32", "i": "i32", "l": "i32", "b": "bool"}
_PACKED = {float16: "half", bfloat16: "bfloat"}
_NARROW = {uint8: "{} & 255", int8: "({} << 24u) >> 24u", int16: "({} << 16u) >> 16u"}
_UNROLLED = 24  # instructions of a loop that may be repeated four times in a turn
_BLOCK = 256  # a sum of more terms is made of partial sums, for accuracy


def fused(step: Fused, limits: Limits) -> Launch:
    """The kernel of a fused step."""
    kernel = _Rows(step, limits) if step.looped else _Elementwise(step, limits)
    return _assemble([kernel], kernel.body(), limits)


def joined(step: Joined, limits: Limits) -> list[Launch]:
    """The parts of a joined step, as many in a launch as it binds buffers for."""
    bunches: list[list[Fused]] = []
    room = 0
    for part in step.parts:
        if len(part.operands) > room:
            bunches.append([])
            room = limits.max_storage_buffers - 1
        bunches[-1].append(part)
        room -= len(part.operands)
    return [_together(bunch, limits) for bunch in bunches]


def _together(parts: list[Fused], limits: Limits) -> Launch:
    """Some workgroups for each part."""
    if len(parts) == 1:
        return fused(parts[0], limits)
    kernels = [_Elementwise(part, limits, f"{n}_") for n, part in enumerate(parts)]
    ends = [*accumulate(kernel.groups for kernel in kernels)]
    text, main = "", f"  let group = {folded(ends[-1])};"
    for n, (kernel, end) in enumerate(zip(kernels, ends, strict=True)):
        text += f"fn part_{n}(group: u32, lid: u32) {{\n{kernel.lines('group')}\n}}\n"
        call = f"part_{n}(group - {end - kernel.groups}u, lid); return;"
        main += f"\n  if (group < {end}u) {{ {call} }}"
    return _assemble(kernels, text + _main(kernels[0].group, main), limits)


def _main(size: int, lines: str) -> str:
    return (
        f"@compute @workgroup_size({size})\n"
        "fn main(@builtin(workgroup_id) wid: vec3<u32>,"
        f" @builtin(local_invocation_index) lid: u32) {{\n{lines}\n}}\n"
    )


def _assemble(kernels: Sequence[_Kernel], body: str, limits: Limits) -> Launch:
    """Bindings, math functions and body; operands that nothing reads fall away."""
    words = set(re.findall(r"\w+", body))
    used = [(kernel, k) for kernel in kernels for k in range(len(kernel.step.operands))
            if kernel.buffer(k) in words]  # fmt: skip
    functions = prelude(body)
    status = "&status" in body + functions
    if len(used) + status > limits.max_storage_buffers:
        raise NotImplementedError(
            f"a fused kernel of {len(used)} buffers; the adapter binds {limits.max_storage_buffers}"
        )
    lines = ["enable subgroups;"] if "subgroupAdd" in words else []
    lines += [_binding(n, k, kernel) for n, (kernel, k) in enumerate(used)]
    numbers = [i.arg for kernel in kernels for i in kernel.instrs if i.op == "scalar"]
    at = len(used)
    if numbers:
        count = max(numbers) // 4 + 1
        lines.append(f"@group(0) @binding({at}) var<uniform> scalars: array<vec4<u32>, {count}>;")
    if status:
        at += bool(numbers)
        lines.append(
            f"@group(0) @binding({at}) var<storage, read_write> status: array<atomic<u32>, 4>;"
        )
    flags = (USES_SCALARS if numbers else 0) | (USES_STATUS if status else 0)
    slots = tuple(kernel.step.operands[k] for kernel, k in used)
    groups = sum(kernel.groups for kernel in kernels)
    return Launch("\n".join([*lines, functions + body]), slots, (), grid(groups), flags)


def _binding(n: int, k: int, kernel: _Kernel) -> str:
    step = kernel.step
    access = "read_write" if k in step.writes else "read"
    element, count = _storage(step.dtypes[k]), step.sizes[k]
    if step.dtypes[k] in _PACKED:
        count = -(-count // 2)
    if k in kernel.vectors:
        element, count = f"vec4<{element}>", count // 4
    # its length makes bounds checks cheap where they are made in software
    array = f"array<{element}, {max(count, 1)}>"
    return f"@group(0) @binding({n}) var<storage, {access}> {kernel.buffer(k)}: {array};"


def _storage(dtype: DType) -> str:
    if dtype in _PACKED:
        return "u32"
    return "f32" if dtype is float32 else "i32"


# --- expressions ----------------------------------------------------------------------------------


def number(value: Any, type_: str) -> str:
    """A constant, bit for bit."""
    if type_ == "b":
        return "true" if value else "false"
    if type_ == "f":
        return _float(float(value))
    if isinstance(value, float) and not math.isfinite(value):
        value = 0x7FFFFFFF if value > 0 else -0x80000000
    value = (int(value) + 0x80000000) % (1 << 32) - 0x80000000
    return f"i32({value})" if value == -0x80000000 else f"{value}"


def _float(value: float) -> str:
    try:
        bits = struct.unpack("<I", struct.pack("<f", value))[0]
    except OverflowError:
        bits = 0x7F800000 if value > 0 else 0xFF800000
    if not 0x00800000 <= bits & 0x7FFFFFFF < 0x7F800000 and bits:
        return f"of_bits({bits:#010x}u)"  # WGSL has no literals for inf, nan and -0
    return f"{struct.unpack('<f', struct.pack('<I', bits))[0]:.9g}f"


def cast(x: str, from_: str, to: DType) -> str:
    """A value of compute type ``from_`` as a dtype (in the compute type of that)."""
    if to is bool_:
        return {"f": f"magnitude({x}) != 0u", "b": x}.get(from_, f"{x} != 0")
    if to.compute == "f":
        as_float = {"f": x, "b": f"select(0.0, 1.0, {x})"}.get(from_, f"f32({x})")
        half = _PACKED.get(to)
        return f"{half}_to_f(f_to_{half}({as_float}))" if half else as_float
    as_int = {"f": f"f_to_{to.compute}({x})", "b": f"select(0, 1, {x})"}.get(from_, x)
    return _NARROW[to].format(as_int) if to in _NARROW else as_int


def combine(kind: str, type_: str, a: str, b: str) -> str:
    """One step of a reduction."""
    if type_ == "b":
        return f"{a} {'||' if kind in ('max', 'sum') else '&&'} {b}"
    if kind in ("max", "min"):
        return f"{kind}_{type_}({a}, {b})"
    name = {"sum": "add", "prod": "mul"}[kind]
    return apply(name, type_, [a, b])


_NAMES = {"sum": "Add", "prod": "Mul", "max": "Max", "min": "Min"}


def across(kind: str, type_: str, x: str) -> str | None:
    """A reduction over a subgroup; None if there is no such operation, as for integers that must
    not overflow."""
    if type_ == "b":
        return f"subgroup{'Any' if kind in ('max', 'sum') else 'All'}({x})"
    name = f"subgroup{_NAMES[kind]}({x})"
    if kind in ("sum", "prod"):
        return None if type_ == "l" else name
    # what it makes of a nan is left open
    return f"select({name}, nan_f(), subgroupAny(isnan_f({x})))" if type_ == "f" else name


def neutral(kind: str, type_: str) -> str:
    if type_ == "b":
        return "false" if kind in ("max", "sum") else "true"
    value = {"sum": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf}[kind]
    return number(value, type_)


def apply(op: str, type_: str, args: list[str]) -> str:
    """The expression of an elementwise row; ``type_`` is that of its operands."""
    row = ELEMENTWISE[op]
    text = (row.wgsl_l if type_ == "l" else row.wgsl).replace("{t}", type_)
    names = dict(zip("abc", args, strict=False))
    return re.sub(r"\b[abc]\b", lambda m: names[m[0]], text)


# --- a kernel in the making -----------------------------------------------------------------------


class _Scope:
    """Lines of a block, and the coordinates that are known in it."""

    def __init__(self, indent: int, outer: _Scope | None = None) -> None:
        self.pad = "  " * indent
        self.lines: list[str] = []
        self.known: set[str] = set(outer.known) if outer else set()

    def put(self, *lines: str) -> None:
        self.lines += [self.pad + line for line in lines]

    def let(self, name: str, value: str) -> str:
        if name not in self.known:
            self.known.add(name)
            self.put(f"let {name} = {value};")
        return name


class _Axis(NamedTuple):
    """A linear index (a variable of the kernel) over some dimensions."""

    var: str
    sizes: tuple[int, ...]


def contiguous(sizes: Iterable[int]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(tuple(sizes)):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def _terms(scope: _Scope, axis: _Axis, strides: tuple[int, ...]) -> list[str]:
    """The summands of an address: coordinate times stride, dimensions merged where possible."""
    groups: list[list[int]] = []  # [elements behind it, size, stride], innermost first
    behind = 1
    for size, stride in zip(reversed(axis.sizes), reversed(strides), strict=True):
        last = groups[-1] if groups else [0, 0, 0]
        if size > 1 and stride:
            if last[0] * last[1] == behind and stride == last[2] * last[1]:
                last[1] *= size
            else:
                groups.append([behind, size, stride])
        behind *= size
    return [_term(scope, axis.var, behind, *g) for g in groups]


def _term(scope: _Scope, var: str, total: int, behind: int, size: int, stride: int) -> str:
    index, name = var, var
    if behind > 1:
        index, name = _over(index, behind), f"{name}_{behind}"
    if behind * size != total:
        index = f"({index})" if behind > 1 else index
        index = f"{index} & {size - 1}u" if _power(size) else f"{index} % {size}u"
        name = f"{name}_m{size}"
    if index != var:
        index = scope.let(name, index)
    return index if stride == 1 else f"{index} * {stride % (1 << 32)}u"  # wraps if negative


def _power(n: int) -> bool:
    return n & (n - 1) == 0


def _over(x: str, n: int) -> str:
    """Compilers on the CPU do not see that dividing by a power of two is a shift."""
    return f"{x} >> {n.bit_length() - 1}u" if _power(n) else f"{x} / {n}u"


def address(
    var: str, sizes: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> tuple[list[str], str]:
    """The lines and the expression of an address over one linear index."""
    scope = _Scope(0)
    terms = _terms(scope, _Axis(var, sizes), strides)
    return scope.lines, " + ".join([*terms, f"{offset}u"])


class _Kernel:
    """What both forms share: values by name, loads, expressions."""

    groups = 1
    lanes = 1

    def __init__(self, step: Fused, limits: Limits, part: str = "") -> None:
        self.step = step
        self.part = part
        self.instrs = step.instrs
        self.limits = limits
        self.rows = math.prod(step.rows)
        self.vectors: set[int] = set()  # operands bound as vec4
        self.same: list[bool] = []  # per instruction: one value for all lanes?

    def name(self, k: int, lane: int) -> str:
        return f"v{k}" if self.lanes == 1 or self.same[k] else f"v{k}_{lane}"

    def buffer(self, operand: int) -> str:
        return f"b{self.part}{operand}"

    def body(self) -> str:
        raise NotImplementedError

    def address(self, scope: _Scope, instr: Instr, lane: int) -> str:
        """The address of a load, store or addr instruction."""
        raise NotImplementedError

    def expression(self, scope: _Scope, instr: Instr, lane: int) -> str:
        """The value of an instruction, in WGSL."""
        op, arg = instr.op, instr.arg
        srcs = [self.name(s, lane) for s in instr.srcs]
        if op == "load":
            return self.element(arg[0], self.address(scope, instr, lane))
        if op == "addr":
            at = self.address(scope, instr, lane)
            return f"f32(i32({at}))" if instr.type == "f" else f"i32({at})"
        if op == "scalar":
            word = f"scalars[{arg // 4}][{arg % 4}]"
            return f"{word} != 0u" if instr.type == "b" else f"bitcast<{TYPES[instr.type]}>({word})"
        if op == "const":
            return number(arg, instr.type)
        if op == "take":
            return self.element(arg[0], f"u32({srcs[0]})")
        if op == "index":
            return f"index_i({srcs[0]}, {arg[0]}, {arg[1]}u, {arg[2]})"
        from_ = self.instrs[instr.srcs[-1]].type
        return cast(srcs[0], from_, arg) if op == "cast" else apply(op, from_, srcs)

    def element(self, operand: int, at: str) -> str:
        """An element of an operand in its compute type."""
        dtype = self.step.dtypes[operand]
        half = _PACKED.get(dtype)
        if half:
            word = f"{self.buffer(operand)}[({at}) >> 1u]"
            return f"{half}_to_f(({word} >> ((({at}) & 1u) << 4u)) & 0xffffu)"
        return self.decoded(operand, f"{self.buffer(operand)}[{at}]")

    def decoded(self, operand: int, word: str) -> str:
        return f"{word} != 0" if self.step.dtypes[operand] is bool_ else word

    def encoded(self, operand: int, value: str) -> str:
        return f"select(0, 1, {value})" if self.step.dtypes[operand] is bool_ else value


# --- pure elementwise kernels ---------------------------------------------------------------------


class _Elementwise(_Kernel):
    """``lanes`` neighbouring elements per invocation; ``apart`` where they may lie in two rows of
    the space, so that each needs coordinates of its own."""

    def __init__(self, step: Fused, limits: Limits, part: str = "") -> None:
        super().__init__(step, limits, part)
        last = step.rows[-1] if step.rows else 1
        packed = any(i.op == "store" and step.dtypes[i.arg[0]] in _PACKED for i in step.instrs)
        if last % 4 == 0 and (packed or self.rows >= 1024):
            self.lanes = 4
        elif packed:
            self.lanes = 2
        self.apart = last % self.lanes != 0
        if self.lanes == 4:
            self.vectors = self._vectors()
        for instr in self.instrs:
            self.same.append(self._same(instr))
        self.tiled = self._tiled()
        wide = limits.software and not self.tiled and not part  # all parts are of one size
        self.group = 256 if wide else 64
        self.groups = -(-self.rows // (self.lanes * self.group))

    def _tiled(self) -> bool:
        """Does a load run along the second last dimension? Then workgroups make 16 × 16 elements,
        so that they use whole cache lines of it."""
        rows = self.step.rows
        if self.lanes < 4 or len(rows) < 2 or rows[-1] % 16 or rows[-2] % 16:
            return False
        strides = [i.arg[1] for i in self.instrs if i.op == "load"]
        return any(s[-2] == 1 and s[-1] > 1 for s in strides)

    def _same(self, instr: Instr) -> bool:
        if instr.op in ("load", "addr"):
            strides = instr.arg[-2]
            return not any(strides) or (not self.apart and not strides[-1])
        return instr.op != "store" and all(self.same[s] for s in instr.srcs)

    def _vectors(self) -> set[int]:
        """Operands that are only touched four aligned elements at a time."""
        fit = {
            k
            for k, n in enumerate(self.step.sizes)
            if n % 4 == 0 and self.step.dtypes[k] not in _PACKED
        }
        for instr in self.instrs:
            if instr.op == "take":
                fit.discard(instr.arg[0])
            if instr.op in ("load", "store"):
                operand, strides, offset = instr.arg
                strides = contiguous(self.step.rows) if strides is None else strides
                if strides[-1] != 1 or offset % 4 or any(s % 4 for s in strides[:-1]):
                    fit.discard(operand)
        return fit

    def body(self) -> str:
        return _main(self.group, self.lines(f"({folded(self.groups)})"))

    def lines(self, place: str) -> str:
        """What the workgroup at a place does."""
        scope = _Scope(1)
        if self.tiled:
            tile, across = place, self.step.rows[-1] // 16
            scope.put(
                f"let down = {tile} / {across}u * 16u + (lid >> 2u);",
                f"let at = (down * {across}u + {tile} % {across}u) * 4u + (lid & 3u);",
            )
        else:
            scope.put(f"let at = {place} * {self.group}u + lid;")
        if self.rows != math.prod(grid(self.groups)) * self.lanes * self.group:
            over = -(-self.rows // self.lanes)
            scope.put(f"if (at >= {over}u) {{ return; }}")
        scope.put("let i = at;" if self.lanes == 1 else f"let i = at * {self.lanes}u;")
        if self.apart:
            for lane in range(1, self.lanes):
                scope.put(f"let i{lane} = min(i + {lane}u, {self.rows - 1}u);")
        for k, instr in enumerate(self.instrs):
            if instr.op == "store":
                self.store(scope, k, instr)
            elif instr.op == "load" and self.lanes > 1 and not self.same[k] and not self.apart:
                self.load(scope, k, instr)
            else:
                for lane in range(1 if self.same[k] else self.lanes):
                    scope.put(f"let {self.name(k, lane)} = {self.expression(scope, instr, lane)};")
        return "\n".join(scope.lines)

    def address(self, scope: _Scope, instr: Instr, lane: int) -> str:
        strides, offset = instr.arg[-2:]
        if strides is None:
            strides = contiguous(self.step.rows)
        var = f"i{lane}" if self.apart and lane else "i"
        terms = _terms(scope, _Axis(var, self.step.rows), strides)
        if not self.apart and strides:
            offset += lane * strides[-1]
        if offset or not terms:
            terms.append(f"{offset % (1 << 32)}u")
        return " + ".join(terms)

    def load(self, scope: _Scope, k: int, instr: Instr) -> None:
        """All lanes of a load: as a vector, as words of two halves, or one by one."""
        operand, strides, offset = instr.arg
        dtype = self.step.dtypes[operand]
        at = scope.let(f"a{k}", self.address(scope, instr, 0))
        aligned = strides[-1] == 1 and not offset % 2 and not any(s % 2 for s in strides[:-1])
        if operand in self.vectors:
            scope.put(f"let w{k} = {self.buffer(operand)}[{at} >> 2u];")
        elif dtype in _PACKED and aligned:
            for word in range(self.lanes // 2):
                scope.put(f"let w{k}_{word} = {self.buffer(operand)}[({at} >> 1u) + {word}u];")
        for lane in range(self.lanes):
            if operand in self.vectors:
                value = self.decoded(operand, f"w{k}.{'xyzw'[lane]}")
            elif dtype in _PACKED and aligned:
                half = f"w{k}_{lane // 2}" + (" >> 16u" if lane % 2 else " & 0xffffu")
                value = f"{_PACKED[dtype]}_to_f({half})"
            else:
                step = lane * strides[-1] % (1 << 32)
                value = self.element(operand, f"{at} + {step}u" if step else at)
            scope.put(f"let v{k}_{lane} = {value};")

    def store(self, scope: _Scope, k: int, instr: Instr) -> None:
        operand = instr.arg[0]
        values = [self.name(instr.srcs[0], lane) for lane in range(self.lanes)]
        if self.step.dtypes[operand] in _PACKED:
            self.store_packed(scope, instr, values)
            return
        words = [self.encoded(operand, v) for v in values]
        if operand in self.vectors:
            at = self.address(scope, instr, 0)
            vector = f"vec4<{_storage(self.step.dtypes[operand])}>({', '.join(words)})"
            scope.put(f"{self.buffer(operand)}[({at}) >> 2u] = {vector};")
            return
        for lane, word in enumerate(words):
            line = f"{self.buffer(operand)}[{self.address(scope, instr, lane)}] = {word};"
            if self.apart and lane:
                line = f"if (i + {lane}u < {self.rows}u) {{ {line} }}"
            scope.put(line)

    def store_packed(self, scope: _Scope, instr: Instr, values: list[str]) -> None:
        """Whole words of two halves."""
        operand, strides, offset = instr.arg
        if offset or strides not in (None, contiguous(self.step.rows)):
            raise NotImplementedError("a window of 16-bit floats is written elementwise")
        to = f"f_to_{_PACKED[self.step.dtypes[operand]]}"
        for word in range(self.lanes // 2):
            low, top = f"{to}({values[2 * word]})", f"({to}({values[2 * word + 1]}) << 16u)"
            if self.rows % self.lanes:
                top = f"select(0u, {top}, i + {2 * word + 1}u < {self.rows}u)"
            scope.put(f"{self.buffer(operand)}[(i >> 1u) + {word}u] = {low} | {top};")


# --- kernels with reductions ----------------------------------------------------------------------


class _Rows(_Kernel):
    """Workgroups of ``tall`` rows × ``wide`` invocations per row; ``columns`` where neighbouring
    invocations work on neighbouring rows, because those lie side by side in memory."""

    def __init__(self, step: Fused, limits: Limits) -> None:
        super().__init__(step, limits)
        self.inner = math.prod(step.inner)
        self.columns = self._columns()
        self.tall, self.wide = self._shape()
        # 16-bit results, one per row: two rows share a word, so they meet in workgroup memory
        self.paired = [
            k
            for k, i in enumerate(self.instrs)
            if i.op == "store" and step.dtypes[i.arg[0]] in _PACKED
        ]
        if self.paired:
            self.tall += self.tall % 2
        fit = self.rows % 8 == 0 and self.rows >= 256 and len(self.instrs) <= _UNROLLED // 2
        if limits.software and self.columns and fit and not self.paired:
            self.tall, self.lanes = 8, 8  # whole cache lines of what is read down a column
        self.same = [False] * len(self.instrs)
        self.subgroups = self._subgroups()
        self.groups = -(-self.rows // (self.tall * self.lanes))

    def _columns(self) -> bool:
        """Do more loads run along the rows than along the inner space?"""
        votes = 0
        n = len(self.step.rows)
        for instr in self.instrs:
            if instr.op == "load" and instr.level:
                strides = instr.arg[1]
                votes += bool(n and strides[n - 1] == 1) - (strides[-1] == 1)
        return votes > 0

    def _shape(self) -> tuple[int, int]:
        if self.limits.software:  # workgroup memory and barriers are what costs there
            if self.rows >= 32 or self.inner <= 64:
                return (8 if self.rows < 256 else 32), 1
            return 1, 64
        if self.columns:
            return (64, 1) if self.inner < 32 or self.rows >= 1 << 16 else (32, 8)
        if self.inner <= 16:
            return 64, 1
        if self.inner <= 256:
            return 4, 16
        return (1, 64) if self.inner <= 1024 else (1, 256)

    def _subgroups(self) -> bool:
        """Do subgroups add a row up, which is then a workgroup's? It is not said which invocations
        of several rows are in one."""
        able = self.limits.subgroups and self.tall == 1 and self.wide > 1
        reduces = [i for i in self.instrs if i.op == "reduce"]
        return able and all(across(i.arg, i.type, "") for i in reduces)

    def phase(self, k: int) -> int:
        """The phase that computes a value; a reduction runs with the loop over its source."""
        instr = self.instrs[k]
        return self.instrs[instr.srcs[0]].phase if instr.op == "reduce" else instr.phase

    def outside(self, k: int) -> bool:
        return self.instrs[k].level == 0 or self.instrs[k].op == "reduce"

    def body(self) -> str:
        scope = _Scope(1)
        self.head(scope)
        for phase in range(1 + max(self.phase(k) for k in range(len(self.instrs)))):
            self.row_values(scope, phase)
            self.loop(scope, phase)
        return self.share() + _main(self.tall * self.wide, "\n".join(scope.lines))

    def head(self, scope: _Scope) -> None:
        lane, row = f"lid % {self.wide}u", f"lid / {self.wide}u"
        if self.columns:
            lane, row = f"lid / {self.tall}u", f"lid % {self.tall}u"
        if self.wide == 1:
            lane, row = "0u", "lid"
        scope.put(f"let lane = {lane};")
        scope.put(f"let row = ({folded(self.groups)}) * {self.tall}u + {row};")
        if self.wide == 1 and not self.paired:
            scope.put(f"if (row >= {self.rows // self.lanes}u) {{ return; }}")
            for n in range(self.lanes):
                scope.put(f"let {self.row(n)} = row * {self.lanes}u + {n}u;")
        else:  # nobody leaves before the barriers
            scope.put(f"let i = min(row, {self.rows - 1}u);")
        if self.subgroups:
            scope.put("let size = subgroupAdd(1u);", "let place = subgroupExclusiveAdd(1u);")

    def row(self, lane: int) -> str:
        return f"i{lane}" if self.lanes > 1 else "i"

    def guard(self) -> str:
        """The condition under which an invocation may write."""
        early = self.wide == 1 and not self.paired  # the others have left
        return "" if early or not self.rows % self.tall else f"row < {self.rows}u"

    def row_values(self, scope: _Scope, phase: int) -> None:
        for k, instr in enumerate(self.instrs):
            if instr.level or instr.op == "reduce" or instr.phase != phase:
                continue
            if k in self.paired:
                self.store_paired(scope, k, instr)
            elif instr.op == "store":
                conditions = [self.guard(), "lane == 0u" if self.wide > 1 else ""]
                for lane in range(self.lanes):
                    self.store(scope, instr, " && ".join(c for c in conditions if c), lane)
            else:
                for lane in range(self.lanes):
                    value = self.expression(scope, instr, lane)
                    scope.put(f"let {self.name(k, lane)} = {value};")

    def needed(self, roots: list[int]) -> list[int]:
        found: set[int] = set()
        pending = list(roots)
        while pending:
            k = pending.pop()
            if k not in found:
                found.add(k)
                pending += [s for s in self.instrs[k].srcs if not self.outside(s)]
        return sorted(found)

    def loop(self, scope: _Scope, phase: int) -> None:
        """One walk over the inner space, for the reductions and stores of a phase."""
        roots = [
            k
            for k, i in enumerate(self.instrs)
            if self.phase(k) == phase and (i.op == "reduce" or (i.op == "store" and i.level == 1))
        ]
        if not roots:
            return
        reduces = [k for k in roots if self.instrs[k].op == "reduce"]
        for k in reduces:
            instr = self.instrs[k]
            start = neutral(instr.arg, instr.type)
            for lane in range(self.lanes):
                scope.put(f"var {self.sum('s', k, lane)}: {TYPES[instr.type]} = {start};")
        sums = [k for k in reduces if self.instrs[k].arg == "sum" and self.instrs[k].type == "f"]
        terms = -(-self.inner // self.wide)
        if sums and terms > _BLOCK:
            self.blocked(scope, roots, sums, terms)
        else:
            self.turns(scope, roots, [], "lane", f"{self.inner}u", self.inner, 1)
        self.finish(scope, reduces)

    def blocked(self, scope: _Scope, roots: list[int], sums: list[int], terms: int) -> None:
        """Partial sums of about the square root of the number of terms."""
        block = self.wide << (terms.bit_length() + 1) // 2
        scope.put(f"for (var start = lane; start < {self.inner}u; start += {block}u) {{")
        for k in sums:
            for lane in range(self.lanes):
                scope.put(f"  var {self.sum('p', k, lane)} = 0.0;")
        scope.put(f"  let stop = min(start + {block}u, {self.inner}u);")
        # blocks divide by 4 · wide, so all terms do if their number does
        self.turns(scope, roots, sums, "start", "stop", self.inner, 2)
        for k in sums:
            for lane in range(self.lanes):
                scope.put(f"  {self.sum('s', k, lane)} += {self.sum('p', k, lane)};")
        scope.put("}")

    def turns(self, scope: _Scope, roots: list[int], sums: list[int], start: str, stop: str,
              terms: int, indent: int) -> None:  # fmt: skip
        """The loop itself, four elements in a turn where their number allows it."""
        pad, wide = "  " * (indent - 1), self.wide
        if terms % (4 * wide) or len(self.needed(roots)) * self.lanes > _UNROLLED:
            scope.put(f"{pad}for (var k = {start}; k < {stop}; k += {wide}u) {{")
            self.walk(scope, roots, sums, indent + 1)
        else:
            scope.put(f"{pad}for (var at = {start}; at < {stop}; at += {4 * wide}u) {{")
            for turn in range(4):
                scope.put(f"{pad}  {{ let k = at + {turn * wide}u;")
                self.walk(scope, roots, sums, indent + 2)
                scope.put(f"{pad}  }}")
        scope.put(f"{pad}}}")

    def walk(self, scope: _Scope, roots: list[int], sums: list[int], indent: int) -> None:
        inside = _Scope(indent, scope)
        for k in self.needed(roots):
            instr = self.instrs[k]
            for lane in range(self.lanes):
                if instr.op == "store":
                    self.store(inside, instr, self.guard(), lane)
                elif instr.op == "reduce":
                    into = self.sum("p" if k in sums else "s", k, lane)
                    value = self.name(instr.srcs[0], lane)
                    inside.put(f"{into} = {combine(instr.arg, instr.type, into, value)};")
                else:
                    value = self.expression(inside, instr, lane)
                    inside.put(f"let {self.name(k, lane)} = {value};")
        scope.lines += inside.lines

    def sum(self, kind: str, k: int, lane: int) -> str:
        """The variable of a reduction, or (``p``) of its part in a block."""
        return self.name(k, lane).replace("v", kind, 1)

    def finish(self, scope: _Scope, reduces: list[int]) -> None:
        """The invocations of a row put their results together."""
        if not reduces:
            return
        if self.wide == 1:
            for k in reduces:
                for lane in range(self.lanes):
                    scope.put(f"let {self.name(k, lane)} = {self.sum('s', k, lane)};")
            return
        if self.subgroups:
            self.gather(scope, reduces)
            return
        step, first = (f"n * {self.tall}u", f"lid % {self.tall}u") if self.columns else (
            "n", "lid - lane")  # fmt: skip
        for k in reduces:
            scope.put(f"share{k}[lid] = s{k};")
        scope.put("workgroupBarrier();")
        scope.put(f"for (var n = {self.wide // 2}u; n > 0u; n >>= 1u) {{", "  if (lane < n) {")
        for k in reduces:
            instr = self.instrs[k]
            pair = f"share{k}[lid]", f"share{k}[lid + {step}]"
            scope.put(f"    share{k}[lid] = {combine(instr.arg, instr.type, *pair)};")
        scope.put("  }", "  workgroupBarrier();", "}")
        for k in reduces:
            scope.put(f"let v{k} = share{k}[{first}];")

    def gather(self, scope: _Scope, reduces: list[int]) -> None:
        """``finish`` by subgroups: each puts its invocations' results together, then all results
        of the subgroups."""
        kinds = [(k, self.instrs[k].arg, self.instrs[k].type) for k in reduces]
        for k, kind, type_ in kinds:
            scope.put(
                f"let own{k} = {across(kind, type_, f's{k}')};",
                f"share{k}[lid] = select({neutral(kind, type_)}, own{k}, place == 0u);",
            )
        scope.put("workgroupBarrier();")
        for k, kind, type_ in kinds:
            scope.put(f"var all{k} = {neutral(kind, type_)};")
        scope.put(f"for (var n = place; n < {self.wide}u; n += size) {{")
        for k, kind, type_ in kinds:
            scope.put(f"  all{k} = {combine(kind, type_, f'all{k}', f'share{k}[n]')};")
        scope.put("}")
        for k, kind, type_ in kinds:
            scope.put(f"let v{k} = {across(kind, type_, f'all{k}')};")

    def share(self) -> str:
        """Workgroup memory: partial results, and halves of words."""
        n = self.tall * self.wide
        parts = {k: (TYPES[i.type], n) for k, i in enumerate(self.instrs) if i.op == "reduce"}
        if self.wide == 1:
            parts = {}
        parts |= dict.fromkeys(self.paired, ("u32", self.tall))
        return "".join(
            f"var<workgroup> share{k}: array<{type_}, {n}>;\n" for k, (type_, n) in parts.items()
        )

    def store_paired(self, scope: _Scope, k: int, instr: Instr) -> None:
        """The even row of two writes the word."""
        operand, strides, offset = instr.arg
        if instr.level or offset or strides not in (None, contiguous(self.step.rows)):
            raise NotImplementedError("a kernel with a reduction stores a window of 16-bit floats")
        value = f"f_to_{_PACKED[self.step.dtypes[operand]]}(v{instr.srcs[0]})"
        last = f"row < {self.rows}u"
        scope.put(
            f"if (lane == 0u) {{ share{k}[row % {self.tall}u] = select(0u, {value}, {last}); }}",
            "workgroupBarrier();",
            f"if (lane == 0u && row % 2u == 0u && {last}) {{",
            f"  {self.buffer(operand)}[row >> 1u] ="
            f" share{k}[row % {self.tall}u] | (share{k}[row % {self.tall}u + 1u] << 16u);",
            "}",
        )

    def address(self, scope: _Scope, instr: Instr, lane: int) -> str:
        strides, offset = instr.arg[-2:]
        rows, inner = self.step.rows, self.step.inner
        if strides is None:
            strides = contiguous(rows + inner if instr.level else rows)
        terms = _terms(scope, _Axis(self.row(lane), rows), strides[: len(rows)])
        if instr.level:
            terms += _terms(scope, _Axis("k", inner), strides[len(rows) :])
        if offset or not terms:
            terms.append(f"{offset % (1 << 32)}u")
        return " + ".join(terms)

    def store(self, scope: _Scope, instr: Instr, condition: str, lane: int) -> None:
        operand = instr.arg[0]
        value = self.encoded(operand, self.name(instr.srcs[0], lane))
        line = f"{self.buffer(operand)}[{self.address(scope, instr, lane)}] = {value};"
        scope.put(f"if ({condition}) {{ {line} }}" if condition else line)
