"""Calls from JavaScript: typed arrays in, typed arrays out.

A tensor is ``{data: TypedArray, shape: [...]}`` on the other side; a bare typed array is a tensor
of one dimension. Numbers, strings, lists and plain objects stay what they are.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from . import creation
from .autograd import no_grad
from .bridge import to_javascript, typed_array
from .dtypes import DTYPES, DType, bool_, uint8
from .tensor import Tensor

_BY_FORMAT = {d.struct: d for d in DTYPES if d.struct and d is not bool_}


def find(name: str) -> Any:
    """The object of a dotted name in the page's program."""
    import __main__

    first, *rest = name.split(".")
    if not hasattr(__main__, first):
        raise NameError(f"the page's Python has no {first!r}")
    found = getattr(__main__, first)
    for part in rest:
        found = getattr(found, part)
    return found


async def call(name: str, values: Any) -> Any:
    """Calls an object of the page's program; gradients are not recorded."""
    target = find(name)
    given = [argument(value) for value in values]
    if not callable(target):
        if given:
            raise TypeError(f"{name!r} is {type(target).__name__!r}, which cannot be called")
        return await result(target)
    with no_grad():
        found = target(*given)
    return await result(found)


def argument(value: Any) -> Any:
    """A JavaScript value as Python's."""
    if not hasattr(value, "to_py"):
        return value
    data, shape = getattr(value, "data", None), getattr(value, "shape", None)
    if data is not None and shape is not None:
        return _tensor(data.to_py()).reshape(*[int(n) for n in shape])
    found = value.to_py()
    return _tensor(found) if isinstance(found, memoryview) else found


def _tensor(data: Any) -> Any:
    if not isinstance(data, memoryview):  # numbers in a plain array
        return creation.tensor(data)
    return creation.frombuffer(data, dtype=_dtype(data.format)) if len(data) else creation.empty(0)


def _dtype(format: str) -> DType:
    # Emscripten's int is C's long, and JavaScript's clamped bytes are bytes.
    return _BY_FORMAT.get({"l": "i", "c": "B"}.get(format, format), uint8)


async def result(value: Any) -> Any:
    """A Python value as JavaScript's, reading tensors from their device."""
    if inspect.isawaitable(value):
        value = await value
    return to_javascript(await _read(value))


async def _read(value: Any) -> Any:
    if isinstance(value, Tensor):
        data = await value.data() if value.numel() else b""
        return {"data": typed_array(bytes(data), value.dtype.name), "shape": list(value.shape)}
    if isinstance(value, Mapping):
        return {key: await _read(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [await _read(item) for item in value]
    return value
