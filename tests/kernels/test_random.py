"""The samplers: C against numpy, and numpy against PyTorch where PyTorch is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "package"))
from tabgrad.backends.numpy_random import MT19937

SEEDS = [0, 42, 2**40 + 7]
SIZES = [1, 5, 9, 15, 16, 37, 1000]


class Module:
    """The exports of random.c; ``call`` gives the samples a generator writes."""

    def __init__(self):
        pytest.importorskip("wasmtime")
        from machine import BUILD, Machine

        if not (BUILD / "simd.wasm").exists():
            pytest.skip("the kernels are not built: python wasm_kernels/build.py")
        self.m = Machine("simd")
        self.state, self.out = self.m.heap, self.m.heap + 4096

    def call(self, name, *args, n=0, dtype=np.float32):
        self.m.exports[name](self.m.store, self.state, *((self.out, n) if n else ()), *args)
        return self.m.bytes[self.out : self.out + n * np.dtype(dtype).itemsize].view(dtype).copy()


@pytest.fixture(scope="module")
def module():
    sys.path.insert(0, str(Path(__file__).parent))
    return Module()


@pytest.mark.parametrize("seed", SEEDS)
def test_c_is_numpy(module, seed):
    g = MT19937(seed)
    module.call("mt_seed", seed & 0xFFFFFFFF)
    for n in SIZES:
        same = np.testing.assert_array_equal
        same(module.call("mt_uniform_f", -0.5, 2.0, n=n), g.uniform(n, "float32", -0.5, 2.0))
        f8 = np.float64
        same(module.call("mt_uniform_d", 0.0, 3.0, n=n, dtype=f8), g.uniform(n, "float64", 0, 3))
        same(module.call("mt_normal_f", 1.0, 2.0, n=n), g.normal(n, "float32", 1, 2))
        close = np.testing.assert_allclose
        close(
            module.call("mt_normal_d", 1.0, 2.0, n=n, dtype=f8), g.normal(n, "float64", 1, 2), 1e-14
        )
        close(
            module.call("mt_exponential_d", 2.0, n=n, dtype=f8),
            g.exponential(n, "float64", 2),
            1e-14,
        )
        for low, high in ((0, 10), (-5, 2**28), (-(2**63), 2**63)):
            span = high - low
            words = [x & 0xFFFFFFFF for x in (low, low >> 32, span, span >> 32)]
            words = [x - (1 << 32) if x >> 31 else x for x in words]
            got = module.call("mt_randint", *words, n=n, dtype=np.int64)
            same(got, g.randint(n, low, high))
        same(module.call("mt_bernoulli", 0.3, n=n, dtype=np.uint8), g.bernoulli(n, 0.3))
        same(module.call("mt_randperm", n=n, dtype=np.int64), g.randperm(n))


def test_state_can_be_put_back():
    g = MT19937(3)
    g.normal(7)
    state = g.get_state()
    first = [g.normal(3), g.uniform(700), g.randperm(9)]
    g.set_state(state)
    for a, b in zip(first, [g.normal(3), g.uniform(700), g.randperm(9)], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", SEEDS)
def test_numpy_is_torch(seed):
    torch = pytest.importorskip("torch")
    if not hasattr(torch, "__version__") or not hasattr(torch, "randperm"):
        pytest.skip("torch is not PyTorch here")
    torch.manual_seed(seed)
    g = MT19937(seed)
    atol = {"float32": 0, "float64": 1e-15}  # PyTorch fuses std * x + mean
    for n in SIZES:
        for dtype in (torch.float32, torch.float64):
            name = str(dtype).split(".")[1]
            np.testing.assert_array_equal(torch.rand(n, dtype=dtype).numpy(), g.uniform(n, name))
            expect = torch.empty(n, dtype=dtype).normal_(2, 3).numpy()
            np.testing.assert_allclose(g.normal(n, name, 2, 3), expect, 1e-14, atol[name])
        for low, high in ((0, 10), (-5, 2**28), (0, 2**40)):
            expect = torch.randint(low, high, (n,)).numpy()
            np.testing.assert_array_equal(g.randint(n, low, high), expect)
        expect = torch.empty(n).bernoulli_(0.3).numpy()
        np.testing.assert_array_equal(g.bernoulli(n, 0.3), expect)
        p = torch.rand(n)
        g.uniform(n)
        np.testing.assert_array_equal(g.bernoulli_each(p.numpy()), torch.bernoulli(p).numpy())
        np.testing.assert_array_equal(g.randperm(n), torch.randperm(n).numpy())
