"""The WebGPU kernels against the numpy executor: same steps, same operands, one node process.

The steps come from programs written with tensors, scheduled for WebGPU and run by numpy, so that
what the schedule really makes is what is tested; shapes that those do not reach are made by hand.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tabgrad as tg
from gpu import Case, Gpu
from tabgrad.backends import numpy as numpy_backend
from tabgrad.backends import numpy_math, variants, webgpu, wgsl
from tabgrad.ir import Fused, Instr, Joined, Structured

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


def parts_of(step: Any) -> tuple[Any, ...]:
    return step.parts if isinstance(step, Joined) else (step,)


class Check:
    """A step, its GPU case, and what the numpy executor made of the same operands."""

    def __init__(self, gpu: Gpu, step: Any, before: list[Any], after: list[Any],
                 scalars: bytes, software: bool) -> None:  # fmt: skip
        self.step = step
        self.dtypes = [d for part in parts_of(step) for d in part.dtypes]
        self.after = [words(a, d) for a, d in zip(after, self.dtypes, strict=True)]
        self.before = [words(a, d) for a, d in zip(before, self.dtypes, strict=True)]
        self.case: Case = gpu.add(step, self.before, scalars, software)

    def verify(self) -> None:
        for k, dtype in enumerate(self.dtypes):
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
        scalars = b"".join(struct.pack("<f" if t == "f" else "<i", n) for t, n in numbers)
        scalars += bytes(-len(scalars) % 16)
        for step in what.steps:
            operands = [slots[k] for k in step.operands]
            before = [a.copy() for a in operands]
            left = iter(operands)
            for part in parts_of(step):
                mine = [*islice(left, len(part.operands))]
                if isinstance(part, Fused):
                    numpy_backend._fused(part, mine, [n for _, n in numbers])
                else:
                    numpy_backend._structured(part, [*map(_factor, part.dtypes, mine)])
            self.checks.append(
                Check(self.gpu, step, before, [a.copy() for a in operands], scalars, self.software)
            )
        return [slots[what.n_leaf + k] for k in range(what.n_out)]


def _factor(dtype: dt.DType, x: Any) -> Any:
    """An operand as the numpy executor multiplies it, for which the schedule widens halves."""
    return x.astype(np.float32) if dtype is dt.float16 else x


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
        x.sum(), x.sum(0), x.mean(1), x.max(1).values, x.min(), x.argmax(1),
        w.sum((0, 2)), w.sum(1),
        x.var(1), x.softmax(1), x.log_softmax(0), n.sum(1), n.max(0).values, (n > 3).any(1),
        (n > -90).all(), w.prod(2), x.logsumexp(1),
        tg.randn(3, 5000).sum(1), tg.randn(5000, 3).sum(0),
        tg.randn(100000).sum(), tg.randn(300, 8).sum(1), tg.randn(2, 3000).softmax(1), x.norm(),
        tg.randn(4000, 40).mean(0), n.to(tg.int64).sum(),
    ]  # fmt: skip


def wide_rows() -> Any:
    """Rows of a workgroup each."""
    x, b = tg.randn(3, 300), tg.randn(2, 2000) > 2
    n = (tg.randn(2, 400) * 20).to(tg.int32)
    x[1, 77], x[2] = math.nan, -math.inf
    return [
        x.max(1).values, x.min(1).values, x.argmax(1), x.sum(1), (1 + x[0] / 100).prod(),
        n.sum(1), n.max(1).values, n.min(1).values, n[:, :299].to(tg.int64).sum(1), b.any(1),
        b.all(1), (~b).any(1), (x[:2] * 0).softmax(1), x.to(tg.float16).sum(1),
        F.layer_norm(tg.randn(5, 1500), (1500,)),
        F.cross_entropy(tg.randn(3, 700), tg.tensor([2, 0, 699])),
    ]  # fmt: skip


def normalisation() -> Any:
    x, w, b = tg.randn(12, 96), tg.randn(96), tg.randn(96)
    return [F.layer_norm(x, (96,), w, b), F.cross_entropy(x, tg.arange(12) * 5), F.gelu(x)]


def indexing() -> Any:
    x = tg.randn(9, 6)
    i = tg.tensor([0, 8, 4, 3])
    y = tg.zeros(9, 6)
    y[2:7:2, 1:] = x[0:3, 1:] * 2
    z = tg.zeros(9, 6)
    z[i - 9] = x[:4]
    n = (tg.randn(30, 65) * 20).to(tg.int32)
    row = tg.randint(0, 9, (30,))
    return [
        x.index_add(0, i, x[:4]), tg.randn(9, 65).index_add(0, row, n * 0.5),
        tg.zeros(2, 9, 16).index_add(1, row, tg.randn(2, 30, 16)),
        n[:9].index_add(0, row, n), n[:9].to(tg.int64).index_add(0, row, n.to(tg.int64)),
        tg.randn(9, 65).scatter_reduce(0, row.unsqueeze(1).expand(30, 65), n * 0.5, "amax"),
        tg.zeros(9, 65).index_copy(0, i[:2], tg.randn(2, 65)), tg.ones(9, 5).index_fill(0, i, 2.0),
        x[i - 9], y, z, x.gather(1, tg.tensor([[0, 5], [1, 1]])), x.index_select(1, i[:1]),
        tg.zeros(9).scatter_add(0, tg.tensor([1, 1, 3]), tg.ones(3)), x.cumsum(1), x.cumsum(0),
        x.sort(1).values, x.argsort(0), tg.randn(3000).sort().values, tg.randn(200, 3).argsort(0),
        x.flip(1).cumprod(1), F.embedding(tg.tensor([1, 2, 1]), x),
    ]  # fmt: skip


def products() -> Any:
    a, b, c = tg.randn(65, 33), tg.randn(33, 70), tg.randn(3, 1, 17, 9)
    return [
        a @ b, b.t() @ a.t(), c @ tg.randn(4, 9, 5), tg.randn(100, 8) @ tg.randn(8),
        a[::2] @ b[:, 3:],
        a.relu() @ b + 1, tg.randn(2, 130) @ tg.randn(130, 3),
        tg.randn(36, 300) @ tg.randn(300, 40), tg.randn(300, 36).t() @ tg.randn(300, 40)[:, 4:24],
        tg.randn(2, 68, 35).transpose(1, 2) @ tg.randn(68, 72),
        tg.randn(37, 301) @ tg.randn(301, 5), tg.randn(3, 66) @ tg.randn(66, 70),
        tg.randn(1, 70) @ tg.randn(130, 70).t(),
        tg.randn(2, 4, 9) @ tg.randn(2, 9, 7), tg.randn(129, 131) @ tg.randn(131, 133),
        tg.randn(70, 64) @ tg.randn(64, 2), tg.randn(3, 20, 1) @ tg.randn(3, 1, 20),
    ]  # fmt: skip


def packed_weights() -> Any:
    out = []
    for (m, n, k), config in [
        ((1, 1, 32), tg.quantization.int8_weight_only()),
        ((3, 37, 70), tg.quantization.int8_weight_only()),
        ((9, 5, 4160), tg.quantization.int8_weight_only(32)),
        ((1, 6, 2080), tg.quantization.int4_weight_only(32)),
        ((5, 70, 256), tg.quantization.int4_weight_only()),
        ((35, 67, 96), tg.quantization.int4_weight_only(32)),
        ((64, 130, 64), tg.quantization.int8_weight_only(32)),
    ]:
        layer = tg.nn.Linear(k, n)
        tg.quantization.quantize_(layer, config)
        out += [layer(tg.randn(m, k)), layer.dequantize()]
    for m, n, k in [(1, 37, 64), (4, 5, 1056), (7, 3, 32), (17, 70, 288)]:
        for dtype in _HALF:
            w = (tg.randn(n, k) * tg.tensor([1, 1e-6]).repeat(k // 2)).to(dtype)
            w.tolist()
            out += [tg.randn(m, k) @ w.float().t(), tg.randn(m, k).to(dtype) @ w.t()]
    return out


def convolutions() -> Any:
    out = []
    for shape, weight, kw in [
        ((2, 3, 9, 10), (5, 3, 3, 3), {"padding": 1}),
        ((2, 4, 11, 8), (6, 2, 3, 2), {"stride": 2, "groups": 2, "padding": (1, 0)}),
        ((1, 6, 9, 9), (6, 1, 3, 3), {"groups": 6, "padding": 2, "dilation": 2}),
        ((2, 9, 12, 12), (10, 9, 1, 1), {"stride": 3}),
        ((2, 4, 12, 13), (8, 4, 3, 3), {"stride": (2, 3), "padding": 2, "dilation": (2, 1)}),
        ((1, 8, 13, 11), (5, 8, 3, 5), {"stride": (4, 3), "padding": 1, "dilation": (2, 2)}),
        ((2, 3, 10, 19), (6, 1, 5, 3), {"groups": 3, "padding": 1}),
        ((2, 3, 10, 9), (3, 1, 3, 3), {"groups": 3, "stride": 2}),
        ((1, 2, 4, 7), (2, 1, 2, 2), {"groups": 2, "padding": 3}),
        ((3, 2, 9, 9), (4, 2, 3, 3), {}),
    ]:
        x = tg.randn(*shape).requires_grad_()
        w = tg.randn(*weight).requires_grad_()
        y = F.conv2d(x, w, **kw)
        (y * tg.randn(*y.shape)).sum().backward()
        out += [y, x.grad, w.grad]
    return out


def endings() -> Any:
    """Products with epilogues: rows of nan and inf, batches, odd sizes, few rows, few columns."""
    out = []
    for batch, m, n, k in [((), 37, 44, 33), ((2, 3), 9, 21, 300), ((), 3, 10, 70),
                           ((2,), 50, 3, 9), ((), 1, 64, 260)]:  # fmt: skip
        x, w, b, s = tg.randn(*batch, m, k), tg.randn(k, n), tg.randn(n), tg.randn(n)
        x[..., 0, :2] = tg.tensor([math.nan, 1.0])
        x[..., -1, :1] = math.inf
        y = tg.randn(*batch, m, n)
        for t in (y, s):
            t.tolist()
        out += [((x @ w) * s + b).relu(), F.hardtanh(x @ w + b + y, -9.0, 12.0)]
    x, y = tg.randn(9, 20), tg.randn(9, 8)
    y.tolist()
    out += [F.relu6(x @ tg.randn(20, 8)), (y + x @ tg.randn(20, 8)).relu()]
    for shape, weight, kw in [
        ((2, 3, 9, 10), (5, 3, 3, 3), {"padding": 1}),
        ((2, 4, 11, 8), (6, 2, 3, 2), {"stride": 2, "groups": 2, "padding": (1, 0)}),
        ((1, 6, 9, 9), (12, 1, 3, 3), {"groups": 6, "padding": 2}),
        ((1, 32, 7, 7), (8, 32, 3, 3), {}),
    ]:
        x, w, b = tg.randn(*shape), tg.randn(*weight), tg.randn(weight[0])
        s = tg.randn(weight[0], 1, 1)
        x[0, 0, 0, 0], x[0, -1, -1, -1] = math.nan, math.inf
        y = tg.randn(*F.conv2d(x, w, **kw).shape)
        for t in (y, s):
            t.tolist()
        out += [F.relu6(F.conv2d(x, w, b, **kw) * s), (F.conv2d(x, w, b, **kw) + y).relu()]
    return out


def columns() -> Any:
    """Reductions and transposes of the shapes that CPU adapters have a form of their own for."""
    x, y = tg.randn(36, 264), tg.randn(40, 512)
    return [
        x.sum(0), x.max(0).values, (x - x.mean(0)).pow(2).sum(0), y.softmax(0), y.argmax(0),
        (y > 3).any(0), tg.randn(3, 70, 256).sum(1), tg.randn(130, 264).sum(0), x.amax(1),
        tg.randn(32, 48).t() * 2, tg.randn(3, 32, 16).transpose(1, 2) + 1, x.norm(dim=0),
        tg.randn(64, 80).t() + tg.randn(80, 64),
    ]  # fmt: skip


def attention() -> Any:
    """Tails, strips, masks, rows that see nothing or nan; heads read where they lie."""
    attend = F.scaled_dot_product_attention
    q, k, v = tg.randn(2, 33, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)  # of (B, T, 3, H, D)
    odd, mask = tg.randn(5, 7), tg.randn(5, 40)
    odd[0, 0], odd[1, 1], mask[2], mask[3, :36] = math.nan, math.inf, -math.inf, -math.inf
    values = tg.randn(40, 10)
    values[39, 0] = math.inf  # is not met again behind the last key
    return [
        attend(q, k, v, is_causal=True), attend(odd, tg.randn(40, 7), values[:, 1:], mask),
        attend(odd[2:].repeat(2, 1), tg.randn(34, 7), values[6:, :4], scale=9.0),
        attend(tg.randn(2, 17, 80), tg.randn(34, 80), tg.randn(34, 136), tg.randn(34) > 0),
        attend(tg.randn(9, 128), tg.randn(70, 128), tg.randn(70, 128)),
    ]  # fmt: skip


def attention_gradients() -> Any:
    """As above; a head of keys for several of queries, rows that see nothing."""
    attend, out = F.scaled_dot_product_attention, []
    x = tg.randn(2, 33, 3, 2, 8, requires_grad=True)
    q, k, v = x.permute(2, 0, 3, 1, 4).unbind(0)
    out += tg.autograd.grad(attend(q, k, v, is_causal=True).sin().sum(), x)
    mask = tg.randn(5, 40)
    mask[2], mask[3, :36] = -math.inf, -math.inf
    for shapes, m in (
        (((5, 7), (40, 7), (40, 9)), mask),
        (((2, 3, 17, 80), (2, 1, 34, 80), (34, 136)), tg.randn(34) > 0),
    ):
        xs = [tg.randn(*shape, requires_grad=True) for shape in shapes]
        out += tg.autograd.grad(attend(*xs, m).sin().sum(), xs)
    return out


def updates() -> Any:
    """Steps of optimizers: joined, in launches of as many as there are bindings for."""
    out = []
    for make in (
        lambda ps: tg.optim.SGD(ps, lr=0.1, momentum=0.9),
        lambda ps: tg.optim.AdamW(ps, lr=0.01),
    ):
        shapes = [(5,), (3, 7), (64, 32), (70_000,), (2, 2), (1,), (129,), ()]
        params = [tg.randn(*shape) for shape in shapes]
        params[1], params[4] = params[1].to(tg.float16), params[4].to(tg.bfloat16)
        for p in params:
            p.tolist()
            p.requires_grad_().grad = tg.randn(*p.shape).to(p.dtype)
        optimizer = make(params)
        for _ in range(3):
            optimizer.step()
        out += params
    return out


PROGRAMS = [elementwise, updates, halves, reductions, wide_rows, normalisation, indexing, products,
            packed_weights, convolutions, endings, columns, attention]  # fmt: skip


@SOFTWARE
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_program(
    program: Callable[[], Any], software: bool, tmp_path: Path, monkeypatch: Any, _quiet: Any
) -> None:
    run_program(program, software, tmp_path, monkeypatch)


@pytest.mark.parametrize("enough", [0, 1 << 30], ids=["large", "small"])
@pytest.mark.parametrize(
    "program", [packed_weights, attention, attention_gradients], ids=lambda f: f.__name__
)
def test_tiles(
    program: Callable[[], Any], enough: int, tmp_path: Path, monkeypatch: Any, _quiet: Any
) -> None:
    """Large tiles where small ones would be chosen; small tiles, and shares of K."""
    monkeypatch.setattr(variants, "ENOUGH", enough)
    run_program(program, False, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "program", [wide_rows, reductions, products, packed_weights], ids=lambda f: f.__name__
)
def test_subgroups(
    program: Callable[[], Any], tmp_path: Path, monkeypatch: Any, _quiet: Any
) -> None:
    """As for a GPU that has them; those of the adapter here are of four invocations."""
    monkeypatch.setattr(variants, "ENOUGH", 2)
    made = run_program(program, False, tmp_path, monkeypatch, subgroups=True)
    assert sum("subgroupAdd" in text for text in made) > 1


FORCED = [
    (variant, program)
    for variant in variants.known()
    for program in (products, convolutions, endings)
    if program is products or not variant.startswith("matvec")  # which makes products only
    if program is not endings or variant == "tiled 64 1"  # test_program has the other kernels
    if variant not in ("direct 4 4 4", "matvec 4 1 64", "matvec 1 32 8")  # test_program has them
    if variant != "matrices"  # test_matrices.py has them
]

SPLIT = ("tiled 32 4", "tiled 64 4")


@pytest.mark.parametrize(("variant", "program"), FORCED, ids=lambda x: getattr(x, "__name__", x))
def test_variant(
    variant: str, program: Callable[[], Any], tmp_path: Path, monkeypatch: Any, _quiet: Any
) -> None:
    """Each variant wherever it can be chosen, with what all adapters have, or its memory."""
    candidates, tried = variants.candidates, []

    def forced(s: Any, limits: Any) -> list[str]:
        able = candidates(s, limits)
        split = variant in SPLIT  # takes long on a CPU: where there is enough to share
        tried.append(variant in able and not (split and s.k < 64))
        return [variant] if tried[-1] else able

    monkeypatch.setattr(variants, "candidates", forced)
    more = {} if variants.has_room(variant, wgsl.Limits()) else {"memory": 1 << 15}
    run_program(program, variant.startswith("direct"), tmp_path, monkeypatch, **more)
    assert sum(tried) > 3


@pytest.mark.parametrize(
    ("shape", "gpu", "quads"),
    [
        # (op, batch, m, n, k), b along k: what was measured to be good before there was a table
        (("matmul", 1, 1, 512, 512, True, True), "matvec 4 1 64", "direct 1 4 8"),
        (("matmul", 1, 4, 512, 512, True, False), "matvec 1 32 8", "direct 4 4 4"),
        (("matmul", 1, 1024, 1024, 64, True, False), "tiled 64 1", "direct 4 4 4"),
        (("matmul", 1, 64, 64, 256, True, False), "tiled 32 4", "direct 4 4 4"),
        (("matmul", 1, 64, 64, 255, True, False), "tiled 32 1", "direct 4 4 4"),
        (("matmul", 32, 64, 64, 256, True, False), "tiled 32 1", "direct 4 4 4"),
        (("conv2d", 1, 3, 50176, 27), "tiled 64 1", "direct 1 4 8"),
        (("conv2d_weight", 1, 64, 576, 12544), "tiled 32 4", "direct 4 4 4"),
    ],
)  # fmt: skip
def test_table(shape: Any, gpu: str, quads: str) -> None:
    found = variants.Shape(*shape)
    for quad, first in ((False, gpu), (True, quads)):
        able = variants.candidates(found, wgsl.Limits(quads=quad))
        assert able[0] == first and len(able) == len({*able}) > 1


def test_what_is_measured_comes_first() -> None:
    arg = ((), 64, 64, 300, ((), 0, 300, 1), ((), 0, 64, 1))
    step = Structured("matmul", arg, (0, 1, 2), (dt.float32,) * 3, (19200, 19200, 4096))
    key = variants.name(step)
    assert key == "matmul 1 64 64 300 1 0"
    assert variants.name(step._replace(dtypes=(dt.float16,) * 2 + (dt.float32,))) == key + " f16"
    assert variants.choose(step, wgsl.Limits()) == ("tiled", [32, 4])
    for name, want in [("tiled 64 1", [64, 1]), ("matvec 1 1 64", [32, 4]), ("x", [32, 4])]:
        tuned = {key: variants.Tuned(key, "tiled 32 4", name, 2.0, 1.0)}
        assert variants.choose(step, wgsl.Limits(tuned=tuned)) == ("tiled", want)


def test_kept_text() -> None:
    """What is read from the browser's storage is what was written, or nothing."""
    row = variants.Tuned("matmul 1 64 64 300 1 0", "tiled 32 4", "tiled 64 1", 2.5, 1.25)
    text = variants.written({row.step: row})
    assert variants.read(text) == {row.step: row}
    head, line = text.split("\n")
    for wrong in ["", "x", head + "0\n" + line, "[" * 9000, line, text + "\n", text + "\t1",
                  text.replace("64 1\t", "65 1\t"), text.replace("2.5", "nan"),
                  text.replace("2.5", "1e999"), text.replace("1.25", "-1"),
                  text.replace("1.25", "3"), text + "x" * 60_000]:  # fmt: skip
        assert variants.read(wrong) == {}, wrong[:80]
    many = {str(k): row._replace(step=str(k)) for k in range(1000)}
    assert list(variants.read(variants.written(many))) == [str(k) for k in range(744, 1000)]


