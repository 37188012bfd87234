"""The script tag in a real page: blocks, progress, errors, and calls from JavaScript."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser
from serve import Server

BLOCKS = """
<pre id="out"></pre>
<script type="text/tabgrad" data-output="#out">
import tabgrad as tg
x = tg.ones(3) + 1
print("hello", x.tolist())
def double(x): return x * 2
from tabgrad import bridge
print(len(await bridge.fetch_bytes("second.py")))  # relative to the page
</script>
<script type="text/tabgrad" src="second.py" data-output="#out"></script>
"""
SECOND = b"""
print("second", x.sum().item())
class Model:
    async def add(self, x, n): return {"y": x + n, "n": n, "all": [x.sum(), 1.5]}
model = Model()
"""
CALLS = """
const plain = (value) => value?.data ? { data: [...value.data].map(Number), shape: value.shape,
  type: value.data.constructor.name } : value;
const words = (error) => error.message.trim().split("\\n").at(-1);
const double = await tabgrad.get("double");
const add = await tabgrad.get("model.add");
const sum = await add({ data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] }, 3);
return {
  floats: plain(await double(Float32Array.of(1, 2, 3))),
  ints: plain(await double(BigInt64Array.of(5n, -6n))),
  plain: plain(await double({ data: [1.5, 2], shape: [1, 2] })),
  list: await double([1, 2]),
  number: await double(21),
  y: plain(sum.y), n: sum.n, all: [plain(sum.all[0]), sum.all[1]],
  value: plain(await (await tabgrad.get("x"))()),
  run: await tabgrad.run("x.shape[0] + 1"),
  missing: await tabgrad.get("nothing").catch(words),
  wrong: await double(1, 2).catch(words),
};
"""


TUNED = """
<pre id="out"></pre>
<script type="text/tabgrad" data-output="#out">
import tabgrad as torch
await torch.init("webgpu")
print(len(torch.tune.results()))
x = torch.ones(8, 8)
await torch.tune(lambda: x @ x)
print(len(torch.tune.results()))
</script>
"""
SAID = "return document.querySelector('#out').textContent;"
SPOIL = """
const cache = await caches.open("tabgrad");
const [kept] = await cache.keys();
const text = await (await cache.match(kept)).text();
await cache.put(kept, new Response(text.replaceAll("direct", "detour")));
"""


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[Server]:
    """The site on a plain static server: no isolation headers, as on most hosts."""
    with Server({"/": site}) as server:
        yield server


def page(attributes: str, blocks: str, script: str = "return null;") -> bytes:
    return f"""<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<script type="module" src="web/tabgrad.js" {attributes}></script>
{blocks}
<script type="module">
import {{ tabgrad }} from "./web/tabgrad.js";
const calls = async () => {{ await tabgrad.ready; {script} }};
const show = (result) => (window.result = result);
calls().then((value) => show({{ value }}), (error) => show({{ error: error.message }}));
</script>""".encode()


def visit(browser: Browser, served: Server, name: str, content: bytes) -> tuple[Any, set[str]]:
    """What the page's script came to, and the progress lines seen on the way."""
    served.pages[f"/{name}"] = content
    served.pages["/second.py"] = SECOND
    browser.goto(served.url + name)
    stages = set()
    end = time.monotonic() + 90
    while time.monotonic() < end:
        look = "[window.result, document.querySelector('.tabgrad-progress')?.textContent]"
        found, stage = json.loads(browser.evaluate(f"JSON.stringify({look})"))
        if stage:
            stages.add(stage)
        if found:
            return found, stages
        time.sleep(0.05)
    raise AssertionError("the page did not finish")


@pytest.mark.parametrize("attributes", ["", "data-worker"])
def test_blocks_and_calls(chromium: Browser, served: Server, attributes: str) -> None:
    found, stages = visit(chromium, served, "loader.html", page(attributes, BLOCKS, CALLS))
    value = found["value"]
    assert value == {
        "floats": {"data": [2, 4, 6], "shape": [3], "type": "Float32Array"},
        "ints": {"data": [10, -12], "shape": [2], "type": "BigInt64Array"},
        "plain": {"data": [3, 4], "shape": [1, 2], "type": "Float32Array"},
        "list": [1, 2, 1, 2],
        "number": 42,
        "y": {"data": [4, 5, 6, 7], "shape": [2, 2], "type": "Float32Array"},
        "n": 3,
        "all": [{"data": [10], "shape": [], "type": "Float32Array"}, 1.5],
        "value": {"data": [2, 2, 2], "shape": [3], "type": "Float32Array"},
        "run": 4,
        "missing": "NameError: the page's Python has no 'nothing'",
        "wrong": "TypeError: double() takes 1 positional argument but 2 were given",
    }
    shown = chromium.evaluate("document.querySelector('#out').textContent")
    assert shown == f"hello [2.0, 2.0, 2.0]\n{len(SECOND)}\nsecond 6.0\n"
    assert any("MB" in stage for stage in stages)
    assert chromium.evaluate("document.querySelector('.tabgrad-progress') === null")


def test_an_error_is_shown_in_words(chromium: Browser, served: Server) -> None:
    code = 'def f(): raise ValueError("not this way")\nf()'
    block = f'<script type="text/tabgrad">\n{code}\n</script>'
    found, _ = visit(chromium, served, "error.html", page("", block))
    assert "not this way" in found["error"]
    box = "document.querySelector('.tabgrad-error ')"
    assert chromium.evaluate(f"{box}.querySelector('summary').textContent") == (
        "ValueError: not this way"
    )
    trace = chromium.evaluate(f"{box}.querySelector('pre').textContent")
    assert 'File "page.py", line 3' in trace and "_pyodide" not in trace


def test_a_pyodide_that_is_not_there_is_named(chromium: Browser, served: Server) -> None:
    block = '<script type="text/tabgrad">1</script>'
    content = page('data-pyodide="nowhere/"', block)
    found, _ = visit(chromium, served, "nowhere.html", content)
    assert "nowhere/" in found["error"]
    assert "nowhere/" in chromium.evaluate("document.querySelector('.tabgrad-error').textContent")


def test_what_was_tuned_is_remembered(chromium: Browser, served: Server) -> None:
    """Across visits, in pages and workers; what somebody else wrote there is not believed."""

    def said(attributes: str, script: str) -> Any:
        found, _ = visit(chromium, served, "tuned.html", page(attributes, TUNED, script))
        return found.get("value", found)

    assert said("", SAID) == "0\n1\n"
    assert said("data-worker", SAID) == "1\n1\n"
    assert said("", SPOIL + SAID) == "1\n1\n"
    assert said("data-worker", SAID) == "0\n1\n"
