"""Reading and writing by index: against Python's own lists, for every kind of index."""

from __future__ import annotations

from typing import Any

import pytest
import tabgrad as torch
from compare import assert_values


def counted(*shape: int) -> Any:
    n = 1
    for s in shape:
        n *= s
    return torch.arange(float(n)).reshape(shape)


def listed(*shape: int, start: int = 0) -> Any:
    """``counted`` as nested lists."""
    if len(shape) == 1:
        return [float(start + i) for i in range(shape[0])]
    step = 1
    for s in shape[1:]:
        step *= s
    return [listed(*shape[1:], start=start + i * step) for i in range(shape[0])]


@pytest.mark.parametrize("start", [None, 0, 1, -2, 7, -9])
@pytest.mark.parametrize("stop", [None, 0, 3, -1, 9, -9])
@pytest.mark.parametrize("step", [None, 1, 2, 3, 7])
def test_slices(start: int | None, stop: int | None, step: int | None) -> None:
    part = slice(start, stop, step)
    x, rows = counted(5), listed(5)
    assert x[part].tolist() == rows[part]
    x[part] = -1.0
    for i in range(5)[part]:
        rows[i] = -1.0
    assert x.tolist() == rows


def test_integers() -> None:
    x, rows = counted(3, 4), listed(3, 4)
    for i in range(-3, 3):
        assert x[i].tolist() == rows[i]
        for j in range(-4, 4):
            assert x[i, j].item() == rows[i][j]
            assert x[torch.tensor(i), j].item() == rows[i][j]


def test_none_and_ellipsis() -> None:
    x = counted(2, 3, 4)
    assert x[None].shape == (1, 2, 3, 4)
    assert x[:, None, ..., None].shape == (2, 1, 3, 4, 1)
    assert x[..., 0].tolist() == [[r[0] for r in m] for m in listed(2, 3, 4)]
    assert x[1, ...].tolist() == listed(2, 3, 4)[1]
    assert x[..., 1, :].shape == (2, 4)
    assert x[()].shape == (2, 3, 4)
    assert x[0, 0, 0, ...].shape == ()


def test_integer_tensors_and_lists() -> None:
    x, rows = counted(4, 3), listed(4, 3)
    for index in ([2, 0, 2], [-1], [1, 1, 1, 1, 1]):
        for form in (list, torch.tensor, lambda i: torch.tensor(i, dtype=torch.int32)):
            assert x[form(index)].tolist() == [rows[i] for i in index]
            assert x[:, form([j % 3 for j in index])].tolist() == [
                [r[j % 3] for j in index] for r in rows
            ]
    assert x[[0, 3], [1, 2]].tolist() == [rows[0][1], rows[3][2]]
    assert x[[[0], [3]], [1, 2]].tolist() == [[rows[i][j] for j in (1, 2)] for i in (0, 3)]
    assert x[torch.tensor([], dtype=torch.int64)].shape == (0, 3)
    assert x[[]].shape == (0, 3)


def test_where_the_indexed_dimensions_go() -> None:
    x = counted(2, 3, 4, 5)
    i, j = torch.tensor([0, 1, 1]), torch.tensor([2, 0, 3])
    assert x[i, :, j].shape == (3, 3, 5)  # apart: in front
    assert x[:, :2, j][:, :, 0].shape == (2, 2, 5)
    assert x[:, i, j].shape == (2, 3, 5)  # side by side: in place
    assert x[0, :, i].shape == (3, 3, 5)
    assert x[:, i[:, None], j].shape == (2, 3, 3, 5)
    assert x[i, None, :, j].shape == (3, 1, 3, 5)
    assert x[..., i[:2], j[:2]].shape == (2, 3, 2)
    assert x[i, :, j][1, 2, 3].item() == x[1, 2, 0, 3].item()


def test_bool_masks() -> None:
    x, rows = counted(3, 4), listed(3, 4)
    mask = x % 2 == 0
    assert x[mask].tolist() == [v for r in rows for v in r if v % 2 == 0]
    assert x[torch.tensor([True, False, True])].tolist() == [rows[0], rows[2]]
    assert x[[True, False, True]].tolist() == [rows[0], rows[2]]
    assert x[:, torch.tensor([False, True, True, False])].shape == (3, 2)
    assert x[torch.tensor([True, False, True]), [1, 2]].tolist() == [rows[0][1], rows[2][2]]
    assert x[x > 100].shape == (0,)
    assert x[True].shape == (1, 3, 4) and x[False].shape == (0, 3, 4)
    assert x[torch.tensor(True)].shape == (1, 3, 4)


