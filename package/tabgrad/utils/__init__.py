"""torch.utils: here it holds ``data``."""

from . import data

__all__ = ["data"]
