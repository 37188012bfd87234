"""Dropout layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from . import functional as F
from .module import Module


class _DropoutNd(Module):
    _drop: Callable[..., Tensor]

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        drop: Any = type(self)._drop
        return drop(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_DropoutNd):
    """Zeroes elements while training, and divides the others by 1 − p.

    Args:
        p: probability of an element to be zeroed.
        inplace: write over the input.

    Examples::

        >>> m = nn.Dropout(p=0.5)
        >>> sorted(set(m(torch.ones(100)).tolist()))
        [0.0, 2.0]
        >>> m.eval()(torch.ones(2))
        tensor([1., 1.])
    """

    _drop = F.dropout


class Dropout1d(_DropoutNd):
    """Zeroes whole channels of (N, C, L) while training.

    Examples::

        >>> nn.Dropout1d().eval()(torch.ones(1, 1, 2))
        tensor([[[1., 1.]]])
    """

    _drop = F.dropout1d


class Dropout2d(_DropoutNd):
    """Zeroes whole channels of (N, C, H, W) while training.

    Examples::

        >>> nn.Dropout2d(0.2)
        Dropout2d(p=0.2, inplace=False)
    """

    _drop = F.dropout2d


class Dropout3d(_DropoutNd):
    """Zeroes whole channels of (N, C, D, H, W) while training.

    Examples::

        >>> nn.Dropout3d(0.2)
        Dropout3d(p=0.2, inplace=False)
    """

    _drop = F.dropout3d


class AlphaDropout(_DropoutNd):
    """Dropout that keeps mean 0 and variance 1 of what SELU gives.

    Examples::

        >>> nn.AlphaDropout(0.2)
        AlphaDropout(p=0.2, inplace=False)
    """

    _drop = F.alpha_dropout
