"""What follows a matmul or a convolution is done by its kernel, before the results are stored.

``relu(conv(x, w) + bias + x)`` costs the memory traffic of the convolution alone.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ..dtypes import float32, float64
from ..graph import Node, view
from ..ir import Epilogue
from ..shape import broadcast_strides, contiguous_strides, numel
from .values import FUSIBLE, VIRTUAL, base_of, peel


class Ended(NamedTuple):
    """The argument of a node with an epilogue; its last sources are bias and residual."""

    arg: Any  # of the op itself
    end: Epilogue


def ended(node: Node, srcs: tuple[Node, ...], uses: dict[int, int]) -> Node | None:
    """The product with ``node``'s op in its epilogue; None if that is no way to end a product."""
    if node.op not in ("add", "maximum", "minimum"):
        return None
    for k in (0, 1):
        product = peel(srcs[k])
        once = all(uses.get(id(n), 2) <= 1 for n in (node.srcs[k], srcs[k], product))
        if product.op not in ("matmul", "conv2d") or not once:
            continue
        if numel(node.shape) != numel(product.shape) or product.dtype not in (float32, float64):
            continue
        arg, end = _parts(product)
        other = srcs[1 - k]
        grown = _sum(product, end, node, other) if node.op == "add" else _limit(end, node, other)
        if grown is not None:
            more = (other,) if node.op == "add" else ()
            out = Node(
                product.op, product.srcs + more, product.shape, product.dtype, Ended(arg, grown)
            )
            uses[id(out)] = uses.get(id(node), 1)
            if node.shape == out.shape:
                return out
            return view(out, node.shape, contiguous_strides(node.shape), 0)
    return None


def _parts(product: Node) -> tuple[Any, Epilogue]:
    arg = product.arg
    return (arg.arg, arg.end) if isinstance(arg, Ended) else (arg, Epilogue())


def _sum(product: Node, end: Epilogue, node: Node, other: Node) -> Epilogue | None:
    """Adds a bias, or after it a residual."""
    if end.low > -math.inf or end.high < math.inf or end.residual is not None:
        return None
    if other.dtype is not product.dtype or other.op in VIRTUAL or not _in_memory(other):
        return None
    place = len(product.srcs)
    if end.bias is None and _per_channel(product, node, other):
        return end._replace(bias=place)
    if peel(other).op != "view" and numel(other.shape) == numel(node.shape):
        return end._replace(residual=place)
    return None


def _in_memory(s: Node) -> bool:
    """Is it there anyway, rather than computed by the kernel that would add it?"""
    return base_of(s).op not in FUSIBLE


def _per_channel(product: Node, node: Node, other: Node) -> bool:
    """One value per column of a matmul or channel of a convolution?"""
    dim = len(node.shape) - 1 if product.op == "matmul" else 1
    channels = product.shape[-1] if product.op == "matmul" else product.shape[1]
    if product.op == "conv2d" and node.shape != product.shape:
        return False
    if numel(other.shape) != channels or node.shape[dim] != channels or peel(other).op == "view":
        return False
    strides = broadcast_strides(other.shape, contiguous_strides(other.shape), node.shape)
    return all(s == 0 or d == dim or node.shape[d] == 1 for d, s in enumerate(strides))


def _limit(end: Epilogue, node: Node, other: Node) -> Epilogue | None:
    """A limit that is a number of the program's text, as relu's; numbers in slots may change."""
    if other.op != "const" or other.shape:
        return None
    if node.op == "maximum" and end.low == -math.inf and end.high == math.inf:
        return end._replace(low=float(other.arg))
    if node.op == "minimum" and end.high == math.inf:
        return end._replace(high=float(other.arg))
    return None
