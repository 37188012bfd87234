"""Linear maps and convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ...functions.reduction import label
from ...ops import functional as _ops
from ...shape import Shape
from ...tensor import Tensor
from ._loss import _title
from ._shape import pad


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x · Wᵀ + b

    Args:
        input: (…, in_features).
        weight: (out_features, in_features) or (in_features,).
        bias: (out_features,).

    Examples::

        >>> F.linear(torch.ones(1, 2), torch.tensor([[1.0, 2.0]]), torch.tensor([0.5]))
        tensor([[3.5000]])
    """
    out = input.matmul(weight if weight.ndim < 2 else weight.t())
    if bias is None:
        return out
    return label(out + bias, "AddmmBackward0") if out.ndim == 2 else out + bias


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1ᵀ · Wₖ · x2 for each output k"""
    left = input1.matmul(weight.permute(1, 0, 2).reshape(weight.shape[1], -1))
    left = left.reshape(*left.shape[:-1], weight.shape[0], weight.shape[2])
    out = (left * input2.unsqueeze(-2)).sum(-1)
    return out if bias is None else out + bias


def _tuple(value: Any, n: int) -> tuple[int, ...]:
    """One number for all dimensions, or one for each."""
    if isinstance(value, int):
        return (int(value),) * n
    if isinstance(value, _SEQUENCES):
        return tuple(value) * n if len(value) == 1 else tuple(value)
    return (int(value),) * n


_SEQUENCES = (tuple, Sequence)  # the quick one first


def _same_padding(
    x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[Tensor, tuple[int, ...]]:
    """Padding for an output of the input's size; what is lopsided is added to the input."""
    if any(s != 1 for s in stride):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if any(total % 2 for total in totals):
        x = pad(x, [n for total in reversed(totals) for n in (0, total % 2)])
    return x, tuple(total // 2 for total in totals)


def _batched(x: Tensor, n: int, name: str, what: str = "input") -> tuple[Tensor, bool]:
    """The input with a batch dimension, and whether it lacked one."""
    if x.ndim == n + 1:
        return x.unsqueeze(0), True
    if x.ndim != n + 2:
        raise RuntimeError(
            f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) {what} to {name}, but got input "
            f"of size: {list(x.shape)}"
        )
    return x, False


