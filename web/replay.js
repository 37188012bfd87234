// Walks the words of `load` and `run`: the only reader of the format, the same for every device.

import { ALLOC, COPY, FREE, RUN, VERSION } from "./format.js";

/**
 * What a device file provides. A buffer and a kernel are whatever the device likes. One that has `walk` runs a plan's commands
 * itself, gives the outs their memory in `plan.slots`, and needs no `begin`, `dispatch`, `copy` and `submit`.
 * @typedef {object} Device
 * @property {(bytes: number) => any} alloc memory for so many bytes; throws OutOfMemory
 * @property {(buffer: any) => void} free
 * @property {(buffer: any, data: Uint8Array, dtype: number, start: number) => void} write host bytes from element `start` on
 * @property {(buffer: any, dtype: number, offset: number, nbytes: number) => any} read a Uint8Array of host bytes and the status word; may be a promise
 * @property {(text: string) => any} compile
 * @property {(command: Command, slots: any[], plan: Plan) => void} dispatch
 * @property {(source: any, target: any, bytes: number) => void} copy
 * @property {(source: any, target: any, offset: number, bytes: number) => void} window bytes from `offset` on
 * @property {(plan: Plan, cells: Int32Array) => void} begin a run starts; `cells` are its scalars
 * @property {(plan: Plan) => void} submit a run ends
 * @property {(plan: Plan, cells: Int32Array) => void} [walk]
 * @property {(plan: Plan) => void} prepare what a plan needs besides its kernels
 * @property {(plan: Plan) => void} forget
 */

/**
 * @typedef {object} Command
 * @property {number} op
 * @property {any} kernel
 * @property {number} flags
 * @property {number[]} grid
 * @property {number[]} slots for ALLOC, FREE: one; for COPY: source and target
 * @property {Int32Array} words
 * @property {number} bytes of a COPY
 * @property {any} own what the device remembers
 */

/**
 * @typedef {object} Plan
 * @property {number} leaves
 * @property {number} outs
 * @property {number} scalars
 * @property {number[]} bytes per slot
 * @property {Command[]} commands
 * @property {any[]} slots buffers of the current run
 * @property {number} dispatches
 * @property {any} own what the device remembers
 */

/**
 * @param {Int32Array} words
 * @param {string[]} texts
 * @param {Device} device
 * @returns {Plan}
 */
export function load(words, texts, device) {
  if (words[0] !== VERSION)
    throw new Error(`plan of version ${words[0]}, but this runtime reads ${VERSION}`);
  const [, leaves, outs, temps, scalars] = words;
  const slots = leaves + outs + temps;
  const bytes = Array.from(words.subarray(5, 5 + slots), (word) => word >>> 0); // up to 4 GiB
  const kernels = texts.map((text) => device.compile(text));
  /** @type {Command[]} */
  const commands = [];
  let at = 5 + slots;
  for (let count = words[at++]; count > 0; count--) {
    const [command, next] = decode(words, at, kernels);
    commands.push(command);
    at = next;
  }
  if (at !== words.length) throw new Error(`a plan of ${words.length} words ends at word ${at}`);
  const dispatches = commands.filter((command) => command.op === RUN).length;
  const used = Array(slots).fill(null);
  const plan = { leaves, outs, scalars, bytes, commands, slots: used, dispatches, own: null };
  device.prepare(plan);
  return plan;
}

/**
 * @param {Int32Array} words
 * @param {number} at
 * @param {any[]} kernels
 * @returns {[Command, number]} the command and where the next one begins
 */
function decode(words, at, kernels) {
  const op = words[at++];
  const command = { op, kernel: null, flags: 0, grid: [1, 1, 1], bytes: 0, own: null };
  const none = new Int32Array(0);
  if (op === RUN) {
    command.kernel = kernels[words[at]];
    command.flags = words[at + 1];
    command.grid = Array.from(words.subarray(at + 2, at + 5));
    at += 6;
    const slots = Array.from(words.subarray(at, at + words[at - 1]));
    at += slots.length + 1;
    const own = words.slice(at, at + words[at - 1]);
    return [{ ...command, slots, words: own }, at + own.length];
  }
  if (op === COPY) {
    const slots = [words[at], words[at + 1]];
    return [{ ...command, slots, words: none, bytes: words[at + 2] >>> 0 }, at + 3];
  }
  if (op !== ALLOC && op !== FREE) throw new Error(`unknown opcode ${op} at word ${at - 1}`);
  return [{ ...command, slots: [words[at]], words: none }, at + 1];
}

/**
 * Runs a plan: leaves by id from `buffers`, results put there under their ids.
 * @param {Plan} plan
 * @param {Int32Array} words
 * @param {Map<number, any>} buffers
 * @param {Device} device
 */
export function run(plan, words, buffers, device) {
  const { leaves, outs, slots } = plan;
  let at = leaves + outs + 1;
  const end = at + words[at - 1];
  while (at < end) release(words[at++], buffers, device);
  if (words.length - at < plan.scalars) throw new Error("the words of a run are too few");
  for (let k = 0; k < leaves; k++) {
    const buffer = buffers.get(words[k]);
    if (buffer === undefined) throw new Error(`run: there is no buffer ${words[k]}`);
    slots[k] = buffer;
  }
  try {
    const cells = words.subarray(at);
    if (device.walk) device.walk(plan, cells);
    else walk(plan, cells, device);
  } catch (error) {
    // Python counts a failed run as not done: nothing of it may stay allocated.
    for (let k = leaves; k < slots.length; k++) if (slots[k] !== null) device.free(slots[k]);
    slots.fill(null);
    throw error;
  }
  for (let k = leaves; k < leaves + outs; k++) buffers.set(words[k], slots[k]);
  slots.fill(null);
}

/**
 * @param {Plan} plan
 * @param {Int32Array} cells
 * @param {Device} device
 */
function walk(plan, cells, device) {
  const { commands, slots, bytes } = plan;
  device.begin(plan, cells);
  for (const command of commands) {
    const first = command.slots[0];
    switch (command.op) {
      case RUN:
        device.dispatch(command, slots, plan);
        break;
      case COPY:
        device.copy(slots[first], slots[command.slots[1]], command.bytes);
        break;
      case ALLOC:
        slots[first] = device.alloc(bytes[first]);
        break;
      case FREE:
        device.free(slots[first]);
        slots[first] = null;
    }
  }
  device.submit(plan);
}

/**
 * @param {number} id
 * @param {Map<number, any>} buffers
 * @param {Device} device
 */
export function release(id, buffers, device) {
  const buffer = buffers.get(id);
  if (buffer === undefined) throw new Error(`free: there is no buffer ${id}`);
  buffers.delete(id);
  device.free(buffer);
}
