"""Bad input: PyTorch's class and words at the user's line; afterwards all goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tabgrad as torch

CASES: list[tuple[Callable[[], Any], type, str | None]] = [
    (lambda: torch.ones(2, 3) + torch.ones(4), RuntimeError,
     r"The size of tensor a \(3\) must match the size of tensor b \(4\) at "
     r"non-singleton dimension 1"),
    (lambda: torch.ones(2, 3) @ torch.ones(2, 3), RuntimeError,
     r"mat1 and mat2 shapes cannot be multiplied \(2x3 and 2x3\)"),
    (lambda: torch.ones(2).sum(1), IndexError,
     r"Dimension out of range \(expected to be in range of \[-1, 0\], but got 1\)"),
    (lambda: torch.ones(6).view(4), RuntimeError, r"shape '\[4\]' is invalid for input of size 6"),
    (lambda: torch.ones(2)[5], IndexError, "index 5 is out of bounds for dimension 0 with size 2"),
    (lambda: torch.cat([torch.ones(2, 2), torch.ones(3, 3)]), RuntimeError,
     "Sizes of tensors must match except in dimension 0"),
    (lambda: torch.ones(2).fooo(), AttributeError, "'Tensor' object has no attribute 'fooo'"),
    (lambda: torch.fooo(), AttributeError, "has no attribute 'fooo'"),
    (lambda: torch.ones(2) + "a", TypeError, None),
    (lambda: torch.ones(2) + None, TypeError, None),
    (lambda: torch.add(torch.ones(2), [1, 2]), TypeError, None),
    (lambda: torch.zeros("a"), TypeError, None),
    (lambda: torch.zeros(2.5), TypeError, None),
    (lambda: torch.ones(2, 2).T.view(4), RuntimeError, "view size is not compatible with input"),
    (lambda: torch.ones(3).expand(2, 2), RuntimeError, r"The expanded size of the "
                                                       r"tensor \(2\) must "
     r"match the existing size \(3\) at non-singleton dimension 1"),
    (lambda: torch.ones(2) & torch.ones(2), RuntimeError, "not implemented for 'Float'"),
    (lambda: torch.tensor([1]).mean(), RuntimeError,
     r"mean\(\): could not infer output dtype. Input dtype must be either a floating "
     r"point or complex"),
    (lambda: torch.ones(2).repeat_interleave(-1), RuntimeError, "Repeats must be non-negative"),
    (lambda: torch.ones(2).repeat_interleave(torch.tensor([1, -1])), RuntimeError,
     "repeats can not be negative"),
    (lambda: torch.repeat_interleave(torch.tensor([1, -1])), RuntimeError,
     "repeats can not be negative"),
    (lambda: torch.tensor([1]) // 0, RuntimeError, "ZeroDivisionError"),
    (lambda: torch.tensor([1]) % 0, RuntimeError, "ZeroDivisionError"),
    (lambda: torch.ones(2, requires_grad=True).numpy(), RuntimeError, r"Use "
                                                                      r"tensor.detach\(\).numpy"),
    (lambda: torch.ones(2).to("abc"), RuntimeError, "device"),
    (lambda: torch.einsum("ij,jk", torch.ones(2, 2)), RuntimeError, "fewer operands were provided"),
    (lambda: torch.stack([]), RuntimeError, "stack expects a non-empty TensorList"),
    (lambda: torch.ones(3).topk(5), RuntimeError, "selected index k out of range"),
    (lambda: torch.ones(2, 3).t_().add_(torch.ones(5)), RuntimeError, "must match "
                                                                      "the size of tensor"),
    (lambda: torch.arange(0, 5, 0), RuntimeError, "step must be nonzero"),
    (lambda: torch.ones(2).permute(0, 1), RuntimeError, "number of dimensions in the tensor input"),
    (lambda: torch.ones(2, 2, 2).t(), RuntimeError, "expects a tensor with <= 2 dimensions"),
    (lambda: bool(torch.ones(2)), RuntimeError, "Boolean value of Tensor with more than one value"),
    (lambda: torch.ones(2).squeeze(3), IndexError, "Dimension out of range"),
    (lambda: torch.full((2,), 1.0, dtype="float32"), TypeError, None),
    (lambda: torch.where(torch.ones(2), torch.ones(2), 1.0), RuntimeError, "boolean tensor"),
    (lambda: torch.ones(2).masked_fill(torch.ones(2), 0.0), RuntimeError, "only supports boolean"),
    (lambda: -torch.tensor([True]), RuntimeError, r"Negation, the `-` operator, on a bool tensor"),
    (lambda: torch.tensor([True]) - torch.tensor([True]), RuntimeError, "Subtraction, the `-`"),
    (lambda: torch.tensor([2]) ** -1, RuntimeError, "Integers to negative integer powers"),
    (lambda: torch.ones(2).split(-1), RuntimeError, "split expects split_size be non-negative"),
    (lambda: hash({torch.ones(1): 1}), TypeError, "unhashable type: 'dict'"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(CASES)))
def test_bad_input(number: int) -> None:
    call, cls, text = CASES[number]
    with pytest.raises(cls, match=text):
        got = call()
        getattr(got, "tolist", list)()  # what is only known on the device is told at the read
    assert (torch.ones(2) + 1).tolist() == [2, 2]


def test_error_points_at_the_user() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.ones(2) + torch.ones(3)
    assert caught.traceback[0].path.name == "test_errors.py"


def test_float64(device: str) -> None:
    """Refused where the device lacks it, naming the way out; exact where it does not."""
    if device == "webgpu":
        for make in (
            lambda: torch.ones(2, dtype=torch.float64),
            lambda: torch.ones(2).double(),
            lambda: torch.tensor([0.1], dtype=torch.float64),
            lambda: torch.ones(2).to(torch.float64).tolist(),
            lambda: torch.ones(2, dtype=torch.float64, device="cpu").to("webgpu"),
        ):
            with pytest.raises(TypeError, match="float32"):
                make()
    else:
        x = torch.tensor([0.1, 1e300], dtype=torch.float64)
        assert x.tolist() == [0.1, 1e300]
        assert (x * 3).tolist() == [0.1 * 3, 3e300]
    assert torch.ones(2).tolist() == [1, 1]


def test_int64(device: str) -> None:
    """Exact on the host; on webgpu 32 bits, and loud about every number beyond."""
    big = 1 << 40
    if device == "webgpu":
        with pytest.raises(OverflowError):
            torch.tensor([big]).tolist()
        x = torch.tensor([2_000_000_000, 5])
        for call in (lambda: x + x, lambda: x * 3, lambda: -x - x, lambda: x.sum() + x[0] * 2):
            with pytest.raises(OverflowError):
                call().tolist()
        assert (x - 1).tolist() == [1_999_999_999, 4]
        assert x.to("cpu").mul(4).tolist() == [8_000_000_000, 20]
    elif device != "auto":  # which can be either: test_auto.py
        assert (torch.tensor([big]) * 5 + 1).tolist() == [big * 5 + 1]
        assert torch.tensor([2_000_000_000, 2_000_000_000]).sum().item() == 4_000_000_000
    assert torch.tensor([7, -7], dtype=torch.int64).tolist() == [7, -7]


def test_int32_wraps() -> None:
    x = torch.tensor([2**31 - 1], dtype=torch.int32)
    assert (x + 1).tolist() == [-(2**31)]
    y = torch.tensor([200], dtype=torch.uint8)
    assert (y + y).tolist() == [144]
    assert (torch.tensor([100], dtype=torch.int8) * 2).tolist() == [-56]


def test_two_devices(device: str) -> None:
    if torch.device(device) == torch.device("cpu"):
        assert (torch.ones(2) + torch.ones(2, device="cpu")).tolist() == [2, 2]
        return
    if torch.ones(1).device == torch.ones(1, device="cpu").device:
        return
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same "
                                           "device, but found "
                       "at least two devices"):  # fmt: skip
        torch.ones(2) + torch.ones(2, device="cpu")
    assert (torch.ones(2) + torch.tensor(1.0, device="cpu")).tolist() == [2, 2]


@pytest.fixture
def reopened(device: str) -> Iterator[None]:
    """Whatever happens to the device, the next test finds one."""
    yield
    torch.set_default_device(device)
    assert (torch.ones(2) + 1).tolist() == [2, 2]


@pytest.mark.usefixtures("reopened")
def test_lost_device() -> None:
    """What has a host copy goes on; what has not says so; new work runs."""
    made = torch.runtime.default_device()
    if str(getattr(made, "sides", (made,))[-1]) != "webgpu":
        with pytest.raises(RuntimeError, match="webgpu"):
            torch.testing.lose_device()
        return
    weights = torch.tensor([1.0, 2.0, 3.0])
    computed = weights * 2
    assert computed.tolist() == [2, 4, 6]
    torch.testing.lose_device()
    assert (torch.ones(3) + 1).tolist() == [2, 2, 2]
    try:
        again = (weights * 10).tolist()
    except RuntimeError as error:
        assert "lost" in str(error)
    else:
        assert again == [10, 20, 30]
    try:
        kept = (computed + 0).tolist()
    except RuntimeError as error:
        assert "lost" in str(error)
    else:
        assert kept == [2, 4, 6]
