"""The DEBUG ladder: each rung adds one layer of truth.

| level | prints |
|---|---|
| 1 | devices, plans that are built, where "auto" runs them; recordings, and why one does not fit |
| 2 | time of every run, and of each of its kernels |
| 3 | the kernels of a plan, and why each was cut off |
| 4 | instructions and kernel text |

Set by the environment variable ``DEBUG`` or ``tabgrad.set_debug(level)``.
"""

from __future__ import annotations

import os
from typing import Any

from .ir import Fused, Joined, Structured


class _Debug:
    def __init__(self) -> None:
        level = os.environ.get("DEBUG", "")
        self.level = int(level) if level.isdigit() else 0

    def say(self, level: int, text: str) -> None:
        """Prints at this rung and above."""
        if self.level >= level:
            print(text)

    def ran(self, device: Any, seconds: float) -> None:
        """A plan that was just run (or, on the GPU, handed over)."""
        print(f"run {device}: {seconds * 1e3:.3f} ms")
        for name, ms in device.timings():
            print(f"  {ms:9.3f} ms  {name}")

    def plan(self, device: Any, graph: Any, what: Any) -> None:
        """A plan that was just made."""
        kernels = len(what.steps)
        print(
            f"plan {device}: {len(graph.key) - 1} values → {kernels} kernels, "
            f"{what.n_leaf} leaves, {what.n_out} results, {len(graph.numbers)} numbers"
        )
        if self.level >= 3:
            for step in what.steps:
                print("  " + describe(step))
                if self.level >= 4 and not isinstance(step, Structured):
                    print("\n".join("    " + line for line in instructions(step)))


def describe(step: Any) -> str:
    """One line on a step."""
    if isinstance(step, Joined):
        return "; ".join(map(describe, step.parts))
    if isinstance(step, Fused):
        space = f"{list(step.rows)}" + (f" × {list(step.inner)}" if step.inner else "")
        return f"fused {space}, {len(step.instrs)} instructions, cut by {step.why}"
    return f"{step.op} {step.arg}"


def instructions(step: Fused | Joined) -> list[str]:
    """The SSA list of a fused kernel, or of one after the other."""
    if isinstance(step, Joined):
        return [line for part in step.parts for line in instructions(part)]
    return [
        f"%{k}:{i.type} = {i.op} {' '.join(f'%{s}' for s in i.srcs)} "
        f"{'' if i.arg is None else i.arg} (level {i.level}, phase {i.phase})"
        for k, i in enumerate(step.instrs)
    ]


debug = _Debug()


def set_debug(level: int) -> None:
    """Sets the rung of the DEBUG ladder."""
    debug.level = int(level)
