"""The files beside the Python ones: JavaScript, shaders, compiled kernels.

The wheel carries them in one archive; in a checkout they lie in folders of their own.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

_ARCHIVE = Path(__file__).parent / "assets.tar.xz"
_CHECKOUT = Path(__file__).parent.parent.parent
_FOLDERS = {"_web": "web", "_wgsl": "kernels_wgsl", "_wasm": "wasm_kernels/build"}


@cache
def _packed() -> dict[str, bytes]:
    """What the wheel's archive holds, by name."""
    import tarfile

    with tarfile.open(_ARCHIVE) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]


def read_bytes(name: str, file: str) -> bytes:
    """A file of ``"_web"``, ``"_wgsl"`` or ``"_wasm"``."""
    path = _CHECKOUT / _FOLDERS[name] / file
    try:
        if _ARCHIVE.exists():
            return _packed()[f"{name}/{file}"]
        return path.read_bytes()
    except (FileNotFoundError, KeyError):
        hint = "; `make kernels` compiles it" if name == "_wasm" else ""
        raise FileNotFoundError(f"tabgrad misses its file {path}{hint}") from None


def read_text(name: str, file: str) -> str:
    """A text file of one of the folders."""
    return read_bytes(name, file).decode()
