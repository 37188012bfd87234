"""What the schedule hands to an executor: plans, fused kernels, launches.

docs/architecture.md says what each instruction and each structured step means.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from .dtypes import DType


class Slot(NamedTuple):
    """A buffer of a plan, before it has memory."""

    dtype: DType
    nelems: int


class Instr(NamedTuple):
    """One instruction of a fused kernel; ``srcs`` are indices of earlier ones."""

    op: str
    type: str  # compute type of the result: f d i l b
    srcs: tuple[int, ...]
    arg: Any
    level: int  # 0: one value per row, 1: one per (row, inner) element
    phase: int  # how many nested reductions lie before it


class Fused(NamedTuple):
    """One kernel over ``rows`` × ``inner``; ``operands`` are slot numbers, ``arg`` of load and
    store counts into them."""

    rows: tuple[int, ...]
    inner: tuple[int, ...]
    instrs: tuple[Instr, ...]
    operands: tuple[int, ...]
    dtypes: tuple[DType, ...]  # of the operands
    sizes: tuple[int, ...]  # of the operands, in elements
    writes: tuple[int, ...]  # which operands are written
    why: str  # what cut it off from its neighbours, for DEBUG=3

    @property
    def looped(self) -> bool:
        """Does it walk an inner space, row by row?"""
        return bool(self.inner) or any(i.level or i.op == "reduce" for i in self.instrs)


class Joined(NamedTuple):
    """Elementwise kernels that need nothing of each other, to be launched as one."""

    parts: tuple[Fused, ...]
    operands: tuple[int, ...]  # slots, of one part after the other


class Epilogue(NamedTuple):
    """What a matmul or a conv2d does to its results before it stores them:
    ``min(max(result · factor + bias + residual, low), high)``. A nan stays one."""

    bias: int | None = None  # operand with one value per column (matmul) or channel (conv2d)
    residual: int | None = None  # operand of the result's shape
    low: float = -math.inf
    high: float = math.inf
    factor: int | None = None  # as bias


class Structured(NamedTuple):
    """A step that names a kernel; operands are slot numbers, the written one last
    (``scatter`` writes its first)."""

    op: str
    arg: tuple[Any, ...]
    operands: tuple[int, ...]
    dtypes: tuple[DType, ...]
    sizes: tuple[int, ...]
    epilogue: Epilogue | None = None


class Launch(NamedTuple):
    """A step as a device runs it: WGSL text or the name of a wasm export."""

    kernel: str
    slots: tuple[int, ...]
    words: tuple[int, ...]
    grid: tuple[int, int, int]
    flags: int


FEW_ROWS = 64  # up to which the step ``linear`` beats a product with the decoded weight
USES_SCALARS, USES_STATUS = 1, 2
