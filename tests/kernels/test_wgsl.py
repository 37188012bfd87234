"""The WebGPU kernels against the numpy executor: same steps, same operands, one node process.

The steps come from programs written with tensors, scheduled for WebGPU and run by numpy, so that
what the schedule really makes is what is tested; shapes that those do not reach are made by hand.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad.backends import numpy as numpy_backend
from tabgrad.backends import numpy_math, webgpu, wgsl
from tabgrad.ir import Fused, Instr, Structured

from gpu import Case, Gpu

dt = sys.modules["tabgrad.dtypes"]
F = tg.nn.functional
_HALF = (dt.float16, dt.bfloat16)
SOFTWARE = pytest.mark.parametrize("software", [False, True], ids=["tiled", "direct"])


@pytest.fixture(scope="module")
def _quiet() -> Any:
    with np.errstate(all="ignore"):
        yield


def words(array: Any, dtype: Any) -> Any:
    """An array of the numpy executor as the GPU stores it."""
    if dtype in _HALF:
        return array.view(np.uint16)
    return array.astype(np.float32 if dtype is dt.float32 else np.int32)


def values(array: Any, dtype: Any) -> Any:
    """Stored words as numbers to compare."""
    if dtype is dt.bfloat16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.view(np.float16).astype(np.float32) if dtype is dt.float16 else array


class Check:
    """A step, its GPU case, and what the numpy executor made of the same operands."""

    def __init__(self, gpu: Gpu, step: Any, before: list[Any], after: list[Any],
                 scalars: bytes, software: bool) -> None:  # fmt: skip
        self.step, self.after = step, [words(a, d) for a, d in zip(after, step.dtypes, strict=True)]
        self.before = [words(a, d) for a, d in zip(before, step.dtypes, strict=True)]
        self.case: Case = gpu.add(step, self.before, scalars, software)

    def verify(self) -> None:
        for k, dtype in enumerate(self.step.dtypes):
            got, want = values(self.case.outs[k], dtype), values(self.after[k], dtype)
            if want.dtype.kind == "i":
                np.testing.assert_array_equal(got, want, str(self.step))
                continue
            rtol = 1e-2 if dtype is dt.bfloat16 else 2e-3 if dtype is dt.float16 else 2e-6
            finite = np.abs(want[np.isfinite(want)])
            size = float(finite.max()) if finite.size else 0.0  # of what sums may have cancelled
            np.testing.assert_allclose(
                got, want, rtol=rtol, atol=4e-6 * size + 1e-37, err_msg=str(self.step)
            )


class Recorder:
    """Runs programs on numpy with WebGPU's schedule, and keeps every step with its operands."""

    def __init__(self, gpu: Gpu, software: bool) -> None:
        self.gpu, self.software = gpu, software
        self.checks: list[Check] = []

    def plan(self, what: Any, leaves: list[Any], numbers: list[Any]) -> list[Any]:
        slots = dict(enumerate(leaves))
        for k in range(what.n_leaf, len(what.slots)):
            slots[k] = np.zeros(what.slots[k].nelems, numpy_backend._STORED[what.slots[k].dtype])
        scalars = b"".join(_cell(n) for n in numbers)
        scalars += bytes(-len(scalars) % 16)
        for step in what.steps:
            operands = [slots[k] for k in step.operands]
            before = [a.copy() for a in operands]
            if isinstance(step, Fused):
                numpy_backend._fused(step, operands, [n.arg for n in numbers])
            else:
                numpy_backend._STRUCTURED[step.op](step, *operands)
            self.checks.append(
                Check(self.gpu, step, before, [a.copy() for a in operands], scalars, self.software)
            )
        return [slots[what.n_leaf + k] for k in range(what.n_out)]


def _cell(number: Any) -> bytes:
    if number.dtype.compute == "f":
        return struct.pack("<f", number.arg)
    return struct.pack("<i", int(number.arg))


# --- programs -----------------------------------------------------------------------------------


def elementwise() -> Any:
    x, y = tg.randn(7, 12), tg.randn(12)
    n = tg.arange(-20, 20).to(tg.int32)
    return [
        (x + y).exp() * x.sin() - y / 3, x.t() * 2, x.flip(0) + 1, x[1::2, ::3] * y[::3],
        (x > 0) & (x < 1), x.where(x > y, y * 2.5), n // 7, n % -7, n**2, n.to(tg.float32) / 3,
        (x * 100).to(tg.int32), (x * 100).to(tg.uint8), (n * 9).to(tg.int8), x.to(tg.bool),
        x.round(), x.abs().sqrt(), x.maximum(y), -n, tg.arange(10) * 3 + 1, tg.randn(64, 32) * y[3],
        tg.randn(2048) + 1, (tg.randn(40, 64) + tg.randn(64)).tanh(), tg.randn(64, 40).t() + 1,
    ]  # fmt: skip


