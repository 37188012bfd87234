"""Devices, the flush that turns pending values into one run, and reads."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from operator import call
from typing import Any, NamedTuple
from weakref import ref

from . import plan as plans
from .debug import debug
from .dtypes import DType
from .errors import raise_status
from .graph import Node, capture, leaf
from .schedule import Caps, Schedule, schedule
from .shape import extent, is_contiguous, numel

IN_PAGE = sys.platform == "emscripten"
_MAX_PLANS = 1024

counters = {
    "plans_built": 0, "plan_hits": 0, "bridge_calls": 0, "dispatches": 0, "flushes": 0,
}  # fmt: skip


class device:
    """Where tensors live, as ``torch.device``.

    ``"auto"`` is webgpu and wasm in one. All that is computed together (what a read needs, a step
    of an optimizer) runs together, on the GPU if that is worth it: what is too small runs on wasm,
    as does what only wasm can do (float64, large integers). Values are moved when it pays. What
    decides is measured on the machine, so the last bits of a result may differ between visits.
    Where there is no GPU, or one in software, it is the host's executor.

    Args:
        type: ``"webgpu"``, ``"wasm"``, ``"numpy"``, ``"cpu"`` (the host's executor: wasm in a page,
            numpy on desktop) or ``"auto"``
        index: of the device, which is 0 as there is one of each

    Examples:
        >>> torch.device("auto")
        device(type='auto')
        >>> torch.device("cpu:0")
        device(type='cpu', index=0)
    """

    __slots__ = ("index", "type")
    type: str
    index: int | None

    def __init__(self, type: Any, index: int | None = None) -> None:
        if isinstance(type, device):
            type, index = type.type, type.index
        if not isinstance(type, str):
            raise TypeError(f"device(): argument 'type' must be str, not {type.__class__.__name__}")
        name, _, number = type.partition(":")
        if name not in KINDS:
            raise RuntimeError(
                f"Expected one of {', '.join(KINDS)} device type at start of device string: {type}"
            )
        if number:
            if not number.isdigit():
                raise RuntimeError(f"Invalid device string: '{type}'")
            index = int(number)
        if index:
            raise RuntimeError(f"there is one {name} device, number 0; got index {index}")
        self.type, self.index = name, index

    def __repr__(self) -> str:
        tail = "" if self.index is None else f", index={self.index}"
        return f"device(type='{self.type}'{tail})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        """Devices of one executor are equal: in a page "cpu" and "wasm"."""
        return isinstance(other, device) and resolve_kind(self) == resolve_kind(other)

    def __hash__(self) -> int:
        return hash(resolve_kind(self))

    def __enter__(self) -> device:
        _defaults.append(resolve(self))
        return self

    def __exit__(self, *_: Any) -> None:
        _defaults.pop()

    def __reduce__(self) -> Any:
        return device, (self.type, self.index)


KINDS = ("cpu", "webgpu", "wasm", "numpy", "auto")


class Buffer:
    """Device memory behind a computed value; given back when nobody holds it."""

    __slots__ = ("__weakref__", "device", "handle", "nbytes")

    def __init__(self, owner: Device, handle: Any, nbytes: int) -> None:
        self.device, self.handle, self.nbytes = owner, handle, nbytes
        owner.allocated += nbytes
        owner.peak = max(owner.peak, owner.allocated)

    def __del__(self) -> None:
        self.device.allocated -= self.nbytes
        if self.handle is not None:  # else it was given to a run
            self.device.release(self.handle)


class Planned(NamedTuple):
    """A plan that can be run."""

    compiled: Any  # by the device
    outs: list[int]  # per root the number of a result, or ~k for leaf k
    nbytes: list[int]  # of the results


class Device:
    """An executor with its pending values and its plans. Subclassed by the kinds below."""

    caps = Caps()
    threads = 1

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.public = device(kind)
        self.pending: list[ref[Any]] = []  # in the order recorded: it is part of a plan's key
        self.replaced: list[Node] = []  # values in memory that in-place writes took the place of
        self.plans: dict[Any, Any] = {}
        # key without the places of windows → the first such key, None once there was another
        self.varying: dict[Any, Any] = {}
        self.allocated = 0
        self.peak = 0

    def __str__(self) -> str:
        return self.kind

    # what a kind provides

    def release(self, handle: Any) -> None:
        """Memory of a buffer nobody holds."""

    def may_overwrite(self, buffer: Buffer) -> bool:
        """Whether a run may write its results to a leaf that nobody needs any more."""
        return True

    def overwritten(self, buffer: Buffer) -> None:
        """A run did: what was uploaded to the buffer is not its content any more."""

    def most_allocated(self) -> int:
        """The most bytes held at once, since ``reset_peak``."""
        return self.peak

    def reset_peak(self) -> None:
        self.peak = self.allocated

    def check_dtype(self, dtype: DType) -> None:
        """Raises if the device cannot hold the dtype."""

    def send(self, data: Any, dtype: DType, nelems: int) -> Any:
        """Host bytes to the device: a handle."""
        raise NotImplementedError

    def fetch(self, buffer: Buffer, dtype: DType, start: int, count: int) -> Any:
        """Elements of a buffer as host bytes, waiting for them."""
        raise NotImplementedError

    async def fetch_async(self, buffer: Buffer, dtype: DType, start: int, count: int) -> Any:
        """As ``fetch``, awaiting."""
        return self.fetch(buffer, dtype, start, count)

    def compile(self, what: Schedule, n_scalar: int, numbers: list[Node]) -> Any:
        """A schedule as a runnable plan."""
        raise NotImplementedError

    def cells(self, compiled: Any, values: Sequence[Any]) -> Any:
        """The numbers of a run as ``run`` takes them."""
        return values

    def run(self, compiled: Any, leaves: Sequence[Buffer], cells: Any) -> list[Any]:
        """Runs a plan: handles of the results."""
        raise NotImplementedError

    def window(self, buffer: Buffer, dtype: DType, start: int, count: int) -> Buffer | None:
        """A part of a buffer as one of its own; None if the device cannot cut it there."""
        return None

    def bytes_of(self, dtype: DType, nelems: int) -> int:
        """Device bytes of so many elements."""
        return dtype.itemsize * nelems

    def home(self, nbytes: int, wide: bool) -> Device:
        """The device whose memory so much is streamed into; ``adopt`` takes its buffers over.
        ``wide``: with float64, or integers that 32 bits cannot hold."""
        return self

    def adopt(self, buffer: Buffer, dtype: DType, nelems: int) -> Buffer:
        """A buffer of ``home()`` as one of this device."""
        return buffer

    async def ready(self, node: Node) -> None:
        """Awaits what a flush for the sake of a value could not wait for."""

    def lose(self) -> None:
        """Takes the device away, as a driver reset would: for tests."""
        raise RuntimeError(f"only a webgpu device can be lost, the default device is {self}")

    def set_threads(self, count: int) -> None:
        """How many threads it may use, if it has any."""

    def reopen(self, error: Exception) -> bool:
        """Opens a lost device again; False if that cannot help."""
        return False

    def timings(self) -> list[tuple[str, float]]:
        """Kernel and milliseconds of the dispatches since the last call, where it can be told."""
        return []

    # what all share

    def upload(self, data: Any, dtype: DType, nelems: int) -> Buffer:
        """Host bytes as a buffer."""
        self.check_dtype(dtype)
        handle = self.send(data, dtype, nelems)
        made = Buffer(self, handle, self.bytes_of(dtype, nelems))
        if capture.recorder is not None:
            capture.recorder.uploaded(made, data)
        return made

    def flush(self, extra: Node | None = None) -> None:
        """Computes every pending value that somebody holds, in one run."""
        if capture.recorder is not None:
            return
        pending, self.pending = self.pending, []
        held = [storage.node for storage in filter(None, map(call, pending))]
        if extra is not None:
            held.append(extra)
        roots = []
        for node in dict.fromkeys(held):
            if node.op == "buffer":
                continue
            if numel(node.shape):
                roots.append(node)
            else:
                node.realize(Buffer(self, self.send(b"", node.dtype, 0), 0))
        if roots:
            # if this raises nothing is lost: a value is computed again when it is read
            self._run(roots)
        self.replaced = []

    def _run(self, roots: list[Node]) -> None:
        graph = self._graph(roots)
        plan = self.planned(graph, roots)
        leaves = [n.buffer for n in graph.leaves]
        cells = self.cells(plan.compiled, [n.arg for n in graph.numbers])
        for root, buffer in zip(roots, self.launch(plan, leaves, cells), strict=True):
            root.realize(buffer)

    def _graph(self, roots: list[Node]) -> plans.Pending:
        """What is to be run, with windows cut out, and which leaves may be written over."""
        graph = plans.linearize(roots)
        if graph.windows:
            graph = self._cut_windows(graph, roots)
        if self.replaced:
            given = plans.given(graph, self.replaced)
            given = tuple([k for k in given if self.may_overwrite(graph.leaves[k].buffer)])
            graph = graph._replace(given=given)
        return graph

    def planned(self, graph: plans.Pending, roots: list[Node]) -> Planned:
        """The plan of a graph: one seen before, or a new one."""
        found = self.plans.get((graph.key, graph.given) if graph.given else graph.key)
        if found is None:
            return self._build(graph, roots)
        counters["plan_hits"] += 1
        return found

    def launch(self, plan: Planned, leaves: Sequence[Buffer], cells: Any) -> list[Buffer]:
        """Runs a plan: a buffer for each of its roots."""
        handles = self.start(plan, leaves, cells)
        made = [Buffer(self, h, n) for h, n in zip(handles, plan.nbytes, strict=True)]
        return [made[k] if k >= 0 else leaves[~k] for k in plan.outs]

    def start(self, plan: Planned, leaves: Sequence[Buffer], cells: Any) -> list[Any]:
        """Runs a plan: handles of its results."""
        counters["flushes"] += 1
        if debug.level < 2:
            return self.run(plan.compiled, leaves, cells)
        start = time.perf_counter()
        handles = self.run(plan.compiled, leaves, cells)
        debug.ran(self, time.perf_counter() - start)
        return handles

    def _cut_windows(self, graph: plans.Pending, roots: list[Node]) -> plans.Pending:
        """Mini-batches ``x[i : i + 64]``: where only the places of windows differ from a plan seen
        before, the windows become buffers of their own, and one plan serves them all."""
        key = plans.without_places(graph)
        if key not in self.varying and len(self.varying) >= _MAX_PLANS:
            self.varying.clear()
        # from the second place on, always: a step then crosses the bridge equally often each time
        varies = self.varying.setdefault(key, graph.key) != graph.key
        if not varies and self.varying[key] is not None:
            return graph
        self.varying[key] = None
        parts: dict[tuple[int, int, int], Buffer | None] = {}
        for node in graph.windows:
            source, (strides, offset) = node.srcs[0].buffer, node.arg
            low, high = extent(node.shape, strides, offset)
            place = (id(source), low, high + 1 - low)
            if place not in parts:
                parts[place] = self.window(source, node.dtype, *place[1:])
            part = parts[place]
            if part is not None:  # the same value, seen in a smaller buffer
                node.srcs = (leaf(part, (place[2],), node.dtype),)
                node.arg = (strides, offset - low)
        return plans.linearize(roots)

    def _build(self, graph: plans.Pending, roots: list[Node]) -> Planned:
        for node in roots:
            self.check_dtype(node.dtype)
        what = schedule(roots, graph.leaves, graph.numbers, self.caps, graph.given)
        if debug.level >= 1:
            debug.plan(self, graph, what)
        counters["plans_built"] += 1
        compiled = self.compile(what, len(graph.numbers), graph.numbers)
        first = what.n_leaf
        slots = what.slots[first : first + what.n_out]
        outs = [k - first if kind == "slot" else ~k for kind, k in what.outs]
        found = Planned(compiled, outs, [self.bytes_of(s.dtype, s.nelems) for s in slots])
        if len(self.plans) >= _MAX_PLANS:
            self.plans.pop(next(iter(self.plans)))
        self.plans[(graph.key, graph.given) if graph.given else graph.key] = found
        return found

    def locate(self, node: Node) -> tuple[Buffer, int]:
        """The buffer of a value in row-major order and where it begins, computing it if need be."""
        if node.op == "view" and is_contiguous(node.shape, node.arg[0]):
            source, offset = node.srcs[0], node.arg[1]
            self.flush(source)
            if source.op == "buffer":
                return source.buffer, offset
        if node.op != "buffer":
            self.flush(node)
        return node.buffer, 0


# --- the kinds ------------------------------------------------------------------------------------


class NumpyDevice(Device):
    """numpy on desktop CPython, or in a page that has loaded it."""

    def __init__(self) -> None:
        super().__init__("numpy")
        from .backends import numpy as backend

        self.backend = backend
        self.caps = backend.CAPS
        if not IN_PAGE:
            self.public = device("cpu")

    def send(self, data: Any, dtype: DType, nelems: int) -> Any:
        return self.backend.upload(data, dtype)

    def fetch(self, buffer: Buffer, dtype: DType, start: int, count: int) -> Any:
        self._check_status()
        return memoryview(buffer.handle[start : start + count].copy()).cast("B")

    def compile(self, what: Schedule, n_scalar: int, numbers: list[Node]) -> Any:
        return self.backend.Plan(what, n_scalar)

    def run(self, compiled: Any, leaves: Sequence[Buffer], cells: Any) -> list[Any]:
        counters["dispatches"] += compiled.launches
        self.last = compiled
        return compiled.run([b.handle for b in leaves], cells)

    def timings(self) -> list[tuple[str, float]]:
        return self.last.times

    def window(self, buffer: Buffer, dtype: DType, start: int, count: int) -> Buffer | None:
        part = buffer.handle[start : start + count].copy()
        return Buffer(self, part, self.bytes_of(dtype, count))

    def _check_status(self) -> None:
        from .backends import numpy_math

        code, numpy_math.status = numpy_math.status, 0
        raise_status(code)


_open: dict[str, Device] = {}
_defaults: list[Device] = []


def host_kind() -> str:
    """The executor behind ``"cpu"``."""
    return "wasm" if IN_PAGE else "numpy"


def resolve(spec: Any) -> Device:
    """The open device a user's ``device=`` names."""
    if spec is None:
        return default_device()
    if isinstance(spec, Device):
        return spec
    kind = resolve_kind(spec)
    found = _open.get(kind)
    return found if found is not None else open_device(kind)


