"""Threads of the WASM kernels in Chromium: page, worker, and where memory is not shared."""

from __future__ import annotations

from typing import Any

import pytest
from browser import Browser
from project import ROOT
from serve import Server

# A copy of 1 MiB in 32 shares, through a temporary, checked byte by byte.
WORK = """
import { hasRelaxed, openCpu } from "/web/runtime.js";
const size = 1 << 20;
const copy = (from, to) => [3, to, 1, 0, 0, 32, 1, 1, 2, from, to, 1, size];
const words = [1, 1, 1, 1, 0, size, size, size, 5, ...copy(0, 2), ...copy(2, 1), 4, 2];
export async function work() {
  const said = [];
  console.warn = (text) => said.push(text);
  const file = await fetch(`/build/${hasRelaxed() ? "relaxed" : "simd"}.wasm`);
  const gate = openCpu({ wasm: await file.arrayBuffer(), threads: 3 });
  const leaf = Uint8Array.from({ length: size }, (_, k) => (k * k) >> 7);
  gate.write(1, leaf, 1);
  gate.load(0, Int32Array.from(words), ["copy"]);
  const check = (id) => {
    gate.run(0, Int32Array.of(1, id, 0));
    return gate.read(id, 1, 0, size).data.every((byte, k) => byte === leaf[k]);
  };
  const right = [check(2)];  // before the workers are there
  await gate.idle();
  const late = performance.now() + 20000;
  const wanted = gate.info.threads - 1;
  while (!said.length && gate.stats().helpers < wanted && performance.now() < late)
    await new Promise((done) => setTimeout(done, 5));
  right.push(check(3));
  gate.alloc(4, 100 << 20);  // memory grows while they sleep
  right.push(check(5));
  const { helpers } = gate.stats();
  gate.close();
  return { threads: gate.info.threads, helpers, right, said };
}
"""
PAGE = """<!doctype html><link rel="icon" href="data:,">%s
<script type="module">
import { work } from "/work.js";
work().then((value) => (window.result = value), (error) => (window.result = String(error)));
</script>"""
FROM_WORKER = """<!doctype html><link rel="icon" href="data:,">
<script type="module">
const worker = new Worker("/worker.js", { type: "module" });
worker.onmessage = ({ data }) => (window.result = data);
</script>"""
WORKER = 'import { work } from "/work.js"; work().then(postMessage);'
FORBIDDEN = "<meta http-equiv='Content-Security-Policy' content=\"worker-src 'none'\">"


def visit(browser: Browser, page: str, isolated: bool) -> Any:
    folders = {"/web/": ROOT / "web", "/build/": ROOT / "wasm_kernels" / "build"}
    pages = {"/": page, "/work.js": WORK, "/worker.js": WORKER}
    files = {
        url + ("index.html" if url == "/" else ""): text.encode() for url, text in pages.items()
    }
    with Server(folders, files, isolated=isolated) as server:
        browser.goto(server.url + "index.html")
        return browser.wait_for("window.result")


@pytest.mark.parametrize("page", [PAGE % "", FROM_WORKER], ids=["page", "worker"])
def test_threads_help_in_an_isolated_page(chromium: Browser, page: str) -> None:
    found = visit(chromium, page, isolated=True)
    assert found == {"threads": 3, "helpers": 2, "right": [True] * 3, "said": []}


@pytest.mark.parametrize("page", [PAGE % "", FROM_WORKER], ids=["page", "worker"])
def test_one_thread_where_memory_cannot_be_shared(chromium: Browser, page: str) -> None:
    found = visit(chromium, page, isolated=False)
    assert found == {"threads": 1, "helpers": 0, "right": [True] * 3, "said": []}


def test_a_page_without_workers_goes_on_with_one_thread(chromium: Browser) -> None:
    found = visit(chromium, PAGE % FORBIDDEN, isolated=True)
    said = found.pop("said")
    assert found == {"threads": 3, "helpers": 0, "right": [True] * 3}
    assert len(said) == 1 and said[0].startswith("tabgrad: goes on with one thread")
