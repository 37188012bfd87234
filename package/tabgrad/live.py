"""Numbers that will be others when a recording is replayed: learning rates, counts of steps.

While ``tabgrad.compile`` records an optimizer's step, the numbers of its groups and states are
``Live``: arithmetic on them is written down in a ``Book``, which a replay evaluates with the
numbers of its own call. What Python decides by one of them becomes a condition of the recording.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple


class Source(NamedTuple):
    """Where a number comes from: ``place[key]``, or an item of the tuple there."""

    number: int  # in the book
    place: dict[Any, Any]
    key: Any
    item: int | None
    also: list[dict[Any, Any]]  # places that held the same number, and must again


class Book:
    """Expressions over numbers, each written once; ``values`` are those of the recorded call."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.steps: list[tuple[int, Callable[[Any, Any], Any], int, int]] = []
        self.sources: list[Source] = []
        self.conditions: list[tuple[int, Any]] = []  # what an entry must be again
        self.dirty: set[int] = set()  # entries that depend on what the call itself changed before
        self.undecidable = False  # a condition on one of those: known too late at a replay
        self.open = True
        self._known: dict[Any, int] = {}

    def entry(self, key: Any, value: Any) -> int:
        """The number of an expression, a new one if it was not there."""
        k = self._known.get(key)
        if k is None:
            k = self._known[key] = len(self.values)
            self.values.append(value)
        return k

    def source(
        self, name: Any, place: dict[Any, Any], key: Any, item: int | None, dirty: bool
    ) -> Live:
        """A number read from a dict; those of one name are one number."""
        value = place[key] if item is None else place[key][item]
        n = len(self.values)
        k = self.entry(("source", name, key, item), value)
        if k == n:
            self.sources.append(Source(k, place, key, item, []))
            if dirty:
                self.dirty.add(k)
        else:
            next(s for s in self.sources if s.number == k).also.append(place)
        return Live(self, k)

    def apply(self, f: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
        """``f(a, b)`` of Lives and plain numbers."""
        if not self.open:
            return f(_plain(a), _plain(b))
        i, j = self._index(a), self._index(b)
        n = len(self.values)
        k = self.entry((f, i, j), f(self.values[i], self.values[j]))
        if k == n:
            self.steps.append((k, f, i, j))
            if i in self.dirty or j in self.dirty:
                self.dirty.add(k)
        return Live(self, k)

    def _index(self, x: Any) -> int:
        return x.index if type(x) is Live else self.entry((type(x), repr(x)), x)

    def decide(self, x: Live) -> Any:
        """The plain value of a number that Python looks at: it must be the same again."""
        value = self.values[x.index]
        if self.open:
            self.undecidable |= x.index in self.dirty
            if (x.index, value) not in self.conditions:
                self.conditions.append((x.index, value))
        return value

    def evaluate(self, values: list[Any]) -> bool:
        """Brings a copy of ``values`` up to date; False if a condition does not hold."""
        for number, place, key, item, also in self.sources:
            v = place[key] if item is None else place[key][item]
            if type(v) is not float and type(v) is not int:
                return False
            for other in also:
                if other[key] != v:
                    return False
            values[number] = v
        for k, f, i, j in self.steps:
            values[k] = f(values[i], values[j])
        return all(values[k] == expected for k, expected in self.conditions)

    def signature(self) -> Any:
        """Equal for recordings that compute alike."""
        return list(self._known), list(self.conditions)


def _plain(x: Any) -> Any:
    return x.book.values[x.index] if type(x) is Live else x


class Live:
    """A number with its expression. Deliberately no float: C functions would take its value
    without asking."""

    __slots__ = ("book", "index")

    def __init__(self, book: Book, index: int) -> None:
        self.book, self.index = book, index

    @property
    def value(self) -> Any:
        """The number at the recorded call; whoever asks takes care of the next."""
        return self.book.values[self.index]

    def __bool__(self) -> bool:
        return bool(self.book.decide(self.book.apply(_truth, self, 0)) if self.book.open
                    else self.value)  # fmt: skip

    def __float__(self) -> float:
        return float(self.book.decide(self))

    def __int__(self) -> int:
        return int(self.book.decide(self))

    def __hash__(self) -> int:
        return hash(self.book.decide(self))

    def __repr__(self) -> str:
        return repr(self.book.decide(self))

    def __format__(self, spec: str) -> str:
        return format(self.book.decide(self), spec)

    def __neg__(self) -> Any:
        return self.book.apply(_neg, self, 0)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return self.book.apply(_abs, self, 0)


def _truth(a: Any, _: Any) -> bool:
    return bool(a)


def _neg(a: Any, _: Any) -> Any:
    return -a


def _abs(a: Any, _: Any) -> Any:
    return abs(a)


def _sqrt(a: Any, _: Any) -> float:
    return math.sqrt(a)


def sqrt(x: Any) -> Any:
    """The square root of a number, Live or not."""
    return x.book.apply(_sqrt, x, 0) if type(x) is Live else math.sqrt(x)


def _operators() -> None:
    def arithmetic(f: Callable[[Any, Any], Any]) -> Any:
        def op(self: Live, other: Any) -> Any:
            known = isinstance(other, Live | int | float)
            return self.book.apply(f, self, other) if known else NotImplemented

        def reflected(self: Live, other: Any) -> Any:
            known = isinstance(other, int | float)
            return self.book.apply(f, other, self) if known else NotImplemented

        return op, reflected

    def comparison(f: Callable[[Any, Any], Any]) -> Any:
        def op(self: Live, other: Any) -> Any:
            if not isinstance(other, Live | int | float):
                return NotImplemented
            found = self.book.apply(f, self, other)
            return found.book.decide(found) if type(found) is Live else found

        return op

    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
        op, reflected = arithmetic(getattr(operator, name))
        setattr(Live, f"__{name}__", op)
        setattr(Live, f"__r{name}__", reflected)
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(Live, f"__{name}__", comparison(getattr(operator, name)))


_operators()
