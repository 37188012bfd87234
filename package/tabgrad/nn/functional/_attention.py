"""Attention: one kernel where no gradient is wanted, else two matrix products and a softmax."""

from __future__ import annotations

import math

from ... import autograd
from ...dtypes import bool_, float64
from ...ops.functional import ATTENTION, apply
from ...tensor import Tensor
from ._activation import softmax
from ._sparse import dropout

_WIDEST = 512  # elements of a head that the kernel has room for


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(q · kᵀ · scale + mask) · v

    A query that may see no key gives zeros. Without gradients (``torch.no_grad``) and dropout the
    scores of L × S are never stored.

    Args:
        query: (…, L, E).
        key: (…, S, E).
        value: (…, S, V).
        attn_mask: added to the scores, or True where a key may be seen.
        dropout_p: probability with which weights are dropped.
        is_causal: position i sees positions up to i.
        scale: 1 / √E if not given.
        enable_gqa: groups of query heads share a head of key and value.

    Examples::

        >>> q = torch.ones(1, 2, 4)
        >>> F.scaled_dot_product_attention(q, q, q, is_causal=True).shape
        torch.Size([1, 2, 4])
    """
    if is_causal and attn_mask is not None:
        raise RuntimeError(
            "_scaled_dot_product_attention: Explicit attn_mask should not be set when "
            "is_causal=True"
        )
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    grouped = enable_gqa and key.shape[-3] == value.shape[-3]
    if grouped:  # a head of keys for each group: (…, K, 1, S, E) beside (…, K, G, L, E)
        groups = (key.shape[-3], query.shape[-3] // key.shape[-3])
        query, key, value = query.unflatten(-3, groups), key.unsqueeze(-3), value.unsqueeze(-3)
        if attn_mask is not None and attn_mask.ndim > 2:
            one = attn_mask.shape[-3] == 1
            attn_mask = attn_mask.unsqueeze(-3) if one else attn_mask.unflatten(-3, groups)
    elif enable_gqa:
        key, value = (x.repeat_interleave(query.shape[-3] // x.shape[-3], -3) for x in (key, value))
    if dropout_p > 0 or not _has_kernel(query, key, value, attn_mask):
        y = _composed(query, key, value, attn_mask, dropout_p, is_causal, scale)
    else:
        mask = () if attn_mask is None else (_matrix(attn_mask, query, key),)
        y = apply(ATTENTION, query, key, value, *mask, scale=float(scale), causal=is_causal)
    return y.flatten(-4, -3) if grouped else y


def _has_kernel(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> bool:
    """Does the device have a kernel for these, and is no gradient wanted? What does not fit
    together is composed too, for the messages."""
    inputs = (query, key, value) if mask is None else (query, key, value, mask)
    wanted = autograd.mode.grad and any(x.requires_grad for x in inputs)
    if wanted or min(x.ndim for x in inputs[:3]) < 2:
        return False
    (length, size), (keys, width) = query.shape[-2:], value.shape[-2:]
    return (
        0 < query.storage.device.caps.attention <= length
        and query.dtype.is_floating_point
        and query.dtype is not float64
        and all(x.dtype is query.dtype or (x is mask and x.dtype is bool_) for x in inputs)
        and key.shape[-2:] == (keys, size)
        and 0 < size <= _WIDEST
        and width <= _WIDEST
        and (mask is None or _spreads(mask.shape[-2:], (length, keys)))
    )


def _spreads(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    pairs = zip(reversed(shape), reversed(to), strict=False)
    return all(n in (1, m) for n, m in pairs)


def _matrix(mask: Tensor, query: Tensor, key: Tensor) -> Tensor:
    return mask.expand(*mask.shape[:-2], query.shape[-2], key.shape[-2])


def _composed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout_p: float,
    causal: bool,
    scale: float,
) -> Tensor:
    scores = (query * scale) @ key.transpose(-2, -1)  # (…, L, S)
    unseen = None  # rows without any key: a softmax of -inf alone would be nan
    if causal:
        mask = query.new_ones(scores.shape[-2:]).tril() > 0
    elif mask is not None:
        unseen = ~mask.any(-1, True) if _is_bool(mask) else (mask == -math.inf).all(-1, True)
        mask = mask | unseen if _is_bool(mask) else mask.masked_fill(unseen, 0)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if _is_bool(mask) else scores + mask
    weights = softmax(scores, -1)
    if unseen is not None:
        weights = weights.masked_fill(unseen, 0)
    return dropout(weights, dropout_p, dropout_p > 0) @ value


def _is_bool(x: Tensor) -> bool:
    return x.dtype is bool_