def run_program(
    program: Callable[[], Any], software: bool, tmp_path: Path, monkeypatch: Any, **offered: Any
) -> list[str]:
    """The kernels that a program ran, all of which were right."""
    recorder = recorded(program, software, monkeypatch, **offered)
    recorder.gpu.run(tmp_path)
    for check in recorder.checks:
        check.verify()
    assert recorder.checks
    joined = [c for c in recorder.checks if isinstance(c.step, Joined)]
    assert program is not updates or any(
        1 < len(c.case.launches) < len(c.step.parts) for c in joined
    )
    products = [c.step for c in recorder.checks if isinstance(c.step, Structured)]
    assert program is not endings or all(s.epilogue for s in products if s.op != "copy")
    return [*recorder.gpu.texts]


def recorded(
    program: Callable[[], Any], software: bool, monkeypatch: Any, **offered: Any
) -> Recorder:
    """The steps of a program as they are planned for an adapter."""
    recorder = Recorder(Gpu(**offered), software)
    device = sys.modules["tabgrad.runtime"].resolve("numpy")
    monkeypatch.setattr(device, "caps", webgpu.caps(wgsl.Limits(**offered)))
    monkeypatch.setattr(device, "plans", {})
    monkeypatch.setattr(
        device,
        "compile",
        lambda what, n_scalar, numbers: (what, [n.dtype.compute for n in numbers]),
    )
    monkeypatch.setattr(
        device,
        "run",
        lambda compiled, leaves, numbers: recorder.plan(
            compiled[0], [b.handle for b in leaves], list(zip(compiled[1], numbers, strict=True))
        ),
    )
    tg.manual_seed(1)
    for out in program():
        out.detach().tolist()
    return recorder


