// The driver; `make bench ARGS="…"` installs what it needs and starts it. README.md has the options.
import { chromium } from "playwright-core";
import fs from "node:fs";
import path from "node:path";
import crypto from "node:crypto";
import os from "node:os";
import zlib from "node:zlib";
import { fileURLToPath } from "node:url";
import { serve } from "./lib/server.mjs";
import { workloads } from "./lib/spec.js";
import { reference } from "./lib/reference.js";
import { systems } from "./systems.mjs";
import { table } from "./table.mjs";
const ROOT = path.dirname(fileURLToPath(import.meta.url)),
  CACHE = path.join(ROOT, "../.cache/bench"),
  argv = process.argv.slice(2),
  flag = (n) => argv.includes("--" + n),
  opt = (n, d) => {
    const i = argv.indexOf("--" + n);
    return i < 0 ? d : argv[i + 1];
  };
const OPTIONS = "quick check merge no-hot no-cold no-favour".split(" "),
  WITH_VALUE = "rounds budget out only systems patience extra".split(" ");
for (let i = 0; i < argv.length; i++) {
  const name = argv[i].slice(2);
  if (argv[i].startsWith("--") && OPTIONS.includes(name)) continue;
  if (argv[i].startsWith("--") && WITH_VALUE.includes(name) && i + 1 < argv.length) i++;
  else {
    const all = [...OPTIONS, ...WITH_VALUE.map((o) => o + " …")].map((o) => "--" + o);
    console.error(`bench: ${argv[i]} is no option; there are ${all.join(", ")}`);
    process.exit(2);
  }
}
const quick = flag("quick"),
  ROUNDS = +opt("rounds", quick ? 2 : 5),
  BUDGET = +opt("budget", quick ? 120 : 300),
  OUT = path.resolve(opt("out", path.join(CACHE, "results.json")));
const only = opt("only")?.split(","),
  sysOnly = opt("systems")?.split(","),
  PATIENCE = 1000 * +opt("patience", 120), // seconds for one preparation
  SLOW = 400;
const wl = workloads.filter((w) => !only || only.some((o) => w.id === o || w.group === o)),
  sys = [
    ...systems.filter((s) => !sysOnly || sysOnly.includes(s.id)),
    ...JSON.parse(opt("extra", "[]")),
  ];
if (!wl.length || !sys.length) {
  console.error(`bench: no ${wl.length ? "system" : "workload"} of that name`);
  process.exit(2);
}
const EXE =
  process.env.CHROMIUM ??
  ["chromium", "chromium-browser", "google-chrome", "chrome"]
    .flatMap((n) => (process.env.PATH ?? "").split(path.delimiter).map((d) => path.join(d, n)))
    .find((f) => fs.existsSync(f));
const ARGS = [
  "--no-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-background-timer-throttling",
  "--disable-renderer-backgrounding",
  "--disable-backgrounding-occluded-windows",
  "--enable-unsafe-webgpu",
  ...(process.env.GPU_ARGS ?? "--use-webgpu-adapter=swiftshader").split(" ").filter(Boolean),
];
// Linux shares the processor between groups of processes first (autogroups), so a busy neighbour would take a core
// from every two-thread figure; where it is allowed (root), the browser's own group gets a larger share.
function favour() {
  try {
    const all = fs.readdirSync("/proc").filter((d) => /^\d+$/.test(d)),
      st = new Map();
    for (const d of all)
      try {
        const m = /\) \S (\d+) \d+ (\d+)/.exec(fs.readFileSync(`/proc/${d}/stat`, "utf8"));
        st.set(+d, { ppid: +m[1], sid: +m[2] });
      } catch {}
    const mine = (p) => {
      for (let i = 0; p > 1 && i < 20; i++) {
        if (p === process.pid) return true;
        p = st.get(p)?.ppid;
      }
      return false;
    };
    const sids = new Set([...st].filter(([p]) => mine(p)).map(([, v]) => v.sid));
    for (const s of sids) if (mine(s)) fs.writeFileSync(`/proc/${s}/autogroup`, "-15");
  } catch {}
}
const launch = async () => {
  const b = await chromium.launch({ executablePath: EXE, args: ARGS, timeout: 60000 });
  if (!flag("check") && !flag("no-favour")) favour(); // a check takes no share from others
  return b;
};
const within = (p, ms, what) => {
  let t;
  return Promise.race([
    p,
    new Promise((_, no) => {
      t = setTimeout(() => no(new Error(`timeout after ${ms} ms: ${what}`)), ms);
    }),
  ]).finally(() => clearTimeout(t));
};
const median = (a) => {
  const s = [...a].sort((x, y) => x - y),
    n = s.length;
  return n ? (n % 2 ? s[n >> 1] : (s[n / 2 - 1] + s[n / 2]) / 2) : NaN;
};
const quant = (a, q) => {
  const s = [...a].sort((x, y) => x - y);
  return s[Math.min(s.length - 1, Math.floor(q * s.length))];
};

