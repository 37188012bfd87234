"""Install what the benchmark needs and run it; the arguments go on to run.mjs.

make bench ARGS="--only matmul --systems tabgrad-wasm,jax-wasm-1"
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tools"))

import project  # noqa: E402

project.use_venv()

from wheel import build_wheel  # noqa: E402

FOLDER = project.CACHE / "bench"


def install(node: str) -> None:
    """The peers, from the npm registry, as the lock names them; skipped while it is the same."""
    lock = (HERE / "package-lock.json").read_bytes()
    stamp, note = hashlib.sha256(lock).hexdigest(), HERE / "node_modules" / ".stamp"
    if note.exists() and note.read_text() == stamp:
        return
    with project.step("setup of the peers"):
        path = f"PATH={Path(node).parent}:{os.environ['PATH']}"
        project.run("env", path, "npm", "ci", cwd=HERE, quiet=True)
    note.write_text(stamp)


def bench() -> None:
    node = project.find_node()
    if not node:
        raise project.Failure("node 20 or newer is needed; `make setup` installs one")
    install(node)
    wheels = FOLDER / "wheel"
    for old in wheels.glob("*.whl"):
        old.unlink()
    build_wheel(wheels)
    options = [a for a in sys.argv[1:] if a != "--docs"]
    project.run(node, HERE / "run.mjs", *options)
    if len(options) < len(sys.argv) - 1:
        write_docs(node)


def write_docs(node: str) -> None:
    """docs/performance.md, from the results and from what Python and memory cost."""
    page = [project.VENV / "bin" / "python", HERE.parent / "tools" / "page.py", "--device", "wasm"]
    told = subprocess.run([*page, HERE / "costs.py"], check=True, capture_output=True, text=True)
    (FOLDER / "costs.json").write_text(told.stdout.splitlines()[-1])
    project.run(node, HERE / "report.mjs")


if __name__ == "__main__":
    project.main(bench)
