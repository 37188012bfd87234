// The systems under test. Add one by writing systems/<module>.js with init() and prepare(), and a line here.
// `device` and `threads` say which columns are compared with each other; `ours` are the ones the ratios are for;
// `limit` systems run the workloads of that name only.
const wasm = (threads) => ({ device: "wasm", threads });
const webgpu = { device: "webgpu" };

/**
 * @typedef {object} System
 * @property {string} id
 * @property {string} module file in systems/, without the ending
 * @property {Record<string, any>} cfg handed to init() and prepare()
 * @property {"wasm" | "webgpu"} device
 * @property {number} [threads]
 * @property {boolean} [ours]
 * @property {boolean} [limit]
 */

/** @type {System[]} */
export const systems = [
  ...[1, 2].flatMap((threads) => {
    const id = threads === 1 ? "tabgrad-wasm" : `tabgrad-wasm-${threads}`;
    const cfg = { device: "wasm", env: { TABGRAD_THREADS: `${threads}` } };
    const rest = { module: "tabgrad", ours: true, ...wasm(threads) };
    return [
      { id, cfg, ...rest },
      { id: `${id}-compiled`, cfg: { ...cfg, compile: true }, ...rest },
    ];
  }),
  { id: "tabgrad-webgpu", module: "tabgrad", cfg: { device: "webgpu" }, ours: true, ...webgpu },
  {
    id: "tabgrad-webgpu-compiled",
    module: "tabgrad",
    cfg: { device: "webgpu", compile: true },
    ours: true,
    ...webgpu,
  },
  { id: "ort-wasm-1", module: "ort", cfg: { ep: "wasm", threads: 1 }, ...wasm(1) },
  { id: "ort-wasm-2", module: "ort", cfg: { ep: "wasm", threads: 2 }, ...wasm(2) },
  // as fast as the default (asyncify) build, and a smaller download
  { id: "ort-webgpu", module: "ort", cfg: { ep: "webgpu", build: "jspi" }, ...webgpu },
  { id: "tfjs-wasm-1", module: "tfjs", cfg: { backend: "wasm", threads: 1 }, ...wasm(1) },
  // it caps itself at half the reported cores, so the page reports 4
  { id: "tfjs-wasm-2", module: "tfjs", cfg: { backend: "wasm", threads: 2, cores: 4 }, ...wasm(2) },
  { id: "tfjs-webgpu", module: "tfjs", cfg: { backend: "webgpu" }, ...webgpu },
  { id: "tfjs-cpu", module: "tfjs", cfg: { backend: "cpu" }, ...wasm(1) },
  // without SharedArrayBuffer it runs on the page's own thread: faster than a pool of one worker
  { id: "jax-wasm-1", module: "jax", cfg: { device: "wasm", noshared: true }, ...wasm(1) },
  { id: "jax-wasm-2", module: "jax", cfg: { device: "wasm", threads: 2 }, ...wasm(2) },
  { id: "jax-webgpu", module: "jax", cfg: { device: "webgpu" }, ...webgpu },
  { id: "numpy", module: "numpy", cfg: {}, ...wasm(1) },
  {
    id: "limit-wasm-1",
    module: "limits",
    cfg: { device: "wasm", threads: 1 },
    limit: true,
    ...wasm(1),
  },
  {
    id: "limit-wasm-2",
    module: "limits",
    cfg: { device: "wasm", threads: 2 },
    limit: true,
    ...wasm(2),
  },
  { id: "limit-webgpu", module: "limits", cfg: { device: "webgpu" }, limit: true, ...webgpu },
];
