// Static server of a few folders, with cross-origin isolation (threads need it); remembers which files each page asked for.
import http from "node:http";
import fs from "node:fs";
import path from "node:path";
const TYPES = {
  ".html": "text/html",
  ".mjs": "text/javascript",
  ".js": "text/javascript",
  ".wasm": "application/wasm",
  ".json": "application/json",
};
/**
 * @param {Record<string, string>} folders URL prefix, with slashes at both ends, to folder; "/" is the last resort
 * @param {{ log?: (file: string) => void }} [options] `log` gets the path of each file that is sent
 * @returns {Promise<{ url: string, close: () => void }>}
 */
export function serve(folders, { log } = {}) {
  const prefixes = Object.keys(folders).sort((a, b) => b.length - a.length);
  const find = (/** @type {string} */ url) => {
    const prefix = prefixes.find((q) => url.startsWith(q));
    const file = prefix && path.join(folders[prefix], url.slice(prefix.length));
    const inside = file?.startsWith(folders[prefix]) && fs.existsSync(file);
    return inside && fs.statSync(file).isFile() ? file : null;
  };
  return new Promise((done) => {
    const srv = http
      .createServer((q, r) => {
        const p = find(
          path.posix.normalize(decodeURIComponent(new URL(q.url, "http://x").pathname)),
        );
        r.setHeader("Cross-Origin-Opener-Policy", "same-origin");
        r.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
        r.setHeader("Cross-Origin-Resource-Policy", "same-origin");
        if (!p) {
          r.statusCode = 404;
          r.end();
          return;
        }
        r.setHeader("content-type", TYPES[path.extname(p)] ?? "application/octet-stream");
        r.setHeader("content-length", fs.statSync(p).size);
        r.setHeader("cache-control", "max-age=3600");
        log?.(p);
        fs.createReadStream(p).pipe(r);
      })
      .listen(0, "127.0.0.1", () =>
        done({ url: `http://127.0.0.1:${srv.address().port}`, close: () => srv.close() }),
      );
  });
}
