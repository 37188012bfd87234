"""The WASM kernels against numpy: hand-made steps, lowered by backends/wasm.py, run in wasmtime."""

from __future__ import annotations

import functools
import importlib.util
import math
import struct
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from machine import ROOT, Machine
from tabgrad.backends import numpy as numpy_backend
from tabgrad.backends.wasm import lower
from tabgrad.dtypes import COMPUTE, DTYPES, bfloat16, bool_, float16, float32, int32
from tabgrad.ir import Epilogue, Fused, Instr, Structured

STORED = {d: np.uint16 if d is bfloat16 else np.dtype(d.numpy_name) for d in DTYPES}
WIDE = {"f": np.float32, "d": np.float64, "i": np.int32, "l": np.int64, "b": np.int32}
DTYPE_OF = {np.dtype(v): k for k, v in STORED.items() if k is not bfloat16}


@pytest.fixture(scope="module", params=[("simd", 3), ("relaxed", 1)], ids=["simd-3", "relaxed-1"])
def machine(request):
    """A build, and in how many shares its kernels do their work."""
    return Machine(*request.param)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


class Builder:
    """Writes a Fused step: ``load``, ``op``, ``reduce``, ``store`` give instruction numbers."""

    def __init__(self, rows, inner=()):
        self.rows, self.inner = rows, inner
        self.instrs, self.arrays, self.dtypes, self.written = [], [], [], []

    def emit(self, op, type_, srcs=(), arg=None, level=0):
        phase = 0
        for s in srcs:
            i = self.instrs[s]
            phase = max(phase, i.phase + (i.op == "reduce"))
            if op != "reduce":
                level = max(level, i.level)
        self.instrs.append(Instr(op, type_, tuple(srcs), arg, level, phase))
        return len(self.instrs) - 1

    def operand(self, array, dtype=None):
        for k, a in enumerate(self.arrays):
            if a is array:
                return k
        self.arrays.append(array)
        self.dtypes.append(dtype or DTYPE_OF[array.dtype])
        return len(self.arrays) - 1

    def load(self, array, strides=None, offset=0, level=0, dtype=None):
        k = self.operand(array, dtype)
        space = self.rows + (self.inner if level else ())
        if strides is None:
            strides = tuple(math.prod(space[d + 1 :]) for d in range(len(space)))
        return self.emit("load", self.dtypes[k].compute, (), (k, strides, offset), level)

    def op(self, name, type_, *srcs, arg=None):
        return self.emit(name, type_, srcs, arg)

    def reduce(self, kind, src):
        return self.emit("reduce", self.instrs[src].type, (src,), kind)

    def store(self, src, array, strides=None, offset=0, dtype=None):
        k = self.operand(array, dtype)
        self.written.append(k)
        level = self.instrs[src].level
        self.emit("store", self.dtypes[k].compute, (src,), (k, strides, offset), level)

    def launches(self):
        n = len(self.arrays)
        sizes = tuple(a.size for a in self.arrays)
        step = Fused(self.rows, self.inner, tuple(self.instrs), tuple(range(n)),
                     tuple(self.dtypes), sizes, tuple(self.written), "")  # fmt: skip
        return lower(step, None)

    def run(self, machine, scalars=b""):
        for launch in self.launches():
            machine.run(launch, self.arrays, scalars)


def samples(dtype, shape, rng):
    if dtype is bfloat16:
        return (rng.standard_normal(shape).astype(np.float32).view(np.uint32) >> 16).astype(
            np.uint16
        )
    if dtype.is_floating_point:
        return rng.standard_normal(shape).astype(STORED[dtype])
    if dtype is bool_:
        return rng.random(shape) < 0.5
    info = np.iinfo(STORED[dtype])
    return rng.integers(max(info.min, -1000), min(info.max, 1000), shape, dtype=STORED[dtype])


def widened(array, dtype):
    if dtype is bfloat16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(WIDE[dtype.compute])


# ---- fused: loads, stores, views -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=repr)
@pytest.mark.parametrize("n", [1, 3, 4, 1003, 4100])
def test_every_dtype_survives_load_and_store(machine, rng, dtype, n):
    x = samples(dtype, n, rng)
    out = np.zeros_like(x)
    b = Builder((n,))
    v = b.load(x, dtype=dtype)
    b.store(v, out, dtype=dtype)
    b.run(machine)
    np.testing.assert_array_equal(out, x)


@pytest.mark.parametrize("seed", range(25))
def test_random_views(machine, seed):
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 5))
    rows = tuple(int(s) for s in rng.integers(1, [9, 9, 60, 700][:rank] + rng.integers(1, 3)))
    x, y, z = (
        rng.standard_normal(max(200_000, math.prod(rows))).astype(np.float32) for _ in range(3)
    )
    contiguous = tuple(math.prod(rows[d + 1 :]) for d in range(rank))
    permuted = rng.permutation(rank)
    strides = [0] * rank
    step = 1
    for d in permuted:
        strides[d] = step * int(rng.choice([0, 1, 1, 1, 2]))
        step *= rows[d]
    if sum(s * (n - 1) for s, n in zip(strides, rows, strict=True)) >= x.size:
        strides = list(contiguous)
    flipped = tuple(-s for s in contiguous)
    end = math.prod(rows) - 1
    out = np.zeros(math.prod(rows) + 7, np.float32)
    b = Builder(rows)
    i, j, k = b.load(x, tuple(strides)), b.load(y, flipped, end), b.load(z)
    b.store(b.op("sub", "f", b.op("mul", "f", i, j), k), out, None, 7)
    b.run(machine)
    view = np.lib.stride_tricks.as_strided
    expect = view(x, rows, [4 * s for s in strides]) * view(y[end:], rows, [4 * s for s in flipped])
    expect = expect - z[: end + 1].reshape(rows)
    np.testing.assert_array_equal(out[7:], expect.reshape(-1))
    assert (out[:7] == 0).all()


def test_transposed_store_and_addr(machine):
    out = np.zeros(35 * 50, np.int64)
    b = Builder((50, 35))
    b.store(b.emit("addr", "l", (), ((35, 1), 5)), out, (1, 50))
    b.run(machine)
    np.testing.assert_array_equal(out.reshape(35, 50).T, np.arange(5, 1755).reshape(50, 35))


VIEWS = [
    ((100, 70), (1, 100), None),  # transposed
    ((33, 3, 40), (40, 33 * 40, 1), None),  # runs of 40
    ((5, 48, 64), (64 * 48, 1, 48), None),
    ((1000, 2, 2), (4, 1, 2), (4, 2, 1)),  # tiny squares
    ((40, 50), (50, 1), (90, 1)),  # into a window
    ((40, 50), (1, 40), (1, 60)),
    ((3, 32, 32), (0, 1, 32), None),  # repeated
    ((2100, 9), (1, 2100), None),  # more strips than go together
    ((2, 1050, 9), (1050 * 9, 1, 1050), None),
    ((64, 17), (-17, -1), (1, 64)),
    ((4096,), (1,), None),
    ((102_400,), (1,), None),  # one run, in pieces for several threads
    ((16, 6400), (1, 16), None),  # one strip
    ((16, 6400), (1, 17), (6600, 1)),
]


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "i8"])
@pytest.mark.parametrize("shape, strides, to", VIEWS)
def test_copies_between_views(machine, rng, dtype, shape, strides, to):
    x = rng.integers(0, 250, 120_000).astype(dtype)
    out = np.zeros(120_000, dtype)
    start = sum(-s * (n - 1) for s, n in zip(strides, shape, strict=True) if s < 0)
    b = Builder(shape)
    b.store(b.load(x, strides, start), out, to, 3 if to else 0)
    b.run(machine)
    view, size = np.lib.stride_tricks.as_strided, out.itemsize
    seen = view(x[start:], shape, [s * size for s in strides])
    expect = np.zeros(120_000, dtype)
    steps = to or [math.prod(shape[d + 1 :]) for d in range(len(shape))]
    view(expect[3 if to else 0 :], shape, [s * size for s in steps])[...] = seen
    np.testing.assert_array_equal(out, expect)


