"""Fused steps that are the softmax of rows: ``wasm_kernels/softmax.c`` computes them in one go."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..dtypes import float32
from ..ir import Fused, Instr, Launch
from ..shape import collapse

_OPS = ["load", "reduce", "sub", "exp", "reduce", "reciprocal", "mul", "store"]
_SOURCES = [(), (0,), (0, 1), (2,), (3,), (4,), (3, 5), (6,)]
_SHARE = 10_000  # elements that are worth a thread of their own, some 10 µs


def softmax(step: Fused, instrs: Sequence[Instr]) -> list[Launch] | None:
    """The launch of a step that is a softmax over contiguous rows; None for others."""
    if [i.op for i in instrs] != _OPS or [i.srcs for i in instrs] != _SOURCES:
        return None
    load, largest, *_, total, _, _, store = instrs
    (source, steps, start), (target, order, _) = load.arg, store.arg
    if {step.dtypes[source], step.dtypes[target]} != {float32} or order is not None:
        return None
    if (largest.arg, total.arg) != ("max", "sum"):
        return None
    cut = len(step.rows)
    rows, (row_steps,) = collapse(step.rows, [steps[:cut]])
    inner, (inner_steps,) = collapse(step.inner, [steps[cut:]])
    if len(rows) > 1 or inner_steps not in ((1,), ()):
        return None
    n, count = math.prod(inner), math.prod(rows)
    slots = (step.operands[source], step.operands[target])
    shares = max(1, min(64, count, n * count // _SHARE))
    return [Launch("softmax", slots, (count, n, start, *(row_steps or (0,))), (shares, 1, 1), 0)]
