"""What an executor's work costs: rates measured in a moment, kept from visit to visit."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import prod
from time import perf_counter
from typing import Any, NamedTuple

from .. import bridge
from ..dtypes import float32
from ..graph import Node, elementwise, leaf, number
from ..runtime import Device

_MANY = 1 << 21  # elements of what is copied, 8 MiB
_CHAIN = 4  # runs before a read


class Rates(NamedTuple):
    """Of one executor."""

    run: float  # seconds that a run costs, whatever it does
    read: float  # seconds until a value is on the host
    flops: float  # of products, a second
    traffic: float  # bytes a second
    build: float = 0.0  # seconds to build a kernel


class Costs(NamedTuple):
    """Of both, and of the way from one to the other (bytes a second)."""

    wasm: Rates
    webgpu: Rates
    transfer: float


async def known(device: Any) -> tuple[Rates, float]:
    """As ``measure``, but once for a GPU, a build of the kernels and a number of threads."""
    from .. import __version__

    about = [device.handle.info.get(k) for k in ("build", "vendor", "architecture", "description")]
    name = "tabgrad " + json.dumps([__version__, *about, device.threads])
    try:
        rates, transfer = json.loads(bridge.recall(name))
        return Rates(*rates), float(transfer)
    except (TypeError, ValueError):  # nothing kept
        found = await measure(device)
        bridge.keep(name, json.dumps(found))
        return found


async def measure(device: Device) -> tuple[Rates, float]:
    """The rates of an executor, and bytes a second to it and back: some tens of milliseconds."""
    device.flush()
    tiny = _zeros(device, 64)
    first = await _time(device, lambda: _more(tiny), 1)
    read = await _time(device, lambda: _more(tiny), 4)
    start = perf_counter()
    for _ in range(_CHAIN):
        device.flush(_more(tiny))
    run = (perf_counter() - start) / _CHAIN
    flops = await _products(device, read)
    traffic, transfer = await _copies(device, read, run)
    return Rates(run, max(read - run, 0.0), flops, traffic, max(first - read, 0.0)), transfer


async def _products(device: Device, read: float) -> float:
    """Floating-point operations a second, of a product that takes long enough to tell."""
    for n in (256, 1024):
        a = _zeros(device, n, n)
        multiply = lambda a=a: Node("matmul", (a, a), a.shape, float32)  # noqa: E731
        await _time(device, multiply, 1)
        spent = await _time(device, multiply)
        if spent > max(2 * read, 5e-4):
            break
    return 2 * n**3 / max(spent - read, spent / 10)


async def _copies(device: Device, read: float, run: float) -> tuple[float, float]:
    """Bytes a second within the device, and to it and back."""
    start = perf_counter()
    large = _zeros(device, _MANY)
    buffer, _ = device.locate(large)
    await device.fetch_async(buffer, float32, 0, _MANY)
    there = perf_counter() - start

    def chain() -> Node:
        x = large
        for _ in range(_CHAIN):
            x = _more(x)
            device.flush(x)
        return x

    await _time(device, chain, 1)
    spent = await _time(device, chain)
    traffic = 8 * _MANY * _CHAIN / max(spent - read - _CHAIN * run, spent / 10)
    return traffic, 8 * _MANY / max(there - read, there / 10)


async def _time(device: Device, make: Callable[[], Node], times: int = 2) -> float:
    """The quickest of some computations of one value, first element read."""
    found = []
    for _ in range(times):
        start = perf_counter()
        buffer, at = device.locate(make())
        await device.fetch_async(buffer, float32, at, 1)
        found.append(perf_counter() - start)
    return max(min(found), 1e-6)


def _zeros(device: Device, *shape: int) -> Node:
    n = prod(shape)
    return leaf(device.upload(bytes(4 * n), float32, n), shape, float32)


def _more(x: Node) -> Node:
    return elementwise("add", (x, number(1.0, float32)), float32)
