"""The files beside the Python ones: JavaScript, shaders, compiled kernels.

The wheel carries them inside the package; in a checkout they lie in folders of their own.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent
_FOLDERS = {"_web": "web", "_wgsl": "kernels_wgsl", "_wasm": "wasm_kernels/build"}


def folder(name: str) -> Path:
    """The folder of ``"_web"``, ``"_wgsl"`` or ``"_wasm"``."""
    inside = _PACKAGE / name
    if inside.is_dir():
        return inside
    return _PACKAGE.parent.parent / _FOLDERS[name]


def read_bytes(name: str, file: str) -> bytes:
    """A file of one of the folders."""
    path = folder(name) / file
    try:
        return path.read_bytes()
    except FileNotFoundError:
        hint = "; `make kernels` compiles it" if name == "_wasm" else ""
        raise FileNotFoundError(f"tabgrad misses its file {path}{hint}") from None


def read_text(name: str, file: str) -> str:
    """A text file of one of the folders."""
    return read_bytes(name, file).decode()