def test_set_with_integers_and_broadcast() -> None:
    x = torch.zeros(3, 4)
    x[0] = 1
    x[1] = torch.tensor([1.0, 2, 3, 4])
    x[:, 3] = torch.tensor([7.0, 8.0, 9.0])
    x[2, ::2] = torch.tensor(5.0)
    assert_values(x, [[1, 1, 1, 7], [1, 2, 3, 8], [5, 0, 5, 9]])
    x[1:, :2] = torch.tensor([[1.0], [2.0]])
    assert_values(x[1:, :2], [[1, 1], [2, 2]])


def test_set_with_tensors() -> None:
    x = torch.zeros(4, 3)
    x[[0, 2]] = torch.tensor([1.0, 2.0, 3.0])
    x[[1, 3], [0, 2]] = torch.tensor([8.0, 9.0])
    assert_values(x, [[1, 2, 3], [8, 0, 0], [1, 2, 3], [0, 0, 9]])
    x[x > 2] = -1.0
    assert_values(x, [[1, 2, -1], [-1, 0, 0], [1, 2, -1], [0, 0, -1]])
    x[torch.tensor([True, False, False, True])] = torch.tensor([[1.0, 1, 1], [2, 2, 2]])
    assert_values(x[[0, 3]], [[1, 1, 1], [2, 2, 2]])
    x[x == 2] = torch.tensor([4.0, 5.0, 6.0, 7.0])
    assert_values(x[2:], [[1, 4, -1], [5, 6, 7]])


def test_set_repeated_index_keeps_the_last() -> None:
    x = torch.zeros(3)
    x.index_put_((torch.tensor([1, 1, 1]),), torch.tensor([1.0, 2.0, 4.0]), accumulate=True)
    assert x.tolist() == [0, 7, 0]
    x += torch.tensor([1.0, 1.0, 1.0])
    x[[0, 0]] += 1.0
    assert x.tolist() == [2, 8, 1]


def test_set_through_views() -> None:
    x = torch.zeros(4, 4)
    x.T[1][[0, 2]] = 5.0
    x[1:3][:, 2:][x[1:3][:, 2:] == 0] = 7.0
    x.view(-1)[[15, 0]] = torch.tensor([1.0, 2.0])
    assert_values(x, [[2, 5, 0, 0], [0, 0, 7, 7], [0, 5, 7, 7], [0, 0, 0, 1]])


def test_gradients_of_reading() -> None:
    x = counted(4, 3).requires_grad_()
    y = x[[0, 0, 2]].sum() + 10 * x[x > 9].sum() + 100 * x[1:, [0, 0]].sum() + 1000 * x[3, 2]
    y.backward()
    assert_values(x.grad, [[2, 2, 2], [200, 0, 0], [201, 1, 1], [200, 10, 1010]])


def test_gradients_of_writing() -> None:
    v = torch.tensor([2.0, 3.0], requires_grad=True)
    w = torch.tensor([1.0, 1.0, 1.0, 1.0], requires_grad=True)
    x = w * 5
    x[[1, 2]] = v
    x[3:] = v[:1] * v[1:]
    (x * torch.tensor([1.0, 10, 100, 1000])).sum().backward()
    assert w.grad.tolist() == [5, 0, 0, 0]
    assert v.grad.tolist() == [10 + 3000, 100 + 2000]


WIDTHS = [0, 1, 3, 5, 64, 65]


def repeated_rows(width: int, dtype: Any) -> tuple[Any, Any, Any, list[int]]:
    """A table, rows for it, and where they go; numbers that no sum rounds."""
    places = [3, 0, 5, 3, 6, 0, 3]
    table = torch.arange(7 * width).reshape(7, width) % 5
    rows = torch.arange(len(places) * width).reshape(len(places), width) % 3
    return table.to(dtype), rows.to(dtype), torch.tensor(places), places


@pytest.mark.parametrize("name", ["float32", "float64", "float16", "bfloat16", "bool", "uint8",
    "int8", "int16", "int32", "int64"])  # fmt: skip
