"""Normalisation layers."""

from __future__ import annotations

from typing import Any

from .. import creation
from ..autograd import no_grad
from ..tensor import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter


class _NormBase(Module):
    """Channel-wise scale and shift, and running statistics."""

    _version = 2
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        kw = {"device": device, "dtype": dtype}
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            self.register_parameter(
                name, Parameter(creation.empty(num_features, **kw)) if wanted else None
            )
        tracked = track_running_stats
        self.register_buffer(
            "running_mean", creation.zeros(num_features, **kw) if tracked else None
        )
        self.register_buffer("running_var", creation.ones(num_features, **kw) if tracked else None)
        self.register_buffer("num_batches_tracked", _count(device) if tracked else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Running mean 0, variance 1, no batches."""
        if self.track_running_stats:
            for name, value in (("mean", 0.0), ("var", 1.0)):
                getattr(self, f"running_{name}").fill_(value)
            self.num_batches_tracked.zero_()  # type: ignore[union-attr]

    def reset_parameters(self) -> None:
        """Scale 1, shift 0, fresh statistics."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_input_dim(self, input: Tensor) -> None:
        raise NotImplementedError

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: dict[str, Any], *rest: Any
    ) -> None:
        """Files of before there was a count of batches get the one of this module."""
        key = prefix + "num_batches_tracked"
        version = local_metadata.get("version")
        if (version is None or version < 2) and self.track_running_stats:
            state_dict.setdefault(key, self.num_batches_tracked)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


def _count(device: Any) -> Tensor:
    from ..dtypes import int64

    return creation.tensor(0, dtype=int64, device=device)


class _BatchNorm(_NormBase):
    def _factor(self) -> float | Tensor:
        """How far the running statistics move in this step."""
        if not (self.training and self.track_running_stats):
            return 0.0 if self.momentum is None else self.momentum
        with no_grad():
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        if self.momentum is not None:
            return self.momentum
        # on the device: a number would have to be waited for
        return self.running_mean.new_ones(()) / self.num_batches_tracked  # type: ignore[union-attr]

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        factor = self._factor()
        from_batch = self.training or (self.running_mean is None and self.running_var is None)
        tracked = not self.training or self.track_running_stats
        return F.batch_norm(
            input,
            self.running_mean if tracked else None,
            self.running_var if tracked else None,
            self.weight,
            self.bias,
            from_batch,
            factor,
            self.eps,
        )


def _check_ndim(input: Tensor, *allowed: int) -> None:
    if input.ndim not in allowed:
        wanted = " or ".join(f"{n}D" for n in allowed)
        raise ValueError(f"expected {wanted} input (got {input.ndim}D input)")


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L); arguments as of :class:`BatchNorm2d`.

    Examples::

        >>> nn.BatchNorm1d(2)(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))[:, 0].tolist()[1] > 0.99
        True
    """

    def _check_input_dim(self, input: Tensor) -> None:
        _check_ndim(input, 2, 3)


class BatchNorm2d(_BatchNorm):
    """(x − mean) / √(variance + eps) · weight + bias for each channel of (N, C, H, W).

    Mean and variance are the batch's while training and the running ones in evaluation.

    Args:
        num_features: the number of channels C.
        eps: added to the variance.
        momentum: the share by which running statistics move; None averages over all batches.
        affine: whether weight and bias are learnt.
        bias: whether bias is.
        track_running_stats: whether there are running statistics.

    Examples::

        >>> m = nn.BatchNorm2d(3)
        >>> m(torch.randn(2, 3, 4, 4)).shape
        torch.Size([2, 3, 4, 4])
        >>> m.num_batches_tracked
        tensor(1)
    """

    def _check_input_dim(self, input: Tensor) -> None:
        _check_ndim(input, 4)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (N, C, D, H, W); arguments as of :class:`BatchNorm2d`.

    Examples::

        >>> nn.BatchNorm3d(2)(torch.randn(2, 2, 2, 2, 2)).shape
        torch.Size([2, 2, 2, 2, 2])
    """

    def _check_input_dim(self, input: Tensor) -> None:
        _check_ndim(input, 5)


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation across processes: of one, here, so that it is batch normalisation.

    Examples::

        >>> nn.SyncBatchNorm(2)(torch.randn(2, 2, 3)).shape
        torch.Size([2, 2, 3])
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected at least 2D input (got {input.ndim}D input)")

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )
        self.process_group = process_group

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """Gives the module back: its batch normalisation sees the whole batch already."""
        return module


