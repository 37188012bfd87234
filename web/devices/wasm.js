// The WASM device: kernels are exports of one module, buffers are addresses in its memory.
//
// An export is `void k(words, buffers, scalars, part, parts)` (docs/architecture.md). The words of a plan and room for its buffer
// addresses and scalars are placed in memory once, so that a dispatch writes a few addresses and calls.

import { HOST_BYTES, named, readable } from "../format.js";
import { heap, roundUp } from "./heap.js";

const PAGE = 65536;
const FIRST_PAGES = 256;
const MOST_PAGES = 65536;

// (func (result v128) …) with one f32x4.relaxed_madd: valid where the engine has relaxed SIMD
const RELAXED_PROBE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0, 65, 0, 253, 15,
  65, 0, 253, 15, 65, 0, 253, 15, 253, 133, 2, 11,
]);

export const hasRelaxed = () => WebAssembly.validate(RELAXED_PROBE);

/** @typedef {{ address: number, bytes: number }} Buffer */

/**
 * @param {{ wasm: BufferSource | WebAssembly.Module, build?: string }} options the module's bytes, and what to call it in `info`
 */
export function open({ wasm, build = "" }) {
  const memory = newMemory();
  const module = wasm instanceof WebAssembly.Module ? wasm : new WebAssembly.Module(wasm);
  const exports = /** @type {Record<string, any>} */ (
    new WebAssembly.Instance(module, { env: { memory } }).exports
  );
  exports._initialize?.();
  const status = addressOf(exports.status) >>> 2;
  let u8 = new Uint8Array(memory.buffer);
  let i32 = new Int32Array(memory.buffer);
  let timing = false;
  /** @type {[string, number][]} */
  const times = [];

  const space = heap(addressOf(exports.__heap_base), reserve, u8.length);

  /** @param {number} end */
  function reserve(end) {
    const wanted = Math.min(Math.max(end, memory.buffer.byteLength * 1.25), MOST_PAGES * PAGE);
    if (end > MOST_PAGES * PAGE || (!grow(wanted) && !grow(end))) {
      const { allocated, pooled } = space.counts;
      const asked = readable(end - memory.buffer.byteLength);
      const held = `${readable(allocated)} allocated, ${readable(pooled)} free in pieces`;
      throw named("OutOfMemory", `wasm out of memory: ${asked} more were asked for, ${held}`);
    }
    u8 = new Uint8Array(memory.buffer);
    i32 = new Int32Array(memory.buffer);
    return u8.length;
  }

  /** @param {number} end */
  function grow(end) {
    const pages = Math.ceil((end - memory.buffer.byteLength) / PAGE);
    try {
      memory.grow(pages);
      return true;
    } catch {
      return false;
    }
  }

  /** @param {number} bytes */
  const alloc = (bytes) => ({ address: space.alloc(bytes), bytes });

  /** @param {Buffer} buffer */
  const free = (buffer) => space.free(buffer.address, buffer.bytes);

  /**
   * @param {Buffer} buffer
   * @param {Uint8Array} data
   * @param {number} dtype
   * @param {number} start
   */
  function write(buffer, data, dtype, start) {
    u8.set(data, buffer.address + start * HOST_BYTES[dtype]);
  }

  /**
   * @param {Buffer} buffer
   * @param {number} dtype
   * @param {number} offset
   * @param {number} nbytes
   */
  function read(buffer, dtype, offset, nbytes) {
    const start = buffer.address + offset;
    const code = i32[status];
    i32[status] = 0;
    return { data: u8.subarray(start, start + nbytes), status: code };
  }

  /** @param {string} name */
  function compile(name) {
    const kernel = exports[name];
    if (typeof kernel !== "function")
      throw named("KernelError", `the wasm module has no kernel ${name}`);
    return { name, run: kernel };
  }

  /** @param {import("../replay.js").Plan} plan */
  function prepare(plan) {
    const words = plan.commands.reduce((n, c) => n + c.words.length + c.slots.length, 0);
    const cells = roundUp(words, 2);
    const bytes = (cells + 2 * plan.scalars) * 4;
    const block = alloc(bytes);
    let at = block.address >>> 2;
    for (const command of plan.commands) {
      command.own = { words: at, buffers: at + command.words.length };
      i32.set(command.words, at);
      at += command.words.length + command.slots.length;
    }
    plan.own = { block, cells: (block.address >>> 2) + cells };
  }

  /** @param {import("../replay.js").Plan} plan */
  const forget = (plan) => free(plan.own.block);

  /**
   * @param {import("../replay.js").Plan} plan
   * @param {Int32Array} cells
   */
  function begin(plan, cells) {
    if (plan.scalars) i32.set(cells, plan.own.cells);
  }

  /**
   * @param {import("../replay.js").Command} command
   * @param {Buffer[]} slots
   * @param {import("../replay.js").Plan} plan
   */
  function dispatch(command, slots, plan) {
    const { words, buffers } = command.own;
    const mine = command.slots;
    for (let k = 0; k < mine.length; k++) i32[buffers + k] = slots[mine[k]].address;
    if (timing) timed(command.kernel, words * 4, buffers * 4, plan.own.cells * 4, 0, 1);
    else command.kernel.run(words * 4, buffers * 4, plan.own.cells * 4, 0, 1);
  }

  /**
   * @param {{ name: string, run: Function }} kernel
   * @param {number[]} addresses
   */
  function timed(kernel, ...addresses) {
    const start = performance.now();
    kernel.run(...addresses);
    times.push([kernel.name, performance.now() - start]);
  }

  /**
   * @param {Buffer} source
   * @param {Buffer} target
   * @param {number} bytes
   */
  function copy(source, target, bytes) {
    u8.copyWithin(target.address, source.address, source.address + bytes);
  }

  /**
   * @param {Buffer} source
   * @param {Buffer} target
   * @param {number} offset bytes
   * @param {number} bytes
   */
  function window(source, target, offset, bytes) {
    const start = source.address + offset;
    u8.copyWithin(target.address, start, start + bytes);
  }

  /**
   * Calls any export; buffers come as addresses, other numbers as they are.
   * @param {string} name
   * @param {(number | bigint | Buffer)[]} values
   */
  function call(name, values) {
    const plain = values.map((v) => (typeof v === "object" ? v.address : v));
    return compile(name).run(...plain);
  }

  return {
    kind: "wasm",
    info: { kind: "wasm", build, software: true },
    alloc,
    free,
    /** @type {(nbytes: number, dtype: number) => number} */
    room: (nbytes) => nbytes,
    write,
    read,
    compile,
    prepare,
    forget,
    begin,
    dispatch,
    copy,
    window,
    submit: () => {},
    call,
    check: () => {},
    pending: () => 0,
    caughtUp: async () => {},
    counts: () => ({ ...space.counts, memory: memory.buffer.byteLength }),
    /** @param {boolean} on */
    profile: (on) => (timing = on),
    timings: async () => times.splice(0),
    close: () => {},
  };
}

/** A memory that may grow as far as the engine lets it be declared. */
function newMemory() {
  for (const maximum of [MOST_PAGES, MOST_PAGES / 2, MOST_PAGES / 4]) {
    try {
      return new WebAssembly.Memory({ initial: FIRST_PAGES, maximum });
    } catch {
      // a phone: declare less
    }
  }
  return new WebAssembly.Memory({ initial: FIRST_PAGES });
}

/** @param {WebAssembly.Global | (() => number)} exported a global with an address, or a function that returns one */
function addressOf(exported) {
  return typeof exported === "function" ? exported() : exported.value;
}
