"""Kernel variants measured on the visitor's device: ``tabgrad.tune``."""

from __future__ import annotations

from typing import Any

import pytest
import tabgrad as torch
from tabgrad import nn, runtime
from tabgrad.backends import variants


@pytest.fixture
def gpu(device: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The webgpu device with nothing measured; None elsewhere. What a test measures goes again."""
    found = runtime.resolve("webgpu") if device == "webgpu" else None
    if found is not None:
        before = {**found.limits.tuned}
        found.limits.tuned.clear()
        monkeypatch.setattr(variants, "MORE", ("direct 4 2 4", "matvec 1 1 64"))
    yield found
    if found is not None:
        found.limits.tuned.clear()
        found.limits.tuned.update(before)
        found.plans = {}


def slow(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Lets the clock say that these variants take ten times as long."""
    from tabgrad import tuner

    real = tuner._runner

    def runner(*args: Any) -> Any:
        run = real(*args)

        async def ran(variant: str, count: int = 1) -> Any:
            _, out = await run(variant, count)
            return 20 * count * (10 if variant in names else 1), out

        return ran

    monkeypatch.setattr(tuner, "_runner", runner)


async def test_tuning(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))
    x = torch.randn(4, 2, 8, 8)
    want = model(x).tolist()
    calls = []
    if gpu is None:
        others = {name: d for name, d in runtime._open.items() if name != "webgpu"}
        monkeypatch.setattr(runtime, "_open", others)  # another test may have opened one
        assert await torch.tune(calls.append, 1) == [] and calls == []
        assert torch.tune.results() == []
        return
    shapes = [("conv2d", 1, 8, 144, 18), ("matmul", 1, 4, 5, 288, True, True)]
    usual = [variants.candidates(variants.Shape(*s), gpu.limits)[0] for s in shapes]
    slow(monkeypatch, *usual)
    report = await torch.tune(model, x)
    assert [r.step.split()[0] for r in report] == ["conv2d", "matmul"]
    assert [r.default for r in report] == usual
    assert all(r.default != r.chosen and (r.before, r.after) == (200, 20) for r in report)
    built = torch.profiler.counters()["plans_built"]
    assert model(x).tolist() == [pytest.approx(row, rel=1e-4, abs=1e-5) for row in want]
    assert torch.profiler.counters()["plans_built"] > built  # with the other kernels
    assert torch.tune.results() == report
    monkeypatch.setattr(torch.tuner, "_measured", None)
    assert await torch.tune(model, x) == report  # not measured again
    await torch.tune.forget()
    assert torch.tune.results() == []
    assert model(x).tolist() == want


async def test_the_usual_stays_where_nothing_is_quicker(gpu: Any, monkeypatch: Any) -> None:
    if gpu is None:
        return
    slow(monkeypatch)
    x, plans = torch.randn(16, 16), gpu.plans
    (row,) = await torch.tune(lambda: x @ x)
    assert row.chosen == row.default and row.before == row.after
    assert gpu.plans is plans  # they are what they would be
    await torch.tune.forget()


async def test_what_fails_changes_nothing(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(16, 16)

    def fails() -> None:
        (x @ x).tolist()
        raise ValueError("in the function")

    if gpu is None:
        return
    plans = gpu.plans
    with pytest.raises(ValueError, match="in the function"):
        await torch.tune(fails)
    impossible = ("direct 0 0 0", "tiled 0 1")
    monkeypatch.setattr(variants, "MORE", impossible)
    with pytest.raises(ZeroDivisionError):
        await torch.tune(lambda: x @ x)
    assert torch.tune.results() == [] and gpu.plans is plans and "run" not in vars(gpu)
    assert (x @ x).sum().item() == pytest.approx((x.sum(0) * x.sum(1)).sum().item(), rel=1e-3)


async def test_wrong_results_are_dropped(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if gpu is None:
        return
    from tabgrad import tuner

    real = tuner._launches

    def launches(key: str, step: Any, limits: Any) -> Any:
        found = real(key, step, limits)
        usual, other = [*found][:2]
        broken = [one._replace(kernel=one.kernel.replace("+= p_", "-= p_").replace("+=", "-=", 1))
                  for one in found[usual]]  # fmt: skip
        return {usual: found[usual], other: broken}

    monkeypatch.setattr(tuner, "_launches", launches)
    x = torch.randn(16, 16)
    (row,) = await torch.tune(lambda: x @ x)
    assert row.chosen == row.default
    await torch.tune.forget()


async def test_a_compiled_function_takes_the_quicker_kernels(gpu: Any, monkeypatch: Any) -> None:
    x = torch.randn(16, 16)
    step = torch.compile(lambda: (x @ x).relu())
    want = [step().tolist() for _ in range(4)][-1]
    if gpu is None:
        return
    usual = variants.candidates(variants.Shape("matmul", 1, 16, 16, 16, True), gpu.limits)[0]
    slow(monkeypatch, usual)
    (row,) = await torch.tune(step)
    assert row.chosen != usual
    for _ in range(4):
        assert step().tolist() == [pytest.approx(r, rel=1e-4, abs=1e-5) for r in want]
    await torch.tune.forget()
