// The front page: drawing, showing answers, steering a training run. Python (index.py) computes in a worker.

import { LossChart } from "./chart.js";
import { clear, drawOn, ink, paste, show, toPixels } from "./pad.js";

/** @param {string} id */
const at = (id) => /** @type {any} */ (document.getElementById(id));
const { tabgrad } = globalThis;
const data = new URL("data/", document.baseURI).href;
const names = { webgpu: "WebGPU", wasm: "WebAssembly SIMD" };

/** Functions of index.py, once Python is there. @type {Record<string, (...values: any[]) => Promise<any>>} */
const python = {};
let unseen = 0;
let network = "torch";
let training = false;
let stopped = false;
/** Whatever uses Python waits for what was asked before it. @type {Promise<any>} */
let queue = Promise.resolve();

/**
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
function inTurn(work) {
  const mine = queue.then(work);
  queue = mine.catch(() => {});
  return mine;
}

// --- messages

/** @param {unknown} error */
function fail(error) {
  const text = error instanceof Error ? error.message : String(error);
  at("error").textContent = text.trim().split("\n").at(-1);
  at("error").title = text;
  at("error").hidden = false;
  console.error(text);
}

/** @param {(...values: any[]) => Promise<void>} work */
const reporting =
  (work) =>
  (/** @type {any[]} */ ...values) =>
    work(...values).catch(fail);

// --- device

async function hasWebGpu() {
  try {
    return Boolean(await navigator.gpu?.requestAdapter());
  } catch {
    return false;
  }
}

/** @param {string} wanted */
async function useDevice(wanted) {
  stopped = true;
  at("error").hidden = true;
  enable(false);
  at("status").textContent = `Opening ${names[wanted]}…`;
  const got = await inTurn(() => python.use(wanted, data));
  unseen = got.unseen;
  choose("torch");
  at("status").textContent = `Python runs on ${names[got.device]}, in this tab.`;
  document.body.dataset.device = got.device;
  document.querySelector(`input[value=${got.device}]`).checked = true;
  enable(true);
  classifySoon();
}

/** @param {boolean} on */
function enable(on) {
  for (const id of ["sample", "train", "run-code"]) at(id).disabled = !on;
}

async function start() {
  for (const input of at("devices").querySelectorAll("input"))
    input.addEventListener("change", () => useDevice(input.value).catch(toWasm));
  const gpu = await hasWebGpu();
  if (!gpu) {
    document.querySelector("input[value=webgpu]").disabled = true;
    at("note").textContent =
      "This browser offers no WebGPU here, so WebAssembly SIMD does the work. Everything on this page runs; large networks are slower.";
    at("note").hidden = false;
  }
  const asked = new URLSearchParams(location.search).get("device");
  const wanted = asked === "wasm" || !gpu ? "wasm" : "webgpu";
  document.querySelector(`input[value=${wanted}]`).checked = true;
  for (const name of ["use", "sample", "classify", "begin", "advance", "accuracy"])
    python[name] = await tabgrad.get(name);
  await useDevice(wanted).catch(toWasm);
}

/**
 * The GPU could not be opened after all: say so and go on without it.
 * @param {unknown} error
 */
async function toWasm(error) {
  fail(error);
  if (document.querySelector("input[value=wasm]").checked) return;
  await useDevice("wasm");
  at("note").textContent =
    `WebGPU did not work (${at("error").textContent || error}); this is WebAssembly SIMD.`;
  at("note").hidden = false;
}

// --- classify

const pad = at("pad");
const bars = Array.from({ length: 10 }, (_, digit) => {
  const row = document.createElement("li");
  row.innerHTML = `<span>${digit}</span><i></i><b></b>`;
  at("bars").append(row);
  return row;
});
let waiting = false;

/** @param {string} which network answers from now on */
function choose(which) {
  network = which;
}

/** Classifies what is on the pad; while one answer is awaited, later strokes share the next. */
function classifySoon() {
  if (waiting || !python.classify) return;
  waiting = true;
  inTurn(async () => {
    waiting = false;
    const pixels = toPixels(pad);
    show(at("seen"), pixels);
    if (!pixels) return answer(null);
    answer(await python.classify(pixels, network));
  }).catch(fail);
}

