"""The device ``"auto"``: each run goes, whole, to the GPU or to the WASM kernels.

``work.py`` counts what there is to do in it, ``rates.py`` has measured what that costs,
``choice.py`` decides, ``places.py`` has its values at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from itertools import count
from math import inf
from typing import Any

from .. import bridge, runtime
from ..debug import debug
from ..dtypes import DType
from ..errors import DeviceLostError, Int64RangeError, OutOfMemoryError
from ..graph import Node
from ..plan import Pending, linearize
from ..runtime import Buffer, Device, Planned, counters
from ..schedule import Caps
from ..shape import numel
from .choice import Choice
from .places import WASM, WEBGPU, Place, Places
from .rates import Costs, known
from .work import beyond, work


class Placed:
    """A graph's plan on each side where it was built."""

    def __init__(self, graph: Pending, costs: Costs, plans: dict[Any, Any]) -> None:
        self.work, self.given = work(graph.key, graph.given), graph.given
        self.choice = Choice(self.work, costs)
        self.plans = plans  # among which it is
        self.sides: list[Planned | None] = [None, None]
        self.order: list[list[int]] = [[], []]  # per side: which of its results, or leaves, each is
        self.outs: list[int] = []
        self.firsts: list[int] = []  # a root for each result
        self.forms: list[tuple[DType, int]] = []  # of the results
        self.refused = self.work.wide  # the GPU cannot run it
        self.at = -1

    def built(self, side: int, plan: Planned, roots: Sequence[Node]) -> None:
        """Takes a side's plan. The other side may number the results otherwise, or write others of
        them over leaves."""
        if not self.outs:
            new = count(len(plan.nbytes))
            self.outs = [next(new) if k < 0 and ~k in self.given else k for k in plan.outs]
            self.firsts = [self.outs.index(k) for k in range(next(new))]
            self.forms = [(roots[i].dtype, numel(roots[i].shape)) for i in self.firsts]
        self.sides[side], self.order[side] = plan, [plan.outs[i] for i in self.firsts]


