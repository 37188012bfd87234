"""Python's side of the bridge: the only file that imports ``js`` and ``pyodide``.

A call carries small integers; JavaScript reads Python's memory by address. ``Handle`` has the
doors of docs/architecture.md, the functions around it bring the JavaScript and the files.
"""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from . import assets
from .errors import DeviceLostError, Int64RangeError, OutOfMemoryError
from .link import link

if TYPE_CHECKING or sys.platform == "emscripten":
    import js
    import pyodide_js
    from pyodide.code import run_js
    from pyodide.ffi import JsException, can_run_sync, create_proxy, run_sync, to_js
else:  # importable everywhere, usable in a page

    class JsException(Exception):
        """What JavaScript throws, in a page."""


RUN_AHEAD = 3  # runs on the GPU before Python waits for the oldest, where it can wait
_SMALL = 1 << 16  # bytes; below it a copy costs less than asking JavaScript for a view

_ERRORS: dict[str, type[Exception]] = {
    "OutOfMemory": OutOfMemoryError,
    "DeviceLost": DeviceLostError,
    "RangeError64": Int64RangeError,
    "NotFound": FileNotFoundError,
    "HttpError": OSError,
    "NetworkError": ConnectionError,
    "Truncated": EOFError,
    "TypeError": TypeError,
}


def translated(error: Any) -> Exception:
    """A JavaScript error as the Python exception of its name."""
    name = str(getattr(error, "name", ""))
    message = str(getattr(error, "message", error))
    known = _ERRORS.get(name)
    if known is not None:
        return known(message)
    plain = ("Error", "KernelError", "GpuError", "NoWebGPU", "")
    return RuntimeError(message if name in plain else f"{name}: {message}")


def can_wait() -> bool:
    """Whether this code may block until a promise settles."""
    return bool(can_run_sync())


def wait(promise: Any) -> Any:
    """The value of a promise, blocking."""
    try:
        return run_sync(promise)
    except JsException as error:
        raise translated(error) from None


async def _awaited(promise: Any) -> Any:
    try:
        return await promise
    except JsException as error:
        raise translated(error) from None


# --- the JavaScript -------------------------------------------------------------------------------

_module: Any = None


def module() -> Any:
    """The namespace of ``web/runtime.js``: what the page imported, else the wheel's files."""
    global _module
    if _module is None:
        _module = getattr(js.globalThis, "__tabgrad_runtime", None)
    if _module is None:
        text = link("runtime.js", lambda name: assets.read_text("_web", name))
        _module = run_js(text + "\n//# sourceURL=tabgrad/_web/runtime.js")
    return _module


def console(message: str) -> None:
    """A line in the browser's console."""
    js.console.log(message)


# --- devices --------------------------------------------------------------------------------------


def _status(code: int) -> None:
    raise RuntimeError(f"a kernel on the device reports status {code}")


def _address(words: array[Any]) -> tuple[int, int]:
    return words.buffer_info()


