"""Fixtures for tests that look at pages from outside: a browser, and the site on a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, Chromium
from build_site import build_site
from serve import Server


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
def served(site: Path) -> Iterator[Server]:
    """The site on a plain static server: no isolation headers, as on most hosts."""
    with Server({"/": site}) as server:
        yield server


@pytest.fixture(scope="session")
def served_isolated(site: Path) -> Iterator[Server]:
    """The site with the headers that make SharedArrayBuffer available."""
    with Server({"/": site}, isolated=True) as server:
        yield server
