"""Attention, composed of two matrix products and a softmax."""

from __future__ import annotations

import math

from ...tensor import Tensor
from ._activation import softmax
from ._sparse import dropout


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
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query * scale) @ key.transpose(-2, -1)  # (…, L, S)
    if is_causal:
        if attn_mask is not None:
            raise RuntimeError(
                "_scaled_dot_product_attention: Explicit attn_mask should not be set when "
                "is_causal=True"
            )
        attn_mask = query.new_ones(scores.shape[-2:]).tril() > 0
    if attn_mask is not None:
        if _is_bool(attn_mask):
            scores = scores.masked_fill(~attn_mask, -math.inf)
        else:
            scores = scores + attn_mask
    return dropout(softmax(scores, -1), dropout_p, dropout_p > 0) @ value


def _is_bool(x: Tensor) -> bool:
    from ...dtypes import bool_

    return x.dtype == bool_
