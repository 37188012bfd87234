// The script tag: boots Pyodide, installs the wheel, runs the page's Python.
//
//   <script type="module" src="tabgrad.js"></script>
//   <script type="text/tabgrad" data-output="#out"> import tabgrad as tg … </script>
//
// Attributes of the first: data-pyodide (folder of Pyodide), data-wheel, data-progress (an element), data-worker (run Python in a
// worker, where the page stays responsive). Of the second: src, data-output (an element).
// From JavaScript: `const model = await tabgrad.get("model"); const { data, shape } = await model(pixels)`.

import { boot } from "./loader/boot.js";
import { followedBy, showError } from "./loader/progress.js";
import { inWorker } from "./loader/remote.js";

/** @typedef {import("./loader/boot.js").Python} Python */
/** @typedef {{ data: ArrayBufferView, shape: number[] }} Array what a tensor is in JavaScript */

const blocks = () =>
  /** @type {HTMLScriptElement[]} */ ([
    ...document.querySelectorAll('script[type="text/tabgrad"]'),
  ]);

/** The element that loaded this file; a module is not told. */
function ownTag() {
  const tags = /** @type {HTMLScriptElement[]} */ ([...document.querySelectorAll("script[src]")]);
  return tags.find((tag) => tag.src === import.meta.url);
}

/** @returns {import("./loader/boot.js").Settings} */
function settings() {
  const { pyodide = "", wheel = "" } = ownTag()?.dataset ?? {};
  const absolute = (/** @type {string} */ url) => url && new URL(url, document.baseURI).href;
  const page = document.baseURI;
  return { pyodide: absolute(pyodide), wheel: absolute(wheel), base: import.meta.url, page };
}

/** @type {Promise<Python> | undefined} */
let started;

/** Boots Python once; later callers get the same. */
function start() {
  const tag = ownTag();
  const place = tag?.dataset.progress ? document.querySelector(tag.dataset.progress) : blocks()[0];
  const tell = followedBy(place ?? undefined, Boolean(tag?.dataset.progress));
  const make = tag && "worker" in tag.dataset ? inWorker : boot;
  started ??= make(settings(), tell).then(
    (python) => (tell(""), python),
    (error) => {
      tell("");
      showError(place ?? document.body, error);
      throw error;
    },
  );
  return started;
}

async function runBlocks() {
  if (!blocks().length) return;
  const python = await start();
  for (const block of blocks()) {
    const target = block.dataset.output ? document.querySelector(block.dataset.output) : null;
    try {
      await python.run(await sourceOf(block), block.src || "page.py", (text) => {
        if (target) target.append(text);
        else if (text.trim()) console.log(text.trimEnd());
      });
    } catch (error) {
      showError(target ?? block, error);
      throw error;
    }
  }
}

/** @param {HTMLScriptElement} block */
async function sourceOf(block) {
  if (!block.src) return block.textContent ?? "";
  const response = await fetch(block.src);
  if (!response.ok) throw new Error(`${block.src} could not be fetched: ${response.status}`);
  return response.text();
}

/** A page that is still being read may hold more blocks further down. */
const complete = new Promise((done) => {
  if (typeof document === "undefined" || document.readyState !== "loading") done(undefined);
  else document.addEventListener("DOMContentLoaded", done);
});

const ready = typeof document === "undefined" ? Promise.resolve() : complete.then(runBlocks);
ready.catch(() => {}); // shown in the page; who awaits `ready` gets it too

export const tabgrad = {
  /** Fulfilled when the page's blocks have run. */
  ready,

  /**
   * A Python object of the page's blocks by its name, "model" or "model.encode", as a function of typed arrays, `{data, shape}`, numbers
   * and strings. It resolves to the same kinds of things; nothing needs to be disposed of.
   * @param {string} name
   * @returns {Promise<(...values: any[]) => Promise<any>>}
   */
  async get(name) {
    await ready;
    const python = await start();
    await python.find(name);
    return (...values) => python.call(name, values);
  },

  /**
   * Runs Python and resolves to the value of its last expression, as `get`'s functions do.
   * @param {string} code
   * @param {(text: string) => void} [print]
   */
  async run(code, print) {
    await ready;
    const python = await start();
    return python.run(code, "run.py", print ?? ((text) => console.log(text.trimEnd())));
  },
};

Object.assign(globalThis, { tabgrad });