// References are kept until the text that defines them changes.
const sources = ["spec.js", "reference.js"].map((f) => fs.readFileSync(path.join(ROOT, "lib", f)));
const REFS = path.join(
  CACHE,
  "refs-" + crypto.createHash("sha256").update(Buffer.concat(sources)).digest("hex").slice(0, 12),
);
fs.mkdirSync(REFS, { recursive: true });
for (const w of wl) {
  const f = path.join(REFS, w.id + ".f32");
  if (!fs.existsSync(f)) {
    process.stderr.write(`reference ${w.id}\n`);
    fs.writeFileSync(f, Buffer.from(Float32Array.from(reference(w)).buffer));
  }
}
const FOLDERS = {
  "/": ROOT,
  "/refs/": REFS,
  "/pyodide/": path.join(ROOT, "../.cache/dist"),
  "/wheel/": path.join(CACHE, "wheel"),
};
const wheel = fs.existsSync(FOLDERS["/wheel/"])
  ? fs.readdirSync(FOLDERS["/wheel/"]).find((f) => /^tabgrad-.*\.whl$/.test(f))
  : null;
for (const s of sys) if (s.module === "tabgrad") s.cfg = { ...s.cfg, wheel: `/wheel/${wheel}` };
const srv = await serve(FOLDERS),
  pageUrl = (s, extra = "", base = srv.url) =>
    `${base}/lib/page.html?module=${s.module}&cfg=${encodeURIComponent(JSON.stringify(s.cfg))}${extra}`;
const started = new Date().toISOString(),
  t00 = performance.now();
const results = {
  meta: {
    started,
    chromium: null,
    cpu: os.cpus()[0]?.model,
    cores: os.cpus().length,
    rounds: ROUNDS,
    budgetMs: BUDGET,
    versions: JSON.parse(fs.readFileSync(path.join(ROOT, "package.json"))).dependencies,
  },
  systems: {},
  workloads: {},
  cold: {},
};
if (flag("merge") && fs.existsSync(OUT)) {
  const old = JSON.parse(fs.readFileSync(OUT));
  Object.assign(results.systems, old.systems);
  Object.assign(results.workloads, old.workloads);
  Object.assign(results.cold, old.cold);
  (results.meta.mergedInto ??= []).push(old.meta.started);
}
const save = () => {
  if (flag("check")) return;
  results.meta.minutes = (performance.now() - t00) / 60000;
  fs.writeFileSync(OUT, JSON.stringify(results, null, 1));
  fs.writeFileSync(OUT.replace(/\.json$/, ".md"), table(results));
};
const wrong = []; // our own wrong results
const say = (s) => process.stderr.write(s + "\n");

