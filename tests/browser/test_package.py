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
def test_modules_have_their_text(selenium: Any) -> None:
    import inspect
    import traceback

    import tabgrad

    assert inspect.getsource(tabgrad.nn.Linear).startswith("class Linear")
    try:
        tabgrad.ones(2) @ tabgrad.ones(3)
    except RuntimeError as error:
        assert "def dot" not in traceback.format_exc()
        assert "input.ndim==1" in traceback.format_exc()
        assert "inconsistent tensor size" in str(error)
    else:
        raise AssertionError("no error")


@run_in_pyodide
def test_has_its_files(selenium: Any) -> None:
    import pathlib

    from tabgrad import assets

    for folder, suffix in {"_web": ".js", "_wgsl": ".wgsl", "_wasm": ".wasm"}.items():
        names = [n for n in assets.packed() or () if n.startswith(folder + "/")]
        assert {pathlib.PurePath(n).suffix for n in names} == {suffix}
        assert all(assets.read_bytes(*n.split("/", 1)) for n in names)
