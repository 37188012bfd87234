"""Where things are, and the few helpers that the other tools share. Standard library only:
setup.py imports this before anything is installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
DIST = CACHE / "dist"  # Pyodide and its wheels, as a page loads them
VENV = CACHE / "venv"
SITE = CACHE / "site"
WHEELS = ROOT / "dist"  # where our own wheel goes
KERNELS = ROOT / "wasm_kernels" / "build"


class Failure(Exception):
    """An error whose text says all there is to say: printed without a traceback."""


def run(*cmd: str | Path, cwd: Path = ROOT, quiet: bool = False) -> None:
    """Run a command; ``quiet`` shows its output only when it fails."""
    pipe = subprocess.PIPE if quiet else None
    done = subprocess.run(
        [str(c) for c in cmd], cwd=cwd, stdout=pipe, stderr=subprocess.STDOUT if quiet else None
    )
    if done.returncode:
        output = done.stdout.decode(errors="replace") if quiet else ""
        raise Failure(f"{output}\n`{' '.join(map(str, cmd))}` ended with {done.returncode}")


@contextmanager
def step(name: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    print(f"{name:<42} {time.monotonic() - start:6.1f} s", flush=True)


def find_program(variable: str, names: Sequence[str]) -> str | None:
    """The program that the environment variable names, else the first one on PATH."""
    chosen = os.environ.get(variable)
    return chosen or next((p for p in map(shutil.which, names) if p), None)


def find_chromium() -> str | None:
    return find_program(
        "CHROMIUM", ["chromium", "chromium-browser", "google-chrome", "chrome", "msedge"]
    )


def find_chromedriver() -> str | None:
    return find_program("CHROMEDRIVER", ["chromedriver"])


def find_firefox() -> str | None:
    return find_program("FIREFOX", ["firefox-esr", "firefox"])


def node_major(node: str) -> int:
    out = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    return int(out.strip().lstrip("v").split(".")[0] or 0)


def find_node() -> str | None:
    """A node that can run Pyodide: the one on PATH if it is new enough, else the venv's."""
    path = os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", "")])
    for node in (os.environ.get("NODE"), shutil.which("node"), shutil.which("node", path=path)):
        if node and node_major(node) >= 20:
            return node
    return None


def use_venv() -> None:
    """Go on in the virtual environment, so that a tool can be started by any Python."""
    python = VENV / "bin" / "python"
    if Path(sys.prefix) != VENV and python.exists():
        os.execv(python, [str(python), *sys.orig_argv[1:]])


def main(function: object) -> None:
    """Run a tool's main function; a Failure becomes one message and exit code 1."""
    # A tool that a time limit ends must still end the browser that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(function())  # type: ignore[operator]
    except Failure as failure:
        sys.exit(f"error: {str(failure).strip()}")
    except KeyboardInterrupt:
        sys.exit(130)