@pytest.mark.parametrize("width", WIDTHS)
def test_whole_rows_of_each_dtype(width: int, name: str, device: str) -> None:
    if name == "float64" and device == "webgpu":
        return  # which a GPU has not
    dtype = getattr(torch, name)
    table, rows, index, places = repeated_rows(width, dtype)
    added, new = table.tolist(), rows.tolist()
    for j, k in enumerate(places):
        pairs = zip(added[k], new[j], strict=True)
        added[k] = [a or b if name == "bool" else a + b for a, b in pairs]
    got = table.index_add(0, index, rows)
    assert (got.dtype, got.tolist()) == (dtype, added)
    table[index] = rows[:1]
    table.index_copy_(0, torch.tensor([1]), rows[2:3])
    for k in set(places):
        assert table[k].tolist() == new[0]
    assert table[1].tolist() == new[2]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_last_of_equal_rows_is_kept(width: int, device: str) -> None:
    if device in ("webgpu", "auto"):
        return  # on a GPU it may be any of them
    table, rows, index, places = repeated_rows(width, torch.float32)
    expect = table.tolist()
    for j, k in enumerate(places):
        expect[k] = rows[j].tolist()
    assert table.index_copy(0, index, rows).tolist() == expect
    table[index - 7] = rows
    assert table.tolist() == expect


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("reduce", ["sum", "prod", "amax", "amin"])
def test_an_expanded_index_means_whole_rows(width: int, reduce: str) -> None:
    table, rows, index, places = repeated_rows(width, torch.float32)
    wide = index.remainder(7).unsqueeze(1).expand(len(places), width)
    every = wide * 1  # an index per element
    assert table.gather(0, wide).tolist() == table.gather(0, every).tolist()
    for self in (True, False):
        got = table.scatter_reduce(0, wide, rows, reduce, include_self=self)
        assert (
            got.tolist() == table.scatter_reduce(0, every, rows, reduce, include_self=self).tolist()
        )
    deep = torch.stack([table, table + 1])
    part = wide.expand(2, len(places), width)
    assert deep.gather(1, part).tolist() == deep.gather(1, part * 1).tolist()


@pytest.mark.parametrize("width", [1, 3, 64])
def test_gradients_of_rows_twice(width: int) -> None:
    table, rows, index, places = repeated_rows(width, torch.float32)
    table.requires_grad_()
    rows.requires_grad_()
    y = (torch.nn.functional.embedding(index % 7, table) ** 3).sum()
    (g,) = torch.autograd.grad(y, table, create_graph=True)
    g.sum().backward()
    times = torch.tensor([float(sum(p % 7 == k for p in places)) for k in range(7)]).unsqueeze(1)
    assert_values(g.detach(), (3 * table**2 * times).tolist())
    assert_values(table.grad, (6 * table * times).tolist())
    (g,) = torch.autograd.grad(
        (table.index_add(0, index, rows) ** 3).sum(), rows, create_graph=True
    )
    sums = table.detach().index_add(0, index, rows.detach())
    assert_values(g.detach(), (3 * sums**2)[index].tolist())
    (h,) = torch.autograd.grad(g.sum(), rows)
    assert_values(h, (6 * sums * times)[index].tolist())


@pytest.mark.parametrize("k", [4, -1, -5])
def test_rows_out_of_range(k: int) -> None:
    table, index = torch.zeros(4, 3), torch.tensor([1, k])
    back = torch.tensor([1, k if k != -1 else -6])  # here -1 is the last row
    place = "^index out of range in dimension 0 with size 4$"
    for f, error, words in (
        (lambda: table.index_select(0, index), IndexError, "^index out of range in self$"),
        (lambda: table.index_fill(0, back, 1.0), IndexError, place),
        (lambda: table.index_add(0, index, torch.ones(2, 3)), RuntimeError, place),
    ):
        with pytest.raises(error, match=words):
            f().tolist()


def test_index_out_of_range_leaves_the_page_going() -> None:
    x = counted(3)
    with pytest.raises(IndexError):
        x[torch.tensor([0, 5])].tolist()
    with pytest.raises(RuntimeError):
        x.gather(0, torch.tensor([3])).tolist()
    assert (x + 1).tolist() == [1, 2, 3]


def test_writing_wrong_shapes() -> None:
    x = torch.zeros(2, 3)
    with pytest.raises(RuntimeError, match=r"The expanded size of the tensor \(3\) must match"):
        x[0] = torch.ones(2)
    with pytest.raises(RuntimeError, match="shape mismatch: value tensor of shape"):
        x[[0, 1]] = torch.ones(4, 3)
    with pytest.raises(IndexError, match="too many indices for tensor of dimension 2"):
        x[0, 0, 0] = 1
    assert x.tolist() == [[0] * 3] * 2