def open_device(kind: str) -> Device:
    """Opens a device, waiting for it."""
    if kind == "numpy":
        made: Device = NumpyDevice()
    else:
        from .backends.page import open_sync

        made = open_sync(kind)
    _open[kind] = made
    return made


async def open_async(kind: str) -> Device:
    """Opens a device, awaiting it."""
    # "auto" may have become wasm because the GPU could not be waited for
    if kind not in _open or (kind == "auto" and _open[kind].kind != kind):
        from .backends.page import open_async as opened

        _open[kind] = await opened(kind)
    return _open[kind]


async def init(device: Any = None) -> Device:
    """Opens a device and makes it the default; needed only where the page cannot wait for the GPU.

    Args:
        device: ``"webgpu"``, ``"wasm"`` or ``"auto"``; None tries webgpu first, then wasm
    """
    if device is None and IN_PAGE:
        from .backends.page import choose_async

        made = await choose_async()
    elif device is None or resolve_kind(device) == "numpy" or not IN_PAGE:
        made = resolve(device)
    else:
        kind = _named(device)
        made = await open_async(host_kind() if kind == "cpu" else kind)
    set_default_device(made)
    return made


def _named(spec: Any) -> str:
    return spec.type if isinstance(spec, device) else device(spec).type


def resolve_kind(spec: Any) -> str:
    """The executor a user's device names."""
    kind = _named(spec)
    if kind == "auto":
        kind = _open["auto"].kind if "auto" in _open else "auto" if IN_PAGE else "cpu"
    return host_kind() if kind == "cpu" else kind


