"""In-place ops: PyTorch's results, version counters and error texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tabgrad as torch
from compare import assert_values

WRITES: dict[str, Callable[[Any], Any]] = {
    "add_": lambda x: x.add_(1),
    "+=": lambda x: x.__iadd__(1),
    "mul_": lambda x: x.mul_(2),
    "-=": lambda x: x.__isub__(1),
    "/=": lambda x: x.__itruediv__(2),
    "**=": lambda x: x.__ipow__(2),
    "copy_": lambda x: x.copy_(torch.ones(3)),
    "fill_": lambda x: x.fill_(3),
    "zero_": lambda x: x.zero_(),
    "x[0] = 1": lambda x: x.__setitem__(0, 1.0),
    "x[:] = t": lambda x: x.__setitem__(slice(None), torch.ones(3)),
    "x[[0]] = 1": lambda x: x.__setitem__([0], 1.0),
    "x[mask] = 1": lambda x: x.__setitem__(x > 0, 1.0),
    "view.add_": lambda x: x[1:].add_(1),
    "clamp_": lambda x: x.clamp_(0, 1),
    "relu_": lambda x: x.relu_(),
    "exp_": lambda x: x.exp_(),
    "masked_fill_": lambda x: x.masked_fill_(x > 0, 1.0),
    "scatter_": lambda x: x.scatter_(0, torch.tensor([1]), torch.ones(1)),
    "index_fill_": lambda x: x.index_fill_(0, torch.tensor([1]), 1.0),
    "uniform_": lambda x: x.uniform_(),
    "normal_": lambda x: x.normal_(),
    "random_": lambda x: x.random_(3),
    "bernoulli_": lambda x: x.bernoulli_(0.5),
    "out=": lambda x: torch.add(torch.ones(3), 1, out=x),
    "sqrt_": lambda x: x.sqrt_(),
    "addcmul_": lambda x: x.addcmul_(torch.ones(3), torch.ones(3)),
    "lerp_": lambda x: x.lerp_(torch.ones(3), 0.5),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_each_write_counts_once(write: Callable[[Any], Any]) -> None:
    x = torch.ones(3)
    assert x._version == 0
    write(x)
    assert x._version == 1


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_leaf_that_requires_grad_is_protected(write: Callable[[Any], Any]) -> None:
    x = torch.ones(3, requires_grad=True)
    if write is WRITES["out="]:
        text = r"add\(\): functions with out=... arguments don't support automatic differentiation"
    elif write is WRITES["view.add_"] or "__setitem__" in write.__code__.co_names:
        text = "leaf Variable that requires grad is being used in an in-place operation."
    else:
        text = "^a leaf Variable that requires grad is being used in an in-place operation.$"
    with pytest.raises(RuntimeError, match=text):
        write(x)
    assert x.tolist() == [1, 1, 1]
    with torch.no_grad():
        write(x)
    assert x.is_leaf and x.requires_grad


def test_view_of_leaf_is_protected() -> None:
    x = torch.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"^a view of a leaf Variable that requires "
                                           r"grad is being "
                       "used in an in-place operation.$"):  # fmt: skip
        x[1:].mul_(2)
    with pytest.raises(RuntimeError, match="a view of a leaf"):
        x.view(3, 1).zero_()


def test_expanded() -> None:
    for x in (torch.ones(1, 3).expand(2, 3), torch.ones(()).expand(4)):
        with pytest.raises(RuntimeError, match="unsupported operation: more than one element of "
                           r"the written-to tensor refers to a single memory location. Please "
                           r"clone\(\) the tensor before performing the operation."):  # fmt: skip
            x.add_(1)
    x = torch.ones(1, 3).expand(1, 3)
    x.add_(1)
    assert x.tolist() == [[2, 2, 2]]


def test_partial_overlap() -> None:
    x = torch.arange(5.0)
    text = (
        "unsupported operation: some elements of the input tensor and the written-to tensor refer"
    )
    with pytest.raises(RuntimeError, match=text):
        x[1:].add_(x[:-1])
    x.add_(x)
    assert x.tolist() == [0, 2, 4, 6, 8]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: x.add_(1.5), "result type Float can't be cast to the desired output type Long"),
        (lambda x: x.div_(2), "result type Float can't be cast to the desired output type Long"),
        (lambda x: x.add_(torch.ones(3)), "result type Float can't be cast to the desired output"),
        (lambda x: x.exp_(), "result type Float can't be cast to the desired output type Long"),
        (lambda x: x.add_(torch.ones(2, 3, dtype=torch.int64)),
         r"output with shape \[3\] doesn't match the broadcast shape \[2, 3\]"),
        (lambda x: x.bool().add_(1), "result type Long can't be cast to the desired "
                                     "output type Bool"),
    ],
    ids=range(6),
)  # fmt: skip
def test_results_that_do_not_fit(call: Callable[[Any], Any], text: str) -> None:
    with pytest.raises(RuntimeError, match=text):
        call(torch.arange(3))


def test_narrower_results_fit() -> None:
    x = torch.zeros(3, dtype=torch.float16)
    x.add_(torch.full((3,), 1.5))
    assert x.dtype is torch.float16 and x.tolist() == [1.5] * 3
    y = torch.zeros(3, dtype=torch.int8)
    y += torch.tensor([1, 2, 3])
    assert y.dtype is torch.int8 and y.tolist() == [1, 2, 3]
    z = torch.zeros(3)
    z.copy_(torch.tensor([True, False, True]))
    assert z.tolist() == [1, 0, 1]


MODIFIED = (
    r"one of the variables needed for gradient computation has been modified by an inplace "
    r"operation: \[torch\.\w*\.?FloatTensor \[3\]\]{}is at version {}; expected "
    r"version {} instead. "
    "Hint: "
)


def test_saved_input_modified() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x * 2
    z = (y * y).sum()
    y.add_(1)
    with pytest.raises(RuntimeError, match=MODIFIED.format(".* ", 1, 0)):
        z.backward()


def test_saved_output_modified() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x.exp()
    y.mul_(2)
    y[0] = 3
    text = MODIFIED.format(", which is output 0 of .*, ", 2, 0)
    with pytest.raises(RuntimeError, match=text):
        y.sum().backward()


def test_saved_base_modified_through_view() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x * 1
    z = y.sin()
    y[1:].zero_()
    with pytest.raises(RuntimeError, match=MODIFIED.format(".*", 1, 0)):
        z.sum().backward()


def test_what_is_not_saved_may_change() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x * 2
    z = y + 1
    y.mul_(10)
    z.sum().backward()
    assert x.grad.tolist() == [2, 2, 2]


def test_history_follows_in_place() -> None:
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 2
    y.add_(1).mul_(x)
    y.sum().backward()
    assert x.grad.tolist() == [5, 9, 13]


def test_gradient_through_a_written_view() -> None:
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    w = torch.tensor(10.0, requires_grad=True)
    y = x * 1
    v = y[1:]
    v.mul_(w)
    assert_values(y, [1, 20, 30])
    assert v.grad_fn is not None and not v.is_leaf
    (y * torch.tensor([1.0, 2, 3])).sum().backward()
    assert x.grad.tolist() == [1, 20, 30]
    assert w.grad.item() == 2 * 2 + 3 * 3


def test_gradient_of_a_view_after_its_base_was_written() -> None:
    x = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    y = x * 1
    v = y.view(2, 2)[0]
    y.mul_(3)
    v.sum().backward()
    assert x.grad.tolist() == [3, 3, 0, 0]


def test_setitem_in_a_graph() -> None:
    x = torch.zeros(4)
    a = torch.tensor(2.0, requires_grad=True)
    b = torch.tensor([3.0, 4.0], requires_grad=True)
    x[0] = a * a
    x[2:] = b
    x[3] = a
    (x * x).sum().backward()
    assert a.grad.item() == pytest.approx(2 * 4 * 4 + 2 * 2)
    assert b.grad.tolist() == [6, 0]
    assert x.requires_grad and not x.is_leaf


def test_copy_carries_gradient() -> None:
    a = torch.tensor([1.0, 2.0], requires_grad=True)
    x = torch.zeros(3, 2)
    x.copy_(a)
    x.sum().backward()
    assert a.grad.tolist() == [3, 3]


def test_in_place_on_unbind_output() -> None:
    x = torch.ones(2, 2, requires_grad=True) * 1
    row, _ = x.unbind(0)
    with pytest.raises(RuntimeError, match=r"Output 0 of Unbind(Backward0)? is a view and is "
                       "being modified inplace. This view is the output of a function that returns "
                       "multiple views"):  # fmt: skip
        row.mul_(2)


def test_requires_grad_in_place() -> None:
    x = torch.ones(2)
    assert x.requires_grad_() is x and x.requires_grad
    with pytest.raises(RuntimeError, match="only Tensors of floating point"):
        torch.ones(2, dtype=torch.int64).requires_grad_()
    with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf"):
        (x * 2).requires_grad_(False)


def test_out_resizes_and_casts() -> None:
    out = torch.empty(0)
    assert torch.add(torch.ones(2, 3), 1, out=out) is out
    assert_values(out, [[2.0] * 3] * 2)
    long = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output"):
        torch.mul(torch.ones(3), 1.5, out=long)
    room = torch.zeros(4)
    torch.sub(torch.ones(2), 3, out=room[1:3])
    assert room.tolist() == [0, -2, -2, 0]
    with pytest.raises(RuntimeError, match=r"out=... arguments don't support automatic"):
        torch.add(torch.ones(2, requires_grad=True), 1, out=torch.zeros(2))


def test_augmented_assignment_keeps_identity() -> None:
    x = y = torch.ones(2)
    x += 1
    x -= 0.5
    x *= 4
    x /= 3
    x //= 1
    x **= 2
    x %= 3
    assert x is y and x.tolist() == [1.0, 1.0]
    a = b = torch.tensor([6, 3])
    a &= 3
    a |= 8
    a ^= 1
    a <<= 1
    a >>= 2
    assert a is b and a.tolist() == [5, 5]


def test_a_window_that_sees_more_than_the_view_it_was_taken_of() -> None:
    x = torch.arange(16.0).reshape(4, 4).requires_grad_()
    y = x * 1
    z = y[:, 1].as_strided((2, 2), (2, 1))  # elements 1 to 4
    z *= 3
    y.sum().backward()
    assert x.grad.tolist() == [[1, 3, 3, 3], [3, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]


def test_a_reshape_that_copies_is_no_view() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    for y in (x.t().reshape(-1), x.t().flatten()):
        assert y._base is None
        assert y.detach_().add_(1).tolist() == [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]
    with torch.no_grad():
        y = x.t().reshape(-1)
    assert y.requires_grad_().mul(2).requires_grad
    z = x.requires_grad_().t().reshape(-1)
    z.mul_(2)
    z.sum().backward()
    assert x.grad.tolist() == [[2.0] * 3] * 2
    assert x.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


def test_what_was_saved_and_overwritten_is_named_by_what_wrote_it() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x * 1
    z = y * y
    y.add_(1)
    with pytest.raises(RuntimeError, match=r"\[3\]\], which is output 0 of Add, is at version 1"):
        z.sum().backward()
    leaf = torch.ones(3)
    z = x * leaf
    leaf.add_(1)
    with pytest.raises(RuntimeError, match=r"\[3\]\] is at version 1; expected version 0"):
        z.sum().backward()


def test_overwritten_views_are_told_before_overlaps() -> None:
    x = torch.ones(4, requires_grad=True) * 1
    part = x.unbind(0)[0]
    x.mul_(2)
    with pytest.raises(RuntimeError, match="has been modified inplace"):
        x.copy_(part)
