"""The numbering of the elementwise ops, shared with ``wasm_kernels/generate.py``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..dtypes import COMPUTE, DTYPES, DType
from ..ir import Instr
from ..ops.elementwise import ELEMENTWISE

FIRST_OP = 16
TYPES = "fdil"
C_TYPES = {"f": "float", "d": "double", "i": "int32_t", "l": "int64_t", "b": "int32_t"}
FOLDS = ("sum", "prod", "max", "min")  # in the order of the kernels


class Op(NamedTuple):
    """A line of elementwise.inc: C function, number of operands, types, expression."""

    key: tuple[str, ...]
    name: str
    arity: int
    result: str
    operands: str
    expression: str


def _elementwise_ops() -> Iterable[Op]:
    results = {"bool": dict.fromkeys("fdilb", "b"), "key": {"f": "i", "d": "l"}}
    for row in ELEMENTWISE.values():
        for t in row.types:
            if (t == "b" and "i" in row.types and row.name != "not") or row.name == "where":
                continue  # a bool is an int32 of 0 or 1; a selection moves bits of 4 or 8 bytes
            result = results.get(row.result, {}).get(t, t)
            expression = row.c.replace("{t}", t)
            yield Op((row.name, t), f"{row.name}_{t}", len(row.inputs), result, t, expression)
    for t in "il":
        yield Op(("where", t), f"where_{t}", 3, t, t, ELEMENTWISE["where"].c)


def _cast_ops() -> Iterable[Op]:
    for t in TYPES:
        for dtype in DTYPES:
            if COMPUTE[t] is not dtype:
                name = f"cast_{t}_{dtype.name}"
                yield Op(("cast", t, dtype.name), name, 1, dtype.compute, t, _cast(t, dtype))


def _cast(t: str, dtype: DType) -> str:
    if dtype.compute == "b":
        return "a != 0"
    if dtype.name in ("float16", "bfloat16"):
        return f"to_{'half' if dtype.name == 'float16' else 'bfloat'}((float)a)"
    if dtype.itemsize < 4:
        return f"({dtype.name}_t){'(int32_t)' if t in 'fd' else ''}a"
    return f"({C_TYPES[dtype.compute]})a"


OPS = (*_elementwise_ops(), *_cast_ops())
OPCODES = {op.key: FIRST_OP + k for k, op in enumerate(OPS)}


def opcode(instr: Instr, operand_type: str) -> int:
    t = instr.type if instr.op == "not" else "i" if operand_type == "b" else operand_type
    if instr.op == "where":
        t = {"f": "i", "d": "l"}.get(t, t)
    key = ("cast", t, instr.arg.name) if instr.op == "cast" else (instr.op, t)
    if key not in OPCODES:
        raise NotImplementedError(f"the wasm device has no {instr.op} for {COMPUTE[t]}")
    return OPCODES[key]
