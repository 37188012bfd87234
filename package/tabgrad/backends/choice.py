"""Where a run goes: to the side that is quicker, unless its values lie on the other.

A run changes sides for what that saves at once or, where the values would have to be moved for
longer than that, when so many runs have missed the better side that the move would have paid.
"""

from __future__ import annotations

from collections.abc import Sequence

from .places import WASM, WEBGPU, Place
from .rates import Costs
from .work import Work

_CAUTION = 64  # at most so many times must a move pay that was in vain before


class Choice:
    """For the runs of one graph."""

    def __init__(self, work: Work, costs: Costs) -> None:
        self.costs = costs
        self.seconds = [r.run + work.flops / r.flops + work.traffic / r.traffic for r in costs[:2]]
        self.back = work.results / costs.transfer  # seconds, if others need them on the other side
        self.build = work.kernels * costs.webgpu.build
        self.runs = self.reads = 0  # how often it ran, how many of its results were read
        self.missed = 0.0  # seconds that the better side would have saved since the last move
        self.caution = 1
        self.moved = False  # by the last run, for the sake of later ones

    @property
    def cheaper(self) -> int:
        """The side of runs whose values are there and that nobody waits for."""
        return WASM if self.seconds[WASM] <= self.seconds[WEBGPU] else WEBGPU

    def awaited(self, reads: float) -> list[float]:
        """Seconds on both sides, where so many of a run's results are read."""
        return [s + reads * r.read for s, r in zip(self.seconds, self.costs[:2], strict=True)]

    def moving(self, places: Sequence[Place], side: int) -> float:
        """Seconds to bring what a run on a side lacks there."""
        missing = [p for p in places if p.at[side] is None]
        wait = side == WASM and any(p.far for p in missing)
        nbytes = sum([p.nbytes for p in missing])
        return nbytes / self.costs.transfer + (self.costs.webgpu.read if wait else 0.0)

    def side(self, places: Sequence[Place], built: bool, reading: bool) -> int:
        """Of the next run. ``built``: there is a plan for the GPU; ``reading``: it is awaited."""
        self.runs += 1
        reads = 1.0 if reading else min(1.0, self.reads / self.runs)
        wasm, webgpu = self.awaited(reads)
        best = WASM if wasm <= webgpu else WEBGPU
        unbuilt = best == WEBGPU and not built
        if not unbuilt and not [p for p in places if p.at[best] is None]:
            self.missed, self.moved = 0.0, False
            return best
        effort = self.moving(places, best) - self.moving(places, 1 - best)
        effort += self.build if unbuilt else 0.0
        return best if self._pays(abs(wasm - webgpu), effort) else 1 - best

    def _pays(self, saved: float, effort: float) -> bool:
        """Whether to move to the better side, which takes an effort and saves as many seconds."""
        if effort > 0:
            effort += self.back
            self.missed += saved
            if saved < effort:
                if self.missed < effort * self.caution:
                    return False
                # in vain if the next run finds its values on the other side again
                self.caution = min(self.caution * 2, _CAUTION) if self.moved else 1
                self.moved = True
        self.missed = 0.0
        return True
