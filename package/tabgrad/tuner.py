"""Kernel variants measured where they run: ``tabgrad.tune``."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from time import perf_counter
from typing import Any

from . import runtime
from .backends import variants
from .backends.variants import Tuned
from .graph import leaf
from .ir import Slot, Structured
from .random import Generator, rand
from .runtime import Buffer
from .schedule import Schedule
from .tensor import Tensor

_CLEARLY = 0.95  # of the usual one's time: what is not quicker than that does not replace it
_ROUNDING = 1e-4  # of the largest result
_LONG = 10.0  # milliseconds that a measurement takes at least,
_MOST = 256  # if so many launches do
_ROUNDS = 5


async def tune(f: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Tuned]:
    """Measures kernel variants for the matrix products and convolutions of a call, on this GPU.

    Calls ``f`` once. Each shape that it multiplies or convolves on the webgpu device is then
    computed by every kernel variant that can; those whose results agree with the usual one's are
    timed, and one that is clearly quicker is used from now on, on later visits with the same GPU
    too: the browser keeps the table. Shapes that are in it are not measured again. Results may
    differ in their last bits afterwards.

    Like PyTorch's ``torch.backends.cudnn.benchmark = True``, but on request, since a page has to
    await its GPU; it may take a second or two for a shape. ``tune.results()`` is the table;
    ``await tune.forget()`` empties it.

    Args:
        f: a function or module; to tune a training step too, a function that makes one.
        args, kwargs: what it is called with.

    Returns:
        list of ``(step, default, chosen, before, after)`` for the shapes of the call: name and
        shape of a step, two variants, and their milliseconds. Empty, without a call, where no
        tensor was made on a webgpu device (``"auto"`` has one).

    Examples::

        >>> model = nn.Linear(512, 512)
        >>> report = await torch.tune(model, torch.randn(64, 512))  # doctest: +SKIP
        >>> report[0].chosen, report[0].before, report[0].after  # doctest: +SKIP
        ('tiled 32 4', 0.41, 0.23)
    """
    runtime.default_device()
    device = _gpu()
    if device is None:
        return []
    steps = _steps(device, f, args, kwargs)
    known = device.limits.tuned
    found = {key: await _measured(device, key, s) for key, s in steps.items() if key not in known}
    await _keep(device, {**known, **{key: row for key, row in found.items() if row}})
    return [known[key] for key in steps if key in known]


def results() -> list[Tuned]:
    """What is remembered for this GPU, in the order measured."""
    device = _gpu()
    return [*device.limits.tuned.values()] if device else []


async def forget() -> None:
    """Forgets what was measured on this GPU."""
    device = _gpu()
    if device:
        await _keep(device, {})


tune.results, tune.forget = results, forget  # type: ignore[attr-defined]


def _gpu() -> Any:
    """The open webgpu device."""
    found = runtime._open.get("webgpu")
    return found if found and found.kind == "webgpu" else None


async def _keep(device: Any, table: dict[str, Tuned]) -> None:
    known = device.limits.tuned
    if table != known:
        if any(row.chosen != row.default for row in {**known, **table}.values()):
            device.plans = {}  # they were made with other variants
        text = variants.written(table)
        known.clear()
        known.update(variants.read(text))
        await device.handle.keep(text)


def _steps(device: Any, f: Any, args: Any, kwargs: Any) -> dict[str, Structured]:
    """The products and convolutions that a call launches, by name."""
    found: dict[str, Structured] = {}

    def noted(compiled: Any, *rest: Any) -> Any:
        for s in compiled.structured:
            if s.op in variants.OPS:
                found[variants.name(s)] = s._replace(operands=tuple(range(len(s.operands))))
        return type(device).run(device, compiled, *rest)

    runtime.step_done()  # what is pending is not of the call
    device.run = noted
    try:
        out = f(*args, **kwargs)  # noqa: F841  (what is held is computed)
        runtime.step_done()
    finally:
        del device.run
    return found


async def _measured(device: Any, key: str, step: Structured) -> Tuned | None:
    """None if there is but one kernel for the step."""
    launches = _launches(key, step, device.limits)
    if len(launches) < 2:
        return None
    run = _runner(device, step, launches)
    usual = next(iter(launches))
    _, want = await run(usual)
    times: dict[str, list[float]] = {}
    for v in launches:
        _, got = await run(v)
        (wrong,) = await ((got - want).abs().max() / want.abs().max()).data()
        if wrong < _ROUNDING:  # not if it is nan
            times[v] = []
    count = 1
    while len(times[usual]) < _ROUNDS:  # in turns; what is far slower drops out
        for v, ms in times.items():
            ms.append((await run(v, count))[0] / count)
        best = min(map(min, times.values()))
        times = {v: ms for v, ms in times.items() if v == usual or min(ms) < 2 * best}
        if best * count < _LONG and count < _MOST:
            count, times = 4 * count, {v: [] for v in times}
    low, middle = [{v: sorted(ms)[k] for v, ms in times.items()} for k in (0, _ROUNDS // 2)]
    chosen = min(middle, key=middle.__getitem__)
    if any(ms[chosen] > _CLEARLY * ms[usual] for ms in (low, middle)):
        chosen = usual
    return Tuned(key, usual, chosen, round(middle[usual], 4), round(middle[chosen], 4))


def _launches(key: str, step: Structured, limits: Any) -> dict[str, Any]:
    """What each variant launches, the usual one first; only the first of those that are alike."""
    from .backends.webgpu import lower

    found: dict[str, Any] = {}
    for v in variants.candidates(variants.shape(step), limits):
        made = lower(step, limits._replace(tuned={key: Tuned(key, "", v, 0.0, 0.0)}))
        if made not in found.values():
            found[v] = made
    return found


def _runner(device: Any, step: Structured, launches: dict[str, Any]) -> Any:
    """Runs a variant of a step so many times: milliseconds, and the result."""
    *sizes, size = step.sizes
    numbers = Generator().manual_seed(0)
    inputs = [device.locate(rand(n, generator=numbers, device=device).to(d).node())[0]
              for n, d in zip(sizes, step.dtypes, strict=False)]  # fmt: skip
    slots = tuple(map(Slot, step.dtypes, step.sizes))
    out = slots[-1]

    @cache
    def plan(variant: str, count: int) -> Any:
        what = Schedule((step,) * count, slots, len(inputs), 1, (("slot", len(inputs)),))
        lower, device.lower = device.lower, lambda _: launches[variant]
        try:
            return device.compile(what, 0, [])
        finally:
            device.lower = lower

    async def run(variant: str, count: int = 1) -> tuple[float, Tensor]:
        made = plan(variant, count)
        await device.handle.idle()
        start = perf_counter()
        (handle,) = device.run(made, inputs, b"")
        await device.handle.idle()
        spent = 1e3 * (perf_counter() - start)
        buffer = Buffer(device, handle, device.bytes_of(out.dtype, size))
        return spent, Tensor._wrap(leaf(buffer, (size,), out.dtype), device)

    return run
