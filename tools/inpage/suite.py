"""Runs inside the page: pytest over the unpacked tests, with each test's name reported before it
starts, so that the host can tell which one a dead page was in."""

import json
import os
import sys
from typing import Any

import harness  # type: ignore[import-not-found]
import pytest


class Progress:
    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        harness.report(json.dumps({"test": nodeid}))

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.counts[report.outcome] = self.counts.get(report.outcome, 0) + 1


os.chdir("/home/pyodide/checkout")
# Deep test stacks (pytest's own are some sixty frames) must not meet Pyodide's low default first.
sys.setrecursionlimit(max(sys.getrecursionlimit(), 1000))
progress = Progress()
code = pytest.main(
    ["-p", "no:cacheprovider", "--color=no", *json.loads(os.environ["PYTEST_ARGS"])],
    plugins=[progress],
)
harness.report(json.dumps({"result": {"code": int(code), "counts": progress.counts}}))
