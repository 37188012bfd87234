// The WASM device: kernels are exports of one module, buffers are addresses in its memory.
//
// An export is `void k(words, buffers, scalars, part, parts)` (docs/architecture.md); a plan is one call (cpu/runner.js).

import { HOST_BYTES, named } from "../format.js";
import { openMemory } from "./cpu/memory.js";
import { compiled, connect } from "./cpu/module.js";
import { canShare, pool } from "./cpu/pool.js";
import { runner } from "./cpu/runner.js";
import { heap } from "./heap.js";

// (func (result v128) …) with one f32x4.relaxed_madd: valid where the engine has relaxed SIMD
const RELAXED_PROBE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0, 65, 0, 253, 15,
  65, 0, 253, 15, 65, 0, 253, 15, 253, 133, 2, 11,
]);

export const hasRelaxed = () => WebAssembly.validate(RELAXED_PROBE);

/** @typedef {{ address: number, bytes: number }} Buffer */

/**
 * @param {{ wasm: BufferSource, build?: string, threads?: number }} options the module's bytes, what to call it in `info`, and
 *   how many threads it may use (0: as many as are of use)
 */
export function open({ wasm, build = "", threads = 0 }) {
  const { module, shared } = compiled(wasm, canShare());
  const held = openMemory(shared);
  const { memory } = held;
  const { exports, numbers } = connect(module, memory);
  exports._initialize?.();
  const status = exports.status.value >>> 2;
  const space = heap(exports.__heap_base.value, reserve, held.u8.length);
  const most = shared ? Infinity : 1;
  const helpers = pool({ module, memory, exports }, cleared, most, threads);

  /** @param {number} end */
  function reserve(end) {
    return held.reserve(end, space.counts);
  }

  /** For a thread's stack, which is not counted: the caller's own is not either. @param {number} bytes */
  function cleared(bytes) {
    const start = space.alloc(bytes, false);
    held.u8.fill(0, start, start + bytes);
    return start;
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
    held.u8.set(data, buffer.address + start * HOST_BYTES[dtype]);
  }

  /**
   * @param {Buffer} buffer
   * @param {number} dtype
   * @param {number} offset
   * @param {number} nbytes
   */
  function read(buffer, dtype, offset, nbytes) {
    const start = buffer.address + offset;
    const code = held.i32[status];
    held.i32[status] = 0;
    return { data: held.u8.subarray(start, start + nbytes), status: code };
  }

  /** @param {string} name */
  function compile(name) {
    const index = numbers.get(name);
    if (index === undefined) throw named("KernelError", `the wasm module has no kernel ${name}`);
    return { name, index };
  }

  /**
   * @param {Buffer} source
   * @param {Buffer} target
   * @param {number} offset bytes
   * @param {number} bytes
   */
  function window(source, target, offset, bytes) {
    const start = source.address + offset;
    held.u8.copyWithin(target.address, start, start + bytes);
  }

  /**
   * Calls any export; buffers come as addresses, other numbers as they are.
   * @param {string} name
   * @param {(number | bigint | Buffer)[]} values
   */
  function call(name, values) {
    compile(name);
    return exports[name](...values.map((v) => (typeof v === "object" ? v.address : v)));
  }

  return {
    kind: "wasm",
    info: { kind: "wasm", build, software: true, threads: helpers.threads },
    alloc,
    free,
    /** @type {(nbytes: number, dtype: number) => number} */
    room: (nbytes) => nbytes,
    write,
    read,
    compile,
    window,
    call,
    ...runner(exports, held, space, compile, helpers.start),
    setThreads: helpers.resize,
    coming: helpers.coming,
    check: () => {},
    pending: () => 0,
    caughtUp: helpers.ready,
    counts: () => ({
      ...space.counts,
      memory: memory.buffer.byteLength,
      helpers: exports.count_helpers?.() ?? 0,
    }),
    resetPeak: space.resetPeak,
    close: helpers.close,
  };
}
