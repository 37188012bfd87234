// What the machine can do at most, measured as the systems are. cfg: {device: 'wasm'|'webgpu', threads}
import { Limits } from "/lib/limit_kernels.js";

let threads = [];
let gpu;

/** A thread of its own with the same doors as Limits, awaited. */
class Remote {
  constructor() {
    this.worker = new Worker("/lib/limit_worker.js", { type: "module" });
  }
  ask(...what) {
    return new Promise((done, fail) => {
      this.worker.onmessage = ({ data }) => done(data);
      this.worker.onerror = (e) => fail(new Error(e.message));
      this.worker.postMessage(what);
    });
  }
  fma = (flops) => this.ask("fma", flops);
  prepareCopy = (bytes) => this.ask("prepareCopy", bytes);
  copy = (way) => this.ask("copy", way);
  result = (op) => this.ask("result", op);
}

export async function init(cfg) {
  if (cfg.device === "webgpu") {
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    gpu = await adapter.requestDevice();
    return { adapter: adapter.info.description || adapter.info.vendor };
  }
  threads = Array.from({ length: cfg.threads }, () =>
    cfg.threads > 1 ? new Remote() : new Limits(),
  );
  return { relaxed: new Limits().relaxed };
}

export async function prepare(w) {
  if (!w.limit) throw new Error("not there: measures the machine only");
  return gpu ? onGpu(w) : onThreads(w);
}

const all = (f) => Promise.all(threads.map(f));
async function time(f) {
  const t = performance.now();
  await f();
  return performance.now() - t;
}
/** The way that is faster in the best of three. */
async function faster(a, b) {
  const best = [Infinity, Infinity];
  for (let k = 0; k < 3; k++)
    for (const [i, f] of [a, b].entries()) best[i] = Math.min(best[i], await time(f));
  return best[0] <= best[1] ? a : b;
}

async function onThreads(w) {
  const alone = threads.length === 1 ? threads[0] : null;
  const p = { lat: false, read: async () => threads[0].result(w.op), sync: async () => {} };
  for (let k = 0; k < 50; k++) await all((t) => t.fma(1 << 20)); // until it is compiled well
  if (w.op === "fma") {
    const share = w.flops / threads.length;
    p.run = alone ? () => alone.fma(share) : () => all((t) => t.fma(share));
    return p;
  }
  await all((t) => t.prepareCopy(w.bytes / 2 / threads.length));
  for (const name of ["loop", "bulk"]) for (let k = 0; k < 20; k++) await all((t) => t.copy(name));
  const way = (name) => (alone ? () => alone.copy(name) : () => all((t) => t.copy(name)));
  const [loop, bulk] = [way("loop"), way("bulk")];
  p.run = await faster(loop, bulk);
  p.note = p.run === loop ? "vector loop" : "memory.copy";
  return p;
}

const CHAINS = 8;
const THREADS = 1 << 16;
const GPU_COPY = 8; // times the floats of the workload: more than the caches of large GPUs hold
const FMA = `
struct Args { a: f32, b: f32, turns: u32 }
@group(0) @binding(0) var<storage, read_write> result: array<vec4f>;
@group(0) @binding(1) var<uniform> args: Args;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  let a = vec4f(args.a);
  let b = vec4f(args.b);
  ${Array.from({ length: CHAINS }, (_, k) => `var c${k} = vec4f(0);`).join("\n  ")}
  for (var i = 0u; i < args.turns; i++) {
    ${Array.from({ length: CHAINS }, (_, k) => `c${k} = fma(c${k}, a, b);`).join("\n    ")}
  }
  result[id.x] = ${Array.from({ length: CHAINS }, (_, k) => `c${k}`).join(" + ")};
}`;
const COPY = `
@group(0) @binding(0) var<storage, read_write> to: array<vec4f>;
@group(0) @binding(1) var<storage, read> source: array<vec4f>;
@compute @workgroup_size(256) fn main(@builtin(global_invocation_id) id: vec3u) {
  to[id.x] = source[id.x];
}`;

async function onGpu(w) {
  const buffers = [];
  const buffer = (size, usage) => {
    buffers.push(gpu.createBuffer({ size, usage }));
    return buffers.at(-1);
  };
  const { STORAGE, COPY_SRC, COPY_DST, UNIFORM, MAP_READ } = GPUBufferUsage;
  const size = w.op === "fma" ? THREADS * 16 : (w.bytes / 2) * GPU_COPY;
  const out = buffer(size, STORAGE | COPY_SRC | COPY_DST);
  const second =
    w.op === "fma" ? buffer(16, UNIFORM | COPY_DST) : buffer(size, STORAGE | COPY_SRC | COPY_DST);
  const module = gpu.createShaderModule({ code: w.op === "fma" ? FMA : COPY });
  const pipeline = await gpu.createComputePipelineAsync({ layout: "auto", compute: { module } });
  const group = gpu.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [out, second].map((b, binding) => ({ binding, resource: { buffer: b } })),
  });
  const dispatch = (groups) => () => {
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(groups);
    pass.end();
    gpu.queue.submit([encoder.finish()]);
  };
  const sync = () => gpu.queue.onSubmittedWorkDone();
  const p = { lat: false, sync, work: 1, dispose: () => buffers.forEach((b) => b.destroy()) };
  if (w.op === "fma") {
    const turns = w.flops / (THREADS * CHAINS * 4 * 2);
    const settle = (work) => {
      const args = new ArrayBuffer(16);
      new Float32Array(args).set([0.5, 1]);
      new Uint32Array(args)[2] = turns * work;
      gpu.queue.writeBuffer(second, 0, args);
      p.work = work;
    };
    p.run = dispatch(THREADS / 64);
    settle(1);
    const once = async () => {
      p.run();
      await sync();
    };
    await once();
    while (p.work < 4096 && (await time(once)) < 5) settle(p.work * 4); // a fast GPU gets more to do
  } else {
    for (let at = 0; at < size; at += 1 << 24) {
      const part = Float32Array.from({ length: 1 << 22 }, (_, i) => at / 4 + i + 1);
      gpu.queue.writeBuffer(second, at, part);
    }
    p.work = GPU_COPY;
    const kernel = dispatch(size / 16 / 256);
    const command = () => {
      const encoder = gpu.createCommandEncoder();
      encoder.copyBufferToBuffer(second, 0, out, 0, size);
      gpu.queue.submit([encoder.finish()]);
    };
    const waited = (f) => async () => {
      f();
      await sync();
    };
    const [a, b] = [waited(kernel), waited(command)];
    await a();
    p.run = (await faster(a, b)) === a ? kernel : command;
    p.note = p.run === kernel ? "vec4 kernel" : "copyBufferToBuffer";
  }
  p.read = async () => {
    const bytes = buffer(16, COPY_DST | MAP_READ);
    const encoder = gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(out, 0, bytes, 0, 16);
    gpu.queue.submit([encoder.finish()]);
    await bytes.mapAsync(MAP_READ);
    const values = new Float32Array(bytes.getMappedRange().slice(0));
    return w.op === "fma" ? values.map((v) => v / CHAINS) : values;
  };
  return p;
}
