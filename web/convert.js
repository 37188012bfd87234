// Host bytes to the 32-bit words of a webgpu buffer and back, by dtype code.
//
// WGSL addresses nothing narrower than 32 bits and has no 64-bit integers: bool and the small integers are widened, int64 is
// narrowed with a check. float16 and bfloat16 stay as they are, two to a word.

import { BOOL, FLOAT64, HOST_BYTES, INT16, INT64, INT8, UINT8, WORD_BYTES } from "./format.js";
import { named } from "./format.js";

/**
 * @param {Uint8Array} bytes of a host whose numbers may lie unaligned
 * @param {number} width
 */
function aligned(bytes, width) {
  return bytes.byteOffset % width ? bytes.slice() : bytes;
}

/**
 * @param {Uint8Array} bytes
 * @param {number} dtype
 * @returns {Uint8Array} bytes as the device keeps them; the same object where nothing changes
 */
export function toDevice(bytes, dtype) {
  if (dtype === INT64) return narrowed(bytes);
  if (dtype === FLOAT64)
    throw named("TypeError", "webgpu has no float64; use float32, or the wasm device");
  if (WORD_BYTES[dtype] === HOST_BYTES[dtype]) return bytes;
  return new Uint8Array(Int32Array.from(viewed(bytes, dtype)).buffer);
}

/**
 * @param {Uint8Array} bytes
 * @param {number} dtype
 */
function viewed(bytes, dtype) {
  const at = aligned(bytes, HOST_BYTES[dtype]);
  if (dtype === INT8) return new Int8Array(at.buffer, at.byteOffset, at.length);
  if (dtype === INT16) return new Int16Array(at.buffer, at.byteOffset, at.length >>> 1);
  if (dtype === BOOL || dtype === UINT8) return at;
  throw new Error(`no dtype has the code ${dtype}`);
}

/** @param {Uint8Array} bytes */
function narrowed(bytes) {
  const at = aligned(bytes, 4);
  const pairs = new Int32Array(at.buffer, at.byteOffset, at.length >>> 2);
  const out = new Int32Array(pairs.length >>> 1);
  for (let i = 0; i < out.length; i++) {
    const low = pairs[2 * i];
    if (pairs[2 * i + 1] !== low >> 31) throw overflow(pairs, i);
    out[i] = low;
  }
  return new Uint8Array(out.buffer);
}

/**
 * @param {Int32Array} pairs
 * @param {number} i
 */
function overflow(pairs, i) {
  const value = (BigInt(pairs[2 * i + 1]) << 32n) | BigInt(pairs[2 * i] >>> 0);
  return named(
    "RangeError64",
    `value ${value} cannot be converted to type int32 without overflow: webgpu keeps int64 in 32 bits`,
  );
}

/**
 * @param {Uint8Array} bytes as the device keeps them
 * @param {number} dtype
 * @returns {Uint8Array} bytes as the host keeps them
 */
export function toHost(bytes, dtype) {
  if (WORD_BYTES[dtype] === HOST_BYTES[dtype]) return bytes;
  const at = aligned(bytes, 4);
  const words = new Int32Array(at.buffer, at.byteOffset, at.length >>> 2);
  if (dtype === INT64) {
    const out = new Int32Array(2 * words.length);
    for (let i = 0; i < words.length; i++) {
      out[2 * i] = words[i];
      out[2 * i + 1] = words[i] >> 31;
    }
    return new Uint8Array(out.buffer);
  }
  if (dtype === INT16) return new Uint8Array(Int16Array.from(words).buffer);
  return Uint8Array.from(words);
}
