// Boots Pyodide, installs the wheel as any page would, and runs demo.py.
// State for whoever watches from outside: window.__demo = { done, error, lines, results }.

import { LossChart } from "./chart.js";

/** @param {string} id */
const at = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
const device = new URLSearchParams(location.search).get("device") ?? "webgpu";
const state = { done: false, error: "", lines: [], results: {} };
window.__demo = state;
performance.setResourceTimingBufferSize(5000);

/** @type {LossChart} */
let chart;
const page = {
  device,
  line(text) {
    state.lines.push(text);
    at("lines").textContent += text + "\n";
    at("lines").scrollTop = 1e9;
  },
  result(name, value) {
    state.results[name] = value;
    const row = document.createElement("tr");
    const shown = typeof value === "number" ? readable(value) : value;
    row.innerHTML = "<th scope='row'></th><td></td>";
    row.cells[0].textContent = name;
    row.cells[1].textContent = shown;
    /** @type {HTMLTableElement} */ (at("results")).append(row);
  },
  progress(text, share) {
    at("state").textContent = text;
    /** @type {HTMLProgressElement} */ (at("progress")).value = share;
  },
  /** All steps of the training run that follows, and PyTorch's loss per epoch. */
  chart(steps, reference) {
    chart = new LossChart(at("chart"), steps);
    const epoch = steps / reference.length;
    chart.compare(reference.map((loss, k) => [(k + 0.5) * epoch, loss]));
  },
  losses(values) {
    chart.add(...values);
  },
  seconds: () => performance.now() / 1000,
  /** Bytes that came over the wire for this page so far. */
  bytes: () =>
    ["navigation", "resource"]
      .flatMap((kind) => performance.getEntriesByType(kind))
      .reduce((sum, entry) => sum + entry.encodedBodySize, 0),
};

/** @param {number} value four digits, tiny ones with an exponent */
function readable(value) {
  const tiny = value !== 0 && Math.abs(value) < 1e-3;
  return tiny ? value.toExponential(1) : String(Number(value.toPrecision(4)));
}

/** @param {string} url */
async function text(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: the server answered ${answer.status}`);
  return answer.text();
}

async function main() {
  at("device").textContent = { webgpu: "WebGPU", wasm: "WebAssembly SIMD" }[device] ?? device;
  page.progress("Loading Python…", 0.05);
  const { loadPyodide } = await import("./pyodide/pyodide.mjs");
  const pyodide = await loadPyodide();
  page.line(
    `Python ${pyodide.runPython("import sys; sys.version.split()[0]")} after ${page.seconds().toFixed(1)} s`,
  );
  page.progress("Installing the wheel…", 0.15);
  await pyodide.loadPackage("micropip", { messageCallback() {} });
  const lock = JSON.parse(await text("pyodide/pyodide-lock.json"));
  const wheel = new URL(`pyodide/${lock.packages.tabgrad.file_name}`, document.baseURI).href;
  await pyodide.pyimport("micropip").install(wheel);
  if (device === "numpy") await pyodide.loadPackage("numpy", { messageCallback() {} });
  pyodide.FS.writeFile("model.py", await text("model.py"));
  pyodide.registerJsModule("page", page);
  await pyodide.runPythonAsync(await text("demo.py"), { filename: "demo.py" });
  page.progress("Done", 1);
  state.done = true;
}

main().catch((error) => {
  state.error = String(error.message ?? error).trim();
  at("state").textContent = "Failed";
  at("error").textContent = state.error;
  at("error").hidden = false;
});
