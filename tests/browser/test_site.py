"""The pages of the site as a visitor meets them, on each device."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, Chromium
from project import ROOT
from selenium.webdriver import ActionChains
from serve import Server

DEVICES = ["wasm", "webgpu"]
DROP = """(async () => {
  const picture = new OffscreenCanvas(200, 300);
  const g = picture.getContext("2d");
  g.fillStyle = "#111";
  g.fillRect(0, 0, 200, 300);
  g.strokeStyle = "#eee";
  g.lineWidth = 26;
  g.beginPath();
  g.ellipse(100, 150, 55, 90, 0, 0, 7);
  g.stroke();
  const dropped = new DataTransfer();
  dropped.items.add(new File([await picture.convertToBlob()], "zero.png", { type: "image/png" }));
  const event = new DragEvent("drop", { dataTransfer: dropped, bubbles: true });
  document.getElementById("pad").dispatchEvent(event);
})()"""


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[Server]:
    """The site with isolation headers, so with threads; test_loader.py has a host without."""
    with Server({"/": site}, isolated=True) as server:
        yield server


def text(page: Browser, name: str) -> str:
    return page.evaluate(f"document.getElementById('{name}').textContent")


def click(page: Browser, name: str) -> None:
    page.evaluate(f"document.getElementById('{name}').click()")


def wait(page: Browser, condition: str, seconds: float = 120) -> None:
    """Wait for the condition; a message of error on the page ends the wait."""
    page.wait_for(f"({condition}) || !document.getElementById('error').hidden", seconds)
    assert text(page, "error") == ""


def open_front_page(page: Browser, served: Server, device: str) -> None:
    page.goto(f"{served.url}index.html?device={device}")
    wait(page, "!document.getElementById('train').disabled")


def draw(page: Chromium, *points: tuple[int, int]) -> None:
    """A stroke of a real pointer; points are offsets from the middle of the pad."""
    pad = page.driver.find_element("id", "pad")
    page.evaluate("document.getElementById('pad').scrollIntoView({ block: 'center' })")
    chain = ActionChains(page.driver, duration=20)
    chain.move_to_element_with_offset(pad, *points[0]).click_and_hold()
    for point in points[1:]:
        chain.move_to_element_with_offset(pad, *point)
    chain.release().perform()


@pytest.mark.parametrize("device", DEVICES)
def test_front_page(chromium: Chromium, served: Server, device: str) -> None:
    page = chromium
    open_front_page(page, served, device)
    name = {"webgpu": "WebGPU", "wasm": "WebAssembly SIMD"}[device]
    assert name in text(page, "status")

    draw(page, (-60, -80), (60, -80), (20, 0), (-20, 90))
    wait(page, "document.getElementById('digit').textContent === '7'")
    assert name in text(page, "speed") and "PyTorch trained" in text(page, "speed")
    page.evaluate(DROP)
    wait(page, "document.getElementById('digit').textContent === '0'")
    click(page, "clear")
    wait(page, "document.getElementById('digit').textContent === '–'")

    click(page, "run-code")
    wait(page, "document.getElementById('code-output').textContent.includes('right')")

    click(page, "train")
    wait(page, "document.querySelector('.chart .line')?.points.length >= 8")
    click(page, "sample")  # the page answers while it trains
    wait(page, "/[0-9]/.test(document.getElementById('digit').textContent)")
    assert page.evaluate("document.getElementById('progress').value") < 1
    wait(page, "document.getElementById('progress').value === 1")
    wait(page, "!document.getElementById('train').disabled")
    assert float(text(page, "accuracy").rstrip("%")) >= 97
    assert float(text(page, "loss")) < 0.3


def test_training_stops_and_device_changes(chromium: Chromium, served: Server) -> None:
    page = chromium
    open_front_page(page, served, "wasm")
    click(page, "train")
    wait(page, "document.querySelector('.chart .line')?.points.length >= 8")
    click(page, "stop")
    wait(page, "!document.getElementById('train').disabled")
    assert page.evaluate("document.getElementById('progress').value") < 1
    page.evaluate("document.querySelector('input[value=webgpu]').click()")
    wait(page, "document.getElementById('status').textContent.includes('WebGPU,')")
    click(page, "sample")
    wait(page, "document.getElementById('speed').textContent.includes('WebGPU')")


def test_front_page_without_webgpu(served: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM_FLAGS", "--disable-gpu --disable-features=WebGPU")
    with Chromium() as page:
        page.goto(f"{served.url}index.html?device=webgpu")
        wait(page, "!document.getElementById('train').disabled")
        assert "no WebGPU" in text(page, "note")
        assert "WebAssembly" in text(page, "status")
        assert page.evaluate("document.querySelector('input[value=webgpu]').disabled")


def test_error_of_a_missing_file_is_told(chromium: Chromium, served: Server) -> None:
    weights = "/data/digits.ptjs"
    served.pages[weights] = b"not a weights file"
    try:
        chromium.goto(f"{served.url}index.html?device=wasm")
        chromium.wait_for("!document.getElementById('error').hidden", 60)
        assert "SafetensorError" in text(chromium, "error")
    finally:
        del served.pages[weights]


def test_script_tag_page(chromium: Chromium, served: Server) -> None:
    chromium.goto(served.url + "scripttag.html")
    chromium.wait_for("window.answer || document.querySelector('.tabgrad-error')", 120)
    assert not chromium.evaluate("document.querySelector('.tabgrad-error')?.textContent")
    assert text(chromium, "printed").startswith("trained on ")
    answer = "({ x: [...answer.x], y: [...answer.data], shape: answer.shape })"
    got = chromium.evaluate(answer)
    assert got["shape"] == [200, 1]
    assert chromium.evaluate("answer.data instanceof Float32Array")
    np.testing.assert_allclose(got["y"], np.sin(got["x"]), atol=0.1)


def test_script_tag_tells_an_error_in_words(chromium: Chromium, served: Server) -> None:
    page = (ROOT / "site" / "scripttag.html").read_text()
    served.pages["/failing.html"] = page.replace("nn.Linear(32, 1)", "nn.Linear(33, 1)").encode()
    chromium.goto(served.url + "failing.html")
    told = chromium.wait_for("document.querySelector('.tabgrad-error summary')?.textContent", 120)
    assert "mat1 and mat2 shapes cannot be multiplied (128x32 and 33x1)" in told


@pytest.mark.parametrize("device", DEVICES)
def test_demo(chromium: Chromium, served: Server, device: str) -> None:
    """The page itself raises where the promises are not kept; see demo.py."""
    chromium.goto(f"{served.url}demo.html?device={device}")
    chromium.wait_for("__demo.done || __demo.error", 240)
    assert chromium.evaluate("__demo.error") == ""
    results = chromium.evaluate("__demo.results")
    assert results["largest difference of a logit"] <= 1e-4
    assert results["accuracy trained here"] >= 0.97
    print(f"\n{device}: {results}")


# The notebook, in a browser that cannot reach any other host.

CELLS = """(() => {
  const shown = [...(globalThis.jupyterapp?.shell?.widgets?.("main") ?? [])];
  const notebook = shown.find((widget) => widget.content?.widgets?.length > 5);
  if (!notebook?.context.sessionContext.session?.kernel) return null;
  return Array.from(notebook.content.model.sharedModel.cells, (cell) => cell.toJSON())
    .filter((cell) => cell.cell_type === "code");
})()"""


@pytest.fixture(scope="module")
def offline_chromium() -> Iterator[Chromium]:
    with pytest.MonkeyPatch.context() as patch:
        flags = "--enable-unsafe-webgpu --use-webgpu-adapter=swiftshader"
        rules = '"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"'
        patch.setenv("CHROMIUM_FLAGS", f"{flags} {rules}")
        with Chromium() as browser:
            yield browser


@pytest.mark.parametrize("device", DEVICES)
def test_notebook(offline_chromium: Chromium, site: Path, device: str) -> None:
    page, path = offline_chromium, "lite/files/train.ipynb"
    original = (site / path).read_text()
    chosen = original.replace(r"device = \"auto\"", rf"device = \"{device}\"")
    assert chosen != original
    with Server({"/": site}, {f"/{path}": chosen.encode()}, isolated=True) as server:
        page.goto(server.url + "lite/notebooks/index.html?path=train.ipynb")
        page.wait_for(f"Boolean({CELLS})", 60)
        page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")
        ended = f"{CELLS}.every((cell) => cell.execution_count)"
        failed = f"{CELLS}.some((cell) => cell.outputs.some((o) => o.output_type === 'error'))"
        page.wait_for(f"{ended} || {failed}", 240)
        outputs = [output for cell in page.evaluate(CELLS) for output in cell["outputs"]]
        kinds = [output["output_type"] for output in outputs]
        assert "error" not in kinds, outputs[kinds.index("error")]
        printed = "".join(o["text"] for o in outputs if o["output_type"] == "stream")
        assert f"on {device}" in printed
        assert float(printed.split("right: ")[1].split("%")[0]) >= 97
        shown = [o["data"] for o in outputs if o["output_type"] == "display_data"]
        pictures = [base64.b64decode(d["image/png"]) for d in shown if "image/png" in d]
        assert len(pictures) == 3 and all(p.startswith(b"\x89PNG") for p in pictures)
        assert len(pictures[1]) > 10_000  # the loss curve
        assert any('<progress value="138"' in d.get("text/html", "") for d in shown)
