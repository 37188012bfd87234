"""Reductions where they are hard: long rows, many dims, ties, nan, empty, precision."""

from __future__ import annotations

import math
from typing import Any

import pytest
import tabgrad as torch
from compare import assert_same, assert_values

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 1000), (7, 255), (256, 3), (5, 1025)])
@pytest.mark.parametrize("dim", [0, 1, None])
def test_sum_of_many(shape: tuple[int, int], dim: int | None) -> None:
    m, n = shape
    x = (torch.arange(m * n) % 7).reshape(m, n)
    rows = [[(i * n + j) % 7 for j in range(n)] for i in range(m)]
    want: Any
    if dim is None:
        want = sum(map(sum, rows))
    elif dim:
        want = [sum(r) for r in rows]
    else:
        want = [sum(r[j] for r in rows) for j in range(n)]
    assert x.sum(dim).tolist() == want
    assert_values(x.float().sum(dim), want)
    assert x.T.sum(None if dim is None else 1 - dim).tolist() == want


def test_every_set_of_dims() -> None:
    x = torch.arange(120).reshape(2, 3, 4, 5)
    for mask in range(1, 16):
        dims = tuple(d for d in range(4) if mask >> d & 1)
        got = x.sum(dims)
        want = x
        for d in reversed(dims):
            want = torch.stack(list(want.unbind(d))).sum(0)
        assert_same(got, want)
        kept = x.sum(dims, keepdim=True)
        assert tuple(kept.shape) == tuple(1 if d in dims else n for d, n in enumerate(x.shape))


def test_integer_results() -> None:
    assert torch.ones(3, dtype=torch.uint8).sum().dtype is torch.int64
    assert torch.ones(3, dtype=torch.bool).sum().item() == 3
    assert torch.full((300,), 100, dtype=torch.uint8).sum().item() == 30000
    assert torch.tensor([2, 3], dtype=torch.int8).prod().dtype is torch.int64
    assert torch.ones(3, dtype=torch.uint8).any().dtype is torch.uint8
    assert torch.tensor([1, 2], dtype=torch.int32).cumsum(0).dtype is torch.int64


def test_half_precision_sums_in_single() -> None:
    x = torch.full((4096,), 0.5, dtype=torch.float16)
    assert x.sum().item() == 2048
    assert torch.ones(1000, dtype=torch.bfloat16).mean().item() == 1


def test_mean_var_std_against_python() -> None:
    values = [0.5, -1.25, 3.0, 2.75, 8.0, -0.5]
    x = torch.tensor(values)
    mean = sum(values) / 6
    square = sum((v - mean) ** 2 for v in values)
    assert x.mean().item() == pytest.approx(mean, rel=1e-6)
    assert x.var().item() == pytest.approx(square / 5, rel=1e-6)
    assert x.var(unbiased=False).item() == pytest.approx(square / 6, rel=1e-6)
    assert x.std(correction=2).item() == pytest.approx(math.sqrt(square / 4), rel=1e-6)
    big = torch.full((1000,), 1e4) + torch.arange(1000.0) / 1000
    assert big.var().item() == pytest.approx(0.0834168, rel=1e-2)


def test_nan_wins() -> None:
    x = torch.tensor([[1.0, NAN, 3.0], [4.0, 5.0, 6.0]])
    for op in ("max", "min"):
        values, where = getattr(x, op)(1)
        assert math.isnan(values[0].item()) and where[0].item() == 1
        assert math.isnan(getattr(x, op)().item())
    assert x.argmax().item() == 1 and x.argmin(1).tolist() == [1, 0]
    assert math.isnan(x.amax().item()) and math.isnan(x.sum().item())
    assert torch.tensor([NAN, 0.0]).any().item() and torch.tensor([NAN]).all().item()


def test_first_of_equals() -> None:
    x = torch.tensor([[1, 3, 3], [2, 2, 1]])
    assert x.argmax(1).tolist() == [1, 0]
    assert x.max(1).indices.tolist() == [1, 0]
    assert x.argmin(1).tolist() == [0, 2]


