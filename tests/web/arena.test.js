import assert from "node:assert/strict";
import { test } from "node:test";
import { layOut } from "../../web/devices/cpu/arena.js";

/** What no layout can go below: the most bytes that are alive at once. */
function least(lives) {
  const at = (k) => lives.filter(({ from, to }) => from <= k && k <= to);
  const sizes = lives.map(({ from }) => at(from).reduce((n, life) => n + life.bytes, 0));
  return Math.max(0, ...sizes);
}

function assertApart(lives, bytes) {
  for (const [k, a] of lives.entries()) {
    assert.equal(a.offset % 64, 0);
    assert.ok(a.offset >= 0 && a.offset + a.bytes <= bytes);
    for (const b of lives.slice(0, k))
      if (a.from <= b.to && b.from <= a.to)
        assert.ok(a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset, "overlap");
  }
}

const life = (bytes, from, to) => ({ slot: 0, bytes, from, to, host: -1, offset: -1 });

test("a chain of equal values takes the room of two", () => {
  const lives = Array.from({ length: 50 }, (_, k) => life(640, k, k + 1));
  const bytes = layOut(lives);
  assertApart(lives, bytes);
  assert.equal(bytes, 2 * 640);
});

test("forward and backward: what is kept to the end and what is not", () => {
  const kept = Array.from({ length: 20 }, (_, k) => life(64 * (20 - k), k, 40 - k));
  const passing = Array.from({ length: 40 }, (_, k) => life(64 * 7, k, k + 1));
  const lives = [...kept, ...passing];
  const bytes = layOut(lives);
  assertApart(lives, bytes);
  assert.ok(bytes <= 1.05 * least(lives), `${bytes} of ${least(lives)}`);
});

test("random lives do not overlap, and the room is near the least", () => {
  let seed = 7;
  const random = (n) => (seed = (seed * 48271) % 2147483647) % n;
  let sum = 0;
  for (let round = 0; round < 50; round++) {
    const lives = Array.from({ length: 1 + random(80) }, () => {
      const from = random(60);
      return life(64 * (1 + random(random(4) ? 20 : 300)), from, from + random(random(3) ? 5 : 60));
    });
    const bytes = layOut(lives);
    assertApart(lives, bytes);
    sum += bytes / least(lives);
  }
  assert.ok(sum / 50 < 1.05, `${sum / 50} times the least`);
});

test("sizes that are no multiple of the alignment, and nothing at all", () => {
  const lives = [life(1, 0, 3), life(65, 1, 2), life(100, 2, 5)];
  const bytes = layOut(lives);
  assertApart(lives, bytes);
  assert.equal(layOut([]), 0);
});

test("what dies before a result is there lies in its memory", () => {
  const lives = [
    life(640, 0, 4),
    life(320, 1, 2),
    life(300, 3, 4),
    life(640, 2, 9),
    life(64, 5, 6),
  ];
  const results = [
    { slot: 7, bytes: 640, from: 5 },
    { slot: 8, bytes: 330, from: 7 },
    { slot: 9, bytes: 32, from: 9 },
  ];
  assert.equal(layOut(lives, results), 640);
  assert.deepEqual(
    lives.map(({ host, offset }) => [host, offset]),
    [
      [7, 0], // exactly
      [8, 0], // room for both, one after the other
      [8, 0],
      [-1, 0], // lives on
      [9, 0], // the smallest that has room: memory comes in pieces of 64 bytes
    ],
  );
});

test("random lives and results: apart in each, and never in one that is there", () => {
  let seed = 11;
  const random = (n) => (seed = (seed * 48271) % 2147483647) % n;
  let without = 0;
  let within = 0;
  for (let round = 0; round < 50; round++) {
    const make = () => life(1 + random(3000), random(40), 0);
    const lives = Array.from({ length: 1 + random(60) }, make);
    for (const one of lives) one.to = one.from + random(20);
    const results = Array.from({ length: random(12) }, (_, k) => ({
      ...{ slot: 100 + k, bytes: 1 + random(4000), from: random(70) },
    }));
    without += layOut(lives.map((one) => ({ ...one })));
    const bytes = layOut(lives, results);
    within += bytes;
    assertApart(
      lives.filter(({ host }) => host < 0),
      bytes,
    );
    for (const { slot, bytes, from } of results) {
      const guests = lives.filter(({ host }) => host === slot);
      assertApart(guests, Math.ceil(bytes / 64) * 64);
      assert.ok(guests.every(({ to }) => to < from));
    }
  }
  assert.ok(within < 0.9 * without, `${within} instead of ${without}`);
});
