import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { attach, hasRelaxed, openCpu } from "../../web/runtime.js";

const FLOAT32 = 8;

const leb = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...leb(n >>> 7)]);
const text = (s) => [...leb(s.length), ...Buffer.from(s)];
const section = (id, ...body) => [id, ...leb(body.length), ...body];
const signed = (n) => {
  const out = [];
  for (; ; n >>= 7) {
    if (n < 64) return [...out, n];
    out.push((n & 127) | 128);
  }
};
const constant = (n) => [0x41, ...signed(n)];

/** The smallest module of kernels: `scale` writes buffers[1][0] = buffers[0][0] * scalars[0] + words[0]
 * in float32 and sets the status word to 5; `twice` is a function of two numbers, `trap` a kernel that fails,
 * `run` what run.c says. */
function handmade() {
  const load = (offset) => [0x28, 2, offset]; // i32.load
  const field = (offset) => [0x20, 3, ...load(offset)]; // of the command
  const scale = [
    ...[0x20, 1, ...load(4)], // buffers[1]
    ...[0x20, 1, ...load(0), 0x2a, 2, 0], // *buffers[0], f32
    ...[0x20, 2, 0x2b, 3, 0, 0xb6, 0x94], // times scalars[0], demoted from f64
    ...[0x20, 0, ...load(0), 0xb2, 0x92], // plus words[0]
    ...[0x38, 2, 0], // f32.store
    ...[...constant(1024), ...constant(5), 0x36, 2, 0], // status
  ];
  const twice = [0x20, 0, 0x20, 1, 0x6a, 0x41, 2, 0x6c];
  const trap = [0x00];
  const run = [
    ...[0x02, 0x40, 0x03, 0x40], // block, loop
    ...[0x20, 0, 0x20, 1, 0x36, 2, 0], // plan.at = from
    ...[0x20, 1, 0x20, 2, 0x4e, 0x0d, 1], // leave when from >= to
    ...[0x20, 1, ...constant(20), 0x6c, 0x20, 0, 0x6a, 0x21, 3], // local 3: plan + 20 from
    ...[...field(8), ...field(12), ...field(16), ...constant(0), ...constant(1)],
    ...[...field(4), 0x11, 0, 0], // call_indirect
    ...[0x20, 1, ...constant(1), 0x6a, 0x21, 1, 0x0c, 0], // from += 1, again
    ...[0x0b, 0x0b],
  ];
  const code = (body, locals = [0]) => [
    ...leb(body.length + 1 + locals.length),
    ...[...locals, ...body, 0x0b],
  ];
  const types = [
    ...[0x60, 5, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0],
    ...[0x60, 2, 0x7f, 0x7f, 1, 0x7f],
    ...[0x60, 3, 0x7f, 0x7f, 0x7f, 0],
  ];
  return new Uint8Array([
    ...[0, 97, 115, 109, 1, 0, 0, 0],
    ...section(1, 3, ...types),
    ...section(2, 1, ...text("env"), ...text("memory"), 2, 0, 1),
    ...section(3, 4, 0, 1, 0, 2),
    ...section(4, 1, 0x70, 0, 0),
    ...section(6, 2, 0x7f, 0, ...constant(1024), 0x0b, 0x7f, 0, ...constant(2048), 0x0b),
    ...section(
      7,
      ...[7, ...text("scale"), 0, 0, ...text("twice"), 0, 1, ...text("trap"), 0, 2],
      ...[...text("run"), 0, 3, ...text("__indirect_function_table"), 1, 0],
      ...[...text("status"), 3, 0, ...text("__heap_base"), 3, 1],
    ),
    ...section(10, 4, ...code(scale), ...code(twice), ...code(trap), ...code(run, [1, 1, 0x7f])),
  ]);
}

const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
const floats = (reading) => [...new Float32Array(reading.data.slice().buffer)];

// leaf 0, out 1; one scalar; the kernel's word is 100
const PLAN = Int32Array.of(1, 1, 1, 0, 1, 4, 4, 2, 3, 1, 1, 0, 1, 1, 1, 1, 2, 0, 1, 1, 100);
const cell = (x) => new Int32Array(Float64Array.of(x).buffer);

test("a plan runs: words, buffers, scalars, status", () => {
  const gate = openCpu({ wasm: handmade() });
  gate.write(1, bytesOf(Float32Array.of(3)), FLOAT32);
  gate.load(0, PLAN, ["scale"]);
  gate.run(0, Int32Array.of(1, 2, 0, ...cell(0.5)));
  const reading = gate.read(2, FLOAT32, 0, 4);
  assert.deepEqual(floats(reading), [101.5]);
  assert.equal(reading.status, 5);
  assert.equal(gate.read(2, FLOAT32, 0, 4).status, 0, "the status word is cleared by reading");
  assert.deepEqual([gate.stats().runs, gate.stats().dispatches], [1, 1]);
});

