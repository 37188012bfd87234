// Python in this thread, a page's or a worker's: Pyodide, the wheel, and three things to do with it.

import * as runtime from "../runtime.js";

const PYODIDE = "314.0.7";
const WHEEL = "tabgrad-0.1.0-py3-none-any.whl";
const CDN = `https://cdn.jsdelivr.net/pyodide/v${PYODIDE}/full/`;

/** @typedef {{ pyodide: string, wheel: string, base: string, page: string }} Settings `base` is the address of tabgrad.js */

/**
 * @typedef {object} Python
 * @property {(code: string, filename: string, print: (text: string) => void) => Promise<any>} run
 * @property {(name: string) => Promise<void>} find throws if there is no such object
 * @property {(name: string, values: any[]) => Promise<any>} call
 */

/**
 * @param {Settings} settings
 * @param {(stage: string) => void} tell
 * @returns {Promise<Python>}
 */
export async function boot(settings, tell) {
  const stop = countBytes(tell);
  try {
    const [folder, loadPyodide] = await locate(settings);
    const pyodide = await loadPyodide({ indexURL: folder });
    tell("Installing tabgrad");
    await install(pyodide, settings);
    // The page has these modules already: the wheel's copy need not be evaluated.
    Object.assign(globalThis, { __tabgrad_runtime: runtime, __tabgrad_base: settings.page });
    return doors(pyodide);
  } finally {
    stop();
  }
}

/**
 * The folder of Pyodide and its entry: what the page says, else beside this file, else the public one.
 * @param {Settings} settings
 * @returns {Promise<[string, Function]>}
 */
async function locate({ pyodide, base }) {
  const beside = ["./pyodide/", "../pyodide/"].map((path) => new URL(path, base).href);
  const folders = pyodide ? [pyodide.endsWith("/") ? pyodide : pyodide + "/"] : [...beside, CDN];
  for (const folder of folders) {
    try {
      const module = await import(folder + "pyodide.mjs");
      return [folder, module.loadPyodide];
    } catch (error) {
      if (folder === folders.at(-1))
        throw new Error(`Pyodide could not be loaded from ${folder}: ${error}`);
    }
  }
  throw new Error("unreachable");
}

/**
 * @param {any} pyodide
 * @param {Settings} settings
 */
async function install(pyodide, { wheel, base }) {
  const quiet = { messageCallback: () => {} };
  const listed = pyodide.lockfile?.packages?.tabgrad;
  if (wheel) await pyodide.loadPackage(wheel, quiet);
  else if (listed) await pyodide.loadPackage("tabgrad", quiet);
  else await pyodide.loadPackage(new URL(WHEEL, base).href, quiet);
  if (!pyodide.loadedPackages.tabgrad)
    throw new Error(`the wheel could not be installed: ${wheel || new URL(WHEEL, base).href}`);
}

/**
 * @param {any} pyodide
 * @returns {Python}
 */
function doors(pyodide) {
  const api = pyodide.pyimport("tabgrad.jscall");
  const decoder = new TextDecoder();
  /** @type {(text: string) => void} */
  let out = (text) => console.log(text);
  const write = (/** @type {Uint8Array} */ bytes) => {
    out(decoder.decode(bytes, { stream: true }));
    return bytes.length;
  };
  pyodide.setStdout({ write });
  pyodide.setStderr({ write });
  const quiet = { messageCallback: () => {} };
  return {
    async run(code, filename, print) {
      out = print;
      await pyodide.loadPackagesFromImports(code, quiet);
      const value = await pyodide.runPythonAsync(code, { filename });
      return value && typeof value === "object" ? api.result(value) : value;
    },
    async find(name) {
      api.find(name);
    },
    call: (name, values) => api.call(name, values),
  };
}

/**
 * Says how much has arrived so far, file by file, while Python boots.
 * @param {(stage: string) => void} tell
 */
function countBytes(tell) {
  tell("Loading Python");
  if (typeof PerformanceObserver === "undefined") return () => {};
  let bytes = 0;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries())
      bytes += /** @type {PerformanceResourceTiming} */ (entry).encodedBodySize;
    if (bytes) tell(`Loading Python, ${(bytes / 1e6).toFixed(1)} MB`);
  });
  observer.observe({ type: "resource" });
  return () => observer.disconnect();
}