def halves() -> Any:
    x = tg.randn(37)
    y = tg.randn(8, 12)
    h, b = x.to(tg.float16), x.to(tg.bfloat16)
    return [
        h * 2, b + 1, h.exp(), (h + h).to(tg.float32), y.to(tg.float16) + y.to(tg.float16).sin(),
        y.to(tg.bfloat16).t() * 3, y.to(tg.bfloat16)[:, 1::2] + 1, y.to(tg.float16).sum(1), b.max(),
        (x * 1e5).to(tg.float16), (x * 1e-6).to(tg.float16),
    ]  # fmt: skip


def reductions() -> Any:
    x, w = tg.randn(33, 70), tg.randn(5, 6, 7)
    n = (tg.randn(40, 50) * 20).to(tg.int32)
    return [
        x.sum(), x.sum(0), x.mean(1), x.max(1).values, x.min(), x.argmax(1), w.sum((0, 2)), w.sum(1),
        x.var(1), x.softmax(1), x.log_softmax(0), n.sum(1), n.max(0).values, (n > 3).any(1),
        (n > -90).all(), w.prod(2), x.logsumexp(1), tg.randn(3, 5000).sum(1), tg.randn(5000, 3).sum(0),
        tg.randn(100000).sum(), tg.randn(300, 8).sum(1), tg.randn(2, 3000).softmax(1), x.norm(),
        tg.randn(4000, 40).mean(0), n.to(tg.int64).sum(),
    ]  # fmt: skip


def normalisation() -> Any:
    x, w, b = tg.randn(12, 96), tg.randn(96), tg.randn(96)
    return [F.layer_norm(x, (96,), w, b), F.cross_entropy(x, tg.arange(12) * 5), F.gelu(x)]


def indexing() -> Any:
    x = tg.randn(9, 6)
    i = tg.tensor([0, 8, -1, 3])
    y = tg.zeros(9, 6)
    y[2:7:2, 1:] = x[0:3, 1:] * 2
    z = tg.zeros(9, 6)
    z[i] = x[:4]
    return [
        x[i], y, z, x.gather(1, tg.tensor([[0, 5], [1, 1]])), x.index_select(1, i[:1]),
        tg.zeros(9).scatter_add(0, tg.tensor([1, 1, 3]), tg.ones(3)), x.cumsum(1), x.cumsum(0),
        x.sort(1).values, x.argsort(0), tg.randn(3000).sort().values, tg.randn(200, 3).argsort(0),
        x.flip(1).cumprod(1), F.embedding(tg.tensor([1, 2, 1]), x),
    ]  # fmt: skip


def products() -> Any:
    a, b, c = tg.randn(65, 33), tg.randn(33, 70), tg.randn(3, 1, 17, 9)
    return [
        a @ b, b.t() @ a.t(), c @ tg.randn(4, 9, 5), tg.randn(100, 8) @ tg.randn(8), a[::2] @ b[:, 3:],
        a.relu() @ b + 1, tg.randn(2, 130) @ tg.randn(130, 3),
    ]  # fmt: skip


def convolutions() -> Any:
    out = []
    for shape, weight, kw in [
        ((2, 3, 9, 10), (5, 3, 3, 3), {"padding": 1}),
        ((2, 4, 11, 8), (6, 2, 3, 2), {"stride": 2, "groups": 2, "padding": (1, 0)}),
        ((1, 6, 9, 9), (6, 1, 3, 3), {"groups": 6, "padding": 2, "dilation": 2}),
        ((2, 9, 12, 12), (10, 9, 1, 1), {"stride": 3}),
    ]:
        x = tg.randn(*shape).requires_grad_()
        w = tg.randn(*weight).requires_grad_()
        y = F.conv2d(x, w, **kw)
        (y * tg.randn(*y.shape)).sum().backward()
        out += [y, x.grad, w.grad]
    return out


PROGRAMS = [elementwise, halves, reductions, normalisation, indexing, products, convolutions]


@SOFTWARE
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_program(
    program: Callable[[], Any], software: bool, tmp_path: Path, monkeypatch: Any, _quiet: Any
) -> None:
    gpu = Gpu()
    recorder = Recorder(gpu, software)
    device = sys.modules["tabgrad.runtime"].resolve("numpy")
    monkeypatch.setattr(device, "caps", webgpu.CAPS)
    monkeypatch.setattr(device, "plans", {})
    monkeypatch.setattr(
        device,
        "run",
        lambda compiled, leaves, numbers: recorder.plan(
            compiled.schedule, [b.handle for b in leaves], numbers
        ),
    )
    tg.manual_seed(1)
    for out in program():
        out.detach().tolist()
    gpu.run(tmp_path)
    for check in recorder.checks:
        check.verify()
    assert recorder.checks