test("a steady loop needs no more memory", () => {
  const gate = openCpu({ wasm: handmade() });
  gate.write(1, bytesOf(Float32Array.of(3)), FLOAT32);
  gate.load(0, PLAN, ["scale"]);
  gate.run(0, Int32Array.of(1, 2, 0, ...cell(1)));
  const { allocated, memory } = gate.stats();
  for (let id = 3; id < 1000; id++) gate.run(0, Int32Array.of(1, id, 1, id - 1, ...cell(id)));
  assert.equal(gate.stats().allocated, allocated);
  assert.equal(gate.stats().memory, memory);
  assert.deepEqual(floats(gate.read(999, FLOAT32, 0, 4)), [3 * 999 + 100]);
  gate.free([999, 1]);
  gate.unload(0);
  assert.equal(gate.stats().allocated, 0);
});

test("memory grows, and running out says how much", () => {
  const gate = openCpu({ wasm: handmade() });
  gate.alloc(1, 100 << 20);
  gate.write(1, Uint8Array.of(1, 2, 3, 4), FLOAT32, (25 << 20) - 1);
  assert.deepEqual([...gate.read(1, FLOAT32, (100 << 20) - 4, 4).data], [1, 2, 3, 4]);
  assert.throws(() => gate.alloc(2, 5 * 2 ** 30), { name: "OutOfMemory", message: /100.0 MiB/ });
  gate.alloc(2, 64);
});

test("exports are called by name with buffers as addresses", () => {
  const gate = openCpu({ wasm: handmade() });
  gate.alloc(1, 64);
  const address = gate.call("twice", [{ id: 1 }, 0]) / 2;
  assert.equal(address % 64, 0);
  assert.equal(gate.call("twice", [20, 1]), 42);
  assert.throws(() => gate.call("nothing", []), { name: "KernelError", message: /nothing/ });
  assert.throws(() => gate.load(0, PLAN, ["nothing"]), { name: "KernelError" });
});

test("doors by address read a host memory that is replaced as it grows", () => {
  const host = { HEAPU8: new Uint8Array(64) };
  const gate = attach(openCpu({ wasm: handmade() }), host);
  host.HEAPU8 = new Uint8Array(1024);
  const put = (address, array) => host.HEAPU8.set(bytesOf(array), address);
  put(0, Float32Array.of(3));
  gate.write(1, 0, 4, FLOAT32, 0);
  put(64, PLAN);
  gate.load(0, 64, PLAN.length, ["scale"]);
  put(256, Int32Array.of(1, 2, 0, ...cell(2)));
  assert.equal(gate.run(0, 256, 5), 0);
  assert.equal(gate.readNow(2, 512, 4, FLOAT32, 0), 5);
  assert.equal(new Float32Array(host.HEAPU8.buffer, 512, 1)[0], 106);
  assert.equal(gate.call("twice", "ii", 4, 5), 18);
});

test("a kernel that traps is named, and nothing of the run stays", () => {
  const gate = openCpu({ wasm: handmade() });
  gate.write(1, bytesOf(Float32Array.of(3)), FLOAT32);
  const { allocated } = gate.stats();
  gate.load(0, PLAN, ["trap"]);
  const loaded = gate.stats().allocated;
  assert.throws(() => gate.run(0, Int32Array.of(1, 2, 0, ...cell(1))), {
    name: "KernelError",
    message: /the kernel trap failed: unreachable/,
  });
  assert.equal(gate.stats().allocated, loaded);
  gate.unload(0);
  assert.equal(gate.stats().allocated, allocated);
});

test("the built kernels copy", (t) => {
  const build = hasRelaxed() ? "relaxed" : "simd";
  const file = new URL(`../../wasm_kernels/build/${build}.wasm`, import.meta.url);
  let wasm;
  try {
    wasm = readFileSync(file);
  } catch {
    return t.skip("the kernels are not built");
  }
  const gate = openCpu({ wasm, build });
  gate.write(1, bytesOf(Float32Array.of(1, 2, 3)), FLOAT32);
  const plan = Int32Array.of(1, 1, 1, 0, 0, 12, 12, 2, 3, 1, 1, 0, 0, 1, 1, 1, 2, 0, 1, 1, 12);
  gate.load(0, plan, ["copy"]);
  gate.run(0, Int32Array.of(1, 2, 0));
  assert.deepEqual(floats(gate.read(2, FLOAT32, 0, 12)), [1, 2, 3]);
});
