"""Are two tensors the same? Told by PyTorch's own reading of them, element by element."""

from __future__ import annotations

import math
import sys
from typing import Any

# What the other devices are measured against: the numpy executor.
REFERENCE = "numpy" if sys.platform == "emscripten" else "cpu"

# what ``strides=`` takes: compare those of views only. Where PyTorch computes a new tensor, its
# memory may lie as that of the inputs does; ours is always contiguous.
VIEWS = "views"

# relative and absolute error by dtype; integers and bool must be equal
TOLERANCE = {
    "float16": (2e-3, 2e-3),
    "bfloat16": (1.6e-2, 1.6e-2),
    "float32": (2e-5, 2e-6),
    "float64": (1e-9, 1e-11),
}


def name_of(dtype: Any) -> str:
    """``float32`` of ``torch.float32``."""
    return str(dtype).removeprefix("torch.")


def flat(x: Any) -> list[Any]:
    """The elements of nested lists (or one number), in order."""
    if not isinstance(x, list):
        return [x]
    out = []
    for y in x:
        out += flat(y)
    return out


def differs(a: Any, b: Any, rtol: float, atol: float) -> bool:
    """Whether two numbers are further apart than allowed; nan equals nan."""
    if a == b:
        return False
    if isinstance(a, float) and isinstance(b, float):
        if math.isnan(a) or math.isnan(b):
            return not (math.isnan(a) and math.isnan(b))
        if math.isinf(a) or math.isinf(b):
            return True
        return abs(a - b) > atol + rtol * max(abs(a), abs(b))
    return True


def difference(
    got: Any, want: Any, rtol: float | None = None, *, strides: Any = False, mixed: bool = False
) -> str:
    """What differs between two tensors (or structures of them) in words; "" if nothing does.

    mixed: a float64 result may have been a float32 on its way.
    """
    if isinstance(want, tuple | list) and not hasattr(want, "shape"):
        if len(got) != len(want):
            return f"{len(got)} results instead of {len(want)}"
        how = {"strides": strides, "mixed": mixed}
        told = [difference(a, b, rtol, **how) for a, b in zip(got, want, strict=True)]
        return "; ".join(t for t in told if t)
    if want is None or not hasattr(want, "shape"):
        return "" if got == want else f"{got!r} instead of {want!r}"
    if got is None:
        return "None instead of a tensor"
    if tuple(got.shape) != tuple(want.shape):
        return f"shape {tuple(got.shape)} instead of {tuple(want.shape)}"
    if str(got.dtype) != str(want.dtype):
        return f"{got.dtype} instead of {want.dtype}"
    if strides is VIEWS and not want._is_view():
        strides = False
    if strides and tuple(got.stride()) != tuple(want.stride()):
        return f"strides {tuple(got.stride())} instead of {tuple(want.stride())}"
    if mixed and name_of(got.dtype) == "float64":
        got, want = got.float(), want.float()
    return unequal(got, flat(want.detach().tolist()), rtol)


def unequal(got: Any, want: list[Any], rtol: float | None = None) -> str:
    """How the elements of a tensor differ from a flat list, in words."""
    wide, atol = TOLERANCE.get(name_of(got.dtype), (0.0, 0.0))
    if rtol is not None and wide:
        atol = max(atol, rtol / 10) if name_of(got.dtype) != "float64" else atol
        wide = max(wide, rtol) if name_of(got.dtype) != "float64" else wide
    values = flat(got.detach().tolist())
    off = [
        i for i, (a, b) in enumerate(zip(values, want, strict=True)) if differs(a, b, wide, atol)
    ]
    if not off:
        return ""
    i = off[0]
    return f"{len(off)} of {len(want)} elements: [{i}] is {values[i]!r} instead of {want[i]!r}"


def assert_same(got: Any, want: Any, rtol: float | None = None, **options: Any) -> None:
    """Fails with the difference."""
    told = difference(got, want, rtol, **options)
    assert not told, told


def assert_values(got: Any, want: Any, rtol: float | None = None) -> None:
    """The tensor holds these numbers (nested lists as ``tolist`` gives), of this shape."""
    shape: list[int] = []
    x = want
    while isinstance(x, list):
        shape.append(len(x))
        x = x[0] if x else None
    assert list(got.shape)[: len(shape)] == shape, f"shape {tuple(got.shape)} instead of {shape}"
    told = unequal(got, [v for v in flat(want) if not isinstance(v, list)], rtol)
    assert not told, told
