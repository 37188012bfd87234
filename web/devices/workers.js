// Threads for the WASM device: workers that run the same module on the same shared memory.
//
// A worker comes up, tells so, and calls `work` (wasm_kernels/run.c), which never returns: it sleeps in WebAssembly until a run
// has shares for it. Nobody waits for a worker: a run takes as many threads as have come up.

/** Runs in the worker, which knows nothing of this file; `receive` is how it gets its one message. */
function life() {
  const host = /** @type {any} */ (globalThis);
  const node = !!host.process?.versions?.node;
  const port = node ? host.process.getBuiltinModule("worker_threads").parentPort : host;
  /** @param {any} data */
  function start({ module, memory, kernels, stack, tls, count, failed }) {
    const exports = /** @type {any} */ (
      new WebAssembly.Instance(module, { env: { memory } }).exports
    );
    exports.__stack_pointer.value = stack;
    exports.__wasm_init_tls(tls);
    const table = exports.__indirect_function_table;
    const first = table.grow(kernels.length);
    kernels.forEach((/** @type {string} */ name, /** @type {number} */ k) =>
      table.set(first + k, exports[name]),
    );
    const words = new Int32Array(memory.buffer);
    try {
      Atomics.add(words, count >>> 2, 1);
      exports.work();
    } catch (error) {
      Atomics.store(words, failed >>> 2, 1);
      throw error;
    }
  }
  if (node) port.once("message", start);
  else port.onmessage = (/** @type {MessageEvent} */ event) => start(event.data);
}

const node = () => /** @type {any} */ (globalThis).process;
const isNode = () => !!node()?.versions?.node;
const worker_threads = () => node().getBuiltinModule?.("worker_threads");

/** Whether memory may be shared among threads here. */
export function canShare() {
  if (typeof SharedArrayBuffer === "undefined") return false;
  if (isNode()) return !!worker_threads();
  return !!globalThis.crossOriginIsolated && typeof Worker === "function";
}

/** As many threads as are of use: one for each core, but not all that a large machine has. */
export function usualThreads() {
  const cores = isNode()
    ? node().getBuiltinModule("os").availableParallelism()
    : navigator.hardwareConcurrency;
  return Math.min(cores || 1, 8);
}

/**
 * Starts a worker; null where the page does not allow it.
 * @param {object} message for `life`
 * @returns {{ stop: () => void } | null}
 */
export function startWorker(message) {
  const text = `(${life})()`;
  try {
    if (isNode()) {
      const worker = new (worker_threads().Worker)(text, { eval: true });
      worker.postMessage(message);
      worker.unref();
      return { stop: () => void worker.terminate() };
    }
    const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    const worker = new Worker(url, { name: "tabgrad" });
    worker.postMessage(message);
    return { stop: () => (worker.terminate(), URL.revokeObjectURL(url)) };
  } catch (error) {
    console.log(`tabgrad: no threads here (${/** @type {Error} */ (error).message})`);
    return null;
  }
}
