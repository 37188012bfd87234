"""A chain of 100,000 ops: built, run, differentiated and freed without deep recursion.

A linked chain freed by recursion kills the interpreter in a page, so reaching the end is the test.
"""

from __future__ import annotations

import gc
import math
import weakref
from typing import Any

import pytest
import tabgrad as torch

N = 100_000


def test_forward_and_backward() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x
    for _ in range(N // 2):
        y = y * 1.0
        y = y + 1.0
    assert y.tolist() == [N // 2 + 1.0, N // 2 + 2.0]
    y.sum().backward()
    assert x.grad.tolist() == [1, 1]


def test_freed_without_being_run() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x
    for _ in range(N):
        y = y + 1.0
    last: Any = weakref.ref(y)
    del y
    gc.collect()
    assert last() is None
    assert (x * 2).tolist() == [2, 4]


def test_without_a_tape() -> None:
    x = torch.zeros(3)
    for _ in range(N):
        x = x + 1.0
    assert x.tolist() == [N] * 3


def test_in_place() -> None:
    x = torch.zeros(3)
    for _ in range(N // 10):
        x += 1.0
        x[1:] -= 1.0
    assert x.tolist() == [N // 10, 0, 0]


def test_wide() -> None:
    xs = [torch.full((2,), float(i)) for i in range(2000)]
    while len(xs) > 1:
        xs = [a + b for a, b in zip(xs[::2], xs[1::2], strict=False)] + xs[len(xs) & ~1 :]
    assert xs[0].tolist() == [1999000.0] * 2


def test_graph_held_by_its_last_tensor_only() -> None:
    x = torch.ones(2, requires_grad=True)
    y = x
    inner: list[Any] = []
    for i in range(1000):
        y = y.sin()
        if i % 100 == 0:
            inner.append(weakref.ref(y.grad_fn))
    assert all(r() is not None for r in inner)
    del y
    gc.collect()
    assert all(r() is None for r in inner)


@pytest.mark.parametrize("create_graph", [False, True])
def test_deep_higher_order(create_graph: bool) -> None:
    x = torch.tensor(0.5, requires_grad=True)
    y, number, slope = x, 0.5, 1.0
    for _ in range(2000):
        y = y.sin()
        number, slope = math.sin(number), slope * math.cos(number)
    (g,) = torch.autograd.grad(y, x, create_graph=create_graph)
    assert g.item() == pytest.approx(slope, rel=1e-3)
    assert g.requires_grad is create_graph
    if create_graph:
        (h,) = torch.autograd.grad(g, x)
        assert math.isfinite(h.item()) and h.item() < 0
