"""Model files: safetensors and ``.ptjs`` (which is safetensors), from disk or from a URL."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .. import runtime
from ..tensor import Tensor, upload
from .safetensors import SafetensorError, header_length, parse_header, serialize

__all__ = ["SafetensorError", "load", "load_file", "load_into_module", "save_file", "save_ptjs"]


def save_file(
    tensors: Mapping[str, Tensor], filename: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Writes tensors as a safetensors file; views are written whole, one after another."""
    parts = {}
    for name, x in tensors.items():
        data = bytes(x.detach()._bytes()) if x.numel() else b""
        parts[name] = (x.dtype, x._shape, data)
    with open(filename, "wb") as f:
        f.write(serialize(parts, metadata))


def load_file(filename: str | os.PathLike[str], device: Any = None) -> dict[str, Tensor]:
    """Reads a safetensors file from disk.

    Raises:
        FileNotFoundError: there is no such file
        SafetensorError: the file is truncated, or not a safetensors file
    """
    made = runtime.resolve(device)
    out = {}
    with open(filename, "rb") as f:
        size = os.fstat(f.fileno()).st_size
        header = parse_header(f.read(header_length(f.read(8), size)), size)
        for name, e in header.entries.items():
            f.seek(e.start)
            out[name] = Tensor._wrap(upload(f.read(e.end - e.start), e.shape, e.dtype, made), made)
    return out


def loads(data: bytes, device: Any = None) -> dict[str, Tensor]:
    """Reads the bytes of a safetensors file."""
    made = runtime.resolve(device)
    n = header_length(data[:8], len(data))
    header = parse_header(data[8 : 8 + n], len(data))
    return {
        name: Tensor._wrap(upload(data[e.start : e.end], e.shape, e.dtype, made), made)
        for name, e in header.entries.items()
    }


async def load(
    source: str | os.PathLike[str], device: Any = None, progress: Any = None
) -> dict[str, Tensor]:
    """Reads a safetensors or ``.ptjs`` file from a path or URL.

    In a page a URL is streamed: the bytes go straight to device memory, never through Python's.

    Args:
        source: path, or URL (in a page also relative to it)
        device: where the tensors shall live
        progress: called with (bytes so far, bytes in all)
    """
    path = os.fspath(source)
    if os.path.exists(path) or not (runtime.IN_PAGE or "://" in path):
        return load_file(path, device)
    if not runtime.IN_PAGE:
        return loads(_download(path), device)
    from ..backends.page import stream_file

    return await stream_file(path, runtime.resolve(device), progress)


def _download(url: str) -> bytes:
    from urllib.request import urlopen

    with urlopen(url, timeout=60) as answer:
        return answer.read()


async def load_into_module(module: Any, source: Any, strict: bool = True) -> Any:
    """``load_state_dict`` from a path or URL."""
    state = await load(source)
    return module.load_state_dict(state, strict=strict)


def save_ptjs(state_dict: Mapping[str, Any], filename: str | os.PathLike[str]) -> None:
    """Writes a ``state_dict`` of PyTorch (or of tabgrad) as a ``.ptjs`` file.

    Run it where PyTorch is: ``tabgrad.io.save_ptjs(model.state_dict(), "model.ptjs")``.
    """
    save_file({k: _own(v) for k, v in state_dict.items()}, filename, {"format": "pt"})


def _own(x: Any) -> Tensor:
    """A tensor of either library as ours."""
    if isinstance(x, Tensor):
        return x
    from ..creation import tensor

    x = x.detach().cpu()
    if str(x.dtype) == "torch.bfloat16":
        from ..dtypes import bfloat16

        return tensor(x.float().numpy(), device="cpu").to(bfloat16)
    return tensor(x.numpy(), device="cpu")
