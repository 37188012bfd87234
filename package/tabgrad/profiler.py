"""What ran, and what it cost."""

from __future__ import annotations

import time
from typing import Any

from . import runtime


def counters() -> dict[str, int]:
    """Totals since the start: plans built and hit, flushes, dispatches, calls across the bridge."""
    return dict(runtime.counters)


class profile:
    """Counts what happens inside a ``with`` block.

    Examples:
        >>> with torch.profiler.profile() as p:
        ...     y = (torch.ones(3) * 2).sum().item()
        >>> p.counts["flushes"]
        1
    """

    def __init__(self, **_: Any) -> None:
        self.counts: dict[str, int] = {}
        self.seconds = 0.0

    def __enter__(self) -> profile:
        self._before = counters()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: Any) -> None:
        self.seconds = time.perf_counter() - self._start
        now = counters()
        self.counts = {k: now[k] - self._before[k] for k in now}

    def step(self) -> None:
        """Marks a step; the counts go on."""

    def table(self) -> str:
        """The counts as text, one a line."""
        rows = [f"{k:14} {v:>10}" for k, v in self.counts.items()]
        return "\n".join([*rows, f"{'seconds':14} {self.seconds:>10.4f}"])
