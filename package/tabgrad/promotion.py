"""Which dtype an op computes in: PyTorch's categories of tensors, 0-d tensors and numbers."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from . import dtypes as dt
from .dtypes import DType, promote
from .live import Live
from .tensor import Tensor


def category(dtype: DType) -> int:
    """0 bool, 1 integer, 2 floating."""
    return 2 if dtype.is_floating_point else (1 if dtype is not dt.bool_ else 0)


def number_category(x: Any) -> int:
    """Category of a Python number."""
    if isinstance(x, bool):
        return 0
    if isinstance(x, int):
        return 1
    if isinstance(x, float):
        return 2
    if type(x) is Live:
        return number_category(x.value)
    raise TypeError(f"expected a Tensor or a number, but got {type(x).__name__}")


_OF_NUMBER = (dt.bool_, dt.int64, None)


def number_dtype(x: Any) -> DType:
    """The dtype a Python number has on its own."""
    return _OF_NUMBER[number_category(x)] or dt.get_default_dtype()


def with_number(dtype: DType, x: Any) -> DType:
    """The dtype of a tensor op with a number: the tensor's, unless the number is of a higher
    category."""
    kind = number_category(x)
    return dtype if kind <= category(dtype) else number_dtype(x)


def result_type(*xs: Any) -> DType:
    """The dtype of an op on these tensors and numbers, as ``torch.result_type``."""
    return _result_type(*[
        (0 if x._shape else 1, x.dtype) if isinstance(x, Tensor) else (2, number_dtype(x))
        for x in xs
    ])  # fmt: skip


@lru_cache(1024)
def _result_type(*kinds: tuple[int, DType]) -> DType:
    """0: with dimensions, 1: without, 2: a number; and the dtype of each."""
    best: list[DType | None] = [None, None, None]
    for k, d in kinds:
        old = best[k]
        best[k] = d if old is None else promote(old, d)
    out: DType | None = None
    for found in best:
        if found is not None and (out is None or category(found) > category(out)):
            out = found
    return out or dt.get_default_dtype()


def can_cast(source: DType, to: DType) -> bool:
    """True if PyTorch lets a result of one dtype be written to another."""
    return category(source) <= category(to)


def check_cast(source: DType, to: DType) -> None:
    """Raises where an in-place op or ``out=`` would lose its category."""
    if category(source) > category(to):
        raise RuntimeError(
            f"result type {_TITLE[source.name]} can't be cast to the desired output type "
            f"{_TITLE[to.name]}"
        )


_TITLE = {
    "bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int",
    "int64": "Long", "float16": "Half", "bfloat16": "BFloat16", "float32": "Float",
    "float64": "Double",
}  # fmt: skip


def title(dtype: DType) -> str:
    """The name PyTorch's errors use: Float, Long, …"""
    return _TITLE[dtype.name]


_RANGE = {"uint8": (0, 255), "int8": (-128, 127), "int16": (-(1 << 15), (1 << 15) - 1),
          "int32": (-(1 << 31), (1 << 31) - 1), "int64": (-(1 << 63), (1 << 63) - 1)}  # fmt: skip


def fit(value: Any, dtype: DType) -> Any:
    """A number as the dtype holds it; raises PyTorch's RuntimeError when it does not fit."""
    if dtype.is_floating_point:
        return value if type(value) is Live else float(value)
    if dtype is dt.bool_:
        return bool(value)
    lo, hi = _RANGE[dtype.name]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        raise RuntimeError(
            f"value cannot be converted to type {_C_NAME[dtype.name]} without overflow"
        )
    value = int(value)
    if not (lo <= value <= hi or (dtype is dt.uint8 and -255 <= value <= 255)):
        raise RuntimeError(
            f"value cannot be converted to type {_C_NAME[dtype.name]} without overflow"
        )
    return value & 255 if dtype is dt.uint8 else value


_C_NAME = {
    "uint8": "uint8_t",
    "int8": "int8_t",
    "int16": "int16_t",
    "int32": "int",
    "int64": "int64_t",
}
