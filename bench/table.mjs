// results.json -> markdown. Also: node bench/table.mjs [results.json]
import fs from "node:fs";
const f3 = (v) => (v == null || Number.isNaN(v) ? "" : v >= 1000 ? v.toFixed(0) : v.toPrecision(3));
const times = (v) => `${v.toPrecision(3)}×`;
const percent = (v) => `${(100 * v).toFixed(0)} %`;
/** The mode that a workload is judged by. */
export const main = (w) => (w.kind === "op" ? "res" : "lat");

/** A share of the machine's limit: of the multiply-adds where a workload counts operations, else of the copy. */
export function share(R, w, system, limits) {
  const [id, unit] = w.flops ? ["limit-fma", "flops"] : w.bytes ? ["limit-copy", "bytes"] : [];
  const limit = id && R.workloads[id];
  const ms = w.systems[system]?.[main(w)]?.ms;
  const best = Math.min(...limits.map((s) => limit?.systems[s]?.res?.ms ?? Infinity));
  if (!ms || !Number.isFinite(best)) return "";
  return percent(w[unit] / ms / (limit[unit] / best));
}

/**
 * Our columns against the best peer on the same device, and against the machine's limits.
 * @returns {string[]} lines
 */
function ratios(R, ids) {
  const out = [];
  const facts = (s) => R.systems[s] ?? {};
  for (const own of ids.filter((s) => facts(s).ours)) {
    const { device, threads = 1 } = facts(own);
    const on = (s) => facts(s).device === device;
    const peers = ids.filter((s) => on(s) && !facts(s).ours);
    const alike = peers.filter((s) => (facts(s).threads ?? 1) <= threads);
    const limits = Object.keys(R.systems).filter(
      (s) => facts(s).limit && on(s) && (facts(s).threads ?? 1) <= threads,
    );
    const columns = [];
    if (alike.length < peers.length)
      columns.push([`best peer, ${threads} thread${threads > 1 ? "s" : ""}`, alike]);
    if (peers.length) columns.push(["best peer", peers]);
    if (!columns.length && !limits.length) continue;
    const titles = [...columns.map(([title]) => title), ...(limits.length ? ["of the limit"] : [])];
    out.push(
      `## ${own}: how many times faster than the peers`,
      "",
      `| workload | ${titles.join(" | ")} |`,
      `|---|${titles.map(() => "--:").join("|")}|`,
    );
    for (const [id, w] of Object.entries(R.workloads)) {
      const ms = w.systems[own]?.[main(w)]?.ms;
      if (!ms) continue;
      const cells = columns.map(([, among]) => {
        const found = among
          .map((s) => [w.systems[s]?.[main(w)]?.ms, s])
          .filter(([v]) => v)
          .sort(([a], [b]) => a - b)[0];
        return found ? `${times(found[0] / ms)} (${found[1]})` : "alone";
      });
      if (limits.length) cells.push(share(R, w, own, limits));
      out.push(`| ${id} | ${cells.join(" | ")} |`);
    }
    out.push("");
  }
  return out;
}

/** What the machine did at most. @returns {string[]} lines */
function limitLines(R) {
  const out = [];
  for (const [id, w] of Object.entries(R.workloads))
    for (const [s, r] of Object.entries(w.systems)) {
      if (!R.systems[s]?.limit || !r.res) continue;
      const amount = (w.flops ?? w.bytes) / r.res.ms / 1e6;
      const note = r.note ? ` (${r.note})` : "";
      out.push(`| ${id} | ${s}${note} | ${f3(amount)} ${w.flops ? "GFLOP/s" : "GB/s"} |`);
    }
  if (!out.length) return [];
  return [
    "## The machine's limits",
    "",
    "| limit | where | reached |",
    "|---|---|--:|",
    ...out,
    "",
  ];
}

/**
 * @param {any} R what run.mjs writes
 * @returns {string} markdown
 */
