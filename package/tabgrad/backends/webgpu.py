"""Launch rules for the WebGPU kernels: a step of a plan → WGSL texts and their grids.

``lower`` is the door. A ``Fused`` step becomes a generated kernel (webgpu_fused.py); a
``Structured`` step becomes a file of ``kernels_wgsl`` with its constants filled in. Nothing here
needs a device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..dtype import float32
from ..ir import Fused, Launch, Structured
from ..schedule import Caps
from .webgpu_fused import fused
from .wgsl import Limits, grid, section, source, substitute

# One of the eight storage buffers that every adapter has is kept for the status word.
CAPS = Caps(
    max_operands=8, max_instrs=192, packed=True, split_over=1 << 15, wide=False, max_inner=1 << 16
)


def lower(step: Fused | Structured, limits: Limits = Limits()) -> list[Launch]:
    """The kernels to launch for a step, in order."""
    if isinstance(step, Fused):
        return [fused(step, limits)]
    return _STRUCTURED[step.op](step, limits)