def test_what_is_multiplied_as_halves(monkeypatch: Any) -> None:
    """What is float16 in memory, or is made element by element, if the adapter has shader-f16."""
    x, w = tg.randn(70, 36), tg.randn(36, 40)
    h, v = x.half(), w.half()
    for t in (x, w, h, v):
        t.tolist()
    F = tg.nn.functional
    programs = [
        (lambda: h @ v, True), (lambda: h.float() @ v.float(), True), (lambda: (h * 2) @ v, True),
        (lambda: h[:, ::2] @ v[1::2], True), (lambda: v.t() @ h.t(), True), (lambda: x @ w, False),
        (lambda: x @ v.float(), False), (lambda: h.float() @ w, False),
        (lambda: h.bfloat16() @ v.bfloat16(), False), (lambda: h.softmax(-1) @ v, False),
        (lambda: F.conv2d(h.view(1, 4, 9, 70), v.view(10, 4, 6, 6)), True),
        (lambda: F.scaled_dot_product_attention(h, h, h, attn_mask=h @ h.t()), True),
    ]  # fmt: skip
    for program, want in programs:
        for able in (True, False):
            gpu = recorded(lambda: [program()], False, monkeypatch, halves=able).gpu  # noqa: B023
            made = [launch.kernel for case in gpu.cases for launch in case.launches]
            halves = sum("alias Factor = f16" in text for text in made)
            assert halves == sum("enable f16" in text for text in made)
            assert bool(halves) == (want and able), made


