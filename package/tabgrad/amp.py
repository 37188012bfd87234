"""Mixed precision, as ``torch.amp``: accepted, and computed in float32.

Half precision is storage here (see docs/architecture.md): products are computed in float32 on
every device, so that ``autocast`` has nothing to cast and gradients need no scaling.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .tensor import Tensor

_enabled = False


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """True inside ``autocast``."""
    return _enabled


class autocast:
    """A context manager or decorator that changes no dtype."""

    def __init__(
        self,
        device_type: str = "cpu",
        dtype: Any = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        self.enabled = enabled
        self._before: list[bool] = []

    def __enter__(self) -> autocast:
        global _enabled
        self._before.append(_enabled)
        _enabled = self.enabled
        return self

    def __exit__(self, *_: Any) -> None:
        global _enabled
        _enabled = self._before.pop()

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def wrapped(*args: Any, **kw: Any) -> Any:
            with self:
                return fn(*args, **kw)

        return wrapped


class GradScaler:
    """The interface of ``torch.amp.GradScaler`` with a scale of 1: float32 does not underflow."""

    def __init__(self, device: str = "cpu", *args: Any, enabled: bool = True, **kw: Any) -> None:
        self._enabled = enabled

    def scale(self, outputs: Any) -> Any:
        """The loss itself."""
        return outputs

    def unscale_(self, optimizer: Any) -> None:
        """Gradients are not scaled."""

    def step(self, optimizer: Any, *args: Any, **kw: Any) -> Any:
        """The optimizer's step, left out if a gradient is not finite."""
        grads = [p.grad for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
        if not self._enabled or all(_finite(g) for g in grads):
            return optimizer.step(*args, **kw)
        return None

    def update(self, new_scale: Any = None) -> None:
        """The scale stays 1."""

    def get_scale(self) -> float:
        """1."""
        return 1.0

    def is_enabled(self) -> bool:
        """What it was made with."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to restore."""


def _finite(g: Tensor) -> bool:
    return bool(g.isfinite().all())


__all__ = ["GradScaler", "autocast", "is_autocast_enabled"]
