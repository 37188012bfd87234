"""Recording: an ordinary call whose work is held back, so that it becomes one plan.

Before the call everything pending is computed; during the call nothing is. Then the graph's leaves
are what the call read (arguments, tensors its state holds, constants it uploaded, numbers it drew),
and its roots what it left behind: written storages, new gradients, results. The call's own work is
done afterwards, as that of ordinary code is, unless a planned backward has to begin with it.
"""

from __future__ import annotations

import gc
import sys
from typing import Any
from weakref import ref

from .. import plan as plans
from .. import runtime
from ..amp import is_autocast_enabled
from ..autograd import tape
from ..dtypes import get_default_dtype
from ..graph import Node, Storage, capture
from ..live import Book, Live
from ..optim.optimizer import Optimizer
from ..runtime import Buffer
from ..shape import numel
from ..tensor import Tensor
from .backward import trace
from .fold import Folded, foldable
from .lent import Known, Window, aliases, cut, reach
from .numbers import Numbers
from .ran import Tracer, is_foreign
from .replay import Draw, Fresh, New, Recording, Write
from .tree import template
from .watch import Refused, Watch, facts


def modes() -> tuple[Any, ...]:
    """Global switches that every op looks at."""
    mode = tape.mode
    where = runtime.default_device()
    return mode.grad, mode.inference, get_default_dtype(), where, is_autocast_enabled()


