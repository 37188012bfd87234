"""Drive a headless browser over WebDriver BiDi, with selenium: Chromium through its driver
program, Firefox directly (Debian has no driver program for it)."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from project import Failure, find_chromedriver, find_chromium, find_firefox
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.websocket_connection import WebSocketConnection

# Software rendering makes results the same on every machine; a person with a GPU to test names
# other flags in CHROMIUM_FLAGS (an empty adapter choice takes the real one).
GPU_FLAGS = "--enable-unsafe-webgpu --use-webgpu-adapter=swiftshader"
CHROMIUM_FLAGS = [
    "--headless=new",
    "--no-sandbox",  # containers seldom allow it, and the pages are ours
    "--disable-component-update",
    "--disable-dev-shm-usage",
    # Timers and rendering of a page that no one looks at must not be slowed down.
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--window-size=1280,900",
]
FIREFOX_PREFS = {
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.max_script_run_time": 0,
    "dom.webgpu.enabled": True,
    "gfx.webgpu.ignore-blocklist": True,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.enabled": False,
}
EVENTS = ["log.entryAdded", "script.realmCreated", "script.realmDestroyed"]


class PageError(Failure):
    """JavaScript threw in the page; the text is the error with its stack."""


class Browser:
    """One browser with one page at a time."""

    process: subprocess.Popen  # of the browser, or of the driver that ends with it

    def __init__(self) -> None:
        self.entries: list[tuple[float, str]] = []  # of the page's console, with their times
        self.opened: set[str] = set()  # JavaScript realms that the page has had,
        self.closed: set[str] = set()  # and those that are no more
        # The timeout is as good as none: `call` keeps the time of each command.
        self.connection = WebSocketConnection(self.start(), timeout=86400, interval=0.01)
        self.connection.callbacks |= {
            "log.entryAdded": [self.on_log],
            "script.realmCreated": [self.on_realm],
            "script.realmDestroyed": [lambda params: self.closed.add(params["realm"])],
        }
        self.begin_session()
        self.context = self.call("browsingContext.getTree")["contexts"][0]["context"]
        self.call("session.subscribe", events=EVENTS)

    def start(self) -> str:
        """Start the browser; return the address it is driven at."""
        raise NotImplementedError

    def begin_session(self) -> None:
        pass

    def on_log(self, params: dict) -> None:
        self.entries.append((params["timestamp"], f"{params['level']}: {with_stack(params)}"))

    def on_realm(self, params: dict) -> None:
        if params["type"] == "window" and params["context"] == self.context:
            self.opened.add(params["realm"])

    @property
    def crashed(self) -> bool:
        """Whether the page's process is gone. Between two pages there is none for a moment."""
        for _ in range(10):
            if self.process.poll() is not None:
                return True
            if not self.opened or self.opened - self.closed:
                return False
            time.sleep(0.1)
        return True

    def call(self, method: str, timeout: float = 60, **params: Any) -> dict:
        answers: queue.Queue[dict] = queue.Queue()

        def ask() -> None:
            try:
                answers.put(self.connection.send_cmd(method, params))
            except Exception as error:
                answers.put({"error": "no connection", "message": str(error)})

        # In a thread of its own, because a page that dies gives no answer at all.
        threading.Thread(target=ask, daemon=True).start()
        end = time.monotonic() + timeout
        while True:
            with contextlib.suppress(queue.Empty):
                answer = answers.get(timeout=max(0, min(1, end - time.monotonic())))
                break
            if method != "browsingContext.navigate" and self.crashed:
                raise Failure("the page has crashed")
            if time.monotonic() >= end:
                raise Failure(f"no answer from the page in {timeout:.0f} s")
        if "error" in answer:
            raise Failure(f"{method}: {answer.get('message') or answer['error']}")
        return answer["result"]

    def goto(self, url: str) -> None:
        """Load a page; what is logged from here on is the page's."""
        self.entries.clear()
        self.call("browsingContext.navigate", context=self.context, url=url, wait="complete")

    def evaluate(self, expression: str, timeout: float = 600) -> Any:
        """Value of a JavaScript expression, awaited if it is a promise, as JSON would carry it."""
        answer = self.call(
            "script.evaluate",
            timeout,
            expression=f"Promise.resolve({expression}).then((v) => JSON.stringify(v ?? null))",
            target={"context": self.context},
            awaitPromise=True,
            userActivation=True,
        )
        if answer["type"] == "exception":
            raise PageError(with_stack(answer["exceptionDetails"]))
        return json.loads(answer["result"]["value"])

    def wait_for(self, expression: str, timeout: float = 60) -> Any:
        """Wait until a JavaScript expression is truthy in the page; return its value."""
        end = time.monotonic() + timeout
        while not (value := self.evaluate(expression)):
            if time.monotonic() > end:
                raise Failure(f"waited {timeout} s in vain for {expression}")
            time.sleep(0.05)
        return value

    def log(self) -> list[str]:
        """Console lines and uncaught errors of the page, oldest first."""
        return [text for _, text in sorted(self.entries)]

    def screenshot(self, path: Path) -> None:
        answer = self.call(
            "browsingContext.captureScreenshot", context=self.context, origin="document"
        )
        path.write_bytes(base64.b64decode(answer["data"]))

    def end(self) -> None:
        """End the browser and remove what it left."""
        raise NotImplementedError

    def close(self) -> None:
        self.end()
        self.connection.close()  # a connection closed first would wait for the other side

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def with_stack(details: dict) -> str:
    """The text of an error or of a console line, an error's with the stack."""
    lines = [details.get("text") or ""]
    if details.get("level", "error") == "error":
        for frame in (details.get("stackTrace") or {}).get("callFrames", []):
            place = f"{frame['url']}:{frame['lineNumber'] + 1}:{frame['columnNumber'] + 1}"
            lines.append(f"    at {frame['functionName'] or '(anonymous)'} ({place})")
    return "\n".join(lines)


