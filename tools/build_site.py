"""Assemble the site in .cache/site: the pages, Pyodide with our wheel in its lock, the JavaScript
that the script tag loads, and JupyterLite. Plain static hosting can serve the folder as it is.

    python tools/build_site.py [--out FOLDER]
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

from lite import front_end, kernel_wheels, link
from project import CACHE, DIST, ROOT, SITE, main, step
from pyodide_lock import add_wheel
from wheel import build_wheel

# Kept in the repository for those who build, not for visitors.
NOT_SERVED = shutil.ignore_patterns("README.md", "reference", "notebooks", "__pycache__")


def build_site(out: Path) -> None:
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as tmp:
        new = Path(tmp) / "site"
        shutil.copytree(ROOT / "site", new, ignore=NOT_SERVED)
        shutil.copytree(ROOT / "web", new / "web")
        shutil.copytree(DIST, new / "pyodide", copy_function=link)
        complete_lock(new / "pyodide")
        notebooks = sorted((ROOT / "site" / "notebooks").glob("*.ipynb"))
        data = [ROOT / "site" / "data" / name for name in ("digits.bin", "digits.json")]
        shutil.copytree(front_end([*notebooks, *data]), new / "lite", copy_function=link)
        shutil.rmtree(out, ignore_errors=True)
        new.rename(out)


def complete_lock(pyodide: Path) -> None:
    """Put our wheel and those of the notebook kernel beside Pyodide's, and into its lock."""
    lock_file = pyodide / "pyodide-lock.json"
    lock = json.loads(lock_file.read_text())
    for wheel in kernel_wheels():
        link(str(wheel), str(pyodide / wheel.name))
        add_wheel(lock, wheel)
    add_wheel(lock, build_wheel(pyodide))
    lock_file.unlink()  # another file in its place: the old one is a link to every other site's
    lock_file.write_text(json.dumps(lock, indent=1))


def site() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=SITE)
    options = parser.parse_args()
    with step(f"site in {options.out}"):
        build_site(options.out)


if __name__ == "__main__":
    main(site)
