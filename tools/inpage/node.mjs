// Runs one job under node: node node.mjs job.json DESCRIPTOR [--gpu]
// Reports are JSON lines on the given file descriptor; inpage_job.py starts this and reads them.
import { readFileSync, writeSync } from "node:fs";
import { loadPyodide } from "pyodide";
import { runJob } from "./job.mjs";

const [file, descriptor, ...flags] = process.argv.slice(2);
const report = (message) => writeAll(Number(descriptor), JSON.stringify(message) + "\n");

function writeAll(fd, text) {
  const bytes = new TextEncoder().encode(text);
  for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done);
}

if (flags.includes("--gpu")) {
  const { create, globals } = await import("webgpu");
  Object.assign(globalThis, globals);
  globalThis.navigator ??= { userAgent: "node" }; // node 20 has none, and Pyodide reads it
  Object.defineProperty(globalThis.navigator, "gpu", { value: create([]) });
}
const job = JSON.parse(readFileSync(file, "utf8"));
report({
  done: await runJob(loadPyodide, job, (path) => new Uint8Array(readFileSync(path)), report),
});
process.exit(0); // an open GPU device would keep node alive
