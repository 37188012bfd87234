// The WebGPU device: one encoder and one submit per run.
//
// A kernel binds its slots at 0, 1, …, then the scalars, then the status word (docs/architecture.md). Pipelines are kept by
// text, bind groups by the buffers they bind. Errors arrive after the fact: they are collected and raised by the
// next run or read.

import { HOST_BYTES, USES_SCALARS, USES_STATUS, WORD_BYTES } from "../format.js";
import { toDevice, toHost } from "../convert.js";
import { requestDevice } from "./gpu/adapter.js";
import { keep } from "./gpu/kept.js";
import { pipelines } from "./gpu/pipelines.js";
import { pool } from "./gpu/pool.js";
import { faultsOf, nudged, reader } from "./gpu/reading.js";
import { timing } from "./gpu/timing.js";

const GROUPS_PER_COMMAND = 4;

/** @typedef {import("./gpu/pool.js").Buffer} Buffer */
/** @typedef {import("./gpu/pipelines.js").Kernel} Kernel */
/** @typedef {import("../replay.js").Plan} Plan */
/** @typedef {import("../replay.js").Command} Command */

/** @param {{ powerPreference?: GPUPowerPreference, onlost?: (message: string) => void, poolBytes?: number }} options */
export async function open(options = {}) {
  const { device, info } = await requestDevice(options);
  const faults = faultsOf(device, options.onlost ?? (() => {}));
  const { STORAGE, UNIFORM, COPY_SRC, COPY_DST } = GPUBufferUsage;
  const memory = pool(device, STORAGE | COPY_SRC | COPY_DST, faults.report, options.poolBytes);
  const status = device.createBuffer({ size: 16, usage: STORAGE | COPY_SRC | COPY_DST });
  const programs = pipelines(device, faults.report);
  const clock = timing(device);
  const reads = reader(device, status, faults);
  const counts = { bindGroups: 0 };
  /** @type {GPUCommandEncoder} */
  let encoder;
  /** @type {GPUComputePassEncoder | null} */
  let pass = null;
  /** @type {Promise<void>[]} */
  const unfinished = []; // runs, oldest first

  /**
   * @param {Buffer} buffer
   * @param {Uint8Array} data
   * @param {number} dtype
   * @param {number} start
   */
  function write(buffer, data, dtype, start) {
    const words = toDevice(data, dtype);
    const whole = words.length & ~3;
    const at = start * WORD_BYTES[dtype];
    if (whole) device.queue.writeBuffer(buffer.gpu, at, words, 0, whole);
    if (whole === words.length) return;
    const rest = new Uint8Array(4); // an odd number of two-byte elements: the last word is padded
    rest.set(words.subarray(whole));
    device.queue.writeBuffer(buffer.gpu, at + whole, rest);
  }

  /**
   * @param {Buffer} buffer
   * @param {number} dtype
   * @param {number} offset
   * @param {number} nbytes
   */
  async function read(buffer, dtype, offset, nbytes) {
    faults.raise();
    const scale = WORD_BYTES[dtype] / HOST_BYTES[dtype];
    const reading = await reads.read(buffer.gpu, offset * scale, nbytes * scale);
    return { ...reading, data: toHost(reading.data, dtype) };
  }

  /** @param {Plan} plan */
  function prepare(plan) {
    if (!plan.scalars) return;
    const size = Math.ceil(plan.scalars / 4) * 16;
    plan.own = { scalars: device.createBuffer({ size, usage: UNIFORM | COPY_DST }) };
  }

  /** @param {Plan} plan */
  const forget = (plan) => plan.own?.scalars.destroy();

  /**
   * @param {Plan} plan
   * @param {Int32Array} cells
   */
  function begin(plan, cells) {
    faults.raise();
    if (plan.scalars) {
      const { buffer, byteOffset } = cells;
      device.queue.writeBuffer(plan.own.scalars, 0, buffer, byteOffset, plan.scalars * 4);
    }
    encoder = device.createCommandEncoder();
    pass = null;
  }

  /**
   * @param {Command} command
   * @param {Buffer[]} slots
   * @param {Plan} plan
   */
  function dispatch(command, slots, plan) {
    const kernel = /** @type {Kernel} */ (command.kernel);
    if (kernel.broken) throw kernel.broken;
    const own = clock.pass(kernel.label);
    if (own) endPass();
    pass ??= encoder.beginComputePass(own ?? undefined);
    pass.setPipeline(kernel.pipeline);
    pass.setBindGroup(0, groupOf(command, slots, plan));
    pass.dispatchWorkgroups(command.grid[0], command.grid[1], command.grid[2]);
    if (own) endPass();
  }

  function endPass() {
    pass?.end();
    pass = null;
  }

  /**
   * @param {Command} command
   * @param {Buffer[]} slots
   * @param {Plan} plan
   */
  function groupOf(command, slots, plan) {
    const mine = command.slots;
    const known = (command.own ??= { groups: [], next: 0 });
    search: for (const { serials, group } of known.groups) {
      for (let k = 0; k < mine.length; k++)
        if (serials[k] !== slots[mine[k]].serial) continue search;
      return group;
    }
    counts.bindGroups++;
    const bound = mine.map((slot) => slots[slot].gpu);
    if (command.flags & USES_SCALARS) bound.push(plan.own.scalars);
    if (command.flags & USES_STATUS) bound.push(status);
    const entries = bound.map((buffer, binding) => ({ binding, resource: { buffer } }));
    const group = device.createBindGroup({ layout: command.kernel.layout, entries });
    known.groups[known.next] = { serials: mine.map((slot) => slots[slot].serial), group };
    known.next = (known.next + 1) % GROUPS_PER_COMMAND;
    return group;
  }

  /**
   * @param {Buffer} source
   * @param {Buffer} target
   * @param {number} bytes
   */
  function copy(source, target, bytes) {
    endPass();
    encoder.copyBufferToBuffer(source.gpu, 0, target.gpu, 0, (bytes + 3) & ~3);
  }

  /**
   * @param {Buffer} source
   * @param {Buffer} target
   * @param {number} offset bytes, a multiple of 4
   * @param {number} bytes
   */
  function window(source, target, offset, bytes) {
    const alone = device.createCommandEncoder();
    alone.copyBufferToBuffer(source.gpu, offset, target.gpu, 0, (bytes + 3) & ~3);
    device.queue.submit([alone.finish()]);
  }

  function submit() {
    endPass();
    const submitted = clock.finish(encoder);
    device.queue.submit([encoder.finish()]);
    submitted();
    const finished = () => void unfinished.shift();
    unfinished.push(device.queue.onSubmittedWorkDone().then(finished, finished));
    memory.trim();
  }

  /** @param {number} most runs that may still be under way */
  async function caughtUp(most) {
    while (unfinished.length > most) await nudged(device, unfinished[0]);
    faults.raise(true);
  }

  return {
    kind: "webgpu",
    info,
    alloc: memory.alloc,
    free: memory.free,
    /** @type {(nbytes: number, dtype: number) => number} */
    room: (nbytes, dtype) => (nbytes / HOST_BYTES[dtype]) * WORD_BYTES[dtype],
    write,
    read,
    compile: programs.compile,
    prepare,
    forget,
    begin,
    dispatch,
    copy,
    window,
    submit,
    check: () => faults.raise(),
    /** Runs that were submitted and are not known to be finished. */
    pending: () => unfinished.length,
    caughtUp,
    counts: () => ({ ...memory.counts, ...programs.counts, ...counts }),
    resetPeak: memory.resetPeak,
    profile: clock.profile,
    timings: clock.timings,
    /** @param {string} text for later visits with this adapter: their `info.kept` */
    keep: (text) => keep(info.identity, text),
    close: () => (device.destroy(), device.lost),
  };
}
