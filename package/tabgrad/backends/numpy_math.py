"""Functions the ``np`` expressions of the op table name, where numpy lacks them or differs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

status = 0  # the status word: what a kernel found wrong


def floordiv(a: Any, b: Any) -> Any:
    """Division rounded down; integer division by zero gives 0."""
    if np.asarray(a).dtype.kind == "f":
        return np.floor(a / b) if np.any(np.isinf(a) | (b == 0)) else np.floor_divide(a, b)
    return np.where(b == 0, 0, np.floor_divide(a, np.where(b == 0, 1, b)))


def truncdiv(a: Any, b: Any) -> Any:
    """Integer division rounded to zero; by zero gives 0."""
    safe = np.where(b == 0, 1, b)
    q = np.floor_divide(a, safe)
    return np.where(b == 0, 0, q + ((np.remainder(a, safe) != 0) & ((a < 0) != (safe < 0))))


def remainder(a: Any, b: Any) -> Any:
    """Remainder with the sign of the divisor; integer remainder by zero gives 0."""
    if np.asarray(a).dtype.kind == "f":
        return np.remainder(a, b)
    return np.where(b == 0, 0, np.remainder(a, np.where(b == 0, 1, b)))


def fmod(a: Any, b: Any) -> Any:
    """Remainder with the sign of the dividend; integer remainder by zero gives 0."""
    if np.asarray(a).dtype.kind == "f":
        return np.fmod(a, b)
    return np.where(b == 0, 0, np.fmod(a, np.where(b == 0, 1, b)))


def power(a: Any, b: Any) -> Any:
    """a to the b; integers to a negative power as PyTorch: 0 unless the base is ±1."""
    if np.asarray(a).dtype.kind == "f":
        return np.power(a, b)
    odd = np.where(b % 2 == 0, 1, -1)
    negative = np.where(a == 1, 1, np.where(a == -1, odd, 0))
    return np.where(b < 0, negative, np.power(a, np.where(b < 0, 0, b)))


def sign(a: Any) -> Any:
    """-1, 0 or 1; of nan 0, as PyTorch says."""
    return np.subtract(a > 0, a < 0, dtype=a.dtype)


def sigmoid(a: Any) -> Any:
    """1 / (1 + exp(-a)) without overflow."""
    e = np.exp(-np.abs(a))
    return np.where(a >= 0, 1 / (1 + e), e / (1 + e))


def shl(a: Any, b: Any) -> Any:
    """Shift left; by the width or more gives 0."""
    width = np.asarray(a).dtype.itemsize * 8
    return np.where((b < 0) | (b >= width), 0, np.left_shift(a, np.clip(b, 0, width - 1)))


def shr(a: Any, b: Any) -> Any:
    """Arithmetic shift right; by the width or more gives the sign."""
    width = np.asarray(a).dtype.itemsize * 8
    return np.right_shift(a, np.where((b < 0) | (b >= width), width - 1, b))


def order_key(a: Any) -> Any:
    """Integers that sort as the floats do: -0 equals 0, nan comes last."""
    kind = np.int32 if a.dtype == np.float32 else np.int64
    bits: Any = np.asarray(a + 0.0, order="C").view(kind)
    key = np.where(bits < 0, np.iinfo(kind).min - bits, bits)
    return np.where(np.isnan(a), np.iinfo(kind).max, key).astype(kind)


def _scalar(f: Any) -> Any:
    vector = np.vectorize(f, otypes=[np.float64])
    return lambda a: vector(a).astype(np.asarray(a).dtype) if np.size(a) else np.asarray(a)


def _lgamma(x: float) -> float:
    if math.isnan(x):
        return x
    if math.isinf(x) or (x <= 0 and x == math.floor(x)):
        return math.inf
    return math.lgamma(x)


def _erfinv(y: float) -> float:
    if not -1 < y < 1:
        return math.copysign(math.inf, y) if abs(y) == 1 else math.nan
    w = math.log1p(-y * y)
    # Winitzki's closed approximation, then Newton steps on erf
    t = 2 / (math.pi * 0.147) + w / 2
    x = math.copysign(math.sqrt(math.sqrt(t * t - w / 0.147) - t), y)
    for _ in range(3):
        err = (
            math.erf(x) - y
            if abs(y) < 0.9
            else (1 - abs(y) - math.erfc(abs(x))) * (math.copysign(1.0, y))
        )
        x -= err / (2 / math.sqrt(math.pi) * math.exp(-x * x))
    return x


def _digamma(x: float) -> float:
    if math.isnan(x) or x == -math.inf:
        return math.nan
    if x == math.inf:
        return x
    if x == 0:
        return math.copysign(math.inf, -x) if x == 0 else x
    if x < 0:
        if x == math.floor(x):
            return math.nan
        return _digamma(1 - x) - math.pi / math.tan(math.pi * x)
    out = 0.0
    while x < 10:
        out -= 1 / x
        x += 1
    z = 1 / (x * x)
    series = z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z * (1 / 132)))))
    return out + math.log(x) - 0.5 / x - series


def _trigamma(x: float) -> float:
    if math.isnan(x):
        return x
    if x <= 0:
        if x == math.floor(x):
            return math.inf
        s = math.sin(math.pi * x)
        return (math.pi / s) ** 2 - _trigamma(1 - x)
    out = 0.0
    while x < 10:
        out += 1 / (x * x)
        x += 1
    z = 1 / (x * x)
    return out + 1 / x + z / 2 + z / x * (1 / 6 - z * (1 / 30 - z * (1 / 42 - z / 30)))


erf, erfc = _scalar(math.erf), _scalar(math.erfc)
phi = _scalar(lambda x: math.erfc(x * -math.sqrt(0.5)) / 2)
erfinv, lgamma = _scalar(_erfinv), _scalar(_lgamma)
digamma, trigamma = _scalar(_digamma), _scalar(_trigamma)
