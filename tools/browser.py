"""Drive a headless browser over its own debugging socket: Chromium by the DevTools protocol,
Firefox by WebDriver BiDi. No driver program lies between, so any installed version will do."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import queue
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import websocket
from project import Failure, find_chromium, find_firefox

# Software rendering makes results the same on every machine; a person with a GPU to test names
# other flags in CHROMIUM_FLAGS (an empty adapter choice takes the real one).
GPU_FLAGS = "--enable-unsafe-webgpu --use-webgpu-adapter=swiftshader"
CHROMIUM_FLAGS = [
    "--headless=new",
    "--no-sandbox",  # containers seldom allow it, and the pages are ours
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # Timers and rendering of a page that no one looks at must not be slowed down.
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--remote-debugging-port=0",
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


class PageError(Failure):
    """JavaScript threw in the page; the text is the error with its stack."""


class Browser:
    """One browser with one page at a time. ``log`` collects console lines and page errors;
    ``crashed`` turns true when the page's process dies."""

    ready: re.Pattern[str]  # the line of stderr that names the debugging socket

    def __init__(self) -> None:
        self.profile = tempfile.mkdtemp(prefix="tabgrad-browser-")
        self.log: list[str] = []
        self.crashed = False
        self._ids = itertools.count(1)
        self._answers: dict[int, queue.Queue[dict]] = {}
        self.process = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        address = self._wait_for_address()
        self.socket = websocket.create_connection(
            address, suppress_origin=True, timeout=None, enable_multithread=True
        )
        threading.Thread(target=self._listen, daemon=True).start()
        self.open()

    def command(self) -> list[str]:
        raise NotImplementedError

    def open(self) -> None:
        raise NotImplementedError

    def on_event(self, method: str, params: dict) -> None:
        raise NotImplementedError

    def _wait_for_address(self) -> str:
        assert self.process.stderr
        head = []
        timer = threading.Timer(60, self.process.kill)
        timer.start()
        for line in self.process.stderr:
            head.append(line)
            if found := self.ready.search(line):
                timer.cancel()
                self._drainer = threading.Thread(target=self._drain, daemon=True)
                self._drainer.start()
                return found[1]
        timer.cancel()
        raise Failure("the browser did not start:\n" + "".join(head[-20:]))

    def _drain(self) -> None:
        assert self.process.stderr
        with self.process.stderr:
            for _ in self.process.stderr:
                pass  # a full pipe would stop the browser

    def _listen(self) -> None:
        with contextlib.suppress(Exception):
            while text := self.socket.recv():
                message = json.loads(text)
                if answer := self._answers.pop(message.get("id"), None):
                    answer.put(message)
                elif "method" in message:
                    self.on_event(message["method"], message.get("params", {}))
        self.crashed = True
        for answer in list(self._answers.values()):
            answer.put({"error": {"message": "the browser closed its connection"}})

    def send(self, message: dict, timeout: float | None) -> dict:
        message["id"] = next(self._ids)
        answer = self._answers[message["id"]] = queue.Queue()
        if self.crashed:
            raise Failure("the page has crashed")
        self.socket.send(json.dumps(message))
        try:
            return answer.get(timeout=timeout)
        except queue.Empty:
            raise Failure(f"no answer from the page in {timeout} s") from None

    def wait_for(self, expression: str, timeout: float = 60) -> Any:
        """Wait until a JavaScript expression is truthy in the page; return its value."""
        end = time.monotonic() + timeout
        while not (value := self.evaluate(expression)):
            if time.monotonic() > end:
                raise Failure(f"waited {timeout} s in vain for {expression}")
            time.sleep(0.05)
        return value

    def goto(self, url: str) -> None:
        raise NotImplementedError

    def evaluate(self, expression: str, timeout: float | None = 600) -> Any:
        """Value of a JavaScript expression, awaited if it is a promise, as JSON would carry it."""
        raise NotImplementedError

    def screenshot(self, path: Path) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(Exception):
            self.socket.close()
        self._drainer.join(5)
        shutil.rmtree(self.profile, ignore_errors=True)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Chromium(Browser):
    name = "chromium"
    ready = re.compile(r"DevTools listening on (ws://\S+)")

    def command(self) -> list[str]:
        program = find_chromium()
        if not program:
            raise Failure("no Chromium found; `make setup` installs one")
        gpu = shlex.split(os.environ.get("CHROMIUM_FLAGS", GPU_FLAGS))
        return [program, *CHROMIUM_FLAGS, *gpu, f"--user-data-dir={self.profile}", "about:blank"]

    def open(self) -> None:
        self.session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Inspector"):
            self.call(f"{domain}.enable")

    def call(self, method: str, timeout: float | None = 60, **params: Any) -> dict:
        message: dict[str, Any] = {"method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        answer = self.send(message, timeout)
        if "error" in answer:
            raise Failure(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def on_event(self, method: str, params: dict) -> None:
        if method == "Inspector.targetCrashed":
            self.crashed = True
        elif method == "Runtime.consoleAPICalled":
            words = [str(a.get("value", a.get("description", ""))) for a in params["args"]]
            self.log.append(f"{params['type']}: {' '.join(words)}")
        elif method == "Runtime.exceptionThrown":
            self.log.append(f"uncaught: {describe(params['exceptionDetails'])}")
        elif method == "Log.entryAdded":
            entry = params["entry"]
            self.log.append(f"{entry['level']}: {entry['text']} {entry.get('url', '')}".rstrip())

    def goto(self, url: str) -> None:
        answer = self.call("Page.navigate", url=url)
        if "errorText" in answer:
            raise Failure(f"{url}: {answer['errorText']}")
        self.wait_for(f"document.readyState == 'complete' && location.href == {json.dumps(url)}")

    def evaluate(self, expression: str, timeout: float | None = 600) -> Any:
        answer = self.call(
            "Runtime.evaluate",
            timeout,
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in answer:
            raise PageError(describe(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def screenshot(self, path: Path) -> None:
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        answer = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))


def describe(details: dict) -> str:
    return details.get("exception", {}).get("description") or details["text"]


class Firefox(Browser):
    name = "firefox"
    ready = re.compile(r"WebDriver BiDi listening on (ws://\S+)")

    def command(self) -> list[str]:
        program = find_firefox()
        if not program:
            raise Failure("no Firefox found; `make setup-firefox` installs one")
        prefs = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in FIREFOX_PREFS.items()]
        Path(self.profile, "user.js").write_text("\n".join(prefs))
        flags = ["--headless", "--no-remote", "--profile", self.profile]
        return [program, *flags, "--remote-debugging-port=0", "about:blank"]

    def _wait_for_address(self) -> str:
        return super()._wait_for_address() + "/session"

    def open(self) -> None:
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded"])
        tree = self.call("browsingContext.getTree")
        self.context = tree["contexts"][0]["context"]

    def call(self, method: str, timeout: float | None = 60, **params: Any) -> dict:
        answer = self.send({"method": method, "params": params}, timeout)
        if "error" in answer:
            raise Failure(f"{method}: {answer.get('message', answer['error'])}")
        return answer["result"]

    def on_event(self, method: str, params: dict) -> None:
        if method == "log.entryAdded":
            self.log.append(f"{params['level']}: {params.get('text', '')}")

    def goto(self, url: str) -> None:
        self.call("browsingContext.navigate", context=self.context, url=url, wait="complete")

    def evaluate(self, expression: str, timeout: float | None = 600) -> Any:
        source = f"Promise.resolve({expression}).then((v) => JSON.stringify(v ?? null))"
        answer = self.call(
            "script.evaluate",
            timeout,
            expression=source,
            target={"context": self.context},
            awaitPromise=True,
            userActivation=True,
        )
        if answer["type"] == "exception":
            raise PageError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    def screenshot(self, path: Path) -> None:
        answer = self.call(
            "browsingContext.captureScreenshot", context=self.context, origin="document"
        )
        path.write_bytes(base64.b64decode(answer["data"]))


BROWSERS: dict[str, type[Browser]] = {"chromium": Chromium, "firefox": Firefox}


if __name__ == "__main__":  # a look at what the browser offers
    with BROWSERS[sys.argv[1] if len(sys.argv) > 1 else "chromium"]() as browser:
        browser.goto("about:blank")
        print(browser.evaluate("navigator.userAgent"))
