"""The JavaScript tests, under node, with Chromium's software GPU."""

from __future__ import annotations

import os
import subprocess

from inpage_job import software_gpu
from project import ROOT, find_node


def test_javascript() -> None:
    node = find_node()
    assert node, "no node found"
    files = sorted(str(path) for path in (ROOT / "tests" / "web").glob("*.test.js"))
    command = [node, "--test", "--test-reporter=tap", *files]
    env = {**os.environ, **software_gpu()}
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n# skipped 0\n" in done.stdout, done.stdout
