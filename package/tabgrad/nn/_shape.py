"""Layers that rearrange: flatten, pad, resize, shuffle pixels, unfold."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from . import functional as F
from .module import Module


class Flatten(Module):
    """Dimensions from ``start_dim`` to ``end_dim`` become one.

    Examples::

        >>> nn.Flatten()(torch.ones(2, 3, 4)).shape
        torch.Size([2, 12])
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One dimension becomes several.

    Examples::

        >>> nn.Unflatten(1, (3, 4))(torch.ones(2, 12)).shape
        torch.Size([2, 3, 4])
    """

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        super().__init__()
        if not isinstance(dim, int):
            raise TypeError("'dim' must be an int: dimensions have no names here")
        for i, n in enumerate(unflattened_size):
            if not isinstance(n, int):
                raise TypeError(
                    "unflattened_size must be tuple of ints, but found element of type "
                    f"{type(n).__name__} at pos {i}"
                )
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class _PadNd(Module):
    """Padding by one number or by one for each side."""

    n: int
    mode = "constant"
    value: float = 0.0

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = (padding,) * (2 * self.n) if isinstance(padding, int) else tuple(padding)

    def forward(self, input: Tensor) -> Tensor:
        value = self.value if self.mode == "constant" else None
        return F.pad(input, self.padding, self.mode, value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPadNd(_PadNd):
    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """Adds a constant on both sides of the last dimension.

    Examples::

        >>> nn.ConstantPad1d(1, 7.0)(torch.zeros(1, 2))
        tensor([[7., 0., 0., 7.]])
    """

    n = 1


class ConstantPad2d(_ConstantPadNd):
    """Adds a constant around the last two dimensions.

    Examples::

        >>> nn.ConstantPad2d(1, 7.0)(torch.zeros(1, 2, 2)).shape
        torch.Size([1, 4, 4])
    """

    n = 2


class ConstantPad3d(_ConstantPadNd):
    """Adds a constant around the last three dimensions.

    Examples::

        >>> nn.ConstantPad3d(1, 7.0)(torch.zeros(1, 2, 2, 2)).shape
        torch.Size([1, 4, 4, 4])
    """

    n = 3


class ZeroPad1d(_PadNd):
    """Adds zeros on both sides of the last dimension.

    Examples::

        >>> nn.ZeroPad1d((1, 0))(torch.ones(1, 2))
        tensor([[0., 1., 1.]])
    """

    n = 1


class ZeroPad2d(_PadNd):
    """Adds zeros around the last two dimensions.

    Examples::

        >>> nn.ZeroPad2d(2)(torch.ones(1, 1, 1, 1)).shape
        torch.Size([1, 1, 5, 5])
    """

    n = 2


class ZeroPad3d(_PadNd):
    """Adds zeros around the last three dimensions.

    Examples::

        >>> nn.ZeroPad3d(1)(torch.ones(1, 1, 1, 1)).shape
        torch.Size([1, 3, 3, 3])
    """

    n = 3


class ReflectionPad1d(_PadNd):
    """Adds the mirrored neighbours on both sides of the last dimension.

    Examples::

        >>> nn.ReflectionPad1d(1)(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[2., 1., 2., 3., 2.]])
    """

    n, mode = 1, "reflect"


class ReflectionPad2d(_PadNd):
    """Adds the mirrored neighbours around the last two dimensions.

    Examples::

        >>> nn.ReflectionPad2d(1)(torch.ones(1, 2, 2)).shape
        torch.Size([1, 4, 4])
    """

    n, mode = 2, "reflect"


class ReplicationPad1d(_PadNd):
    """Repeats the edge on both sides of the last dimension.

    Examples::

        >>> nn.ReplicationPad1d(1)(torch.tensor([[1.0, 2.0]]))
        tensor([[1., 1., 2., 2.]])
    """

    n, mode = 1, "replicate"


class ReplicationPad2d(_PadNd):
    """Repeats the edge around the last two dimensions.

    Examples::

        >>> nn.ReplicationPad2d(1)(torch.ones(1, 2, 2)).shape
        torch.Size([1, 4, 4])
    """

    n, mode = 2, "replicate"


class CircularPad1d(_PadNd):
    """Continues with the other end on both sides of the last dimension.

    Examples::

        >>> nn.CircularPad1d(1)(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[3., 1., 2., 3., 1.]])
    """

    n, mode = 1, "circular"


class CircularPad2d(_PadNd):
    """Continues with the other end around the last two dimensions.

    Examples::

        >>> nn.CircularPad2d(1)(torch.ones(1, 2, 2)).shape
        torch.Size([1, 4, 4])
    """

    n, mode = 2, "circular"


class Upsample(Module):
    """The input resized in its spatial dimensions.

    Args:
        size: the sizes wanted.
        scale_factor: or the factors.
        mode: as of :func:`functional.interpolate`.
        align_corners: whether the corner pixels' centres keep their values.

    Examples::

        >>> nn.Upsample(scale_factor=2)(torch.ones(1, 1, 2, 2)).shape
        torch.Size([1, 1, 4, 4])
    """

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        if isinstance(scale_factor, tuple):
            self.scale_factor: Any = tuple(float(factor) for factor in scale_factor)
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners,
            self.recompute_scale_factor,
        )  # fmt: skip

    def extra_repr(self) -> str:
        if self.scale_factor is not None:
            return f"scale_factor={self.scale_factor!r}, mode={self.mode!r}"
        return f"size={self.size!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Nearest-neighbour resizing of (N, C, H, W).

    Examples::

        >>> nn.UpsamplingNearest2d(scale_factor=2)(torch.ones(1, 1, 1, 1)).shape
        torch.Size([1, 1, 2, 2])
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Bilinear resizing of (N, C, H, W) with aligned corners.

    Examples::

        >>> nn.UpsamplingBilinear2d(scale_factor=2)(torch.ones(1, 1, 1, 1)).shape
        torch.Size([1, 1, 2, 2])
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)


class PixelShuffle(Module):
    """(…, C·r², H, W) to (…, C, H·r, W·r).

    Examples::

        >>> nn.PixelShuffle(2)(torch.ones(1, 8, 2, 2)).shape
        torch.Size([1, 2, 4, 4])
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """(…, C, H·r, W·r) to (…, C·r², H, W).

    Examples::

        >>> nn.PixelUnshuffle(2)(torch.ones(1, 2, 4, 4)).shape
        torch.Size([1, 8, 2, 2])
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Channels of the groups taken in turn.

    Examples::

        >>> nn.ChannelShuffle(2)(torch.arange(4).reshape(1, 4, 1)).flatten()
        tensor([0, 2, 1, 3])
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


class Unfold(Module):
    """The windows of (N, C, H, W) as columns.

    Examples::

        >>> nn.Unfold(2)(torch.ones(1, 3, 4, 4)).shape
        torch.Size([1, 12, 9])
    """

    def __init__(
        self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Fold(Unfold):
    """Adds columns up at their windows' places in (N, C, H, W).

    Examples::

        >>> nn.Fold((4, 4), 2, stride=2)(torch.ones(1, 4, 4)).shape
        torch.Size([1, 1, 4, 4])
    """

    def __init__(
        self,
        output_size: Any,
        kernel_size: Any,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
    ) -> None:
        super().__init__(kernel_size, dilation, padding, stride)
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return F.fold(
            input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, {super().extra_repr()}"
