"""The files beside the Python ones: JavaScript, shaders, compiled kernels.

The wheel carries them in its archive; in a checkout they lie in folders of their own.
"""

from __future__ import annotations

import sys
from pathlib import Path

_CHECKOUT = Path(__file__).parent.parent.parent
_FOLDERS = {"_web": "web", "_wgsl": "kernels_wgsl", "_wasm": "wasm_kernels/build"}


def packed() -> dict[str, bytes] | None:
    """What the wheel's archive holds, by name; None in a checkout."""
    return getattr(sys.modules.get("tabgrad._packed"), "FILES", None)


def read_bytes(name: str, file: str) -> bytes:
    """A file of ``"_web"``, ``"_wgsl"`` or ``"_wasm"``."""
    path = _CHECKOUT / _FOLDERS[name] / file
    files = packed()
    try:
        return path.read_bytes() if files is None else files[f"{name}/{file}"]
    except (FileNotFoundError, KeyError):
        hint = "; `make kernels` compiles it" if name == "_wasm" else ""
        raise FileNotFoundError(f"tabgrad misses its file {path}{hint}") from None


def read_text(name: str, file: str) -> str:
    """A text file of one of the folders."""
    return read_bytes(name, file).decode()