# --- what programs do not reach -------------------------------------------------------------------


def test_files_compile_untouched(tmp_path: Path) -> None:
    gpu = Gpu()
    files = sorted((Path(__file__).parents[2] / "kernels_wgsl").glob("*.wgsl"))
    for file in files:
        if file.stem != "matmul_matrices":  # see test_matrices.py
            gpu.text(file.read_text())
    gpu.run(tmp_path)
    assert len(gpu.texts) == len(files) - 1


def test_substitution_is_strict() -> None:
    text = wgsl.source("copy")
    assert "const N: u32 = 7u;" in wgsl.substitute(text, {"N": 7})
    with pytest.raises(KeyError, match="0 constants named M"):
        wgsl.substitute(text, {"M": 7})
    with pytest.raises(KeyError, match="no section combine"):
        wgsl.section(text, "combine")


def pointwise(op: str, type_: str, result: str, args: list[Any]) -> tuple[Fused, list[Any]]:
    """A kernel that applies one op to arrays."""
    by_type = {"f": dt.float32, "i": dt.int32, "l": dt.int64, "b": dt.bool_}
    loads = [Instr("load", type_, (), (k, (1,), 0), 0, 0) for k in range(len(args))]
    n = len(args)
    instrs = (*loads, Instr(op, result, tuple(range(n)), None, 0, 0),
              Instr("store", result, (n,), (n, None, 0), 0, 0))  # fmt: skip
    out = np.zeros(args[0].size, np.float32 if result == "f" else np.int32)
    dtypes = (by_type[type_],) * n + (by_type[result],)
    sizes = tuple(a.size for a in (*args, out))
    step = Fused((out.size,), (), instrs, tuple(range(n + 1)), dtypes, sizes, (n,), "")
    return step, [*args, out]


