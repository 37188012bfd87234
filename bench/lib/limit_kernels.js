// A WebAssembly module written out byte by byte: chains of multiply-adds in registers, and copies.
// What its loops reach is the limit that kernels on the same machine are compared with.

export const CHAINS = 12; // enough to hide the latency of a multiply-add, few enough for 16 registers
const ROUNDS = 2; // of all chains in one turn of the loop
const FLOPS_PER_TURN = ROUNDS * CHAINS * 4 * 2;
const STEP = 128; // bytes copied in one turn

const I32 = 0x7f;
const V128 = 0x7b;

/** @param {number} n @returns {number[]} */
function leb(n) {
  const out = [];
  do {
    out.push((n & 127) | (n > 127 ? 128 : 0));
    n >>>= 7;
  } while (n);
  return out;
}
/** @param {number[][]} items */
const vec = (items) => [...leb(items.length), ...items.flat()];
/** @param {number} id @param {number[]} body */
const section = (id, body) => [id, ...leb(body.length), ...body];
/** @param {number} n signed, small */
const i32 = (n) => [0x41, ...(n < 64 ? [n] : [(n & 127) | 128, n >> 7])];
/** @param {number} x */
const f32 = (x) => [0x43, ...new Uint8Array(new Float32Array([x]).buffer)];
const get = (/** @type {number} */ k) => [0x20, k];
const set = (/** @type {number} */ k) => [0x21, k];
const tee = (/** @type {number} */ k) => [0x22, k];
const simd = (/** @type {number} */ op) => [0xfd, ...leb(op)];
const [SPLAT, ADD, MUL, MADD] = [0x13, 0xe4, 0xe6, 0x105].map(simd);
const LOOP = [0x03, 0x40];
const END = 0x0b;

/** @param {boolean} relaxed */
function fma(relaxed) {
  const [a, b] = [CHAINS + 1, CHAINS + 2];
  const madd = relaxed ? [...get(a), ...get(b), ...MADD] : [...get(a), ...MUL, ...get(b), ...ADD];
  const chains = Array.from({ length: CHAINS }, (_, k) => k + 1);
  const round = chains.flatMap((k) => [...get(k), ...madd, ...set(k)]);
  const count = [...get(0), ...i32(1), 0x6b, ...tee(0), 0x0d, 0];
  const sum = chains.flatMap((k) => (k === 1 ? get(k) : [...get(k), ...ADD]));
  const code = [
    ...[...f32(0.5), ...SPLAT, ...set(a), ...f32(1), ...SPLAT, ...set(b)],
    ...[...LOOP, ...Array(ROUNDS).fill(round).flat(), ...count, END],
    ...[...i32(0), ...sum, ...simd(0x0b), 4, 0, END],
  ];
  return [...vec([[...leb(CHAINS + 2), V128]]), ...code];
}

function copyLoop() {
  const moves = Array.from({ length: STEP / 16 }, (_, k) => {
    const at = [4, ...leb(16 * k)];
    return [...get(1), ...get(0), ...simd(0x00), ...at, ...simd(0x0b), ...at];
  }).flat();
  const step = [0, 1].flatMap((k) => [...get(k), ...i32(STEP), 0x6a, ...set(k)]);
  const count = [...get(2), ...i32(STEP), 0x6b, ...tee(2), 0x0d, 0];
  return [...vec([]), ...LOOP, ...moves, ...step, ...count, END, END];
}

function copyBulk() {
  return [...vec([]), ...get(1), ...get(0), ...get(2), 0xfc, 0x0a, 0, 0, END];
}

/** @param {boolean} relaxed */
function assemble(relaxed) {
  const name = (/** @type {string} */ s) => [s.length, ...new TextEncoder().encode(s)];
  const bodies = [fma(relaxed), copyLoop(), copyBulk()].map((b) => [...leb(b.length), ...b]);
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, vec([[0x60, ...vec([[I32]]), 0], [0x60, ...vec([[I32], [I32], [I32]]), 0]])), // prettier-ignore
    ...section(2, vec([[...name("e"), ...name("m"), 2, 0, 1]])),
    ...section(3, vec([[0], [1], [1]])),
    ...section(7, vec(["fma", "loop", "bulk"].map((s, k) => [...name(s), 0, k]))),
    ...section(10, vec(bodies)),
  ]);
}

/** Runs the limit loops on one thread, over a memory of its own. */
export class Limits {
  constructor() {
    const fused = assemble(true);
    this.relaxed = WebAssembly.validate(fused);
    this.memory = new WebAssembly.Memory({ initial: 1 });
    const module = new WebAssembly.Module(this.relaxed ? fused : assemble(false));
    this.code = /** @type {any} */ (
      new WebAssembly.Instance(module, { e: { m: this.memory } }).exports
    );
    this.bytes = 0;
  }
  /** @param {number} flops */
  fma(flops) {
    this.code.fma(Math.round(flops / FLOPS_PER_TURN));
  }
  /** Room for two arrays of so many bytes, the first filled with 1, 2, 3, … @param {number} bytes */
  prepareCopy(bytes) {
    this.bytes = bytes;
    const missing = 65536 + 2 * bytes - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / 65536));
    const source = new Float32Array(this.memory.buffer, 65536, bytes / 4);
    for (let i = 0; i < source.length; i++) source[i] = i + 1;
  }
  /** @param {"loop" | "bulk"} way */
  copy(way) {
    this.code[way](65536, 65536 + this.bytes, this.bytes);
  }
  /** The first values that the loop left. @param {"fma" | "copy"} op */
  result(op) {
    if (op === "fma") return new Float32Array(this.memory.buffer, 0, 4).map((v) => v / CHAINS);
    const size = this.bytes / 4;
    const copied = new Float32Array(this.memory.buffer, 65536 + this.bytes, size);
    if (copied[size - 1] !== size) throw new Error("the copy is not complete");
    return copied.slice(0, 4);
  }
}
