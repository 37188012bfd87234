// An allocator inside one growing range of addresses: exact-size bins in front, coalescing behind.
//
// A steady program asks for the same sizes again and again, so a freed block goes to the bin of its size and comes back in constant
// time. Only when the range would have to grow are all bins merged into neighbouring blocks again, so that many
// small blocks can serve a large request and memory does not grow by fragmentation.

const ALIGN = 64;

/** @typedef {{ start: number, size: number }} Block */

/**
 * @param {number} base first free address
 * @param {(end: number) => number} reserve makes addresses below `end` usable and says how far it got, or throws
 * @param {number} limit addresses below it are usable already
 */
export function heap(base, reserve, limit) {
  /** @type {Map<number, number[]>} */
  const bins = new Map();
  /** @type {Block[]} */
  let blocks = []; // in order of address, never adjacent
  let top = roundUp(base, ALIGN);
  const counts = { allocated: 0, pooled: 0, peak: 0 };

  /**
   * @param {number} bytes
   * @param {boolean} counted as allocated
   */
  function alloc(bytes, counted = true) {
    const size = roundUp(Math.max(bytes, 1), ALIGN);
    const bin = bins.get(size);
    let start = bin && bin.length ? bin.pop() : fit(size);
    if (start === undefined) {
      if (top + size > limit && counts.pooled > 0) {
        merge();
        start = fit(size);
      }
      if (start === undefined) start = extend(size);
    } else counts.pooled -= size;
    if (counted) counts.allocated += size;
    counts.peak = Math.max(counts.peak, counts.allocated);
    return start;
  }

  /**
   * @param {number} start
   * @param {number} bytes as given to alloc
   */
  function free(start, bytes) {
    const size = roundUp(Math.max(bytes, 1), ALIGN);
    counts.allocated -= size;
    counts.pooled += size;
    const bin = bins.get(size);
    if (bin) bin.push(start);
    else bins.set(size, [start]);
  }

  /**
   * The smallest merged block that is large enough, or nothing.
   * @param {number} size
   */
  function fit(size) {
    let best = -1;
    for (let i = 0; i < blocks.length; i++) {
      const room = blocks[i].size;
      if (room >= size && (best < 0 || room < blocks[best].size)) best = i;
    }
    if (best < 0) return undefined;
    const block = blocks[best];
    const start = block.start;
    if (block.size === size) blocks.splice(best, 1);
    else blocks[best] = { start: start + size, size: block.size - size };
    return start;
  }

  /** @param {number} size */
  function extend(size) {
    if (top + size > limit) limit = reserve(top + size);
    const start = top;
    top += size;
    return start;
  }

  /** All bins into blocks, neighbours joined; what touches the top gives the top back. */
  function merge() {
    for (const [size, bin] of bins) for (const start of bin) blocks.push({ start, size });
    bins.clear();
    blocks.sort((a, b) => a.start - b.start);
    /** @type {Block[]} */
    const joined = [];
    for (const block of blocks) {
      const last = joined.at(-1);
      if (last && last.start + last.size === block.start) last.size += block.size;
      else joined.push({ ...block });
    }
    const last = joined.at(-1);
    if (last && last.start + last.size === top) {
      top = last.start;
      counts.pooled -= last.size;
      joined.pop();
    }
    blocks = joined;
  }

  /** From here on `peak` is the most since now. */
  const resetPeak = () => void (counts.peak = counts.allocated);
  return { alloc, free, counts, resetPeak };
}

/**
 * @param {number} value
 * @param {number} step
 */
export function roundUp(value, step) {
  return Math.ceil(value / step) * step;
}