@pytest.mark.parametrize("shape, strides", [((102_400,), (1,)), ((16, 6400), (1, 16))])
def test_long_copies_of_one_run_or_strip_are_shared(shape, strides):
    b = Builder(shape)
    b.store(b.load(np.zeros(102_400, "f4"), strides), np.zeros(102_400, "f4"))
    (launch,) = b.launches()
    assert launch.kernel == "permute" and launch.grid[0] == 4  # of 100 KB each


@pytest.mark.parametrize("rows, width", [(1, 1), (9, 5), (300, 64)])
def test_whole_rows_of_a_table(machine, rng, rows, width):
    table = samples(float32, (50, width + 2), rng)
    at = (rng.integers(0, 50, rows) * (width + 2)).astype("i4")
    out = np.zeros((rows, width), "f4")
    b = Builder((rows, width))
    place = b.op("add", "i", b.emit("addr", "i", (), ((0, 1), 2)), b.load(at, (1, 0)))
    b.store(b.emit("take", "f", (place,), (b.operand(table), table.size)), out)
    b.run(machine)
    np.testing.assert_array_equal(out, table.reshape(-1)[at[:, None] + 2 + np.arange(width)])


@pytest.mark.parametrize(
    "index, back",
    [(-11, 10), (10, 10), (5 + (1 << 32), 10), (-(1 << 40), 10), ((1 << 63) - 1, 10), (-1, 0),
     (10, 0), (-(1 << 32), 0)],
)  # fmt: skip
@pytest.mark.parametrize("at", [0, 7, 12])
def test_an_index_out_of_range_in_any_lane(machine, rng, index, back, at):
    x, table = rng.integers(-back, 10, 13), samples(float32, 10, rng)
    out = np.zeros(13, "f4")
    for bad in (False, True):
        x[at] = index if bad else 3
        b = Builder((13,))
        i = b.op("cast", "i", b.op("index", "l", b.load(x), arg=(10, 41, back)), arg=COMPUTE["i"])
        b.store(b.emit("take", "f", (i,), (b.operand(table), 10)), out)
        machine.status[0] = 0
        b.run(machine)
        assert machine.status[0] == (41 if bad else 0)
        np.testing.assert_array_equal(np.delete(out, at), np.delete(table[x % 10], at))
    machine.status[0] = 0


@pytest.mark.parametrize("n", [1000, 1003])
@pytest.mark.parametrize("first", ["add", "sub", "mul"])
@pytest.mark.parametrize("second", ["add", "sub", "mul"])
@pytest.mark.parametrize("kinds", ["vvv", "vsv", "svs", "vvs", "vss"])
@pytest.mark.parametrize("swapped", [False, True])
def test_pairs_of_ops_round_twice(machine, rng, n, first, second, kinds, swapped):
    f = {"add": np.add, "sub": np.subtract, "mul": np.multiply}
    values = [samples(float32, n if k == "v" else (), rng) for k in kinds]
    out = np.zeros(n, "f4")
    b = Builder((n,))
    a, c, d = (
        b.load(v) if k == "v" else b.emit("const", "f", (), float(v))
        for k, v in zip(kinds, values, strict=True)
    )
    t = b.op(first, "f", a, c)
    b.store(b.op(second, "f", *((d, t) if swapped else (t, d))), out)
    b.run(machine)
    t = f[first](*values[:2])
    expect = f[second](values[2], t) if swapped else f[second](t, values[2])
    np.testing.assert_array_equal(out, np.broadcast_to(expect, n))


@pytest.mark.parametrize("name", ["div", "maximum", "minimum"])
@pytest.mark.parametrize("swapped", [False, True])
def test_ops_with_a_number(machine, rng, name, swapped):
    x, out = samples(float32, 1003, rng), np.zeros(1003, "f4")
    b = Builder((1003,))
    operands = [b.load(x), b.emit("const", "f", (), 0.25)]
    b.store(b.op(name, "f", *operands[:: -1 if swapped else 1]), out)
    b.run(machine)
    f = {"div": np.divide, "maximum": np.maximum, "minimum": np.minimum}[name]
    expect = f(np.float32(0.25), x) if swapped else f(x, np.float32(0.25))
    np.testing.assert_array_equal(out, expect)


@pytest.mark.parametrize("size", [256, 784, 49])
def test_channels_in_the_middle(machine, rng, size):
    """Batch norm's views: (N, C, HW) with a value per channel, and sums over N and HW."""
    n, c = 6, 5
    x, w = samples(float32, (n, c, size), rng), samples(float32, c, rng)
    out = np.zeros_like(x)
    b = Builder((n, c, size))
    v, weight = b.load(x), b.load(w, (0, 1, 0))
    b.store(b.op("add", "f", b.op("mul", "f", v, weight), weight), out)
    b.run(machine)
    np.testing.assert_array_equal(out, x * w[:, None] + w[:, None])
    total = np.zeros(c, "f4")
    b = Builder((c,), (n, size))
    v = b.load(x, (size, c * size, 1), level=1)
    b.store(b.reduce("sum", b.op("mul", "f", v, v)), total)
    b.run(machine)
    np.testing.assert_allclose(total, (x.astype("f8") ** 2).sum((0, 2)), rtol=1e-6)


def test_in_place(machine, rng):
    x = samples(float32, 5000, rng)
    expect = x * 2 + 1
    b = Builder((5000,))
    v = b.load(x)
    two, one = b.emit("const", "f", (), 2.0), b.emit("const", "f", (), 1.0)
    b.store(b.op("add", "f", b.op("mul", "f", v, two), one), x)
    b.run(machine)
    np.testing.assert_array_equal(x, expect)


def test_scalars_and_constants_keep_their_bits(machine):
    n, big = 9, (1 << 62) + 12345
    out = [np.zeros(n, t) for t in ("f4", "f8", "i4", "i8")]
    b = Builder((n,))
    for t, o, slot in zip("fdil", out, range(4), strict=True):
        b.store(b.emit("scalar", t, (), slot), o)
    b.run(machine, struct.pack("<ddqq", 0.1, 0.1, -7, big))
    assert [o[-1] for o in out] == [np.float32(0.1), 0.1, -7, big]
    b = Builder((n,))
    for t, o, value in zip("fdil", out, (1e40, -math.inf, -(2**31), big), strict=True):
        b.store(b.emit("const", t, (), value), o)
    b.run(machine)
    assert [o[0] for o in out] == [math.inf, -math.inf, -(2**31), big]


def test_take_checks_its_index(machine, rng):
    table = samples(float32, (10, 6), rng)
    index = np.array([3, -1, 9, 0], np.int64)
    out = np.zeros((4, 6), np.float32)

    def gather():
        b = Builder((4, 6))
        i = b.op("index", "l", b.load(index, (1, 0)), arg=(10, 41, 10))
        six = b.emit("const", "l", (), 6)
        at = b.op("add", "l", b.op("mul", "l", i, six), b.emit("addr", "l", (), ((0, 1), 0)))
        k = b.operand(table)
        b.store(b.emit("take", "f", (at,), (k, 60)), out)
        b.run(machine)

    machine.status[0] = 0
    gather()
    np.testing.assert_array_equal(out, table[index])
    assert machine.status[0] == 0
    index[1] = 10
    gather()
    assert machine.status[0] == 41
    machine.status[0] = 0


@pytest.mark.parametrize("dtype", DTYPES, ids=repr)
@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize(
    "shape, strides",
    [((3, 700, 5), (0, 900, 0)), ((3, 700, 5), (7, 0, 1)), ((4, 1, 7), (1, 3, 2)),
     ((2, 3, 1100), (2000, 1, 0)), ((2, 3, 1100), (0, 0, 0)), ((4, 1, 7), ())],
)  # fmt: skip
def test_take_counts_from_a_place(machine, rng, dtype, inner, shape, strides):
    index = rng.integers(0, 40, shape).astype("i4")
    place = 9 + sum(n * step for n, step in zip(np.indices(shape), strides, strict=False))
    table, out = samples(dtype, int(np.max(place)) + 40, rng), samples(dtype, shape, rng)
    b = Builder(shape[:1], shape[1:]) if inner else Builder(shape)
    level = int(inner and strides != ())
    at = b.emit("addr", "i", (), (strides if level or not inner else (), 9), level)
    at = b.op("add", "i", at, b.load(index, level=int(inner)))
    b.store(
        b.emit("take", dtype.compute, (at,), (b.operand(table, dtype), table.size)),
        out,
        dtype=dtype,
    )
    b.run(machine)
    np.testing.assert_array_equal(out, table[place + index])


