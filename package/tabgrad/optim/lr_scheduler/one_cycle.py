"""One cycle of the rate: up, then down to far below where it began."""

from __future__ import annotations

import math
from typing import Any

from ..optimizer import Optimizer
from .base import check_optimizer, per_group
from .cyclic import Cycling


class OneCycleLR(Cycling):
    """One cycle: lr up to ``max_lr``, then down to far below where it began

    Args:
        optimizer: whose rates and momenta are set.
        max_lr: the highest rate.
        total_steps: the length of the cycle, or
        epochs, steps_per_epoch: its two factors.
        pct_start: the share of it in which the rate rises.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        div_factor: initial rate = max_lr / div_factor.
        final_div_factor: last rate = initial rate / final_div_factor.
        three_phase: back to the initial rate first, then down.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Any,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: Any = 0.85,
        max_momentum: Any = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        self._schedule_phases = _phases(self.total_steps, pct_start, three_phase)
        if pct_start < 0 or pct_start > 1 or not isinstance(pct_start, float):
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._anneal_func_type = anneal_strategy
        tops = per_group("max_lr", optimizer, max_lr)
        if last_epoch == -1:
            for top, group in zip(tops, optimizer.param_groups, strict=True):
                group["initial_lr"] = top / div_factor
                group["max_lr"] = top
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._begin_momentum(optimizer, base_momentum, max_momentum, last_epoch)
        super().__init__(optimizer, last_epoch)

    def _anneal_func(self, start: float, end: float, share: float) -> float:
        if self._anneal_func_type == "linear":
            return (end - start) * share + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)

    def get_lr(self) -> list[float]:
        """The rates for ``last_epoch``; sets the momentum too."""
        self._warn_outside_step()
        at = self.last_epoch
        if at > self.total_steps:
            raise ValueError(
                f"Tried to step {at} times. The specified number of total steps is "
                f"{self.total_steps}"
            )
        phases, i = self._schedule_phases, 0
        while i < len(phases) - 1 and at > phases[i]["end_step"]:
            i += 1
        start = phases[i - 1]["end_step"] if i else 0.0
        phase = phases[i]
        share = (at - start) / (phase["end_step"] - start)
        lrs = []
        for group in self.optimizer.param_groups:
            lrs.append(self._anneal_func(group[phase["start_lr"]], group[phase["end_lr"]], share))
            if self.cycle_momentum:
                low, high = group[phase["start_momentum"]], group[phase["end_momentum"]]
                self._set_momentum(group, self._anneal_func(low, high, share))
        return lrs


def _total_steps(total: int | None, epochs: int | None, per_epoch: int | None) -> int:
    if total is not None:
        if total <= 0 or not isinstance(total, int):
            raise ValueError(f"Expected positive integer total_steps, but got {total}")
        return total
    if epochs is None or per_epoch is None:
        raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    for name, value in (("epochs", epochs), ("steps_per_epoch", per_epoch)):
        if not isinstance(value, int) or value <= 0:
            raise ValueError(f"Expected positive integer {name}, but got {value}")
    return epochs * per_epoch


def _phase(end: float, lrs: tuple[str, str], momenta: tuple[str, str]) -> dict[str, Any]:
    return {
        "end_step": end, "start_lr": f"{lrs[0]}_lr", "end_lr": f"{lrs[1]}_lr",
        "start_momentum": f"{momenta[0]}_momentum", "end_momentum": f"{momenta[1]}_momentum",
    }  # fmt: skip


def _phases(total: int, share: float, three: bool) -> list[dict[str, Any]]:
    rise = _phase(float(share * total) - 1, ("initial", "max"), ("max", "base"))
    if not three:
        return [rise, _phase(total - 1, ("max", "min"), ("base", "max"))]
    return [
        rise,
        _phase(float(2 * share * total) - 2, ("max", "initial"), ("base", "max")),
        _phase(total - 1, ("initial", "min"), ("max", "max")),
    ]
