"""Products by subgroups that multiply matrices: ``make test-vulkan``.

The Vulkan driver (VK_ICD_FILENAMES names it) must have cooperative matrices of 8 × 8 halves, as
Mesa's lavapipe has from 26 on. Halves hold the whole numbers that these programs multiply, so
results are exact. Nothing but the type differs from the floats that GPUs of Apple multiply.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tabgrad as tg
from gpu import Gpu
from tabgrad.backends import variants, webgpu, wgsl
from test_wgsl import run_program

F = tg.nn.functional
LANES = 8  # of a subgroup of lavapipe


@pytest.fixture
def _halves(monkeypatch: Any) -> None:
    """Kernels that multiply halves."""

    def source(name: str) -> str:
        return wgsl.source(name).replace("alias Element = f32", "alias Element = f16")

    monkeypatch.setattr(webgpu, "source", source)
    monkeypatch.setattr(webgpu, "_MATRICES", "enable f16;\n" + webgpu._MATRICES)


def whole(*shape: int) -> Any:
    return tg.randint(-4, 5, shape).to(tg.float32)


def products() -> Any:
    bias = whole(36)
    return [
        whole(65, 33) @ whole(33, 70), whole(129, 131) @ whole(131, 133),
        whole(70, 64).t() @ whole(70, 68)[:, 3:], whole(2, 3, 17, 9) @ whole(3, 9, 20),
        whole(64, 64) @ whole(128, 64).t(), (whole(40, 50) @ whole(50, 36) + bias).relu(),
        whole(40, 52).t() @ whole(40, 36) + whole(52, 36), whole(6, 1) @ whole(1, 7),
    ]  # fmt: skip


def convolutions() -> Any:
    x, w = whole(3, 4, 9, 11).requires_grad_(), whole(6, 2, 3, 3).requires_grad_()
    y = F.conv2d(x, w, whole(6), stride=2, padding=1, dilation=1, groups=2)
    return [y, *tg.autograd.grad((y * whole(*y.shape)).sum(), [x, w])]


def packed_weights() -> Any:
    x = whole(35, 96)
    return [x @ whole(67, 96).to(tg.bfloat16).float().t()]


@pytest.mark.parametrize(
    "program", [products, convolutions, packed_weights], ids=lambda f: f.__name__
)
@pytest.mark.usefixtures("_halves")
def test_program(program: Callable[[], Any], tmp_path: Path, monkeypatch: Any) -> None:
    candidates = variants.candidates

    def forced(s: Any, limits: Any) -> list[str]:
        able = candidates(s, limits)
        return ["matrices"] if "matrices" in able else able

    monkeypatch.setattr(variants, "candidates", forced)
    monkeypatch.setattr(webgpu, "_FEW_PACKED", 0)
    made = run_program(program, False, tmp_path, monkeypatch, matrices=LANES)
    assert any("subgroupMatrixStore" in text for text in made)
    for op in ("conv2d", "conv2d_input", "conv2d_weight") if program is convolutions else ():
        assert any(f"// {op}\n" in t and "subgroupMatrixStore" in t for t in made), op


def test_the_file_compiles_untouched(tmp_path: Path) -> None:
    gpu = Gpu(matrices=LANES)
    file = Path(__file__).parents[2] / "kernels_wgsl" / "matmul_matrices.wgsl"
    gpu.text(file.read_text())
    gpu.run(tmp_path)
    assert not gpu.errors
