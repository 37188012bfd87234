"""Special functions, as ``torch.special``: those of the op table under their other names."""

from __future__ import annotations

from . import namespace as _torch
from .functions.elementwise import xlogy
from .functions.reduction import log_softmax, logsumexp, softmax
from .tensor import Tensor

_NAMES = """
digamma erf erfc erfinv exp2 expm1 log1p logit polygamma round sinc
"""
for _name in _NAMES.split():
    globals()[_name] = getattr(_torch, _name)
expit = _torch.sigmoid  # type: ignore[attr-defined]
gammaln = _torch.lgamma  # type: ignore[attr-defined]
psi = _torch.digamma  # type: ignore[attr-defined]


def entr(input: Tensor) -> Tensor:
    """``-x log x``, 0 at 0 and -inf below."""
    return (0 - xlogy(input, input)).masked_fill(input < 0, float("-inf"))


def xlog1py(input: Tensor, other: Tensor) -> Tensor:
    """``input * log1p(other)``, 0 where input is 0."""
    return xlogy(input, other + 1)


__all__ = [
    "entr", "expit", "gammaln", "log_softmax", "logsumexp", "psi", "softmax", "xlog1py", "xlogy",
    *_NAMES.split(),
]  # fmt: skip
