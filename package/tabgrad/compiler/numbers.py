"""The numbers of an optimizer while its step is recorded: learning rates, counts of steps."""

from __future__ import annotations

from typing import Any

from ..live import Book, Live
from ..optim.optimizer import NUMBERS, Optimizer

Dirty = set[tuple[int, Any]]  # entries of dicts that the call changed before


class Numbers:
    """Groups and states with ``Live`` in the place of their numbers, until ``settle``."""

    def __init__(self, optimizer: Optimizer, dirty: Dirty) -> None:
        self.optimizer, self.dirty = optimizer, dirty
        self.book = Book()
        self.groups = [(g, dict(g)) for g in optimizer.param_groups]
        for i, (g, old) in enumerate(self.groups):
            for k, v in old.items():
                g[k] = self._of_group(i, g, k, v)
        kinds: dict[Any, int] = {}  # states that have counted equally far share their numbers
        for entry in optimizer.state.values():
            for k in NUMBERS:
                if _is_number(entry.get(k)):
                    name = k, kinds.setdefault((k, entry[k]), len(kinds))
                    entry[k] = self.book.source(name, entry, k, None, (id(entry), k) in dirty)

    def _of_group(self, i: int, g: dict[str, Any], k: str, v: Any) -> Any:
        changed = (id(g), k) in self.dirty
        if _is_number(v):
            return self.book.source((i, k), g, k, None, changed)
        if type(v) is tuple and v and all(map(_is_number, v)):
            return tuple(self.book.source((i, k), g, k, j, changed) for j in range(len(v)))
        return v

    def settle(self) -> list[tuple[dict[Any, Any], Any, int]]:
        """Puts plain numbers back; gives what the step changed: dict, key, number in the book."""
        sources = {s.number for s in self.book.sources}
        assigned = []
        for g, old in self.groups:
            for k, v in g.items():
                if type(v) is tuple and v and all(type(x) is Live for x in v):
                    g[k] = old[k]
        for place in [*self.optimizer.state.values(), *(g for g, _ in self.groups)]:
            for k, v in place.items():
                if type(v) is Live:
                    if v.index not in sources:
                        assigned.append((place, k, v.index))
                        self.dirty.add((id(place), k))
                    place[k] = self.book.values[v.index]
        return assigned


def _is_number(v: Any) -> bool:
    return type(v) is float or type(v) is int