SPECIAL = np.array(
    [0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 3, 1e-20, 1e20, 3.4e38, -3.4e38, 88.7, 88.8, -87, -103,
     -104, 100, math.inf, -math.inf, math.nan], np.float32
)  # fmt: skip
# op → (float64 definition, range, units in the last place)
ACCURATE: dict[str, tuple[Callable[[Any], Any], float, float, float]] = {
    "exp": (np.exp, -87, 89, 2), "exp2": (np.exp2, -125, 128, 2), "expm1": (np.expm1, -20, 88, 3),
    "log": (np.log, 1e-3, 1e3, 2), "log2": (np.log2, 0.1, 20, 3), "log10": (np.log10, 0.1, 20, 3),
    "log1p": (np.log1p, -1, 5, 3), "sin": (np.sin, -1e5, 1e5, 4), "cos": (np.cos, -1e5, 1e5, 4),
    "tan": (np.tan, -300, 300, 5), "asin": (np.arcsin, -1, 1, 3), "acos": (np.arccos, -1, 1, 3),
    "atan": (np.arctan, -20, 20, 3), "sinh": (np.sinh, -89, 89, 4), "cosh": (np.cosh, -89, 89, 4),
    "tanh": (np.tanh, -10, 10, 3), "asinh": (np.arcsinh, -9, 9, 4), "acosh": (np.arccosh, 1, 9, 4),
    "atanh": (np.arctanh, -1, 1, 4), "sqrt": (np.sqrt, 0, 1e9, 2),
    "erf": (np.vectorize(math.erf), -5, 5, 3), "erfc": (np.vectorize(math.erfc), -4, 9, 5),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), -80, 80, 4),
    "phi": (lambda x: np.vectorize(math.erfc)(x * -math.sqrt(0.5)) / 2, -1, 9, 5),
    "lgamma": (np.vectorize(numpy_math._lgamma), 3, 1e4, 8),
}  # fmt: skip