class _InstanceNorm(_NormBase):
    n: int

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )

    def forward(self, input: Tensor) -> Tensor:
        _check_ndim(input, self.n + 1, self.n + 2)
        x = input.unsqueeze(0) if input.ndim == self.n + 1 else input
        if x.shape[1] != self.num_features and self.affine:
            raise ValueError(
                f"expected input's size at dim={input.ndim - self.n - 1} to match num_features "
                f"({self.num_features}), but got: {x.shape[1]}."
            )
        out = F.instance_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return out.squeeze(0) if input.ndim == self.n + 1 else out


class InstanceNorm1d(_InstanceNorm):
    """Each channel of each sample of (N, C, L) normalised by itself.

    Examples::

        >>> nn.InstanceNorm1d(2)(torch.randn(1, 2, 5)).shape
        torch.Size([1, 2, 5])
    """

    n = 1


class InstanceNorm2d(_InstanceNorm):
    """Each channel of each sample of (N, C, H, W) normalised by itself.

    Args:
        num_features: the number of channels C.
        eps: added to the variance.
        momentum: the share by which running statistics move.
        affine: whether weight and bias are learnt.
        bias: whether bias is.
        track_running_stats: whether there are running statistics.

    Examples::

        >>> nn.InstanceNorm2d(2)(torch.randn(1, 2, 5, 5)).shape
        torch.Size([1, 2, 5, 5])
    """

    n = 2


class InstanceNorm3d(_InstanceNorm):
    """Each channel of each sample of (N, C, D, H, W) normalised by itself.

    Examples::

        >>> nn.InstanceNorm3d(2)(torch.randn(1, 2, 2, 2, 2)).shape
        torch.Size([1, 2, 2, 2, 2])
    """

    n = 3


def _sizes(shape: Any) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


class LayerNorm(Module):
    """(x − mean) / √(variance + eps) · weight + bias over the last dimensions.

    Args:
        normalized_shape: the sizes of those dimensions, or the size of the last.
        eps: added to the variance.
        elementwise_affine: whether weight and bias are learnt.
        bias: whether bias is.

    Examples::

        >>> nn.LayerNorm(2)(torch.tensor([[1.0, 3.0]])).tolist()[0][1] > 0.99
        True
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = shape = _sizes(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        kw = {"device": device, "dtype": dtype}
        for name, wanted in (("weight", True), ("bias", bias)):
            there = elementwise_affine and wanted
            self.register_parameter(name, Parameter(creation.empty(shape, **kw)) if there else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Scale 1, shift 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """x / √(mean of x² + eps) · weight over the last dimensions.

    Args:
        normalized_shape: the sizes of those dimensions, or the size of the last.
        eps: added to the mean; the smallest step of the dtype if None.
        elementwise_affine: whether weight is learnt.

    Examples::

        >>> nn.RMSNorm(2)(torch.tensor([3.0, 3.0])).shape
        torch.Size([2])
    """

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = shape = _sizes(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        weight = creation.empty(shape, device=device, dtype=dtype) if elementwise_affine else None
        self.register_parameter("weight", None if weight is None else Parameter(weight))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Scale 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(Module):
    """Layer normalisation over groups of channels of (N, C, …).

    Args:
        num_groups: how many groups.
        num_channels: the number of channels C.
        eps: added to the variance.
        affine: whether weight and bias are learnt.
        bias: whether bias is.

    Examples::

        >>> nn.GroupNorm(2, 4)(torch.randn(3, 4, 5)).shape
        torch.Size([3, 4, 5])
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_groups <= 0 or num_channels % num_groups:
            raise ValueError(
                f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        kw = {"device": device, "dtype": dtype}
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            self.register_parameter(
                name, Parameter(creation.empty(num_channels, **kw)) if wanted else None
            )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Scale 1, shift 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LocalResponseNorm(Module):
    """x / (k + α · mean of x² over neighbouring channels)^β.

    Examples::

        >>> nn.LocalResponseNorm(2)(torch.ones(1, 4, 3)).shape
        torch.Size([1, 4, 3])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
