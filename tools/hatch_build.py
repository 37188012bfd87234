"""Build hook: compile the WebAssembly kernels, pack what lies beside the package, slim the Python.

A page downloads the wheel before the first line of user code, so it may weigh 300 KB. Kernels,
shaders and JavaScript go into one xz archive (the two builds of the kernels are nearly the same
bytes, which deflate cannot see); docstrings, comments and annotations stay in the checkout.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import python_minifier
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = {"web": "_web", "kernels_wgsl": "_wgsl", "wasm_kernels/build": "_wasm"}


class BuildHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return  # the checkout itself is searched then
        root = Path(self.root)
        compile_kernels(root)
        cache = root / ".cache" / "wheel"
        cache.mkdir(parents=True, exist_ok=True)
        include = build_data["force_include"]
        include[str(archive(root, cache))] = "tabgrad/assets.tar.xz"
        package = root / "package" / "tabgrad"
        for path in sorted(package.rglob("*.py")):
            include[str(slim(path, cache))] = f"tabgrad/{path.relative_to(package).as_posix()}"


def archive(root: Path, cache: Path) -> Path:
    """All assets as one reproducible tar.xz, written anew only when one of them changed."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for folder, target in FOLDERS.items():
            for path in sorted((root / folder).rglob("*")):
                if path.is_file() and path.suffix in {".js", ".mjs", ".wgsl", ".wasm"}:
                    name = f"{target}/{path.relative_to(root / folder).as_posix()}"
                    data = without_comments(path)
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    data = raw.getvalue()
    out = cache / f"{digest(data)}.tar.xz"
    if not out.exists():
        write(out, lzma_of(data))
    return out


def without_comments(path: Path) -> bytes:
    """A file; JavaScript without the comments that stand on lines of their own."""
    if path.suffix not in {".js", ".mjs"}:
        return path.read_bytes()
    text = re.sub(r"^ */\*\*.*?\*/\n", "", path.read_text(), flags=re.S | re.M)
    return re.sub(r"^ *//.*\n", "", text, flags=re.M).encode()


def lzma_of(data: bytes) -> bytes:
    import lzma

    return lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)


def slim(path: Path, cache: Path) -> Path:
    """A module without docstrings, comments and annotations; names stay as they are, since the op
    table reads them."""
    text = path.read_text()
    out = cache / f"{digest(text.encode())}.py"
    if not out.exists():
        annotations = python_minifier.RemoveAnnotationsOptions(
            remove_variable_annotations=True,
            remove_return_annotations=True,
            remove_argument_annotations=True,
            remove_class_attribute_annotations=False,  # NamedTuples are made of them
        )
        lean = python_minifier.minify(
            text,
            remove_literal_statements=True,
            remove_annotations=annotations,
            rename_locals=False,
            rename_globals=False,
            hoist_literals=False,
            convert_posargs_to_args=False,
        )
        write(out, lean.encode())
    return out


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:24]


def write(out: Path, data: bytes) -> None:
    """Several builds may run at once: each writes a file of its own and renames it."""
    part = out.with_suffix(f".{os.getpid()}")
    part.write_bytes(data)
    part.rename(out)


def compile_kernels(root: Path) -> None:
    folder = root / "wasm_kernels"
    if not (folder / "build.py").exists():
        return
    sources = [p for p in folder.iterdir() if p.suffix in {".c", ".h", ".inc", ".py"}]
    built = list((folder / "build").glob("*.wasm"))
    newest = max(p.stat().st_mtime for p in sources)
    if built and min(p.stat().st_mtime for p in built) >= newest:
        return
    # Trying a line of Python must not wait for, or fail with, C that is being worked on.
    if built and os.environ.get("TABGRAD_KEEP_KERNELS"):
        print("note: the kernels are older than their sources; `make kernels` compiles them")
    elif subprocess.run([sys.executable, "build.py"], cwd=folder).returncode:
        raise SystemExit("the kernels did not compile")
