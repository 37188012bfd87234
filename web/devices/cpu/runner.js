// A plan in the kernels' memory: a list of launches that `run` (run.c) walks by itself.
//
// Laid out once: [at, commands…, words…, addresses of buffers…, scalars…]. Temporaries keep their places within one block that
// a run takes and gives back, so a run writes the addresses of what lies elsewhere than the last time, and calls.

import { ALLOC, COPY, FREE, RUN, named } from "../../format.js";
import { roundUp } from "../heap.js";
import { layOut } from "./arena.js";

const COMMAND = 5; // words of a Command in run.c
const WORTH = 4; // shares of a plan, of some 10 µs each, from which on it is worth to wake threads
const ALL = 1 << 20; // threads

/**
 * @typedef {object} Own what a plan has in memory; places are indices of 32-bit words
 * @property {number} block address
 * @property {number} bytes of the block
 * @property {number} list place
 * @property {string[]} names of the kernels
 * @property {number} cells place of the scalars
 * @property {number[][]} places by slot, where its address goes
 * @property {number[]} known by slot, the address that is there
 * @property {import("./arena.js").Life[]} temps
 * @property {number} room bytes of the temporaries that lie in no result
 * @property {number} threads that may help
 */

/** @typedef {import("../../replay.js").Plan} Plan */
/** @typedef {import("../../replay.js").Command} Command */

/**
 * @param {Record<string, any>} exports of the module
 * @param {{ i32: Int32Array }} memory
 * @param {ReturnType<typeof import("../heap.js").heap>} space
 * @param {(name: string) => { name: string, index: number }} compile
 * @param {() => void} start lets the threads of a divided plan come up
 */
export function runner(exports, memory, space, compile, start) {
  const top = exports.__stack_pointer?.value;
  let timing = false;
  /** @type {[string, number][]} */
  const times = [];

  /** @param {Plan} plan */
  function prepare(plan) {
    const launches = plan.commands.filter(({ op }) => op === RUN || op === COPY).map(launch);
    const list = launches.length * COMMAND + 1;
    const words = launches.reduce((n, c) => n + c.words.length + c.slots.length, list);
    const cells = roundUp(words, 2);
    const bytes = (cells + 2 * plan.scalars) * 4;
    const block = space.alloc(bytes);
    const first = block >>> 2;
    const temps = lives(plan);
    const places = plan.bytes.map(() => /** @type {number[]} */ ([]));
    place(launches, first, first + cells, places);
    const shares = launches.reduce((n, { grid }) => n + (grid[0] > 1 ? grid[0] : 0), 0);
    if (shares >= WORTH) start();
    plan.own = {
      ...{ block, bytes, list: first, cells: first + cells, places, temps },
      ...{ names: launches.map(({ kernel }) => kernel.name), room: layOut(temps, results(plan)) },
      ...{ known: plan.bytes.map(() => -1), threads: shares < WORTH ? 1 : ALL },
    };
  }

  /** @param {Command} command */
  function launch(command) {
    if (command.op === RUN) return command;
    return { ...command, kernel: compile("copy"), words: Int32Array.of(command.bytes) };
  }

  /**
   * @param {Command[]} launches
   * @param {number} list where it begins
   * @param {number} cells
   * @param {number[][]} places are added
   */
  function place(launches, list, cells, places) {
    const { i32 } = memory;
    let at = list + 1 + launches.length * COMMAND;
    launches.forEach(({ kernel, words, slots, grid }, k) => {
      const buffers = at + words.length;
      i32.set([kernel.index, at * 4, buffers * 4, cells * 4, grid[0]], list + 1 + k * COMMAND);
      i32.set(words, at);
      slots.forEach((slot, j) => places[slot].push(buffers + j));
      at = buffers + slots.length;
    });
  }

  /** @param {Plan} plan */
  const forget = ({ own }) => space.free(own.block, own.bytes);

  /**
   * @param {Plan} plan
   * @param {Int32Array} cells
   */
  function walk({ own, slots, bytes, leaves, outs, scalars }, cells) {
    const { temps, room } = /** @type {Own} */ (own);
    const block = room && space.alloc(room);
    try {
      for (let k = leaves; k < leaves + outs; k++)
        slots[k] = { address: space.alloc(bytes[k]), bytes: bytes[k] };
      for (let k = 0; k < leaves + outs; k++) put(own, k, slots[k].address);
      for (const { slot, host, offset } of temps)
        put(own, slot, (host < 0 ? block : slots[host].address) + offset);
      if (scalars) memory.i32.set(cells, own.cells);
      go(own);
    } finally {
      if (room) space.free(block, room);
    }
  }

  /**
   * @param {Own} own
   * @param {number} slot
   * @param {number} address
   */
  function put({ known, places }, slot, address) {
    if (known[slot] === address) return;
    known[slot] = address;
    for (const place of places[slot]) memory.i32[place] = address;
  }

  /** @param {Own} own */
  function go({ list, names, threads }) {
    try {
      if (!timing) return exports.run(list * 4, 0, names.length, threads);
      for (let k = 0; k < names.length; k++) {
        const start = performance.now();
        exports.run(list * 4, k, k + 1, threads);
        times.push([names[k], performance.now() - start]);
      }
    } catch (error) {
      if (!(error instanceof WebAssembly.RuntimeError)) throw error;
      if (top) exports.__stack_pointer.value = top;
      exports.settle?.();
      const name = names[memory.i32[list]];
      throw named("KernelError", `the kernel ${name} failed: ${error.message}`);
    }
  }

  /** @param {boolean} on */
  const profile = (on) => (timing = on);
  return { prepare, forget, walk, profile, timings: async () => times.splice(0) };
}

/**
 * The temporaries of a plan.
 * @param {Plan} plan
 */
function lives({ commands, bytes, leaves, outs }) {
  /** @type {Map<number, import("./arena.js").Life>} */
  const found = new Map();
  commands.forEach(({ op, slots: [slot] }, k) => {
    if (op === ALLOC && slot >= leaves + outs)
      found.set(slot, {
        slot,
        bytes: bytes[slot],
        from: k,
        to: commands.length,
        host: -1,
        offset: 0,
      });
    const life = op === FREE && found.get(slot);
    if (life) life.to = k;
  });
  return [...found.values()];
}

/**
 * The results of a plan, and from which command on they are there.
 * @param {Plan} plan
 */
function results({ commands, bytes, leaves, outs }) {
  /** @type {import("./arena.js").Result[]} */
  const found = [];
  commands.forEach(({ op, slots: [slot] }, from) => {
    if (op === ALLOC && slot >= leaves && slot < leaves + outs)
      found.push({ slot, bytes: bytes[slot], from });
  });
  return found;
}
