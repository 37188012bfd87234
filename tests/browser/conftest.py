"""Fixtures for tests that look at pages from outside, and for tests inside Pyodide.

A test that takes ``selenium`` runs twice: with Pyodide in a page, and in a worker of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, Chromium, chromium_driver
from build_site import build_site
from project import DIST
from pytest_pyodide.fixture import selenium_common
from pytest_pyodide.runner import SeleniumChromeRunner
from pytest_pyodide.server import DefaultHandler
from serve import Server
from wheel import build_wheel

# The plugin's own way to start a browser knows neither CHROMIUM nor our flags.
SeleniumChromeRunner.get_driver = lambda self, jspi=False: chromium_driver()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for the whole run; a test starts with ``chromium.goto(url)``."""
    with Chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The assembled site, wheel included, as it would be uploaded."""
    out = tmp_path_factory.mktemp("site") / "site"
    build_site(out)
    return out


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def web_server_main(wheel: Path) -> Iterator[tuple[str, int, None]]:
    """The plugin's pages, Pyodide and the wheel, with isolation headers, where the plugin looks."""
    pages = {**DefaultHandler.default_templates, f"/{wheel.name}": wheel.read_bytes()}
    with Server({"/": DIST}, pages, isolated=True) as server:
        host, port = server.server_address
        yield str(host), int(port), None


@pytest.fixture(scope="module", params=["page", "worker"])
def selenium(request: pytest.FixtureRequest, web_server_main: Any) -> Iterator[Any]:
    worker = request.param == "worker"
    with selenium_common(request, "chrome", web_server_main, worker=worker) as runner:
        runner.set_script_timeout(120)
        yield runner
