import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import workerThreads from "node:worker_threads";
import { hasRelaxed, openCpu } from "../../web/runtime.js";

const UINT8 = 1;
const build = hasRelaxed() ? "relaxed" : "simd";
const file = new URL(`../../wasm_kernels/build/${build}.wasm`, import.meta.url);
const wasm = readFileSync(file);

/** Words of a plan that copies a leaf through temporaries to an out, each copy in `shares`. */
function chain(bytes, copies, shares, claimed = bytes) {
  const commands = [];
  for (let k = 0; k < copies; k++) {
    const from = k ? 1 + k : 0;
    const to = k === copies - 1 ? 1 : 2 + k;
    commands.push([3, to], [1, 0, 0, shares, 1, 1, 2, from, to, 1, claimed | 0]);
    if (k) commands.push([4, from]);
  }
  const sizes = Array(copies + 1).fill(bytes);
  return Int32Array.of(1, 1, 1, copies - 1, 0, ...sizes, commands.length, ...commands.flat());
}

function noise(bytes, seed) {
  const data = new Uint32Array(bytes / 4);
  for (let k = 0; k < data.length; k++)
    data[k] = seed = Math.imul(seed ^ (seed >>> 13), 0x5bd1e995);
  return new Uint8Array(data.buffer);
}

/** A device whose plan 0 is loaded and whose workers, if any, have come up; id 1 is the leaf. */
async function opened(threads, words, leaf) {
  const gate = openCpu({ wasm, build, threads });
  gate.write(1, leaf, UINT8);
  gate.load(0, words, ["copy"]);
  await gate.idle();
  return gate;
}

const value = (gate, id, bytes) => Buffer.from(gate.read(id, UINT8, 0, bytes).data);

test("every number of threads gives the same bytes", async () => {
  const leaf = noise(1 << 20, 3);
  let peak;
  for (const threads of [1, 2, 3, 5]) {
    const gate = await opened(threads, chain(leaf.length, 5, 64), leaf);
    assert.equal(gate.info.threads, threads);
    while (gate.stats().helpers < threads - 1) await new Promise((done) => setTimeout(done, 1));
    gate.run(0, Int32Array.of(1, 2, 0));
    assert.ok(value(gate, 2, leaf.length).equals(leaf));
    assert.equal(gate.stats().peak, (peak ??= gate.stats().peak), "stacks are not counted");
    gate.close();
  }
});

test("thousands of launches, with threads that come and go", async () => {
  const bytes = 1 << 13;
  const gate = await opened(3, chain(bytes, 20, 16), noise(bytes, 5));
  for (let id = 2; id < 2000; id++) {
    const leaf = noise(bytes, id);
    gate.write(1, leaf, UINT8);
    if (id % 100 === 0) gate.setThreads(1 + ((id / 100) % 4));
    if (id % 250 === 0) await new Promise((done) => setTimeout(done, 5)); // they sleep
    gate.run(0, Int32Array.of(1, id, id > 2 ? 1 : 0, ...(id > 2 ? [id - 1] : [])));
    assert.ok(value(gate, id, bytes).equals(leaf), `run ${id}`);
  }
  gate.close();
});

test("a plan that is not worth it wakes nobody", async () => {
  const leaf = noise(1 << 12, 1);
  const gate = await opened(3, chain(leaf.length, 3, 1), leaf);
  gate.run(0, Int32Array.of(1, 2, 0));
  assert.equal(gate.stats().helpers, 0);
  assert.ok(value(gate, 2, leaf.length).equals(leaf));
});

test("memory grows while workers are alive", async () => {
  const leaf = noise(1 << 20, 9);
  const gate = await opened(3, chain(leaf.length, 4, 32), leaf);
  gate.run(0, Int32Array.of(1, 2, 0));
  const before = gate.stats().memory;
  gate.alloc(3, 200 << 20);
  assert.ok(gate.stats().memory > before);
  gate.run(0, Int32Array.of(1, 4, 0)); // its out lies behind
  assert.ok(value(gate, 4, leaf.length).equals(leaf));
  assert.ok(value(gate, 2, leaf.length).equals(leaf));
  gate.close();
});

test("shares that trap, in whatever thread, fail the run by name and leave nothing", async () => {
  const leaf = noise(1 << 12, 2);
  const gate = await opened(3, chain(leaf.length, 2, 8), leaf);
  gate.load(1, chain(leaf.length, 3, 8, -1), ["copy"]); // beyond the memory's end
  const { allocated } = gate.stats();
  for (let k = 0; k < 200; k++) {
    assert.throws(() => gate.run(1, Int32Array.of(1, 7, 0)), {
      name: "KernelError",
      message: /the kernel copy failed/,
    });
    assert.equal(gate.stats().allocated, allocated);
    gate.run(0, Int32Array.of(1, 2, 0));
    assert.ok(value(gate, 2, leaf.length).equals(leaf));
    gate.free([2]);
    if (k % 50 === 0) await new Promise((done) => setTimeout(done, 2));
  }
  assert.equal(gate.stats().helpers, 2);
  gate.close();
});

