"""Constant folding: what depends on frozen tensors alone is computed once, not by each replay.

A batch norm in eval mode scales by ``weight / sqrt(running_var + eps)``; LoRA adds ``B @ A`` to a
weight. Such a value is folded where it has fewer bytes than the tensors it is made of, so that it
is never more to read: weights of few bits stay packed.
"""

from __future__ import annotations

from operator import attrgetter, call
from typing import Any
from weakref import ref

from .. import plan as plans
from ..graph import Node, capture
from ..runtime import Buffer
from ..shape import numel

_MOST = 1 << 24  # bytes that the folded values of a recording may take
_storage, _written = attrgetter("storage"), attrgetter("written")
_FREE = ("buffer", "number", "const", "iota", "view")


class Folded:
    """The folded values of a recording, computed again when what they are made of was written."""

    def __init__(self, nodes: list[Node], device: Any, places: dict[Any, int]) -> None:
        graph = plans.linearize(nodes)
        self.device, self.plan = device, device.planned(graph, nodes)
        self.cells = device.cells(self.plan.compiled, [n.arg for n in graph.numbers])
        self.places = [places[n.buffer] for n in graph.leaves]  # of the tensors they are made of
        self.stamp = self.writes = -1  # when the values were right
        self.read: list[Any] = []  # storages that they were made of
        leaves = [n.buffer for n in graph.leaves]
        self.buffers: list[Buffer] = device.launch(self.plan, leaves, self.cells)
        for node, buffer in zip(nodes, self.buffers, strict=True):
            node.realize(buffer)

    def current(self, everything: list[Any], value_of: Any) -> list[Buffer]:
        """The values, for the tensors as they are now."""
        stamp, last = capture.changes + capture.writes, self.writes
        if stamp != self.stamp:
            tensors = [*map(everything.__getitem__, self.places)]
            storages = [*map(_storage, tensors)]
            if [*map(call, self.read)] != storages or max(map(_written, storages)) > last:
                leaves = [*map(value_of, tensors)]
                self.buffers = self.device.launch(self.plan, leaves, self.cells)
                self.read = [*map(ref, storages)]
            self.stamp, self.writes = stamp, capture.writes
        return self.buffers


def foldable(roots: list[Node], frozen: Any) -> list[Node]:
    """The values below ``roots`` to be folded; ``frozen`` are the buffers of frozen tensors."""
    made_of = _leaves(roots, frozen)
    found: list[Node] = []
    stack, seen, left = [n for n in roots if made_of[n] is None], set(roots), _MOST
    while stack:
        node = stack.pop()
        of = made_of[node]
        if of and node.op not in _FREE:
            nbytes = _nbytes(node)
            if 0 < nbytes < sum(map(_nbytes, of)) and nbytes <= left:
                found.append(node)
                left -= nbytes
                continue
        stack += [s for s in node.srcs if s not in seen]
        seen.update(node.srcs)
    return found


def _leaves(roots: list[Node], frozen: Any) -> dict[Node, set[Node] | None]:
    """The frozen leaves that values are made of, None if they are made of others, too."""
    found: dict[Node, set[Node] | None] = {}
    stack = [*roots]
    while stack:
        node = stack[-1]
        rest = [s for s in node.srcs if s not in found]
        if rest:
            stack += rest
            continue
        stack.pop()
        if node.op == "buffer":
            found[node] = {node} if node.buffer in frozen else None
        else:
            parts = [found[s] for s in node.srcs]
            found[node] = None if None in parts else set().union(*parts)  # type: ignore[arg-type]
    return found


def _nbytes(node: Node) -> int:
    return numel(node.shape) * node.dtype.itemsize
