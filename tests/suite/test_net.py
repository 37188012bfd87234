"""The network of the first page, as it reads: built, saved, loaded from a file, trained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import tabgrad as tg
from tabgrad import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=1, padding=2), nn.MaxPool2d(2), nn.ReLU(),
            nn.Conv2d(16, 32, 5, stride=1, padding=2), nn.MaxPool2d(2), nn.ReLU())  # fmt: skip
        self.mlp = nn.Linear(32, 10)

    def forward(self, x: Any) -> Any:
        x = self.convs(x)
        x = x.view([x.size(0), -1])
        return self.mlp(x)


def test_forward() -> None:
    out = Net()(tg.randn(5, 3, 4, 4))
    assert out.shape == (5, 10)
    assert out.requires_grad
    assert bool(out.isfinite().all())


async def test_weights_from_a_file(tmp_path: Path) -> None:
    saved, model = Net(), Net()
    path = tmp_path / "model.ptjs"
    tg.io.save_ptjs(saved.state_dict(), path)
    got = await model.load_state_dict(str(path))
    assert repr(got) == "<All keys matched successfully>"
    x = tg.randn(2, 3, 4, 4)
    assert tg.equal(model(x), saved(x))
    for a, b in zip(model.parameters(), saved.parameters(), strict=True):
        assert tg.equal(a, b)
        assert a.requires_grad


def test_weights_from_a_dict() -> None:
    saved, model = Net(), Net()
    assert model.load_state_dict(saved.state_dict()).missing_keys == []
    told = (
        'Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: "mlp.bias". '
        '\n\tUnexpected key(s) in state_dict: "head". '
    )
    with pytest.raises(RuntimeError, match=re.escape(told)):
        wrong = saved.state_dict()
        wrong["head"] = wrong.pop("mlp.bias")
        model.load_state_dict(wrong)


async def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.ptjs"):
        await Net().load_state_dict(str(tmp_path / "nothing.ptjs"))
    out = Net()(tg.zeros(1, 3, 4, 4))
    assert out.shape == (1, 10)


def test_trains() -> None:
    model = Net()
    opt = tg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, y = tg.randn(16, 3, 4, 4), tg.arange(16) % 10
    losses = []
    for _ in range(40):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