# ---- fused: the ops ------------------------------------------------------------------------------

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, math.inf, -math.inf, math.nan, 1e-40, -1e-40, 3.4e38,
           -3.4e38, 1e-8, 88.7, 89.5, -87.5, -103.0, -104.5, 2.5, 1.5, 128.0, -150.0]  # fmt: skip
ERF = np.vectorize(math.erf)
ULPS = {
    "exp": (np.exp, 2), "exp2": (np.exp2, 2), "expm1": (np.expm1, 3), "log": (np.log, 1.5),
    "log2": (np.log2, 2), "log10": (np.log10, 1), "log1p": (np.log1p, 3), "sqrt": (np.sqrt, 0.51),
    "tanh": (np.tanh, 4), "sinh": (np.sinh, 2), "cosh": (np.cosh, 2), "tan": (np.tan, 4),
    "asin": (np.arcsin, 2), "acos": (np.arccos, 2), "atan": (np.arctan, 2), "erf": (ERF, 3),
    "erfc": (np.vectorize(math.erfc), 1), "asinh": (np.arcsinh, 1), "acosh": (np.arccosh, 1),
    "atanh": (np.arctanh, 1), "floor": (np.floor, 0), "ceil": (np.ceil, 0), "round": (np.rint, 0),
    "trunc": (np.trunc, 0), "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), 3), "rsqrt":
    (lambda x: 1 / np.sqrt(x), 1.6), "abs": (np.abs, 0), "neg": (np.negative, 0),
}  # fmt: skip


def unary(machine, name, x, type_="f", out_type=None):
    out = np.zeros(x.shape, WIDE[out_type or type_])
    b = Builder(x.shape)
    b.store(b.op(name, out_type or type_, b.load(x)), out)
    b.run(machine)
    return out


@pytest.mark.parametrize("name", ULPS)
def test_accuracy_of_float32(machine, rng, name):
    f, ulps = ULPS[name]
    spread = rng.standard_normal(20_000) * np.exp2(rng.integers(-20, 8, 20_000))
    x = np.concatenate([SPECIAL, spread]).astype(np.float32)
    if name == "tan":
        x = x[~(np.abs(x) > 1e6)]
    if name == "sigmoid":  # 1 / (1 + inf) below
        x = x[~(x < -88)]
    with np.errstate(all="ignore"):
        expect = f(x.astype(np.float64))
        near = np.asarray(expect).astype(np.float32)
    got = unary(machine, name, x)
    finite = np.isfinite(near)
    np.testing.assert_array_equal(got[~finite], near[~finite])
    unit = np.spacing(np.maximum(np.abs(near[finite]), np.float32(1e-38))).astype(np.float64)
    error = np.abs(got[finite] - expect[finite]) / unit
    assert error.max() <= ulps, (error.max(), x[finite][error.argmax()])


@pytest.mark.parametrize("name, f", [("sin", np.sin), ("cos", np.cos)])
def test_accuracy_of_sin_and_cos(machine, rng, name, f):
    x = np.concatenate([rng.uniform(-1e4, 1e4, 20_000), rng.uniform(-1e6, 1e6, 20_000)]).astype(
        "f4"
    )
    expect = f(x.astype(np.float64))
    assert np.abs(unary(machine, name, x) - expect).max() < 1.3e-7
    assert np.isnan(unary(machine, name, np.array([np.inf, -np.inf, np.nan], "f4"))).all()


def test_accuracy_of_the_normal_distribution(machine, rng):
    x = np.concatenate([rng.uniform(-7, 7, 50_000), rng.standard_normal(20_000) * 0.1, SPECIAL])
    x = x.astype("f4")
    expect = np.vectorize(math.erfc)(x.astype("f8") * -math.sqrt(0.5)) / 2
    got = unary(machine, "phi", x)
    np.testing.assert_allclose(got, expect, rtol=0, atol=1.7e-7)
    assert np.nanmax(got) == 1 and np.nanmin(got) == 0
    np.testing.assert_array_equal(got[np.abs(x) > 5.3], (x[np.abs(x) > 5.3] > 0).astype("f4"))
    np.testing.assert_allclose(unary(machine, "phi", x.astype("f8"), "d"), expect, rtol=1e-13)


def test_doubles_are_libms(machine, rng):
    x = rng.standard_normal(999)
    for name, f in (("exp", np.exp), ("sin", np.sin), ("tanh", np.tanh), ("erf", ERF)):
        np.testing.assert_allclose(unary(machine, name, x, "d"), f(x), rtol=1e-15)


def test_special_functions(machine):
    x = np.array([0.5, 1.5, 3.25, 20.0, -0.5, -2.25])
    digamma = [-1.96351002602142, 0.03648997397857, 1.01694226131317, 2.97052395, 0.0364899739786]
    got = unary(machine, "digamma", x, "d")
    np.testing.assert_allclose(got[[0, 1, 4]], [digamma[0], digamma[1], digamma[4]], rtol=1e-11)
    got = unary(machine, "trigamma", np.array([1.0, 0.5, 4.0]), "d")
    expect = [math.pi**2 / 6, math.pi**2 / 2, math.pi**2 / 6 - 1 - 1 / 4 - 1 / 9]
    np.testing.assert_allclose(got, expect, rtol=1e-9)
    y = np.linspace(-0.999, 0.999, 101)
    np.testing.assert_allclose(ERF(unary(machine, "erfinv", y, "d")), y, atol=1e-14)
    got = unary(machine, "lgamma", x, "d")
    np.testing.assert_allclose(got, np.vectorize(math.lgamma)(x), rtol=1e-12)


def test_saturated_functions_are_exact(machine):
    ends = np.array([0.0, 5.0, -5.0, 30.0, -30.0, 3e38, -3e38, np.inf, -np.inf, np.nan], "f4")
    signs = np.sign(ends)
    np.testing.assert_array_equal(unary(machine, "erf", ends), signs)
    large = np.delete(ends, [1, 2])
    np.testing.assert_array_equal(unary(machine, "tanh", large), np.sign(large))
    np.testing.assert_array_equal(
        unary(machine, "sigmoid", ends[[0, 5, 6, 7, 8]]), [0.5, 1, 0, 1, 0]
    )
    np.testing.assert_array_equal(unary(machine, "exp", ends[[0, 7, 8]]), [1, np.inf, 0])
    zero = np.array([0.0, -0.0] * 2, "f4")
    for name in ("erf", "tanh"):
        np.testing.assert_array_equal(np.signbit(unary(machine, name, zero)), np.signbit(zero))


INTEGERS = [0, 1, -1, 2, -2, 3, -3, 7, -7, 31, 32, 40, 100, -(2**31), 2**31 - 1]


def binary(machine, name, a, b_, type_, out_type=None):
    out = np.zeros(a.shape, WIDE[out_type or type_])
    b = Builder(a.shape)
    b.store(b.op(name, out_type or type_, b.load(a), b.load(b_)), out)
    b.run(machine)
    return out


@pytest.mark.parametrize("type_", "il")
def test_integer_division_is_pythons_and_never_traps(machine, type_):
    a, b = (v.reshape(-1).astype(WIDE[type_]) for v in np.meshgrid(INTEGERS, INTEGERS))
    wrap = WIDE[type_]
    ok = b != 0
    for name, f in (("floordiv", np.floor_divide), ("remainder", np.remainder), ("fmod", np.fmod)):
        got = binary(machine, name, a, b, type_)
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(got[ok], f(a[ok], b[ok]).astype(wrap), name)
        assert (got[~ok] == 0).all()
    bits = 8 * np.dtype(wrap).itemsize
    got = binary(machine, "shl", a, b, type_)
    inside = (b >= 0) & (b < bits)
    np.testing.assert_array_equal(got, np.where(inside, a << np.where(inside, b, 0), 0))
    got = binary(machine, "shr", a, b, type_)
    np.testing.assert_array_equal(got, a >> np.where(inside, b, bits - 1))
    small = np.abs(b) < 8
    got = binary(machine, "pow", a, b, type_)[small & (b >= 0)]
    positive = np.where(small & (b >= 0), b, 0)
    np.testing.assert_array_equal(got, (a**positive)[small & (b >= 0)])


