"""Open the demo in a headless browser, on WebGPU and then on WASM, and show what it prints.

    python tools/demo.py [--devices webgpu,wasm] [--timeout 900]

The page tells its state in ``window.__demo = {done, error, lines, results}``. A screenshot per
device is left in .cache.
"""

from __future__ import annotations

import project

project.use_venv()

import argparse  # noqa: E402
import time  # noqa: E402

from browser import Browser, Chromium  # noqa: E402
from project import CACHE, ROOT, SITE, Failure, main  # noqa: E402
from serve import Server  # noqa: E402

NEWS = """(() => {
  const demo = globalThis.__demo;
  if (!demo) return null;
  const { done, error, results } = demo;
  return { done, error: error ? String(error) : "", lines: demo.lines.slice(%d), results };
})()"""


def follow(browser: Browser, url: str, end: float) -> dict:
    """Print the demo's lines as they come; return its results."""
    browser.goto(url)
    printed = 0
    while True:
        # Training keeps the page's thread busy, so an answer may take as long as a step does.
        news = browser.evaluate(NEWS % printed, timeout=max(end - time.monotonic(), 1))
        for line in news["lines"] if news else []:
            print(f"  {line}", flush=True)
            printed += 1
        if news and news["error"]:
            raise Failure(news["error"])
        if news and news["done"]:
            return news["results"] or {}
        if time.monotonic() > end:
            raise Failure("the demo took too long")
        time.sleep(0.2)


def show(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def table(results: dict[str, dict]) -> str:
    """One row per result, one column per device."""
    names = list(dict.fromkeys(name for result in results.values() for name in result))
    rows = [["", *results]]
    rows += [[name, *(show(r.get(name, "–")) for r in results.values())] for name in names]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def demo() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--devices", default="webgpu,wasm")
    parser.add_argument("--timeout", type=float, default=900, metavar="SECONDS")
    options = parser.parse_args()
    if not (SITE / "demo.html").exists():
        raise Failure("there is no demo.html in the site; `make site` builds it")
    end = time.monotonic() + options.timeout
    results = {}
    with Server({"/": SITE}, isolated=True) as server:
        for device in options.devices.split(","):
            url = f"{server.url}demo.html?device={device}"
            print(f"{device}: {url}", flush=True)
            with Chromium() as browser:
                picture = CACHE / f"demo-{device}.png"
                try:
                    results[device] = follow(browser, url, end)
                except Failure as failure:
                    log = "".join(f"\n  {line}" for line in browser.log()[-30:])
                    raise Failure(f"on {device}: {failure}{log}") from None
                finally:
                    if not browser.crashed:
                        browser.screenshot(picture)
                        print(f"  screenshot: {picture.relative_to(ROOT)}", flush=True)
    print(f"\n{table(results)}")


if __name__ == "__main__":
    main(demo)
