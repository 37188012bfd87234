// The doors: what Python, or a page without Python, calls. Numbers buffers and plans, counts, and leaves the work to a device.

import { HOST_BYTES, named } from "./format.js";
import * as replay from "./replay.js";
import { open as openWasm } from "./devices/wasm.js";
import { open as openWebgpu } from "./devices/webgpu.js";
import { fetchBytes, stream } from "./stream.js";

export { hasRelaxed } from "./devices/wasm.js";
export { fetchBytes };

/**
 * @typedef {object} Part a range of a file that belongs to a buffer
 * @property {number} offset
 * @property {number} nbytes
 * @property {number} id
 * @property {number} dtype
 */

/**
 * Opens the GPU.
 * @param {Parameters<typeof openWebgpu>[0]} [options]
 */
export async function openGpu(options) {
  return doors(await openWebgpu(options));
}

/**
 * Opens the kernels of a WebAssembly module, at once.
 * @param {Parameters<typeof openWasm>[0]} options
 */
export function openCpu(options) {
  return doors(openWasm(options));
}

/** @param {any} device of devices/*.js */
export function doors(device) {
  /** @type {Map<number, any>} */
  const buffers = new Map();
  /** @type {Map<number, replay.Plan>} */
  const plans = new Map();
  const counts = { loads: 0, runs: 0, dispatches: 0, writes: 0, reads: 0 };

  /** @param {number} id */
  function find(id) {
    const buffer = buffers.get(id);
    if (buffer === undefined) throw new Error(`there is no buffer ${id}`);
    return buffer;
  }

  /**
   * @param {number} plan its number from now on
   * @param {Int32Array} words
   * @param {string[]} texts
   * @returns {boolean} whether threads are coming up for it
   */
  function load(plan, words, texts) {
    device.check();
    counts.loads++;
    plans.set(plan, replay.load(words, texts, device));
    return device.coming?.() ?? false;
  }

  /** @param {number} plan */
  function unload(plan) {
    const known = plans.get(plan);
    if (known) device.forget(known);
    plans.delete(plan);
  }

  /**
   * @param {number} plan
   * @param {Int32Array} words
   * @returns {number} runs that are not finished
   */
  function run(plan, words) {
    const known = plans.get(plan);
    if (!known) throw new Error(`run: there is no plan ${plan}`);
    replay.run(known, words, buffers, device);
    counts.runs++;
    counts.dispatches += known.dispatches;
    return device.pending();
  }

  /**
   * Memory without content, for `streamInto` and `call`.
   * @param {number} id
   * @param {number} nbytes device bytes
   */
  function alloc(id, nbytes) {
    device.check();
    if (buffers.has(id)) throw new Error(`alloc: buffer ${id} exists`);
    buffers.set(id, device.alloc(nbytes));
  }

  /**
   * Host bytes into a buffer, which is made if there is none of that number.
   * @param {number} id
   * @param {Uint8Array} data
   * @param {number} dtype
   * @param {number} [start] element
   */
  function write(id, data, dtype, start = 0) {
    device.check();
    counts.writes++;
    const known = buffers.get(id);
    const buffer = known ?? device.alloc(device.room(data.length, dtype));
    try {
      device.write(buffer, data, dtype, start);
    } catch (error) {
      if (!known) device.free(buffer);
      throw error;
    }
    if (!known) buffers.set(id, buffer);
  }

  /**
   * A part of a buffer as a buffer of its own.
   * @param {number} id
   * @param {number} from
   * @param {number} offset device bytes
   * @param {number} nbytes device bytes
   */
  function window(id, from, offset, nbytes) {
    device.check();
    const source = find(from);
    const target = device.alloc(nbytes);
    device.window(source, target, offset, nbytes);
    buffers.set(id, target);
  }

  /**
   * Host bytes of a buffer; wasm at once, webgpu as a promise. `done()` gives the bytes back.
   * @param {number} id
   * @param {number} dtype
   * @param {number} offset host bytes
   * @param {number} nbytes host bytes
   */
  function read(id, dtype, offset, nbytes) {
    counts.reads++;
    return device.read(find(id), dtype, offset, nbytes);
  }

  /** @param {Iterable<number>} ids */
  function free(ids) {
    for (const id of ids) replay.release(id, buffers, device);
  }

  /**
   * Calls an export of the wasm module: whole numbers and floats as they are, buffers as `{ id }`.
   * @param {string} name
   * @param {(number | bigint | { id: number })[]} values
   */
  function call(name, values) {
    if (!device.call) throw named("KernelError", `${device.kind} has no exports to call`);
    const given = values.map((value) => (typeof value === "object" ? find(value.id) : value));
    return device.call(name, given);
  }

  /**
   * Ranges of a file straight into buffers.
   * @param {string} url
   * @param {Part[]} parts
   * @param {(done: number, total: number) => void} [progress]
   */
  function streamInto(url, parts, progress) {
    const targets = parts.map(({ offset, nbytes, id, dtype }) => {
      const buffer = find(id);
      const width = HOST_BYTES[dtype];
      /** @type {(data: Uint8Array, at: number) => void} */
      const put = (data, at) => device.write(buffer, data, dtype, at / width);
      return { offset, nbytes, put };
    });
    return stream(url, targets, progress);
  }

  const stats = () => ({ ...device.counts(), ...counts, buffers: buffers.size, plans: plans.size });
  const { kind, info, pending, caughtUp, resetPeak, profile, timings, keep, close } = device;
  const idle = () => caughtUp(0);
  /** @param {number} count */
  const setThreads = (count) => device.setThreads?.(count) ?? 1;
  const more = {
    kind,
    info,
    pending,
    caughtUp,
    idle,
    profile,
    timings,
    keep,
    close,
    stats,
    setThreads,
    resetPeak,
  };
  return { load, unload, run, alloc, write, window, read, free, call, streamInto, ...more };
}

