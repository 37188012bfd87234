"""The samplers in C against those in numpy (tests/torch compares numpy with PyTorch)."""

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
        from machine import Machine

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


def test_words(module):
    g = MT19937(5)
    module.call("mt_seed", 5)
    np.testing.assert_array_equal(module.call("mt_words", n=700, dtype=np.int32), g.words(700))


def test_state_can_be_put_back():
    g = MT19937(3)
    g.normal(7)
    state = g.get_state()
    first = [g.normal(3), g.uniform(700), g.randperm(9)]
    g.set_state(state)
    for a, b in zip(first, [g.normal(3), g.uniform(700), g.randperm(9)], strict=True):
        np.testing.assert_array_equal(a, b)
