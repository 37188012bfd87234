"""The samplers of the numpy executor against PyTorch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tabgrad.backends.numpy_random import MT19937

SEEDS = [0, 42, 2**40 + 7]
SIZES = [1, 5, 9, 15, 16, 37, 1000]


@pytest.mark.parametrize("seed", SEEDS)
def test_numpy_is_torch(seed: int) -> None:
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
