// tabgrad in Pyodide: the workloads are Python (tabgrad_impl.py); this file only boots and calls.
import { GPT } from "/lib/spec.js";

let py, make, waits;

/**
 * @typedef {object} Settings
 * @property {"wasm" | "webgpu"} device
 * @property {string} wheel its address
 * @property {boolean} [compile] whether the functions go through tabgrad.compile
 * @property {Record<string, string>} [env] environment variables of the Python
 * @property {boolean} [cold] load only what the first small result needs
 */

/** @param {Settings} cfg */
export async function init(cfg) {
  const { loadPyodide } = await import("/pyodide/pyodide.mjs");
  py = await loadPyodide({ indexURL: "/pyodide/", env: { HOME: "/home/pyodide", ...cfg.env } });
  const quiet = { messageCallback: () => {} };
  await py.loadPackage(new URL(cfg.wheel, location.href).href, quiet);
  if (!cfg.cold) await py.loadPackage("numpy", quiet); // for reading large results; small ones need none
  py.runPython(await (await fetch("/systems/tabgrad_impl.py")).text());
  make = py.globals.get("make");
  await py.globals.get("start")(cfg.device, cfg.compile ?? false);
  // A function of Python that waits for the GPU is called as a promise.
  waits = cfg.device === "webgpu";
  return py.runPython("info()").toJs({ dict_converter: Object.fromEntries });
}

/**
 * The inputs of a workload with their shapes, as Python gets them.
 * @param {any} w workload
 * @param {any} I its inputs
 */
function flat(w, I) {
  const values = {};
  const put = (name, data, shape) => (values[name] = [data, shape]);
  for (const n in w.inputs) put(n, I[n], w.inputs[n].shape);
  const params = w.net?.params ?? w.params ?? {};
  for (const n in params) put("p:" + n, I.params[n], params[n].shape);
  for (const n of ["labels", "tokens", "next"]) if (I[n]) put(n, I[n], [I[n].length]);
  if (w.op === "gptdecode")
    for (let l = 0; l < GPT.L; l++)
      for (const n of [`pastk${l}`, `pastv${l}`]) put(n, I[n], [GPT.H, GPT.T, GPT.D / GPT.H]);
  return values;
}

/**
 * @param {any} w workload
 * @param {any} I its inputs
 */
export async function prepare(w, I) {
  const { inputs, params, net, ...spec } = w;
  const given = py.toPy({ ...spec, nodes: net?.nodes ?? null, gpt: GPT });
  const data = py.toPy(flat(w, I));
  let made;
  try {
    made = make(given, data);
  } catch (error) {
    const last = error.message.trim().split("\n").at(-1);
    throw new Error(last.replace("NotImplementedError: ", ""));
  } finally {
    given.destroy();
    data.destroy();
  }
  const kept = [made];
  const door = (name) => {
    const f = made.get(name);
    if (f) kept.push(f);
    return f && (waits ? (...args) => f.callPromising(...args) : f);
  };
  const [run, read, wait, both, check] = ["run", "read", "wait", "both", "check"].map(door);
  const p = {
    run,
    read,
    sync: (h) => wait(h),
    free: (h) => h.destroy(),
    // as a page calls its model: one call that computes and gives the values
    latency: { run: both, read: (data) => data },
    dispose() {
      for (const proxy of kept) proxy.destroy();
      py.runPython("import gc; gc.collect()");
    },
  };
  if (check) p.check = check;
  if (w.op === "dispatch") p.res = false;
  if (w.op === "adam") p.lat = false;
  return p;
}