/**
 * The same doors for a host that names its memory by address: calls then carry small integers only.
 * @param {ReturnType<typeof doors>} gate
 * @param {{ HEAPU8: Uint8Array }} host its view is replaced when its memory grows, so it is asked for each time
 */
export function attach(gate, host) {
  let ticket = 0;
  /** @type {Map<number, any>} */
  const ready = new Map();

  /**
   * @param {number} address
   * @param {number} length
   */
  const words = (address, length) => new Int32Array(host.HEAPU8.buffer, address, length);

  /**
   * @param {number} address
   * @param {number} nbytes
   */
  const bytes = (address, nbytes) => new Uint8Array(host.HEAPU8.buffer, address, nbytes);

  /**
   * @param {any} reading
   * @param {number} address
   * @returns {number} status word
   */
  function deliver(reading, address) {
    host.HEAPU8.set(reading.data, address);
    reading.done?.();
    return reading.status;
  }

  return {
    ...gate,
    /** @type {(ids: number, length: number) => void} */
    free: (address, length) => gate.free(words(address, length)),
    /** @type {(plan: number, address: number, length: number, texts: string[]) => boolean} */
    load: (plan, address, length, texts) => gate.load(plan, words(address, length), [...texts]),
    /** @type {(plan: number, address: number, length: number) => number} */
    run: (plan, address, length) => gate.run(plan, words(address, length)),
    /** @type {(id: number, address: number, nbytes: number, dtype: number, start: number) => void} */
    write: (id, address, nbytes, dtype, start) =>
      gate.write(id, bytes(address, nbytes), dtype, start),
    /**
     * As `write`, for memory whose address Python cannot tell.
     * @type {(id: number, memory: any, dtype: number, start: number) => void}
     */
    writeFrom: (id, memory, dtype, start) => {
      const view = memory.getBuffer("u8");
      try {
        gate.write(id, view.data, dtype, start);
      } finally {
        view.release();
      }
    },
    /**
     * A letter of `signature` per value: b a buffer's number, l an int64, anything else a plain number.
     * @type {(name: string, signature: string, ...values: number[]) => any}
     */
    call: (name, signature, ...values) =>
      gate.call(
        name,
        values.map((value, k) =>
          signature[k] === "b" ? { id: value } : signature[k] === "l" ? BigInt(value) : value,
        ),
      ),
    /**
     * Parts as float64 numbers: offset, bytes, buffer, dtype.
     * @type {(url: string, address: number, length: number, progress?: (done: number, total: number) => void) => Promise<void>}
     */
    streamParts: (url, address, length, progress) => {
      const numbers = new Float64Array(host.HEAPU8.buffer, address, length);
      const parts = [];
      for (let k = 0; k < length; k += 4) {
        const [offset, nbytes, id, dtype] = numbers.subarray(k, k + 4);
        parts.push({ offset, nbytes, id, dtype });
      }
      return gate.streamInto(url, parts, progress);
    },
    /**
     * wasm; the result is the status word.
     * @type {(id: number, address: number, nbytes: number, dtype: number, offset: number) => number}
     */
    readNow: (id, address, nbytes, dtype, offset) =>
      deliver(gate.read(id, dtype, offset, nbytes), address),
    /**
     * webgpu, first half: resolves to a ticket once the bytes lie ready. The memory they go to is named in
     * the second half, because Python may have given it up while it waited.
     * @type {(id: number, nbytes: number, dtype: number, offset: number) => Promise<number>}
     */
    readSoon: async (id, nbytes, dtype, offset) => {
      ready.set(++ticket, null);
      const mine = ticket;
      ready.set(mine, await gate.read(id, dtype, offset, nbytes));
      return mine;
    },
    /**
     * Second half; the result is the status word.
     * @type {(ticket: number, address: number) => number}
     */
    readReady: (mine, address) => {
      const reading = ready.get(mine);
      ready.delete(mine);
      return deliver(reading, address);
    },
  };
}