test("profiling times every launch", async () => {
  const leaf = noise(1 << 16, 2);
  const gate = await opened(2, chain(leaf.length, 6, 8), leaf);
  gate.profile(true);
  gate.run(0, Int32Array.of(1, 2, 0));
  const times = await gate.timings();
  assert.deepEqual(
    times.map(([name]) => name),
    Array(6).fill("copy"),
  );
  assert.ok(times.every(([, ms]) => ms >= 0));
  gate.close();
});

/** Has the constructor of workers replaced while `body` runs. */
async function withWorkers(Made, body) {
  const { Worker } = workerThreads;
  workerThreads.Worker = Made(Worker);
  try {
    await body();
  } finally {
    workerThreads.Worker = Worker;
  }
}

test("workers that are killed are not missed", async () => {
  const made = [];
  const watched = (Worker) =>
    class extends Worker {
      constructor(...args) {
        super(...args);
        made.push(this);
      }
    };
  await withWorkers(watched, async () => {
    const leaf = noise(1 << 20, 4);
    const gate = await opened(3, chain(leaf.length, 8, 16), leaf);
    gate.run(0, Int32Array.of(1, 2, 0));
    assert.equal(made.length, 2);
    await Promise.all(made.map((worker) => worker.terminate()));
    gate.run(0, Int32Array.of(1, 3, 0));
    assert.ok(value(gate, 3, leaf.length).equals(leaf));
    gate.close();
  });
});

test("where workers cannot be had it goes on with one thread, and says so", async (t) => {
  const said = t.mock.method(console, "warn", () => {});
  const leaf = noise(1 << 16, 4);
  const refused = () =>
    function () {
      throw new Error("refused by the page");
    };
  const dead = (Worker) =>
    class extends Worker {
      constructor(_, options) {
        super("throw new Error('dead at birth')", options);
      }
    };
  for (const [made, reason] of [
    [refused, /refused by/],
    [dead, /dead at birth/],
  ]) {
    await withWorkers(made, async () => {
      const gate = await opened(3, chain(leaf.length, 4, 16), leaf);
      gate.run(0, Int32Array.of(1, 2, 0));
      assert.ok(value(gate, 2, leaf.length).equals(leaf));
      assert.equal(gate.setThreads(4), 1);
      assert.match(said.mock.calls.at(-1).arguments[0], reason);
    });
  }
});

test("a memory that may not be shared is a memory of one thread", async () => {
  const { SharedArrayBuffer } = globalThis;
  const leaf = noise(1 << 16, 6);
  try {
    delete globalThis.SharedArrayBuffer;
    const gate = await opened(4, chain(leaf.length, 4, 16), leaf);
    assert.equal(gate.info.threads, 1);
    gate.run(0, Int32Array.of(1, 2, 0));
    assert.ok(value(gate, 2, leaf.length).equals(leaf));
    assert.equal(gate.setThreads(4), 1);
    assert.equal(gate.stats().helpers, 0);
  } finally {
    globalThis.SharedArrayBuffer = SharedArrayBuffer;
  }
});

test("a program with sleeping workers ends by itself", () => {
  const script = `
    import { readFileSync } from "node:fs";
    import { openCpu } from ${JSON.stringify(new URL("../../web/runtime.js", import.meta.url).href)};
    const gate = openCpu({ wasm: readFileSync(${JSON.stringify(fileURLToPath(file))}), threads: 3 });
    gate.write(1, new Uint8Array(65536), 1);
    gate.load(0, Int32Array.of(${chain(65536, 4, 16).join()}), ["copy"]);
    while (gate.stats().helpers < 2) await new Promise((done) => setTimeout(done, 1));
    gate.run(0, Int32Array.of(1, 2, 0));
    console.log("helpers", gate.stats().helpers);`;
  const flags = [...process.execArgv.filter((flag) => flag.startsWith("--experimental-wasm"))];
  const options = { encoding: "utf8", timeout: 60_000 };
  const args = [...flags, "--input-type=module", "--eval", script];
  const done = spawnSync(process.execPath, args, options);
  assert.equal(done.status, 0, done.stderr);
  assert.equal(done.stdout, "helpers 2\n");
});
