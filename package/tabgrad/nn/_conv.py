"""Convolutions and their transposes."""

from __future__ import annotations

import math
from typing import Any

from .. import creation
from ..tensor import Tensor
from . import functional as F
from . import init
from .functional._conv import _tuple
from .module import Module
from .parameter import Parameter

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What all convolutions share: arguments, weights, initialisation, repr."""

    n: int
    transposed = False
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        output_padding: Any = 0,
    ) -> None:
        super().__init__()
        self._check(in_channels, out_channels, groups, padding, stride, padding_mode)
        n = self.n
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _tuple(kernel_size, n)
        self.stride = _tuple(stride, n)
        self.padding = padding if isinstance(padding, str) else _tuple(padding, n)
        self.dilation = _tuple(dilation, n)
        self.output_padding = _tuple(output_padding, n)
        self.groups = groups
        self.padding_mode = padding_mode
        first, second = (
            (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        )
        kw = {"device": device, "dtype": dtype}
        shape = (first, second // groups, *self.kernel_size)
        self.weight = Parameter(creation.empty(shape, **kw))
        self.register_parameter(
            "bias", Parameter(creation.empty(out_channels, **kw)) if bias else None
        )
        self.reset_parameters()

    def _check(
        self, inside: int, outside: int, groups: int, padding: Any, stride: Any, mode: str
    ) -> None:
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if inside % groups:
            raise ValueError("in_channels must be divisible by groups")
        if outside % groups:
            raise ValueError("out_channels must be divisible by groups")
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(
                    f"Invalid padding string '{padding}', should be one of {{'same', 'valid'}}"
                )
            if padding == "same" and any(s != 1 for s in _tuple(stride, self.n)):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if mode not in _PADDING_MODES:
            raise ValueError(
                f"padding_mode must be one of {set(_PADDING_MODES)}, but got padding_mode='{mode}'"
            )

    def reset_parameters(self) -> None:
        """Draws weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def _sides(self) -> list[int]:
        """The padding as F.pad wants it: last dimension first, both sides."""
        if self.padding == "valid":
            return [0, 0] * self.n
        if not isinstance(self.padding, str):
            return [p for p in reversed(self.padding) for _ in range(2)]
        sides: list[int] = []
        for d, k in zip(reversed(self.dilation), reversed(self.kernel_size), strict=True):
            total = d * (k - 1)
            sides += [total // 2, total - total // 2]
        return sides

    def forward(self, input: Tensor) -> Tensor:
        conv = (F.conv1d, F.conv2d, F.conv3d)[self.n - 1]
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._sides(), mode=self.padding_mode)
            padding = 0
        return conv(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        ones, zeros = (1,) * self.n, (0,) * self.n
        if self.padding != zeros:
            text += f", padding={self.padding}"
        if self.dilation != ones:
            text += f", dilation={self.dilation}"
        if self.output_padding != zeros:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class Conv1d(_ConvNd):
    """Cross-correlation along one dimension; arguments as of :class:`Conv2d`.

    Shape:
        (N, C_in, L) or (C_in, L) to (N, C_out, L') or (C_out, L').

    Examples::

        >>> nn.Conv1d(2, 4, 3, padding=1)(torch.randn(1, 2, 8)).shape
        torch.Size([1, 4, 8])
    """

    n = 1


class Conv2d(_ConvNd):
    """Cross-correlation over two dimensions: out[o] = bias[o] + Σ weight[o, c] ⋆ input[c]

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: size of the window, a number or (height, width).
        stride: step of the window.
        padding: how much is added on both sides, or ``"same"``, ``"valid"``.
        dilation: step within the window.
        groups: parts of the channels that do not see each other.
        bias: whether a bias is learnt.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.

    Shape:
        (N, C_in, H, W) or (C_in, H, W) to (N, C_out, H', W') or (C_out, H', W'), where
        H' = ⌊(H + 2 · padding − dilation · (kernel − 1) − 1) / stride⌋ + 1.

    Attributes:
        weight: (out_channels, in_channels / groups, height, width), drawn uniformly from
            ±1/√(in_channels / groups · height · width).
        bias: (out_channels,), drawn alike.

    Examples::

        >>> nn.Conv2d(3, 8, 3, stride=2)(torch.randn(1, 3, 9, 9)).shape
        torch.Size([1, 8, 4, 4])
    """

    n = 2


class Conv3d(_ConvNd):
    """Cross-correlation over three dimensions; arguments as of :class:`Conv2d`.

    Shape:
        (N, C_in, D, H, W) or (C_in, D, H, W) to (N, C_out, D', H', W') or (C_out, D', H', W').

    Examples::

        >>> nn.Conv3d(1, 2, 2)(torch.randn(1, 1, 3, 4, 5)).shape
        torch.Size([1, 2, 2, 3, 4])
    """

    n = 3


class _ConvTransposeNd(_ConvNd):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, device, dtype, output_padding,
        )  # fmt: skip

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        conv = (F.conv_transpose1d, F.conv_transpose2d)[self.n - 1]
        extra = self.output_padding if output_size is None else self._extra(input, output_size)
        return conv(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups,
            self.dilation,
        )  # fmt: skip

    def _extra(self, x: Tensor, output_size: Any) -> tuple[int, ...]:
        """The output padding that gives the size asked for."""
        wanted = tuple(output_size)[-self.n :]
        extra = []
        for i, size in enumerate(wanted):
            k, s, p, d = self.kernel_size[i], self.stride[i], self.padding[i], self.dilation[i]
            smallest = (x.shape[i - self.n] - 1) * s - 2 * p + d * (k - 1) + 1
            if not smallest <= size < smallest + s:
                raise ValueError(
                    f"requested an output size of {wanted}, but dimension {i} can only be from "
                    f"{smallest} to {smallest + s - 1} (for an input of {x.size()[2:]})"
                )
            extra.append(size - smallest)
        return tuple(extra)


class ConvTranspose1d(_ConvTransposeNd):
    """Transposed convolution along one dimension; arguments as of :class:`ConvTranspose2d`.

    Examples::

        >>> nn.ConvTranspose1d(2, 4, 2, stride=2)(torch.randn(1, 2, 8)).shape
        torch.Size([1, 4, 16])
    """

    n = 1


class ConvTranspose2d(_ConvTransposeNd):
    """The map that is the gradient of a convolution with respect to its input.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: size of the window.
        stride: distance between the windows in the output.
        padding: how much of the output is cut off on both sides.
        output_padding: how much is added at its end.
        groups: parts of the channels that do not see each other.
        bias: whether a bias is learnt.
        dilation: step within the window.

    Shape:
        (N, C_in, H, W) to (N, C_out, H', W'), where
        H' = (H − 1) · stride − 2 · padding + dilation · (kernel − 1) + output_padding + 1.

    Examples::

        >>> nn.ConvTranspose2d(3, 2, 4, stride=2, padding=1)(torch.randn(1, 3, 5, 5)).shape
        torch.Size([1, 2, 10, 10])
    """

    n = 2
