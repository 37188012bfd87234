// Device memory by size class: a freed buffer waits for the next request of its class.
//
// Of a class the buffer made first is handed out first, whatever order they were freed in: then a
// steady loop meets the same buffers in the same roles, and its bind groups stay valid.

import { named, readable } from "../../format.js";

const MEBI = 1 << 20;

/** @typedef {{ gpu: GPUBuffer, size: number, serial: number, broken?: boolean }} Buffer */

/**
 * @param {GPUDevice} device
 * @param {GPUBufferUsageFlags} usage
 * @param {(error: Error) => void} report takes what becomes known later
 * @param {number} keep bytes that may wait for reuse
 */
export function pool(device, usage, report, keep = 512 * MEBI) {
  /** @type {Map<number, Buffer[]>} */
  const waiting = new Map(); // serials descending
  const { maxBufferSize, maxStorageBufferBindingSize } = device.limits;
  const largest = Math.min(maxBufferSize, maxStorageBufferBindingSize); // buffers are bound whole
  const counts = { allocated: 0, pooled: 0, peak: 0, created: 0 };

  /** @param {number} bytes */
  function alloc(bytes) {
    const size = sizeClass(bytes, largest);
    const buffer = waiting.get(size)?.pop();
    if (buffer) counts.pooled -= size;
    const got = buffer ?? create(size, bytes);
    counts.allocated += size;
    counts.peak = Math.max(counts.peak, counts.allocated);
    return got;
  }

  /**
   * @param {number} size
   * @param {number} asked
   * @returns {Buffer}
   */
  function create(size, asked) {
    const held = `${readable(counts.allocated)} allocated, ${readable(counts.pooled)} pooled`;
    const message = `webgpu out of memory: ${readable(asked)} were asked for, ${held}`;
    if (size > largest)
      throw named("OutOfMemory", `${message}; one buffer holds at most ${readable(largest)}`);
    device.pushErrorScope("out-of-memory");
    const gpu = device.createBuffer({ size, usage });
    /** @type {Buffer} */
    const made = { gpu, size, serial: counts.created++ };
    device.popErrorScope().then(
      (error) => {
        if (!error) return;
        made.broken = true;
        trim(0);
        report(named("OutOfMemory", message));
      },
      () => {}, // the device is lost, which is told elsewhere
    );
    return made;
  }

  /** @param {Buffer} buffer */
  function free(buffer) {
    counts.allocated -= buffer.size;
    if (buffer.broken) return;
    counts.pooled += buffer.size;
    const list = waiting.get(buffer.size);
    if (!list) {
      waiting.set(buffer.size, [buffer]);
      return;
    }
    let low = 0;
    for (let high = list.length; low < high;) {
      const middle = (low + high) >> 1;
      if (list[middle].serial > buffer.serial) low = middle + 1;
      else high = middle;
    }
    list.splice(low, 0, buffer);
  }

  /**
   * Destroys what waits, largest first, until at most `most` bytes do. Not while commands are being recorded: they may use them.
   * @param {number} most
   */
  function trim(most = keep) {
    if (counts.pooled <= most) return;
    for (const size of [...waiting.keys()].sort((a, b) => b - a)) {
      const list = waiting.get(size) ?? [];
      while (list.length && counts.pooled > most) {
        list.shift()?.gpu.destroy();
        counts.pooled -= size;
      }
      if (!list.length) waiting.delete(size);
    }
  }

  /** From here on `peak` is the most since now. */
  const resetPeak = () => void (counts.peak = counts.allocated);
  return { alloc, free, trim, counts, resetPeak };
}

/**
 * Eight classes per power of two: at most an eighth is wasted.
 * @param {number} bytes
 * @param {number} largest
 */
export function sizeClass(bytes, largest) {
  if (bytes <= 256) return 256;
  const step = Math.max(256, 2 ** (Math.ceil(Math.log2(bytes)) - 4));
  const size = Math.ceil(bytes / step) * step;
  return size > largest && bytes <= largest ? Math.floor(largest / 4) * 4 : size;
}
