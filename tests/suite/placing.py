"""The device "auto" with costs given by hand, over the devices that there are: webgpu and wasm,
else two of one kind."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import tabgrad as torch
from tabgrad import bridge, runtime
from tabgrad.backends.auto import AutoDevice
from tabgrad.backends.places import WASM, WEBGPU
from tabgrad.backends.rates import Costs, Rates

NEAR = Rates(run=1e-5, read=0.0, flops=1e10, traffic=1e10)  # as WASM kernels are, about
FAR = Rates(run=1e-4, read=1e-3, flops=1e12, traffic=1e11)  # and a GPU
USUAL = Costs(NEAR, FAR, 1e9)
NOTHING = Rates(run=0.0, read=0.0, flops=1e30, traffic=1e30)
COSTS = {"wasm": Costs(NOTHING, FAR, 1e30), "webgpu": Costs(NEAR, NOTHING, 1e30), "usual": USUAL}


class Alternating(AutoDevice):
    """Every run on the other side than the last, where it may."""

    def _choose(self, placed: Any, places: Sequence[Any], values: Sequence[Any]) -> int:
        only = self._only_wasm(placed, values)
        return WASM if only or self.at == WEBGPU else WEBGPU

    def _built(self, placed: Any, side: int, graph: Any, roots: Any) -> None:
        super()._built(placed, side, graph, roots)
        if (
            placed.sides[1 - side] is None and not placed.refused
        ):  # so that later runs build nothing
            built = runtime.counters["plans_built"]
            placed.built(1 - side, self.sides[1 - side].planned(graph, roots), roots)
            runtime.counters["plans_built"] = built


def two_devices(twins: bool = False) -> tuple[Any, Any]:
    if not runtime.IN_PAGE:
        return runtime.NumpyDevice(), runtime.NumpyDevice()
    if bridge.has_webgpu() and not twins:
        return runtime.resolve("wasm"), runtime.resolve("webgpu")
    return runtime.resolve("wasm"), second_wasm()


@cache
def second_wasm() -> Any:
    from tabgrad.backends.page import PageDevice

    return PageDevice("wasm", bridge.open_wasm())


def placing(kind: str = "usual") -> AutoDevice:
    """A device of its own: "wasm", "webgpu", "usual", "alternating" or "twins", which alternates
    between two of one kind: they round alike."""
    if kind in ("alternating", "twins"):
        return Alternating(*two_devices(kind == "twins"), USUAL)
    return AutoDevice(*two_devices(), COSTS[kind])


def install(kind: str) -> None:
    """Makes it the device that ``"auto"`` names."""
    runtime._open["auto"] = placing(kind)
    assert torch.device("auto") == runtime._open["auto"].public