def test_len_iteration_contains() -> None:
    x = counted(3, 2)
    assert len(x) == 3
    assert [r.tolist() for r in x] == listed(3, 2)
    assert 5.0 in x and 9.0 not in x
    *_, c = x
    assert c.tolist() == [4, 5]
    with pytest.raises(TypeError, match="iteration over a 0-d tensor"):
        list(torch.tensor(1.0))
    with pytest.raises(TypeError, match=r"len\(\) of a 0-d tensor"):
        len(torch.tensor(1.0))


def test_tensors_as_python_indices() -> None:
    rows = [10, 20, 30]
    assert rows[torch.tensor(1)] == 20
    assert list(range(torch.tensor(3))) == [0, 1, 2]
    with pytest.raises(
        TypeError, match="only integer tensors of a single element can be converted"
    ):
        rows[torch.tensor(1.0)]


NO_NEGATIVE = {
    "gather": lambda x, i: x.gather(0, i[None, :]),
    "scatter": lambda x, i: x.scatter(0, i[None, :], 1.0),
    "scatter_add": lambda x, i: x.scatter_add(0, i[None, :], torch.ones(1, 2)),
    "scatter_reduce": lambda x, i: x.scatter_reduce(0, i[None, :], torch.ones(1, 2), "amax"),
    "index_select": lambda x, i: x.index_select(0, i),
    "index_add": lambda x, i: x.index_add(0, i, torch.ones(2, 4)),
    "index_copy": lambda x, i: x.index_copy(0, i, torch.ones(2, 4)),
    "embedding": lambda x, i: torch.nn.functional.embedding(i, x),
    "one_hot": lambda x, i: torch.nn.functional.one_hot(i, 3),
    "nll_loss": lambda x, i: torch.nn.functional.nll_loss(x[:2], i),
}


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64], ids=repr)
@pytest.mark.parametrize("name", NO_NEGATIVE)
def test_where_no_index_counts_from_the_end(name: str, dtype: Any) -> None:
    x, f = torch.arange(12.0).reshape(3, 4), NO_NEGATIVE[name]
    if name in ("one_hot", "nll_loss"):
        dtype = torch.int64
    f(x, torch.tensor([0, 2], dtype=dtype)).tolist()
    own = {"index_copy": IndexError, "nll_loss": IndexError}  # the others of these: RuntimeError
    error, words = (
        own.get(name, RuntimeError),
        r"^index out of range in dimension [01] with size [34]$",
    )
    if name in ("index_select", "embedding"):
        error, words = IndexError, "^index out of range in self$"
    elif name == "one_hot":
        words = "^Class values must be non-negative and smaller than num_classes.$"
    for outside in (-1, 4):
        with pytest.raises(error, match=words):
            f(x, torch.tensor([0, outside], dtype=dtype)).tolist()


COUNTS_BACK = {
    "x[i]": lambda x, i: x[i],
    "take": lambda x, i: x.take(i),
    "take_along_dim": lambda x, i: torch.take_along_dim(x, i[:, None], 0),
    "put": lambda x, i: x.put(i, torch.ones(2)),
    "index_put": lambda x, i: x.index_put((i,), torch.tensor(1.0)),
    "index_fill": lambda x, i: x.index_fill(0, i, 1.0),
}


@pytest.mark.parametrize("name", COUNTS_BACK)
def test_where_an_index_counts_from_the_end(name: str) -> None:
    x, f = torch.arange(12.0).reshape(3, 4), COUNTS_BACK[name]
    size = 12 if name in ("take", "put") else 3
    got, want = f(x, torch.tensor([0, -2])), f(x, torch.tensor([0, size - 2]))
    assert got.tolist() == want.tolist()
    with pytest.raises(IndexError, match=f"index out of range in dimension 0 with size {size}"):
        f(x, torch.tensor([0, -1 - size])).tolist()


def test_no_index_fits_an_empty_dimension() -> None:
    x = torch.ones(4, 0, 3)
    at = torch.tensor([1])
    for key in ((slice(None), [1]), (slice(None), at), (at, at), ([1, 3], [-1, 1])):
        with pytest.raises(IndexError, match="index is out of bounds for dimension with size 0"):
            x[key]
        with pytest.raises(IndexError, match="index is out of bounds for dimension with size 0"):
            x[key] = 1.0
    assert x[:, []].shape == (4, 0, 3)
