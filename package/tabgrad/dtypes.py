"""The dtypes, and PyTorch's promotion rules."""

from __future__ import annotations

from typing import Any


class DType:
    """An element type, as ``torch.dtype``: compared by identity, printed with its module."""

    __slots__ = (
        "alias", "code", "compute", "is_complex", "is_floating_point", "is_signed", "itemsize",
        "name", "numpy_name", "struct",
    )  # fmt: skip

    def __init__(
        self, code: int, name: str, itemsize: int, compute: str, struct: str, alias: str = ""
    ) -> None:
        self.code = code
        self.name = name
        self.itemsize = itemsize  # bytes
        self.compute = compute  # letter of the type it is computed in: f d i l b
        self.struct = struct  # format of the struct and array modules; bfloat16 has none
        self.alias = alias
        self.is_floating_point = compute in "fd"
        self.is_complex = False
        self.is_signed = name not in ("bool", "uint8")
        self.numpy_name = "float32" if name == "bfloat16" else name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_by_name, (self.name,))


bool_ = DType(0, "bool", 1, "b", "?")
uint8 = DType(1, "uint8", 1, "i", "B")
int8 = DType(2, "int8", 1, "i", "b")
int16 = DType(3, "int16", 2, "i", "h", "short")
int32 = DType(4, "int32", 4, "i", "i", "int")
int64 = DType(5, "int64", 8, "l", "q", "long")
float16 = DType(6, "float16", 2, "f", "e", "half")
bfloat16 = DType(7, "bfloat16", 2, "f", "")
float32 = DType(8, "float32", 4, "f", "f", "float")
float64 = DType(9, "float64", 8, "d", "d", "double")

DTYPES = (bool_, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64)
COMPUTE = {"b": bool_, "i": int32, "l": int64, "f": float32, "d": float64}


def _by_name(name: str) -> DType:
    return next(d for d in DTYPES if d.name == name)


def promote(a: DType, b: DType) -> DType:
    """The smallest dtype that holds both, by PyTorch's lattice."""
    if a is b:
        return a
    if a.code > b.code:
        a, b = b, a
    if b.is_floating_point:
        return float32 if a is float16 and b is bfloat16 else b
    return int16 if a is uint8 and b is int8 else b


_default_float = float32


def get_default_dtype() -> DType:
    """The dtype of new floating point tensors, as ``torch.get_default_dtype``."""
    return _default_float


def set_default_dtype(dtype: DType) -> None:
    """Sets the dtype of new floating point tensors, as ``torch.set_default_dtype``."""
    global _default_float
    if not isinstance(dtype, DType) or not dtype.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    _default_float = dtype
