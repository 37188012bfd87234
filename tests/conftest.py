"""The suite runs on every device in TABGRAD_DEVICES: on desktop CPython and inside a page alike.

Each test of ``tests/suite`` runs once per device, on a freshly seeded library whose default
device it is. A device that cannot be opened fails the run: nothing is ever skipped for it.
TABGRAD_AUTO (wasm, webgpu, usual, alternating, twins) gives the device "auto" costs by hand that
send runs there; tests/suite/placing.py. What compares bit by bit or counts kernels (test_compile,
test_plan) needs twins.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SUITE = Path(__file__).parent / "suite"
IN_PAGE = sys.platform == "emscripten"


def devices() -> list[str]:
    return os.environ.get("TABGRAD_DEVICES", "cpu").split(",")


def pytest_report_header() -> str:
    where = "Pyodide" if IN_PAGE else "desktop"
    return f"devices: {', '.join(devices())} ({where} Python {sys.version.split()[0]})"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.path.is_relative_to(SUITE):
        if "device" not in metafunc.fixturenames:
            metafunc.fixturenames.append("device")
        metafunc.parametrize("device", devices(), scope="session")


@pytest.fixture(scope="session")
def opened(request: pytest.FixtureRequest) -> dict[str, bool]:
    """The devices that have computed something in this run."""
    request.config.stash[RAN] = ran = {}
    return ran


RAN: pytest.StashKey[dict[str, bool]] = pytest.StashKey()


@pytest.fixture(autouse=True)
def fresh_start(request: pytest.FixtureRequest) -> Iterator[None]:
    """Default device, random seed and gradient mode as a new program would find them."""
    called = getattr(request.node, "callspec", None)  # fixturenames lacks what no test names
    if called is None or "device" not in called.params:
        yield
        return
    import tabgrad

    device = called.params["device"]
    ran = request.getfixturevalue("opened")
    if device not in ran:
        open_device(device)
        ran[device] = True
    tabgrad.set_default_device(device)
    tabgrad.manual_seed(0)
    yield


def open_device(device: str) -> None:
    import tabgrad

    if device == "auto" and "TABGRAD_AUTO" in os.environ:
        from placing import install

        install(os.environ["TABGRAD_AUTO"])
    try:
        answer = (tabgrad.ones(3, device=device) + 1).tolist()
    except Exception as error:
        pytest.exit(f"device {device!r} cannot be opened: {error!r}", returncode=3)
    if answer != [2.0, 2.0, 2.0]:
        pytest.exit(f"device {device!r} computes 1 + 1 = {answer}", returncode=3)


@pytest.fixture
def rng() -> Any:
    """A numpy generator with the same numbers in every run of a test."""
    import numpy

    return numpy.random.default_rng(0)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """An ``async def`` test runs to its end: blocking in a page, in a loop of its own elsewhere."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    coroutine = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    if IN_PAGE:
        from pyodide.ffi import run_sync

        run_sync(coroutine)
    else:
        asyncio.run(coroutine)
    return True


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    ran = config.stash.get(RAN, {})
    if ran:
        terminalreporter.write_line(f"devices that ran: {', '.join(ran)}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A whole run of the suite in which a wished-for device computed nothing has failed."""
    ran = session.config.stash.get(RAN, None)
    if exitstatus == 0 and ran is not None and set(ran) != set(devices()):
        session.exitstatus = 3
