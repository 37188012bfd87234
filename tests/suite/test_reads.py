"""Values leave the device: item, tolist, numpy, bool, len, print, with and without await."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import tabgrad as torch


def test_item() -> None:
    assert torch.tensor(2.5).item() == 2.5
    assert torch.tensor([[7]]).item() == 7
    assert torch.tensor(True).item() is True
    assert isinstance(torch.tensor(7).item(), int) and isinstance(torch.tensor(7.0).item(), float)
    for shape, n in (((2,), 2), ((0,), 0)):
        with pytest.raises(RuntimeError, match=f"a Tensor with {n} elements cannot be converted to "
                           "Scalar"):  # fmt: skip
            torch.zeros(shape).item()


def test_tolist() -> None:
    assert torch.tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert torch.tensor(1.5).tolist() == 1.5
    assert torch.zeros(2, 0).tolist() == [[], []]
    assert torch.zeros(0, 2).tolist() == []
    assert torch.tensor([True, False]).tolist() == [True, False]
    assert torch.arange(6).reshape(2, 3).T.tolist() == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "float16",
                                   "bfloat16", "float32"])  # fmt: skip
def test_every_dtype_survives(dtype: str) -> None:
    values = {"bool": [True, False], "uint8": [0, 255, 7], "int8": [-128, 127, 0]}.get(
        dtype, [-3, 0, 100]
    )
    x = torch.tensor(values, dtype=getattr(torch, dtype))
    assert x.dtype is getattr(torch, dtype)
    assert x.tolist() == values
    assert x[1:].tolist() == values[1:]
    assert x.flip(0).tolist() == values[::-1]


def test_exact_floats() -> None:
    values = [0.1, 1e-30, 3.4e38, -0.0, 2.0**-126, 16777217.0]
    got = torch.tensor(values).tolist()
    assert got[0] == 0.10000000149011612 and got[5] == 16777216.0
    assert str(got[3]) == "-0.0"
    assert torch.tensor([65504.0, 6e-8], dtype=torch.float16).tolist() == [
        65504.0,
        5.960464477539063e-08,
    ]
    assert torch.tensor([1.00390625, 3.0e38], dtype=torch.bfloat16).tolist()[0] == 1.0
    assert torch.tensor([float("inf"), -float("inf")]).tolist() == [float("inf"), -float("inf")]
    assert torch.tensor([float("nan")]).isnan().item()


def test_bool_and_numbers() -> None:
    assert torch.tensor(1) and not torch.tensor([0.0])
    assert bool(torch.tensor([[True]]))
    with pytest.raises(RuntimeError, match="Boolean value of Tensor with more than one value is "
                       "ambiguous"):  # fmt: skip
        bool(torch.ones(2))
    with pytest.raises(RuntimeError, match="Boolean value of Tensor with no values is ambiguous"):
        bool(torch.ones(0))
    assert int(torch.tensor(3.7)) == 3 and float(torch.tensor(3)) == 3.0
    assert f"{torch.tensor(3.14159):.2f}" == "3.14"
    assert round(float(torch.tensor(2.5)), 1) == 2.5
    assert [10, 20][torch.tensor(1)] == 20


def test_print() -> None:
    assert repr(torch.tensor([1.0, 2.5])) == "tensor([1.0000, 2.5000])"
    assert repr(torch.arange(3)) == "tensor([0, 1, 2])"
    assert repr(torch.tensor([True])) == "tensor([True])"
    assert repr(torch.zeros(2, 0)) == "tensor([], size=(2, 0))"
    assert repr(torch.zeros(2, dtype=torch.float16)) == "tensor([0., 0.], dtype=torch.float16)"
    x = torch.ones(2, requires_grad=True)
    assert repr(x) == "tensor([1., 1.], requires_grad=True)"
    assert repr(x * 2) == "tensor([2., 2.], grad_fn=<MulBackward0>)"
    assert repr(torch.tensor(3.5)) == "tensor(3.5000)"
    assert repr(torch.tensor([1e-5, 1.0])) == "tensor([1.0000e-05, 1.0000e+00])"
    assert repr(torch.tensor([float("nan"), 1.0])) == "tensor([nan, 1.])"
    assert str(torch.arange(1001)) == "tensor([   0,    1,    2,  ...,  998,  999, 1000])"
    assert repr(torch.arange(4.0).reshape(2, 2)) == "tensor([[0., 1.],\n        [2., 3.]])"
    assert repr(torch.Size([2, 3])) == "torch.Size([2, 3])"
    assert f"{torch.tensor([1, 2])}" == "tensor([1, 2])"


def test_print_options() -> None:
    try:
        torch.set_printoptions(precision=2, sci_mode=False)
        assert repr(torch.tensor([1.23456, 1e-7])) == "tensor([1.23, 0.00])"
        torch.set_printoptions(threshold=4, edgeitems=1)
        assert repr(torch.arange(9)) == "tensor([0,  ..., 8])"
        torch.set_printoptions(profile="full")
        assert "..." not in repr(torch.zeros(1100))
    finally:
        torch.set_printoptions(profile="default")


def test_numpy() -> None:
    np = __import__("numpy")
    x = torch.arange(6.0).reshape(2, 3)
    a = x.numpy()
    assert a.dtype == np.float32 and a.shape == (2, 3) and a.tolist() == x.tolist()
    assert np.asarray(x.T).tolist() == x.T.tolist()
    assert torch.tensor([1, 2]).numpy().dtype == np.int64
    assert torch.tensor([True]).numpy().dtype == np.bool_
    assert torch.zeros(2, dtype=torch.float16).numpy().dtype == np.float16
    assert torch.zeros(0, 3).numpy().shape == (0, 3)
    with pytest.raises(RuntimeError, match=r"Can't call numpy\(\) on Tensor that "
                                           r"requires grad. Use "
                       r"tensor.detach\(\).numpy\(\) instead."):  # fmt: skip
        x.clone().requires_grad_().numpy()
    with pytest.raises(TypeError, match="Got unsupported ScalarType BFloat16"):
        torch.zeros(2, dtype=torch.bfloat16).numpy()


def test_from_numpy() -> None:
    np = __import__("numpy")
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert torch.from_numpy(a).tolist() == a.tolist()
    assert torch.from_numpy(a.T).tolist() == a.T.tolist()
    assert torch.from_numpy(a[:, ::-1].copy()).tolist() == a[:, ::-1].tolist()
    for name in ("int64", "int32", "int16", "int8", "uint8", "bool", "float16"):
        x = torch.from_numpy(np.ones(3, dtype=name))
        assert x.dtype is getattr(torch, name)
    assert torch.tensor(np.float32(2.5)).dtype is torch.float32
    assert torch.tensor(a[0]).tolist() == [0, 1, 2]
    assert torch.as_tensor(a).shape == (2, 3)
    with pytest.raises(TypeError, match=r"expected np.ndarray"):
        torch.from_numpy([1, 2])


def test_iteration() -> None:
    assert [x.item() for x in torch.arange(3)] == [0, 1, 2]
    assert [r.tolist() for r in torch.ones(2, 2)] == [[1, 1], [1, 1]]
    assert len(torch.zeros(4, 2)) == 4
    assert max(torch.tensor([1, 5, 3])).item() == 5
    assert sum(torch.ones(3)).item() == 3


def test_reads_see_all_writes_so_far() -> None:
    x = torch.zeros(3)
    seen = []
    for i in range(4):
        x[i % 3] += 1
        seen.append(x.tolist())
    assert seen == [[1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1]]


def test_copying_and_pickling() -> None:
    x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    y = copy.deepcopy(x)
    assert y.tolist() == x.tolist() and y.requires_grad and y is not x
    with torch.no_grad():
        y.zero_()
    assert x.tolist() == [[1, 2]]
    z = pickle.loads(pickle.dumps(x))
    assert z.tolist() == x.tolist() and z.requires_grad and z.dtype is x.dtype
    with pytest.raises(RuntimeError, match="Only Tensors created explicitly by the user"):
        copy.deepcopy(x * 2)


def test_equality_of_whole_tensors() -> None:
    x = torch.tensor([1.0, 2.0])
    assert torch.equal(x, x.clone()) and not torch.equal(x, x[:1])
    assert torch.allclose(x, x + 1e-7) and not torch.allclose(x, x + 1)


async def test_async_reads() -> None:
    x = torch.arange(6.0).reshape(2, 3) * 2
    assert (await x.numpy_async()).tolist() == x.tolist()
    assert await x.tolist_async() == x.tolist()
    assert await x[1, 2].item_async() == 10
    data: Any = await x.data()
    assert list(data) == [0, 2, 4, 6, 8, 10]
    assert list(await torch.tensor([3, 4], dtype=torch.int32).data()) == [3, 4]