def test_accuracy(tmp_path: Path, _quiet: Any) -> None:
    rng = np.random.default_rng(0)
    gpu, jobs = Gpu(), []
    for op, (f, low, high, ulps) in ACCURATE.items():
        x = np.concatenate([rng.uniform(low, high, 4000).astype(np.float32), SPECIAL])
        jobs.append((op, f, (x,), ulps, gpu.add(*pointwise(op, "f", "f", [x]))))
    a, b = (m.reshape(-1) for m in np.meshgrid(SPECIAL, SPECIAL))
    bits = rng.integers(0, 1 << 32, (2, 4000), dtype=np.uint32)
    bits = np.where(bits & 0x7F800000, bits, bits | 0x3F800000).view(np.float32)
    x, y = np.concatenate([a, bits[0]]), np.concatenate([b, bits[1]])
    for op, f in [("pow", np.power), ("fmod", np.fmod), ("atan2", np.arctan2),
                  ("maximum", np.maximum), ("minimum", np.minimum)]:  # fmt: skip
        jobs.append((op, f, (x, y), 4, gpu.add(*pointwise(op, "f", "f", [x, y]))))
    gpu.run(tmp_path)
    for op, f, args, ulps, case in jobs:
        want = np.asarray(f(*[v.astype(np.float64) for v in args]), np.float64)
        got, rounded = case.outs[-1], want.astype(np.float32)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(rounded), op)
        finite = np.isfinite(rounded)
        np.testing.assert_array_equal(got[~finite], rounded[~finite], op)
        error = np.abs(got[finite] - want[finite])
        error[error < 2.4e-38] = 0  # results below the normal numbers may be flushed to zero
        worst = error / np.spacing(np.maximum(np.abs(rounded[finite]), np.float32(1.2e-38)))
        assert worst.max() <= ulps, (op, worst.max(), [v[finite][worst.argmax()] for v in args])