class Recorder:
    """One recorded call. ``watch``: the state known from the last one, None at the first."""

    def __init__(
        self, tensors: list[Tensor], watch: Watch | None, windows: tuple[int, ...], fullgraph: bool
    ) -> None:
        self.tensors, self.watch, self.fullgraph = tensors, watch, fullgraph
        self.windows = windows
        self.refused = ""
        self.where = ""
        self.tracer = Tracer(self.refuse)
        self.optimizers: list[Optimizer] = []
        self.books: list[Book] = []
        self.events: list[Any] = []  # what replays do on the host, in order
        self.origin: dict[int, Any] = {}  # of the buffers that leaves may hold
        self.kept: list[Any] = []  # those buffers, alive
        self.draws: list[Draw] = []
        self.uploads: dict[int, int] = {}  # hash of what a constant buffer holds
        self.noted: list[ref[Storage]] = []
        self.used: dict[int, int] = {}  # buffers of leaves, numbered
        self.sources: list[Any] = []  # and where each comes from
        self.roots: list[Node] = []
        self.order: list[int] = []  # in which they are computed
        self.root_of: dict[int, int] = {}
        self.news: list[New] = []
        self.new_tensors: list[Tensor] = []
        self.fresh: list[Fresh] = []
        self.fresh_of: dict[int, int] = {}
        self.attached: list[Tensor] = []
        self.recording: Recording | None = None
        self.signature: Any = None
        self.cut: list[Window] = []
        self.bad_windows: set[int] = set()
        self.out_places: set[int] = set()  # of the tensors that are returned
        self.dirty: set[tuple[int, Any]] = set()

    # --- the call -------------------------------------------------------------------------------

    def call(self, fn: Any, args: Any, kwargs: Any) -> Any:
        """``fn(*args, **kwargs)``, recorded unless something forbids it."""
        for made in runtime._open.values():
            made.flush()
        before = modes()
        self._enter()
        self.profile = sys.getprofile()
        capture.recorder = self
        sys.setprofile(self.tracer)
        try:
            out = fn(*args, **kwargs)
            self._stop_tracing()
            try:
                if not self.refused:
                    if modes() != before:
                        raise Refused("it leaves the grad mode or another switch changed")
                    self._finish(out)
            except Refused as error:
                self.refuse(str(error))
        finally:
            self._stop_tracing()
            capture.recorder = None
            for book in self.books:
                book.open = False
            self._leave()
        return out

    def _stop_tracing(self) -> None:
        if sys.getprofile() is self.tracer:
            sys.setprofile(self.profile)

    def refuse(self, reason: str) -> None:
        """This call goes on as ordinary code, and is not recorded."""
        if self.refused:
            return
        self.refused = reason
        frame: Any = sys._getframe(1)
        while frame is not None and is_foreign(frame.f_globals.get("__name__")):
            frame = frame.f_back
        if frame is not None:
            self.where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        self._stop_tracing()
        capture.recorder = None
        if self.fullgraph:
            raise RuntimeError(f"torch.compile with fullgraph=True: {reason} ({self.where})")

    def _enter(self) -> None:
        self.objects = list(self.tensors) + (self.watch.fixed if self.watch else [])
        self.index: dict[int, int] = {}
        for i, t in enumerate(self.objects):
            self.index.setdefault(id(t), i)
        self.grads = [t.grad for t in self.objects]
        self.places = list(self.watch.states) if self.watch else []
        self.states = [place[key] for place, key in self.places]
        everything = [*self.objects, *self.grads, *self.states]
        for i, x in enumerate(everything[len(self.objects) :], len(self.objects)):
            if x is not None:
                self.index.setdefault(id(x), i)
        self.everything = everything
        self.aliases = aliases([None if x is None else x.storage for x in everything])
        self.windows = tuple(i for i in self.windows if self.aliases.count(self.aliases[i]) == 1)
        for i in self.windows:
            x = self.tensors[i]
            part = cut(x)
            if part is None:
                self.bad_windows.add(i)
            else:
                self.cut.append(Window(x, part, *reach(x)))
        self.windows = tuple(i for i in self.windows if i not in self.bad_windows)
        self.known: list[Known] = []
        self.known_of: dict[int, int] = {}
        self.owner: list[int] = []  # of known storages: a tensor that has it
        for i, x in enumerate(everything):
            if x is not None and id(x.storage) not in self.known_of:
                self.known_of[id(x.storage)] = len(self.known)
                self.known.append(Known(x.storage))
                self.owner.append(i)
                self._origin(self.known[-1].leaf.buffer, ("storage", len(self.known) - 1))
        self.facts = [None if x is None else (facts(x), _tracked(x)) for x in everything]

    def _leave(self) -> None:
        for k in self.known:
            k.restore()
        renamed = {id(k.leaf): k.before for k in self.known}
        for cell in self.noted:
            s = cell()
            if s is not None and id(s.node) in renamed:
                s.node = renamed[id(s.node)]
        for w in self.cut:
            w.restore(self.new_tensors)

    # --- what the package tells during the call --------------------------------------------------

    def note(self, storage: Storage) -> None:
        """A storage that was made of what is already on the device."""
        self.noted.append(ref(storage))

    def _origin(self, buffer: Any, what: Any) -> None:
        self.origin[id(buffer)] = what
        self.kept.append(buffer)

    def uploaded(self, buffer: Buffer, data: Any) -> None:
        """A constant from the host."""
        self._origin(buffer, ("constant", buffer))
        self.uploads[id(buffer)] = hash(bytes(memoryview(data).cast("B") if len(data) else b""))

    def drawn(self, buffer: Buffer, dtype: Any, n: int, generator: Any, f: Any, args: Any) -> None:
        """Random numbers: another draw at every replay."""
        self._origin(buffer, ("draw", len(self.draws)))
        self.draws.append(Draw(buffer.device, dtype, n, generator, f, args))
        self.events.append(("draw", self.draws[-1]))

    def event(self, f: Any, args: Any) -> None:
        """Something on the host that replays do too."""
        self.events.append(("call", f, args, {}))

    def scheduler_step(self, step: Any, args: Any, kwargs: Any) -> None:
        """A scheduler's step, taken again by every replay."""
        if not self.tracer.paused:
            self.events.append(("call", step, args, kwargs))
            groups = args[0].optimizer.param_groups
            self.dirty |= {(id(g), k) for g in groups for k in ("lr", "momentum", "betas")}
        self.tracer.paused += 1
        before = capture.recorder
        try:
            step(*args, **kwargs)
        finally:
            self.tracer.paused -= 1
            capture.recorder = before if not self.refused else None

    def optimizer_step(self, optimizer: Optimizer, step: Any, args: Any, kwargs: Any) -> Any:
        """A step whose numbers are ``Live``."""
        if not any(o is optimizer for o in self.optimizers):
            self.optimizers.append(optimizer)
        self.tracer.grads = True
        self.tracer.in_step += 1
        numbers = Numbers(optimizer, self.dirty)
        self.books.append(numbers.book)
        try:
            return step(optimizer, *args, **kwargs)
        finally:
            self.tracer.in_step -= 1
            self.events.append(("step", optimizer, numbers.book, numbers.settle()))

    # --- the end ---------------------------------------------------------------------------------

    def _finish(self, out: Any) -> None:
        watch = self.watch
        self.tracer.forget_fresh()
        if watch is not None:
            for x, before in zip(self.everything, self.facts, strict=True):
                if x is not None and before != (facts(x), _tracked(x)):
                    raise Refused("it changes the form or the history of a tensor it did not make")
        make = template(out, self._placed_out, self._is_known)
        if make is None:
            raise Refused("it returns an object that cannot be made again")
        writes = self._writes()
        taken = {w.storage for w in writes} | {n.storage for n in self.news}
        for i in self.windows:
            if self.known_of[id(self.tensors[i].storage)] in taken:
                self.bad_windows.add(i)
        grads = self._slots([t.grad for t in self.objects], self.grads)
        self.grads_matter = self.tracer.grads or bool(grads)
        states = self._slots([p.get(k) for p, k in self.places], self.states)
        if any(book.undecidable for book in self.books):
            raise Refused("an optimizer decides by a number that this call changed before")
        backward = None
        if watch is not None:
            if self.attached:
                sys.setprofile(self.tracer)
                backward = trace(self, self.attached)
                self._stop_tracing()
            else:
                self._check_leftovers(out)
        capture.recorder = None
        self._run(make, writes, grads, states, backward)

    def _is_known(self, x: Any) -> bool:
        """An object that may be returned as it is: it was there before."""
        return self.watch is not None and id(x) in self.watch._seen

    def _placed_out(self, t: Tensor) -> int:
        self.out_places.add(self._place(t))
        return self._place(t)

    def _place(self, t: Tensor) -> int:
        """Where a replay finds a tensor: among those that were there, or ~k for new one k."""
        i = self.index.get(id(t))
        if i is not None:
            return i
        for k, known in enumerate(self.new_tensors):
            if known is t:
                return ~k
        self.new_tensors.append(t)
        self.news.append(self._described(t))
        return ~(len(self.news) - 1)

    def _described(self, t: Tensor) -> New:
        d = t.__dict__
        if t.grad is not None or d.get("_hooks") or d.get("_post_hooks") or t._retains:
            raise Refused("it returns a tensor that has a gradient or hooks of its own")
        attrs = {k: v for k, v in d.items() if k not in _REMADE}
        base = self.index.get(id(t._base))
        if t._base is None or base is None:
            for k in ("_origin", "_born"):
                attrs.pop(k, None)
        number = -1
        if t.requires_grad and t.grad_fn is not None:
            if id(t.storage) in self.known_of or any(a.storage is t.storage for a in self.attached):
                raise Refused("it returns views of one storage that have a history")
            number = len(self.attached)
            self.attached.append(t)
            attrs["_output_nr"] = number
        storage = self._stored(t.storage)
        return New(type(t), attrs, storage, base, number, t._counter is not None)

    def _stored(self, s: Storage) -> int:
        """A storage: a known one, or ~k for fresh one k."""
        k = self.known_of.get(id(s))
        if k is not None:
            return k
        k = self.fresh_of.get(id(s))
        if k is None:
            if type(s) is not Storage:
                raise Refused("it returns a view of bytes as another dtype")
            k = self.fresh_of[id(s)] = len(self.fresh)
            self.kept.append(s)
            self.fresh.append(Fresh(self._value(s.node), s.nelems, s.version, s.generation))
        return ~k

    def _value(self, node: Node) -> tuple[str, int, Any]:
        """Where a replay finds a value: root or source number, with its shape and dtype."""
        if node.op != "buffer" and not numel(node.shape):
            device = self._device()
            empty = Buffer(device, device.send(b"", node.dtype, 0), 0)
            self._origin(empty, ("constant", empty))
            node.realize(empty)
        if node.op == "buffer":
            return "source", self._source(node.buffer), (node.shape, node.dtype)
        k = self.root_of.get(id(node))
        if k is None:
            k = self.root_of[id(node)] = len(self.roots)
            self.roots.append(node)
        return "root", k, (node.shape, node.dtype)

    def _source(self, buffer: Any) -> int:
        k = self.used.get(id(buffer))
        if k is None:
            origin = self.origin.get(id(buffer))
            if origin is None and self.watch is not None:
                raise Refused("it reads a tensor that it reaches in a way that cannot be watched")
            k = self.used[id(buffer)] = len(self.sources)
            self.sources.append(origin)
        return k

    def _device(self) -> Any:
        found = [k.storage.device for k in self.known] + [
            t.storage.device for t in self.new_tensors
        ]
        if any(device is not found[0] for device in found):
            raise Refused("it uses more than one device")
        return found[0] if found else runtime.default_device()

    def _writes(self) -> list[Write]:
        found = []
        if self.watch is None:  # what was there is not known yet: the roots are, for comparison
            for t in self.objects:
                if t.storage.node.op != "buffer":
                    self._value(t.storage.node)
        for i, k in enumerate(self.known):
            s = k.storage
            if s.node is not k.leaf or s.version != k.version:
                dv, dg = s.version - k.version, s.generation - k.generation
                found.append(Write(i, self._value(s.node), dv, dg))
        return found

    def _in_place(self, graph: plans.Pending, leaves: list[int], writes: Any) -> Any:
        """The plan for replays that may write new values of storages over the old ones."""
        written = {("storage", w.storage) for w in writes}
        windows = {("storage", self.known_of[id(self.tensors[i].storage)]) for i in self.windows}
        given = tuple(
            j for j, k in enumerate(leaves)
            if self.sources[k] in written - windows and leaves.count(k) == 1
        )  # fmt: skip
        if not given:
            return None
        return self._planned(graph._replace(given=given))

    def _by_age(self) -> list[int]:
        """Numbers of the roots, the oldest value first, as ordinary code computes them: a gradient
        that waits for a younger one keeps what it is made of in memory."""
        pending = [s.node for cell in self._device().pending if (s := cell()) is not None]
        age = {id(node): k for k, node in reversed([*enumerate(pending)])}
        return sorted(range(len(self.roots)), key=lambda k: age.get(id(self.roots[k]), len(age)))

    def _planned(self, graph: plans.Pending) -> Any:
        """The plan, whose results are in the order of the roots."""
        plan = self._device().planned(graph, [self.roots[k] for k in self.order])
        outs = dict(zip(self.order, plan.outs, strict=True))
        return plan._replace(outs=[outs[k] for k in range(len(outs))])

    def _slots(self, now: list[Any], before: list[Any]) -> list[tuple[int, int | None]]:
        """Places whose tensor is another now: (place, where the tensor is found)."""
        found: list[tuple[int, int | None]] = []
        for i, (x, old) in enumerate(zip(now, before, strict=True)):
            if x is not old:
                if x is not None and x.grad_fn is not None:
                    raise Refused("it leaves a gradient that has a history (create_graph=True)")
                found.append((i, None if x is None else self._place(x)))
        return found

    def _check_leftovers(self, out: Any) -> None:
        """Raises if values made by the call live on where no replay would put them."""
        cells = [*self.noted, *(c for made in runtime._open.values() for c in made.pending)]
        allowed = {*self.known_of, *self.fresh_of}
        left = [c for c in cells if (s := c()) is not None and id(s) not in allowed]
        s = None
        if left:
            gc.collect()
            if any(c() is not None for c in left):
                raise Refused("a tensor that it makes stays in some place other than its results")

    def _graph(self) -> tuple[plans.Pending | None, list[int]]:
        """What the call computes, and the sources of its leaves."""
        graph = plans.linearize([self.roots[k] for k in self.order]) if self.roots else None
        return graph, [self._source(n.buffer) for n in graph.leaves] if graph else []

    def _fold(self, device: Any) -> Folded | None:
        """Computes what depends only on tensors that were there before, and are no arguments."""
        first, last = len(self.tensors), len(self.objects)
        frozen = {
            k.leaf.buffer: i
            for k, i in zip(self.known, self.owner, strict=True) if first <= i < last
        }  # fmt: skip
        nodes = foldable(self.roots, frozen)
        if not nodes:
            return None
        folded = Folded(nodes, device, frozen)
        for k, buffer in enumerate(folded.buffers, len(self.sources)):
            self.used[id(buffer)] = k
        return folded

    def _run(self, make: Any, writes: Any, grads: Any, states: Any, backward: Any) -> None:
        self.order = self._by_age()
        device = self._device()
        graph, leaves = self._graph()
        held, live = self._numbers(graph)
        self.signature = self._signed(graph, held, live, repr((writes, grads, states)))
        for node in self.roots:
            device.check_dtype(node.dtype)
        if self.watch is None:
            return
        folded = None
        if not (writes or grads or states or backward or self.events):
            folded = self._fold(device)
            if folded is not None:
                graph, leaves = self._graph()
                held, live = self._numbers(graph)
        plan = in_place = None
        if graph is not None:
            plan = self._planned(graph)
            in_place = self._in_place(graph, leaves, writes) if writes else None
            if backward is not None:  # which begins with what this computes
                buffers = [n.buffer for n in graph.leaves]
                made = device.launch(plan, buffers, device.cells(plan.compiled, held))
                for root, buffer in zip(self.roots, made, strict=True):
                    root.realize(buffer)
                    self.origin.setdefault(id(buffer), ("root", self.root_of[id(root)]))
        self.recording = Recording(
            self, device, (plan, in_place), leaves, held, live, make, writes, grads, states,
            backward and backward.planned(self, device), folded,
        )  # fmt: skip

    def _numbers(self, graph: plans.Pending | None) -> tuple[list[Any], list[Any]]:
        """The numbers of the graph, and which of them are an optimizer's: (place, book, index)."""
        live = []
        numbers = graph.numbers if graph else []
        for i, n in enumerate(numbers):
            v = n.arg
            if type(v) is Live:
                live.append((i, self.books.index(v.book), v.index))
                n.arg = v.book.values[v.index]
        return [n.arg for n in numbers], live

    def _signed(self, graph: Any, held: list[Any], live: list[Any], places: str) -> Any:
        """What two calls have in common that do the same."""
        constants = [self.uploads[id(o[1])] for o in self.sources
                     if o and o[0] == "constant" and id(o[1]) in self.uploads]  # fmt: skip
        bound = {i for i, _, _ in live}
        return (
            graph and graph.key, [repr(v) for i, v in enumerate(held) if i not in bound], live,
            constants,
            [(d.dtype, d.n, id(d.generator), d.f, d.args) for d in self.draws],
            [book.signature() for book in self.books], [e[0] for e in self.events],
            [repr(n) for n in self.news], places, self.tracer.frames.keys(),
        )  # fmt: skip


def _tracked(x: Tensor) -> tuple[Any, ...]:
    return id(x._grad_fn), x._requires_grad, id(x.storage)


# what a replay gives a new tensor itself
_REMADE = {
    "storage", "_node", "_seen", "_base", "_grad_fn", "grad", "_counter", "_hooks", "_post_hooks",
    "_generation", "_born", "_retains",
}  # fmt: skip
