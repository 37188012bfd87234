"""Views share storage: a write through one is seen by all, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tabgrad as torch
from compare import assert_same, assert_values, flat

View = Callable[[Any], Any]

# of a (2, 3, 4) tensor
VIEWS: dict[str, View] = {
    "view": lambda x: x.view(4, 6),
    "view -1": lambda x: x.view(-1),
    "view list": lambda x: x.view([2, -1]),
    "reshape": lambda x: x.reshape(6, 4),
    "flatten": lambda x: x.flatten(1),
    "ravel": lambda x: x.ravel(),
    "unflatten": lambda x: x.unflatten(2, (2, 2)),
    "transpose": lambda x: x.transpose(0, 2),
    "permute": lambda x: x.permute(1, 2, 0),
    "mT": lambda x: x.mT,
    "T of a matrix": lambda x: x[0].T,
    "movedim": lambda x: x.movedim(0, -1),
    "narrow": lambda x: x.narrow(1, 1, 2),
    "select": lambda x: x.select(2, -1),
    "index": lambda x: x[1],
    "two indices": lambda x: x[0, :, 2],
    "slice": lambda x: x[:, 1:],
    "step": lambda x: x[..., ::2],
    "empty slice": lambda x: x[:, 3:],
    "none": lambda x: x[:, None, 1],
    "squeeze": lambda x: x[:, :1].squeeze(1),
    "unsqueeze": lambda x: x.unsqueeze(-1),
    "diagonal": lambda x: x.diagonal(0, 1, 2),
    "as_strided": lambda x: x.as_strided((3, 2), (2, 7), 1),
    "unbind": lambda x: x.unbind(1)[2],
    "split": lambda x: x.split(2, dim=1)[1],
    "split sizes": lambda x: x.split([1, 3], dim=2)[1],
    "chunk": lambda x: x.chunk(2, 2)[0],
    "iteration": lambda x: list(x)[1],
    "detach": lambda x: x.detach(),
    "data": lambda x: x.data,
    "expand without effect": lambda x: x.expand(2, 3, 4),
    "view_as": lambda x: x.view_as(torch.zeros(3, 8)),
    "contiguous": lambda x: x.contiguous(),
    "to itself": lambda x: x.to(torch.float32),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "chain": lambda x: x.transpose(0, 1)[1:, :, ::3].permute(2, 0, 1)[1],
    "view of a view": lambda x: x.view(6, 4)[1:5].view(2, 8)[:, ::2],
}

OVERLAPPING: dict[str, View] = {
    "expand": lambda x: x[:, :1].expand(2, 5, 4),
    "broadcast_to": lambda x: x[0, 0].broadcast_to(3, 4),
    "unfold": lambda x: x.view(-1).unfold(0, 4, 2),
    "as_strided": lambda x: x.as_strided((3, 3), (1, 1)),
}

COPIES: dict[str, View] = {
    "clone": lambda x: x.clone(),
    "contiguous": lambda x: x.transpose(0, 1).contiguous(),
    "reshape": lambda x: x.transpose(0, 2).reshape(6, 4),
    "flatten": lambda x: x.permute(2, 1, 0).flatten(),
    "list index": lambda x: x[[0, 1]],
    "mask": lambda x: x[x > 3],
    "to": lambda x: x.to(torch.float16),
    "to copy": lambda x: x.to(torch.float32, copy=True),
    "repeat": lambda x: x.repeat(1, 1, 1),
    "flip": lambda x: x.flip(0),
    "arithmetic": lambda x: +x * 1,
}


def counted() -> Any:
    return torch.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_write_through_view(view: View) -> None:
    x = counted()
    v = view(x)
    seen = [int(i) for i in flat(v.tolist())]
    v.mul_(-1)
    v -= 100
    want = [-i - 100.0 if i in seen else float(i) for i in range(24)]
    assert_values(x.view(-1), want)
    assert_values(v.reshape(-1), [-i - 100.0 for i in seen])


@pytest.mark.parametrize("view", {**VIEWS, **OVERLAPPING}.values(), ids={**VIEWS, **OVERLAPPING})
def test_write_to_base(view: View) -> None:
    x = counted()
    v = view(x)
    seen = flat(v.tolist())
    x[0, 1:].neg_()
    x += 0.5
    written = {4.0 + i for i in range(8)}
    assert_values(v.reshape(-1), [(-i if i in written else i) + 0.5 for i in seen])


@pytest.mark.parametrize("view", COPIES.values(), ids=COPIES)
def test_copies_do_not_share(view: View) -> None:
    x = counted()
    y = view(x)
    before = y.tolist()
    x.zero_()
    assert y.tolist() == before
    y.fill_(7)
    assert_values(x, [[[0.0] * 4] * 3] * 2)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_one_version_for_all_views(view: View) -> None:
    x = counted()
    if view is VIEWS["data"]:
        return  # .data has a counter of its own: see test_data_is_not_watched
    v = view(x)
    then = x._version
    v.add_(1)
    assert v._version == x._version == then + 1


@pytest.mark.parametrize("name", ["expand", "broadcast_to"])
def test_expanded_views_are_read_only(name: str) -> None:
    v = OVERLAPPING[name](counted())
    with pytest.raises(RuntimeError, match=r"unsupported operation: more than one element of the "
                       "written-to tensor refers to a single memory location. Please "
                       "clone"):  # fmt: skip
        v.add_(1)
    nothing = torch.ones(3, 1, 0).expand(3, 2, 0)
    assert nothing.sin_() is nothing  # no element is written twice


def test_sibling_views() -> None:
    x = torch.zeros(4, 4)
    rows, columns, corner = x[1:3], x[:, 1:3], x.diagonal()
    rows.add_(1)
    columns.add_(10)
    corner.mul_(3)
    assert_values(x, [[0, 10, 10, 0], [1, 33, 11, 1], [1, 11, 33, 1], [0, 10, 10, 0]])
    assert_values(rows, [[1, 33, 11, 1], [1, 11, 33, 1]])
    assert_values(corner, [0, 33, 33, 0])


def test_values_taken_before_a_write_stay() -> None:
    x = torch.ones(3)
    y = x + 1
    z = x[1:] * 5
    x.mul_(10)
    w = x + y
    x[0] = 0
    assert (y.tolist(), z.tolist(), w.tolist()) == ([2] * 3, [5] * 2, [12] * 3)
    assert x.tolist() == [0, 10, 10]


def test_write_to_view_of_itself() -> None:
    x = counted().view(-1)
    x[:12] = x[12:]
    assert_values(x, [*range(12, 24), *range(12, 24)])
    y = counted()[0]
    y.copy_(y.flip(0))
    assert_values(y[0], [8.0, 9, 10, 11])


def test_geometry() -> None:
    x = counted()
    assert (x.stride(), x.storage_offset(), x.is_contiguous()) == ((12, 4, 1), 0, True)
    v = x.transpose(0, 1)[1:, :, ::2]
    assert (tuple(v.shape), v.stride(), v.storage_offset()) == ((2, 2, 2), (4, 12, 2), 4)
    assert not v.is_contiguous()
    assert x[:, None].stride() == (12, 12, 4, 1)
    assert x.expand(5, 2, 3, 4).stride() == (0, 12, 4, 1)
    assert x.diagonal(0, 1, 2).stride() == (12, 5)
    assert x[0].T.stride() == (1, 4)
    assert v.contiguous().stride() == (4, 2, 1)
    assert x.stride(1) == x.stride(-2) == 4


def test_shared_memory_can_be_told() -> None:
    x = counted()
    assert x.untyped_storage().data_ptr() == x[1].untyped_storage().data_ptr()
    assert x.data_ptr() == x.view(-1).data_ptr() == x.detach().data_ptr()
    assert x.data_ptr() != x.clone().data_ptr()
    assert x[1].data_ptr() - x.data_ptr() == 12 * 4
    y = x.clone()
    assert y[1]._is_view() and not y._is_view()


def test_reshape_shares_only_if_it_can() -> None:
    x = torch.zeros(4, 6)
    x[:, ::2].reshape(4, 3).fill_(1)
    assert_values(x[0], [1, 0, 1, 0, 1, 0])
    x.T.reshape(24).fill_(5)
    assert_values(x[0], [1, 0, 1, 0, 1, 0])


def test_view_of_other_dtype() -> None:
    x = torch.tensor([1.0, -2.0])
    bits = x.view(torch.int32)
    assert bits.tolist() == [0x3F800000, -0x40000000]
    bits[0] = 0x40490FDB
    assert abs(x[0].item() - 3.14159274) < 1e-6


def test_assignment_to_attribute_data() -> None:
    x = torch.zeros(3, requires_grad=True)
    x.data = torch.ones(3)
    x.data[0] = 5
    assert x.tolist() == [5, 1, 1] and x.requires_grad and x.is_leaf


def test_data_is_not_watched() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    x.data.mul_(10)
    y.backward()
    assert x.grad.tolist() == [20, 40]


def test_unbind_split_chunk_are_windows() -> None:
    x = torch.zeros(5, 2)
    for i, row in enumerate(x):
        row.fill_(i)
    a, b, c = x.split(2)
    assert [len(a), len(b), len(c)] == [2, 2, 1]
    c.neg_()
    p, q = x.unbind(1)
    q.zero_()
    assert_values(x, [[0, 0], [1, 0], [2, 0], [3, 0], [-4, 0]])
    assert_same(p, x[:, 0])


def test_resize_and_set_through_views_keep_dtype() -> None:
    x = torch.zeros(2, 3, dtype=torch.int64)
    x[0] = 2.9
    x[:, 1] = True
    assert x.dtype is torch.int64
    assert x.tolist() == [[2, 1, 2], [0, 1, 0]]


def test_transposed_operands() -> None:
    n, m = 90, 70  # large enough that a device may turn them beforehand
    x, y = torch.arange(n * m).reshape(n, m), torch.arange(m * n).reshape(m, n) * 2
    want = [[x[j][i] + y[i][j] for j in range(n)] for i in range(0, m, 23)]
    got = (x.t() + y)[::23]
    assert got.tolist() == [[v.item() for v in row] for row in want]
    z = torch.arange(24 * 20 * 16).reshape(24, 20, 16)
    w = z.permute(2, 0, 1) - z.permute(2, 0, 1).contiguous() + z.transpose(0, 2).transpose(1, 2)
    assert w.tolist() == z.permute(2, 0, 1).tolist()
    assert (z.transpose(1, 2) * 1).sum().item() == z.sum().item()
