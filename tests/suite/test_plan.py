"""Steady steps hit the plan cache and cross the bridge a small, constant number of times."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import tabgrad as torch
from tabgrad import runtime
from tabgrad.plan import linearize


def counted(step: Callable[[], Any]) -> dict[str, int]:
    """How the counters moved during a step."""
    before = torch.profiler.counters()
    step()
    after = torch.profiler.counters()
    moved = {name: after[name] - before[name] for name in before}
    # twins are made to carry values from one to the other, step after step
    return {**moved, "bridge_calls": 1} if os.environ.get("TABGRAD_AUTO") == "twins" else moved


def trainer(optimizer: str, **options: Any) -> Callable[[], float]:
    torch.manual_seed(0)
    nn = torch.nn
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    opt = getattr(torch.optim, optimizer)(model.parameters(), **options)
    xs = [torch.randn(16, 4) for _ in range(4)]
    ys = [torch.randint(0, 3, (16,)) for _ in range(4)]
    state = {"i": 0}

    def step() -> float:
        i = state["i"] = state["i"] + 1
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(xs[i % 4]), ys[i % 4])
        loss.backward()
        opt.step()
        got: float = loss.item()
        return got

    return step


def test_counters() -> None:
    assert set(torch.profiler.counters()) == {
        "plans_built", "plan_hits", "bridge_calls", "dispatches", "flushes",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [("SGD", {"lr": 0.1}), ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3}),
     ("Adam", {"lr": 0.01}), ("AdamW", {"lr": 0.01})],
    ids=["SGD", "momentum", "Adam", "AdamW"],
)  # fmt: skip
def test_training_steps(device: str, optimizer: str, options: dict[str, Any]) -> None:
    step = trainer(optimizer, **options)
    first = step()
    step()  # optimizer state exists from here on
    if device == "auto":  # sends a batch to the device when it is first needed: there are four
        step(), step()
    steps = [counted(step) for _ in range(20)]
    for moved in steps:
        assert moved["plans_built"] == 0, f"a later step built a plan: {steps}"
        assert moved["plan_hits"] == moved["flushes"] >= 1
        assert moved == steps[0], f"steps differ: {steps}"
    assert steps[0]["flushes"] <= 2
    assert steps[0]["bridge_calls"] <= 4
    assert step() < first


def test_numbers_are_not_structure() -> None:
    x = torch.arange(4.0)
    x.tolist()

    def run(k: float) -> list[float]:
        y: list[float] = ((x * k + k) / (1 + k)).tolist()
        return y

    run(2.0)
    for k in (3.0, 0.5, 7.25):
        moved = counted(lambda k=k: run(k))
        assert moved["plans_built"] == 0 and moved["plan_hits"] == 1
    assert run(3.0) == [0.75, 1.5, 2.25, 3.0]


def test_integers_that_change_are_not_structure() -> None:
    x = torch.arange(4)
    x.tolist()
    (x * 3 + 1).tolist()
    moved = counted(lambda: (x * 5 + 2).tolist())
    assert moved["plans_built"] == 0
    assert (x * 5 + 2).tolist() == [2, 7, 12, 17]


def test_shapes_are_structure() -> None:
    for n in (5, 6):
        assert counted(lambda n=n: (torch.zeros(n) - 3.5).tolist())["flushes"] == 1
    assert (torch.zeros(6) - 3.5).tolist() == [-3.5] * 6


def test_other_aliasing_is_another_plan() -> None:
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0])
    assert (a * b + a).tolist() == [11, 42]
    assert (a * a + a).tolist() == [2, 6]
    assert (b * b + a).tolist() == [101, 402]
    assert (a * b + b).tolist() == [20, 60]


def test_all_pending_run_at_once() -> None:
    a = torch.ones(4)
    b, c, d = a + 1, a * 3, a - 5

    def read_all() -> None:
        assert b.tolist() == [2] * 4
        assert c.tolist() == [3] * 4
        assert d.tolist() == [-4] * 4

    assert counted(read_all)["flushes"] == 1


def test_chain_of_elementwise_is_one_dispatch() -> None:
    x = torch.linspace(0, 1, 64)
    x.tolist()
    moved = counted(lambda: (((x * 2 + 1).sin() - x).exp() * 0.5).relu().tolist())
    assert moved["dispatches"] == 1


def test_reduction_fuses_its_surroundings() -> None:
    x = torch.linspace(0, 1, 64).reshape(4, 16)
    x.tolist()
    moved = counted(lambda: torch.softmax(x * 3, 1).tolist())
    assert moved["dispatches"] <= 2
    moved = counted(lambda: ((x - x.mean(1, keepdim=True)) ** 2).mean().tolist())
    assert moved["dispatches"] <= 3


def test_dropped_values_are_not_computed() -> None:
    x = torch.ones(3)
    x.tolist()
    y = x * 2
    del y
    z = x * 3
    assert counted(lambda: z.tolist())["dispatches"] == 1


def test_key_tells_how_often_a_leaf_is_read() -> None:
    """``plan.given`` compares that with the reference counts of what a run may write over."""
    x, y = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    z = x * x + (x + y)
    graph = linearize([z.node(), x.node()])
    assert graph.leaves == [x.node(), y.node()]
    assert [len(graph.key[k]) for k in graph.places] == [3, 3]
    assert [graph.reads.count(k) for k in graph.places] == [3, 1]


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "max_pool1d"])
def test_composition_is_one_pending_value(name: str) -> None:
    """Each value between would cost a tensor, a storage and a tape entry."""
    x = torch.ones(2, 4, requires_grad=True)
    pending = runtime.resolve(x.device).pending
    before = len(pending)
    y = getattr(torch.nn.functional, name)(x, 2 if name == "max_pool1d" else 1)
    assert len(pending) == before + 1 and y.requires_grad


def test_inference_steps() -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2)
    xs = [torch.randn(3, 4) for _ in range(5)]
    with torch.no_grad():
        model(xs[0]).tolist()
        steps = [counted(lambda x=x: model(x).tolist()) for x in xs[1:]]
    assert all(s["plans_built"] == 0 and s["plan_hits"] == 1 for s in steps)
    assert all(s == steps[0] for s in steps)


def test_minibatches_by_slices() -> None:
    """``x[i : i + 8]``: where a batch lies is not structure."""
    torch.manual_seed(0)
    nn = torch.nn
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y, order = torch.randn(80, 4), torch.randint(0, 3, (80,)), torch.randperm(80)
    want = [x.tolist()[i : i + 8] for i in range(0, 80, 8)]

    def step(i: int) -> None:
        assert x[i : i + 8].tolist() == want[i // 8]
        opt.zero_grad()
        nn.functional.cross_entropy(model(x[i : i + 8]), y[i : i + 8]).backward()
        opt.step()

    def shuffled(batch: Any) -> None:
        opt.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        opt.step()

    for run, batches in ((step, [*range(0, 80, 8)]), (shuffled, [*order.split(8)])):
        moved = [counted(lambda b=b, run=run: run(b)) for b in batches]
        assert [m["plans_built"] for m in moved[3:]] == [0] * 7, moved


def test_windows_keep_their_values() -> None:
    x = torch.arange(40.0)
    x.tolist()
    parts = [(x[i : i + 4] * 2 + x[i + 1 : i + 5]).tolist() for i in range(0, 32, 3)]
    assert parts == [[3.0 * (i + j) + 1 for j in range(4)] for i in range(0, 32, 3)]
    half = torch.arange(40).to(torch.float16)
    half.tolist()
    got = [(half[i : i + 3] + 1).tolist() for i in range(7)]
    assert got == [[float(i + j + 1) for j in range(3)] for i in range(7)]