// ---- hot: every system in its own tab of one browser, interleaved per workload ----
let browser = await launch();
results.meta.chromium = browser.version();
const pages = {};
async function open(s) {
  const ctx = await browser.newContext(),
    pg = await ctx.newPage();
  pg.setDefaultTimeout(60000);
  pg.on("pageerror", (e) => say(`[${s.id}] ${e.message.slice(0, 200)}`));
  pg.on("crash", () => say(`[${s.id}] page crashed`));
  if (process.env.DEBUG_PAGES) pg.on("console", (m) => say(`[${s.id}] ${m.text().slice(0, 300)}`));
  await pg.goto(pageUrl(s));
  await pg.waitForFunction(() => window.READY, null, { timeout: 30000 });
  pages[s.id] = { pg, ctx };
  const starting = pg.evaluate(() => H.init());
  const info = await within(starting, PATIENCE, "init");
  const { device, threads, ours, limit } = s;
  results.systems[s.id] ??= { info, device, threads, ours, limit };
  return pages[s.id];
}
async function call(s, ms, fn, args) {
  try {
    const p = pages[s.id] ?? (await open(s));
    return await within(p.pg.evaluate(fn, args), ms, s.id);
  } catch (e) {
    if (/timeout|crash|closed|Target/i.test(e.message)) {
      const p = pages[s.id];
      delete pages[s.id];
      await within(p?.ctx.close() ?? Promise.resolve(), 10000, "close").catch(() => {});
    }
    throw e;
  }
}
if (!flag("no-hot"))
  for (const w of wl) {
    const R = (results.workloads[w.id] = {
        desc: w.desc,
        group: w.group,
        kind: w.kind,
        flops: w.flops ?? null,
        bytes: w.bytes ?? null,
        systems: {},
      }),
      live = [];
    for (const s of sys) {
      if (!!s.limit !== !!w.limit) continue;
      const r = (R.systems[s.id] = {});
      if (
        w.id === "matmul-2048" &&
        results.workloads["matmul-1024"]?.systems[s.id]?.res?.ms > 1000
      ) {
        r.fail = "skipped: N=1024 took over 1 s";
        continue;
      }
      try {
        const c = await call(s, PATIENCE, (id) => H.prepare(id), w.id);
        Object.assign(r, { err: c.err, setupMs: c.setupMs, firstMs: c.firstMs, note: c.note });
        if (!c.ok) {
          if (s.ours) wrong.push(`${w.id} on ${s.id}`);
          r.fail = `wrong result: relative error ${c.err}${c.why ? ", " + c.why : ""}`;
          say(`${w.id} ${s.id}: ${r.fail}`);
          await call(s, 30000, (id) => H.dispose(id), w.id);
          continue;
        }
        live.push({
          s,
          r,
          modes: Object.entries(c.modes)
            .filter(
              ([m, on]) => on && (w.kind !== "lat" || m === "lat" || w.op === "net" || w.params),
            )
            .map(([m]) => m),
          raw: { res: [], lat: [] },
          rounds: { res: [], lat: [] },
        });
      } catch (e) {
        r.fail = e.message
          .replace(/^.*?Error: /s, "")
          .split("\n")[0]
          .slice(0, 240);
        say(`${w.id} ${s.id}: ${r.fail}`);
      }
    }
    if (flag("check")) {
      for (const L of live) await call(L.s, 30000, (id) => H.dispose(id), w.id).catch(() => {});
      say(
        `${w.id} checked: ` +
          Object.entries(R.systems)
            .map(([id, r]) => `${id} ${r.fail ? "x" : r.err.toExponential(1)}`)
            .join(" "),
      );
      continue;
    }
    const main = w.kind === "op" ? "res" : "lat";
    for (const L of live)
      for (const m of [...L.modes].sort((a, b) => (b === main) - (a === main)))
        try {
          // warm-up; a slow system keeps only its main figure
          if (L.slow) {
            L.modes = L.modes.filter((q) => q !== m);
            continue;
          }
          const t = await call(L.s, 60000, ([id, m, b]) => H.sample(id, m, b, 0, 3), [w.id, m, 60]);
          if (m === main && median(t) > SLOW) L.slow = true;
        } catch (e) {
          L.dead = e.message.split("\n")[0];
        }
    for (let k = 0; k < ROUNDS; k++)
      for (let j = 0; j < live.length; j++) {
        const L = live[(j + k) % live.length];
        if (L.dead) continue;
        for (const m of L.modes) {
          if (k >= 2 && (L.slow || L.s.id === "tfjs-cpu")) continue;
          try {
            const t = await call(L.s, 90000, ([id, m, b]) => H.sample(id, m, b), [w.id, m, BUDGET]);
            L.raw[m].push(...t);
            L.rounds[m].push(median(t));
          } catch (e) {
            L.dead = e.message.split("\n")[0];
          }
        }
      }
    for (const L of live) {
      for (const m of L.modes)
        if (L.raw[m].length)
          L.r[m] = {
            ms: median(L.raw[m]),
            p10: quant(L.raw[m], 0.1),
            p90: quant(L.raw[m], 0.9),
            n: L.raw[m].length,
            rounds: L.rounds[m].map((v) => +v.toPrecision(4)),
          };
      if (L.dead) L.r.fail = L.dead;
      try {
        await call(L.s, 30000, (id) => H.dispose(id), w.id);
      } catch {}
    }
    say(
      `${w.id.padEnd(15)} ` +
        Object.entries(R.systems)
          .map(([id, q]) => {
            return `${id} ${(q[main] ?? q.lat) ? (q[main] ?? q.lat).ms.toPrecision(3) : "x"}`;
          })
          .join(" | "),
    );
    save();
  }
