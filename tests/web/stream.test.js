import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { fetchBytes, stream } from "../../web/stream.js";

const FILE = Uint8Array.from({ length: 100000 }, (_, k) => (k * 7 + (k >> 8)) & 255);
const seen = [];
let server, base, cuts;

before(async () => {
  server = createServer((request, response) => {
    seen.push(request.headers.range ?? "all");
    const name = request.url.slice(1);
    const range = /bytes=(\d+)-(\d*)/.exec(request.headers.range ?? "");
    if (name === "missing") return response.writeHead(404).end();
    const from = range && name !== "norange" ? Number(range[1]) : 0;
    const to = range && name !== "norange" && range[2] ? Number(range[2]) + 1 : FILE.length;
    const body = FILE.subarray(from, to);
    response.writeHead(from || to < FILE.length ? 206 : 200, { "content-length": body.length });
    if (name === "broken" && cuts-- > 0) {
      response.write(body.subarray(0, 30000));
      return setTimeout(() => response.destroy(), 20);
    }
    response.end(body);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  base = `http://127.0.0.1:${server.address().port}/`;
});
after(() => server.close());

function targets(...ranges) {
  return ranges.map(([offset, nbytes]) => {
    const bytes = new Uint8Array(nbytes);
    return { offset, nbytes, bytes, put: (data, at) => bytes.set(data, at) };
  });
}

const right = ({ offset, nbytes, bytes }) =>
  assert.deepEqual(bytes, FILE.slice(offset, offset + nbytes));

test("a whole file, and a part of one", async () => {
  const steps = [];
  const all = await fetchBytes(base + "file", 0, 0, (...step) => steps.push(step));
  assert.deepEqual(all, FILE);
  assert.deepEqual(steps.at(-1), [FILE.length, FILE.length]);
  for (const name of ["file", "norange"])
    assert.deepEqual(await fetchBytes(base + name, 500, 70000), FILE.slice(500, 70000));
});

test("ranges go to their targets, in any order, with or without range requests", async () => {
  for (const name of ["file", "norange"]) {
    const parts = targets([60000, 12345], [100, 1], [101, 40000], [7, 0]);
    const steps = [];
    await stream(base + name, parts, (done, total) => steps.push([done, total]));
    parts.forEach(right);
    assert.deepEqual(steps.at(-1), [72245, 72245]);
  }
});

test("a broken connection is taken up where it broke", async () => {
  cuts = 2;
  seen.length = 0;
  const parts = targets([0, 50000], [50000, 50000]);
  await stream(base + "broken", parts);
  parts.forEach(right);
  assert.deepEqual(seen.slice(1), ["bytes=30000-99999", "bytes=60000-99999"]);
  cuts = 9;
  await assert.rejects(stream(base + "broken", targets([0, 100000])), { name: "NetworkError" });
  cuts = 0;
});

test("what is missing or too short says so", async () => {
  const missing = { name: "NotFound", message: /missing .*404/ };
  await assert.rejects(fetchBytes(base + "missing"), missing);
  await assert.rejects(stream(base + "missing", targets([0, 10])), missing);
  const short = { name: "Truncated", message: /ends early/ };
  await assert.rejects(stream(base + "file", targets([99000, 2000])), short);
  await assert.rejects(fetchBytes(base + "file", 99000, 101000), short);
  await assert.rejects(fetchBytes("http://127.0.0.1:1/x"), { name: "NetworkError" });
  await assert.rejects(stream(base + "file", targets([0, 10], [5, 10])), /overlap/);
});