class Handle:
    """An open device. ``on_status`` is called with the status word of a read when it is not 0."""

    def __init__(self, gate: Any, on_status: Callable[[int], None] = _status) -> None:
        doors = module().attach(gate, pyodide_js._module)
        self._doors = doors
        # Bound once: looking a door up costs as much as walking through it.
        self._run, self._write, self._read_now = doors.run, doors.write, doors.readNow
        self.on_status = on_status
        self._coming = False  # do threads come up that nobody has waited for?
        self.kind: str = doors.kind
        self.info: dict[str, Any] = doors.info.to_py()

    def load(self, plan: int, words: array[int], texts: list[str]) -> None:
        """Makes a plan known under a number: its words and the texts of its kernels."""
        try:
            self._coming |= self._doors.load(plan, *_address(words), to_js(texts))
        except JsException as error:
            raise translated(error) from None

    def unload(self, plan: int) -> None:
        """Forgets a plan."""
        self._doors.unload(plan)

    def run(self, plan: int, words: array[int]) -> None:
        """Runs a plan: one call."""
        address, length = words.buffer_info()
        try:
            ahead = self._run(plan, address, length)
        except JsException as error:
            raise translated(error) from None
        if ahead > RUN_AHEAD and can_run_sync():
            wait(self._doors.caughtUp(RUN_AHEAD - 1))

    def alloc(self, id: int, nbytes: int) -> None:
        """Gives a number memory without content, in device bytes."""
        try:
            self._doors.alloc(id, nbytes)
        except JsException as error:
            raise translated(error) from None

    def write(self, id: int, data: Any, dtype: int, start: int = 0) -> None:
        """Host bytes into a buffer, from element ``start`` on; made if there is none."""
        try:
            if isinstance(data, array):
                address, length = data.buffer_info()
                self._write(id, address, length * data.itemsize, dtype, start)
                return
            view = memoryview(data)
            view = view.cast("B") if view.nbytes else memoryview(b"")
            if view.nbytes < _SMALL:
                small = array("B", view)
                self._write(id, *small.buffer_info(), dtype, start)
            else:
                self._doors.writeFrom(id, view, dtype, start)
        except JsException as error:
            raise translated(error) from None

    def window(self, id: int, source: int, offset: int, nbytes: int) -> None:
        """Makes a buffer of a part of another, in device bytes."""
        try:
            self._doors.window(id, source, offset, nbytes)
        except JsException as error:
            raise translated(error) from None

    def read(self, id: int, nbytes: int, dtype: int, offset: int = 0) -> memoryview:
        """Host bytes of a buffer; on webgpu this waits, where the browser lets it."""
        if self.kind == "webgpu":
            if not can_run_sync():
                raise RuntimeError(
                    "this browser, or this place in the program, cannot wait for the GPU. "
                    "Use `await tensor.data()` (bytes) or `await tensor.numpy_async()`, "
                    'run the code with runPythonAsync, or choose the device "wasm"'
                )
            return self._take(wait(self._doors.readSoon(id, nbytes, dtype, offset)), nbytes)
        out = array("B", [0]) * nbytes
        try:
            status = self._read_now(id, out.buffer_info()[0], nbytes, dtype, offset)
        except JsException as error:
            raise translated(error) from None
        if self._coming:
            self._let_come()
        return self._checked(out, status)

    def _let_come(self) -> None:
        """Workers come up only while the page's own thread is free: once it is, for a moment. At
        the end of a read nothing is half done, so other code of the page may run meanwhile."""
        self._coming = False
        if can_run_sync():
            wait(self._doors.idle())

    async def read_async(self, id: int, nbytes: int, dtype: int, offset: int = 0) -> memoryview:
        """As ``read``, awaiting."""
        if self.kind != "webgpu":
            return self.read(id, nbytes, dtype, offset)
        ticket = await _awaited(self._doors.readSoon(id, nbytes, dtype, offset))
        return self._take(ticket, nbytes)

    def _take(self, ticket: int, nbytes: int) -> memoryview:
        out = array("B", [0]) * nbytes
        return self._checked(out, self._doors.readReady(ticket, out.buffer_info()[0]))

    def _checked(self, out: array[int], status: int) -> memoryview:
        if status:
            self.on_status(status)
        return memoryview(out)

    def free(self, ids: Iterable[int]) -> None:
        """Gives buffers back now; those of a running program ride on its next run."""
        numbers = array("i", ids)
        self._doors.free(*numbers.buffer_info())

    def call(self, name: str, signature: str, *values: Any) -> Any:
        """Calls an export of the wasm module. A letter of ``signature`` per value: ``b`` the number
        of a buffer, passed as its address; ``l`` an int64; anything else a plain number."""
        try:
            return self._doors.call(name, signature, *values)
        except JsException as error:
            raise translated(error) from None

    async def stream_into(
        self,
        url: str,
        parts: Iterable[tuple[int, int, int, int]],
        progress: Callable[[int, int], Any] | None = None,
    ) -> None:
        """Ranges of a file into buffers that ``alloc`` made, past Python's memory. A part is
        (offset in the file, bytes, buffer, dtype code); ``progress(done, total)`` counts bytes."""
        flat = array("d", [number for part in parts for number in part])
        proxy = create_proxy(progress) if progress else None
        try:
            await _awaited(self._doors.streamParts(url, *_address(flat), proxy))
        finally:
            if proxy:
                proxy.destroy()

    def pending(self) -> int:
        """Runs that were handed to the GPU and are not known to be finished."""
        return int(self._doors.pending())

    async def idle(self) -> None:
        """Waits until all runs are finished; raises what went wrong in them."""
        await _awaited(self._doors.idle())

    def stats(self) -> dict[str, int]:
        """Counters: runs, dispatches, pipelines, bind groups, bytes allocated, pooled, at most."""
        counts: dict[str, int] = self._doors.stats().to_py()
        return counts

    def reset_peak(self) -> None:
        """Lets ``stats()["peak"]`` count from now on."""
        self._doors.resetPeak()

    def profile(self, on: bool) -> None:
        """Times every kernel from now on, or no longer."""
        self._doors.profile(on)

    async def timings(self) -> list[tuple[str, float]]:
        """Kernel and milliseconds of every dispatch since ``profile(True)`` or the last call."""
        found = await _awaited(self._doors.timings())
        return [(name, ms) for name, ms in found.to_py()]

    async def keep(self, text: str) -> None:
        """Keeps a text for later visits with this GPU, where the browser lets it: ``info["kept"]``
        of a device opened then."""
        await _awaited(self._doors.keep(text))

    def set_threads(self, count: int) -> int:
        """How many threads a run may take, 0: as many as are of use; what it will be."""
        self._coming = True  # perhaps
        return int(self._doors.setThreads(count))

    def close(self) -> Any:
        """Gives the device up; of a GPU, a promise of the browser's word that it is lost."""
        return self._doors.close()


