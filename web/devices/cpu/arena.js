// Where a plan's temporaries lie in one block of memory: worked out once, from when each is alive.

import { roundUp } from "../heap.js";

const ALIGN = 64;

/** @typedef {{ slot: number, bytes: number, from: number, to: number, offset: number }} Life alive in the commands from…to */

/**
 * Gives each its offset, so that what is alive at the same time does not overlap: the largest first, each into the smallest gap
 * that is left for it.
 * @param {Life[]} lives
 * @returns {number} bytes of the block
 */
export function layOut(lives) {
  /** @type {Life[]} */
  const placed = []; // in order of offset
  let bytes = 0;
  for (const life of [...lives].sort((a, b) => b.bytes - a.bytes || a.from - b.from)) {
    life.offset = gap(life, placed);
    bytes = Math.max(bytes, life.offset + roundUp(life.bytes, ALIGN));
    const behind = placed.findIndex((other) => other.offset > life.offset);
    placed.splice(behind < 0 ? placed.length : behind, 0, life);
  }
  return bytes;
}

/**
 * The offset of the smallest room between those that are alive at the same time, or behind them all.
 * @param {Life} life
 * @param {Life[]} placed
 */
function gap(life, placed) {
  let end = 0;
  let best = -1;
  let room = Infinity;
  for (const other of placed) {
    if (other.to < life.from || other.from > life.to) continue;
    const free = other.offset - end;
    if (free >= life.bytes && free < room) [best, room] = [end, free];
    end = Math.max(end, other.offset + roundUp(other.bytes, ALIGN));
  }
  return best < 0 ? end : best;
}
