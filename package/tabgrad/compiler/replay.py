"""A recording, and its replay: checks, one run, and the results put where the call left them."""

from __future__ import annotations

from itertools import repeat
from operator import attrgetter, call, is_not
from typing import Any, NamedTuple
from weakref import ref

from ..graph import Storage, capture, leaf
from ..runtime import Buffer, Device
from ..tensor import Counter, Tensor
from .fold import Folded
from .lent import cut
from .steady import Steady, steady
from .watch import facts

_grad, _storage, _history = attrgetter("grad"), attrgetter("storage"), attrgetter("_grad_fn")
_node, _buffer, _op = attrgetter("storage.node"), attrgetter("buffer"), attrgetter("op")
_tracked = attrgetter("_requires_grad")

Value = tuple[str, int, Any]  # "root" or "source", its number, (shape, dtype)


class Draw(NamedTuple):
    """Random numbers that each call draws anew."""

    device: Device
    dtype: Any
    n: int
    generator: Any
    f: Any
    args: Any

    def again(self) -> Buffer:
        """The next ones of the stream."""
        return self.device.upload(self.f(self.generator.engine, *self.args), self.dtype, self.n)


class Fresh(NamedTuple):
    """A storage that the call makes."""

    value: Value
    nelems: int
    version: int
    generation: int


class Write(NamedTuple):
    """A storage that the call writes to."""

    storage: int
    value: Value
    version: int  # by how much the counters grow
    generation: int


class New(NamedTuple):
    """A tensor that the call makes."""

    cls: type
    attrs: dict[str, Any]
    storage: int  # a known one, or ~k for fresh one k
    base: int | None
    number: int  # among the results with a history, or -1
    counted: bool


def argument_facts(x: Tensor, window: bool) -> tuple[Any, ...]:
    """What a recording takes for granted of an argument."""
    known = facts(x)
    if window:  # it may lie anywhere, in a storage of any size
        known = known[:3] + known[4:5] + known[6:]
    return (*known, x.requires_grad, x.grad_fn is None)


