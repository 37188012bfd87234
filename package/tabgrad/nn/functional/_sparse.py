"""Embeddings and dropout: picking rows, dropping elements."""

from __future__ import annotations

from ...autograd import no_grad
from ...random import drawn_like
from ...tensor import Tensor
from ._activation import _result
from ._loss import _title


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of ``weight`` at the indices

    Args:
        input: indices of any shape.
        weight: (number of rows, size of a row).
        padding_idx: a row that gets no gradient.
        max_norm: rows used that are longer are shortened first, in place.
        norm_type: which norm that is.

    Examples::

        >>> F.embedding(torch.tensor([1, 0]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([[3., 4.],
                [1., 2.]])
    """
    if _title(input) not in ("Long", "Int"):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got {input.type()} instead (while checking arguments for embedding)"
        )
    rows = weight.shape[0]
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise AssertionError("Padding_idx must be within num_embeddings")
        padding_idx %= rows
    flat = input.reshape(-1)
    if max_norm is not None:
        _shorten_rows(weight, flat, max_norm, norm_type)
    out = weight.index_select(0, flat)
    if scale_grad_by_freq and out.requires_grad:
        counts = weight.new_zeros(rows).index_add_(0, flat, weight.new_ones(flat.shape[0]))
        share = out / counts.index_select(0, flat).unsqueeze(-1)
        out = share + (out - share).detach()
    out = out.reshape(*input.shape, weight.shape[1])
    if padding_idx is not None and out.requires_grad:
        out = out.where((input != padding_idx).unsqueeze(-1), out.detach())
    return out


@no_grad()
def _shorten_rows(weight: Tensor, index: Tensor, max_norm: float, p: float) -> None:
    used = weight.new_zeros(weight.shape[0]).index_fill_(0, index, 1.0)
    norms = weight.norm(p, -1)
    long = (norms > max_norm) & (used > 0)
    weight.mul_((max_norm / (norms + 1e-7)).masked_fill(~long, 1.0).unsqueeze(-1))


def _check_p(p: float) -> None:
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _drop(x: Tensor, p: float, training: bool, inplace: bool, whole: int | None) -> Tensor:
    """Zeroes elements, or whole channels after the first ``whole`` dimensions."""
    _check_p(p)
    if not training or p == 0 or not x.numel():
        return x
    if p == 1:
        return x.mul_(0.0) if inplace else x * 0.0
    if whole is None:
        noise = drawn_like(x, "bernoulli", 1 - p).div_(1 - p)
    else:
        shape = [n if d < whole else 1 for d, n in enumerate(x.shape)]
        noise = x.detach().new_empty(shape).bernoulli_(1 - p).div_(1 - p)
    return x.mul_(noise) if inplace else x * noise


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes elements with probability p and divides the others by 1 − p"""
    return _drop(input, p, training, inplace, None)


def _channels(n: int, x: Tensor, unbatched: bool = True) -> int:
    """How many leading dimensions are drawn for one by one."""
    return 1 if unbatched and x.ndim == n + 1 else 2


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zeroes whole channels of (N, C, L) or (C, L)"""
    _check_p(p)
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input. Note that "
            "dropout1d exists to provide channel-wise dropout on inputs with 1 spatial dimension, "
            "a channel dimension, and an optional batch dimension (i.e. 2D or 3D inputs)."
        )
    return _drop(input, p, training, inplace, _channels(1, input))


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zeroes whole channels of (N, C, H, W)"""
    return _drop(input, p, training, inplace, 2)


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zeroes whole channels of (N, C, D, H, W) or (C, D, H, W)"""
    return _drop(input, p, training, inplace, _channels(3, input))


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Dropout that keeps mean 0 and variance 1 of what SELU gives"""
    _check_p(p)
    if not training or p == 0:
        return input
    alpha = 1.7580993408473766
    a = 1.0 / ((alpha * alpha * p + 1) * (1 - p)) ** 0.5
    keep = input.detach().new_empty(input.shape).bernoulli_(1 - p)
    shift = (keep - 1) * (alpha * a) + alpha * a * p
    return _result(lambda x: x * (keep * a) + shift, input, inplace)
