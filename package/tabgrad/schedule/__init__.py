"""From values to steps: rewrite → group → merge → emit → join. Runs on a plan-cache miss only.

It is told what the device can do (``Caps``) and asks nobody: it runs without a device.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Node
from .emit import Emitter, Schedule
from .group import Grouper
from .join import join
from .merge import merge
from .rewrite import Rewriter
from .values import Caps

__all__ = ["Caps", "Schedule", "schedule"]


def schedule(
    roots: Sequence[Node],
    leaves: Sequence[Node],
    numbers: Sequence[Node],
    caps: Caps,
    given: Sequence[int] = (),
) -> Schedule:
    """Plans the computation of ``roots`` from ``leaves``; ``numbers`` are the scalar slots, and the
    leaves ``given`` may be written over."""
    graph = Rewriter(caps, roots).run()
    grouper = Grouper(graph, caps)
    groups = merge(grouper, grouper.run())
    scalars = {id(n): i for i, n in enumerate(numbers)}
    steps = Emitter(graph, groups, leaves, scalars, caps, given).run()
    return join(steps, caps.joined) if caps.joined else steps
