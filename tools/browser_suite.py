"""Run tests/suite inside Pyodide, once per device, and fail unless every device passed tests.

    python tools/browser_suite.py [--devices webgpu,wasm] [--browser chromium|firefox|node]
                                  [-k EXPRESSION] [FILE…] [any pytest option]

FILE is a path as on the host, such as tests/suite/test_ops.py. What ran is noted in
.cache/devices-that-ran.txt.
"""

from __future__ import annotations

import project

project.use_venv()

import argparse  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
import zipfile  # noqa: E402
from pathlib import Path  # noqa: E402

from browser import BROWSERS, Browser  # noqa: E402
from inpage_job import Job, PageServer, passed_environment, run_in_node  # noqa: E402
from project import CACHE, ROOT, Failure, main  # noqa: E402
from wheel import build_wheel  # noqa: E402

TIMEOUT = 20 * 60  # seconds for one device
PATIENCE = 180  # seconds for one test
RAN = CACHE / "devices-that-ran.txt"


class Follower:
    """Prints what the page prints and remembers where it is."""

    def __init__(self) -> None:
        self.test = "(none)"
        self.result: dict = {"code": -1, "counts": {}}

    def __call__(self, message: dict) -> None:
        if "out" in message:
            sys.stdout.write(message["out"])
            sys.stdout.flush()
        self.test = message.get("test", self.test)
        self.result = message.get("result", self.result)


def suite_archive(folder: Path) -> Path:
    """Everything the tests may read, laid out as in the checkout."""
    path = folder / "tests.zip"
    files = [ROOT / "pyproject.toml", ROOT / "tests" / "conftest.py"]
    files += sorted(p for p in (ROOT / "tests" / "suite").rglob("*") if p.is_file())
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            if "__pycache__" not in file.parts:
                archive.write(file, file.relative_to(ROOT))
    return path


def suite_job(device: str, wheel: Path, tests: Path, pytest_args: list[str]) -> Job:
    chosen = any(Path(arg.split("::")[0]).suffix == ".py" for arg in pytest_args)
    args = [*([] if chosen else ["tests/suite"]), *pytest_args]
    return Job(
        code=(ROOT / "tools" / "inpage" / "suite.py").read_text(),
        filename="suite.py",
        packages=["pytest", "numpy"],
        archives=[(wheel, "wheel", ""), (tests, "zip", "/home/pyodide/checkout")],
        env={
            **passed_environment(),
            "TABGRAD_DEVICES": device,
            "PYTEST_ARGS": json.dumps(args),
        },
    )


def run_device(job: Job, server: PageServer, browser: Browser | None, gpu: bool) -> dict:
    follow = Follower()
    try:
        if browser:
            done = server.run(browser, job, follow, TIMEOUT, PATIENCE)
        else:
            done = run_in_node(job, follow, TIMEOUT, gpu)
    except Failure as failure:
        raise Failure(f"while in {follow.test}: {failure}") from None
    if not done["ok"]:
        raise Failure(f"while in {follow.test}: {done['error']}")
    return follow.result


def browser_suite() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--devices", default="webgpu,wasm")
    parser.add_argument("--browser", choices=[*BROWSERS, "node"], default="chromium")
    options, pytest_args = parser.parse_known_args()
    bad = []
    with tempfile.TemporaryDirectory() as tmp, PageServer() as server:
        wheel, tests = build_wheel(Path(tmp)), suite_archive(Path(tmp))
        for device in options.devices.split(","):
            print(f"=== {device} in {options.browser} ===", flush=True)
            start = time.monotonic()
            job = suite_job(device, wheel, tests, pytest_args)
            # A browser of its own: nothing of one device's run can be left for the next.
            browser = None if options.browser == "node" else BROWSERS[options.browser]()
            try:
                result = run_device(job, server, browser, gpu=device != "wasm")
            except Failure as failure:
                print(f"\n{failure}", file=sys.stderr)
                result = {"code": -1, "counts": {}}
            finally:
                if browser:
                    browser.close()
            counts = ", ".join(f"{n} {word}" for word, n in result["counts"].items())
            note = f"{device} ({options.browser}): {counts or 'no tests ran'}"
            print(f"{note}; {time.monotonic() - start:.1f} s with start-up", flush=True)
            with RAN.open("a") as file:
                file.write(note + "\n")
            if result["code"] != 0 or not result["counts"].get("passed"):
                bad.append(device)
    if bad:
        print(f"FAILED on {', '.join(bad)}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    main(browser_suite)
