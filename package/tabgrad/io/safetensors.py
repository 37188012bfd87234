"""The safetensors format: 8 bytes of header length, a JSON header, raw little-endian data.

Source of the format: https://github.com/huggingface/safetensors#format. A ``.ptjs`` file is a
safetensors file. A file is hostile until checked: every number is bounded before it is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from .. import dtypes as dt
from ..dtypes import DType
from ..shape import Shape, numel

MAX_HEADER = 100_000_000  # bytes, the format's own limit
_NAMES = {
    "BOOL": dt.bool_, "U8": dt.uint8, "I8": dt.int8, "I16": dt.int16, "I32": dt.int32,
    "I64": dt.int64, "F16": dt.float16, "BF16": dt.bfloat16, "F32": dt.float32, "F64": dt.float64,
}  # fmt: skip
_CODES = {d: name for name, d in _NAMES.items()}


class SafetensorError(ValueError):
    """The bytes are not a valid safetensors file."""


class Entry(NamedTuple):
    """A tensor of the file: ``start`` and ``end`` are bytes from the start of the file."""

    dtype: DType
    shape: Shape
    start: int
    end: int


class Header(NamedTuple):
    """What a file says it holds."""

    entries: dict[str, Entry]
    metadata: dict[str, str]
    size: int  # bytes of the whole file


def header_length(first: bytes, size: int | None = None) -> int:
    """Length of the JSON header from a file's first 8 bytes, checked against the file's size."""
    if len(first) < 8:
        raise SafetensorError(f"a safetensors file has at least 8 bytes, this one has {len(first)}")
    n = int.from_bytes(first[:8], "little")
    if n > MAX_HEADER:
        raise SafetensorError(f"the header says it has {n} bytes; at most {MAX_HEADER} are allowed")
    if size is not None and 8 + n > size:
        raise SafetensorError(f"the header says it has {n} bytes, but the file has {size} in all")
    return n


def parse_header(text: bytes, size: int | None = None) -> Header:
    """The checked content of a JSON header; ``size`` is the file's, if known."""
    _check_depth(text)
    try:
        raw = json.loads(text.decode("utf-8"), object_pairs_hook=_no_repeats)
    except SafetensorError:
        raise
    except ValueError as error:
        raise SafetensorError(f"the header is not valid JSON: {error}") from None
    if not isinstance(raw, dict):
        raise SafetensorError("the header is not a JSON object")
    metadata = raw.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise SafetensorError("the header's __metadata__ is not an object of strings")
    begin = 8 + len(text)
    entries = {name: _entry(name, value, begin) for name, value in raw.items()}
    end = begin
    for name, e in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if e.start != end:
            raise SafetensorError(
                f"tensor '{name}' begins at byte {e.start}, where {end} was expected: gaps and "
                "overlaps are not allowed"
            )
        end = e.end
    if size is not None and end != size:
        raise SafetensorError(
            f"the file is {'truncated' if size < end else 'too long'}: it has {size} bytes, its "
            f"header describes {end}"
        )
    return Header(entries, metadata, end)


_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.S)
_DEEPEST = 3  # file → tensor → shape


def _check_depth(text: bytes) -> None:
    """The parser recurses, and in a page a deep header would end the interpreter."""
    depth = 0
    for bracket in re.findall(rb"[][{}]", _STRING.sub(b"", text)):
        depth += 1 if bracket in b"[{" else -1
        if depth > _DEEPEST:
            raise SafetensorError("the header is not valid JSON of this format: nested too deeply")


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise SafetensorError("the header names a tensor twice")
    return out


def _entry(name: str, value: Any, begin: int) -> Entry:
    if not isinstance(value, dict):
        raise SafetensorError(f"the header's entry for '{name}' is not an object")
    dtype = _NAMES.get(str(value.get("dtype")))
    shape: Any = value.get("shape")
    offsets: Any = value.get("data_offsets")
    if dtype is None:
        raise SafetensorError(
            f"tensor '{name}' has dtype {value.get('dtype')!r}; known are {', '.join(_NAMES)}"
        )
    if not _whole(shape) or len(shape) > 64:
        raise SafetensorError(f"tensor '{name}' has an invalid shape {shape!r}")
    if not _whole(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise SafetensorError(f"tensor '{name}' has invalid data_offsets {offsets!r}")
    need = numel(tuple(shape)) * dtype.itemsize
    if offsets[1] - offsets[0] != need:
        raise SafetensorError(
            f"tensor '{name}' of shape {shape} and dtype {dtype.name} needs {need} bytes, its "
            f"data_offsets hold {offsets[1] - offsets[0]}"
        )
    return Entry(dtype, tuple(shape), begin + offsets[0], begin + offsets[1])


def _whole(xs: Any) -> bool:
    return isinstance(xs, list) and all(type(n) is int and 0 <= n < 1 << 48 for n in xs)


def serialize(
    tensors: Mapping[str, tuple[DType, Shape, bytes]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """The bytes of a file; data is aligned to 8 bytes by padding the header with spaces."""
    head: dict[str, Any] = {}
    if metadata:
        head["__metadata__"] = dict(metadata)
    at = 0
    for name, (dtype, shape, data) in tensors.items():
        head[name] = {
            "dtype": _CODES[dtype],
            "shape": list(shape),
            "data_offsets": [at, at + len(data)],
        }
        at += len(data)
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *(d for _, _, d in tensors.values())])