def test_float_division_like_python(machine, rng):
    a = np.concatenate([rng.uniform(-50, 50, 3000), [6.0, -6.0, 0.3, 5.0, -5.0, 1.0]]).astype("f4")
    b = np.concatenate([rng.uniform(-5, 5, 3000), [0.1, 0.2, 0.1, -5.0, 2.5, np.inf]]).astype("f4")
    np.testing.assert_array_equal(binary(machine, "remainder", a, b, "f"), np.remainder(a, b))
    np.testing.assert_array_equal(binary(machine, "floordiv", a, b, "f"), np.floor_divide(a, b))


def test_maximum_propagates_nan_and_comparisons_do_not(machine, rng):
    a, b = (np.tile(SPECIAL, 23).astype("f4"), np.repeat(SPECIAL, 23).astype("f4"))
    np.testing.assert_array_equal(binary(machine, "maximum", a, b, "f"), np.maximum(a, b))
    np.testing.assert_array_equal(binary(machine, "minimum", a, b, "f"), np.minimum(a, b))
    for name, f in (
        ("eq", np.equal),
        ("ne", np.not_equal),
        ("lt", np.less),
        ("ge", np.greater_equal),
    ):
        out = np.zeros(a.shape, np.bool_)
        build = Builder(a.shape)
        build.store(build.op(name, "b", build.load(a), build.load(b)), out)
        build.run(machine)
        np.testing.assert_array_equal(out, f(a, b))


@pytest.mark.parametrize("type_", "fdl")
def test_where(machine, rng, type_):
    n = 777
    mask = rng.random(n) < 0.5
    a, c = samples(COMPUTE[type_], n, rng), samples(COMPUTE[type_], n, rng)
    out = np.zeros_like(a)
    b = Builder((n,))
    b.store(b.op("where", type_, b.load(mask), b.load(a), b.load(c)), out)
    b.run(machine)
    np.testing.assert_array_equal(out, np.where(mask, a, c))


def test_order_keys_sort_as_the_floats_do(machine, rng):
    x = np.concatenate([SPECIAL, rng.standard_normal(500)])
    for t, k in (("f", "i"), ("d", "l")):
        values = x.astype(WIDE[t])
        keys = unary(machine, "order_key", values, t, k)
        order = np.argsort(keys, kind="stable")
        np.testing.assert_array_equal(values[order], values[np.argsort(values, kind="stable")])


@pytest.mark.parametrize("to", DTYPES, ids=repr)
@pytest.mark.parametrize("type_", "fdilb")
def test_casts(machine, rng, type_, to):
    x = samples(COMPUTE[type_], 501, rng)
    if type_ in "fd":
        x = np.concatenate([x * 100, [0.0, -0.0, 65519.0, 65520.0, 1e-7, 6e-8]]).astype(x.dtype)
    if to.compute in "il":
        x = np.clip(x, -30000, 30000).astype(x.dtype)
    out = np.zeros(x.shape, STORED[to])
    b = Builder(x.shape)
    b.store(b.op("cast", to.compute, b.load(x), arg=to), out, dtype=to)
    b.run(machine)
    if to is bfloat16:
        bits = x.astype(np.float32).view(np.uint32)
        expect = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    elif to is bool_:
        expect = x != 0
    else:
        with np.errstate(over="ignore"):
            middle = np.int64 if to.compute in "il" else np.float32 if to is float16 else STORED[to]
            expect = x.astype(middle).astype(STORED[to])
    np.testing.assert_array_equal(out, expect)


# ---- fused: reductions ---------------------------------------------------------------------------

NUMPY = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min}


@pytest.mark.parametrize("kind", NUMPY)
@pytest.mark.parametrize("type_", "fdil")
@pytest.mark.parametrize("shape", [(1, 10_000), (40, 33), (3, 1), (700, 9), (5, 3000)])
@pytest.mark.parametrize("by_columns", [False, True])
def test_reductions(machine, rng, kind, type_, shape, by_columns):
    rows, inner = shape
    x = samples(COMPUTE[type_], (inner, rows) if by_columns else (rows, inner), rng)
    if kind == "prod":
        x = np.where(rng.random(x.shape) < 0.9, 1, x).astype(x.dtype)
    out = np.zeros(rows, x.dtype)
    b = Builder((rows,), (inner,))
    strides = (1, rows) if by_columns else (inner, 1)
    b.store(b.reduce(kind, b.load(x, strides, level=1)), out)
    b.run(machine)
    with np.errstate(all="ignore"):
        expect = NUMPY[kind](
            x.astype("f8" if type_ in "fd" else x.dtype), axis=0 if by_columns else 1
        )
    if type_ in "fd":
        np.testing.assert_allclose(out, expect, rtol=3e-5 if type_ == "f" else 1e-10, atol=1e-3)
    else:
        np.testing.assert_array_equal(out, expect.astype(x.dtype))


@pytest.mark.parametrize("kind", ["max", "min"])
@pytest.mark.parametrize("at", [0, 5, 31, 36])
def test_extremes_propagate_nan_from_anywhere(machine, rng, kind, at):
    x = samples(float32, (3, 37), rng)
    x[1, at] = np.nan
    for strides, data in (((37, 1), x), ((1, 3), np.ascontiguousarray(x.T))):
        out = np.zeros(3, "f4")
        b = Builder((3,), (37,))
        b.store(b.reduce(kind, b.load(data, strides, level=1)), out)
        b.run(machine)
        np.testing.assert_array_equal(out, NUMPY[kind](x, 1))


@pytest.mark.parametrize("kind", NUMPY)
@pytest.mark.parametrize("window", [(2, 2), (1, 2), (3, 2), (5, 2), (2, 3)])
@pytest.mark.parametrize("lines, width", [(90, 16), (1, 4), (300, 12), (40, 7)])
@pytest.mark.parametrize("special", [False, True])
def test_windows_two_apart(machine, rng, kind, window, lines, width, special):
    """Those of a pooling: in the order of the window, nan and infinities where they belong."""
    high, wide = window
    x = rng.standard_normal((lines, high, 2 * width + wide)).astype("f4")
    if special:
        at = rng.random(x.shape)
        x[at < 0.05], x[at > 0.95], x[(at > 0.4) & (at < 0.42)] = np.inf, -np.inf, np.nan
    out, row = np.zeros((lines, width), "f4"), x.shape[2]
    b = Builder((lines, width), window)
    loaded = b.load(x, (high * row, 2, row, 1), level=1)
    b.store(b.op("neg", "f", b.reduce(kind, loaded)), out)
    b.run(machine)
    parts = [x[:, i, j : j + 2 * width : 2] for i in range(high) for j in range(wide)]
    f = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}[kind]
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(-out, functools.reduce(f, parts))


