// Runs where npm's `webgpu` finds an adapter, for example with VK_ICD_FILENAMES naming Chromium's software one.
import assert from "node:assert/strict";
import { test } from "node:test";
import { openGpu } from "../../web/runtime.js";

const FLOAT32 = 8;

async function found() {
  try {
    const { create, globals } = await import("webgpu");
    Object.assign(globalThis, globals);
    globalThis.navigator ??= { userAgent: "node" };
    Object.defineProperty(globalThis.navigator, "gpu", { value: create([]) });
    return (await navigator.gpu.requestAdapter()) ? false : "there is no adapter";
  } catch (error) {
    return error.message;
  }
}

const skip = await found();
const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
const bits = (x) => new Int32Array(Float32Array.of(x).buffer)[0];

const SCALE = `// scale
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@group(0) @binding(2) var<uniform> scalars: array<vec4<u32>, 1>;
@group(0) @binding(3) var<storage, read_write> status: array<atomic<u32>, 4>;
@compute @workgroup_size(4) fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  o[at.x] = a[at.x] * bitcast<f32>(scalars[0].x);
  if (a[at.x] == 3.0) { atomicMax(&status[0], 7u); }
}`;
// leaf 0, out 1, temp 2: t = leaf * s; out = t * s; out = copy of t where `copies`
const plan = (...more) =>
  Int32Array.of(
    ...[1, 1, 1, 1, 1, 16, 16, 16, 5 + (more.length ? 1 : 0)],
    ...[3, 2, 1, 0, 3, 1, 1, 1, 2, 0, 2, 0, 3, 1, 1, 0, 3, 1, 1, 1, 2, 2, 1, 0],
    ...more,
    ...[4, 2],
  );

async function floats(gate, id, count = 4, offset = 0) {
  const reading = await gate.read(id, FLOAT32, offset, 4 * count);
  const values = [...new Float32Array(reading.data.slice().buffer)];
  reading.done();
  return [values, reading.status];
}

async function opened() {
  const gate = await openGpu();
  gate.write(1, bytesOf(Float32Array.of(1, 2, 3, 4)), FLOAT32);
  gate.load(0, plan(), [SCALE]);
  return gate;
}

test("a plan runs: buffers, scalars, status, copy", { skip }, async () => {
  const gate = await opened();
  gate.run(0, Int32Array.of(1, 2, 0, bits(2)));
  assert.deepEqual(await floats(gate, 2), [[4, 8, 12, 16], 7]);
  assert.deepEqual(await floats(gate, 2, 1, 8), [[12], 0], "the status word is cleared by reading");
  gate.load(1, plan(2, 2, 1, 16), [SCALE]);
  gate.run(1, Int32Array.of(1, 3, 0, bits(2)));
  assert.deepEqual((await floats(gate, 3))[0], [2, 4, 6, 8]);
  assert.equal(gate.stats().pipelines, 1, "a text is compiled once");
  gate.close();
});

test("a steady loop makes no buffers and no bind groups", { skip }, async () => {
  const gate = await opened();
  for (let id = 2; id < 12; id++)
    gate.run(0, Int32Array.of(1, id, ...(id > 2 ? [1, id - 1] : [0]), bits(1)));
  const { created, bindGroups, allocated } = gate.stats();
  for (let id = 12; id < 60; id++) gate.run(0, Int32Array.of(1, id, 1, id - 1, bits(id)));
  const later = gate.stats();
  assert.deepEqual([later.created, later.bindGroups], [created, bindGroups]);
  assert.equal(later.allocated, allocated);
  assert.deepEqual((await floats(gate, 59))[0], [59 ** 2, 2 * 59 ** 2, 3 * 59 ** 2, 4 * 59 ** 2]);
  await gate.idle();
  assert.equal(gate.pending(), 0);
  gate.close();
});

test(
  "a kernel that does not compile is told with its line, and stays refused",
  { skip },
  async () => {
    const gate = await opened();
    gate.load(1, plan(), [SCALE.replace("o[at.x] = a", "o[at.x] = b")]);
    gate.run(1, Int32Array.of(1, 2, 0, bits(1)));
    const told = { name: "KernelError", message: / 7 \| {3}o\[at\.x\] = b/ };
    await assert.rejects(floats(gate, 2), told);
    assert.throws(() => gate.run(1, Int32Array.of(1, 3, 0, bits(1))), told);
    gate.run(0, Int32Array.of(1, 4, 0, bits(2)));
    assert.deepEqual((await floats(gate, 4))[0], [4, 8, 12, 16]);
    gate.close();
  },
);

test("int64 is kept in 32 bits, or refused", { skip }, async () => {
  const gate = await opened();
  gate.write(5, bytesOf(BigInt64Array.of(1n, -2n)), 5);
  const reading = await gate.read(5, 5, 8, 8);
  assert.deepEqual([...new BigInt64Array(reading.data.slice().buffer)], [-2n]);
  reading.done();
  const { allocated, buffers } = gate.stats();
  assert.throws(() => gate.write(6, bytesOf(BigInt64Array.of(1n << 40n)), 5), {
    name: "RangeError64",
  });
  assert.deepEqual([gate.stats().allocated, gate.stats().buffers], [allocated, buffers]);
  gate.close();
});

test("too large a buffer, and a device that is gone", { skip }, async () => {
  const gate = await opened();
  assert.throws(() => gate.alloc(9, 2 ** 40), { name: "OutOfMemory", message: /at most/ });
  gate.close();
  await new Promise((done) => setTimeout(done, 50));
  assert.throws(() => gate.run(0, Int32Array.of(1, 2, 0, bits(1))), { name: "DeviceLost" });
  await assert.rejects(floats(gate, 1), { name: "DeviceLost" });
});
