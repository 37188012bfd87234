"""The kernels' module in wasmtime, with numpy arrays as its buffers."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import numpy as np
import wasmtime

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "wasm_kernels" / "build"
GUARD = 64  # bytes of sentinel around every buffer: a stray write fails the call


def unshared(module: bytes) -> bytes:
    """The module with a memory of its own, as web/devices/cpu/module.js makes it."""
    head, tail = module.split(b"\x06memory\x02\x03", 1)
    return head + b"\x06memory\x02\x01" + tail


class Machine:
    """``run(launch, arrays)`` runs a launch on copies of ``arrays`` and writes the results back."""

    def __init__(self, name: str, parts: int = 1) -> None:
        self.parts = parts
        engine = wasmtime.Engine()
        self.store = wasmtime.Store(engine)
        module = wasmtime.Module(engine, unshared((BUILD / f"{name}.wasm").read_bytes()))
        limits = wasmtime.Limits(8192, 65535)
        self.memory = wasmtime.Memory(self.store, wasmtime.MemoryType(limits))
        self.exports = wasmtime.Instance(self.store, module, [self.memory]).exports(self.store)
        size = self.memory.data_len(self.store)
        address = ctypes.addressof(self.memory.data_ptr(self.store).contents)
        self.bytes = np.frombuffer((ctypes.c_uint8 * size).from_address(address), np.uint8)
        self.heap = -(-self.exports["__heap_base"].value(self.store) // 16) * 16

    def put(self, data: bytes, at: int) -> int:
        self.bytes[at : at + len(data)] = np.frombuffer(data, np.uint8)
        return -(-(at + len(data)) // 16) * 16

    @property
    def status(self) -> np.ndarray:
        at = self.exports["status"].value(self.store)
        return self.bytes[at : at + 4].view(np.int32)

    def run(self, launch, arrays, scalars: bytes = b"") -> None:
        at, places = self.heap, []
        for array in arrays:
            self.bytes[at : at + GUARD] = 0xA5
            places.append(at + GUARD)
            end = self.put(array.tobytes(), at + GUARD)
            tail = places[-1] + array.nbytes
            self.bytes[tail : tail + GUARD] = 0xA5
            at = end + GUARD
        words, pointers = at, self.put(np.array(launch.words, np.int32).tobytes(), at)
        cells = self.put(np.array([places[k] for k in launch.slots], np.uint32).tobytes(), pointers)
        self.put(scalars, cells)
        for part in reversed(range(self.parts)):  # in any order, results are the same
            self.exports[launch.kernel](self.store, words, pointers, cells, part, self.parts)
        for place, array in zip(places, arrays, strict=True):
            tail = place + array.nbytes
            assert (self.bytes[place - GUARD : place] == 0xA5).all(), "wrote before a buffer"
            assert (self.bytes[tail : tail + GUARD] == 0xA5).all(), "wrote behind a buffer"
            array.reshape(-1)[...] = self.bytes[place:tail].view(array.dtype)


sys.path.insert(0, str(ROOT / "package"))