@SOFTWARE
@pytest.mark.parametrize("dtype", _HALF, ids=lambda d: d.name)
def test_halves_are_decoded(dtype: Any, software: bool, tmp_path: Path) -> None:
    """Also subnormals of float16, infinities and nan; times one, and times zeros that follow."""
    bits = np.arange(1 << 16, dtype=np.uint16)
    bits = bits[(bits & 0x3E0) % 0x3E0 == 0]  # every exponent of float16
    bits = bits[(bits & 0x7F80 > 0) | (bits & 0x7FFF == 0) | (dtype is dt.float16)]
    n = bits.size
    gpu, jobs = Gpu(), []
    for m, at in [(1, 0), (3, 31), (20, 9)]:
        x, w = np.zeros((m, 32), np.float32), np.zeros((n, 32), np.uint16)
        x[:, at], w[:, at] = 1, bits
        sizes = (x.size, w.size, m * n)
        step = Structured("linear", (m, n, 32, 16, 32), (0, 1, 2), (dt.float32, dtype, dt.float32),
                          sizes)  # fmt: skip
        jobs.append((m, gpu.add(step, [x, w, np.zeros((m, n), np.float32)], software=software)))
    gpu.run(tmp_path)
    for m, case in jobs:
        want = np.broadcast_to(values(bits, dtype), (m, n))
        np.testing.assert_array_equal(case.outs[-1].reshape(m, n), want)


EDGES = np.array([0, 1, -1, 2, -7, 46340, 46341, -46341, 2**31 - 1, -(2**31), 123456789], np.int32)


def test_integers(tmp_path: Path, _quiet: Any) -> None:
    a, b = (m.reshape(-1) for m in np.meshgrid(EDGES, EDGES))
    wide = a.astype(np.int64), b.astype(np.int64)
    gpu, jobs = Gpu(), []
    for op in ("floordiv", "truncdiv", "remainder", "fmod", "shl", "shr", "pow", "xor"):
        f = numpy_backend._EXPRESSIONS[op]
        shift = np.where(op in ("shl", "shr", "pow"), b & 63, b).astype(np.int32)
        jobs.append((op, f(a, shift), gpu.add(*pointwise(op, "i", "i", [a, shift]))))
    gpu_l = [
        (op, f, gpu.add(*pointwise(op, "l", "l", [a[k : k + 1], b[k : k + 1]])), k)
        for op, f in (("add", np.add), ("sub", np.subtract), ("mul", np.multiply))
        for k in range(0, a.size, 3)
    ]
    gpu.run(tmp_path)
    for op, want, case in jobs:
        np.testing.assert_array_equal(case.outs[-1], want.astype(np.int32), op)
    for op, f, case, k in gpu_l:
        want = int(f(wide[0][k], wide[1][k]))
        assert case.status == (not -(2**31) <= want < 2**31), (op, a[k], b[k])
        assert case.status or case.outs[-1][0] == want


def test_index_reports(tmp_path: Path) -> None:
    at = np.array([0, 4, -5, 5, -6], np.int32)
    gpu, cases = Gpu(), []
    for n, back in ((3, 5), (5, 5), (2, 0), (3, 0)):
        instrs = (Instr("load", "l", (), (0, (1,), 0), 0, 0),
                  Instr("index", "l", (0,), (5, 82, back), 0, 0),
                  Instr("store", "l", (1,), (1, None, 0), 0, 0))  # fmt: skip
        step = Fused((n,), (), instrs, (0, 1), (dt.int64,) * 2, (n, n), (1,), "")
        cases.append(gpu.add(step, [at[:n], at[:n]]))
    gpu.run(tmp_path)
    assert [c.status for c in cases] == [0, 82, 0, 82]
    assert cases[1].outs[1].tolist() == [0, 4, 0, 0, 0]


