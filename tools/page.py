"""Run a Python file inside Pyodide in a headless browser, with the wheel of this checkout.

    python tools/page.py script.py [--device webgpu] [--screenshot page.png] [ARGS…]

Top-level ``await`` works, and so do synchronous reads. Flags such as DEBUG and TABGRAD_* are
passed on. Exit code 1 when the script raises.
"""

from __future__ import annotations

import project

project.use_venv()

import argparse  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

from browser import BROWSERS  # noqa: E402
from inpage_job import Job, PageServer, passed_environment, run_in_node  # noqa: E402
from project import WHEELS, Failure, main  # noqa: E402
from wheel import build_wheel  # noqa: E402


def follow(message: dict) -> None:
    if "out" in message:
        sys.stdout.write(message["out"])
        sys.stdout.flush()


def page() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("script", type=Path, help="a Python file; - reads standard input")
    parser.add_argument("args", nargs=argparse.REMAINDER, help="become sys.argv[1:]")
    parser.add_argument("--device", help="made the default device before the script starts")
    parser.add_argument("--no-build", action="store_true", help="take the wheel in dist/ as it is")
    parser.add_argument("--browser", choices=[*BROWSERS, "node"], default="chromium")
    parser.add_argument("--screenshot", type=Path, metavar="PNG")
    parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS")
    parser.add_argument("--packages", default="", help="packages of the lock to load beforehand")
    parser.add_argument("--times", action="store_true", help="print how long each stage took")
    parser.add_argument("--log", action="store_true", help="print the browser's console at the end")
    options = parser.parse_args()
    os.environ.setdefault("TABGRAD_KEEP_KERNELS", "1")
    with tempfile.TemporaryDirectory() as tmp:
        wheel = next(WHEELS.glob("*.whl"), None) if options.no_build else build_wheel(Path(tmp))
        if wheel is None:
            raise Failure("there is no wheel in dist/; leave out --no-build")
        job = script_job(options, wheel)
        if options.browser == "node":
            done = run_in_node(job, follow, options.timeout, gpu=options.device == "webgpu")
        else:
            done = run_in_browser(options, job)
    if options.times:
        print(" ".join(f"{k} {v:.2f} s" for k, v in done["times"].items()))
    if not done["ok"]:
        print(done["error"].rstrip(), file=sys.stderr)
    return 0 if done["ok"] else 1


def run_in_browser(options: argparse.Namespace, job: Job) -> dict:
    with BROWSERS[options.browser]() as browser, PageServer() as server:
        done = server.run(browser, job, follow, options.timeout)
        if options.screenshot:
            browser.screenshot(options.screenshot)
        if options.log or not done["ok"]:
            print(*browser.log(), sep="\n", file=sys.stderr)
    return done


def script_job(options: argparse.Namespace, wheel: Path) -> Job:
    from_stdin = str(options.script) == "-"
    code = sys.stdin.read() if from_stdin else options.script.read_text()
    name = "<stdin>" if from_stdin else options.script.name
    before = f"import sys; sys.argv = {[name, *options.args]!r}\n"
    if options.device:
        before += f"import tabgrad; tabgrad.set_default_device({options.device!r})\n"
    packages = [name for name in options.packages.split(",") if name]
    wheels = [(wheel, "wheel", "")]
    return Job(code, name, before, packages, wheels, passed_environment())


if __name__ == "__main__":
    main(page)