def chromium_driver() -> webdriver.Chrome:
    """Chromium as every tool and test wants it. Both programs are named, so selenium does not go
    and look for any."""
    options = webdriver.ChromeOptions()
    program, driver = find_chromium(), find_chromedriver()
    if not program or not driver:
        raise Failure("no Chromium with its chromedriver found; `make setup` installs them")
    options.binary_location = program
    for flag in CHROMIUM_FLAGS + shlex.split(os.environ.get("CHROMIUM_FLAGS", GPU_FLAGS)):
        options.add_argument(flag)
    options.enable_bidi = True
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(driver))


class Chromium(Browser):
    def start(self) -> str:
        self.driver = chromium_driver()
        self.process = self.driver.service.process
        return self.driver.capabilities["webSocketUrl"]

    def log(self) -> list[str]:
        # Only the driver's own log has what the browser remarks: failed requests, and WebGPU's
        # complaints. A page that is busy would keep it waiting, and is not asked.
        with contextlib.suppress(Failure):
            if not self.crashed:
                self.evaluate("0", timeout=2)
            for entry in self.driver.get_log("browser"):
                if entry["source"] not in {"console-api", "javascript", "worker"}:
                    text = f"{entry['source']}: {entry['message']}"
                    self.entries.append((entry["timestamp"], text))
        return super().log()

    def end(self) -> None:
        self.driver.quit()


class Firefox(Browser):
    def start(self) -> str:
        program = find_firefox()
        if not program:
            raise Failure("no Firefox found; `make setup-firefox` installs one")
        self.profile = Path(tempfile.mkdtemp(prefix="tabgrad-firefox-"))
        prefs = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in FIREFOX_PREFS.items()]
        (self.profile / "user.js").write_text("\n".join(prefs))
        flags = ["--headless", "--no-remote", "--profile", str(self.profile)]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(
            [program, *flags, "--remote-debugging-port=0", "about:blank"],
            stdin=quiet,
            stdout=quiet,
            stderr=quiet,
        )
        for _ in range(600):
            with contextlib.suppress(OSError, ValueError):  # not there yet, or half written
                at = json.loads((self.profile / "WebDriverBiDiServer.json").read_text())
                return f"ws://{at['ws_host']}:{at['ws_port']}/session"
            time.sleep(0.1)
        self.end()
        raise Failure("Firefox did not start within 60 s")

    def begin_session(self) -> None:
        self.call("session.new", capabilities={})

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)


BROWSERS: dict[str, type[Browser]] = {"chromium": Chromium, "firefox": Firefox}
