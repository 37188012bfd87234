"""The runner of in-page tests must not be fooled: what fails in the page fails here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser import Browser
from inpage_job import Job, PageServer
from project import Failure


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    with PageServer() as server:
        yield server


def run(server: PageServer, browser: Browser, code: str) -> tuple[dict, str]:
    """How the job ended, and what it printed."""
    out: list[str] = []
    done = server.run(browser, Job(code), lambda m: out.append(m.get("out", "")), 60)
    return done, "".join(out)


def test_prints_blocks_and_is_isolated(server: PageServer, chromium: Browser) -> None:
    code = """
import asyncio, js
from pyodide.ffi import run_sync
async def later():
    await asyncio.sleep(0)
    return "späť"
print(run_sync(later()), js.crossOriginIsolated)
"""
    done, out = run(server, chromium, code)
    assert done["ok"] and out == "späť True\n"


def test_exception_comes_with_its_line(server: PageServer, chromium: Browser) -> None:
    done, out = run(server, chromium, "print('before')\nundefined_name\n")
    assert not done["ok"] and out == "before\n"
    assert 'File "script.py", line 2' in done["error"] and "NameError" in done["error"]
    assert "_pyodide" not in done["error"]


def test_fatal_error_ends_the_job(server: PageServer, chromium: Browser) -> None:
    code = """
class Link:
    __slots__ = ("next",)
last = None
for i in range(200_000):
    link = Link()
    link.next = last
    last = link
del link, last
"""
    done, _ = run(server, chromium, code)
    assert not done["ok"] and "call stack" in done["error"]


def test_endless_loop_is_noticed(server: PageServer, chromium: Browser) -> None:
    code = """
from pyodide.ffi import run_sync
import asyncio
print("in the loop", flush=True)
run_sync(asyncio.sleep(1e6))
"""
    out: list[str] = []
    with pytest.raises(Failure, match="has reported nothing for 8 s"):
        server.run(chromium, Job(code), lambda m: out.append(m.get("out", "")), 60, patience=8)
    assert "".join(out) == "in the loop\n"