class AutoDevice(Places):
    """Two devices as one: plans and runs."""

    def __init__(self, wasm: Device, webgpu: Device, costs: Costs, most: float = inf) -> None:
        self.costs = costs
        # both sides have it, but for few queries
        self.caps = Caps(attention=webgpu.caps.attention, scores=webgpu.caps.scores)
        self._plans: dict[Any, Any] = {}
        self._owner = webgpu.plans
        super().__init__(wasm, webgpu, most)
        self.reading = False  # is a read what causes the flush?

    @property
    def plans(self) -> dict[Any, Any]:
        """By key; none of them outlives the GPU it was built for."""
        if self._owner is not self.sides[WEBGPU].plans:
            self._owner, self._plans = self.sides[WEBGPU].plans, {}
        return self._plans

    @plans.setter
    def plans(self, value: dict[Any, Any]) -> None:
        self._plans = value

    def home(self, nbytes: int, wide: bool) -> Device:
        wasm, webgpu = self.costs[:2]
        slow = nbytes / wasm.traffic <= webgpu.run + nbytes / webgpu.traffic  # to read all once
        return self.sides[WASM if slow or wide or self.gone() else WEBGPU]

    # --- where a run goes -----------------------------------------------------------------------

    def _only_wasm(self, placed: Placed, values: Sequence[Any]) -> bool:
        w = placed.work
        return (
            placed.refused or self.gone() or w.largest > self.most
            or placed.plans is not self.plans  # kept by somebody from before the GPU was lost
            or (w.int64 and self.overflowed) or any(beyond(values[k]) for k in w.longs)
        )  # fmt: skip

    def _choose(self, placed: Placed, places: Sequence[Place], values: Sequence[Any]) -> int:
        side = WASM
        if not self._only_wasm(placed, values):
            if placed.choice.costs is not self.costs:
                placed.choice = Choice(placed.work, self.costs)
            built = placed.sides[WEBGPU] is not None
            side = placed.choice.side(places, built, self.reading)
            if side == WASM and any(p.far for p in places) and self.stuck():
                side = WEBGPU
        if debug.level >= 1 and side != placed.at:
            wasm, webgpu = (f"{1e3 * s:.3f} ms" for s in placed.choice.seconds)
            print(
                f"auto: {placed.work.kernels} or more kernels → {self.sides[side]}: "
                f"wasm {wasm}, webgpu {webgpu}"
            )
        placed.at = side
        return side

    def locate(self, node: Node) -> tuple[Buffer, int]:
        self.reading = True
        try:
            return super().locate(node)
        finally:
            self.reading = False

    async def ready(self, node: Node) -> None:
        """In a page that cannot wait: brings from the GPU what the next flush would read on the
        WASM side."""
        if not self.stuck():
            return
        cells = [s.node for cell in self.pending if (s := cell()) is not None]
        roots = [n for n in {id(n): n for n in [*cells, node]}.values() if n.op != "buffer"]
        if not roots:
            return
        graph = linearize(roots)
        places = [n.buffer.handle for n in graph.leaves]
        placed = Placed(graph, self.costs, self.plans)
        choice = placed.choice
        wasm, webgpu = (s + choice.moving(places, k) for k, s in enumerate(choice.awaited(1.0)))
        if wasm <= webgpu or self._only_wasm(placed, [n.arg for n in graph.numbers]):
            for p in places:
                if p.far:
                    found = p.at[WEBGPU]
                    self.put(p, WASM, await found.device.fetch_async(found, p.dtype, 0, p.nelems))

    # --- plans ----------------------------------------------------------------------------------

    def _placed(self, graph: Pending) -> Placed:
        plans, key = self.plans, (graph.key, graph.given)
        found = plans.get(key)
        if found is None:
            if len(plans) >= runtime._MAX_PLANS:
                plans.pop(next(iter(plans)))
            found = plans[key] = Placed(graph, self.costs, plans)
        placed: Placed = found
        return placed

    def _built(self, placed: Placed, side: int, graph: Pending, roots: list[Node]) -> None:
        if placed.sides[side] is None:
            placed.built(side, self.sides[side].planned(graph, roots), roots)
        else:
            counters["plan_hits"] += 1

    def planned(self, graph: Pending, roots: list[Node]) -> Planned:
        """For a recording, which is replayed without its graph: always on the WASM side, which can
        run all, and on the GPU if that is cheaper or values may have to stay there."""
        placed = self._placed(graph)
        self._built(placed, WASM, graph, roots)
        useful = placed.choice.cheaper == WEBGPU or self.stuck()
        if useful and not self._only_wasm(placed, [n.arg for n in graph.numbers]):
            try:
                self._built(placed, WEBGPU, graph, roots)
            except (DeviceLostError, OutOfMemoryError) as error:
                debug.say(1, f"auto: {error}; recorded for {self.sides[WASM]} alone")
        sizes = [dtype.itemsize * n for dtype, n in placed.forms]
        return Planned(placed, placed.outs, sizes)

    def cells(self, compiled: Any, values: Sequence[Any]) -> Any:
        return values  # each side has a form of its own

    # --- runs -----------------------------------------------------------------------------------

    def _run(self, roots: list[Node]) -> None:
        graph = self._graph(roots)
        leaves = [n.buffer for n in graph.leaves]
        placed = self._placed(graph)

        def planned(side: int) -> Placed:
            nonlocal placed
            placed = self._placed(graph)  # another one, if the GPU is another
            self._built(placed, side, graph, roots)
            return placed

        handles = self._go(placed, leaves, [n.arg for n in graph.numbers], planned)
        for k in graph.given:  # what took its place counts
            self.allocated -= leaves[k].nbytes
            leaves[k].nbytes = 0
        made = [Buffer(self, h, h.nbytes) for h in handles]
        for root, k in zip(roots, placed.outs, strict=True):
            root.realize(made[k] if k >= 0 else leaves[~k])

    def start(self, plan: Planned, leaves: Sequence[Buffer], cells: Any) -> list[Any]:
        return self._go(plan.compiled, leaves, cells, lambda side: plan.compiled)

    def _go(
        self, placed: Placed, leaves: Sequence[Buffer], values: Sequence[Any],
        planned: Callable[[int], Placed],
    ) -> list[Place]:  # fmt: skip
        """One run, on the side chosen or, if it cannot be done there, on the other."""
        places = [b.handle for b in leaves]
        side = self._choose(placed, places, values)
        try:
            return self._start(planned(side), side, places, values)
        except (DeviceLostError, OutOfMemoryError, Int64RangeError) as error:
            if side == WASM and (
                not isinstance(error, OutOfMemoryError) or self._only_wasm(placed, values)
            ):
                raise
            self._leave(error, placed, side, places)
            return self._start(planned(1 - side), 1 - side, places, values)

    def _leave(self, error: Exception, placed: Placed, side: int, places: Sequence[Place]) -> None:
        """What failed on a side is to be done on the other."""
        if isinstance(error, DeviceLostError):
            self.reopen(error)
            for p in places:
                if not p.far:
                    p.at[WEBGPU] = None
        elif side == WEBGPU:
            placed.refused = True
        debug.say(1, f"auto: {error}; going on with {self.sides[1 - side]}")

    def _start(
        self, placed: Placed, side: int, places: Sequence[Place], values: Sequence[Any]
    ) -> list[Place]:
        if placed.sides[side] is None:
            side = WASM  # a recording always has that one
        device, plan = self.sides[side], placed.sides[side]
        assert plan is not None
        for p in places:
            if p.at[side] is None:
                self.bring(p, side)
        for k in placed.given:
            self.own(places[k], side)
        leaves = [p.at[side] for p in places]
        handles = device.start(plan, leaves, device.cells(plan.compiled, values))
        made = [Buffer(device, h, n) for h, n in zip(handles, plan.nbytes, strict=True)]
        for k in placed.given:
            device.overwritten(leaves[k])
        self.at = side
        out = []
        for k, form in zip(placed.order[side], placed.forms, strict=True):
            place = Place(*form)
            place.at[side] = made[k] if k >= 0 else leaves[~k]
            place.maker = placed.choice
            out.append(place)
        return out

    # --- the devices ----------------------------------------------------------------------------

    def set_threads(self, count: int) -> None:
        """Another number of threads is another rate."""
        wasm = self.sides[WASM]
        before = wasm.threads
        wasm.set_threads(count)
        if wasm.threads != before:
            self.costs = self.costs._replace(wasm=_at_once(known(wasm))[0])

    def reopen(self, error: Exception) -> bool:
        return self.sides[WEBGPU].reopen(error)

    def lose(self) -> None:
        self.sides[WEBGPU].lose()


