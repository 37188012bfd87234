"""The wheel in a bare page: what it brings, and what importing it does not do."""

from __future__ import annotations

import json

import pytest
from browser import Browser
from serve import Server

BOOT = """(async () => {
  const { loadPyodide } = await import("/pyodide/pyodide.mjs");
  globalThis.python = await loadPyodide();
  await python.loadPackage("tabgrad", { messageCallback() {} });
  return python.version;
})()"""


@pytest.fixture(scope="module")
def python(chromium: Browser, served: Server) -> Browser:
    """A page of the site's origin with Pyodide and the wheel, but nothing imported yet."""
    served.pages["/bare.html"] = b"<!doctype html><title>bare</title>"
    chromium.goto(served.url + "bare.html")
    assert chromium.evaluate(BOOT)
    return chromium


def run(page: Browser, code: str) -> object:
    """Value of Python code in the page, through JSON."""
    return json.loads(page.evaluate(f"python.runPythonAsync({json.dumps(code)})"))


def test_import_is_light(python: Browser) -> None:
    before = python.evaluate("performance.getEntriesByType('resource').length")
    code = "import json, sys, tabgrad; json.dumps('numpy' in sys.modules)"
    assert run(python, code) is False
    assert python.evaluate("performance.getEntriesByType('resource').length") == before


def test_wheel_brings_its_files(python: Browser) -> None:
    suffixes = run(
        python,
        """
import json, importlib.resources, pathlib
found = {}
for folder in ("_web", "_wgsl", "_wasm"):
    files = pathlib.Path(str(importlib.resources.files("tabgrad") / folder))
    found[folder] = sorted({p.suffix for p in files.rglob("*") if p.is_file()})
json.dumps(found)
""",
    )
    assert suffixes == {"_web": [".js"], "_wgsl": [".wgsl"], "_wasm": [".wasm"]}
