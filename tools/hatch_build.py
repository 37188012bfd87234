"""Build hook: compile the WebAssembly kernels and take the folders beside the package into it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = {"web": "_web", "kernels_wgsl": "_wgsl", "wasm_kernels/build": "_wasm"}


class BuildHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return  # the checkout itself is searched then
        root = Path(self.root)
        compile_kernels(root)
        for folder, target in FOLDERS.items():
            for path in sorted((root / folder).rglob("*")):
                if path.is_file() and path.suffix in {".js", ".mjs", ".wgsl", ".wasm"}:
                    inside = path.relative_to(root / folder).as_posix()
                    build_data["force_include"][str(path)] = f"tabgrad/{target}/{inside}"


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