def test_extremes_share_gradient() -> None:
    x = torch.tensor([1.0, 3.0, 3.0], requires_grad=True)
    x.amax().backward()
    assert x.grad.tolist() == [0, 0.5, 0.5]
    x.grad = None
    x.max().backward()
    assert x.grad.tolist() == [0, 0.5, 0.5]
    x.grad = None
    x.max(0).values.backward()
    assert x.grad.sum().item() == 1 and x.grad[0].item() == 0
    x.grad = None
    torch.maximum(x, torch.full((3,), 3.0)).sum().backward()
    assert x.grad.tolist() == [0, 0.5, 0.5]


def test_infinite() -> None:
    assert torch.tensor([INF, 1.0]).sum().item() == INF
    assert math.isnan(torch.tensor([INF, -INF]).sum().item())
    assert torch.tensor([-INF, -INF]).logsumexp(0).item() == -INF
    assert torch.tensor([INF, 0.0]).logsumexp(0).item() == INF
    assert torch.tensor([1000.0, 1000.0]).logsumexp(0).item() == pytest.approx(1000.693, rel=1e-5)
    assert torch.tensor([-INF, 0.0]).softmax(0).tolist() == [0, 1]
    assert torch.full((2, 2), -INF).max().item() == -INF
    assert torch.tensor([INF, INF]).min().item() == INF


def test_nothing_to_reduce() -> None:
    x = torch.zeros(0, 3)
    assert x.sum(0).tolist() == [0, 0, 0] and x.prod(0).tolist() == [1, 1, 1]
    assert x.sum(1).shape == (0,) and math.isnan(x.mean().item())
    assert x.any().item() is False and x.all().item() is True
    assert x.amax(1).shape == (0,)
    for call in (lambda: x.max(0), lambda: x.argmax(0), lambda: x.amin(0)):
        with pytest.raises(IndexError, match=r"[Ee]xpected reduction dim 0 to have non-zero size"):
            call()
    for call in (lambda: x.max(), lambda: x.argmin()):
        with pytest.raises((RuntimeError, IndexError), match=r"[Ee]xpected reduction dim"):
            call()


def test_scans() -> None:
    x = torch.arange(1.0, 7).reshape(2, 3)
    assert x.cumsum(1).tolist() == [[1, 3, 6], [4, 9, 15]]
    assert x.cumsum(0).tolist() == [[1, 2, 3], [5, 7, 9]]
    assert x.cumprod(1).tolist() == [[1, 2, 6], [4, 20, 120]]
    n = 2500
    assert torch.ones(n).cumsum(0)[[0, 255, 256, 1024, n - 1]].tolist() == [1, 256, 257, 1025, n]
    y = torch.ones(4, requires_grad=True)
    (y.cumsum(0) * torch.tensor([1.0, 10, 100, 1000])).sum().backward()
    assert y.grad.tolist() == [1111, 1110, 1100, 1000]


def test_product_with_zeros_has_a_gradient() -> None:
    for values, want in (([2.0, 0.0, 3.0], [0, 6, 0]), ([0.0, 0.0, 3.0], [0, 0, 0]),
                         ([2.0, 4.0, 3.0], [12, 6, 8])):  # fmt: skip
        x = torch.tensor(values, requires_grad=True)
        x.prod().backward()
        assert x.grad.tolist() == want


def test_norm_at_zero_has_a_gradient() -> None:
    x = torch.zeros(3, requires_grad=True)
    x.norm().backward()
    assert x.grad.tolist() == [0, 0, 0]


