// Threads that help with the shares of a plan's launches (run.c): workers on the same memory.
//
// Nothing waits for them: they start when the first plan comes that is worth it, and what they have not claimed the caller does.

import { connect } from "./module.js";

const MOST = 8; // more cores than this seldom are alike, and memory is shared
const PATIENCE = 1000; // ms for workers to come up, where somebody waits

/** @returns {any} a module of Node's, where this is Node */
const node = (/** @type {string} */ name) =>
  /** @type {any} */ (globalThis).process?.getBuiltinModule?.(`node:${name}`);
const inNode = () => !globalThis.Worker && !!node("worker_threads");

/** Whether memory may be shared here. */
export const canShare = () =>
  typeof SharedArrayBuffer === "function" && (globalThis.crossOriginIsolated || inNode());

const cores = () =>
  globalThis.navigator?.hardwareConcurrency || node("os")?.availableParallelism() || 1;

/**
 * @param {{ module: WebAssembly.Module, memory: WebAssembly.Memory, exports: Record<string, any> }} code
 * @param {(bytes: number) => number} alloc gives cleared memory
 * @param {number} most 1 where memory is not shared
 * @param {number} wanted threads; 0: as many as are of use
 */
export function pool({ module, memory, exports }, alloc, most, wanted) {
  /** @type {Promise<any>[]} each settles when it has come up */
  const workers = [];
  const stack = exports.__stack_pointer?.value;
  let threads = allowed(wanted);
  let started = false;
  let up = 0;

  /** @param {number} count */
  function allowed(count) {
    return Math.max(1, Math.min(count || Math.min(cores(), MOST), most));
  }

  /** Called when there is a plan for several threads; lets missing workers come up. */
  function start() {
    started = true;
    exports.set_threads?.(threads); // first: a helper that finds none leaves
    try {
      while (workers.length < threads - 1) workers.push(worker(workers.length + 1));
    } catch (error) {
      giveUp(/** @type {Error} */ (error));
    }
  }

  /** @param {number} number */
  function worker(number) {
    const tls = alloc(exports.__tls_size.value + stack + 64);
    const top = tls + Math.ceil(exports.__tls_size.value / 64) * 64 + stack;
    const order = { module, memory, number, tls, stack: top };
    return (inNode() ? inThread : inWorker)(order, giveUp).then(() => up++);
  }

  /** @param {Error} error */
  function giveUp({ message }) {
    if (threads > 1) console.warn(`tabgrad: goes on with one thread: ${message}`);
    resize((most = 1));
  }

  /** How many threads there may be from now on. @param {number} count 0: as many as are of use */
  function resize(count) {
    threads = allowed(count);
    if (started) start();
    return threads;
  }

  const coming = () => started && workers.length > up;

  /** Settles when the workers that were started have come up, or do not. */
  async function ready() {
    if (!coming()) return;
    /** @type {any} */
    let timer;
    const late = new Promise((done) => (timer = setTimeout(done, PATIENCE)));
    await Promise.race([Promise.all(workers), late]);
    clearTimeout(timer);
  }

  /** Sends the workers home; they end by themselves. */
  const close = () => exports.set_threads?.(0);

  return { start, coming, ready, resize, close, threads };
}

/**
 * What a worker does: text, so it may use nothing around it.
 * @param {typeof connect} bind
 * @param {any} order
 * @param {() => void} tell
 */
function helper(bind, { module, memory, number, tls, stack }, tell) {
  const { exports } = bind(module, memory);
  exports.__stack_pointer.value = stack;
  exports.__wasm_init_tls(tls);
  tell();
  for (;;) {
    try {
      return exports.help(number);
    } catch {
      exports.__stack_pointer.value = stack;
      exports.fail();
    }
  }
}

/**
 * @param {any} order
 * @param {(error: Error) => void} fail
 */
function inWorker(order, fail) {
  const text = `onmessage = ({ data }) => { (${helper})(${connect}, data, () => postMessage(0)); close(); }`;
  const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  const made = new Worker(url, { name: `tabgrad ${order.number}` });
  made.postMessage(order);
  const up = new Promise((done) => {
    made.onmessage = () => done(URL.revokeObjectURL(url));
    made.onerror = (event) => {
      event.preventDefault?.();
      done(fail(new Error(event.message || "a worker could not be started")));
    };
  });
  return up;
}

/**
 * @param {any} order
 * @param {(error: Error) => void} fail
 */
function inThread(order, fail) {
  const text = `const { parentPort, workerData } = process.getBuiltinModule("node:worker_threads");
    (${helper})(${connect}, workerData, () => parentPort.postMessage(0));`;
  const made = new (node("worker_threads").Worker)(text, { eval: true, workerData: order });
  const up = new Promise((done) => {
    made.once("message", done);
    made.once("error", (/** @type {Error} */ error) => done(fail(error)));
  });
  made.unref();
  return up;
}
