"""Making tensors: from data, by rule, with dtypes and devices."""

from __future__ import annotations

from typing import Any

import pytest
import tabgrad as torch
from compare import assert_values


@pytest.mark.parametrize(
    ("data", "dtype"),
    [(1, "int64"), (1.0, "float32"), (True, "bool"), ([1, 2.5], "float32"), ([1, True], "int64"),
     ([True, False], "bool"), ([], "float32"), ([[1], [2]], "int64"), ((1, (2)), "int64"),
     ([True, 2.5], "float32"), (range(3), "int64")],
    ids=str,
)  # fmt: skip
def test_inferred_dtype(data: Any, dtype: str) -> None:
    x = torch.tensor(data)
    assert x.dtype is getattr(torch, dtype)
    assert not x.requires_grad and x.is_leaf


def test_nested_data() -> None:
    assert torch.tensor([[1, 2], [3, 4]]).shape == (2, 2)
    assert torch.tensor([[], []]).shape == (2, 0)
    assert torch.tensor([torch.tensor(1.0), torch.tensor(2.0)]).tolist() == [1, 2]
    assert_values(torch.tensor([[1.5, 2], [3, 4]]), [[1.5, 2], [3, 4]])


def test_bad_data() -> None:
    with pytest.raises(ValueError, match=r"expected sequence of length 2 at dim 1 \(got 1\)"):
        torch.tensor([[1, 2], [3]])
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        torch.tensor("abc")
    with pytest.raises((TypeError, RuntimeError), match="NoneType"):
        torch.tensor([1, None])
    with pytest.raises((RuntimeError, ValueError), match=r"[Oo]verflow|out of range"):
        torch.tensor([1 << 70])


def test_tensor_copies() -> None:
    x = torch.ones(2)
    y = x.detach().clone()
    z = torch.as_tensor(x)
    x.zero_()
    assert y.tolist() == [1, 1] and z.tolist() == [0, 0] and z is x


def test_dtype_argument_converts() -> None:
    assert torch.tensor([1.9, -1.9], dtype=torch.int32).tolist() == [1, -1]
    assert torch.tensor([0, 2], dtype=torch.bool).tolist() == [False, True]
    assert torch.tensor([1, 2], dtype=torch.float16).dtype is torch.float16
    assert torch.zeros(2, dtype=torch.long).dtype is torch.int64
    assert torch.ones(2, dtype=torch.half).dtype is torch.float16


def test_default_dtype() -> None:
    assert torch.get_default_dtype() is torch.float32
    try:
        torch.set_default_dtype(torch.float16)
        assert torch.zeros(1).dtype is torch.tensor([1.0]).dtype is torch.float16
        assert torch.arange(3.0).dtype is torch.float16
        assert torch.tensor(1).dtype is torch.int64
    finally:
        torch.set_default_dtype(torch.float32)
    with pytest.raises(
        TypeError, match="only floating-point types are supported as the default type"
    ):
        torch.set_default_dtype(torch.int32)


@pytest.mark.parametrize(
    ("args", "want"),
    [((5,), [0, 1, 2, 3, 4]), ((2, 5), [2, 3, 4]), ((0, 10, 4), [0, 4, 8]), ((3, 0, -1), [3, 2, 1]),
     ((1.0, 2.0, 0.25), [1, 1.25, 1.5, 1.75]), ((2.5,), [0, 1, 2]), ((0,), [])],
    ids=str,
)  # fmt: skip
def test_arange(args: Any, want: Any) -> None:
    x = torch.arange(*args)
    assert x.tolist() == want
    assert x.dtype is (torch.float32 if any(isinstance(a, float) for a in args) else torch.int64)


def test_linspace_hits_both_ends() -> None:
    for n in (2, 3, 7, 100):
        x = torch.linspace(-1, 3, n)
        assert x[0].item() == -1 and x[-1].item() == 3 and len(x) == n
    assert_values(torch.linspace(0, 1, 5), [0, 0.25, 0.5, 0.75, 1])


