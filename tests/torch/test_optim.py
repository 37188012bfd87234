"""optim against real PyTorch: trajectories, state dicts, schedules, errors."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import pytest
import tabgrad

torch = pytest.importorskip("torch")
LIBS = (tabgrad, torch)

OPTIMIZERS = [
    "SGD(ps, lr=0.1)",
    "SGD(ps, lr=0.1, momentum=0.9, weight_decay=0.1)",
    "SGD(ps, lr=0.1, momentum=0.9, dampening=0.3, maximize=True)",
    "SGD(ps, lr=0.1, momentum=0.9, nesterov=True)",
    "Adam(ps, lr=0.05)",
    "Adam(ps, lr=0.05, betas=(0.8, 0.9), weight_decay=0.1, amsgrad=True)",
    "Adam(ps, lr=0.05, weight_decay=0.1, decoupled_weight_decay=True, maximize=True)",
    "AdamW(ps, lr=0.05)",
    "AdamW(ps, lr=0.05, weight_decay=0.3, amsgrad=True)",
    "RMSprop(ps)",
    "RMSprop(ps, momentum=0.9, centered=True, weight_decay=0.1)",
    "Adagrad(ps, lr=0.1)",
    "Adagrad(ps, lr=0.1, lr_decay=0.1, initial_accumulator_value=0.5, weight_decay=0.1)",
    "Adadelta(ps)",
    "Adadelta(ps, lr=0.5, rho=0.8, weight_decay=0.1, maximize=True)",
    "Adamax(ps, lr=0.05)",
    "Adamax(ps, lr=0.05, weight_decay=0.1)",
    "NAdam(ps, lr=0.05)",
    "NAdam(ps, lr=0.05, weight_decay=0.1, decoupled_weight_decay=True)",
    "RAdam(ps, lr=0.05)",
    "RAdam(ps, lr=0.05, betas=(0.8, 0.9), weight_decay=0.1)",
    "SGD([{'params': ps[:1], 'lr': 0.2}, {'params': ps[1:]}], momentum=0.5)",
    "AdamW([('w', ps[0]), ('b', ps[1])], lr=0.05)",
]


def build(lib: Any, code: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    ps = [
        lib.nn.Parameter(lib.tensor(rng.standard_normal(shape).astype("float32").tolist()))
        for shape in ((3, 2), (2,))
    ]
    return ps, eval(f"optim.{code}", {"optim": lib.optim, "ps": ps})


def loss(lib: Any, ps: Any, step: int) -> Any:
    rng = np.random.default_rng(step)
    x = lib.tensor(rng.standard_normal((4, 3)).astype("float32").tolist())
    return ((x @ ps[0]).tanh() + ps[1]).pow(2).mean()


def train(lib: Any, ps: Any, opt: Any, steps: range) -> None:
    for step in steps:
        opt.zero_grad()
        loss(lib, ps, step).backward()
        opt.step()


def same_params(a: Any, b: Any, tol: float = 2e-5) -> None:
    for p, q in zip(a, b, strict=True):
        np.testing.assert_allclose(p.tolist(), q.tolist(), rtol=tol, atol=tol)


def same_state(ours: Any, theirs: Any) -> None:
    assert ours["param_groups"] == theirs["param_groups"]
    assert [list(g) for g in ours["param_groups"]] == [list(g) for g in theirs["param_groups"]]
    assert list(ours["state"]) == list(theirs["state"])
    for key, want in theirs["state"].items():
        got = ours["state"][key]
        assert set(got) == set(want)
        for name, value in want.items():
            assert str(got[name].dtype) == str(value.dtype)
            assert got[name].shape == value.shape
            np.testing.assert_allclose(got[name].tolist(), value.tolist(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("code", OPTIMIZERS)
def test_twenty_steps(code: str) -> None:
    (ps, opt), (qs, want) = (build(lib, code) for lib in LIBS)
    assert repr(opt) == repr(want)
    train(tabgrad, ps, opt, range(20))
    train(torch, qs, want, range(20))
    same_params(ps, qs, 1e-4)
    same_state(opt.state_dict(), want.state_dict())


@pytest.mark.parametrize("code", OPTIMIZERS)
def test_goes_on_from_a_pytorch_state(code: str) -> None:
    qs, want = build(torch, code)
    train(torch, qs, want, range(5))
    ps, opt = build(tabgrad, code)
    for p, q in zip(ps, qs, strict=True):
        p.data = tabgrad.tensor(q.tolist())
    opt.load_state_dict(converted(want.state_dict()))
    train(tabgrad, ps, opt, range(5, 12))
    train(torch, qs, want, range(5, 12))
    same_params(ps, qs, 1e-4)


def converted(x: Any) -> Any:
    if isinstance(x, torch.Tensor):
        return tabgrad.tensor(x.tolist())
    if isinstance(x, dict):
        return {k: converted(v) for k, v in x.items()}
    return [converted(v) for v in x] if isinstance(x, list) else x


def test_closure_and_hooks() -> None:
    logs = []
    for lib in LIBS:
        ps, opt = build(lib, "SGD(ps, lr=0.1)")
        log: list[Any] = []
        opt.register_step_pre_hook(lambda o, a, k, log=log: log.append(("pre", len(a), len(k))))
        opt.register_step_post_hook(lambda o, a, k, log=log: log.append(("post", len(a), len(k))))

        def closure(lib: Any = lib, ps: Any = ps, opt: Any = opt) -> Any:
            opt.zero_grad()
            value = loss(lib, ps, 0)
            value.backward()
            return value

        log.append(round(opt.step(closure).item(), 5))
        logs.append(log)
    assert logs[0] == logs[1]


def test_own_optimizer() -> None:
    class Own(tabgrad.optim.Optimizer):
        def step(self, closure: Any = None) -> None:
            with tabgrad.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        p -= group["lr"] * p.grad

    p = tabgrad.nn.Parameter(tabgrad.tensor([1.0]))
    opt = Own([p], {"lr": 0.5})
    seen: list[int] = []
    opt.register_step_post_hook(lambda *a: seen.append(1))
    p.grad = tabgrad.tensor([1.0])
    opt.step()
    assert (p.tolist(), seen) == ([0.5], [1])


ERRORS = [
    "optim.SGD([], lr=0.1)",
    "optim.SGD(p, lr=0.1)",
    "optim.SGD([p], lr=-1)",
    "optim.SGD([p], lr=0.1, momentum=-1)",
    "optim.SGD([p], lr=0.1, weight_decay=-1)",
    "optim.SGD([p], lr=0.1, nesterov=True)",
    "optim.SGD([3], lr=0.1)",
    "optim.SGD([p * 2], lr=0.1)",
    "optim.SGD([{'params': [p]}, {'params': [p]}], lr=0.1)",
    "optim.SGD([{'params': {p}}], lr=0.1)",
    "optim.SGD([p]).add_param_group(3)",
    "optim.SGD([('a', p), p])",
    "optim.SGD([p]).load_state_dict({'state': {}, 'param_groups': []})",
    "optim.SGD([p]).load_state_dict({'state': {}, 'param_groups': [{'params': []}]})",
    "optim.Adam([p], lr=-0.5)",
    "optim.Adam([p], eps=-1)",
    "optim.Adam([p], betas=(1.0, 0.9))",
    "optim.Adam([p], betas=(0.9, -1.0))",
    "optim.Adam([p], weight_decay=-1)",
    "optim.AdamW([p], weight_decay=-1)",
    "optim.RMSprop([p], alpha=-1)",
    "optim.RMSprop([p], momentum=-1)",
    "optim.Adagrad([p], lr_decay=-1)",
    "optim.Adagrad([p], initial_accumulator_value=-1)",
    "optim.Adadelta([p], rho=2)",
    "optim.Adadelta([p], eps=-2)",
    "optim.NAdam([p], momentum_decay=-2)",
    "optim.lr_scheduler.StepLR(3, 1)",
    "optim.lr_scheduler.LambdaLR(optim.SGD([p]), [len, len])",
    "optim.lr_scheduler.StepLR(optim.SGD([p]), 1, last_epoch=3)",
    "optim.lr_scheduler.ConstantLR(optim.SGD([p]), 2)",
    "optim.lr_scheduler.LinearLR(optim.SGD([p]), 2)",
    "optim.lr_scheduler.LinearLR(optim.SGD([p]), 1, 2)",
    "optim.lr_scheduler.CosineAnnealingWarmRestarts(optim.SGD([p]), 0)",
    "optim.lr_scheduler.CosineAnnealingWarmRestarts(optim.SGD([p]), 1, 0)",
    "optim.lr_scheduler.OneCycleLR(optim.SGD([p], momentum=0.9), 1.0)",
    "optim.lr_scheduler.OneCycleLR(optim.SGD([p], momentum=0.9), 1.0, total_steps=0)",
    "optim.lr_scheduler.OneCycleLR(optim.SGD([p], momentum=0.9), 1.0, 5, pct_start=2.0)",
    "optim.lr_scheduler.OneCycleLR(optim.SGD([p], momentum=0.9), 1.0, 5, anneal_strategy='x')",
    "optim.lr_scheduler.OneCycleLR(optim.Adagrad([p]), 1.0, 5)",
    "optim.lr_scheduler.CyclicLR(optim.SGD([p], momentum=0.9), [1, 2], 3)",
    "optim.lr_scheduler.CyclicLR(optim.SGD([p], momentum=0.9), 1, 3, mode='x')",
    "optim.lr_scheduler.ReduceLROnPlateau(optim.SGD([p]), factor=2)",
    "optim.lr_scheduler.ReduceLROnPlateau(optim.SGD([p]), 'x')",
    "optim.lr_scheduler.ReduceLROnPlateau(optim.SGD([p]), min_lr=[1, 2])",
    "optim.lr_scheduler.SequentialLR(o := optim.SGD([p]), "
    "[optim.lr_scheduler.StepLR(o, 2)], milestones=[3])",
    "optim.lr_scheduler.ChainedScheduler([])",
]


@pytest.mark.parametrize("code", ERRORS)
def test_error(code: str) -> None:
    caught = []
    for lib in LIBS:
        with pytest.raises(Exception) as info:
            eval(code, {"optim": lib.optim, "p": lib.nn.Parameter(lib.ones(2))})
        caught.append(info)
    assert caught[0].type is caught[1].type
    assert str(caught[0].value) == str(caught[1].value)


SCHEDULES = [
    "LambdaLR(opt, lambda e: 0.9 ** e)",
    "MultiplicativeLR(opt, lambda e: 0.95)",
    "StepLR(opt, 3, 0.5)",
    "MultiStepLR(opt, [2, 2, 5], 0.3)",
    "ConstantLR(opt, 0.25, 4)",
    "LinearLR(opt, 0.2, 0.9, 6)",
    "ExponentialLR(opt, 0.9)",
    "PolynomialLR(opt, 8, 2.0)",
    "CosineAnnealingLR(opt, 5, 0.001)",
    "CosineAnnealingWarmRestarts(opt, 3)",
    "CosineAnnealingWarmRestarts(opt, 2, 2, 0.01)",
    "OneCycleLR(opt, 1.0, total_steps=13)",
    "OneCycleLR(opt, 1.0, epochs=13, steps_per_epoch=1, anneal_strategy='linear')",
    "OneCycleLR(opt, 1.0, 13, pct_start=0.2, three_phase=True)",
    "CyclicLR(opt, 0.1, 1.0, 3)",
    "CyclicLR(opt, 0.1, 1.0, 3, 2, mode='triangular2')",
    "CyclicLR(opt, 0.1, 1.0, 3, mode='exp_range', gamma=0.9, cycle_momentum=False)",
    "CyclicLR(opt, 0.1, 1.0, 3, scale_fn=lambda x: 0.5, scale_mode='iterations')",
    "SequentialLR(opt, [s.ConstantLR(opt, 0.1, 2), s.ExponentialLR(opt, 0.9)], [3])",
    "SequentialLR(opt, [s.LinearLR(opt, 0.1, 1.0, 4), s.CosineAnnealingLR(opt, 6)], [4])",
    "ChainedScheduler([s.ConstantLR(opt, 0.1, 2), s.ExponentialLR(opt, 0.9)])",
]


def lrs(lib: Any, code: str, base: str) -> tuple[list[Any], Any]:
    _, opt = build(lib, base)
    s = lib.optim.lr_scheduler
    schedule = eval(f"s.{code}", {"s": s, "opt": opt})
    out = []
    for _ in range(12):
        group = opt.param_groups[0]
        out.append((schedule.get_last_lr(), group.get("momentum"), group.get("betas")))
        opt.step()
        schedule.step()
    return out, schedule


@pytest.mark.parametrize("base", ["SGD(ps, lr=0.2, momentum=0.9)", "Adam(ps, lr=0.2)"])
@pytest.mark.parametrize("code", SCHEDULES)
def test_schedule(code: str, base: str) -> None:
    (got, ours), (want, theirs) = (lrs(lib, code, base) for lib in LIBS)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a[0], b[0], rtol=1e-12, atol=1e-15)
        for u, v in zip(a[1:], b[1:], strict=True):
            assert (u is None) == (v is None)
            if u is not None:
                np.testing.assert_allclose(u, v, rtol=1e-12)
    assert keys(ours.state_dict()) == keys(theirs.state_dict())


def keys(state: Any) -> Any:
    """The keys of a state dict, nested ones too."""
    inner = [keys(s) for s in state.get("_schedulers", ())]
    return sorted(state), inner


@pytest.mark.parametrize("options", [
    "", "patience=1", "mode='max', patience=0, threshold_mode='abs', threshold=0.5",
    "patience=0, cooldown=2, min_lr=0.02", "factor=0.5, patience=1, min_lr=[0.1]",
])  # fmt: skip
def test_plateau(options: str) -> None:
    rates = []
    metrics = [5.0, 4.0, 4.0, 4.1, 4.2, 3.9999, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 2.0, 2.5, 2.6]
    for lib in LIBS:
        _, opt = build(lib, "SGD(ps, lr=1.0)")
        schedule = eval(
            f"s.ReduceLROnPlateau(opt, {options})", {"s": lib.optim.lr_scheduler, "opt": opt}
        )
        got = []
        for metric in metrics:
            schedule.step(metric)
            got.append(schedule.get_last_lr())
        rates.append((got, schedule.state_dict()))
    assert rates[0] == rates[1]


def test_scheduler_state_round_trip() -> None:
    for code in SCHEDULES:
        _, opt = build(tabgrad, "SGD(ps, lr=0.2, momentum=0.9)")
        space = {"s": tabgrad.optim.lr_scheduler, "opt": opt}
        first = eval(f"s.{code}", space)
        for _ in range(4):
            opt.step()
            first.step()
        saved = first.state_dict()
        saved_opt = opt.state_dict()
        _, opt2 = build(tabgrad, "SGD(ps, lr=0.2, momentum=0.9)")
        second = eval(f"s.{code}", {**space, "opt": opt2})
        opt2.load_state_dict(saved_opt)
        second.load_state_dict(saved)
        for schedule, o in ((first, opt), (second, opt2)):
            o.step()
            schedule.step()
        np.testing.assert_allclose(first.get_last_lr(), second.get_last_lr(), rtol=1e-12)


def test_warnings() -> None:
    texts = []
    for lib in LIBS:
        _, opt = build(lib, "SGD(ps, lr=1.0)")
        schedule = lib.optim.lr_scheduler.StepLR(opt, 2)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            schedule.step()
            schedule.get_lr()
            schedule.step(5)
        texts.append([str(w.message) for w in seen])
        assert schedule.get_last_lr()[0] == pytest.approx(0.01)
    assert texts[0] == texts[1]


def test_state_dict_can_be_saved() -> None:
    ps, opt = build(torch, "Adam(ps)")
    train(torch, ps, opt, range(2))
    ours_ps, ours = build(tabgrad, "Adam(ps)")
    train(tabgrad, ours_ps, ours, range(2))
    buffer = io.BytesIO()
    torch.save(opt.state_dict(), buffer)
    assert [type(v).__name__ for v in ours.state_dict()["state"][0].values()] == ["Tensor"] * 3
