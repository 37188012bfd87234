"""Attention: one kernel and one for its gradients; else two matrix products and a softmax."""

from __future__ import annotations

import math
from typing import Any

from ... import autograd
from ...autograd.function import Function
from ...dtypes import bool_, float64
from ...ops.functional import ATTENTION, ATTENTION_GRAD, apply
from ...tensor import Tensor
from ._activation import softmax
from ._sparse import dropout

_WIDEST = 512  # elements of a head that the kernel has room for
_LONGEST = 1 << 16  # keys that the kernel of the gradients has room for


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

    A query that may see no key gives zeros. Without dropout, and without a gradient of the mask,
    the L × S scores are never stored: the backward computes them again, block by block, as
    FlashAttention does (Dao et al., https://arxiv.org/abs/2205.14135).

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
        mask = None if attn_mask is None else _matrix(attn_mask, query, key)
        options = (query, key, value, mask, float(scale), is_causal)
        wanted = _wants_gradients(query, key, value)
        y = ScaledDotProductFlashAttention.apply(*options) if wanted else _attend(*options)
    return y.flatten(-4, -3) if grouped else y


def _has_kernel(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> bool:
    """Does the device have a kernel for these, and one for the gradients that are wanted? What does
    not fit together is composed too, for the messages."""
    inputs = (query, key, value) if mask is None else (query, key, value, mask)
    if min(x.ndim for x in inputs[:3]) < 2:
        return False
    (length, size), (keys, width) = query.shape[-2:], value.shape[-2:]
    wanted = _wants_gradients(*inputs)
    return (
        0 < query.storage.device.caps.attention <= length
        and not (wanted and _stores_scores(query, value, mask))
        and query.dtype.is_floating_point
        and query.dtype is not float64
        and all(x.dtype is query.dtype or (x is mask and x.dtype is bool_) for x in inputs)
        and key.shape[-2:] == (keys, size)
        and 0 < size <= _WIDEST
        and width <= _WIDEST
        and (mask is None or _spreads(mask.shape[-2:], (length, keys)))
    )


def _wants_gradients(*inputs: Tensor) -> bool:
    return autograd.mode.grad and any(x.requires_grad for x in inputs)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, causal: bool
) -> Tensor:
    xs = (q, k, v) if mask is None else (q, k, v, mask)
    return apply(ATTENTION, *xs, scale=scale, causal=causal)


def _stores_scores(query: Tensor, value: Tensor, mask: Tensor | None) -> bool:
    """Is the composition the better way to the gradients, or the only one?"""
    keys, width = value.shape[-2:]
    few = query.shape[:-1].numel() * keys < max(query.storage.device.caps.scores, 1)
    return few or not width or keys > _LONGEST or (mask is not None and mask.requires_grad)


class ScaledDotProductFlashAttention(Function):
    """Attention by its kernels, whose gradients are made together; those of the gradients come from
    the composition."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, causal: bool
    ) -> Tensor:
        out = _attend(q, k, v, mask, scale, causal)
        ctx.save_for_backward(q, k, v, mask, out)
        ctx.options = (scale, causal)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, mask, out = ctx.saved_tensors
        found = (_differentiable if autograd.mode.grad else _gradients)(ctx, g, q, k, v, mask, out)
        return (*found, None, None, None)


def _gradients(
    ctx: Any, g: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, out: Tensor
) -> list[Tensor]:
    """Those of q, k and v by the kernel, which lays them one behind the other."""
    scale, causal = ctx.options
    shares = (g.float() * out).sum(-1, keepdim=True)  # of each row of weights, Σ w ∘ (g vᵀ)
    xs = (q, k, v, g, shares, *(() if mask is None else (mask,)))
    flat = apply(ATTENTION_GRAD, *xs, scale=scale, causal=causal)
    found, at = [], 0
    for x in (q, k, v):
        shape = (*out.shape[:-2], *x.shape[-2:])
        n = math.prod(shape)
        found.append(flat[at : at + n].view(shape))
        at += n
    return found


def _differentiable(
    ctx: Any, g: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, out: Tensor
) -> list[Tensor | None]:
    """The same where they will be differentiated again."""
    scale, causal = ctx.options
    y = _composed(q, k, v, mask, 0.0, causal, scale)
    xs = [x for x, wanted in zip((q, k, v), ctx.needs_input_grad, strict=False) if wanted]
    found = iter(autograd.grad(y, xs, g, create_graph=True))
    return [next(found) if wanted else None for wanted in ctx.needs_input_grad[:3]]


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
