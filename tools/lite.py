"""JupyterLite for the site: its own front end and the wheels its kernel needs, both cached.

The kernel loads the site's own Pyodide, so that nothing lies in the site twice.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from project import CACHE, ROOT, VENV, run

# What the kernel imports besides the packages that every page may have.
KERNEL_WHEELS = [
    "asttokens==3.0.1",
    "comm==0.2.3",
    "decorator==5.2.1",
    "executing==2.2.1",
    "ipython==9.12.0",
    "ipython-pygments-lexers==1.1.1",
    "jedi==0.19.2",
    "matplotlib-inline==0.2.1",
    "parso==0.8.6",
    "prompt_toolkit==3.0.53",
    "pure-eval==0.2.3",
    "stack-data==0.6.3",
    "traitlets==5.14.3",
    "wcwidth==0.6.0",
]
KERNEL = "@jupyterlite/pyodide-kernel-extension:kernel"
BUILD = {
    "LiteBuildConfig": {
        "contents": ["content"],
        "output_dir": "out",
        "cache_dir": "cache",
        "apps": ["lab", "notebooks", "repl"],
        "no_sourcemaps": True,
    }
}
PAGE = {
    "jupyter-lite-schema-version": 0,
    "jupyter-config-data": {
        "appName": "tabgrad notebooks",
        "exposeAppInBrowser": True,
        "litePluginSettings": {
            KERNEL: {
                "pyodideUrl": "./../pyodide/pyodide.mjs",
                "disablePyPIFallback": True,
                "loadPyodideOptions": {
                    "packages": ["micropip", "numpy", "tabgrad", "ipython", "jedi", "comm"]
                },
            }
        },
    },
}


def cached(name: str, stamp: str, make: Callable[[Path], None]) -> Path:
    """A folder in the cache, made again when its stamp has changed."""
    folder, note = CACHE / name, CACHE / "stamps" / name
    note.parent.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two that want it at once, one makes it
        if folder.exists() and note.exists() and note.read_text() == stamp:
            return folder
        with tempfile.TemporaryDirectory(dir=CACHE) as tmp:
            new = Path(tmp) / name
            new.mkdir()
            make(new)
            shutil.rmtree(folder, ignore_errors=True)
            new.rename(folder)
        note.write_text(stamp)
    return folder


def kernel_wheels() -> list[Path]:
    """The wheels that the lock of the site's Pyodide must list for the kernel to start."""

    def download(folder: Path) -> None:
        pip = [VENV / "bin" / "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
        run(*pip, "--python-version", "3.14", "-d", folder, *KERNEL_WHEELS, quiet=True)

    return sorted(cached("lite-wheels", " ".join(KERNEL_WHEELS), download).glob("*.whl"))


def front_end(contents: list[Path]) -> Path:
    """JupyterLite's pages with these files in their file browser."""
    digest = hashlib.sha256(json.dumps([BUILD, PAGE]).encode())
    digest.update((ROOT / "requirements-dev.txt").read_bytes())
    for path in contents:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())

    def build(folder: Path) -> None:
        work = folder / "work"
        (work / "content").mkdir(parents=True)
        for path in contents:
            shutil.copy(path, work / "content")
        (work / "jupyter_lite_config.json").write_text(json.dumps(BUILD))
        (work / "jupyter-lite.json").write_text(json.dumps(PAGE))
        run(VENV / "bin" / "jupyter", "lite", "build", cwd=work, quiet=True)
        for path in (work / "out").iterdir():
            path.rename(folder / path.name)
        shutil.rmtree(work)

    return cached("lite", digest.hexdigest(), build)


def link(source: str, target: str) -> None:
    """A hard link where the file system allows: large files need not lie on disk twice."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
