"""Install what the benchmark needs and run it; the arguments go on to run.mjs.

make bench ARGS="--only matmul --systems tabgrad-wasm,jax-wasm-1"
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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
    costs = told(*page, HERE / "costs.py") | step_memory(page)
    (FOLDER / "costs.json").write_text(json.dumps(costs, ensure_ascii=False))
    project.run(node, HERE / "report.mjs")


def told(*command: object) -> dict[str, Any]:
    """The JSON of a program's last line."""
    done = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def step_memory(page: list[Any]) -> dict[str, str]:
    """Rows: the peak of training steps, beside that of PyTorch's CPU allocator if it is here."""
    script, python = HERE / "step_memory.py", project.CACHE / "torch" / "bin" / "python"
    theirs = told(python, script) if python.exists() else {}
    rows = {}
    for name, (plain, compiled, first) in told(*page, script).items():
        row = f"{plain:.1f} MB; compiled {compiled:.1f}, {first:.1f} while it is recorded; PyTorch "
        most = theirs.get(name, [0])[0]
        row += f"{most:.1f}: {plain / most:.2f}, {compiled / most:.2f}" if most else "is not here"
        rows[f"Memory of a training step: {name} (target 1.1 of PyTorch)"] = row
    return rows


if __name__ == "__main__":
    project.main(bench)