def test_sorting() -> None:
    n = 700
    x = (torch.arange(n) * 7919) % 1009
    values, order = x.sort()
    want = sorted(range(n), key=lambda i: (i * 7919) % 1009)
    assert values.tolist() == sorted((i * 7919) % 1009 for i in range(n))
    assert x[order].tolist() == values.tolist() and sorted(order.tolist()) == list(range(n))
    assert x.sort(stable=True).indices.tolist() == want
    top = x.topk(5)
    assert top.values.tolist() == sorted(x.tolist(), reverse=True)[:5]
    assert x[top.indices].tolist() == top.values.tolist()
    low = x.float().topk(3, largest=False)
    assert low.values.tolist() == sorted(x.tolist())[:3]


def test_the_largest_of_many() -> None:
    n = 9000
    x = ((torch.arange(2 * n) * 7919) % 10007).reshape(2, n)
    values, index = x.topk(20)
    for row, top, where in zip(x.tolist(), values.tolist(), index.tolist(), strict=True):
        assert top == sorted(row, reverse=True)[:20]
        assert [row[i] for i in where] == top and len(set(where)) == 20
    assert x.topk(0).values.shape == (2, 0)


@pytest.mark.parametrize("n", [257, 1025, 4097, 30_000])
@pytest.mark.parametrize("largest", [True, False])
def test_the_first_of_equal_ones(n: int, largest: bool) -> None:
    rows = [[i * 7919 % m for i in range(n)] for m in (1, 3, 1009)]
    x = torch.tensor(rows)
    for k in (1, 5, 64):
        best = x.float().topk(k, largest=largest)
        for row, where in zip(rows, best.indices.tolist(), strict=True):
            sign = -1 if largest else 1
            assert where == sorted(range(n), key=lambda i: (sign * row[i], i))[:k]
        assert x.topk(k, largest=largest).indices.tolist() == best.indices.tolist()


def test_the_first_where_not_all_are_numbers() -> None:
    nan, inf = float("nan"), float("inf")
    x = torch.ones(5000)
    x[torch.tensor([7, 4999, 300, 1200, 2500, 4100])] = torch.tensor(
        [inf, nan, -inf, -0.0, 0.0, -1.0]
    )
    assert x.topk(3).indices.tolist() == [4999, 7, 0]
    assert str(x.topk(3).values.tolist()) == "[nan, inf, 1.0]"
    low = x.topk(5, largest=False)
    assert low.indices.tolist() == [300, 4100, 1200, 2500, 0]
    assert str(low.values.tolist()) == "[-inf, -1.0, -0.0, 0.0, 1.0]"
    x[:] = nan
    assert x.topk(3).indices.tolist() == x.topk(3, largest=False).indices.tolist() == [0, 1, 2]


def test_a_sum_of_many_is_made_of_parts() -> None:
    x = torch.ones(3 * (1 << 17))
    assert x.sum().item() == x.numel() and x.reshape(3, -1).sum(1).tolist() == [1 << 17] * 3
    assert (x * 2 - 1).mean().item() == 1


@pytest.mark.parametrize("shape", [(1024, 1024), (1026, 1040), (7, 150, 1024), (521, 2016)])
def test_down_long_columns(shape: tuple[int, ...]) -> None:
    """Where every way to divide the work, or none, fits the shape."""
    x = torch.arange(math.prod(shape)).remainder(1009).reshape(shape)
    down = tuple(range(len(shape) - 1))
    flat = x.numpy().reshape(-1, shape[-1])
    y = x.float()
    assert y.sum(down).tolist() == flat.sum(0).tolist()  # exact: below 2 ** 24
    assert y.amax(down).tolist() == flat.max(0).tolist()
    assert x.sum(down).tolist() == flat.sum(0).tolist()
    y[..., 3] = math.nan
    assert y.amin(down).isnan().nonzero().tolist() == [[3]]


def test_named_results() -> None:
    x = torch.tensor([[1.0, 5.0], [7.0, 3.0]])
    best = x.max(dim=1)
    assert best.values.tolist() == [5, 7] and best.indices.tolist() == [1, 0]
    values, indices = best
    assert values is best.values and indices is best[1]
    assert x.sort(1).indices.dtype is torch.int64