def _check_dtypes(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    if x.dtype != weight.dtype:
        raise RuntimeError(f"expected scalar type {_title(x)} but found {_title(weight)}")
    if bias is not None and bias.dtype != x.dtype:
        raise RuntimeError(
            f"Input type ({_title(x).lower()}) and bias type ({_title(bias).lower()}) should be "
            "the same"
        )


@lru_cache(1024)
def _check_conv(x: Shape, weight: Shape, padding: Shape, dilation: Shape, groups: int) -> None:
    channels, want = x[1], weight[1] * groups
    if channels != want:
        raise RuntimeError(
            f"Given groups={groups}, weight of size {list(weight)}, expected "
            f"input{list(x)} to have {want} channels, but got {channels} channels instead"
        )
    padded = [n + 2 * p for n, p in zip(x[2:], padding, strict=True)]
    spans = [d * (k - 1) + 1 for k, d in zip(weight[2:], dilation, strict=True)]
    if any(n < span for n, span in zip(padded, spans, strict=True)):
        sizes, kernel = (" x ".join(map(str, s)) for s in (padded, spans))
        raise RuntimeError(
            f"Calculated padded input size per channel: ({sizes}). Kernel size: ({kernel}). "
            "Kernel size can't be greater than actual input size"
        )


def _conv(
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Tensor:
    """The n-dimensional convolution in terms of the 2-dimensional one."""
    _check_dtypes(input, weight, bias)
    x, unbatched = _batched(input, n, f"conv{n}d")
    stride, dilation = _tuple(stride, n), _tuple(dilation, n)
    if padding == "same":
        x, padding = _same_padding(x, tuple(weight.shape[2:]), stride, dilation)
    elif isinstance(padding, str):
        if padding != "valid":
            raise RuntimeError(f"Invalid padding string: '{padding}'")
        padding = 0
    padding = _tuple(padding, n)
    _check_conv(x._shape, weight._shape, padding, dilation, groups)
    out = _CONVS[n](x, weight, stride, padding, dilation, groups)
    if bias is not None:
        out = out + bias.reshape(-1, *(1,) * n)
    return out.squeeze(0) if unbatched else out


def _conv1(x: Tensor, w: Tensor, stride: Any, padding: Any, dilation: Any, groups: int) -> Tensor:
    out = _ops.conv2d(
        x.unsqueeze(2), w.unsqueeze(2), (1, *stride), (0, *padding), (1, *dilation), groups
    )
    return out.squeeze(2)


def _conv3(x: Tensor, w: Tensor, stride: Any, padding: Any, dilation: Any, groups: int) -> Tensor:
    """The sum over the kernel's depth of 2-d convolutions that take the depth as batch."""
    if padding[0]:
        x = pad(x, (0, 0, 0, 0, padding[0], padding[0]))
    depth = (x.shape[2] - dilation[0] * (w.shape[2] - 1) - 1) // stride[0] + 1
    total = None
    for k in range(w.shape[2]):
        start = k * dilation[0]
        part = x[:, :, start : start + (depth - 1) * stride[0] + 1 : stride[0]].transpose(1, 2)
        flat = part.reshape(-1, *part.shape[2:])
        out = _ops.conv2d(flat, w[:, :, k], stride[1:], padding[1:], dilation[1:], groups)
        total = out if total is None else total + out
    assert total is not None
    return total.reshape(x.shape[0], depth, *total.shape[1:]).transpose(1, 2)


_CONVS: dict[int, Any] = {1: _conv1, 2: _ops.conv2d, 3: _conv3}


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of (N, C, L) with (O, C / groups, K)"""
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of (N, C, H, W) with (O, C / groups, KH, KW)

    Args:
        input: (N, C, H, W) or (C, H, W).
        weight: (O, C / groups, KH, KW).
        bias: (O,).
        stride: step of the window.
        padding: zeros on both sides, or ``"same"``, ``"valid"``.
        dilation: step within the window.
        groups: parts of the channels that do not see each other.

    Examples::

        >>> F.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2))
        tensor([[[[4., 4.],
                  [4., 4.]]]])
    """
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of (N, C, D, H, W) with (O, C / groups, KD, KH, KW)"""
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


def _conv_transpose(
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    """The map that is the gradient of the convolution with respect to its input."""
    name = f"conv_transpose{n}d"
    _check_dtypes(input, weight, bias)
    x, unbatched = _batched(input, n, name)
    stride, padding, dilation = (_tuple(v, n) for v in (stride, padding, dilation))
    extra = _tuple(output_padding, n)
    if x.shape[1] != weight.shape[0]:
        raise RuntimeError(
            f"Given transposed=1, weight of size {list(weight.shape)}, expected "
            f"input{list(x.shape)} to have {weight.shape[0]} channels, but got {x.shape[1]} "
            "channels instead"
        )
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise RuntimeError(
            "output padding must be smaller than either stride or dilation, but got "
            f"{_labelled('output_padding_', extra)} {_labelled('stride_', stride)} "
            f"{_labelled('dilation_', dilation)}"
        )
    kernel = weight.shape[2:]
    size = tuple(
        (x.shape[2 + i] - 1) * stride[i] - 2 * padding[i] + dilation[i] * (kernel[i] - 1)
        + extra[i] + 1
        for i in range(n)
    )  # fmt: skip
    if n == 1:
        x, weight, size = x.unsqueeze(2), weight.unsqueeze(2), (1, *size)
        stride, padding, dilation = (1, *stride), (0, *padding), (1, *dilation)
    out = _ops.conv2d_input(x, weight, size, stride, padding, dilation, groups)
    out = out.squeeze(2) if n == 1 else out
    if bias is not None:
        out = out + bias.reshape(-1, *(1,) * n)
    return out.squeeze(0) if unbatched else out


def _labelled(prefix: str, values: Sequence[int]) -> str:
    names = ("height", "width")[-len(values) :]
    return " ".join(f"{prefix}{n}: {v}" for n, v in zip(names, values, strict=True))


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution of (N, C, L) with (C, O / groups, K)"""
    return _conv_transpose(
        1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution of (N, C, H, W) with (C, O / groups, KH, KW)

    Examples::

        >>> F.conv_transpose2d(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 2, 2), stride=2).shape
        torch.Size([1, 1, 2, 2])
    """
    return _conv_transpose(
        2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )
