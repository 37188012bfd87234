"""Assemble the site in .cache/site: the pages, Pyodide with our wheel in its lock, and the
JavaScript that the script tag loads. Plain static hosting can serve the folder as it is.

    python tools/build_site.py [--out FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path

from project import CACHE, DIST, ROOT, SITE, main, step
from pyodide_lock import add_wheel
from wheel import build_wheel


def link(source: str, target: str) -> None:
    """A hard link where the file system allows: Pyodide's wheels need not lie on disk twice."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def build_site(out: Path) -> None:
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as tmp:
        new = Path(tmp) / "site"
        if (ROOT / "site").is_dir():
            shutil.copytree(ROOT / "site", new)
        shutil.copytree(DIST, new / "pyodide", copy_function=link)
        if (ROOT / "web").is_dir():
            shutil.copytree(ROOT / "web", new / "web")
        wheel = build_wheel(new / "pyodide")
        # Another file in its place: the old one is a link to the lock of every other page.
        lock_file = new / "pyodide" / "pyodide-lock.json"
        lock = json.loads(lock_file.read_text())
        lock_file.unlink()
        add_wheel(lock, wheel)
        lock_file.write_text(json.dumps(lock, indent=1))
        shutil.rmtree(out, ignore_errors=True)
        new.rename(out)


def site() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=SITE)
    options = parser.parse_args()
    with step(f"site in {options.out}"):
        build_site(options.out)


if __name__ == "__main__":
    main(site)
