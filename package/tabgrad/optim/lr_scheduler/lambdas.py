"""Schedules that call a function of the epoch."""

from __future__ import annotations

from typing import Any

from ..optimizer import Optimizer
from .base import LRScheduler, check_optimizer


class _Lambdas(LRScheduler):
    """Functions of the epoch, one for all groups or one for each."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        count = len(optimizer.param_groups)
        if not isinstance(lr_lambda, list | tuple):
            self.lr_lambdas = [lr_lambda] * count
        elif len(lr_lambda) != count:
            raise ValueError(f"Expected {count} lr_lambdas, but got {len(lr_lambda)}")
        else:
            self.lr_lambdas = list(lr_lambda)
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and plain functions; of objects, their attributes."""
        skip = ("optimizer", "lr_lambdas")
        out = {key: value for key, value in self.__dict__.items() if key not in skip}
        out["lr_lambdas"] = [
            None if hasattr(fn, "__code__") or not hasattr(fn, "__dict__") else dict(fn.__dict__)
            for fn in self.lr_lambdas
        ]
        return out

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes a state dict back."""
        state = dict(state_dict)
        for fn, attributes in zip(self.lr_lambdas, state.pop("lr_lambdas"), strict=True):
            if attributes is not None:
                fn.__dict__.update(attributes)
        self.__dict__.update(state)


class LambdaLR(_Lambdas):
    """lr = initial lr · λ(epoch)

    Examples::

        >>> opt = optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
        >>> schedule = optim.lr_scheduler.LambdaLR(opt, lambda epoch: 0.5 ** epoch)
        >>> opt.step(); schedule.step(); schedule.get_last_lr()
        [0.5]
    """

    def get_lr(self) -> list[float]:
        """The rates for ``last_epoch``."""
        self._warn_outside_step()
        pairs = zip(self.base_lrs, self.lr_lambdas, strict=True)
        return [base * fn(self.last_epoch) for base, fn in pairs]


class MultiplicativeLR(_Lambdas):
    """lr ← lr · λ(epoch)"""

    def get_lr(self) -> list[float]:
        """The rates for ``last_epoch``."""
        self._warn_outside_step()
        if self._is_initial:
            return self._lrs()
        pairs = zip(self._lrs(), self.lr_lambdas, strict=True)
        return [lr * fn(self.last_epoch) for lr, fn in pairs]