def default_device() -> Device:
    """Where new tensors live: what the user set, else webgpu, else wasm; numpy on desktop."""
    if not _defaults:
        _defaults.append(_choose())
    return _defaults[-1]


def _choose() -> Device:
    if not IN_PAGE:
        made = resolve("numpy")
    else:
        from .backends.page import choose_sync

        made = choose_sync()
    debug.say(1, f"tabgrad: default device is {made}")
    return made


def set_default_device(spec: Any) -> None:
    """Where new tensors live from now on, as ``torch.set_default_device``.

    Args:
        spec: a device or its name, such as ``"auto"``, which uses the GPU for what is worth it;
            None chooses as the first tensor does

    Examples:
        >>> torch.set_default_device("auto")
        >>> (torch.ones(3) + 1).tolist()
        [2.0, 2.0, 2.0]
        >>> torch.set_default_device(None)
    """
    made = _choose() if spec is None else resolve(spec)
    if _defaults:
        _defaults[0] = made
    else:
        _defaults.append(made)


def get_default_device() -> device:
    """Where new tensors live."""
    return default_device().public


def step_done() -> None:
    """The end of an optimizer step: what is pending runs now, so steps look alike."""
    for made in _open.values():
        made.flush()


def _about_to_read() -> None:
    if capture.recorder is not None:
        capture.recorder.refuse("it reads the values of a tensor")