def test_like_and_new() -> None:
    x = torch.zeros(2, 3, dtype=torch.int16)
    for y in (torch.ones_like(x), x.new_ones(2, 3), torch.full_like(x, 1)):
        assert y.dtype is torch.int16 and y.shape == (2, 3) and y.tolist() == [[1] * 3] * 2
    assert x.new_tensor([1.5]).dtype is torch.int16
    assert torch.zeros_like(x, dtype=torch.float32).dtype is torch.float32
    assert x.new_empty(4).shape == (4,)


def test_full_infers() -> None:
    assert torch.full((2,), 1).dtype is torch.int64
    assert torch.full((2,), 1.0).dtype is torch.float32
    assert torch.full((2,), True).dtype is torch.bool


def test_requires_grad_argument() -> None:
    for x in (torch.ones(2, requires_grad=True), torch.tensor([1.0], requires_grad=True),
              torch.zeros(2, 2, requires_grad=True), torch.arange(3.0, requires_grad=True),
              torch.rand(2, requires_grad=True), torch.eye(2, requires_grad=True)):  # fmt: skip
        assert x.requires_grad and x.is_leaf
    with pytest.raises(
        RuntimeError, match=r"[Oo]nly Tensors of floating point and complex dtype can"
    ):
        torch.ones(2, dtype=torch.int64, requires_grad=True)


def test_devices(device: str) -> None:
    x = torch.ones(2)
    assert x.device == torch.device(device)
    assert torch.zeros(2, device=device).device.type == torch.device(device).type
    y = x.to("cpu")
    assert y.device.type == "cpu" or y.device == torch.device("cpu")
    assert y.tolist() == [1, 1] and y.to(device).tolist() == [1, 1]
    assert x.to(device) is x and x.cpu().tolist() == [1, 1]
    with torch.device("cpu"):
        assert torch.ones(1).device == torch.device("cpu")
    with pytest.raises(
        RuntimeError, match=r"Expected one of .* device type at start of device string"
    ):
        torch.ones(2, device="gpu")


def test_gradient_crosses_devices(device: str) -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = (x * 2).to("cpu") * torch.tensor([3.0, 4.0], device="cpu")
    y.sum().backward()
    assert x.grad.device == x.device and x.grad.tolist() == [6, 8]


def test_legacy_constructors() -> None:
    assert torch.Tensor([1, 2]).dtype is torch.float32
    assert torch.Tensor(2, 3).shape == (2, 3)
    assert torch.LongTensor([1, 2]).dtype is torch.int64
    assert torch.FloatTensor([1, 2]).tolist() == [1, 2]


def test_negative_sizes() -> None:
    for make in (torch.zeros, torch.ones, torch.empty, torch.rand):
        with pytest.raises(RuntimeError, match=r"[Dd]imension"):
            make(2, -3)


def test_big_and_empty() -> None:
    assert torch.zeros(300, 300).sum().item() == 0
    assert torch.ones(100_000).sum().item() == 100_000
    assert torch.zeros(0, 5).sum().item() == 0
    assert torch.ones(0).prod().item() == 1


def test_facts() -> None:
    x = torch.zeros(2, 3, dtype=torch.float16)
    assert (x.ndim, x.dim(), x.numel(), x.nelement()) == (2, 2, 6, 6)
    assert (x.size(), x.size(1), x.size(-2)) == (torch.Size([2, 3]), 3, 2)
    assert (x.element_size(), x.itemsize, x.nbytes) == (2, 2, 12)
    assert x.is_floating_point() and not torch.is_floating_point(torch.zeros(1, dtype=torch.int8))
    assert torch.is_tensor(x) and not torch.is_tensor([1])
    assert isinstance(x, torch.Tensor)
    assert x.shape[0] == 2 and x.shape[-1:] == (3,) and x.shape.numel() == 6
    assert torch.finfo(torch.float32).eps == 2**-23 and torch.iinfo(torch.int8).max == 127
    assert torch.float32.is_floating_point and torch.float32.itemsize == 4
    assert str(torch.float32) == "torch.float32" and torch.float is torch.float32
    with pytest.raises(IndexError, match="Dimension out of range"):
        x.size(2)
