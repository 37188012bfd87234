"""Multi-head attention."""

from __future__ import annotations

import math
from typing import Any

from .. import creation
from ..tensor import Tensor
from . import functional as F
from . import init
from ._linear import NonDynamicallyQuantizableLinear
from .functional._attention import _is_bool
from .module import Module
from .parameter import Parameter


class MultiheadAttention(Module):
    """Attention in several heads: softmax(q · kᵀ / √d) · v in each, and a linear map of them all.

    Args:
        embed_dim: size of the embedding, divided among the heads.
        num_heads: number of heads.
        dropout: probability with which weights are dropped while training.
        bias: whether the projections have biases.
        add_bias_kv: whether a learnt key and value are added.
        add_zero_attn: whether a key and value of zeros are added.
        kdim: size of the keys, embed_dim if not given.
        vdim: size of the values, embed_dim if not given.
        batch_first: (N, L, E) rather than (L, N, E).

    Shape:
        query (L, N, E), key (S, N, E), value (S, N, E), or without N;
        output (L, N, E) and weights (N, L, S), or (N, heads, L, S).

    Examples::

        >>> attention = nn.MultiheadAttention(8, num_heads=2, batch_first=True)
        >>> x = torch.randn(3, 5, 8)
        >>> out, weights = attention(x, x, x)
        >>> out.shape, weights.shape
        (torch.Size([3, 5, 8]), torch.Size([3, 5, 5]))
    """

    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                "embed_dim and num_heads must be greater than 0, got "
                f"embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError("embed_dim must be divisible by num_heads")

        def new(wanted: bool, *shape: int) -> Parameter | None:
            return Parameter(creation.empty(shape, device=device, dtype=dtype)) if wanted else None

        joined, e = self._qkv_same_embed_dim, embed_dim
        if joined:
            self.register_parameter("in_proj_weight", new(True, 3 * e, e))
        for name, size in (("q", e), ("k", self.kdim), ("v", self.vdim)):
            self.register_parameter(f"{name}_proj_weight", new(not joined, e, size))
        if not joined:
            self.register_parameter("in_proj_weight", None)
        self.register_parameter("in_proj_bias", new(bias, 3 * e))
        self.out_proj = NonDynamicallyQuantizableLinear(e, e, bias, device, dtype)
        self.bias_k = new(add_bias_kv, 1, 1, e)
        self.bias_v = new(add_bias_kv, 1, 1, e)
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        weights = [self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        for weight in weights:
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None and self.out_proj.bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        if is_causal and attn_mask is None:
            raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
        one = query is key is value
        unbatched = query.ndim == 2
        if unbatched:
            query, key, value = (x.unsqueeze(0) for x in (query, key, value))
            if key_padding_mask is not None:
                key_padding_mask = key_padding_mask.unsqueeze(0)
        elif not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        n, length = query.shape[:2]
        q, k, v = self._projected(query, key, value, one)
        extra = k.shape[1] - key.shape[1]
        # the hint is the caller's word that the mask is the causal one
        causal = is_causal and not need_weights and key_padding_mask is None and not extra
        mask = None if causal else self._mask(q, n, attn_mask, key_padding_mask, extra)
        q, k, v = (self._split(x) for x in (q, k, v))  # (N, H, L or S, D)
        weights = None
        if need_weights:
            scores = (q / math.sqrt(self.head_dim)) @ k.transpose(-2, -1)
            weights = F.softmax(scores if mask is None else scores + mask, -1)
            weights = F.dropout(weights, self.dropout, self.training)
            out = weights @ v
        else:
            dropout = self.dropout if self.training else 0.0
            out = F.scaled_dot_product_attention(q, k, v, mask, dropout, causal)
        out = self.out_proj(out.transpose(1, 2).reshape(n, length, self.embed_dim))
        if weights is not None and average_attn_weights:
            weights = weights.mean(-3)
        if unbatched:
            return out.squeeze(0), None if weights is None else weights.squeeze(0)
        return out if self.batch_first else out.transpose(0, 1), weights

    def _projected(self, query: Tensor, key: Tensor, value: Tensor, one: bool) -> list[Tensor]:
        """Queries, keys and values (N, L or S, E), with the keys and values that are added.

        one: all three come from the same tensor.
        """
        joined = self.in_proj_weight
        if one and joined is not None:
            q, k, v = F.linear(query, joined, self.in_proj_bias).chunk(3, -1)
        else:
            apart = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
            weights = apart if joined is None else joined.chunk(3)
            biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
            triples = zip((query, key, value), weights, biases, strict=True)
            q, k, v = (F.linear(x, w, b) for x, w, b in triples)
        if self.bias_k is not None and self.bias_v is not None:
            k, v = (_appended(x, b) for x, b in ((k, self.bias_k), (v, self.bias_v)))
        if self.add_zero_attn:
            zeros = k.new_zeros((1, 1, self.embed_dim))
            k, v = _appended(k, zeros), _appended(v, zeros)
        return [q, k, v]

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def _mask(
        self, q: Tensor, n: int, attn: Tensor | None, padding: Tensor | None, extra: int
    ) -> Tensor | None:
        """What is added to the scores: minus infinity where a mask of bools is True."""
        total = None
        if attn is not None:
            attn = _additive(attn, q)
            total = attn.reshape(n, -1, *attn.shape[-2:]) if attn.ndim == 3 else attn
        if padding is not None:
            padding = _additive(padding, q)[:, None, None, :]
            total = padding if total is None else total + padding
        return total if total is None or not extra else F.pad(total, (0, extra))


def _appended(x: Tensor, row: Tensor) -> Tensor:
    from ..functions.movement import cat

    return cat([x, row.expand(x.shape[0], 1, x.shape[2])], 1)


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    if not _is_bool(mask):
        return mask
    return like.new_zeros(mask.shape).masked_fill(mask, -math.inf)
