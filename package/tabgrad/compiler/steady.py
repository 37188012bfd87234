"""What a replay leaves behind, used again by the next one.

Written storages and gradients get new values at every step. Where nobody but the recording has
taken hold of the objects of the last step, their buffers merely get other handles: no tensor,
storage or node is made. Whether somebody has, the reference counts tell.
"""

from __future__ import annotations

from operator import is_
from sys import getrefcount
from typing import Any

from ..plan import IN_A_LIST
from ..runtime import Buffer


class Steady:
    """The objects of one recording's last replay."""

    news: list[int]  # tensors and storages that every replay makes
    fresh: list[int]
    lent: list[int]  # results that the memory of the last ones is given to

    def __init__(self, plan: Any, results: list[int], slots: list[tuple[int, int]]) -> None:
        self.plan = plan  # writes over old values of storages where it can
        # that go to written storages, then those that go to gradients; ~k: over the old leaf k
        self.results = results
        own = {k for k in results if k >= 0}
        # (root, number of its result or ~k for leaf k) of those that get buffers of their own
        self.others = [(root, k) for root, k in enumerate(plan.outs) if k not in own]
        self.slots = slots  # (object whose gradient it is, new tensor)
        # besides a list of what is kept: nodes, buffers and storages are where they belong and in a
        # list each, gradients in the list of all that was there before a call, too
        others = 2 * len(results) + len(slots)
        self.counts = [IN_A_LIST + 2] * others + [IN_A_LIST + 3] * len(slots)
        self.forget()

    def forget(self) -> None:
        """Holds nothing any more."""
        self.nodes: list[Any] = []
        self.buffers: list[Buffer] = []
        self.grads: list[Any] = []
        self.cells: list[Any] = []
        self.kept: list[Any] = []

    def remember(self, written: list[Any], everything: list[Any]) -> None:
        """Takes hold of what was just left behind: ``written`` storages, gradients."""
        self.grads = [everything[i].grad for i, _ in self.slots]
        self.cells = [g.storage for g in self.grads]
        self.nodes = [s.node for s in [*written, *self.cells]]
        self.buffers = [node.buffer for node in self.nodes]
        self.kept = [*self.nodes, *self.buffers, *self.cells, *self.grads]

    def holds(self, written: list[Any], everything: list[Any], n: int) -> bool:
        """Whether all of it is still in its place and in nobody else's hands; else lets it go."""
        found = bool(self.kept) and self._in_place(written, everything, n)
        if not found or [*map(getrefcount, self.kept)] != self.counts:
            self.forget()
        return bool(self.kept)

    def _in_place(self, written: list[Any], everything: list[Any], n: int) -> bool:
        for (i, _), g, s in zip(self.slots, self.grads, self.cells, strict=True):
            if everything[n + i] is not g or g.storage is not s:
                return False
            g._node = g._seen = None  # who has read a value does not hold it
        nodes = [s.node for s in [*written, *self.cells]]
        return all(map(is_, nodes, self.nodes))

    def lend(self, device: Any) -> None:
        """Gives the memory of gradients that nobody needs to the run that makes others."""
        for buffer in map(self.buffers.__getitem__, self.lent):
            device.release(buffer.handle)
            buffer.handle = None

    def made(self, device: Any, handles: list[Any], leaves: list[Buffer]) -> dict[int, Buffer]:
        """Buffers by root, but for those that ``renew`` takes care of."""
        nbytes = self.plan.nbytes
        new = {k: Buffer(device, handles[k], nbytes[k]) for _, k in self.others if k >= 0}
        return {root: new[k] if k >= 0 else leaves[~k] for root, k in self.others}

    def renew(self, device: Any, handles: list[Any], leaves: list[Buffer]) -> None:
        """Puts the results of a run in the place of the last one's."""
        old = [buffer.handle for buffer in self.buffers]
        new = [handles[k] if k >= 0 else leaves[~k].handle for k in self.results]
        for buffer, handle in zip(self.buffers, new, strict=True):
            buffer.handle = handle
        taken = {*map(id, [*new, None])}
        for handle in old:
            if id(handle) not in taken:
                device.release(handle)


def steady(rec: Any, in_place: Any, out_places: set[int]) -> Steady | None:
    """Whether a recording's results can go where the last ones were: each to one written storage
    or one new gradient, and to nothing else; and no result shows what was there."""
    if rec.plan is None or rec.new_states or not (rec.writes or rec.new_grads):
        return None
    if rec.backward is not None:
        return None  # it keeps buffers for later, old ones of written storages perhaps among them
    if rec.shown or rec.shared & {w.storage for w in rec.writes}:
        return None
    slots = [(i, ~k) for i, k in rec.new_grads if k is not None and k < 0]
    if len(slots) != len(rec.new_grads) or any(rec.news[j].storage >= 0 for _, j in slots):
        return None
    tensors = [j for _, j in slots]
    cells = [~rec.news[j].storage for j in tensors]
    others = [~n.storage for j, n in enumerate(rec.news) if j not in tensors and n.storage < 0]
    values = [w.value for w in rec.writes] + [rec.fresh[c].value for c in cells]
    if (
        len(set(tensors)) != len(tensors) or len(set(cells)) != len(cells)
        or set(cells) & set(others) or any(~j in out_places for j in tensors)
        or any(rec.news[j].base is not None or rec.news[j].counted for j in tensors)
        or any(kind != "root" for kind, _, _ in values)
    ):  # fmt: skip
        return None
    results = [rec.plan.outs[k] for _, k, _ in values]
    mine = {k for _, k, _ in values}  # roots
    rest = [r for k, r in enumerate(rec.plan.outs) if k not in mine]
    rest += [rec.plan.outs[f.value[1]] for c, f in enumerate(rec.fresh)
             if c not in cells and f.value[0] == "root"]  # fmt: skip
    if min(results) < 0 or len(set(results)) != len(results) or set(results) & set(rest):
        return None
    plan = rec.plan
    if in_place is not None and _fits(in_place.outs, rec.plan.outs, mine):
        plan, results = in_place, [in_place.outs[k] for _, k, _ in values]
    made = Steady(plan, results, slots)
    made.lent = [len(rec.writes) + j for j, (i, _) in enumerate(slots) if i in rec.dropped]
    made.news = [j for j in range(len(rec.news)) if j not in tensors]
    made.fresh = [c for c in range(len(rec.fresh)) if c not in cells]
    return made


def _fits(in_place: list[int], plain: list[int], mine: set[int]) -> bool:
    """Does a plan give all roots but ``mine`` memory of their own, as the plain one does?"""
    shared = [in_place.count(r) > 1 for k, r in enumerate(in_place) if k in mine]
    others = [(a, b) for k, (a, b) in enumerate(zip(in_place, plain, strict=True)) if k not in mine]
    return not any(shared) and all(a >= 0 if b >= 0 else a == b for a, b in others)
