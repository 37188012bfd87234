"""Last pass: small elementwise steps that follow each other and need nothing of each other become
one launch, as the updates of an optimizer, a step for each parameter, do.
"""

from __future__ import annotations

from math import prod
from typing import Any

from ..ir import Fused, Joined
from .emit import Schedule


def join(schedule: Schedule, most: int) -> Schedule:
    """The schedule with steps of up to ``most`` elements joined."""
    runs: list[list[Any]] = []
    touched: set[int] = set()  # slots that the last run reads or writes
    written: set[int] = set()
    growing = False
    for step in schedule.steps:
        small = _small(step, most)
        own = {step.operands[k] for k in step.writes} if small else set()
        apart = touched.isdisjoint(own) and written.isdisjoint(step.operands)
        if not (growing and small and apart):
            runs.append([])
            touched, written = set(), set()
        runs[-1].append(step)
        touched.update(step.operands)
        written |= own
        growing = small
    return schedule._replace(steps=tuple(_joined(run) for run in runs))


def _small(step: Any, most: int) -> bool:
    return isinstance(step, Fused) and not step.looped and prod(step.rows) <= most


def _joined(run: list[Any]) -> Any:
    if len(run) == 1:
        return run[0]
    return Joined(tuple(run), tuple(k for step in run for k in step.operands))
