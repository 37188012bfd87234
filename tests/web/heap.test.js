import assert from "node:assert/strict";
import { test } from "node:test";
import { heap } from "../../web/devices/heap.js";

/** A heap whose range grows in steps of 1 KiB, up to `most`. */
function growing(most = Infinity) {
  let end = 1024;
  const reserve = (wanted) => {
    if (wanted > most) throw new Error("full");
    return (end = Math.ceil(wanted / 1024) * 1024);
  };
  return Object.assign(heap(100, reserve, end), { end: () => end });
}

test("blocks are aligned and do not overlap", () => {
  const space = growing();
  const sizes = [1, 64, 65, 1000, 0, 3];
  const starts = sizes.map((size) => space.alloc(size));
  starts.forEach((start, k) => {
    assert.equal(start % 64, 0);
    assert.ok(k === 0 || start >= starts[k - 1] + Math.max(sizes[k - 1], 1));
  });
});

test("a freed block comes back at once, and the level with it", () => {
  const space = growing();
  const start = space.alloc(500);
  space.free(start, 500);
  assert.equal(space.counts.allocated, 0);
  assert.equal(space.alloc(500), start);
  assert.equal(space.counts.pooled, 0);
});

test("small neighbours serve a large request before the range grows", () => {
  const space = growing(8192);
  const blocks = Array.from({ length: 100 }, () => space.alloc(64));
  for (const start of blocks) space.free(start, 64);
  space.alloc(6000);
  assert.ok(space.end() <= 8192);
});

test("random use never hands out memory twice and returns to nothing", () => {
  const space = growing(1 << 22);
  let seed = 1;
  const random = (n) => (seed = (seed * 48271) % 2147483647) % n;
  const live = new Map();
  for (let i = 0; i < 20000; i++) {
    if (live.size && random(2)) {
      const [start, size] = [...live][random(live.size)];
      live.delete(start);
      space.free(start, size);
    } else if (live.size < 60) {
      const size = 1 + random(random(10) ? 500 : 20000);
      const start = space.alloc(size);
      for (const [other, room] of live)
        assert.ok(start + size <= other || other + room <= start, "overlap");
      live.set(start, size);
    }
  }
  for (const [start, size] of live) space.free(start, size);
  assert.equal(space.counts.allocated, 0);
  assert.ok(space.end() < 1 << 21, `the range grew to ${space.end()}`);
});

test("what cannot be had is not counted", () => {
  const space = growing(4096);
  assert.throws(() => space.alloc(1 << 20), /full/);
  assert.equal(space.counts.allocated, 0);
  assert.equal(space.alloc(64) % 64, 0);
});
