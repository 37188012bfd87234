"""Padding, resizing, and rearrangements of pixels and windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

from ...functions import movement
from ...functions.gathering import one_hot as one_hot
from ...tensor import Tensor


def _indices(values: list[int], like: Tensor) -> Tensor:
    from ... import creation
    from ...dtypes import int64

    return creation.tensor(values, dtype=int64, device=like.device)


# --- padding -------------------------------------------------------------------------------------


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """The input with more elements around it

    Args:
        input: any shape.
        pad: (left, right) of the last dimension, then of the one before, …; negative crops.
        mode: ``"constant"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        value: the constant, 0 if not given.

    Examples::

        >>> F.pad(torch.tensor([1.0, 2.0]), (1, 2))
        tensor([0., 1., 2., 0., 0.])
        >>> F.pad(torch.tensor([[1.0, 2.0, 3.0]]), (2, 0), mode="reflect")
        tensor([[3., 2., 1., 2., 3.]])
    """
    sides = tuple(int(n) for n in pad)
    if mode == "constant":
        return movement.pad(input, sides, mode, value)
    if value:
        raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if len(sides) // 2 not in (input.ndim - 1, input.ndim - 2):
        raise NotImplementedError(
            "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now"
        )
    return movement.pad(input, sides, mode)


# --- resizing ------------------------------------------------------------------------------------


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """The input resized in its spatial dimensions

    Args:
        input: (N, C, …) with one to three spatial dimensions.
        size: the sizes wanted.
        scale_factor: or the factors.
        mode: ``"nearest"``, ``"nearest-exact"``, ``"linear"``, ``"bilinear"``, ``"trilinear"``,
            ``"bicubic"`` or ``"area"``.
        align_corners: whether the corner pixels' centres keep their values (linear, cubic).

    Examples::

        >>> F.interpolate(torch.tensor([[[1.0, 2.0]]]), scale_factor=2)
        tensor([[[1., 1., 2., 2.]]])
    """
    n = input.ndim - 2
    if n not in (1, 2, 3):
        _refuse(input, mode)
    sizes, scales = _output_sizes(input, n, size, scale_factor, recompute_scale_factor)
    if antialias:
        raise NotImplementedError("interpolate(antialias=True): blur before resizing instead")
    if mode in ("nearest", "area", "nearest-exact") and align_corners is not None:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear "
            "| bicubic | trilinear"
        )
    if mode == "area":
        from ._pool import _adaptive_avg

        return _adaptive_avg(input, tuple(sizes))
    if mode in ("nearest", "nearest-exact"):
        shift = 0.5 if mode == "nearest-exact" else 0.0
        for i in range(n):
            input = _nearest(input, 2 + i, sizes[i], scales[i], shift)
        return input
    if _LINEAR.get(mode) == n or (mode == "bicubic" and n == 2):
        weights = _cubic if mode == "bicubic" else _hat
        for i in range(n):
            input = _resample(input, 2 + i, sizes[i], scales[i], bool(align_corners), weights)
        return input
    _refuse(input, mode)


def _refuse(x: Tensor, mode: str) -> NoReturn:
    if x.ndim in (3, 4, 5) and mode in _NEEDS:
        raise NotImplementedError(
            f"Got {x.ndim}D input, but {mode} mode needs {_NEEDS[mode]}D input"
        )
    raise NotImplementedError(
        f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {x.ndim}D) for the modes: "
        "nearest | linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact (got "
        f"{mode})"
    )


_LINEAR = {"linear": 1, "bilinear": 2, "trilinear": 3}
_NEEDS = {"linear": 3, "bilinear": 4, "bicubic": 4, "trilinear": 5}


def _output_sizes(
    x: Tensor, n: int, size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[list[int], list[float | None]]:
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is None and scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    if size is not None:
        sizes = list(size) if isinstance(size, Sequence) else [size] * n
        _check_length(x, n, sizes, "output size")
        return [int(s) for s in sizes], [None] * n
    scales = list(scale_factor) if isinstance(scale_factor, Sequence) else [scale_factor] * n
    _check_length(x, n, scales, "scale_factor")
    sizes = [math.floor(float(length) * s) for length, s in zip(x.shape[2:], scales, strict=True)]
    return sizes, [None] * n if recompute else [float(s) for s in scales]


def _check_length(x: Tensor, n: int, given: list[Any], what: str) -> None:
    if len(given) != n:
        size = what == "output size"
        letter, shape, subject = ("o", "", "output") if size else ("s", "shape ", what)
        letters = f"({letter}1, {letter}2, ...,{letter}K)"
        raise ValueError(
            f"Input and {subject} must have the same number of spatial dimensions, but got input "
            f"with spatial dimensions of {list(x.shape[2:])} and {what} of {shape}{tuple(given)}. "
            "Please provide input tensor in (N, C, d1, d2, ...,dK) format and "
            f"{what} in {letters} format."
        )


def _nearest(x: Tensor, dim: int, size: int, scale: float | None, shift: float) -> Tensor:
    n = x.shape[dim]
    ratio = 1 / scale if scale else n / size
    return x.index_select(
        dim, _indices([min(int((i + shift) * ratio), n - 1) for i in range(size)], x)
    )


def _hat(t: float) -> list[tuple[int, float]]:
    """The two neighbours' shares at a fraction t of the way."""
    return [(0, 1 - t), (1, t)]


