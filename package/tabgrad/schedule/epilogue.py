"""What follows a matmul or a convolution is done by its kernel, before the results are stored.

``relu(conv(x, w) * scale + bias + x)``, with a batch norm in eval, costs the memory traffic of the
convolution alone.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from typing import Any, NamedTuple

from ..dtypes import float32, float64
from ..graph import Node, view
from ..ir import Epilogue
from ..shape import Shape, broadcast_strides, contiguous_strides, numel
from .values import FUSIBLE, VIRTUAL, Caps, base_of, peel


class Ended(NamedTuple):
    """The argument of a node with an epilogue; its last sources are bias and residual."""

    arg: Any  # of the op itself
    end: Epilogue


Parts = tuple[tuple[Node, ...], Epilogue]  # sources and epilogue of a product


def ended(caps: Caps, node: Node, srcs: tuple[Node, ...], uses: dict[int, int]) -> Node | None:
    """The product with ``node``'s op in its epilogue; None if that is no way to end a product."""
    grow = _GROW.get(node.op)
    if not caps.epilogues or grow is None:
        return None
    for k in (0, 1):
        product = peel(srcs[k])
        once = all(uses.get(id(n), 2) <= 1 for n in (node.srcs[k], srcs[k], product))
        if product.op not in ("matmul", "conv2d") or not once:
            continue
        if numel(node.shape) != numel(product.shape) or product.dtype not in (float32, float64):
            continue
        own, end = _parts(product)
        found = grow(product, end, node, srcs[1 - k])
        if found is not None:
            arg = own if found[1] == Epilogue() else Ended(own, found[1])
            out = Node(product.op, found[0], product.shape, product.dtype, arg)
            uses |= {id(s): 1 for s in found[0][1:] if id(s) not in uses}
            uses[id(out)] = uses.get(id(node), 1)
            return _shaped(out, node.shape)
    return None


def _shaped(x: Node, shape: Shape) -> Node:
    return x if x.shape == shape else view(x, shape, contiguous_strides(shape), 0)


def _parts(product: Node) -> tuple[Any, Epilogue]:
    arg = product.arg
    return (arg.arg, arg.end) if isinstance(arg, Ended) else (arg, Epilogue())


def _sum(product: Node, end: Epilogue, node: Node, other: Node) -> Parts | None:
    """Adds a bias, or after it a residual."""
    if not _linear(end) or other.dtype is not product.dtype:
        return None
    srcs = product.srcs
    if _per_channel(product, node, other):
        if end.bias is None:
            return (*srcs, other), end._replace(bias=len(srcs))
        if numel(other.shape) < numel(node.shape):
            return _with(srcs, end.bias, "add", other), end
    plain = peel(other).op not in ("view", *VIRTUAL)
    if plain and base_of(other).op not in FUSIBLE and numel(other.shape) == numel(node.shape):
        return (*srcs, other), end._replace(residual=len(srcs))  # it is in memory anyway
    return None


def _linear(end: Epilogue) -> bool:
    """Is nothing done yet that a further factor or bias would have to come after?"""
    return end._replace(bias=None, factor=None) == Epilogue()


def _multiplied(product: Node, end: Epilogue, node: Node, other: Node) -> Parts | None:
    """Times a value per channel, and so the bias."""
    srcs = product.srcs
    if not _linear(end) or not _per_channel(product, node, other):
        return None
    if other.dtype is not product.dtype:
        return None
    if end.bias is not None:
        srcs = _with(srcs, end.bias, "mul", other)
    if end.factor is not None:
        return _with(srcs, end.factor, "mul", other), end
    return (*srcs, other), end._replace(factor=len(srcs))


def _with(srcs: tuple[Node, ...], k: int, op: str, other: Node) -> tuple[Node, ...]:
    """The sources with another value per channel in the k-th."""
    return (*srcs[:k], _both(op, srcs[k], other), *srcs[k + 1 :])


def _both(op: str, a: Node, b: Node) -> Node:
    """One value per channel from two."""
    shape = (numel(a.shape),)
    return Node(op, (_shaped(a, shape), _shaped(b, shape)), shape, a.dtype)


def _per_channel(product: Node, node: Node, other: Node) -> bool:
    """One value per column of a matmul or channel of a convolution?"""
    dim = len(node.shape) - 1 if product.op == "matmul" else 1
    channels = product.shape[-1] if product.op == "matmul" else product.shape[1]
    if product.op == "conv2d" and node.shape != product.shape:
        return False
    if numel(other.shape) != channels or node.shape[dim] != channels:
        return False
    if peel(other).op in ("view", *VIRTUAL):
        return False
    strides = broadcast_strides(other.shape, contiguous_strides(other.shape), node.shape)
    return all(s == 0 or d == dim or node.shape[d] == 1 for d, s in enumerate(strides))


def _limit(product: Node, end: Epilogue, node: Node, other: Node) -> Parts | None:
    """A limit that is a number of the program's text, as relu's; numbers in slots may change."""
    if other.op != "const" or other.shape or not math.isfinite(other.arg):
        return None
    if array("f", [other.arg])[0] != other.arg:
        return None
    if node.op == "maximum" and end.low == -math.inf and end.high == math.inf:
        return product.srcs, end._replace(low=float(other.arg))
    if node.op == "minimum" and end.high == math.inf:
        return product.srcs, end._replace(high=float(other.arg))
    return None


_GROW: dict[str, Callable[[Node, Epilogue, Node, Node], Parts | None]] = {
    "add": _sum, "mul": _multiplied, "maximum": _limit, "minimum": _limit,
}  # fmt: skip
