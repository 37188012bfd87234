// The WASM device: kernels are exports of one module, buffers are addresses in its memory.
//
// An export is `void k(words, buffers, scalars, part, parts)` (docs/architecture.md). The words of a plan, its list of launches and room for
// buffer addresses and scalars are placed in memory once; a run writes the addresses and makes one call (wasm_kernels/run.c).

import { HOST_BYTES, named, readable } from "../format.js";
import { ALLOC, COPY, FREE } from "../format.js";
import { heap, roundUp } from "./heap.js";
import { canShare, startWorker, usualThreads } from "./workers.js";

export { canShare } from "./workers.js";

const PAGE = 65536;
const FIRST_PAGES = 256;
const MOST_PAGES = 65535;
const STACK = 1 << 18; // bytes, of a worker
const LAUNCH = 4; // words of one in the list: kernel, words, buffers, shares

// (func (result v128) …) with one f32x4.relaxed_madd: valid where the engine has relaxed SIMD
const RELAXED_PROBE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0, 65, 0, 253, 15,
  65, 0, 253, 15, 65, 0, 253, 15, 253, 133, 2, 11,
]);

export const hasRelaxed = () => WebAssembly.validate(RELAXED_PROBE);

/** @typedef {{ address: number, bytes: number }} Buffer */

/**
 * @param {{ wasm: BufferSource | WebAssembly.Module, build?: string, threads?: number }} options the module's bytes, what to call it in `info`,
 *   and how many threads it may use (0: as many as are of use); more than one needs a build for a shared memory
 */
