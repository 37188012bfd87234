"""Writes elementwise.inc, one line per elementwise op and compute type, from the op table.

    python wasm_kernels/generate.py

The order of the lines is the numbering of the opcodes; ``backends/wasm_ops.py`` counts alike.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
HEAD = "// Written by generate.py from package/tabgrad/ops/elementwise.py: do not edit.\n"
C_TYPES = {"f": "float", "d": "double", "i": "int32_t", "l": "int64_t", "b": "int32_t"}


VECTOR = ("exp_f", "tanh_f", "sigmoid_f", "erf_f", "phi_f")  # written for four lanes in math.h


def line(op) -> str:
    if op.name in VECTOR:
        return f"V1({op.name}, {op.name[:-1]}4)\n"
    result, operands = C_TYPES[op.result], C_TYPES[op.operands]
    return f"X{op.arity}({op.name}, {result}, {operands}, {op.expression})\n"


def text() -> str:
    sys.path.insert(0, str(HERE.parent / "package"))
    from tabgrad.backends.wasm_ops import OPS

    return HEAD + "".join(line(op) for op in OPS)


if __name__ == "__main__":
    (HERE / "elementwise.inc").write_text(text())
