"""Comparing tensors in tests, and making them, as ``torch.testing``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import creation, random, runtime
from . import dtypes as dt
from .dtypes import DType
from .tensor import Tensor

_TOLERANCE = {
    "float16": (1e-3, 1e-5), "bfloat16": (1.6e-2, 1e-5), "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
}  # fmt: skip


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raises AssertionError unless ``|actual - expected| <= atol + rtol * |expected|`` everywhere;
    tolerances default by dtype, integers and bools must be equal.

    Examples:
        >>> assert_close(torch.ones(2) / 3, torch.full((2,), 0.33333334))
    """
    if (rtol is None) != (atol is None):
        raise ValueError(
            "Both 'rtol' and 'atol' must be either specified or omitted, but got "
            f"no {'rtol' if rtol is None else 'atol'}."
        )
    checks = {"device": check_device, "dtype": check_dtype, "stride": check_stride}
    told = _difference(actual, expected, (rtol, atol), equal_nan, checks)
    if told:
        raise AssertionError(msg(told) if callable(msg) else msg or told)


def _difference(a: Any, b: Any, tol: Any, equal_nan: bool, checks: dict[str, bool]) -> str:
    """What differs, in words; "" if nothing does."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if set(a) != set(b):
            return f"The keys of the mappings do not match:\n{_keys(a, b)}"
        return _items([(k, a[k], b[k]) for k in a], tol, equal_nan, checks)
    if isinstance(a, Sequence) and isinstance(b, Sequence) and not isinstance(a, str):
        if len(a) != len(b):
            return f"The length of the sequences mismatch: {len(a)} != {len(b)}"
        pairs = [(i, x, y) for i, (x, y) in enumerate(zip(a, b, strict=True))]
        return _items(pairs, tol, equal_nan, checks)
    if a is None and b is None:
        return ""
    if isinstance(a, bool) and isinstance(b, bool):
        return "" if a == b else f"Booleans mismatch: {a} is not {b}"
    if isinstance(a, Tensor) != isinstance(b, Tensor):
        raise TypeError(
            f"No comparison pair was able to handle inputs of type {type(a)} and {type(b)}."
        )
    if isinstance(a, bool | int | float) and isinstance(b, bool | int | float):
        return _numbers(a, b, tol, equal_nan)
    return _tensors(_tensor(a), _tensor(b), tol, equal_nan, checks)


def _items(pairs: Any, tol: Any, equal_nan: bool, checks: dict[str, bool]) -> str:
    for key, x, y in pairs:
        told = _difference(x, y, tol, equal_nan, checks)
        if told:
            return f"{told}\n\nThe failure occurred for item [{key!r}]"
    return ""


def _keys(a: Any, b: Any) -> str:
    return (
        f"Missing keys in the actual mapping: {sorted(set(b) - set(a))}\n"
        f"Additional keys in the actual mapping: {sorted(set(a) - set(b))}"
    )


def _tensor(x: Any) -> Tensor:
    try:
        return x.detach() if isinstance(x, Tensor) else creation.tensor(x)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"No comparison pair was able to handle inputs of type {type(x)} and {type(x)}."
        ) from None


def _limits(dtypes: Sequence[str], tol: Any) -> tuple[float, float]:
    if tol[0] is not None:
        return tol[0], tol[1]
    found = [_TOLERANCE.get(d, (0.0, 0.0)) for d in dtypes]
    return max(r for r, _ in found), max(a for _, a in found)


def _far(a: float, b: float, rtol: float, atol: float, equal_nan: bool) -> bool:
    if a == b:
        return False
    if math.isnan(a) or math.isnan(b):
        return not (equal_nan and math.isnan(a) and math.isnan(b))
    return math.isinf(a) or math.isinf(b) or not abs(a - b) <= atol + rtol * abs(b)


def _relative(a: float, b: float) -> float:
    if math.isinf(b) and math.isinf(a):
        return math.nan
    return abs(a - b) / abs(b) if b else math.inf


def _numbers(a: Any, b: Any, tol: Any, equal_nan: bool) -> str:
    kinds = ["float64" if isinstance(v, float) else "" for v in (a, b)]
    rtol, atol = _limits(kinds, tol)
    if not _far(a, b, rtol, atol, equal_nan):
        return ""
    return _scalar("close" if rtol or atol else "equal", a, b, rtol, atol)


def _tensors(a: Tensor, b: Tensor, tol: Any, equal_nan: bool, checks: dict[str, bool]) -> str:
    facts = {
        "shape": (a.shape, b.shape), "device": (a.device, b.device),
        "dtype": (a.dtype, b.dtype), "stride": (a.stride(), b.stride()),
    }  # fmt: skip
    for name, (x, y) in facts.items():
        if checks.get(name, True) and x != y:
            shown = f"{name}()" if name == "stride" else name
            return f"The values for attribute '{shown}' do not match: {x} != {y}."
    rtol, atol = _limits([a.dtype.name, b.dtype.name], tol)
    xs, ys = (t.reshape(-1).tolist() for t in (a, b))
    off = [
        i for i, (x, y) in enumerate(zip(xs, ys, strict=True)) if _far(x, y, rtol, atol, equal_nan)
    ]
    if not off:
        return ""
    word = "close" if rtol or atol else "equal"
    if not a._shape:
        return _scalar(word, xs[0], ys[0], rtol, atol)
    return f"Tensor-likes are not {word}!\n\n" + _greatest(a, xs, ys, off, rtol, atol)


def _scalar(word: str, x: Any, y: Any, rtol: float, atol: float) -> str:
    allowed = [f" (up to {t} allowed)" if rtol or atol else "" for t in (atol, rtol)]
    return (
        f"Scalars are not {word}!\n\nExpected {y} but got {x}.\nAbsolute difference: "
        f"{abs(x - y)}{allowed[0]}\n"
        f"Relative difference: {_relative(x, y)}{allowed[1]}"
    )


def _greatest(a: Tensor, xs: Any, ys: Any, off: list[int], rtol: float, atol: float) -> str:
    """How many elements differ, and where they differ most."""
    n = len(xs)
    lines = [f"Mismatched elements: {len(off)} / {n} ({100 * len(off) / n:.1f}%)"]
    for name, measure, limit in (
        ("absolute", lambda x, y: abs(x - y), atol), ("relative", _relative, rtol),
    ):  # fmt: skip
        sizes = {i: measure(xs[i], ys[i]) for i in off}
        at = max(off, key=lambda i: math.inf if sizes[i] != sizes[i] else sizes[i])
        allowed = f" (up to {limit} allowed)" if rtol or atol else ""
        place = _place(at, a._shape)
        lines.append(f"Greatest {name} difference: {sizes[at]} at index {place}{allowed}")
    return "\n".join(lines)


def _place(i: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    out: list[int] = []
    for n in reversed(shape):
        out.append(i % n)
        i //= n
    return tuple(reversed(out))


def assert_allclose(
    actual: Any, expected: Any, rtol: float | None = None, atol: float | None = None,
    equal_nan: bool = True, msg: str = "",
) -> None:  # fmt: skip
    """The older form of ``assert_close``: dtypes and devices may differ, nan equals nan."""
    a, b = _tensor(actual), _tensor(expected)
    if rtol is None and atol is None:
        rtol, atol = _limits([a.dtype.name, b.dtype.name], (None, None))
    assert_close(
        a, b, rtol=rtol, atol=atol, equal_nan=equal_nan, check_device=False, check_dtype=False,
        msg=msg or None,
    )  # fmt: skip


def make_tensor(
    *shape: Any,
    dtype: DType,
    device: Any = None,
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """A tensor of random numbers in ``[low, high)``: by default [-9, 9) of floats, [-9, 10) of
    signed integers, [0, 10) of uint8, and both truth values."""
    size = creation.sizes(shape)
    if noncontiguous and math.prod(size) >= 2:
        size = (*size[:-1], 2 * size[-1])
    x = _drawn(size, dtype, device, low, high)
    if noncontiguous and math.prod(size) >= 2:
        x = x[..., ::2]
    if exclude_zero:
        x[x == 0] = 1
    return x.requires_grad_() if requires_grad else x


def _drawn(size: Any, dtype: DType, device: Any, low: Any, high: Any) -> Tensor:
    if dtype is dt.bool_:
        return random.randint(0, 2, size, device=device).to(dtype)
    if dtype.is_floating_point:
        low, high = -9.0 if low is None else low, 9.0 if high is None else high
        return random.rand(size, dtype=dtype, device=device) * (high - low) + low
    low = (0 if dtype is dt.uint8 else -9) if low is None else math.ceil(low)
    return random.randint(
        low, 10 if high is None else math.ceil(high), size, dtype=dtype, device=device
    )


def lose_device() -> None:
    """Takes the default device, a GPU, away under the program's feet, to test what happens then."""
    runtime.default_device().lose()


__all__ = ["assert_allclose", "assert_close", "lose_device", "make_tensor"]
