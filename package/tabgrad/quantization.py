"""Weight-only quantization as torchao's: weights of 8 or 4 bits, decoded in registers.

    from tabgrad.quantization import Int8WeightOnlyConfig, quantize_
    quantize_(model, Int8WeightOnlyConfig())

A product with few rows (decoding) is bound by the memory its weight is read from: a quarter, or an
eighth of it here. Weights are whole multiples of a scale; what rounding changes is at most half a
scale: 1/254 of the largest weight of the row (or group) for int8, 1/14 for int4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .dtypes import float32
from .nn import Linear, Module
from .nn import functional as F
from .ops import functional as ops
from .tensor import Tensor

__all__ = ["Int4WeightOnlyConfig", "Int8WeightOnlyConfig", "QuantizedLinear", "int4_weight_only",
           "int8_weight_only", "quantize_"]  # fmt: skip


class Int8WeightOnlyConfig(NamedTuple):
    """8 bits a weight; a scale per ``group_size`` inputs of an output, or per output."""

    group_size: int | None = None
    bits: int = 8


class Int4WeightOnlyConfig(NamedTuple):
    """4 bits a weight; a scale per ``group_size`` inputs of an output."""

    group_size: int | None = 128
    bits: int = 4


int8_weight_only, int4_weight_only = Int8WeightOnlyConfig, Int4WeightOnlyConfig


def _is_linear(module: Module, name: str) -> bool:
    return type(module) is Linear


def quantize_(
    model: Module,
    config: Int8WeightOnlyConfig | Int4WeightOnlyConfig,
    filter_fn: Callable[[Module, str], bool] | None = None,
) -> None:
    """Quantizes the weights of a model's linear layers in place; other layers stay as they are.

    The weights are frozen (buffers, no parameters); gradients reach inputs and biases. To load a
    quantized ``state_dict``, quantize the new model alike first.

    Args:
        model: its ``nn.Linear`` layers become ``QuantizedLinear`` layers.
        config: bits and group size.
        filter_fn: which layers, by module and qualified name; all that are just ``nn.Linear`` if
            not said.

    Raises:
        ValueError: the group size is no multiple of 32, or does not divide a layer's inputs.
        TypeError: the filter chose what is not ``nn.Linear``.

    Examples::

        >>> model = nn.Sequential(nn.Linear(64, 10), nn.ReLU())
        >>> quantize_(model, int4_weight_only(group_size=32))
        >>> model[0]
        QuantizedLinear(in_features=64, out_features=10, bias=True, bits=4, group_size=32)
        >>> model(torch.ones(2, 64)).shape
        torch.Size([2, 10])
    """
    chosen = [(n, m) for n, m in model.named_modules() if (filter_fn or _is_linear)(m, n)]
    for name, module in chosen:
        if type(module) is not Linear:
            raise TypeError(f"quantize_: {name or 'the model'} is {type(module).__name__}, "
                            "not nn.Linear")  # fmt: skip
        group, k = config.group_size, module.in_features
        if group is not None and (group < 1 or group % 32 or k % group):
            raise ValueError(f"quantize_: group_size must be a multiple of 32 that divides "
                             f"in_features, but {name or 'the model'} has {k} and group_size is "
                             f"{group}")  # fmt: skip
    for _, module in chosen:
        if module.weight.numel():
            _quantize(module, config)


def _quantize(layer: Any, config: Any) -> None:
    """Makes the layer another, in its place: whoever holds it, and its hooks, keep it."""
    weight = layer.weight.detach().to(float32)
    weight = F.pad(weight, (0, -layer.in_features % 32))
    n, k = weight.shape
    group = config.group_size or k
    most = (1 << config.bits - 1) - 1
    parts = weight.reshape(n, k // group, group)
    scale = (parts.abs().amax(-1) / most).clamp(min=1e-30)
    whole = (parts / scale.unsqueeze(-1)).round().clamp(-most, most).reshape(n, k)
    del layer.weight
    layer.__class__ = QuantizedLinear
    layer.bits, layer.group_size = config.bits, config.group_size
    layer.register_buffer("weight", ops.packed(whole, config.bits))
    layer.register_buffer("scale", scale)


class QuantizedLinear(Linear):
    """y = x · Wᵀ + b with a frozen W of few bits; made by ``quantize_``.

    Attributes:
        weight: int32 words of (out_features, in_features) integers, inputs padded to 32s.
        scale: (out_features, groups), what each integer stands for.
    """

    bits: int
    group_size: int | None
    weight: Any
    scale: Tensor

    def forward(self, input: Tensor) -> Tensor:
        k = self.in_features
        if not input.dtype.is_floating_point or input.shape[-1:] != (k,):
            raise RuntimeError(f"QuantizedLinear: expected floats of shape (..., {k}), but got "
                               f"{input.dtype} {list(input.shape)}")  # fmt: skip
        rows = input.numel() // k
        x = F.pad(input.reshape(rows, k).to(float32), (0, -k % 32))
        y = ops.linear(x, self.weight, *self._scale(x.shape[1]))
        y = y.reshape(*input.shape[:-1], self.out_features).to(input.dtype)
        return y if self.bias is None else y + self.bias

    def _scale(self, k: int) -> tuple[Tensor, int, int]:
        return self.scale.to(float32), self.bits, self.group_size or k

    def dequantize(self) -> Tensor:
        """The weight as the product sees it: float32 (out_features, in_features)."""
        k = self.in_features
        return ops.unpacked(self.weight, *self._scale(k + -k % 32))[:, :k]

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, bits={self.bits}, group_size={self.group_size}"
