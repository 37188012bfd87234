// The page side: loads one system (?module=...&cfg=...), prepares, checks and times workloads on the driver's request.
import { byId, makeInputs } from "./spec.js";
const q = new URLSearchParams(location.search),
  cfg = JSON.parse(q.get("cfg") ?? "{}");
if (q.has("cold")) cfg.cold = true;
const mod = await import(`/systems/${q.get("module")}.js`);
const state = new Map();
const isP = (v) => v && typeof v.then === "function";
let info;
async function init() {
  return (info ??= await mod.init(cfg));
}

function toNCHW(a, [n, c, h, w]) {
  const o = new Float32Array(a.length);
  let i = 0;
  for (let b = 0; b < n; b++)
    for (let y = 0; y < h; y++)
      for (let x = 0; x < w; x++)
        for (let k = 0; k < c; k++) o[((b * c + k) * h + y) * w + x] = a[i++];
  return o;
}
function compare(got, ref, tol) {
  if (got.length !== ref.length)
    return { ok: false, err: Infinity, why: `length ${got.length}, expected ${ref.length}` };
  let m = 0,
    e = 0;
  for (let i = 0; i < ref.length; i++) {
    const a = Math.abs(ref[i]);
    if (a > m) m = a;
    const d = Math.abs(got[i] - ref[i]);
    if (!(d <= e)) e = d;
  }
  const err = e / (m || 1);
  return { ok: err <= tol, err };
}
async function one(p) {
  let h = p.run();
  if (isP(h)) h = await h;
  return h;
}

window.H = {
  init,
  async prepare(id) {
    await init();
    const w = byId(id);
    if (state.has(id)) await H.dispose(id);
    const t0 = performance.now(),
      p = await mod.prepare(w, makeInputs(w), cfg),
      t1 = performance.now();
    w.out ??= [1];
    let got;
    if (p.check) got = await p.check();
    else {
      const h = await one(p);
      got = await p.read(h);
      await p.free?.(h);
    }
    const t2 = performance.now();
    if (p.layout === "nhwc") got = toNCHW(got, w.out);
    const ref = new Float32Array(await (await fetch(`/refs/${id}.f32`)).arrayBuffer());
    const c = compare(got, ref, w.tol);
    if (p.checkRes) {
      const v = await p.checkRes(),
        d = compare(v, ref.slice(0, v.length), w.tol);
      if (!d.ok) {
        c.ok = false;
        c.why = `resident variant off by ${d.err}`;
      }
    }
    state.set(id, p);
    return {
      ...c,
      setupMs: t1 - t0,
      firstMs: t2 - t1,
      note: p.note ?? null,
      modes: { res: p.res !== false, lat: p.lat !== false },
    };
  },
  // mode 'res': B runs, one synchronisation; 'lat': one run and the awaited full read. Returns per-run times in ms.
  async sample(id, mode, budgetMs, B = 0, maxN = 1000) {
    const p = state.get(id),
      work = p.work ?? 1, // how often the workload is done in one run
      out = [];
    const end = performance.now() + budgetMs;
    if (mode === "lat") {
      const L = p.latency ?? p;
      do {
        const t = performance.now();
        const h = await one(L);
        await L.read(h);
        L.free?.(h);
        out.push((performance.now() - t) / work);
      } while (performance.now() < end && out.length < maxN);
      return out;
    }
    // A lazy system (p.lazy) keeps the results of a batch and waits for all of them; the others free each as they go.
    const R = p.resident ?? p,
      w = byId(id),
      cap = p.lazy ? Math.max(1, Math.floor(256e6 / (4 * w.out.reduce((a, b) => a * b, 1)))) : 200;
    const batch = async (n) => {
      const t = performance.now(),
        hs = [];
      let h;
      for (let i = 0; i < n; i++) {
        h = R.run();
        if (isP(h)) h = await h;
        if (p.lazy) hs.push(h);
        else if (i < n - 1) R.free?.(h);
      }
      if (p.lazy) await R.sync(hs);
      else await R.sync(h);
      const d = (performance.now() - t) / n / work;
      if (p.lazy) hs.forEach(R.free);
      else R.free?.(h);
      return d;
    };
    if (!B) {
      const d = await batch(1);
      B = Math.max(1, Math.min(200, cap, Math.round(40 / Math.max(d * work, 0.01))));
      if (performance.now() > end) return [d];
    }
    do out.push(await batch(B));
    while (performance.now() < end && out.length < maxN);
    return out;
  },
  async dispose(id) {
    const p = state.get(id);
    state.delete(id);
    try {
      await p?.dispose?.();
    } catch {}
  },
};
if (q.has("cold")) {
  // time from navigation start to the first result of a workload
  try {
    await init();
    const w = byId(q.get("cold")),
      p = await mod.prepare(w, makeInputs(w), cfg),
      t1 = performance.now(),
      L = p.latency ?? p,
      h = await one(L),
      got = await L.read(h),
      t2 = performance.now();
    window.COLD = { total: t2, ready: t1, got: Array.from(got.slice(0, 10)) };
  } catch (e) {
    window.COLD = { error: String(e?.stack ?? e) };
  }
}
window.READY = true;
