"""The devices of a page: webgpu and wasm, both driven through the bridge."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from os import fspath
from typing import Any

from .. import bridge, runtime
from .. import plan as plans
from ..dtypes import DType, bool_, float64, int8, int16, int64, uint8
from ..errors import DeviceLostError, Int64RangeError, raise_status
from ..graph import Node, leaf
from ..ir import Structured
from ..runtime import Buffer, Device, counters
from ..schedule import Schedule
from ..tensor import Tensor

# buffers that may wait for the next run before they are freed by a call of their own
_GARBAGE = 512
_CELL = {"wasm": {"f": "d", "d": "d"}, "webgpu": {"f": "f"}}  # format of a scalar by compute type
_WHOLE = {"wasm": "q", "webgpu": "i"}
_handle = attrgetter("handle")


class _Plan:
    """A plan that JavaScript knows under a number."""

    __slots__ = ("cells", "dispatches", "finish", "number", "outs", "structured")

    def __init__(
        self, number: int, numbers: list[Node], kind: str, what: Schedule, finish: Any
    ) -> None:
        self.number = number
        self.outs = what.n_out  # results
        self.dispatches = len(what.steps)
        self.structured = [s for s in what.steps if isinstance(s, Structured)]
        letters = _CELL[kind]
        self.cells = struct.Struct(
            "<" + "".join(letters.get(n.dtype.compute, _WHOLE[kind]) for n in numbers)
        )
        self.finish = finish  # tells JavaScript when the plan is forgotten

    def __del__(self) -> None:
        self.finish(self.number)


_KEPT = 64 << 20  # bytes of uploads that are kept on the host, in all


class _Copies:
    """Host copies of what was uploaded to the GPU, and which buffers a loss took away."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[bytes, DType]] = {}
        self.room = _KEPT
        self.gone_to = 0  # buffers up to this number without a copy are lost
        self.told = ""

    def keep(self, number: int, data: Any, dtype: DType) -> None:
        """Remembers an upload, while there is room."""
        raw = bytes(data) if not hasattr(data, "tobytes") else data.tobytes()
        if len(raw) <= self.room:
            self.room -= len(raw)
            self.kept[number] = raw, dtype

    def drop(self, number: int) -> bool:
        """Forgets a buffer; True if the device knows it."""
        known = number > self.gone_to or number in self.kept
        found = self.kept.pop(number, None)
        if found is not None:
            self.room += len(found[0])
        return known

    def lost(self, last: int, reason: str) -> None:
        """All buffers so far that have no copy are gone."""
        self.gone_to = last
        self.told = (
            f"{reason.rstrip('.')}. Values that were only in its memory are lost: results computed "
            "there and not read. Uploaded values were kept and written again; compute or load the "
            "rest anew"
        )

    def items(self) -> list[tuple[int, bytes, DType]]:
        """Number, bytes and dtype of what is kept."""
        return [(k, raw, dtype) for k, (raw, dtype) in self.kept.items()]

    def check(self, numbers: Iterable[int]) -> None:
        """Raises if a buffer is lost."""
        if not self.gone_to:
            return
        for k in numbers:
            if k <= self.gone_to and k not in self.kept:
                raise DeviceLostError(self.told)


def _another() -> bridge.Handle:
    """The GPU again if it can be had at once, else the WASM kernels."""
    if bridge.can_wait():
        try:
            return bridge.open_device_sync("webgpu")
        except RuntimeError:
            pass
    return bridge.open_device_sync("wasm")


