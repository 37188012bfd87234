"""Run a job (a Python text, wheels, files) inside Pyodide and follow its reports."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from browser import Browser
from project import DIST, ROOT, Failure, find_chromium, find_node
from serve import Server

INPAGE = ROOT / "tools" / "inpage"
# Synchronous reads of the GPU (under either name), and fused multiply-add.
NODE_FLAGS = [
    "--experimental-wasm-stack-switching",
    "--experimental-wasm-jspi",
    "--experimental-wasm-relaxed-simd",
]
SILENCE = 60  # seconds without a heartbeat after which a page counts as dead


@dataclass
class Job:
    code: str
    filename: str = "script.py"
    before: str = ""  # run first, so that the line numbers of ``code`` stay right
    packages: list[str] = field(default_factory=list)
    # (file, "wheel" or "zip", folder to unpack to; "" is where packages go)
    archives: list[tuple[Path, str, str]] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)

    def described(self, index: str, locate: Callable[[Path], str]) -> dict[str, Any]:
        archives = [(locate(path), form, folder) for path, form, folder in self.archives]
        return {**vars(self), "index": index, "archives": archives}


def passed_environment() -> dict[str, str]:
    """The flags a developer sets in the shell, for the Python inside the page."""
    return {k: v for k, v in os.environ.items() if k.startswith("TABGRAD_") or k == "DEBUG"}


class PageServer:
    """Serves jobs and collects what their pages report."""

    def __init__(self) -> None:
        self.messages: queue.Queue[list[dict]] = queue.Queue()
        self.server = Server(
            {"/pyodide/": DIST, "/job/": INPAGE},
            on_post=lambda body: self.messages.put(json.loads(body)),
            isolated=True,
        )

    def __enter__(self) -> PageServer:
        self.server.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.__exit__()

    def run(
        self,
        browser: Browser,
        job: Job,
        on_message: Callable[[dict], None],
        timeout: float,
        patience: float = float("inf"),
    ) -> dict:
        """Run ``job`` in a fresh page; every message but the last goes to ``on_message``.
        ``patience`` is how many seconds may pass without one."""
        for path, _, _ in job.archives:
            self.server.pages[f"/archive/{path.name}"] = path.read_bytes()
        described = job.described("/pyodide/", lambda path: f"/archive/{path.name}")
        self.server.pages["/job/job.json"] = json.dumps(described).encode()
        browser.goto(self.server.url + "job/index.html")
        alive = spoke = time.monotonic()
        end = alive + timeout
        while True:
            batch = self.receive()
            now = time.monotonic()
            alive = now if batch else alive
            for message in batch:
                if "done" in message:
                    return message["done"]
                if "alive" not in message:
                    spoke = now
                    on_message(message)
            if browser.crashed:
                reason = "the page crashed"
            elif now - alive > SILENCE:
                reason = f"the page has shown no sign of life for {SILENCE} s"
            elif now - spoke > patience:
                reason = f"the page is busy but has reported nothing for {patience:.0f} s"
            elif now > end:
                reason = f"the job took more than {timeout:.0f} s"
            else:
                continue
            log = "".join(f"\n  {line}" for line in browser.log()[-30:])
            raise Failure(f"{reason}; the browser's log:{log or ' (empty)'}")

    def receive(self) -> list[dict]:
        try:
            return self.messages.get(timeout=1)
        except queue.Empty:
            return []


def node_command(job: Path, descriptor: int, gpu: bool) -> list[str]:
    node = find_node()
    if not node:
        raise Failure("no node found; `make setup` installs one")
    # A version that has them without a flag refuses the flag.
    known = subprocess.run([node, "--v8-options"], capture_output=True, text=True).stdout
    flags = [flag for flag in NODE_FLAGS if f"{flag} " in known]
    command = [node, *flags, str(INPAGE / "node.mjs"), str(job), str(descriptor)]
    return [*command, "--gpu"] if gpu else command


def software_gpu() -> dict[str, str]:
    """The environment that makes Vulkan programs find Chromium's software adapter."""
    if "VK_ICD_FILENAMES" in os.environ:
        return {}
    chromium = Path(find_chromium() or "/usr/bin/chromium").resolve()
    for folder in (chromium.parent, Path("/usr/lib/chromium"), Path("/usr/lib64/chromium")):
        icd = folder / "vk_swiftshader_icd.json"
        if icd.exists():
            # The folder has the Vulkan loader too, for a system without one.
            return {"VK_ICD_FILENAMES": str(icd), "LD_LIBRARY_PATH": str(folder)}
    raise Failure("no software adapter found: install Chromium, or set VK_ICD_FILENAMES")


def run_in_node(
    job: Job, on_message: Callable[[dict], None], timeout: float, gpu: bool = False
) -> dict:
    """Run ``job`` in Pyodide under node; messages arrive as lines of a pipe of their own."""
    reading, writing = os.pipe()
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(job.described(f"{DIST}/", str), file)
        file.flush()
        process = subprocess.Popen(
            node_command(Path(file.name), writing, gpu),
            pass_fds=[writing],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(software_gpu() if gpu else {})},
        )
        os.close(writing)
        alarm = threading.Timer(timeout, process.kill)
        alarm.start()
        done = None
        with os.fdopen(reading, encoding="utf-8") as pipe:
            for line in pipe:
                message = json.loads(line)
                if "done" in message:
                    done = message["done"]
                else:
                    on_message(message)
        process.wait()
        alarm.cancel()
    if done is None:
        raise Failure(f"node ended with {process.returncode} before the job was done")
    return done
