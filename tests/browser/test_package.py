"""The wheel inside Pyodide, in a page and in a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytest_pyodide import run_in_pyodide

# Everything by which an import could open a device, start a thread or load a file.
WATCH = """
self.calls = [];
function watch(owner, name) {
  owner[name] = new Proxy(owner[name], {
    apply: (f, self, args) => (calls.push(name), Reflect.apply(f, self, args)),
    construct: (f, args) => (calls.push(name), Reflect.construct(f, args)),
  });
}
watch(navigator.gpu, "requestAdapter");
watch(WebAssembly, "instantiate");
for (const name of ["Worker", "SharedWorker", "fetch", "XMLHttpRequest"])
  if (self[name]) watch(self, name);
"""


@run_in_pyodide(packages=["micropip"])
async def install(selenium: Any, url: str) -> None:
    import micropip

    await micropip.install(url)


@pytest.fixture(scope="module", autouse=True)
def installed(selenium: Any, wheel: Path) -> None:
    """The wheel as micropip installs it from a URL, not imported yet."""
    install(selenium, f"{selenium.base_url}/{wheel.name}")
    selenium.run_js(WATCH)


@run_in_pyodide
def test_import_is_light(selenium: Any) -> None:  # stands first: the others import too
    import sys
    import threading

    import js
    import tabgrad

    assert "numpy" not in sys.modules
    assert js.calls.to_py() == []
    assert threading.active_count() == 1
    assert not any(tabgrad.profiler.counters().values())


@run_in_pyodide
def test_computes_without_init(selenium: Any) -> None:
    import js
    import tabgrad
    from pyodide.ffi import can_run_sync

    assert can_run_sync()
    x = tabgrad.arange(6.0).reshape(2, 3)
    assert (x @ x.T).tolist() == [[5.0, 14.0], [14.0, 50.0]]
    assert "requestAdapter" in js.calls.to_py()  # so the list of test_import_is_light is kept


@run_in_pyodide
def test_has_its_files(selenium: Any) -> None:
    import pathlib

    from tabgrad import assets

    names = [n for n in assets.packed() or () if n.startswith("_")]
    for folder, suffix in {"_web": ".js", "_wgsl": ".wgsl", "_wasm": ".wasm"}.items():
        found = {pathlib.PurePath(n).suffix for n in names if n.startswith(folder + "/")}
        assert found == {suffix}
        assert all(assets.read_bytes(*n.split("/", 1)) for n in names)
