"""Add a wheel to the lock that tells Pyodide which packages lie beside it."""

from __future__ import annotations

import email
import hashlib
import re
import zipfile
from pathlib import Path


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def add_wheel(lock: dict, wheel: Path) -> None:
    """Enter ``wheel``; requirements with a marker are left out, for none of ours hold in a page."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = next(n for n in names if n.endswith(".dist-info/METADATA"))
        message = email.message_from_bytes(archive.read(metadata))
    tops = {n.split("/")[0].removesuffix(".py") for n in names if n.endswith(".py")}
    needs = [d for d in message.get_all("Requires-Dist") or [] if ";" not in d]
    name = normalized(message["Name"])
    lock["packages"][name] = {
        "name": name,
        "version": message["Version"],
        "file_name": wheel.name,
        "install_dir": "site",
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "package_type": "package",
        "imports": sorted(tops),
        "depends": [normalized(re.match(r"[\w.-]+", d)[0]) for d in needs],  # type: ignore[index]
        "unvendored_tests": False,
    }
