// Device to host: a copy into a staging buffer, which is mapped; the status word travels along.

import { named } from "../../format.js";

const STATUS_BYTES = 16;

/** @typedef {{ data: Uint8Array, status: number, done: () => void }} Reading mapped bytes, until `done` */

/**
 * @param {GPUDevice} device
 * @param {GPUBuffer} status
 * @param {{ raise: (waited?: boolean) => void, lost: () => Error | null }} faults
 */
export function reader(device, status, faults) {
  const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
  /** @type {GPUBuffer[]} */
  const idle = [];

  /** @param {number} bytes */
  function take(bytes) {
    const at = idle.findIndex((buffer) => buffer.size >= bytes && buffer.size <= 16 * bytes + 4096);
    if (at >= 0) return idle.splice(at, 1)[0];
    const size =
      bytes > 65536 ? Math.ceil(bytes / 65536) * 65536 : 2 ** Math.ceil(Math.log2(bytes));
    return device.createBuffer({ size: Math.max(size, 4096), usage });
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
      faults.raise(true);
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
 * What went wrong on the device since somebody last asked.
 *
 * An error comes with echoes: whatever used the broken object is invalid too, and an echo may be
 * told before its cause. So echoes count only after a wait, and only if no cause was told by then.
 * @param {GPUDevice} device
 * @param {(message: string) => void} onlost
 */
export function faultsOf(device, onlost) {
  /** @type {Error[]} */
  let causes = [];
  /** @type {Error[]} */
  let echoes = [];
  let broken = false; // a kernel is: dispatching it raises, so its echoes need not
  /** @type {Error | null} */
  let gone = null;
  device.lost.then(({ reason, message }) => {
    gone = named("DeviceLost", `the GPU device is lost (${reason || "unknown"}): ${message}`);
    if (reason !== "destroyed") onlost(gone.message);
  });
  device.addEventListener?.("uncapturederror", (event) => {
    const { error } = /** @type {GPUUncapturedErrorEvent} */ (event);
    event.preventDefault();
    const memory = error.constructor.name === "GPUOutOfMemoryError";
    const known = named(memory ? "OutOfMemory" : "GpuError", `webgpu: ${error.message}`);
    if (/previous error|\binvalid\b/i.test(error.message)) echoes.push(known);
    else causes.push(known);
  });

  /** @param {Error} error */
  function report(error) {
    causes.push(error);
    broken ||= error.name === "KernelError";
  }

  /** @param {boolean} [waited] whether all that was submitted before has been heard of */
  function raise(waited = false) {
    if (gone) throw gone;
    const first = causes[0] ?? (waited && !broken ? echoes[0] : undefined);
    if (waited || first) echoes = [];
    causes = [];
    if (first) throw first;
  }
  return { report, raise, lost: () => gone };
}