await browser.close();

// ---- cold: a fresh browser per try; page start to first result of the CNN at batch 1, and what the page loaded ----
if (!flag("no-cold"))
  for (const s of sys.filter((s) => !s.limit)) {
    const tries = [],
      files = new Set();
    let err;
    for (let k = 0; k < (quick ? 1 : 5) && !err; k++) {
      const b = await launch(),
        sv = await serve(FOLDERS, { log: (f) => files.add(f) });
      try {
        const pg = await b.newPage();
        await pg.goto(pageUrl(s, "&cold=cnn-b1", sv.url));
        await pg.waitForFunction(() => window.COLD, null, { timeout: 60000 });
        const c = await pg.evaluate(() => window.COLD);
        if (c.error) err = c.error.split("\n")[0];
        else tries.push(c);
      } catch (e) {
        err = e.message.split("\n")[0];
      }
      await within(b.close(), 15000, "close").catch(() => {});
      sv.close();
    }
    const foreign = [path.join(ROOT, "node_modules"), FOLDERS["/pyodide/"], FOLDERS["/wheel/"]],
      loaded = [...files].filter((f) => foreign.some((folder) => f.startsWith(folder))),
      bytes = loaded.map((f) => {
        const d = fs.readFileSync(f);
        return { f: path.basename(f), raw: d.length, gz: zlib.gzipSync(d, { level: 9 }).length };
      });
    results.cold[s.id] = {
      firstResultMs: tries.length ? median(tries.map((t) => t.total)) : null,
      tries: tries.map((t) => Math.round(t.total)),
      err,
      raw: bytes.reduce((a, b) => a + b.raw, 0),
      gz: bytes.reduce((a, b) => a + Math.min(b.gz, b.raw), 0),
      files: bytes,
    };
    say(
      `cold ${s.id}: ${results.cold[s.id].firstResultMs?.toFixed(0)} ms, ${(results.cold[s.id].gz / 1e6).toFixed(2)} MB gz ${err ?? ""}`,
    );
    save();
  }
srv.close();
save();
if (!flag("check")) say(`wrote ${OUT} in ${results.meta.minutes.toFixed(1)} min`);
if (wrong.length) say(`wrong results of ours: ${wrong.join(", ")}`);
process.exit(wrong.length ? 1 : 0);
