// Where a plan's temporaries lie: in the memory of a result that is not there yet, or in one block. Worked out once, from when
// each is alive.

import { roundUp } from "../heap.js";

const ALIGN = 64;

/**
 * @typedef {object} Life alive in the commands from…to
 * @property {number} slot
 * @property {number} bytes
 * @property {number} from
 * @property {number} to
 * @property {number} host the slot of the result whose memory it is in, or -1: it is in the block
 * @property {number} offset
 */

/** @typedef {{ slot: number, bytes: number, from: number }} Result there from a command on */

/**
 * Gives each its place, so that what is alive at the same time does not overlap: the largest first, each into the memory of the
 * smallest result that has room for it and is not there before it has died, or into the smallest gap that is left in the block.
 * @param {Life[]} lives
 * @param {Result[]} [results]
 * @returns {number} bytes of the block
 */
export function layOut(lives, results = []) {
  const block = { slot: -1, room: Infinity, from: Infinity, placed: /** @type {Life[]} */ ([]) };
  const hosts = results.map(({ slot, bytes, from }) => {
    return { slot, from, room: roundUp(bytes, ALIGN), placed: /** @type {Life[]} */ ([]) };
  });
  hosts.sort((a, b) => a.room - b.room).push(block);
  let bytes = 0;
  for (const life of [...lives].sort((a, b) => b.bytes - a.bytes || a.from - b.from)) {
    for (const { slot, room, from, placed } of hosts) {
      if (life.to >= from || life.bytes > room) continue;
      const offset = gap(life, placed);
      if (offset + life.bytes > room) continue;
      life.host = slot;
      life.offset = offset;
      const behind = placed.findIndex((other) => other.offset > offset);
      placed.splice(behind < 0 ? placed.length : behind, 0, life);
      break;
    }
    if (life.host < 0) bytes = Math.max(bytes, life.offset + roundUp(life.bytes, ALIGN));
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