/** @param {{ probabilities: number[], ms: number } | null} found */
function answer(found) {
  const probabilities = found?.probabilities ?? [];
  const best = probabilities.indexOf(Math.max(...probabilities));
  at("digit").textContent = best < 0 ? "–" : best;
  bars.forEach((row, digit) => {
    const p = probabilities[digit] ?? 0;
    row.classList.toggle("best", digit === best);
    row.children[1].style.transform = `scaleX(${p})`;
    row.children[2].textContent = found ? `${(100 * p).toFixed(1)}%` : "";
  });
  if (!found) return;
  const who = network === "torch" ? "weights that PyTorch trained" : "the network trained here";
  const device = names[document.body.dataset.device];
  at("speed").textContent = `${found.ms.toFixed(1)} ms on ${device}, by ${who}.`;
}

const drawSample = reporting(async () => {
  const k = Math.floor(Math.random() * unseen);
  const { data: grey } = await inTurn(() => python.sample(k));
  show(at("seen"), grey);
  ink(pad, grey);
  answer(await inTurn(() => python.classify(grey, network)));
});

const takePicture = reporting(async (file) => {
  if (!file?.type.startsWith("image/")) throw new Error("That is no picture: try PNG or JPEG.");
  at("error").hidden = true;
  await paste(pad, file);
  classifySoon();
});

// --- train

const train = reporting(async () => {
  if (training) return;
  training = true;
  stopped = false;
  at("train").disabled = true;
  at("stop").disabled = false;
  at("accuracy").textContent = "–";
  try {
    await trainRun();
  } finally {
    training = false;
    at("train").disabled = false;
    at("stop").disabled = true;
  }
});

async function trainRun() {
  const { epochs, per_epoch: perEpoch } = await inTurn(() => python.begin());
  const steps = epochs * perEpoch;
  const chart = new LossChart(at("chart"), steps);
  let done = 0;
  let began = performance.now();
  while (done < steps && !stopped) {
    const count = Math.min(4, perEpoch - (done % perEpoch));
    const losses = await inTurn(() => python.advance(count));
    done += losses.length;
    chart.add(...losses);
    at("progress").value = done / steps;
    at("epoch").textContent = `${Math.ceil(done / perEpoch)} of ${epochs}`;
    at("loss").textContent = losses.at(-1).toFixed(3);
    if (done % perEpoch) continue;
    at("seconds").textContent = ((performance.now() - began) / 1000).toFixed(2);
    const share = await inTurn(() => python.accuracy());
    at("accuracy").textContent = `${(100 * share).toFixed(1)}%`;
    choose("here");
    classifySoon();
    began = performance.now();
  }
}

// --- the example

const runExample = reporting(async () => {
  const out = at("code-output");
  out.textContent = "…";
  let text = "";
  await inTurn(() => tabgrad.run(at("code").textContent, (/** @type {string} */ t) => (text += t)));
  out.textContent = text.trim();
});

// --- wiring

drawOn(pad, classifySoon);
pad.addEventListener("dragover", (event) => {
  event.preventDefault();
  pad.classList.add("over");
});
pad.addEventListener("dragleave", () => pad.classList.remove("over"));
pad.addEventListener("drop", (/** @type {DragEvent} */ event) => {
  event.preventDefault();
  pad.classList.remove("over");
  takePicture(event.dataTransfer?.files[0]);
});
at("open").addEventListener("click", () => at("file").click());
at("file").addEventListener("change", () => takePicture(at("file").files[0]));
at("clear").addEventListener("click", () => {
  clear(pad);
  classifySoon();
});
at("sample").addEventListener("click", drawSample);
at("train").addEventListener("click", train);
at("stop").addEventListener("click", () => (stopped = true));
at("run-code").addEventListener("click", runExample);
clear(pad);
answer(null);
new LossChart(at("chart"), 100);
start().catch((error) => {
  at("status").textContent = "Python could not be started.";
  fail(error);
});