def test_empty_inner_gives_the_neutral_element(tmp_path: Path) -> None:
    gpu, cases = Gpu(), []
    for kind in ("sum", "prod", "max", "min"):
        instrs = (Instr("load", "f", (), (0, (0, 1), 0), 1, 0),
                  Instr("reduce", "f", (0,), kind, 0, 0),
                  Instr("store", "f", (1,), (1, None, 0), 0, 1))  # fmt: skip
        step = Fused((3,), (0,), instrs, (0, 1), (dt.float32,) * 2, (1, 3), (1,), "")
        cases.append(gpu.add(step, [np.zeros(1, np.float32), np.ones(3, np.float32)]))
    gpu.run(tmp_path)
    got = [c.outs[1].tolist() for c in cases]
    assert got == [[v] * 3 for v in (0.0, 1.0, -math.inf, math.inf)]


@SOFTWARE
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (3, 64), (2, 65), (2, 1024), (2, 3001)])
def test_sort_is_stable(shape: tuple[int, int], software: bool, tmp_path: Path) -> None:
    keys = np.random.default_rng(0).integers(-50, 50, shape).astype(np.int32)
    step = Structured("sort", (*shape, shape[1]), (0, 1), (dt.int32,) * 2, (keys.size,) * 2)
    gpu = Gpu()
    case = gpu.add(step, [keys, np.zeros_like(keys)], software=software)
    gpu.run(tmp_path)
    want = np.argsort(keys, 1, kind="stable")
    np.testing.assert_array_equal(case.outs[1].reshape(shape), want)


@SOFTWARE
def test_the_first_of_a_sort(software: bool, tmp_path: Path, monkeypatch: Any) -> None:
    """Rows of one span and of several, more than workgroups, with ties within and across spans."""
    monkeypatch.setattr(webgpu, "_MOST", 3)
    rng, gpu, jobs = np.random.default_rng(0), Gpu(), []
    smallest = 257 if software else 1025
    ranges = [(-(2**31), 2**31 - 1), (-3, 3), (7, 7)]
    for rows, n, first in [(4, smallest, 1), (5, smallest, smallest // 4), (1, 4096, 1024),
                           (1, 70_001, 50), (2, 9001, 255)]:  # fmt: skip
        chosen = [ranges[(rows + r) % 3] for r in range(rows)]
        keys = np.stack([rng.integers(*c, n, np.int32, endpoint=True) for c in chosen])
        step = Structured("sort", (rows, n, first), (0, 1), (dt.int32,) * 2, (keys.size,) * 2)
        want = np.argsort(keys, 1, kind="stable")[:, :first]
        jobs.append((want, gpu.add(step, [keys, 0 * keys], software=software)))
    gpu.run(tmp_path)
    for want, case in jobs:
        (rows, first), keys = want.shape, case.arrays[0]
        assert "var<workgroup> chosen" in case.launches[0].kernel
        got = case.outs[1].reshape(rows, -1)[:, :first]
        np.testing.assert_array_equal(got, want, f"{rows} rows of {keys.size // rows}")


@SOFTWARE
def test_long_sums_are_accurate(software: bool, tmp_path: Path) -> None:
    n = 1 << 20
    x = np.random.default_rng(0).random(n, np.float32)
    instrs = (Instr("load", "f", (), (0, (1,), 0), 1, 0), Instr("reduce", "f", (0,), "sum", 0, 0),
              Instr("store", "f", (1,), (1, None, 0), 0, 1))  # fmt: skip
    gpu = Gpu()
    step = Fused((), (n,), instrs, (0, 1), (dt.float32,) * 2, (n, 1), (1,), "")
    case = gpu.add(step, [x, np.zeros(1, np.float32)], software=software)
    gpu.run(tmp_path)
    assert abs(case.outs[1][0] / x.astype(np.float64).sum() - 1) < 3e-7


def test_a_folded_grid_ends_where_its_elements_do(tmp_path: Path) -> None:
    """Groups that a folded grid has too many of leave what is written in place alone."""
    n = 256 * 65537  # whole groups, more than one dimension of a grid holds
    instrs = (Instr("load", "f", (), (0, (1,), 0), 0, 0), Instr("add", "f", (0, 0), None, 0, 0),
              Instr("store", "f", (1,), (0, None, 0), 0, 0))  # fmt: skip
    step = Fused((n,), (), instrs, (0,), (dt.float32,), (n,), (0,), "")
    gpu = Gpu()
    case = gpu.add(step, [np.ones(n, np.float32)])
    gpu.run(tmp_path)
    x, y, _ = case.launches[0].grid
    assert y > 1 and x * y > 65537
    assert case.outs[0].min() == case.outs[0].max() == 2
