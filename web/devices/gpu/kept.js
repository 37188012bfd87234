// A text kept from visit to visit, in pages and workers: the Cache API holds it as a response. Where there is none (Node,
// a frame without an origin) nothing is kept.

const CACHE = "tabgrad";

/** @param {string} name */
const address = (name) => `https://tabgrad.invalid/${encodeURIComponent(name)}`;

/** @param {string} name */
export async function recall(name) {
  try {
    const found = await caches.match(address(name), { cacheName: CACHE });
    return found ? await found.text() : "";
  } catch {
    return "";
  }
}

/**
 * @param {string} name
 * @param {string} text
 */
export async function keep(name, text) {
  try {
    const cache = await caches.open(CACHE);
    await cache.put(address(name), new Response(text));
  } catch {
    // the browser forbids it, or is full
  }
}
