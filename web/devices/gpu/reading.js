// Device to host: a copy into a staging buffer, which is mapped; the status word travels along.

import { named } from "../../format.js";

const STATUS_BYTES = 16;

/** @typedef {{ data: Uint8Array, status: number, done: () => void }} Reading mapped bytes, until `done` */

/**
 * @param {GPUDevice} device
 * @param {GPUBuffer} status
 * @param {{ raise: () => void, lost: () => Error | null }} faults
 */
export function reader(device, status, faults) {
  const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
  /** @type {GPUBuffer[]} */
  const idle = [];

  /** @param {number} bytes */
  function take(bytes) {
    const at = idle.findIndex((buffer) => buffer.size >= bytes && buffer.size <= 16 * bytes + 4096);
    if (at >= 0) return idle.splice(at, 1)[0];
    return device.createBuffer({ size: Math.max(4096, 2 ** Math.ceil(Math.log2(bytes))), usage });
  }

  /** @param {GPUBuffer} buffer */
  function give(buffer) {
    buffer.unmap();
    idle.push(buffer);
    if (idle.length > 4) idle.shift()?.destroy();
  }

  /**
   * @param {GPUBuffer} source
   * @param {number} offset bytes
   * @param {number} nbytes
   * @returns {Promise<Reading>}
   */
  async function read(source, offset, nbytes) {
    const start = offset & ~3;
    const length = (offset - start + nbytes + 3) & ~3;
    const staging = take(length + STATUS_BYTES);
    const encoder = device.createCommandEncoder();
    if (length) encoder.copyBufferToBuffer(source, start, staging, 0, length);
    encoder.copyBufferToBuffer(status, 0, staging, length, STATUS_BYTES);
    encoder.clearBuffer(status);
    device.queue.submit([encoder.finish()]);
    try {
      await nudged(device, staging.mapAsync(GPUMapMode.READ, 0, length + STATUS_BYTES));
      faults.raise();
    } catch (error) {
      staging.destroy();
      throw faults.lost() ?? error;
    }
    const bytes = new Uint8Array(staging.getMappedRange(0, length + STATUS_BYTES));
    const code = new Int32Array(bytes.buffer, bytes.byteOffset + length, 1)[0];
    const data = bytes.subarray(offset - start, offset - start + nbytes);
    return { data, status: code, done: () => give(staging) };
  }

  return { read };
}

/**
 * Firefox looks whether the GPU is done every 100 ms or when something is submitted: so nothing is submitted, often.
 * @template T
 * @param {GPUDevice} device
 * @param {Promise<T>} promise
 */
export async function nudged(device, promise) {
  if (!globalThis.navigator?.userAgent?.includes("Firefox")) return promise;
  const timer = setInterval(() => device.queue.submit([]), 2);
  try {
    return await promise;
  } finally {
    clearInterval(timer);
  }
}

/**
 * What went wrong on the device since somebody last asked: the first error is the cause of the others.
 * @param {GPUDevice} device
 * @param {(message: string) => void} onlost
 */
export function faultsOf(device, onlost) {
  /** @type {Error[]} */
  let found = [];
  /** @type {Error | null} */
  let gone = null;
  device.lost.then(({ reason, message }) => {
    gone = named("DeviceLost", `the GPU device is lost (${reason || "unknown"}): ${message}`);
    if (reason !== "destroyed") onlost(gone.message);
  });
  let cause = false; // a kernel is broken: dispatching it raises, what follows from it need not
  /** @param {Error} error */
  function report(error) {
    found.push(error);
    cause ||= error.name === "KernelError";
  }
  device.addEventListener?.("uncapturederror", (event) => {
    const { error } = /** @type {GPUUncapturedErrorEvent} */ (event);
    event.preventDefault();
    if (cause && /previous error|invalid/i.test(error.message)) return;
    const memory = error.constructor.name === "GPUOutOfMemoryError";
    report(named(memory ? "OutOfMemory" : "GpuError", `webgpu: ${error.message}`));
  });
  const lost = () => gone;
  function raise() {
    if (gone) throw gone;
    if (!found.length) return;
    const [first] = found;
    found = [];
    throw first;
  }
  return { report, raise, lost };
}
