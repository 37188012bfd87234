import assert from "node:assert/strict";
import { test } from "node:test";
import { load, run } from "../../web/replay.js";

/** A device that writes down what it is told; its buffers are numbers. */
function recorder() {
  const log = [];
  let next = 1;
  const live = new Set();
  const device = {
    compile: (text) => `k:${text}`,
    prepare: () => {},
    begin: (plan, cells) => log.push(["begin", ...cells]),
    submit: () => log.push(["submit"]),
    alloc: (bytes) => {
      live.add(next);
      log.push(["alloc", bytes, next]);
      return next++;
    },
    free: (buffer) => {
      assert.ok(live.delete(buffer), `buffer ${buffer} is freed twice`);
      log.push(["free", buffer]);
    },
    copy: (source, target, bytes) => log.push(["copy", source, target, bytes]),
    dispatch: (command, slots) => {
      if (command.kernel === "k:fails") throw new Error("kernel fails");
      const given = command.slots.map((slot) => slots[slot]);
      log.push([command.kernel, command.grid, given, [...command.words], command.flags]);
    },
  };
  return { device, log, live };
}

// leaf 0, out 1, temp 2: t = first(leaf), out = second(t), out = t
const WORDS = Int32Array.of(
  ...[1, 1, 1, 1, 2, 8, 16, 32, 6],
  ...[3, 2],
  ...[1, 0, 1, 4, 5, 6, 2, 0, 2, 3, 70, 71, 72],
  ...[3, 1],
  ...[1, 1, 0, 1, 1, 1, 2, 2, 1, 0],
  ...[2, 2, 1, 16],
  ...[4, 2],
);

test("commands arrive in order, with buffers, words and scalars", () => {
  const { device, log, live } = recorder();
  const plan = load(WORDS, ["first", "second"], device);
  const buffers = new Map([[7, device.alloc(8)]]);
  log.length = 0;
  run(plan, Int32Array.of(7, 9, 0, 111, 222), buffers, device);
  assert.deepEqual(log, [
    ["begin", 111, 222],
    ["alloc", 32, 2],
    ["k:first", [4, 5, 6], [1, 2], [70, 71, 72], 1],
    ["alloc", 16, 3],
    ["k:second", [1, 1, 1], [2, 3], [], 0],
    ["copy", 2, 3, 16],
    ["free", 2],
    ["submit"],
  ]);
  assert.equal(buffers.get(9), 3);
  assert.deepEqual([...live], [1, 3]);
});

test("frees ride on a run, before it allocates", () => {
  const { device, live } = recorder();
  const plan = load(WORDS, ["first", "second"], device);
  const buffers = new Map([[7, device.alloc(8)]]);
  run(plan, Int32Array.of(7, 9, 0, 0, 0), buffers, device);
  for (let id = 10; id < 20; id++)
    run(plan, Int32Array.of(7, id, 1, id - 1, 0, 0), buffers, device);
  assert.deepEqual([...buffers.keys()], [7, 19]);
  assert.equal(live.size, 2);
});

test("a run that fails leaves nothing allocated", () => {
  const { device, live } = recorder();
  const plan = load(WORDS, ["first", "fails"], device);
  const buffers = new Map([[7, device.alloc(8)]]);
  assert.throws(() => run(plan, Int32Array.of(7, 9, 0, 0, 0), buffers, device), /kernel fails/);
  assert.deepEqual([...live], [1]);
  assert.ok(!buffers.has(9));
});

test("words that make no sense are refused", () => {
  const { device } = recorder();
  const texts = ["first", "second"];
  assert.throws(() => load(Int32Array.of(2, 0, 0, 0, 0, 0), [], device), /version 2/);
  assert.throws(() => load(Int32Array.of(1, 0, 0, 0, 0, 1, 99), [], device), /unknown opcode 99/);
  assert.throws(() => load(Int32Array.of(...WORDS, 5), texts, device), /ends at word/);
  const plan = load(WORDS, texts, device);
  const buffers = new Map();
  assert.throws(() => run(plan, Int32Array.of(7, 9, 0, 0, 0), buffers, device), /no buffer 7/);
  assert.throws(() => run(plan, Int32Array.of(7, 9, 0, 0), buffers, device), /too few/);
});
