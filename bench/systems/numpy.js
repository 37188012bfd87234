// numpy inside Pyodide: what a Python user in the page has without a tensor library. Gradients are written by hand.
import { GPT } from "/lib/spec.js";
const PY = "/pyodide/";
let py, mk;
export async function init() {
  const { loadPyodide } = await import(PY + "pyodide.mjs");
  py = await loadPyodide({ indexURL: PY });
  await py.loadPackage("numpy", { messageCallback: () => {} });
  mk = py.runPython((await (await fetch("/systems/numpy_impl.py")).text()) + "\nmake");
  return { numpy: py.runPython("import numpy; numpy.__version__") };
}
export async function prepare(w, I) {
  const flat = {},
    shapes = {};
  for (const n in w.inputs) {
    flat[n] = I[n];
    shapes[n] = w.inputs[n].shape;
  }
  if (I.params) {
    const ps = w.net ? w.net.params : w.params;
    for (const n in ps) {
      flat["p:" + n] = I.params[n];
      shapes["p:" + n] = ps[n].shape;
    }
  }
  for (const n of ["labels", "tokens", "next"])
    if (I[n]) {
      flat[n] = I[n];
      shapes[n] = [I[n].length];
    }
  if (w.op === "gptdecode")
    for (let l = 0; l < GPT.L; l++)
      for (const k of "kv") {
        const n = `past${k}${l}`;
        flat[n] = I[n];
        shapes[n] = [GPT.H, GPT.T, GPT.D / GPT.H];
      }
  if (w.op === "dispatch" && w.mode === "graph")
    throw new Error("not there: numpy has no graph mode");
  if (w.op === "matvecpacked")
    throw new Error("not there: numpy multiplies weights of few bits as floats only");
  const spec = {
    op: w.op,
    conv: w.conv,
    axis: w.axis,
    n: w.n,
    nodes: w.net?.nodes,
    lr: w.lr,
    k: w.k,
    copies: w.copies,
    out: w.out,
    gpt: GPT,
  };
  const o = mk(py.toPy(spec), py.toPy(shapes), flat),
    f = o.get(0),
    last = o.get(1);
  const read = (h) => {
    const b = h.getBuffer("f32"),
      d = b.data.slice();
    b.release();
    return d;
  };
  const p = {
    run: () => f(),
    read,
    sync: async () => {},
    free: (h) => h.destroy(),
    dispose: () => {
      f.destroy();
      last?.destroy?.();
      o.destroy();
      py.runPython("import gc; gc.collect()");
    },
  };
  if (last)
    p.check = async () => {
      const out = [];
      for (let i = 0; i < w.steps; i++) {
        const h = f();
        if (w.kind === "train") out.push(read(h)[0]);
        h.destroy();
      }
      const l = last(),
        d = read(l);
      l.destroy();
      return Float32Array.from([...out, ...d]);
    };
  if (w.op === "dispatch") p.res = false;
  if (w.op === "adam") p.lat = false;
  return p;
}
