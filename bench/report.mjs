// results.json → docs/performance.md: our columns against the best peer, the targets, the machine's limits.
//   node bench/report.mjs [results.json]      `make bench ARGS="--docs"` does it after measuring
import fs from "node:fs";
import { main, share, table } from "./table.mjs";

/** What we want to reach: how many times faster than the best peer. A workload's id or group → per device. */
const TARGETS = {
  matmul: { "wasm-1": 1.25, "wasm-2": 1.2, webgpu: 1.3 },
  conv2d: { "wasm-1": 1.15, "wasm-2": 1.15, webgpu: 1.3 },
  softmax: { "wasm-1": 1.3, "wasm-2": 1.3, webgpu: 1.5 },
  layernorm: { "wasm-1": 1.3, "wasm-2": 1.3, webgpu: 1.5 },
  memory: { "wasm-1": 2, "wasm-2": 2, webgpu: 1.5 },
  nets: { "wasm-1": 1.3, "wasm-2": 1.3, webgpu: 1.5 },
  "mlp-train": { "wasm-1": 1.3, "wasm-2": 1.3, webgpu: 1.5 },
  "cnn-train": { "wasm-1": 10, "wasm-2": 10, webgpu: 3 },
  "dispatch-graph": { "wasm-1": 1, webgpu: 1 },
};

const TITLES = {
  "wasm-1": "WebAssembly, one thread",
  "wasm-2": "WebAssembly, two threads",
  webgpu: "WebGPU",
};

const number = (v) => (v >= 1000 ? v.toFixed(0) : v.toPrecision(3));

/**
 * The columns that are compared: ours (plain and compiled), and the peers with at most as many threads.
 * @param {any} R
 * @param {string} where "wasm-1", "wasm-2" or "webgpu"
 */
function columns(R, where) {
  const [device, threads] = [where.split("-")[0], Number(where.split("-")[1] ?? 1)];
  const on = Object.entries(R.systems).filter(([, s]) => s.device === device);
  const ours = on.filter(([, s]) => s.ours && (s.threads ?? 1) === threads).map(([id]) => id);
  const peers = on.filter(([, s]) => !s.ours && !s.limit && (s.threads ?? 1) <= threads);
  const limits = on.filter(([, s]) => s.limit && (s.threads ?? 1) <= threads).map(([id]) => id);
  return { ours, peers: peers.map(([id]) => id), limits };
}

/** The fastest of some systems at a workload. */
function fastest(w, systems) {
  const found = systems.map((s) => ({ s, ms: w.systems[s]?.[main(w)]?.ms })).filter((f) => f.ms);
  return found.sort((a, b) => a.ms - b.ms)[0];
}

/** @returns {string[]} a table: one line per workload */
function against(R, where) {
  const { ours, peers, limits } = columns(R, where);
  const lines = [];
  for (const [id, w] of Object.entries(R.workloads)) {
    const own = fastest(w, ours);
    if (w.group === "limits" || !own) continue;
    const peer = fastest(w, peers);
    const ratio = peer ? peer.ms / own.ms : null;
    const target = (TARGETS[id] ?? TARGETS[w.group])?.[where];
    const met = ratio == null || !target ? "" : ratio >= target ? "yes" : "**no**";
    const name = own.s.endsWith("-compiled") ? " (compiled)" : "";
    const cells = [
      id,
      number(own.ms) + name,
      peer ? `${number(peer.ms)} (${peer.s})` : "nobody",
      ratio ? `${ratio.toFixed(2)}×` : "",
      target ? `${target}×` : "",
      met,
      limits.length ? share(R, w, own.s, limits) : "",
    ];
    lines.push(`| ${cells.join(" | ")} |`);
  }
  if (!lines.length) return [];
  return [
    `## ${TITLES[where]}`,
    "",
    "| workload | tabgrad, ms | best peer, ms | times faster | target | reached | of the limit |",
    "|---|--:|--:|--:|--:|--:|--:|",
    ...lines,
    "",
  ];
}

/** @returns {string[]} what `bench/costs.py` measured */
function costs(found) {
  if (!found) return [];
  const lines = Object.entries(found).map(([what, value]) => `| ${what} | ${value} |`);
  return ["## Python, memory, start", "", "| | measured |", "|---|--:|", ...lines, ""];
}

/**
 * @param {any} R what run.mjs writes
 * @param {Record<string, string> | null} found what bench/costs.py printed
 */
export function report(R, found) {
  const all = table(R)
    .replace(/^# .*\n/, "## All figures\n")
    .replaceAll(/^## (?!All)/gm, "### ");
  return [
    "# Performance",
    "",
    "Written by `make bench ARGS=--docs`; nothing here is typed in. How it is measured: [bench/README.md](../bench/README.md). Ours is what a user's",
    "Python does in Pyodide, plain or (compiled) through `torch.compile`, whichever is faster; the best peer is the fastest of onnxruntime-web, TensorFlow.js,",
    "jax-js and numpy with at most as many threads, in the same run. The limit is a loop of multiply-adds, or a copy, measured in that run, too.",
    "WebGPU here is a software adapter: its ratios say how the work is divided, not what a graphics card does.",
    "",
    ...["wasm-1", "wasm-2", "webgpu"].flatMap((where) => against(R, where)),
    ...costs(found),
    all,
  ].join("\n");
}

if (process.argv[1]?.endsWith("report.mjs")) {
  const here = (/** @type {string} */ name) => new URL(name, import.meta.url);
  const file = process.argv[2] ?? here("../.cache/bench/results.json");
  const found = here("../.cache/bench/costs.json");
  const read = (/** @type {any} */ name) => JSON.parse(fs.readFileSync(name, "utf8"));
  const text = report(read(file), fs.existsSync(found) ? read(found) : null);
  fs.writeFileSync(here("../docs/performance.md"), text);
}
