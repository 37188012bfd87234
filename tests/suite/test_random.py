"""The random stream is PyTorch's: the numbers here were drawn by PyTorch with the same seeds."""

from __future__ import annotations

from typing import Any

import pytest
import tabgrad as torch
from compare import assert_values
from stream import STREAM


@pytest.mark.parametrize("call", STREAM, ids=STREAM)
def test_stream(call: str) -> None:
    """Each call, first thing after ``manual_seed(0)``, gives PyTorch's numbers."""
    torch.manual_seed(0)
    got = eval(call, {"torch": torch})
    exact = not got.dtype.is_floating_point or "randn" not in call
    assert_values(got, STREAM[call], None if exact else 1e-5)


def test_stream_goes_on() -> None:
    torch.manual_seed(7)
    a, b = torch.rand(4), torch.rand(4)
    torch.manual_seed(7)
    assert torch.rand(8).tolist() == a.tolist() + b.tolist()
    torch.manual_seed(7)
    assert torch.rand(4).tolist() == a.tolist()
    assert torch.initial_seed() == 7


def test_generator() -> None:
    g = torch.Generator().manual_seed(3)
    torch.manual_seed(5)
    first = torch.rand(3)
    a = torch.rand(3, generator=g)
    torch.manual_seed(5)
    assert torch.rand(3).tolist() == first.tolist()
    assert torch.rand(3, generator=torch.Generator().manual_seed(3)).tolist() == a.tolist()
    assert g.initial_seed() == 3


def test_state_is_saved_and_restored() -> None:
    torch.manual_seed(0)
    torch.randn(5)
    state = torch.get_rng_state()
    assert state.dtype is torch.uint8
    a = [torch.randn(3).tolist(), torch.rand(20).tolist(), torch.randperm(5).tolist()]
    torch.set_rng_state(state)
    assert [torch.randn(3).tolist(), torch.rand(20).tolist(), torch.randperm(5).tolist()] == a
    g = torch.Generator()
    g.set_state(state)
    assert torch.randn(3, generator=g).tolist() == a[0]


def test_fork() -> None:
    torch.manual_seed(0)
    expected = torch.rand(2).tolist()
    torch.manual_seed(0)
    with torch.random.fork_rng():
        torch.rand(100)
    assert torch.rand(2).tolist() == expected


def test_ranges() -> None:
    x = torch.rand(2000)
    assert x.min().item() >= 0 and x.max().item() < 1 and abs(x.mean().item() - 0.5) < 0.03
    n = torch.randn(2000)
    assert abs(n.mean().item()) < 0.1 and abs(n.std().item() - 1) < 0.1
    i = torch.randint(-3, 4, (500,))
    assert sorted(set(i.tolist())) == [-3, -2, -1, 0, 1, 2, 3]
    assert sorted(torch.randperm(50).tolist()) == list(range(50))
    assert set(torch.bernoulli(torch.full((100,), 0.5)).tolist()) == {0.0, 1.0}
    assert torch.bernoulli(torch.tensor([0.0, 1.0])).tolist() == [0, 1]


def test_shapes_and_dtypes() -> None:
    assert torch.rand(2, 3).shape == torch.rand((2, 3)).shape == (2, 3)
    assert torch.rand(()).shape == () and torch.randn(0, 2).shape == (0, 2)
    assert torch.randint(5, (2,)).dtype is torch.int64
    assert torch.randint(5, (2,), dtype=torch.uint8).dtype is torch.uint8
    assert torch.rand(2, dtype=torch.float16).dtype is torch.float16
    assert torch.rand_like(torch.zeros(2, 3, dtype=torch.bfloat16)).dtype is torch.bfloat16
    assert torch.randn_like(torch.zeros(2, 3)).shape == (2, 3)
    assert torch.rand(2, requires_grad=True).requires_grad


def test_errors() -> None:
    with pytest.raises(RuntimeError, match="random_ expects 'from' to be less than 'to', but got "
                       "from=3 >= to=3"):  # fmt: skip
        torch.randint(3, 3, (2,))
    with pytest.raises(RuntimeError, match=r"normal expects std >= 0.0, but found std -1"):
        torch.zeros(2).normal_(0, -1)
    with pytest.raises(RuntimeError, match="bernoulli_ expects p to be in \\[0, 1\\], but got p=2"):
        torch.zeros(2).bernoulli_(2)


def test_dropout_keeps_the_mean() -> None:
    drop: Any = torch.nn.functional.dropout
    x = torch.ones(2000, requires_grad=True)
    y = drop(x, 0.25)
    kept = (y > 0).sum().item()
    assert abs(kept / 2000 - 0.75) < 0.05
    y.sum().backward()
    assert x.grad.tolist() == y.tolist()
    assert drop(x, 0.25, training=False).tolist() == x.tolist()
    assert drop(x, 1.0).sum().item() == 0
