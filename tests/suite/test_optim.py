"""optim on every device: against the formulas, and the plan cache of a training step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tabgrad as torch
from tabgrad import nn, optim

TARGET = [1.0, -2.0, 0.5]


def quadratic(opt_of: Any, steps: int) -> Any:
    """The parameter after some steps down (p − target)²."""
    p = nn.Parameter(torch.zeros(3))
    opt, target = opt_of([p]), torch.tensor(TARGET)
    for _ in range(steps):
        opt.zero_grad()
        ((p - target) ** 2).sum().backward()
        opt.step()
    return p


def by_hand(rule: Any, steps: int) -> Any:
    p, state = np.zeros(3), {"m": np.zeros(3), "v": np.zeros(3)}
    for t in range(1, steps + 1):
        p = rule(p, 2 * (p - np.array(TARGET)), state, t)
    return p


def momentum(p: Any, g: Any, s: Any, t: int) -> Any:
    s["m"] = g if t == 1 else 0.9 * s["m"] + g
    return p - 0.02 * s["m"]


def adamw(p: Any, g: Any, s: Any, t: int) -> Any:
    p = p * (1 - 0.1 * 0.2)
    s["m"] = 0.9 * s["m"] + 0.1 * g
    s["v"] = 0.999 * s["v"] + 0.001 * g * g
    m, v = s["m"] / (1 - 0.9**t), s["v"] / (1 - 0.999**t)
    return p - 0.1 * m / (np.sqrt(v) + 1e-8)


def rmsprop(p: Any, g: Any, s: Any, t: int) -> Any:
    s["v"] = 0.9 * s["v"] + 0.1 * g * g
    return p - 0.05 * g / (np.sqrt(s["v"]) + 1e-8)


def adagrad(p: Any, g: Any, s: Any, t: int) -> Any:
    s["v"] = s["v"] + g * g
    return p - 0.3 * g / (np.sqrt(s["v"]) + 1e-10)


RULES = [
    (lambda ps: optim.SGD(ps, lr=0.02, momentum=0.9), momentum),
    (lambda ps: optim.AdamW(ps, lr=0.1, weight_decay=0.2), adamw),
    (lambda ps: optim.RMSprop(ps, lr=0.05, alpha=0.9), rmsprop),
    (lambda ps: optim.Adagrad(ps, lr=0.3), adagrad),
]


@pytest.mark.parametrize("i", range(len(RULES)))
def test_formula(i: int) -> None:
    make, rule = RULES[i]
    np.testing.assert_allclose(quadratic(make, 10).tolist(), by_hand(rule, 10), rtol=1e-4)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adamax", "NAdam",
                                  "RAdam"])  # fmt: skip
def test_goes_down(name: str) -> None:
    p = quadratic(lambda ps: getattr(optim, name)(ps, lr=0.1), 60)
    assert ((p - torch.tensor(TARGET)) ** 2).sum().item() < 1.0


def test_state_dict_round_trip() -> None:
    def make(ps: Any) -> Any:
        return optim.Adam(ps, lr=0.1)

    p = nn.Parameter(torch.tensor([1.0, 2.0]))
    opt = make([p])
    for _ in range(3):
        opt.zero_grad()
        (p * p).sum().backward()
        opt.step()
    saved = opt.state_dict()
    assert saved["state"][0]["step"].item() == 3.0
    assert saved["param_groups"][0]["params"] == [0]
    q = nn.Parameter(p.detach().clone())
    twin = make([q])
    twin.load_state_dict(saved)
    for x, o in ((p, opt), (q, twin)):
        o.zero_grad()
        (x * x).sum().backward()
        o.step()
    assert p.tolist() == q.tolist()


def test_groups_closure_and_errors() -> None:
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    opt = optim.SGD([{"params": [a], "lr": 0.5}, {"params": [b]}], lr=0.1)

    def closure() -> Any:
        opt.zero_grad()
        loss = (a + b).sum()
        loss.backward()
        return loss

    assert opt.step(closure).item() == 2.0
    np.testing.assert_allclose([a.item(), b.item()], [0.5, 0.9], rtol=1e-6)
    with pytest.raises(ValueError, match="optimizer got an empty parameter list"):
        optim.SGD([], lr=0.1)
    with pytest.raises(ValueError, match="Invalid learning rate: -1"):
        optim.Adam([a], lr=-1)
    with pytest.raises(ValueError, match="more than one parameter group"):
        opt.add_param_group({"params": [a]})


def test_a_gradient_that_is_missing_is_left_alone() -> None:
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    opt = optim.Adam([a, b], lr=0.1)
    (a * 2).sum().backward()
    opt.step()
    assert b.item() == 1.0
    assert list(opt.state) == [a]


def test_schedules() -> None:
    opt = optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    schedule = optim.lr_scheduler.CosineAnnealingLR(opt, 4)
    rates = []
    for _ in range(4):
        rates.append(schedule.get_last_lr()[0])
        opt.step()
        schedule.step()
    want = [(1 + math.cos(math.pi * t / 4)) / 2 for t in range(4)]
    np.testing.assert_allclose(rates, want, rtol=1e-12)


def test_schedule_before_step_warns() -> None:
    opt = optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    schedule = optim.lr_scheduler.StepLR(opt, 2)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        schedule.step()
