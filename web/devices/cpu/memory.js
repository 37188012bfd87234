// The memory that the kernels work in, and the two views on it, which are made anew when it grows.

import { named, readable } from "../../format.js";

const PAGE = 65536;
const FIRST_PAGES = 256;
const MOST_PAGES = 65535; // the most that the linker lets a module declare

/** @param {boolean} shared */
export function openMemory(shared) {
  const memory = declare(shared);
  const views = () => ({ u8: new Uint8Array(memory.buffer), i32: new Int32Array(memory.buffer) });

  /**
   * Makes addresses below `end` usable, and says how far it got.
   * @param {number} end
   * @param {{ allocated: number, pooled: number }} counts
   */
  function reserve(end, { allocated, pooled }) {
    const size = memory.buffer.byteLength;
    const wanted = Math.min(Math.max(end, size * 1.25), MOST_PAGES * PAGE);
    if (end > MOST_PAGES * PAGE || (!grow(wanted - size) && !grow(end - size))) {
      const held = `${readable(allocated)} allocated, ${readable(pooled)} free in pieces`;
      const asked = readable(end - size);
      throw named("OutOfMemory", `wasm out of memory: ${asked} more were asked for, ${held}`);
    }
    Object.assign(made, views());
    return made.u8.length;
  }

  /** @param {number} bytes */
  function grow(bytes) {
    try {
      memory.grow(Math.ceil(bytes / PAGE));
      return true;
    } catch {
      return false;
    }
  }

  const made = { memory, reserve, ...views() };
  return made;
}

/**
 * A memory that may grow as far as the engine lets it be declared.
 * @param {boolean} shared
 */
function declare(shared) {
  for (let maximum = MOST_PAGES; ; maximum >>>= 1) {
    try {
      return new WebAssembly.Memory({ initial: FIRST_PAGES, maximum, shared });
    } catch (error) {
      if (maximum < 2 * FIRST_PAGES) throw error; // else a phone: declare less
    }
  }
}