export function open({ wasm, build = "", threads = 0 }) {
  const module = wasm instanceof WebAssembly.Module ? wasm : new WebAssembly.Module(wasm);
  const shared = WebAssembly.Module.exports(module).some(({ name }) => name === "work");
  const memory = newMemory(shared);
  const exports = /** @type {Record<string, any>} */ (
    new WebAssembly.Instance(module, { env: { memory } }).exports
  );
  exports._initialize?.();
  const kernels = Object.keys(exports).filter((name) => typeof exports[name] === "function");
  kernels.sort();
  const table = exports.__indirect_function_table;
  const first = table.grow(kernels.length);
  kernels.forEach((name, k) => table.set(first + k, exports[name]));
  const status = addressOf(exports.status) >>> 2;
  const running = addressOf(exports.running) >>> 2;
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

  // ---- threads: wanted, started, and those that have come up (a word in memory that they count)

  let wanted = shared ? threads || usualThreads() : 1;
  /** @type {{ stop: () => void }[]} */
  const workers = [];
  const ready = shared ? space.alloc(64) >>> 2 : 0;
  if (shared) i32[ready] = 0;

  /** @param {number} count 1: none but the caller's; 0: as many as are of use */
  function setThreads(count) {
    wanted = shared ? count || usualThreads() : 1;
    return wanted;
  }

  function startWorkers() {
    while (workers.length < wanted - 1) {
      const { value: bytes } = exports.__tls_size;
      const stack = space.alloc(STACK + bytes) + STACK;
      const worker = startWorker({
        ...{ module, memory, kernels, stack, tls: stack },
        ...{ count: ready * 4, failed: addressOf(exports.failed) },
      });
      if (!worker) {
        wanted = workers.length + 1;
        return;
      }
      workers.push(worker);
    }
  }

  /** How many threads a run takes. @param {boolean} divided */
  function takes(divided) {
    if (!divided || wanted < 2) return 1;
    if (workers.length < wanted - 1) startWorkers();
    return Math.min(wanted, 1 + Atomics.load(i32, ready));
  }

  /** @param {string} name */
  function compile(name) {
    const at = kernels.indexOf(name);
    if (at < 0) throw named("KernelError", `the wasm module has no kernel ${name}`);
    return { name, at: first + at };
  }

  /** A COPY is a launch like the others. @param {import("../replay.js").Command} command */
  const copying = (command) => ({
    ...command,
    kernel: compile("copy"),
    words: Int32Array.of(command.bytes),
  });

  /**
   * A plan's launches, and where in memory their words, addresses, list and scalars lie.
   * @param {import("../replay.js").Plan} plan
   */
  function prepare(plan) {
    const launches = plan.commands
      .filter(({ op }) => op !== ALLOC && op !== FREE)
      .map((command) => (command.op === COPY ? copying(command) : command));
    const words = launches.reduce((n, c) => n + c.words.length + c.slots.length, 0);
    const list = roundUp(words, 2);
    const cells = list + LAUNCH * launches.length;
    const block = alloc(4 * (cells + 2 * plan.scalars));
    const base = block.address >>> 2;
    let at = base;
    launches.forEach(({ kernel, words: own, slots, grid }, k) => {
      i32.set(own, at);
      const buffers = at + own.length;
      i32.set([kernel.at, at * 4, buffers * 4, grid[0]], base + list + LAUNCH * k);
      at = buffers + slots.length;
    });
    plan.own = {
      block,
      list: base + list,
      cells: base + cells,
      names: launches.map(({ kernel }) => kernel.name),
      divided: launches.some(({ grid }) => grid[0] > 1),
    };
  }

  /** @param {import("../replay.js").Plan} plan */
  const forget = (plan) => free(plan.own.block);

  /**
   * @param {import("../replay.js").Plan} plan
   * @param {Int32Array} numbers
   */
  function begin(plan, numbers) {
    if (plan.scalars) i32.set(numbers, plan.own.cells);
  }

  /**
   * Memory for results and temporaries, in the order of the commands, then all launches in one call.
   * @param {import("../replay.js").Plan} plan
   */
  function walk(plan) {
    const { commands, slots, bytes } = plan;
    let launch = plan.own.list;
    for (const { op, slots: mine } of commands) {
      if (op === ALLOC) slots[mine[0]] = alloc(bytes[mine[0]]);
      else if (op === FREE) {
        free(slots[mine[0]]);
        slots[mine[0]] = null;
      } else {
        const buffers = i32[launch + 2] >>> 2;
        for (let k = 0; k < mine.length; k++) i32[buffers + k] = slots[mine[k]].address;
        launch += LAUNCH;
      }
    }
    const { list, names, cells, divided } = plan.own;
    if (timing)
      names.forEach((/** @type {string} */ name, /** @type {number} */ k) =>
        timed(name, list + LAUNCH * k, cells, divided),
      );
    else runList(list, names, cells, takes(divided));
  }

  /**
   * @param {number} list
   * @param {string[]} names
   * @param {number} cells
   * @param {number} count of threads
   */
  function runList(list, names, cells, count) {
    try {
      if (exports.run(list * 4, names.length, cells * 4, count)) return;
    } catch (error) {
      if (!(error instanceof WebAssembly.RuntimeError)) throw error;
      throw named("KernelError", `the kernel ${names[i32[running]]} failed: ${error.message}`);
    }
    wanted = 1;
    throw named("KernelError", `the kernel ${names[i32[running]]} failed on a thread`);
  }

  /**
   * @param {string} name
   * @param {number} list
   * @param {number} cells
   * @param {boolean} divided
   */
  function timed(name, list, cells, divided) {
    const start = performance.now();
    runList(list, [name], cells, takes(divided));
    times.push([name, performance.now() - start]);
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
    if (!kernels.includes(name)) throw named("KernelError", `the wasm module has no ${name}`);
    return exports[name](...plain);
  }

  return {
    kind: "wasm",
    info: { kind: "wasm", build, software: true, threads: wanted },
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
    walk,
    setThreads,
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
    close: () => workers.splice(0).forEach((worker) => worker.stop()),
  };
}

/** A memory that may grow as far as the engine lets it be declared. */
function newMemory(/** @type {boolean} */ shared) {
  for (const maximum of [MOST_PAGES, MOST_PAGES >> 1, MOST_PAGES >> 2]) {
    try {
      return new WebAssembly.Memory({ initial: FIRST_PAGES, maximum, shared });
    } catch {
      // a phone: declare less
    }
  }
  return new WebAssembly.Memory({ initial: FIRST_PAGES, maximum: MOST_PAGES >> 3, shared });
}

/** @param {WebAssembly.Global | (() => number)} exported a global with an address, or a function that returns one */
function addressOf(exported) {
  return typeof exported === "function" ? exported() : exported.value;
}
