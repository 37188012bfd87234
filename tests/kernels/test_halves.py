"""Products and convolutions of float16 as it is, on adapters with shader-f16: ``make test-vulkan``.

The software adapter of browsers has none; Mesa's lavapipe has (from 25 on, 22 does not start).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tabgrad as tg
from tabgrad.backends import variants
from test_wgsl import _quiet as _quiet  # a fixture
from test_wgsl import run_program

F = tg.nn.functional
pytestmark = pytest.mark.usefixtures("_quiet")
OFFERED = {"halves": True, "memory": 1 << 15}


def half(*shape: int) -> Any:
    x = tg.randn(*shape).to(tg.float16)
    x.tolist()  # as weights are: in memory
    return x


def few_rows() -> Any:
    x = half(3, 70)
    return [
        x @ half(70, 33), half(70) @ half(70), half(1, 4) @ half(5, 4).t(), half(40, 9) @ half(9),
        half(2, 3, 2, 64) @ half(2, 1, 130, 64).mT, half(0, 4) @ half(4, 5), x[:, :0] @ half(0, 5),
        tg.tensor([[6e4, 3e-6]]).half() @ tg.tensor([[-1.0, 2.0], [4.0, 5.0]]).half(),
        tg.full((1, 3), float("inf")).half() @ half(3, 4), x[::2].float() @ half(70, 6).float(),
    ]  # fmt: skip


def products() -> Any:
    wide = half(70, 68)
    return [
        half(65, 33) @ half(33, 70), half(129, 131) @ half(131, 133), wide.t() @ wide[:, 3:],
        half(2, 3, 17, 9) @ half(3, 9, 20), half(72, 64) @ half(128, 64).t(), wide @ wide.t(),
        wide.float().t() @ wide.float(), tg.cat([half(65, 7), half(65, 9)], 1) @ half(16, 5),
    ]  # fmt: skip


def convolutions() -> Any:
    out = []
    for groups, own in ((1, 4), (2, 2), (4, 1)):
        x, w = half(3, 4, 9, 11).requires_grad_(), half(8, own, 3, 3).requires_grad_()
        y = F.conv2d(x, w, half(8), stride=2, padding=1, dilation=1, groups=groups)
        out += [y, *tg.autograd.grad((y.float() * tg.randn(*y.shape)).sum(), [x, w])]
    x, w = half(2, 6, 7, 8).requires_grad_(), half(6, 1, 3, 3).requires_grad_()
    y = F.conv2d(x, w, padding=1, groups=6)
    return [*out, y, *tg.autograd.grad(y.sum(), [x, w])]


def attention() -> Any:
    q, k, v = [half(2, 3, 37, n).requires_grad_() for n in (20, 20, 12)]
    mask = tg.randn(37, 37) > 0
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    odd = [half(3, 40, 9)[..., 1:] for _ in "qkv"]
    return [
        y, F.scaled_dot_product_attention(*odd, is_causal=True),
        F.scaled_dot_product_attention(q, k, v, attn_mask=half(37, 37)),
        *tg.autograd.grad(y.float().square().sum(), [q, k, v]),
    ]  # fmt: skip


def training() -> Any:
    """As autocast does it: weights and products are halves, norms and sums are not."""
    x, w = half(70, 36), tg.randn(40, 36).requires_grad_()
    y = F.layer_norm(F.relu(F.linear(x, w.half(), half(40))).float(), (40,)).half() @ half(40, 33)
    return [y, *tg.autograd.grad(y.float().square().mean(), [w])]


@pytest.mark.parametrize(
    "program", [few_rows, products, convolutions, attention, training], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("enough", [2, 1 << 30], ids=["large", "small"])
def test_program(program: Callable[[], Any], enough: int, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(variants, "ENOUGH", enough)
    made = run_program(program, False, tmp_path, monkeypatch, **OFFERED)
    halves = [text for text in made if "alias Factor = f16" in text]
    assert len(halves) > 2


@pytest.mark.parametrize("program", [products, convolutions], ids=lambda f: f.__name__)
@pytest.mark.parametrize("variant", [v for v in variants.known() if v.startswith("tiled")])
def test_variant(
    variant: str, program: Callable[[], Any], tmp_path: Path, monkeypatch: Any
) -> None:
    """Each variant of tiles; those of float16 where K is not shared."""
    candidates = variants.candidates

    def forced(s: Any, limits: Any) -> list[str]:
        able = candidates(s, limits)
        return [variant] if variant in able else able

    monkeypatch.setattr(variants, "candidates", forced)
    made = run_program(program, False, tmp_path, monkeypatch, **OFFERED)
    tile = "alias Tile = f32" if variant.endswith("4") else "alias Tile = Factor"
    size = f"TILE: u32 = {variant.split()[1]}u"
    assert any("alias Factor = f16" in t and tile in t and size in t for t in made)
