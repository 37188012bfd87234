"""Build hook: compile the WebAssembly kernels, slim the Python, pack all of it into one archive.

A page downloads the wheel before the first line of user code, so it may weigh 300 KB. Python,
kernels, shaders and JavaScript go into one xz archive (a zip file compresses each for itself, and
the builds of the kernels are nearly the same bytes); docstrings, comments and annotations stay in
the checkout. wheel_packed.py imports from it.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import subprocess
import sys
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
        package = root / "package" / "tabgrad"
        files = {
            path.relative_to(package).as_posix(): slim(path, cache)
            for path in sorted(package.rglob("*.py"))
        }
        include = build_data["force_include"]
        include[str(archive(files | assets(root), cache))] = "tabgrad/archive.xz"
        parts = {
            "_packed.py": slim(root / "tools" / "wheel_packed.py", cache),
            "__init__.py": b"from . import _packed\nexec(_packed.door())\n",
        }
        for name, data in parts.items():
            out = cache / f"{digest(data)}{name}"
            write(out, data)
            include[str(out)] = f"tabgrad/{name}"


def assets(root: Path) -> dict[str, bytes]:
    """What lies beside the package."""
    return {
        f"{target}/{path.relative_to(root / folder).as_posix()}": without_comments(path)
        for folder, target in FOLDERS.items()
        for path in sorted((root / folder).rglob("*"))
        if path.is_file() and path.suffix in {".js", ".mjs", ".wgsl", ".wasm"}
    }


def archive(files: dict[str, bytes], cache: Path) -> Path:
    """All files as one: a line for each name, then their contents. Texts end with a zero, for sizes
    do not compress; modules come after them, their names with sizes. Texts and modules are a stream
    each, for what is likely in one is not in the other."""
    modules = {name: data for name, data in files.items() if name.endswith(".wasm")}
    texts = {name: data for name, data in files.items() if name not in modules}
    head = "\n".join([*texts, *(f"{name} {len(data)}" for name, data in modules.items())]).encode()
    ended = [part + b"\0" for part in (head, *texts.values())]
    streams = b"".join(ended), b"".join(modules.values())
    out = cache / f"{digest(b''.join(streams))}.xz"
    if not out.exists():
        write(out, b"".join(map(lzma_of, streams)))
    return out


def without_comments(path: Path) -> bytes:
    """A file; JavaScript and WGSL with half of their indents, and without the comments that end
    lines, or are lines, but for those of WGSL that wgsl.py reads."""
    if path.suffix == ".wasm":
        return path.read_bytes()
    text = re.sub(r"^ */\*\*(?:(?!\*/)[\s\S])*\*/\n", "", path.read_text(), flags=re.M)
    marks = r"(?!// \w*[\[\]])" if path.suffix == ".wgsl" else ""  # sections, and the head comment
    text = re.sub(rf"^ *{marks}//.*\n", "", text, flags=re.M)
    behind = r"(?<=\S) +//(?! as it stands$| _\w$)[^\n\"'`]*$"  # with a quote it may be in a string
    text = re.sub(behind, "", text, flags=re.M)
    return re.sub("^( +)\\1", r"\1", text, flags=re.M).encode()


def lzma_of(data: bytes) -> bytes:
    import lzma

    # pb: nothing in texts or modules is aligned to more than a byte
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "pb": 0}]
    return lzma.compress(data, filters=filters)


def slim(path: Path, cache: Path) -> bytes:
    """A module without docstrings, comments and annotations, and with short names for what is local
    to a function."""
    text = path.read_text()
    out = cache / f"{digest(text.encode() + Path(__file__).read_bytes())}.py"
    if not out.exists():
        annotations = python_minifier.RemoveAnnotationsOptions(
            remove_variable_annotations=True,
            remove_return_annotations=True,
            remove_argument_annotations=True,
            remove_class_attribute_annotations=False,  # see _Untyped
        )
        tree = _Untyped().visit(ast.parse(text))
        lean = python_minifier.minify(
            ast.unparse(tree),
            remove_literal_statements=True,
            remove_annotations=annotations,
            preserve_locals=sorted(kept_names(tree)),
            rename_globals=False,
            hoist_literals=False,
            convert_posargs_to_args=False,
        )
        write(out, without_leftovers(lean).encode())
    return out.read_bytes()


def kept_names(tree: ast.AST) -> set[str]:
    """Arguments keep theirs: callers and the op table read them, and a second name would be a
    second reference, which the package counts. So do variables of comprehensions: one called as
    another in a comprehension around it is taken for that by CPython 3.14."""
    args = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    loops = [node.target for node in ast.walk(tree) if isinstance(node, ast.comprehension)]
    named = [name for target in loops for name in ast.walk(target)]
    return args | {name.id for name in named if isinstance(name, ast.Name)}


class _Untyped(ast.NodeTransformer):
    """Without imports for annotations, and 0 for those of a class, whose names alone count: a
    NamedTuple is made of them."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        return node.orelse if ast.unparse(node.test) == "TYPE_CHECKING" else node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        for line in node.body:
            if isinstance(line, ast.AnnAssign):
                line.annotation = ast.Constant(0)
        return self.generic_visit(node)


def without_leftovers(lean: str) -> str:
    """A module without the imports that only its annotations needed."""
    lean = re.sub(r"^from __future__ import annotations\n", "", lean)
    used = {node.id for node in ast.walk(ast.parse(lean)) if isinstance(node, ast.Name)}

    def keep(found: re.Match[str]) -> str:
        names = [name for name in found[2].split(",") if name in used]
        return f"from {found[1]} import {','.join(names)}\n" if names else ""

    return re.sub(r"^from (typing|collections\.abc) import ([\w,]+)\n", keep, lean, flags=re.M)


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