@pytest.mark.parametrize("rows, columns", [(64, 1028), (67, 515), (3, 2048)])
def test_sums_of_columns(machine, rng, rows, columns):
    x, out = samples(float32, (rows, columns), rng), np.zeros(columns, "f4")
    b = Builder((columns,), (rows,))
    b.store(b.reduce("sum", b.load(x, (1, columns), level=1)), out)
    b.run(machine)
    np.testing.assert_allclose(out, x.astype("f8").sum(0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "kind, neutral", [("sum", 0), ("prod", 1), ("max", -np.inf), ("min", np.inf)]
)
def test_an_empty_reduction_is_the_neutral_element(machine, kind, neutral):
    x, out = np.zeros(1, "f4"), np.full(5, 3, "f4")
    b = Builder((5,), (0,))
    b.store(b.reduce(kind, b.load(x, (0, 1), level=1)), out)
    b.run(machine)
    assert (out == neutral).all()


@pytest.mark.parametrize("by_columns", [False, True])
def test_ten_million_ones(machine, by_columns):
    x = np.ones(10_000_000, "f4")
    rows = 8 if by_columns else 1
    out = np.zeros(rows, "f4")
    b = Builder((rows,), (x.size // rows,))
    b.store(b.reduce("sum", b.load(x, (1, rows), level=1)), out)
    b.run(machine)
    assert (out == x.size // rows).all()


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("n", [1, 7, 1000, 4099])
def test_an_operand_that_is_written_over(machine, rng, n, late):
    """Two results over what was read; ``late``: the old value is read once more afterwards."""
    x, y = samples(float32, n, rng), samples(float32, n, rng)
    a, b, c = x.copy(), y.copy(), np.zeros(n, "f4")
    k = Builder((n,))
    p, q = k.load(a), k.load(b)
    s = k.op("add", "f", k.op("mul", "f", p, q), q)
    k.store(s, b)
    t = k.op("mul", "f", s, p)
    k.store(t, a)
    k.store(k.op("sub", "f", t, q if late else s), c)
    k.run(machine)
    s = x * y + y
    np.testing.assert_allclose(b, s, rtol=1e-6)
    np.testing.assert_allclose(a, s * x, rtol=1e-6)
    np.testing.assert_allclose(c, s * x - (y if late else s), rtol=1e-5, atol=1e-5)


def softmax_of(x, out, offset=0):
    """As ``torch.softmax`` of columns offset.. of a matrix is planned."""
    rows, n = out.shape
    b = Builder((rows,), (n,))
    v = b.load(x, (x.shape[1], 1), offset, level=1)
    e = b.op("exp", "f", b.op("sub", "f", v, b.reduce("max", v)))
    b.store(b.op("mul", "f", e, b.op("reciprocal", "f", b.reduce("sum", e))), out)
    return b


@pytest.mark.parametrize("shape", [(7, 1), (9, 3), (37, 1100), (500, 10), (3, 5000), (2, 70_001)])
def test_softmax(machine, rng, shape):
    for beside in (0, 3):
        wide = samples(float32, (shape[0], shape[1] + beside), rng)
        x, out = wide[:, beside:], np.zeros(shape, "f4")
        softmax_of(wide, out, beside).run(machine)
        y = np.exp(x.astype("f8") - x.max(1, keepdims=True))
        np.testing.assert_allclose(out, y / y.sum(1, keepdims=True), rtol=2e-6)


def test_softmax_of_rows_that_are_not_finite(machine):
    x = np.zeros((6, 9), "f4")
    x[0, 3], x[1, 8], x[2, :], x[3, 1:], x[4, 5] = np.nan, np.inf, -np.inf, -np.inf, -1000
    x[5] = np.linspace(-100, 0, 9)
    out = np.zeros_like(x)
    softmax_of(x, out).run(machine)
    assert np.isnan(out[:3]).all()
    assert out[3].tolist() == [1] + [0] * 8
    assert out[4].tolist() == pytest.approx([1 / 8] * 5 + [0] + [1 / 8] * 3) and out[4, 5] == 0
    y = np.exp(x[5].astype("f8"))
    np.testing.assert_allclose(out[5], y / y.sum(), rtol=1e-6, atol=1e-37)


@pytest.mark.parametrize(
    "shape", [(37, 1100), (500, 10), (3, 5000), (64, 256), (2, 70_000), (5, 17_001)]
)
def test_softmax_and_layer_norm(machine, rng, shape):
    rows, n = shape
    x, w = samples(float32, shape, rng), samples(float32, n, rng)
    out = np.zeros_like(x)
    b = Builder((rows,), (n,))
    v = b.load(x, level=1)
    e = b.op("exp", "f", b.op("sub", "f", v, b.reduce("max", v)))
    b.store(b.op("div", "f", e, b.reduce("sum", e)), out)
    b.run(machine)
    y = np.exp(x.astype("f8") - x.max(1, keepdims=True))
    np.testing.assert_allclose(out, y / y.sum(1, keepdims=True), rtol=1e-6)

    mean, inverse = np.zeros(rows, "f4"), np.zeros(rows, "f4")
    b = Builder((rows,), (n,))
    v, weight = b.load(x, level=1), b.load(w, (0, 1), level=1)
    size, eps = b.emit("const", "f", (), float(n)), b.emit("const", "f", (), 1e-5)
    m = b.op("div", "f", b.reduce("sum", v), size)
    d = b.op("sub", "f", v, m)
    r = b.op(
        "rsqrt",
        "f",
        b.op("add", "f", b.op("div", "f", b.reduce("sum", b.op("mul", "f", d, d)), size), eps),
    )
    b.store(b.op("mul", "f", b.op("mul", "f", d, r), weight), out)
    b.store(m, mean)
    b.store(r, inverse)
    b.run(machine)
    x8 = x.astype("f8")
    c = x8 - x8.mean(1, keepdims=True)
    scale = 1 / np.sqrt((c * c).mean(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(out, c * scale * w, atol=3e-5)
    np.testing.assert_allclose(mean, x8.mean(1), atol=1e-6)
    np.testing.assert_allclose(inverse, scale[:, 0], rtol=1e-5)


def test_reduction_over_several_dimensions(machine, rng):
    x = samples(float32, (6, 5, 7, 9), rng)  # per channel, as batch norm does
    out = np.zeros(5, "f4")
    b = Builder((5,), (6, 63))
    b.store(b.reduce("sum", b.load(x, (63, 315, 1), level=1)), out)
    b.run(machine)
    np.testing.assert_allclose(out, x.astype("f8").sum((0, 2, 3)), atol=1e-4)


# ---- structured kernels --------------------------------------------------------------------------


def structured(machine, op, arg, *arrays, epilogue=None):
    dtypes = tuple(DTYPE_OF[a.dtype] for a in arrays)
    sizes = tuple(a.size for a in arrays)
    step = Structured(op, arg, tuple(range(len(arrays))), dtypes, sizes, epilogue)
    for launch in lower(step, None):
        machine.run(launch, list(arrays))


@pytest.mark.parametrize("type_", ["f4", "f8"])
@pytest.mark.parametrize("m, n, k", [(1, 1, 1), (1, 130, 77), (2, 9, 300), (5, 7, 3), (6, 8, 256),
    (97, 131, 513), (64, 10, 50), (130, 1, 77), (200, 600, 40), (3, 45, 30), (4, 50, 401),
    (8, 33, 9), (1, 5, 2), (3, 4, 0), (70, 9, 800), (11, 700, 390)])  # fmt: skip
@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "tt"])
def test_matmul(machine, rng, type_, m, n, k, layout):
    a, b = rng.standard_normal((m, k)).astype(type_), rng.standard_normal((k, n)).astype(type_)
    expect = a.astype("f8") @ b
    sa, sb = (k, 1), (n, 1)
    if layout[0] == "t":
        a, sa = np.ascontiguousarray(a.T), (1, m)
    if layout[1] == "t":
        b, sb = np.ascontiguousarray(b.T), (1, k)
    out = np.full((m, n), 9, type_)
    structured(machine, "matmul", ((), m, n, k, ((), 0, *sa), ((), 0, *sb)), a, b, out)
    np.testing.assert_allclose(out, expect, atol=(2e-6 if type_ == "f4" else 1e-14) * k**0.5 * 8)
    bits = out.copy()
    structured(Shares(machine, 5), "matmul", ((), m, n, k, ((), 0, *sa), ((), 0, *sb)), a, b, out)
    np.testing.assert_array_equal(out, bits)


class Shares:
    """A machine that does its work in another number of shares."""

    def __init__(self, machine, parts):
        self.machine, self.parts = machine, parts

    def run(self, *given):
        before, self.machine.parts = self.machine.parts, self.parts
        self.machine.run(*given)
        self.machine.parts = before


@pytest.mark.parametrize("m, n, k, group", [(1, 1, 32, 32), (1, 37, 256, 256), (2, 9, 96, 32),
    (3, 5, 64, 64), (4, 50, 128, 32), (9, 33, 320, 64)])  # fmt: skip
@pytest.mark.parametrize("kind", ["float16", "bfloat16", "int8", "int4"])
def test_linear(machine, rng, kind, m, n, k, group):
    dtype, bits = {"float16": (float16, 16), "bfloat16": (bfloat16, 16), "int8": (int32, 8),
                   "int4": (int32, 4)}[kind]  # fmt: skip
    x, out, scale = samples(float32, (m, k), rng), np.full((m, n), 9, "f4"), []
    if bits == 16:
        w, group = samples(dtype, (n, k), rng), k
        w.view(np.uint16)[0, 1] = 3  # a subnormal of either
    else:
        w = rng.integers(-(2**31), 2**31, (n, k * bits // 32), dtype=np.int32)
        scale = [rng.random((n, k // group), np.float32)]
    dtypes = (float32, dtype, *[float32] * len(scale), float32)
    arrays = [x, w, *scale, out]
    step = Structured("linear", (m, n, k, bits, group), tuple(range(len(arrays))), dtypes,
                      tuple(a.size for a in arrays))  # fmt: skip

    def run(machine):
        machine.run(lower(step, None)[0], arrays)
        return out.copy()

    got, expect = run(machine), out.reshape(-1)
    numpy_backend._linear(step, x, w, *scale, expect)
    size = np.abs(expect).max()
    np.testing.assert_allclose(got, expect.reshape(m, n), rtol=1e-5, atol=2e-6 * size)
    np.testing.assert_array_equal(run(Shares(machine, 5)), got)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_linear_of_weights_that_are_no_numbers(machine, rng, value):
    x, w, out = np.ones((3, 64), "f4"), samples(float16, (5, 64), rng), np.zeros((3, 5), "f4")
    w[2, 63] = value
    step = Structured("linear", (3, 5, 64, 16, 64), (0, 1, 2), (float32, float16, float32),
                      (192, 320, 15))  # fmt: skip
    machine.run(lower(step, None)[0], [x, w, out])
    np.testing.assert_array_equal(out[:, 2], np.full(3, value, "f4"))
    np.testing.assert_allclose(out[:, 3], np.full(3, w[3].astype("f8").sum()), atol=1e-5)


@pytest.mark.parametrize("strides", [(30, 3), (3, 12)])
def test_matmul_of_a_matrix_without_a_contiguous_side(machine, rng, strides):
    a, b = rng.standard_normal(400).astype("f4"), rng.standard_normal(400).astype("f4")
    out = np.zeros((9, 9), "f4")
    structured(machine, "matmul", ((), 9, 9, 10, ((), 2, *strides), ((), 5, *strides)), a, b, out)
    view = np.lib.stride_tricks.as_strided
    steps = [4 * s for s in strides]
    expect = view(a[2:], (9, 10), steps) @ view(b[5:], (10, 9), steps)
    np.testing.assert_allclose(out, expect, atol=1e-5)


EPILOGUES = [
    # bias, residual, factor, low, high
    (True, False, False, -math.inf, math.inf),
    (False, True, False, -math.inf, math.inf),
    (True, False, False, 0.0, math.inf),
    (False, False, False, 0.0, 6.0),
    (True, True, False, -0.25, 1.5),
    (False, False, True, -math.inf, math.inf),
    (True, False, True, 0.0, 6.0),
    (True, True, True, -math.inf, 1.5),
]


def with_epilogue(machine, op, arg, a, b, y, case, axis, rng):
    """Runs a step with bias, residual and factor and compares with what they make of ``y``."""
    bias, residual, factor, low, high = case
    shape = [1] * y.ndim
    shape[axis] = y.shape[axis]
    given, expect, numbers, scale = [a, b], y.astype("f8"), [None, None], None
    if factor:
        scale = 2
        given.append(rng.standard_normal(shape).astype(a.dtype))
        expect = expect * given[-1]
    for k, (wanted, size) in enumerate(((bias, shape), (residual, y.shape))):
        if wanted:
            numbers[k] = len(given)
            given.append(rng.standard_normal(size).astype(a.dtype))
            expect = expect + given[-1]
    out = np.full(y.shape, 9, a.dtype)
    structured(machine, op, arg, *given, out, epilogue=Epilogue(*numbers, low, high, scale))
    np.testing.assert_allclose(out, np.clip(expect, low, high), atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("type_", ["f4", "f8"])
@pytest.mark.parametrize("case", EPILOGUES, ids=str)
@pytest.mark.parametrize("m, n, k", [(1, 37, 20), (5, 9, 33), (40, 3, 20), (50, 70, 401), (9, 1, 5),
    (64, 20, 8), (4, 3, 0)])  # fmt: skip
@pytest.mark.parametrize("layout", ["nn", "nt", "tt"])
def test_matmul_with_an_epilogue(machine, rng, type_, case, m, n, k, layout):
    a, b = (
        rng.standard_normal((3, m, k)).astype(type_),
        rng.standard_normal((3, k, n)).astype(type_),
    )
    y = a @ b
    if m * k:
        a[1, 0, 0] = y[1, 0] = math.nan
    sa, sb = (k, 1), (n, 1)
    if layout[0] == "t":
        a, sa = np.ascontiguousarray(a.swapaxes(1, 2)), (1, m)
    if layout[1] == "t":
        b, sb = np.ascontiguousarray(b.swapaxes(1, 2)), (1, k)
    arg = ((3,), m, n, k, ((m * k,), 0, *sa), ((k * n,), 0, *sb))
    with_epilogue(machine, "matmul", arg, a, b, y, case, 2, rng)


def test_matmul_in_batches(machine, rng):
    a, b = (
        rng.standard_normal((4, 3, 7, 20)).astype("f4"),
        rng.standard_normal((3, 20, 9)).astype("f4"),
    )
    out = np.zeros((4, 3, 7, 9), "f4")
    arg = ((4, 3), 7, 9, 20, ((420, 140), 0, 20, 1), ((0, 180), 0, 9, 1))
    structured(machine, "matmul", arg, a, b, out)
    np.testing.assert_allclose(out, a @ b, atol=1e-5)
    out = np.zeros((4, 3, 7, 9), "f4")  # one matrix for the whole batch
    arg = ((4, 3), 7, 9, 20, ((420, 140), 0, 20, 1), ((0, 0), 180, 9, 1))
    structured(machine, "matmul", arg, a, b, out)
    np.testing.assert_allclose(out, a @ b[1], atol=1e-5)


ATTENTION = [
    # T, S, D, E
    (1, 1, 1, 1), (5, 5, 3, 7), (1, 300, 64, 64), (4, 9, 16, 5), (64, 64, 64, 64),
    (130, 130, 8, 12), (7, 700, 33, 3), (200, 100, 20, 9), (33, 1700, 64, 64), (100, 310, 512, 512),
]  # fmt: skip


def attended(q, k, v, scale, mask=None, causal=False):
    scores = np.matmul(q.astype("f8") * scale, k.astype("f8").swapaxes(-1, -2))
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    top = scores.max(-1, keepdims=True)
    weights = np.exp(scores - np.where(top == -np.inf, 0, top))
    total = weights.sum(-1, keepdims=True)
    return np.matmul(weights / np.where(total == 0, 1, total), v.astype("f8"))


def attention(machine, q, k, v, scale, mask=None, causal=False, grad=()):
    """Operands are views (B, H, rows, columns) of arrays; each goes in as its whole array."""
    views = [q, k, v, *grad] if mask is None else [q, k, v, *grad, mask]
    wholes, places = [], []
    for x in views:
        whole = x
        while whole.base is not None:
            whole = whole.base
        lead = [s // x.itemsize for s in x.strides]
        start = x.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
        wholes.append(whole)
        places.append((tuple(lead[:2]), start // x.itemsize, lead[2]))
    shape = (q.shape[2], k.shape[2], q.shape[3], v.shape[3])
    arg = (q.shape[:2], shape, scale, causal, *places)
    out, op = np.full((*q.shape[:3], v.shape[3]), 9, "f4"), "attention"
    if grad:
        (t, s, d, e), heads = shape, q.shape[0] * q.shape[1]
        out, op = np.full(heads * (t * d + s * d + s * e + t), 9, "f4"), "attention_grad"
    structured(machine, op, arg, *wholes, out)
    bits = out.copy()
    structured(Shares(machine, 5), op, arg, *wholes, out)
    np.testing.assert_array_equal(out, bits)
    return out


def attention_masks(rng, kind, t, s):
    if kind == "floats":
        mask = np.broadcast_to(3 * samples(float32, (3, t, s), rng), (2, 3, t, s))
        mask.base[0, 0] = -np.inf  # sees nothing
        return mask
    if kind == "bools":
        return np.broadcast_to(rng.random((2, 1, 1, s)) < 0.3, (2, 3, t, s))
    return None


@pytest.mark.parametrize("t, s, d, e", ATTENTION)
@pytest.mark.parametrize("kind", ["plain", "causal", "floats", "bools"])
def test_attention(machine, rng, t, s, d, e, kind):
    q, k = (1.5 * samples(float32, (2, 3, n, d), rng) for n in (t, s))
    v, mask = samples(float32, (2, 3, s, e), rng), attention_masks(rng, kind, t, s)
    out = attention(machine, q, k, v, d**-0.5, mask, kind == "causal")
    expect = attended(q, k, v, d**-0.5, mask, kind == "causal")
    np.testing.assert_allclose(out, expect, rtol=1e-5, atol=5e-7 * max(4, d**0.5))


@pytest.mark.parametrize("t, s, d, e", [*ATTENTION, (70, 1100, 16, 8)])
@pytest.mark.parametrize("kind", ["plain", "causal", "floats", "bools"])
def test_gradients_of_attention(machine, rng, t, s, d, e, kind):
    q, k = (1.5 * samples(float32, (2, 3, n, d), rng) for n in (t, s))
    v, mask = samples(float32, (2, 3, s, e), rng), attention_masks(rng, kind, t, s)
    x = samples(float32, (2, t, 3, e), rng)
    g, scale, causal = x.transpose(0, 2, 1, 3), d**-0.5, kind == "causal"
    w = attended(q, k, np.broadcast_to(np.eye(s), (2, 3, s, s)), scale, mask, causal)
    v64 = v.astype("f8")
    slopes = np.matmul(g, v64.swapaxes(-1, -2))
    shares = (w * slopes).sum(-1, keepdims=True).astype("f4")
    slopes = w * (slopes - shares) * scale
    down = slopes.swapaxes(-1, -2), w.swapaxes(-1, -2)
    want = np.matmul(slopes, k), np.matmul(down[0], q), np.matmul(down[1], g)
    out = attention(machine, q, k, v, scale, mask, causal, (g, shares))
    for part in want:
        got, out = out[: part.size].reshape(part.shape), out[part.size :]
        np.testing.assert_allclose(got, part, rtol=5e-5, atol=5e-6 * max(4, d**0.5))
    assert out.size == 6 * t


@pytest.mark.parametrize("t", [3, 70])
def test_attention_reads_views_of_one_projection(machine, rng, t):
    x = samples(float32, (2, t, 3, 4, 10), rng)  # (B, T, 3, H, D)
    q, k, v = x.transpose(2, 0, 3, 1, 4)
    out = attention(machine, q, k, v, 1.0, None, True)
    np.testing.assert_allclose(out, attended(q, k, v, 1.0, None, True), rtol=2e-5, atol=2e-6)
    shared = np.broadcast_to(k[:, :1], k.shape)  # a head of keys for all heads of queries
    out = attention(machine, q, shared, v, 1.0)
    np.testing.assert_allclose(out, attended(q, shared, v, 1.0), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("t", [2, 20])
def test_attention_of_nan_inf_and_large_scores(machine, rng, t):
    q, k, v = (samples(float32, (1, 1, n, 8), rng) for n in (t, 600, 600))
    q[0, 0, 0, 0], q[0, 0, 1, 0] = np.nan, np.inf
    out = attention(machine, q, k, v, 1.0)
    assert np.isnan(out[0, 0, :2]).all() and np.isfinite(out[0, 0, 2:]).all()
    q[0, 0, :2], k[..., 0] = 0, np.arange(600) - 300  # the largest score comes last, or first
    q[0, 0, :, 0] = np.resize([100, -100], t)
    expect = attended(q, k, v, 1.0)
    np.testing.assert_allclose(attention(machine, q, k, v, 1.0), expect, rtol=2e-5, atol=2e-6)


CONVS = [
    # N, C, H, W, O, KH, KW, stride, padding, dilation, groups
    (2, 3, 9, 11, 5, 3, 3, (1, 1), (1, 1), (1, 1), 1),
    (1, 4, 12, 30, 6, 3, 5, (1, 1), (0, 2), (1, 1), 2),
    (3, 6, 10, 10, 9, 3, 3, (2, 2), (1, 1), (1, 1), 3),
    (2, 8, 8, 40, 16, 1, 1, (1, 1), (0, 0), (1, 1), 1),
    (2, 5, 15, 17, 7, 3, 3, (2, 1), (2, 2), (2, 2), 1),
    (2, 6, 9, 20, 6, 3, 3, (1, 1), (1, 1), (1, 1), 6),
    (2, 4, 11, 12, 8, 3, 3, (2, 2), (1, 1), (1, 1), 4),
    (1, 3, 20, 20, 4, 7, 7, (3, 3), (3, 3), (1, 1), 1),
    (3, 5, 8, 9, 7, 1, 1, (2, 3), (0, 0), (1, 1), 1),  # inputs that no output meets
    (1, 600, 3, 4, 2, 3, 3, (1, 1), (1, 1), (1, 1), 1),  # more taps than one tile walks
    (1, 2, 3, 1200, 3, 2, 3, (1, 1), (0, 1), (1, 1), 1),  # several pieces of a row
    (1, 2, 3, 1500, 3, 1, 3, (1, 2), (0, 1), (1, 2), 1),
    (1, 2, 45, 40, 3, 40, 30, (1, 1), (2, 0), (1, 1), 1),  # by rows
    (90, 2, 5, 7, 3, 3, 3, (1, 1), (1, 1), (1, 1), 1),
    (2, 3, 13, 14, 3, 5, 5, (2, 2), (2, 2), (1, 1), 3),
    (2, 3, 3, 5, 6, 3, 3, (1, 1), (1, 1), (1, 1), 3),
    (2, 2, 30, 3, 2, 3, 3, (1, 1), (1, 1), (1, 1), 2),
    (2, 4, 9, 12, 12, 2, 2, (2, 2), (0, 0), (1, 1), 1),
    (1, 64, 260, 66, 2, 3, 3, (1, 1), (1, 1), (1, 1), 1),  # several pieces
    (1, 3, 4, 4, 2, 3, 3, (1, 1), (40, 40), (30, 30), 1),  # taps far apart
    (1, 2, 30, 1200, 2, 3, 3, (2, 2), (1, 1), (1, 1), 2),  # depthwise in steps of two
    (2, 3, 40, 36, 6, 3, 3, (4, 4), (2, 2), (2, 2), 3),
]
WINOGRAD = [
    (2, 32, 9, 14, 35, 3, 3, (1, 1), (1, 1), (1, 1), 1),
    (1, 300, 7, 7, 40, 3, 3, (1, 1), (1, 1), (1, 1), 1),
    (3, 33, 4, 6, 32, 3, 3, (1, 1), (2, 0), (1, 1), 1),
    (1, 64, 21, 66, 64, 3, 3, (1, 1), (0, 1), (1, 1), 2),
    (1, 40, 5, 300, 32, 3, 3, (1, 1), (1, 1), (1, 1), 1),
    (150, 24, 4, 4, 24, 3, 3, (1, 1), (1, 1), (1, 1), 1),  # more tiles than a piece has room for
]


def shape_of(case):
    n, c, h, w, o, kh, kw, (sh, sw), (ph, pw), (dh, dw), groups = case
    oh, ow = (h + 2 * ph - dh * (kh - 1) - 1) // sh + 1, (w + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    return n, c, h, w, o, kh, kw, oh, ow, sh, sw, ph, pw, dh, dw, groups


@pytest.mark.parametrize("type_", ["f4", "f8"])
@pytest.mark.parametrize("case", CONVS + WINOGRAD, ids=str)
def test_convolution_and_its_gradients(machine, rng, type_, case):
    arg = n, c, h, w, o, kh, kw, oh, ow, sh, sw, ph, pw, dh, dw, groups = shape_of(case)
    x = rng.standard_normal((n, c, h, w))
    weight, g = rng.standard_normal((o, c // groups, kh, kw)), rng.standard_normal((n, o, oh, ow))
    y, gx, gw = (
        np.zeros((n, o, oh, ow)),
        np.zeros((n, c, h + 2 * ph, w + 2 * pw)),
        np.zeros_like(weight),
    )
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    for q in range(o):
        first = q // (o // groups) * (c // groups)
        for j in range(c // groups):
            for u in range(kh):
                for v in range(kw):
                    at = (slice(None), first + j, slice(u * dh, u * dh + oh * sh, sh),
                          slice(v * dw, v * dw + ow * sw, sw))  # fmt: skip
                    y[:, q] += padded[at][:, :oh, :ow] * weight[q, j, u, v]
                    gx[at][:, :oh, :ow] += g[:, q] * weight[q, j, u, v]
                    gw[q, j, u, v] = (padded[at][:, :oh, :ow] * g[:, q]).sum()
    gx = gx[:, :, ph : ph + h, pw : pw + w]
    x, weight, g = (a.astype(type_) for a in (x, weight, g))
    for op, a, b, expect in (("conv2d", x, weight, y), ("conv2d_input", g, weight, gx),
                             ("conv2d_weight", g, x, gw)):  # fmt: skip
        out = np.full(expect.shape, 9, type_)
        structured(machine, op, arg, a, b, out)
        largest = np.abs(expect).max()  # of sums of thousands of products
        atol = (2e-4 if type_ == "f4" else 1e-11) * max(1, largest / 100)
        if case in WINOGRAD and op != "conv2d_weight" and type_ == "f4":
            atol = 1e-5 * largest
        np.testing.assert_allclose(out, expect, atol=atol, err_msg=op)
        for parts in (2, 5, 8):  # pieces are cut otherwise, results are the same
            other = np.full(expect.shape, 9, type_)
            structured(Shares(machine, parts), op, arg, a, b, other)
            np.testing.assert_array_equal(other, out, err_msg=f"{op} in {parts} shares")


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e38])
def test_winograd_keeps_what_is_not_finite_where_it_belongs(machine, rng, value):
    x = rng.standard_normal((1, 32, 12, 13)).astype("f4")
    x[0, 3, 5, 6] = value
    weight = rng.uniform(0.1, 0.2, (32, 32, 3, 3)).astype("f4")
    out = np.zeros(x.shape, "f4")
    arg = shape_of((1, 32, 12, 13, 32, 3, 3, (1, 1), (1, 1), (1, 1), 1))
    structured(machine, "conv2d", arg, x, weight, out)
    reached = np.zeros(x.shape, bool)
    reached[:, :, 4:7, 5:8] = True
    np.testing.assert_array_equal(np.isnan(out), reached & math.isnan(value))
    np.testing.assert_array_equal(np.isposinf(out), reached & (value == math.inf))
    x[0, 3, 5, 6] = 0
    expect = np.zeros(x.shape, "f4")
    structured(machine, "conv2d", arg, x, weight, expect)
    np.testing.assert_allclose(out[~reached], expect[~reached], atol=1e-4)
    if value == 1e38:
        around = weight[:, 3, ::-1, ::-1] * np.float32(1e38)
        np.testing.assert_allclose(out[0, :, 4:7, 5:8], around, rtol=1e-6)


@pytest.mark.parametrize("type_", ["f4", "f8"])
@pytest.mark.parametrize("case", EPILOGUES, ids=str)
@pytest.mark.parametrize("shape", CONVS[:7] + CONVS[9:13] + WINOGRAD[:2], ids=str)
def test_convolution_with_an_epilogue(machine, rng, type_, case, shape):
    arg = n, c, h, w, o, kh, kw, oh, ow, *_, groups = shape_of(shape)
    x = rng.standard_normal((n, c, h, w)).astype(type_)
    weight = rng.standard_normal((o, c // groups, kh, kw)).astype(type_)
    y = np.zeros((n, o, oh, ow), type_)
    structured(machine, "conv2d", arg, x, weight, y)
    with_epilogue(machine, "conv2d", arg, x, weight, y, case, 1, rng)


@pytest.mark.parametrize("op", ["sum", "prod", "max", "min"])
@pytest.mark.parametrize("type_", ["f4", "f8", "i4", "i8"])
def test_scan(machine, rng, op, type_):
    x = rng.uniform(-3, 3, (5, 33)).astype(type_)
    out = np.zeros_like(x)
    structured(machine, "scan", (5, 33, op), x, out)
    f = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}[op]
    np.testing.assert_allclose(
        out, f.accumulate(x.astype("f8" if type_[0] == "f" else type_), 1), rtol=1e-5
    )


@pytest.mark.parametrize("type_", ["i4", "i8"])
@pytest.mark.parametrize("rows, n", [(3, 1), (7, 20), (4, 1000), (1, 40_000), (1, 300_000)])
def test_sort_is_stable(machine, rng, type_, rows, n):
    info = np.iinfo(type_)
    for low, high in ((info.min, info.max), (-5, 5)):
        keys = rng.integers(low, high, (rows, n), dtype=type_)
        out = np.zeros((rows, n), "i4")
        structured(machine, "sort", (rows, n, n), keys, out)
        np.testing.assert_array_equal(out, np.argsort(keys, 1, kind="stable"))


@pytest.mark.parametrize("type_", ["i4", "i8"])
@pytest.mark.parametrize(
    "rows, n, first",
    [(3, 20_000, 50), (4, 4097, 1), (1, 9001, 1024), (2, 90, 7), (2, 5000, 48), (2, 4111, 49)],
)
@pytest.mark.parametrize("order", ["random", "few", "equal", "rising", "falling"])
def test_the_first_of_a_sort(machine, rng, type_, rows, n, first, order):
    info = np.iinfo(type_)
    low, high = {"few": (0, 4), "equal": (7, 7)}.get(order, (info.min, info.max))
    keys = rng.integers(low, high, (rows, n), dtype=type_, endpoint=True)
    if order in ("rising", "falling"):
        keys = np.sort(keys, 1)[:, :: 1 if order == "rising" else -1].copy()
    out = np.zeros((rows, n), "i4")
    structured(machine, "sort", (rows, n, first), keys, out)
    expect = np.argsort(keys, 1, kind="stable")
    np.testing.assert_array_equal(out[:, :first], expect[:, :first])
    shared = np.zeros_like(out)
    structured(Shares(machine, 3), "sort", (rows, n, first), keys, shared)
    np.testing.assert_array_equal(shared[:, :first], expect[:, :first])


@pytest.mark.parametrize("mode, type_", [
    *product(["set", "add", "prod", "max", "min"], ["f4", "f8", "i4", "i8"]),
    ("set", "i1"), ("set", "i2"),
])  # fmt: skip
@pytest.mark.parametrize("n, m, width", [(50, 200, 1), (20, 2100, 3), (9, 40, 5), (30, 90, 64),
    (7, 2000, 65), (40, 1, 130)])  # fmt: skip
def test_scatter(machine, rng, mode, type_, n, m, width):
    out = rng.uniform(-9, 9, (n, width)).astype(type_)
    value = rng.uniform(-3, 3, (m, width)).astype(type_)
    index = rng.integers(0, n, m).astype("i4")
    expect, shared = out.copy(), out.copy()
    f = {"add": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}.get(mode)
    if f is None:
        expect[index] = value
    else:
        f.at(expect, index, value)
    arg = (n * width, m, mode, width)
    structured(machine, "scatter", arg, out, index, value)
    np.testing.assert_array_equal(out, expect)
    structured(Shares(machine, 5), "scatter", arg, shared, index, value)
    np.testing.assert_array_equal(shared, expect)


def test_copy(machine, rng):
    x, out = samples(float32, 1001, rng), np.zeros(1001, "f4")
    structured(machine, "copy", (), x, out)
    np.testing.assert_array_equal(out, x)


def test_elementwise_inc_is_what_generate_writes():
    path = ROOT / "wasm_kernels" / "generate.py"
    spec = importlib.util.spec_from_file_location("generate", path)
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert (ROOT / "wasm_kernels" / "elementwise.inc").read_text() == generate.text()