class PageDevice(Device):
    """A device whose memory and kernels live in JavaScript; see ``bridge.Handle``."""

    def __init__(self, kind: str, handle: bridge.Handle) -> None:
        super().__init__(kind)
        self.handle = handle
        handle.on_status = raise_status
        self.garbage: list[int] = []
        self.last_id = 0
        self.last_plan = 0
        self.caps, self.lower, self.limits = _rules(kind, handle)
        self.copies = _Copies() if kind == "webgpu" else None
        self.threads = int(handle.info.get("threads", 1))

    def may_overwrite(self, buffer: Buffer) -> bool:
        return self.copies is None or buffer.handle not in self.copies.kept

    def overwritten(self, buffer: Buffer) -> None:
        if self.copies is not None:
            self.copies.drop(buffer.handle)

    def most_allocated(self) -> int:
        return self.handle.stats()["peak"]

    def reset_peak(self) -> None:
        self.handle.reset_peak()

    def set_threads(self, count: int) -> None:
        self.threads = self.handle.set_threads(count)

    def lose(self) -> None:
        if self.copies is None:
            super().lose()
        told = self.handle.close()
        if bridge.can_wait():
            bridge.wait(told)

    def check_dtype(self, dtype: DType) -> None:
        if dtype is float64 and not self.caps.wide:
            raise TypeError(
                "Cannot convert a webgpu Tensor to float64 dtype as the webgpu device doesn't "
                'support float64. Please use float32 instead, or device="cpu".'
            )

    def bytes_of(self, dtype: DType, nelems: int) -> int:
        if self.caps.wide:
            return dtype.itemsize * nelems
        if dtype in (bool_, uint8, int8, int16, int64):
            return 4 * nelems  # a 32-bit word each
        return -(-dtype.itemsize * nelems // 4) * 4

    def new_id(self) -> int:
        """A number for a buffer."""
        self.last_id += 1
        return self.last_id

    def release(self, handle: Any) -> None:
        if self.copies is None or self.copies.drop(handle):
            self.garbage.append(handle)

    def _run(self, roots: list[Node]) -> None:
        try:
            super()._run(roots)
        except DeviceLostError as error:
            if self.copies is None or not self.reopen(error):
                raise
            super()._run(roots)  # the device is another one now: planned anew

    def send(self, data: Any, dtype: DType, nelems: int) -> int:
        if len(self.garbage) > _GARBAGE:
            gone, self.garbage = self.garbage, []
            self._through(lambda: self.handle.free(gone))
        number = self.new_id()
        counters["bridge_calls"] += 1
        if nelems:
            self._through(lambda: self.handle.write(number, data, dtype.code))
            if self.copies is not None:
                self.copies.keep(number, data, dtype)
        else:
            self._through(lambda: self.handle.alloc(number, 4))
        return number

    def _through(self, call: Callable[[], Any], *needs: int) -> Any:
        """A call across the bridge; if the GPU was lost it is opened again and the call repeated,
        unless it needs buffers whose values are gone."""
        if self.copies is None:
            return call()
        try:
            self.copies.check(needs)
            return call()
        except DeviceLostError as error:
            if not self.reopen(error):
                raise
            self.copies.check(needs)
            return call()

    def reopen(self, error: Exception) -> bool:
        """A new GPU device in the place of the lost one, else the WASM kernels; values that have a
        copy on the host are written again. False if the error is about such values."""
        copies: Any = self.copies
        if copies is None or not isinstance(error, DeviceLostError):
            return False
        if error.args and error.args[0] == copies.told:
            return False
        handle = _another()
        self.handle = handle
        self.caps, self.lower, self.limits = _rules(handle.kind, handle)
        handle.on_status = raise_status
        self.plans = {}  # another one: recordings know that theirs are gone
        self.garbage.clear()
        copies.lost(self.last_id, str(error))
        for number, data, dtype in copies.items():
            handle.write(number, data, dtype.code)
        self.kind = handle.kind
        bridge.console(f"tabgrad: {error}; going on with {handle.kind}")
        return True

    def window(self, buffer: Buffer, dtype: DType, start: int, count: int) -> Buffer | None:
        offset, nbytes = self.bytes_of(dtype, start), self.bytes_of(dtype, count)
        if not self.caps.wide and start * dtype.itemsize % 4:
            return None  # half a word
        counters["bridge_calls"] += 1
        number, source = self.new_id(), buffer.handle
        self._through(lambda: self.handle.window(number, source, offset, max(nbytes, 4)), source)
        return Buffer(self, number, nbytes)

    def reserve(self, dtype: DType, nelems: int) -> Buffer:
        """A buffer without content, to be filled by a stream."""
        self.check_dtype(dtype)
        number = self.new_id()
        nbytes = self.bytes_of(dtype, nelems)
        self._through(lambda: self.handle.alloc(number, max(nbytes, 4)))
        return Buffer(self, number, nbytes)

    def fetch(self, buffer: Buffer, dtype: DType, start: int, count: int) -> Any:
        counters["bridge_calls"] += 1
        size, number = dtype.itemsize, buffer.handle
        return self._through(
            lambda: self.handle.read(number, size * count, dtype.code, size * start), number
        )

    async def fetch_async(self, buffer: Buffer, dtype: DType, start: int, count: int) -> Any:
        counters["bridge_calls"] += 1
        size, number = dtype.itemsize, buffer.handle
        if self.copies is not None:
            self.copies.check((number,))
        return await self.handle.read_async(number, size * count, dtype.code, size * start)

    def timings(self) -> list[tuple[str, float]]:
        """Measured from the second run at DEBUG=2 on; on the GPU only where the page can wait."""
        if not bridge.can_wait():
            return []
        found: list[tuple[str, float]] = bridge.wait(self.handle.timings())
        self.handle.profile(True)
        return found

    def compile(self, what: Schedule, n_scalar: int, numbers: list[Node]) -> _Plan:
        self.last_plan += 1
        words, texts = plans.words(
            what, n_scalar, self.lower, lambda s: max(self.bytes_of(s.dtype, s.nelems), 4)
        )
        if runtime.debug.level >= 4:
            for text in texts:
                print(text)
        counters["bridge_calls"] += 1
        self.handle.load(self.last_plan, words, texts)
        return _Plan(self.last_plan, numbers, self.kind, what, self.handle.unload)

    def run(self, compiled: _Plan, leaves: Sequence[Buffer], cells: bytes) -> list[int]:
        if self.copies is not None:
            self.copies.check(b.handle for b in leaves)
        first = self.last_id + 1
        self.last_id += compiled.outs
        outs = list(range(first, self.last_id + 1))
        gone, self.garbage = self.garbage, []
        words = array("i", [*map(_handle, leaves), *outs, len(gone), *gone])
        if cells:
            words.frombytes(cells)
        counters["bridge_calls"] += 1
        counters["dispatches"] += compiled.dispatches
        self.handle.run(compiled.number, words)
        return outs

    def cells(self, compiled: _Plan, values: Sequence[Any]) -> bytes:
        try:
            return compiled.cells.pack(*values)
        except OverflowError:  # beyond float32: an infinity
            return compiled.cells.pack(
                *[_float32(v) if isinstance(v, float) else v for v in values]
            )


def _float32(v: float) -> float:
    return v if abs(v) <= 3.4028235677973366e38 or v != v else (v > 0 or -1) * float("inf")


def _rules(kind: str, handle: bridge.Handle) -> tuple[Any, Callable[[Any], Any], Any]:
    """Capabilities and launch rules of a device, and the limits that these heed on the GPU."""
    if kind == "wasm":
        from . import wasm

        return wasm.CAPS, wasm.lower, None
    from . import variants, webgpu
    from .wgsl import Limits

    info, most = handle.info, handle.info["limits"]
    limits = Limits(
        max_storage_buffers=int(most["maxStorageBuffersPerShaderStage"]),
        software=bool(info["software"]),
        quads=bool(info["quads"]),
        subgroups=bool(info["subgroups"]),
        matrices=int(info["matrices"]),
        halves="shader-f16" in info["features"] and not info["quads"],
        memory=int(most["maxComputeWorkgroupStorageSize"]),
        tuned=variants.read(info["kept"]),
    )
    return webgpu.caps(limits), lambda step: webgpu.lower(step, limits), limits


# --- opening --------------------------------------------------------------------------------------


def open_sync(kind: str) -> Device:
    """Opens a device, waiting for the GPU where the browser can wait."""
    _only_in_a_page(kind)
    if kind == "auto":
        from .auto import opened_sync

        return opened_sync()
    return PageDevice(kind, bridge.open_device_sync(kind))


async def open_async(kind: str) -> Device:
    """Opens a device, awaiting the GPU."""
    _only_in_a_page(kind)
    if kind == "auto":
        from .auto import opened

        return await opened()
    return PageDevice(kind, await bridge.open_device(kind))


def _only_in_a_page(kind: str) -> None:
    if not runtime.IN_PAGE:
        raise RuntimeError(
            f"the {kind} device is there in a browser page or Node under Pyodide; on this Python "
            'use "cpu"'
        )


def choose_sync() -> Device:
    """webgpu if it can be opened and read without awaiting, else wasm; said once on the console."""
    reason = "this page has no WebGPU"
    if bridge.has_webgpu():
        if bridge.can_wait():
            try:
                return _said(runtime.resolve("webgpu"), "")
            except RuntimeError as error:
                reason = str(error)
        else:
            reason = "this code cannot wait for the GPU; `await tabgrad.init()` opens it"
    return _said(runtime.resolve("wasm"), reason)


def _said(made: Device, reason: str) -> Device:
    bridge.console(f"tabgrad: device {made}" + (f" ({reason})" if reason else ""))
    return made


async def choose_async() -> Device:
    """As ``choose_sync``, awaiting the GPU."""
    reason = "this page has no WebGPU"
    if bridge.has_webgpu():
        try:
            return _said(await runtime.open_async("webgpu"), "")
        except RuntimeError as error:
            reason = str(error)
    return _said(runtime.resolve("wasm"), reason)


# --- files ----------------------------------------------------------------------------------------


async def stream_file(url: Any, made: Any, progress: Any) -> dict[str, Tensor]:
    """A safetensors file from the network, its tensors streamed into device memory."""
    from ..io.safetensors import header_length, parse_header

    url = fspath(url)
    if "://" not in url and not bridge.has_address():
        raise FileNotFoundError(f"{url}: no such file, and no page that it could lie beside")
    first = await bridge.fetch_bytes(url, 0, 8)
    header = parse_header(await bridge.fetch_bytes(url, 8, 8 + header_length(first)))
    entries = header.entries
    nbytes = sum(e.end - e.start for e in entries.values())
    wide = any(e.dtype is float64 for e in entries.values())
    home, refuge = made.home(nbytes, wide), made.home(nbytes, True)
    try:
        return await _streamed(url, entries, made, home, progress)
    except Int64RangeError:
        if home is refuge:
            raise
        return await _streamed(url, entries, made, refuge, progress)


async def _streamed(
    url: str, entries: dict[str, Any], made: Any, home: Any, progress: Any
) -> dict[str, Tensor]:
    """The tensors of a file, on the device ``made``, whose memory is that of ``home``."""
    out: dict[str, Tensor] = {}
    parts = []
    for name, e in entries.items():
        count = (e.end - e.start) // e.dtype.itemsize
        buffer = home.reserve(e.dtype, count)
        parts.append((e.start, e.end - e.start, buffer.handle, e.dtype.code))
        out[name] = Tensor._wrap(leaf(made.adopt(buffer, e.dtype, count), e.shape, e.dtype), made)
    await home.handle.stream_into(url, parts, progress)
    return out


# --- random numbers -------------------------------------------------------------------------------

_STATE = 2512  # bytes of the generator's state, wasm_kernels/random.c


class PageRandom:
    """The generator of wasm_kernels/random.c: PyTorch's samplers, drawn in the wasm module."""

    def __init__(self, seed: int) -> None:
        self.device: Any = runtime.resolve("wasm")
        self.initial = seed
        self.state = self._memory(_STATE)
        self._call("mt_seed", "bi", self.state.handle, seed & 0xFFFFFFFF)

    def _memory(self, nbytes: int) -> Buffer:
        return self.device.reserve(uint8, nbytes)

    def _call(self, name: str, signature: str, *values: Any) -> None:
        counters["bridge_calls"] += 1
        self.device.handle.call(name, signature, *values)

    def _drawn(self, name: str, width: int, n: int, signature: str, *values: Any) -> Any:
        """n samples of ``width`` bytes as host bytes."""
        out = self._memory(width * n)
        self._call(name, "bbi" + signature, self.state.handle, out.handle, n, *values)
        return self.device.fetch(out, uint8, 0, width * n)

    def _float(self, kind: str, n: int, dtype: str, *values: float) -> Any:
        double = dtype == "float64"
        name = f"mt_{kind}_{'d' if double else 'f'}"
        return self._drawn(name, 8 if double else 4, n, "d" * len(values), *values)

    def uniform(self, n: int, dtype: str, lo: float, hi: float) -> Any:
        """n samples of [lo, hi) as host bytes."""
        return self._float("uniform", n, dtype, lo, hi)

    def normal(self, n: int, dtype: str, mean: float, std: float) -> Any:
        """n normal samples as host bytes."""
        return self._float("normal", n, dtype, mean, std)

    def exponential(self, n: int, dtype: str, rate: float) -> Any:
        """n exponential samples as host bytes."""
        return self._float("exponential", n, dtype, rate)

    def randint(self, n: int, low: int, high: int) -> Any:
        """n integers of [low, high) as int64 host bytes."""
        halves = [v for x in (low, high - low) for v in _halves(x)]
        return self._drawn("mt_randint", 8, n, "iiii", *halves)

    def words(self, n: int) -> Any:
        """n draws of 32 bits, as int32 host bytes."""
        return self._drawn("mt_words", 4, n, "")

    def bernoulli(self, n: int, p: float) -> Any:
        """n times 0 or 1 as float32 host bytes."""
        flags = bytes(self._drawn("mt_bernoulli", 1, n, "d", p))
        return array("f", list(flags)).tobytes()

    def randperm(self, n: int) -> Any:
        """A permutation of range(n) as int64 host bytes."""
        return self._drawn("mt_randperm", 8, n, "") if n else b""

    def get_state(self) -> tuple[int, int, Any, float | None]:
        """Seed, position in the key, key, cached normal."""
        raw = bytes(self.device.fetch(self.state, uint8, 0, _STATE))
        position, paired = struct.unpack_from("<ii", raw, 2496)
        (cached,) = struct.unpack_from("<d", raw, 2504)
        return self.initial, position, raw[:2496], cached if paired else None

    def set_state(self, state: tuple[int, int, Any, float | None]) -> None:
        """Continues from a state that ``get_state`` gave."""
        self.initial, position, key, cached = state
        tail = struct.pack("<iid", position, cached is not None, cached or 0.0)
        self.device.handle.write(self.state.handle, bytes(key) + tail, uint8.code)


def _halves(x: int) -> tuple[int, int]:
    """A 64-bit number as two signed 32-bit ones, lower half first."""
    x &= (1 << 64) - 1
    low, high = x & 0xFFFFFFFF, x >> 32
    return low - (low >> 31 << 32), high - (high >> 31 << 32)
