"""Host bytes as Python numbers, nested lists and numpy arrays."""

from __future__ import annotations

import struct
from array import array
from typing import Any

from .dtypes import DType, bfloat16, bool_, float16
from .shape import Shape, numel
from .tensor import Counter, Tensor


def unpack_bytes(data: Any, dtype: DType) -> list[Any]:
    """The elements as Python numbers."""
    if dtype is bool_:
        return [b != 0 for b in bytes(data)]
    if dtype is bfloat16:
        halves = memoryview(bytes(data)).cast("H")
        words = array("I", [h << 16 for h in halves])
        return memoryview(words.tobytes()).cast("f").tolist()
    if dtype is float16:
        raw = bytes(data)
        return list(struct.unpack(f"<{len(raw) // 2}e", raw))
    code: Any = dtype.struct
    return memoryview(bytes(data)).cast(code).tolist()


def nested(flat: list[Any], shape: Shape) -> Any:
    """A flat list folded to the shape; a number for ()."""
    if not shape:
        return flat[0]
    for n in reversed(shape[1:]):
        if n == 0:
            break
        flat = [flat[i : i + n] for i in range(0, len(flat), n)]
    if 0 in shape:
        return _empty(shape)
    return flat


def _empty(shape: Shape) -> Any:
    return [_empty(shape[1:]) for _ in range(shape[0])] if shape else None


def to_numpy(data: Any, dtype: DType, shape: Shape) -> Any:
    """A numpy array of the host bytes; numpy is imported here and not before."""
    import numpy as np

    if dtype is bfloat16:
        raise TypeError("Got unsupported ScalarType BFloat16")
    if not numel(shape):
        return np.empty(shape, dtype.numpy_name)
    out = np.frombuffer(data, dtype.numpy_name).reshape(shape)
    return out if out.flags.writeable else out.copy()


class Data(Tensor):
    """What ``tensor.data`` is: the same storage without history. Called, it reads the bytes:
    ``await tensor.data()``."""

    @staticmethod
    def _of(x: Tensor) -> Data:
        out = object.__new__(Data)
        out.__dict__.update(x._alias().__dict__)
        out._counter = Counter()
        return out

    async def __call__(self) -> Any:
        from . import runtime

        data = await runtime.read_async(self.node(), self.storage.device)
        return memoryview(bytes(data)).cast("B" if self.dtype is bool_ else _format(self.dtype))


def _format(dtype: DType) -> Any:
    return {"bfloat16": "H", "float16": "H"}.get(dtype.name, dtype.struct)
