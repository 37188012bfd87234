"""Model files: what is written is read back, and a broken file says what is wrong with it."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import tabgrad as tg
from tabgrad.io import SafetensorError, load, load_file, loads, save_file

DTYPES = [
    tg.bool,
    tg.uint8,
    tg.int8,
    tg.int16,
    tg.int32,
    tg.int64,
    tg.float16,
    tg.bfloat16,
    tg.float32,
]


def file(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_round_trip(tmp_path: Path, dtype: Any) -> None:
    x = tg.tensor([[0, 1, 1], [3, 0, 100]]).to(dtype)
    tensors = {"whole": x, "view": x.T[1:], "scalar": x[0, 1], "none": x[:0]}
    save_file(tensors, tmp_path / "x.safetensors", {"made": "here"})
    got = load_file(tmp_path / "x.safetensors")
    assert list(got) == list(tensors)
    for name, want in tensors.items():
        assert got[name].dtype is dtype
        assert got[name].shape == want.shape
        assert got[name].tolist() == want.tolist()


def test_alignment(tmp_path: Path) -> None:
    for name in ("a", "abc", "abcdefg"):
        save_file({name: tg.ones(3)}, tmp_path / "x")
        n = int.from_bytes((tmp_path / "x").read_bytes()[:8], "little")
        assert (8 + n) % 8 == 0


BROKEN = [
    (b"", "at least 8 bytes"),
    (b"\x10\0\0", "at least 8 bytes"),
    (struct.pack("<Q", 1 << 62) + b"{}", "at most 100000000"),
    (struct.pack("<Q", 100) + b"{}", "the file has 10"),
    (file(b"{"), "not valid JSON"),
    (file(b"\xff\xfe"), "not valid JSON"),
    (file(b"[" * 50000), "not valid JSON"),
    (file([]), "not a JSON object"),
    (file({"__metadata__": {"a": 1}}), "__metadata__"),
    (file({"x": 3}), "'x' is not an object"),
    (file({"x": tensor("F99")}, b"8" * 8), "dtype 'F99'"),
    (file({"x": tensor(shape=[-2])}, b"8" * 8), "invalid shape"),
    (file({"x": tensor(shape=[2.0])}, b"8" * 8), "invalid shape"),
    (file({"x": tensor(shape=[1] * 65)}, b"8" * 8), "invalid shape"),
    (file({"x": tensor(shape=[True, 2])}, b"8" * 8), "invalid shape"),
    (file({"x": tensor(shape=[1 << 40, 1 << 40], offsets=[0, 8])}, b"8" * 8), "needs"),
    (file({"x": tensor(offsets=[8, 0])}, b"8" * 8), "data_offsets"),
    (file({"x": tensor(offsets=[0])}, b"8" * 8), "data_offsets"),
    (file({"x": tensor(shape=[3])}, b"8" * 8), "needs 12 bytes"),
    (file({"x": tensor(offsets=[4, 12])}, b"8" * 12), "gaps and overlaps"),
    (file({"x": tensor(), "y": tensor()}, b"8" * 8), "gaps and overlaps"),
    (file({"x": tensor()}, b"8" * 7), "truncated"),
    (file({"x": tensor()}, b"8" * 9), "too long"),
    (file(b'{"x": 1, "x": 2}'), "twice"),
]


@pytest.mark.parametrize(("data", "message"), BROKEN, ids=[m for _, m in BROKEN])
def test_broken_file(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "broken"
    path.write_bytes(data)
    with pytest.raises(SafetensorError, match=message):
        load_file(path)
    with pytest.raises(SafetensorError, match=message):
        loads(data)


async def test_missing() -> None:
    with pytest.raises(FileNotFoundError, match="no/such/file"):
        load_file("no/such/file")
    with pytest.raises(FileNotFoundError, match="no/such/file"):
        await load("no/such/file")