def _cubic(t: float, a: float = -0.75) -> list[tuple[int, float]]:
    """The four neighbours' shares of Keys' cubic."""

    def near(d: float) -> float:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: float) -> float:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [(-1, far(t + 1)), (0, near(t)), (1, near(1 - t)), (2, far(2 - t))]


def _resample(
    x: Tensor, dim: int, size: int, scale: float | None, align: bool, weights: Any
) -> Tensor:
    """Weighted neighbours along one dimension."""
    n = x.shape[dim]
    if align:
        ratio = (n - 1) / (size - 1) if size > 1 else 0.0
    else:
        ratio = 1 / scale if scale else n / size
    terms: list[tuple[list[int], list[float]]] = []
    for i in range(size):
        at = i * ratio if align else (i + 0.5) * ratio - 0.5
        at = max(at, 0.0) if weights is _hat else at
        base = math.floor(at)
        for k, (step, share) in enumerate(weights(at - base)):
            if i == 0:
                terms.append(([], []))
            terms[k][0].append(min(max(base + step, 0), n - 1))
            terms[k][1].append(share)
    shape = [1] * x.ndim
    shape[dim] = size
    out = None
    for positions, shares in terms:
        part = x.index_select(dim, _indices(positions, x)) * x.new_tensor(shares).reshape(shape)
        out = part if out is None else out + part
    return out if out is not None else x


def upsample(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """As :func:`interpolate`."""
    return interpolate(input, size, scale_factor, mode, align_corners)


# --- pixels and windows --------------------------------------------------------------------------


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(…, C·r², H, W) to (…, C, H·r, W·r)"""
    r = upscale_factor
    *batch, c, h, w = input.shape
    if c % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square "
            f"of upscale_factor, but input.size(-3)={c} is not divisible by {r * r}"
        )
    b = len(batch)
    x = input.reshape(*batch, c // (r * r), r, r, h, w)
    x = x.permute(*range(b), b, b + 3, b + 1, b + 4, b + 2)
    return x.reshape(*batch, c // (r * r), h * r, w * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(…, C, H·r, W·r) to (…, C·r², H, W)"""
    r = downscale_factor
    *batch, c, h, w = input.shape
    for name, dim, n in (("height", -2, h), ("width", -1, w)):
        if n % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but "
                f"input.size({dim})={n} is not divisible by {r}"
            )
    b = len(batch)
    x = input.reshape(*batch, c, h // r, r, w // r, r)
    x = x.permute(*range(b), b, b + 2, b + 4, b + 1, b + 3)
    return x.reshape(*batch, c * r * r, h // r, w // r)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels of the groups taken in turn"""
    n, c, *rest = input.shape
    return input.reshape(n, groups, c // groups, *rest).transpose(1, 2).reshape(input.shape)


def unfold(
    input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """The windows of (N, C, H, W) as columns, (N, C·KH·KW, L)"""
    from ._conv import _batched, _tuple

    x, unbatched = _batched(input, 2, "unfold")
    (kh, kw), (dh, dw), (ph, pw), (sh, sw) = (
        _tuple(v, 2) for v in (kernel_size, dilation, padding, stride)
    )
    x = pad(x, (pw, pw, ph, ph)) if ph or pw else x
    windows = x.unfold(2, dh * (kh - 1) + 1, sh).unfold(3, dw * (kw - 1) + 1, sw)
    windows = windows[..., ::dh, ::dw].permute(0, 1, 4, 5, 2, 3)  # (N, C, KH, KW, OH, OW)
    out = windows.reshape(x.shape[0], x.shape[1] * kh * kw, -1)
    return out.squeeze(0) if unbatched else out


def fold(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Adds columns (N, C·KH·KW, L) up at their windows' places in (N, C, H, W)"""
    from ._conv import _tuple

    x = input if input.ndim == 3 else input.unsqueeze(0)
    (h, w), (kh, kw), (dh, dw), (ph, pw), (sh, sw) = (
        _tuple(v, 2) for v in (output_size, kernel_size, dilation, padding, stride)
    )
    oh = (h + 2 * ph - dh * (kh - 1) - 1) // sh + 1
    ow = (w + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    channels = x.shape[1] // (kh * kw)
    x = x.reshape(x.shape[0], channels, kh, kw, oh, ow)
    out = x.new_zeros((x.shape[0], channels, h + 2 * ph, w + 2 * pw))
    for i in range(kh):
        for j in range(kw):
            top, left = i * dh, j * dw
            rows = slice(top, top + (oh - 1) * sh + 1, sh)
            columns = slice(left, left + (ow - 1) * sw + 1, sw)
            part = out.new_zeros(out.shape)
            part[:, :, rows, columns] = x[:, :, i, j]
            out = out + part
    out = out[:, :, ph : ph + h, pw : pw + w]
    return out if input.ndim == 3 else out.squeeze(0)
