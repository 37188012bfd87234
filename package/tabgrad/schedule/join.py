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
    for step in schedule.steps:
        small = runs and _small(step, most) and _small(runs[-1][0], most)
        if small and all(_apart(step, other) for other in runs[-1]):
            runs[-1].append(step)
        else:
            runs.append([step])
    return schedule._replace(steps=tuple(_joined(run) for run in runs))


def _small(step: Any, most: int) -> bool:
    return isinstance(step, Fused) and not step.looped and prod(step.rows) <= most


def _apart(a: Fused, b: Fused) -> bool:
    """Does neither touch what the other writes?"""
    return _written(a).isdisjoint(b.operands) and _written(b).isdisjoint(a.operands)


def _written(step: Fused) -> set[int]:
    return {step.operands[k] for k in step.writes}


def _joined(run: list[Any]) -> Any:
    if len(run) == 1:
        return run[0]
    return Joined(tuple(run), tuple(k for step in run for k in step.operands))