export function table(R) {
  const measured = Object.values(R.workloads).flatMap((w) =>
      Object.keys(w.systems).filter((s) => w.systems[s].res || w.systems[s].lat),
    ),
    ids = Object.keys(R.systems).length
      ? [...new Set(measured)].filter((s) => !R.systems[s]?.limit)
      : Object.keys(R.cold),
    out = [];
  const m = R.meta;
  out.push(
    `# tabgrad and its peers in headless Chromium ${m.chromium}`,
    "",
    `${m.cores} cores (${m.cpu?.replace(/\(R\)/g, "")}); ${m.rounds} interleaved rounds of ${m.budgetMs} ms per system; medians; started ${m.started}. WebGPU columns run on the adapter named in README.md (by default SwiftShader, a software device: use them for ratios between webgpu columns only).`,
    "",
  );
  const head = (t) =>
    out.push(
      `## ${t}`,
      "",
      `| workload | ${ids.join(" | ")} |`,
      `|---|${ids.map(() => "--:").join("|")}|`,
    );
  out.push(...limitLines(R), ...ratios(R, ids));
  const rows = (mode, keep) => {
    for (const [id, w] of Object.entries(R.workloads)) {
      if (w.group === "limits" || !keep(w)) continue;
      const best = Math.min(...ids.map((s) => w.systems[s]?.[mode]?.ms ?? Infinity));
      if (!Number.isFinite(best)) continue;
      out.push(
        `| ${id} | ${ids
          .map((s) => {
            const r = w.systems[s];
            if (!r) return "";
            const v = r[mode]?.ms;
            if (v == null) return r.fail ? "no" : "–";
            const g = w.flops
              ? ` (${f3(w.flops / v / 1e6)})`
              : w.bytes && w.kind === "op"
                ? ` [${f3(w.bytes / v / 1e6)}]`
                : "";
            return v === best ? `**${f3(v)}**${g}` : f3(v) + g;
          })
          .join(" | ")} |`,
      );
    }
    out.push("");
  };
  if (Object.keys(R.workloads).length) {
    head("Ops, operands and result resident: ms per run (GFLOP/s) or [GB/s]");
    rows("res", (w) => w.kind === "op");
    head("The same ops, one run and the awaited read of the whole result: ms");
    rows("lat", (w) => w.kind === "op");
    head("Nets, training steps and overhead: ms with the awaited result each run (GFLOP/s)");
    rows("lat", (w) => w.kind !== "op");
    head("Nets and training steps, several runs then one synchronisation: ms per run");
    rows("res", (w) => w.kind !== "op");
    out.push(
      "## Noise",
      "",
      "Spread of the per-round medians, (max-min)/median, of the main figure; the median over systems.",
      "",
      "| workload | spread |",
      "|---|--:|",
    );
    for (const [id, w] of Object.entries(R.workloads)) {
      const sp = ids
        .map((s) => {
          const r = w.systems[s],
            q = r?.[main(w)]?.rounds;
          return q?.length > 1
            ? (Math.max(...q) - Math.min(...q)) / [...q].sort((a, b) => a - b)[q.length >> 1]
            : null;
        })
        .filter((v) => v != null)
        .sort((a, b) => a - b);
      if (sp.length) out.push(`| ${id} | ${(sp[sp.length >> 1] * 100).toFixed(0)}% |`);
    }
    out.push("", "## Not done", "");
    for (const s of ids) {
      const by = {};
      for (const [id, w] of Object.entries(R.workloads))
        if (w.systems[s]?.fail) (by[w.systems[s].fail] ??= []).push(id);
      for (const k in by) out.push(`- ${s}: ${by[k].join(", ")}: ${k}`);
    }
    const notes = {};
    for (const [id, w] of Object.entries(R.workloads))
      for (const s of ids)
        if (w.systems[s]?.note) (notes[`${s}: ${w.systems[s].note}`] ??= []).push(id);
    if (Object.keys(notes).length) {
      out.push("", "## Notes", "");
      for (const n in notes) out.push(`- ${n} (${notes[n].join(", ")})`);
    }
    out.push("");
  }
  if (Object.keys(R.cold).length) {
    out.push(
      "## Cold start (small CNN, batch 1, fresh browser, served from localhost)",
      "",
      "| system | page start to first result, ms | MB loaded (raw) | MB loaded (gzip -9) |",
      "|---|--:|--:|--:|",
    );
    for (const [s, c] of Object.entries(R.cold))
      out.push(
        `| ${s} | ${c.firstResultMs?.toFixed(0) ?? "failed: " + c.err} | ${(c.raw / 1e6).toFixed(2)} | ${(c.gz / 1e6).toFixed(2)} |`,
      );
  }
  return out.join("\n") + "\n";
}
if (process.argv[1]?.endsWith("table.mjs")) {
  const file = process.argv[2] ?? new URL("../.cache/bench/results.json", import.meta.url);
  process.stdout.write(table(JSON.parse(fs.readFileSync(file, "utf8"))));
}
