"""Which values are cheaper to compute again in each kernel than to write and read back.

A cheap op on one large operand in memory and small ones (``x - mean``) costs a kernel no more
traffic than its result would; so nothing is gained by storing it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Node
from ..shape import numel
from .values import CHEAP, FUSIBLE, VIRTUAL, is_reshape

_DEPTH = 6  # ops in a row that are computed again


def repeatable(order: Sequence[Node], roots: Sequence[Node], uses: dict[int, int]) -> set[int]:
    """Ids of the values to be copied to each consumer; ``order`` has sources before consumers."""
    stored = {id(r) for r in roots}
    fused = _only_fused(order)
    depth: dict[int, int] = {}  # how many ops a value is away from memory
    found: set[int] = set()
    for node in order:
        if id(node) not in fused or id(node) in stored:
            continue
        if node.op == "view" and is_reshape(node):
            large = list(node.srcs)
        elif node.op in CHEAP:
            large = [s for s in node.srcs if numel(s.shape) == numel(node.shape)]
            large = [s for s in large if s.op not in VIRTUAL]
        else:
            continue
        far = 1 + max((depth.get(id(s), 0) for s in large), default=0)
        near = all(
            id(s) in found or s.op not in FUSIBLE or id(s) in stored or uses[id(s)] > 1
            for s in large
        )
        if len({id(s) for s in large}) <= 1 and near and far <= _DEPTH:
            found.add(id(node))
            depth[id(node)] = far
    return found


def _only_fused(order: Sequence[Node]) -> set[int]:
    """Ids of the values that only kernels of elementwise ops and reductions read."""
    barred: set[int] = set()
    for node in reversed(order):
        if node.op == "view":
            bad = id(node) in barred
        else:
            bad = node.op not in FUSIBLE and node.op != "store"
        for k, s in enumerate(node.srcs):
            if bad or (k == 0 and node.op in ("take", "store")):
                barred.add(id(s))
    return {id(n) for n in order} - barred