# --- opening --------------------------------------------------------------------------------------


def opened_sync() -> Device:
    """The device ``"auto"``, waiting for the GPU; WASM where there is none or no waiting."""
    if bridge.has_webgpu() and not bridge.can_wait():
        return _said('this code cannot wait for the GPU; `await tabgrad.init("auto")` opens it')
    made: Device = bridge.wait(opened()) if bridge.has_webgpu() else _at_once(opened())
    return made


async def opened() -> Device:
    """As ``opened_sync``, awaiting the GPU. One in software is none."""
    if not bridge.has_webgpu():
        return _said("this page has no WebGPU")
    try:
        webgpu: Any = await runtime.open_async("webgpu")
    except RuntimeError as error:
        return _said(str(error))
    info = webgpu.handle.info
    if webgpu.kind != "webgpu" or info["software"]:
        return _said("the GPU is one in software" if webgpu.kind == "webgpu" else "it was lost")
    wasm = runtime.resolve("wasm")
    slow, _ = await known(wasm)
    fast, transfer = await known(webgpu)
    most = float(info["limits"]["maxStorageBufferBindingSize"])
    return AutoDevice(wasm, webgpu, Costs(slow, fast, transfer), most)


def _said(reason: str) -> Device:
    bridge.console(f'tabgrad: "auto" is wasm ({reason})')
    return runtime.resolve("wasm")


def _at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("a device in this process is not waited for")