def open_wasm() -> Handle:
    """Opens the WASM kernels, at once."""
    runtime = module()
    threads = int(os.environ.get("TABGRAD_THREADS") or 0)
    build = "relaxed" if runtime.hasRelaxed() else "simd"
    options = {"wasm": to_js(assets.read_bytes("_wasm", f"{build}.wasm")), "build": build}
    options["threads"] = threads
    try:
        gate = runtime.openCpu(to_js(options, dict_converter=_record()))
    except JsException as error:
        raise translated(error) from None
    return Handle(gate)


async def open_webgpu() -> Handle:
    """Opens the GPU; raises RuntimeError where there is none."""
    return Handle(await _awaited(module().openGpu()))


async def open_device(kind: str) -> Handle:
    """Opens ``"webgpu"`` or ``"wasm"``."""
    return open_wasm() if kind == "wasm" else await open_webgpu()


def open_device_sync(kind: str) -> Handle:
    """As ``open_device``, waiting where the browser lets it."""
    if kind == "wasm":
        return open_wasm()
    if not can_run_sync():
        raise RuntimeError(
            "the GPU cannot be opened without waiting, and this browser, or this place in the "
            "program, cannot wait: run the code with runPythonAsync, "
            'or choose the device "wasm"'
        )
    return Handle(wait(module().openGpu()))


def has_webgpu() -> bool:
    """Whether there is a WebGPU to ask; it may still find no adapter."""
    navigator = getattr(js.globalThis, "navigator", None)
    return bool(getattr(navigator, "gpu", None))


def has_address() -> bool:
    """Whether a relative address means something: there is a page. Node has none."""
    return bool(getattr(js.globalThis, "location", None))


def _record() -> Any:
    return js.Object.fromEntries


def recall(name: str) -> str:
    """What ``keep`` kept on this visit or an earlier one, "" if nothing."""
    try:
        return js.globalThis.localStorage.getItem(name) or ""
    except (AttributeError, JsException):  # a worker, Node, a browser that forbids it
        return ""


def keep(name: str, text: str) -> None:
    """Keeps a text for the next visit, where the browser lets it."""
    with suppress(AttributeError, JsException):
        js.globalThis.localStorage.setItem(name, text)


# --- files ----------------------------------------------------------------------------------------


async def fetch_bytes(
    url: str,
    start: int = 0,
    end: int = 0,
    progress: Callable[[int, int], Any] | None = None,
) -> bytes:
    """A file from the network, or its bytes from ``start`` to ``end`` (0: all). Raises
    FileNotFoundError for 404, OSError for what else a server refuses, EOFError if it ends early."""
    proxy = create_proxy(progress) if progress else None
    try:
        found = await _awaited(module().fetchBytes(url, start, end, proxy))
    finally:
        if proxy:
            proxy.destroy()
    content: bytes = found.to_bytes()
    return content


# --- values ---------------------------------------------------------------------------------------

_ARRAYS = {
    "bool": "Uint8Array", "uint8": "Uint8Array", "int8": "Int8Array", "int16": "Int16Array",
    "int32": "Int32Array", "int64": "BigInt64Array", "float16": "Uint16Array",
    "bfloat16": "Uint16Array", "float32": "Float32Array", "float64": "Float64Array",
}  # fmt: skip


def typed_array(data: bytes, dtype: str) -> Any:
    """Bytes as JavaScript's array of a dtype."""
    name = _ARRAYS[dtype]
    if dtype == "float16" and hasattr(js.globalThis, "Float16Array"):  # not in every browser
        name = "Float16Array"
    return getattr(js, name).new(to_js(data).buffer)


def to_javascript(value: Any) -> Any:
    """Lists as arrays and dicts as plain objects, deeply; what else it is stays."""
    return to_js(value, dict_converter=_record())