class Recording:
    """One way through a function: what must hold for it, and what it does."""

    def __init__(
        self, recorder: Any, device: Device, plans: Any, leaves: list[int], values: list[Any],
        live: list[Any], make: Any, writes: list[Write], grads: Any, states: Any, backward: Any,
        folded: Folded | None,
    ) -> None:  # fmt: skip
        plan, in_place = plans
        self.device, self.plans, self.plan = device, device.plans, plan
        self.leaves, self.values, self.live = leaves, values, live
        self.make, self.writes, self.new_grads, self.new_states = make, writes, grads, states
        self.backward, self.folded = backward, folded
        self.watch = recorder.watch
        self.sources = recorder.sources
        self.owner = recorder.owner
        self.windows = {
            recorder.known_of[id(recorder.tensors[i].storage)]: i for i in recorder.windows
        }
        self.news, self.fresh = recorder.news, recorder.fresh
        self.books, self.events = recorder.books, recorder.events
        self.n_args = len(recorder.tensors)
        self.same = [recorder.index[id(t)] for t in recorder.tensors]
        fixed = self.watch.fixed
        self.views = [x for x in fixed if x._base is not None]
        self.tracked = [*map(_tracked, fixed)]
        self.attached = [*map(is_not, map(_history, fixed), repeat(None))]
        self.had_grads = [g is not None for g in recorder.grads] if recorder.grads_matter else None
        self.places = recorder.places
        self.shared = self._find_shared()
        self._find_members(recorder)
        self.cells = None if live or plan is None else device.cells(plan.compiled, values)
        self.why = ""
        self.n_objects = len(recorder.objects)
        self.written = [self.owner[w.storage] for w in self.writes]
        plain = all(kind == "storage" and k not in self.windows for kind, k in self.sources)
        self.read = [self.owner[k] for _, k in self.sources] if plain else None
        self.all_fresh, self.all_news = range(len(self.fresh)), range(len(self.news))
        self.steady = steady(self, in_place, recorder.out_places)
        self._find_pure(recorder.out_places)

    def __repr__(self) -> str:
        watch = self.watch
        return (
            f"recording of {len(self.sources)} buffers read, {len(self.writes)} storages written, "
            f"{len(self.news)} new tensors; {len(watch.fixed)} tensors, {len(watch.modules)} "
            f"modules and {len(watch.polls) + len(watch.cells) + len(watch.checks)} values watched"
        )

    def _find_members(self, recorder: Any) -> None:
        """Which tensors' storages matter: those of arguments and watched tensors, and of gradients
        and states that are read or written."""
        used = {k for s in self.sources if s[0] == "storage" for k in [s[1]]}
        used |= {w.storage for w in self.writes} | {n.storage for n in self.news if n.storage >= 0}
        n = len(recorder.objects)
        everything = recorder.everything
        self._find_replaced(recorder, used)
        if not recorder.grads_matter and any(n <= recorder.owner[k] < 2 * n for k in used):
            self.had_grads = [g is not None for g in recorder.grads]
        self.members = [
            i for i, x in enumerate(everything)
            if i < n or (x is not None and recorder.known_of[id(x.storage)] in used)
            or any(new.base == i for new in self.news)
        ]  # fmt: skip
        self.used_slots = [i for i in self.members if i >= n]
        self.slot_facts = [recorder.facts[i] for i in self.used_slots]
        self.aliases = aliased([recorder.aliases[i] for i in self.members])
        self.storages: list[int] = []  # of the last call: their ids

    def _find_shared(self) -> set[int]:
        """Storages whose old values are values of results."""
        found = {k for f in self.fresh for kind, k, _ in [f.value] if kind == "source"}
        if self.plan is not None:
            found |= {self.leaves[~k] for k in self.plan.outs if k < 0}
        return {k for kind, k in map(self.sources.__getitem__, found) if kind == "storage"}

    def _find_pure(self, out_places: set[int]) -> None:
        """Whether it does nothing but compute results from tensors: then nothing has to be looked
        at again as long as no storage and no history is replaced anywhere."""
        n = self.n_args
        self.pure = (
            self.had_grads is None and not (self.used_slots or self.writes or self.events)
            and max(out_places, default=0) < self.n_objects and self.read is not None
        )  # fmt: skip
        roots = {f.value[1] for f in self.fresh if f.value[0] == "root"}
        self.plain = (  # each result is computed, and in a storage of its own
            self.pure and self.cells is not None and len(roots) == len(self.fresh)
            and not (self.backward or self.new_grads or self.new_states)
        )  # fmt: skip
        # each argument has a storage of its own
        self.apart = self.aliases[:n] == self.same == [*range(n)]
        self.apart &= min(self.aliases[n:], default=n) >= n
        # sources that are arguments
        self.given = [(k, i) for k, i in enumerate(self.read or ()) if i < n]
        self.stamp = -1  # when everything was looked at
        self.taken: set[int] = set()  # names of the storages of what is not an argument, then
        self.held: list[Any] = []  # and the buffers of the sources

    def _find_replaced(self, recorder: Any, used: set[int]) -> None:
        """Gradients that others take the place of: which of them nobody needs while the call
        computes (``dropped``), and whether results show any of them (``shown``)."""
        news, index = self.news, recorder.index
        places = {n.base for n in news} | recorder.out_places
        places |= {k for _, k in [*self.new_grads, *self.new_states]}
        places |= {*(self.backward.edges if self.backward else ())}
        shown = {n.storage for n in news} | self.shared
        self.dropped, self.shown = [], False
        for i, _ in self.new_grads:
            g = recorder.grads[i]
            if g is not None:
                s, placed = recorder.known_of[id(g.storage)], index[id(g)] in places
                self.shown |= placed or s in shown
                if not placed and s not in used:
                    self.dropped.append(i)

    # --- checking -------------------------------------------------------------------------------

    def fits(self, tensors: list[Tensor]) -> list[Any] | None:
        """The tensors that were there before the call, if the recording is right for them."""
        if not self.watch.holds():
            self.why = self.watch.why
            return None
        if self.plans is not self.device.plans:
            self.why = "the device is another"
            return None
        fixed = self.watch.fixed
        if self.stamp == capture.changes + capture.writes and self._come_apart(tensors):
            return [*tensors, *fixed]
        found = self._look_at_all(tensors, fixed)
        if found is not None and self.pure:
            self.stamp = capture.changes + capture.writes
            self.taken = {*self.storages[self.n_args :]}
            self.held = []
        return found

    def _come_apart(self, tensors: list[Tensor]) -> bool:
        """Whether arguments share memory with nothing else, as when they were recorded."""
        if not tensors:
            return self.apart
        names = {*map(id, map(_storage, tensors))}
        return self.apart and len(names) == self.n_args and self.taken.isdisjoint(names)

    def _look_at_all(self, tensors: list[Tensor], fixed: list[Tensor]) -> list[Any] | None:
        for x in self.views:
            x.grad_fn  # noqa: B018 (a view whose base was written looks its history up again)
        histories = map(_history, fixed)
        if [*map(_tracked, fixed)] != self.tracked or [
            *map(is_not, histories, repeat(None))
        ] != self.attached:
            self.why = "requires_grad of a tensor, or its history"
            return None
        objects = [*tensors, *fixed]
        grads = [*map(_grad, objects)]
        found = map(is_not, grads, repeat(None))
        if self.had_grads is not None and [*found] != self.had_grads:
            self.why = "a gradient that was there is None, or the other way round"
            return None
        everything = [*objects, *grads, *[place.get(key) for place, key in self.places]]
        if tensors and aliased([*map(id, tensors)]) != self.same:
            self.why = "which arguments are the same tensor"
            return None
        if not self._slots_fit(everything):
            return None
        storages = [*map(id, map(_storage, map(everything.__getitem__, self.members)))]
        if storages != self.storages:  # as in the last call?
            if aliased(storages) != self.aliases:
                self.why = "which tensors share memory"
                return None
            self.storages = storages
        for book in self.books:
            if not book.evaluate(book.values):
                self.why = "a number of an optimizer, by which it decides"
                return None
        return everything

    def _slots_fit(self, everything: list[Any]) -> bool:
        for i, (form, (_, tracked, _)) in zip(self.used_slots, self.slot_facts, strict=True):
            x = everything[i]
            if x is None or facts(x) != form or x._requires_grad != tracked:
                self.why = "a gradient or a tensor of an optimizer's state has another form"
                return False
        return True

    # --- replaying ------------------------------------------------------------------------------

    def replay(self, everything: list[Any]) -> Any:
        """What the call does, with one run."""
        if self.plain:
            return self._compute(everything)
        again, n = self.steady, self.n_objects
        drawn = self._host_effects() if self.events else []
        written = []
        for i in self.written:
            x = everything[i]
            x._node = x._seen = None  # who has read a value does not hold it
            written.append(x.storage)
        reuse = again is not None and again.holds(written, everything, n)
        buffers = self._buffers(everything, drawn)
        leaves = [buffers[k] for k in self.leaves]
        made: list[Any] = []
        if self.plan is not None:
            cells = self._cells()
            for i in self.dropped:  # as the call does, too: the run may use their memory
                everything[i].grad = everything[n + i] = None
            if again is not None and reuse:
                again.lend(self.device)
                handles = self.device.start(again.plan, leaves, cells)
                kept = again.made(self.device, handles, leaves)
                again.renew(self.device, handles, leaves)
                return self._bind(everything, written, buffers, kept, again)
            made = self.device.launch(self.plan, leaves, cells)
        out = self._bind(everything, written, buffers, made, None)
        if again is not None:
            again.remember(written, everything)
        return out

    def _compute(self, everything: list[Any]) -> Any:
        """As ``replay`` and ``_bind`` do where there is nothing but results to be made."""
        buffers, device = self._buffers(everything, []), self.device
        assert self.plan is not None
        made = device.launch(self.plan, [buffers[k] for k in self.leaves], self.cells)
        fresh = []
        for (_, k, form), nelems, version, generation in self.fresh:
            s = Storage(leaf(made[k], *form), nelems, device)
            s.version, s.generation = version, generation
            fresh.append(s)
        return self.make(_Found(everything, [self._new(n, everything, fresh) for n in self.news]))

    def settle(self, tensors: list[Tensor]) -> None:
        """After the recorded call: the first replay may write over what that left behind."""
        found = self.fits(tensors) if self.steady else None
        if self.steady and found:
            self.steady.remember([found[i].storage for i in self.written], found)

    def _host_effects(self) -> list[Buffer]:
        """What happens on the host at every call, in order: the numbers drawn."""
        drawn: list[Buffer] = []
        for e in self.events:
            if e[0] == "draw":
                drawn.append(e[1].again())
            elif e[0] == "call":
                e[1](*e[2], **e[3])
            else:
                _, optimizer, book, assigned = e
                if book.dirty:
                    book.evaluate(book.values)
                for place, key, index in assigned:
                    place[key] = book.values[index]
                optimizer._opt_called = True
        return drawn

    def _buffers(self, everything: list[Any], drawn: list[Buffer]) -> list[Buffer]:
        buffers = self._read(everything, drawn)
        if self.folded is not None:
            buffers += self.folded.current(everything, self._value_of)
        return buffers

    def _read(self, everything: list[Any], drawn: list[Buffer]) -> list[Buffer]:
        """Buffers of the sources."""
        if self.held and self.stamp == capture.changes + capture.writes:
            buffers = [*map(call, self.held)]
            for k, i in self.given:
                buffers[k] = self._value_of(everything[i])
            return buffers
        if self.read is not None:
            nodes = [*map(_node, map(everything.__getitem__, self.read))]
            if {*map(_op, nodes)} == {"buffer"}:
                buffers = [*map(_buffer, nodes)]
                if self.pure:
                    self.held = [*map(ref, buffers)]
                return buffers
        out: list[Any] = []
        for kind, what in self.sources:
            if kind == "storage":
                x = everything[self.owner[what]]
                out.append(cut(x) if what in self.windows else self._value_of(x))
            else:
                out.append(drawn[what] if kind == "draw" else what)
        return out

    def _value_of(self, x: Tensor) -> Buffer:
        node = x.storage.node
        if node.op != "buffer":
            self.device.flush()
            if node.op != "buffer":
                self.device.flush(node)
        found: Buffer = node.buffer
        return found

    def _cells(self) -> Any:
        if self.cells is not None:
            return self.cells
        values = self.values
        for position, book, index in self.live:
            values[position] = self.books[book].values[index]
        return self.device.cells(self.plan.compiled, values)

    def _bind(
        self, everything: list[Any], written: list[Storage], buffers: list[Buffer],
        made: Any, again: Steady | None,
    ) -> Any:  # fmt: skip
        """Puts results where the call leaves them; with ``again`` most are there."""
        nodes: dict[Value, Any] = {}

        def node(value: Value) -> Any:
            found = nodes.get(value)
            if found is None:
                kind, k, form = value
                found = nodes[value] = leaf(made[k] if kind == "root" else buffers[k], *form)
            return found

        fresh: list[Any] = [None] * len(self.fresh)
        for k in self.all_fresh if again is None else again.fresh:
            f = self.fresh[k]
            s = fresh[k] = Storage(node(f.value), f.nelems, self.device)
            s.version, s.generation = f.version, f.generation
        for w, s, i in zip(self.writes, written, self.written, strict=True):
            capture.writes += 1
            s.written = capture.writes
            if again is None:
                s.node, x = node(w.value), everything[i]
                x._node = x._seen = None
            s.version += w.version
            s.generation += w.generation
        new: list[Any] = [None] * len(self.news)
        for k in self.all_news if again is None else again.news:
            new[k] = self._new(self.news[k], everything, fresh)
        if self.backward is not None:
            results = [t for t, n in zip(new, self.news, strict=True) if n.number >= 0]
            entry = self.backward.entry(everything, buffers, made, results)
            for t in results:
                t._grad_fn, t._requires_grad = entry, True
        found = _Found(everything, new)
        for j, (i, k) in enumerate(self.new_grads):
            g = None if k is None else found[k]
            everything[i].grad = g if again is None else again.grads[j]
        for i, k in self.new_states:
            place, key = self.places[i]
            place[key] = found[k]
        return self.make(found)

    def _new(self, n: New, everything: Any, fresh: Any) -> Tensor:
        x: Tensor = object.__new__(n.cls)
        x.__dict__.update(n.attrs)
        known = n.storage >= 0
        s = x.storage = everything[self.owner[n.storage]].storage if known else fresh[~n.storage]
        if n.base is not None:
            x._base, x._generation, x._born = everything[n.base], s.generation, s.version
        if n.counted:
            x._counter = Counter()
        return x


class _Found:
    """Tensors by the numbers that ``Recorder._place`` gave them."""

    def __init__(self, everything: list[Any], new: list[Tensor]) -> None:
        self.everything, self.new = everything, new

    def __getitem__(self, k: int) -> Any:
        return self.everything[k] if k >= 0 else self.new[~k]


def aliased(names: list[int]) -> list[int]:
    """Which of the names are the same: the first place of each."""
    first: dict[int, int] = {}
    return [first.setdefault(name, i) for i, name in enumerate(names)]