def read(node: Node, made: Device) -> Any:
    """A value's host bytes in row-major order; waits for the device."""
    _about_to_read()
    count = numel(node.shape)
    if not count:
        made.flush()
        return b""
    buffer, start = made.locate(node)
    return made.fetch(buffer, node.dtype, start, count)


async def read_async(node: Node, made: Device) -> Any:
    """As ``read``, awaiting."""
    _about_to_read()
    count = numel(node.shape)
    if not count:
        return b""
    await made.ready(node)
    buffer, start = made.locate(node)
    return await made.fetch_async(buffer, node.dtype, start, count)


def transfer(node: Node, source: Device, target: Device) -> Node:
    """A value on another device."""
    target.check_dtype(node.dtype)
    data = read(node, source)
    return leaf(target.upload(data, node.dtype, numel(node.shape)), node.shape, node.dtype)


def set_num_threads(count: int) -> None:
    """How many threads the wasm kernels may use, as ``torch.set_num_threads``.

    More than one are there where memory may be shared: in a page that is cross-origin isolated, or
    in Node. Results are the same for every number (on the device ``"auto"``, as long as its runs go
    to the same places).
    """
    if not isinstance(count, int) or isinstance(count, bool):
        raise TypeError(f"set_num_threads expects an int, but got {type(count).__name__}")
    if count < 1:
        raise RuntimeError("set_num_threads expects a positive integer")
    if IN_PAGE:
        (_open.get("auto") or resolve("wasm")).set_threads(count)


def get_num_threads() -> int:
    """How many threads the wasm kernels may use; 1 on desktop, where numpy decides."""
    return resolve("wasm").threads if IN_PAGE else 1


def memory_allocated(spec: Any = None) -> int:
    """Bytes of device memory held by values, as ``torch.cuda.memory_allocated``."""
    return resolve(spec).allocated


def max_memory_allocated(spec: Any = None) -> int:
    """The most bytes held at once since the start or :func:`reset_peak_memory_stats`, temporaries
    of runs included (not on desktop or "auto"), as ``torch.cuda.max_memory_allocated``."""
    return resolve(spec).most_allocated()


def reset_peak_memory_stats(spec: Any = None) -> None:
    """Lets :func:`max_memory_allocated` count from now on, as
    ``torch.cuda.reset_peak_memory_stats``."""
    resolve(spec).reset_peak()
