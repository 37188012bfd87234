"""Build the wheel, check its size, and say what it weighs.

python tools/wheel.py [--out FOLDER]
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from pathlib import Path

from project import VENV, WHEELS, Failure, main, run

LIMIT = 300_000  # bytes: what a page downloads before the first line of user code


def build_wheel(out: Path = WHEELS) -> Path:
    """Build into a folder of its own first: several builds may run at the same time."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as tmp:
        run(VENV / "bin" / "python", "-m", "hatchling", "build", "-t", "wheel", "-d", tmp,
            quiet=True)  # fmt: skip
        built = next(Path(tmp).glob("*.whl"))
        return built.rename(out / built.name)


def wheel() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=WHEELS)
    path = build_wheel(parser.parse_args().out)
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    print(f"{path.name}: {size / 1000:.1f} KB, {len(names)} files")
    if "tabgrad/py.typed" not in names:
        raise Failure("the wheel lacks tabgrad/py.typed")
    if size > LIMIT:
        raise Failure(f"the wheel is larger than {LIMIT // 1000} KB")


if __name__ == "__main__":
    main(wheel)
