// Files from the network: whole, or ranges of them handed on piece by piece.

import { named, readable } from "./format.js";

const PIECE = 4 << 20; // bytes handed on at once, a multiple of every element size
const TRIES = 3;

/** @typedef {(done: number, total: number) => void} Progress total is 0 where it is unknown */

/**
 * @typedef {object} Target
 * @property {number} offset
 * @property {number} nbytes
 * @property {(data: Uint8Array, at: number) => void} put bytes of this target from `at` on
 */

/**
 * @param {string} url
 * @param {number} [start]
 * @param {number} [end] 0: to the end
 * @param {Progress} [progress]
 */
export async function fetchBytes(url, start = 0, end = 0, progress) {
  const response = await request(url, start, end);
  const skip = response.status === 206 ? 0 : start;
  const announced = response.headers.get("content-encoding")
    ? 0
    : Number(response.headers.get("content-length"));
  const total = end ? end - start : Math.max(announced - skip, 0);
  /** @type {Uint8Array[]} */
  const chunks = [];
  let seen = -skip;
  for await (const chunk of chunksOf(response, url)) {
    const fresh = seen < 0 ? chunk.subarray(Math.min(-seen, chunk.length)) : chunk;
    seen += chunk.length;
    const wanted = end && seen > total ? fresh.subarray(0, fresh.length - (seen - total)) : fresh;
    chunks.push(wanted);
    progress?.(Math.min(Math.max(seen, 0), total || seen), total);
    if (end && seen >= total) break;
  }
  if (seen < total) throw truncated(url, seen, total);
  const all = new Uint8Array(chunks.reduce((n, chunk) => n + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

/**
 * Reads the file once, in order, and hands each target its bytes; a broken connection is taken up again where it broke.
 * @param {string} url
 * @param {Target[]} parts in any order, not overlapping
 * @param {Progress} [progress]
 */
export async function stream(url, parts, progress) {
  const targets = parts.filter((part) => part.nbytes > 0).sort((a, b) => a.offset - b.offset);
  if (!targets.length) return;
  for (let i = 1; i < targets.length; i++)
    if (targets[i].offset < targets[i - 1].offset + targets[i - 1].nbytes)
      throw new Error(`${url}: the ranges to read overlap at byte ${targets[i].offset}`);
  const end = targets[targets.length - 1].offset + targets[targets.length - 1].nbytes;
  const first = targets[0].offset;
  const sorted = sorter(targets);
  for (let attempt = 1; ; attempt++) {
    try {
      // From the first byte on no range is asked for: not every server and proxy knows them.
      const response = await request(url, sorted.at(), sorted.at() ? end : 0);
      let at = response.status === 206 ? sorted.at() : 0;
      for await (const chunk of chunksOf(response, url)) {
        sorted.take(chunk, at);
        at += chunk.length;
        progress?.(Math.max(sorted.at() - first, 0), end - first);
        if (at >= end) break;
      }
      if (sorted.at() < end) throw truncated(url, sorted.at(), end);
      return;
    } catch (error) {
      const broken = ["NetworkError", "Truncated"].includes(/** @type {Error} */ (error).name);
      if (!broken || attempt === TRIES) throw error;
    }
  }
}

/**
 * Sends the bytes of a file to the targets they belong to.
 * @param {Target[]} targets in order
 */
function sorter(targets) {
  let index = 0;
  let done = 0; // bytes of the current target that were put or are held
  let held = 0;
  const piece = new Uint8Array(Math.min(PIECE, Math.max(...targets.map((t) => t.nbytes))));

  const at = () =>
    index < targets.length
      ? targets[index].offset + done
      : targets[targets.length - 1].offset + targets[targets.length - 1].nbytes;

  function flush() {
    if (held) targets[index].put(piece.subarray(0, held), done - held);
    held = 0;
  }

  /**
   * @param {Uint8Array} chunk
   * @param {number} from its place in the file
   */
  function take(chunk, from) {
    while (index < targets.length) {
      const start = at() - from;
      if (start >= chunk.length) return;
      if (start < 0) throw new Error("bytes of a file arrived out of order");
      const target = targets[index];
      const n = Math.min(chunk.length - start, target.nbytes - done, piece.length - held);
      piece.set(chunk.subarray(start, start + n), held);
      held += n;
      done += n;
      if (held === piece.length || done === target.nbytes) flush();
      if (done === target.nbytes) {
        index++;
        done = 0;
      }
    }
  }

  return { at, take };
}

/**
 * An address as the page would read it: a worker's own is that of its script.
 * @param {string} url
 */
function absolute(url) {
  const base = /** @type {any} */ (globalThis).__tabgrad_base ?? globalThis.location?.href;
  return base && URL.canParse(url, base) ? new URL(url, base).href : url;
}

/**
 * @param {string} url
 * @param {number} start
 * @param {number} end 0: to the end
 */
async function request(url, start, end) {
  /** @type {Record<string, string>} */
  const headers = start || end ? { Range: `bytes=${start}-${end ? end - 1 : ""}` } : {};
  let response;
  try {
    response = await fetch(absolute(url), { headers });
  } catch (error) {
    const { message } = /** @type {Error} */ (error);
    throw named("NetworkError", `${url} could not be fetched: ${message}`);
  }
  if (!response.ok) {
    const words = `${response.status} ${response.statusText}`.trim();
    const name = response.status === 404 ? "NotFound" : "HttpError";
    throw named(name, `${url} could not be fetched: the server answered ${words}`);
  }
  return response;
}

/**
 * @param {Response} response
 * @param {string} url
 */
async function* chunksOf(response, url) {
  const reader = response.body?.getReader();
  if (!reader) return;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } catch (error) {
    const { message } = /** @type {Error} */ (error);
    throw named("NetworkError", `${url}: the connection broke: ${message}`);
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * @param {string} url
 * @param {number} got
 * @param {number} wanted
 */
function truncated(url, got, wanted) {
  return named("Truncated", `${url} ends early: ${readable(got)} of ${readable(wanted)} arrived`);
}
