// TensorFlow.js (core + one backend, script tags as its docs show). cfg: {backend: 'wasm'|'webgpu'|'cpu', threads}
import { GPT } from "/lib/spec.js";
const script = (src) =>
  new Promise((ok, no) => {
    const s = document.createElement("script");
    s.src = src;
    s.onload = ok;
    s.onerror = () => no(new Error("cannot load " + src));
    document.head.append(s);
  });
let tf, B;
export async function init(cfg) {
  B = cfg.backend;
  if (cfg.cores)
    Object.defineProperty(navigator, "hardwareConcurrency", {
      value: cfg.cores,
      configurable: true,
    });
  await script(
    cfg.cold
      ? "/node_modules/@tensorflow/tfjs-core/dist/tf-core.min.js"
      : "/node_modules/@tensorflow/tfjs/dist/tf.min.js",
  );
  tf = window.tf; // core is enough for inference; gradients are in the full package
  if (B !== "cpu" || cfg.cold)
    await script(`/node_modules/@tensorflow/tfjs-backend-${B}/dist/tf-backend-${B}.min.js`);
  if (B === "wasm") {
    tf.wasm.setThreadsCount(cfg.threads ?? 1);
    tf.wasm.setWasmPaths("/node_modules/@tensorflow/tfjs-backend-wasm/dist/");
  }
  tf.enableProdMode();
  await tf.setBackend(B);
  await tf.ready();
  return {
    backend: tf.getBackend(),
    threads: B === "wasm" ? tf.wasm.getThreadsCount() : null,
    simd: B === "wasm" ? await tf.env().getAsync("WASM_HAS_SIMD_SUPPORT") : null,
    mt: B === "wasm" ? await tf.env().getAsync("WASM_HAS_MULTITHREAD_SUPPORT") : null,
  };
}
const T = (d, s, t) => tf.tensor(d, s, t);
const nhwc = (d, s) => tf.tidy(() => tf.transpose(T(d, s), [0, 2, 3, 1])); // NCHW data -> NHWC tensor
const convW = (d, s, dw) => tf.tidy(() => tf.transpose(T(d, s), dw ? [2, 3, 0, 1] : [2, 3, 1, 0])); // OIHW -> HWIO (depthwise: HWC1)
async function sync() {
  if (B === "webgpu") {
    const b = tf.backend();
    b.endComputePassEncoder();
    if (b.commandEncoder) b.submitQueue();
    await b.queue.onSubmittedWorkDone();
  }
}
const geluTanh = (x) =>
  tf.mul(
    tf.mul(x, 0.5),
    tf.add(
      tf.tanh(tf.mul(tf.add(x, tf.mul(tf.mul(x, tf.mul(x, x)), 0.044715)), Math.sqrt(2 / Math.PI))),
      1,
    ),
  );
const ln = (x, g, b) => {
  const { mean, variance } = tf.moments(x, -1, true);
  return tf.add(tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-5))), g), b);
};
const conv = (x, w, b, { k, stride, pad, groups }, act = "linear") =>
  groups > 1
    ? tf.fused.depthwiseConv2d({
        x,
        filter: w,
        strides: stride,
        pad,
        dimRoundingMode: "floor",
        bias: b,
        activation: act,
      })
    : tf.fused.conv2d({
        x,
        filter: w,
        strides: stride,
        pad,
        dimRoundingMode: "floor",
        bias: b,
        activation: act,
      });
function netParams(net, raw) {
  // converted to TF's layouts; the linear after a flatten gets its rows permuted
  const P = {};
  net.nodes.forEach((nd) => {
    if (nd.op === "conv") {
      P[nd.w] = convW(raw[nd.w], net.params[nd.w].shape, nd.groups > 1);
      P[nd.b] = T(raw[nd.b], [nd.cout]);
    }
    if (nd.op === "linear") {
      const f = net.nodes[nd.x];
      P[nd.b] = T(raw[nd.b], [nd.cout]);
      P[nd.w] =
        f.op === "flatten"
          ? tf.tidy(() => {
              const [, c, h, w] = f.from;
              return tf.reshape(tf.transpose(T(raw[nd.w], [c, h, w, nd.cout]), [1, 2, 0, 3]), [
                nd.cin,
                nd.cout,
              ]);
            })
          : T(raw[nd.w], [nd.cin, nd.cout]);
    }
  });
  return P;
}
function net(nt, P, x, plain = false) {
  const v = [x];
  nt.nodes.forEach((nd, i) => {
    if (nd.op === "input") return;
    const X = v[nd.x];
    let y;
    if (nd.op === "conv")
      y = plain
        ? tf.add(tf.conv2d(X, P[nd.w], nd.stride, nd.pad), P[nd.b])
        : conv(X, P[nd.w], P[nd.b], nd, nd.act ?? "linear");
    else if (nd.op === "maxpool") y = tf.maxPool(X, nd.k, nd.stride, nd.pad, "floor");
    else if (nd.op === "relu") y = tf.relu(X);
    else if (nd.op === "add") {
      y = tf.add(X, v[nd.y]);
      if (nd.act === "relu") y = tf.relu(y);
    } else if (nd.op === "gap") y = tf.mean(X, [1, 2]);
    else if (nd.op === "flatten") y = tf.reshape(X, nd.shape);
    else if (nd.op === "linear")
      y = plain
        ? tf.add(tf.matMul(X, P[nd.w]), P[nd.b])
        : tf.fused.matMul({ a: X, b: P[nd.w], bias: P[nd.b] });
    v[i] = y;
  });
  return v[v.length - 1];
}
function gpt(P, I, dec) {
  const { L, D, H, T: TT } = GPT,
    dh = D / H,
    R = dec ? 1 : TT;
  const lin = (x, n, act) => tf.fused.matMul({ a: x, b: P[n + ".w"], bias: P[n + ".b"] });
  let x = tf.add(tf.gather(P.emb, I.tok), I.pos);
  for (let l = 0; l < L; l++) {
    const t = tf.transpose(
      tf.reshape(lin(ln(x, P[`h${l}.ln1.g`], P[`h${l}.ln1.b`]), `h${l}.qkv`), [R, 3, H, dh]),
      [1, 2, 0, 3],
    );
    let [q, k, v] = tf.unstack(t);
    if (dec) {
      k = tf.concat([I[`pastk${l}`], k], 1);
      v = tf.concat([I[`pastv${l}`], v], 1);
    }
    let s = tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(dh));
    if (!dec) s = tf.add(s, I.mask);
    const o = tf.reshape(tf.transpose(tf.matMul(tf.softmax(s), v), [1, 0, 2]), [R, D]);
    x = tf.add(x, lin(o, `h${l}.proj`));
    x = tf.add(
      x,
      lin(geluTanh(lin(ln(x, P[`h${l}.ln2.g`], P[`h${l}.ln2.b`]), `h${l}.fc`)), `h${l}.out`),
    );
  }
  return tf.matMul(ln(x, P["lnf.g"], P["lnf.b"]), P["head.w"]);
}
export async function prepare(w, I, cfg) {
  const p = { read: (h) => h.data(), sync, free: (h) => h.dispose() };
  let t = {};
  const shape = (n) => w.inputs[n].shape;
  const kill = [];
  p.dispose = () => {
    tf.dispose(t);
    tf.dispose(kill);
  };
  const tidy = (f) => () => tf.tidy(f);
  switch (w.op) {
    case "matmul":
      t = { a: T(I.a, shape("a")), b: T(I.b, shape("b")) };
      p.run = tidy(() => tf.matMul(t.a, t.b));
      return p;
    case "conv2d":
      t = {
        x: nhwc(I.x, shape("x")),
        w: convW(I.w, shape("w"), w.conv.groups > 1),
        b: T(I.b, shape("b")),
      };
      p.layout = "nhwc";
      p.run = tidy(() => conv(t.x, t.w, t.b, w.conv));
      return p;
    case "softmax":
      t = { x: T(I.x, shape("x")) };
      p.run = tidy(() => tf.softmax(t.x));
      return p;
    case "layernorm":
      t = { x: T(I.x, shape("x")), g: T(I.g, shape("g")), b: T(I.b, shape("b")) };
      p.run = tidy(() => ln(t.x, t.g, t.b));
      return p;
    case "ewchain":
      t = { x: T(I.x, shape("x")), y: T(I.y, shape("y")) };
      p.run = tidy(() => {
        const v = tf.add(tf.mul(t.x, 2), 1);
        return tf.mul(tf.mul(tf.mul(v, 0.5), tf.add(tf.erf(tf.mul(v, Math.SQRT1_2)), 1)), t.y);
      });
      return p;
    case "sum":
      t = { x: T(I.x, shape("x")) };
      p.run = tidy(() => tf.sum(t.x));
      return p;
    case "reduce":
      t = { x: T(I.x, shape("x")) };
      p.run = tidy(() => tf.sum(t.x, w.axis));
      return p;
    case "transpose":
      t = { x: T(I.x, shape("x")) };
      p.run = tidy(() => tf.transpose(t.x));
      return p;
    case "net":
      t = { x: nhwc(I.x, shape("x")), ...netParams(w.net, I.params) };
      p.run = tidy(() => net(w.net, t, t.x));
      return p;
    case "gpt":
    case "gptdecode": {
      const { T: TT, D, H, L } = GPT,
        dec = w.op === "gptdecode",
        R = dec ? 1 : TT;
      for (const n in w.params) t[n] = T(I.params[n], w.params[n].shape);
      const X = {
        tok: T(dec ? I.next : I.tokens, [R], "int32"),
        pos: T(I.params.pos.slice(dec ? TT * D : 0, (dec ? TT + 1 : TT) * D), [R, D]),
      };
      if (dec)
        for (let l = 0; l < L; l++)
          for (const k of "kv") X[`past${k}${l}`] = T(I[`past${k}${l}`], [H, TT, D / H]);
      else {
        const m = new Float32Array(R * R);
        for (let i = 0; i < R; i++) for (let j = i + 1; j < R; j++) m[i * R + j] = -1e9;
        X.mask = T(m, [R, R]);
      }
      kill.push(X);
      p.run = tidy(() => gpt(t, X, dec));
      return p;
    }
    case "dispatch": {
      if (w.mode === "graph")
        throw new Error(
          "not there: TensorFlow.js has no graph or jit mode for user functions; see the eager row",
        );
      if (B === "webgpu") {
        tf.env().set("WEBGPU_CPU_FORWARD", cfg.forward ?? false);
        p.note = "WEBGPU_CPU_FORWARD off, so that the adds run on the device";
      }
      t = { x: T(I.x, [16]), y: T(I.y, [16]) };
      p.res = false;
      p.run = () => {
        let h = t.x;
        for (let i = 0; i < w.n; i++) {
          const o = tf.add(h, t.y);
          if (i) h.dispose();
          h = o;
        }
        return h;
      };
      const d = p.dispose;
      p.dispose = () => {
        d();
        if (B === "webgpu") tf.env().set("WEBGPU_CPU_FORWARD", true);
      };
      return p;
    }
    case "matvec":
      t = { a: T(I.a, shape("a")), x: T(I.x, [w.out[0], 1]) };
      p.run = tidy(() => tf.matMul(t.a, t.x));
      return p;
    case "bmm":
      t = { a: T(I.a, shape("a")), b: T(I.b, shape("b")) };
      p.run = tidy(() => tf.matMul(t.a, t.b));
      return p;
    case "lstm":
      for (const n in w.inputs) t[n] = T(I[n], shape(n));
      p.run = tidy(() => {
        const a = tf.add(tf.matMul(t.x, t.wih, false, true), t.bih);
        const r = tf.add(tf.matMul(t.h, t.whh, false, true), t.bhh);
        const [i, f, g, o] = tf.split(tf.add(a, r), 4, 1);
        const c = tf.add(tf.mul(tf.sigmoid(f), t.c), tf.mul(tf.sigmoid(i), tf.tanh(g)));
        return tf.mul(tf.sigmoid(o), tf.tanh(c));
      });
      return p;
    case "attention":
      for (const n in w.inputs) t[n] = T(I[n], shape(n));
      p.run = tidy(() => {
        const scores = tf.mul(tf.matMul(t.q, t.k, false, true), 1 / Math.sqrt(w.dh));
        return tf.matMul(tf.softmax(scores), t.v);
      });
      return p;
    case "embedding":
      t = { table: T(I.table, shape("table")), idx: T(I.idx, shape("idx"), "int32") };
      p.run = tidy(() => tf.gather(t.table, t.idx));
      return p;
    case "gather":
      t = { x: T(I.x, shape("x")), idx: T(I.idx, shape("idx"), "int32") };
      p.run = tidy(() => tf.gather(t.x, t.idx, 1, 1));
      return p;
    case "scatter":
      t = { src: T(I.src, shape("src")), idx: T(I.idx, [I.idx.length, 1], "int32") };
      p.run = tidy(() => tf.scatterND(t.idx, t.src, w.out));
      return p;
    case "topk":
      t = { x: T(I.x, shape("x")), u: T(I.u, shape("u")) };
      p.run = tidy(() => {
        const { values, indices } = tf.topk(t.x, w.k);
        const below = tf.less(tf.cumsum(tf.softmax(values), 1), t.u);
        // by a one-hot row: its WASM gather over batches reads out of bounds here
        const at = tf.oneHot(tf.sum(tf.cast(below, "int32"), 1), w.k);
        return tf.cast(tf.sum(tf.mul(indices, tf.cast(at, "int32")), 1), "float32");
      });
      return p;
    case "bntrain": {
      t = { x: nhwc(I.x, shape("x")), dy: nhwc(I.dy, shape("dy")) };
      for (const n of ["g", "b"]) t[n] = T(I[n], shape(n));
      const C = shape("g")[0],
        n = I.x.length / C;
      t.rm = tf.variable(tf.zeros([C]));
      t.rv = tf.variable(tf.ones([C]));
      const norm = (x, g, b) => {
        const { mean, variance } = tf.moments(x, [0, 1, 2]);
        const keep = (v, now) => v.assign(tf.add(tf.mul(v, 0.9), tf.mul(now, 0.1)));
        keep(t.rm, mean);
        keep(t.rv, tf.mul(variance, n / (n - 1)));
        return tf.add(tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-5))), g), b);
      };
      p.layout = "nhwc";
      p.run = tidy(() => tf.grads(norm)([t.x, t.g, t.b], t.dy)[0]);
      return p;
    }
    case "adam": {
      const optimizer = tf.train.adam(w.lr, 0.9, 0.999, 1e-8);
      for (let k = 0; k < w.copies; k++) t["p" + k] = tf.variable(T(I.p, w.out));
      const all = Object.values(t);
      const gradients = all.map((v) => ({ name: v.name, tensor: T(I.g, w.out) }));
      kill.push(gradients.map((g) => g.tensor));
      p.lat = false;
      p.run = () => {
        optimizer.applyGradients(gradients);
        return all.at(-1);
      };
      p.free = () => {};
      p.check = async () => {
        for (let k = 0; k < w.steps; k++) p.run();
        return all.at(-1).data();
      };
      const d = p.dispose;
      p.dispose = () => {
        d();
        optimizer.dispose();
      };
      return p;
    }
    case "mlptrain":
    case "cnntrain": {
      const lab = tf.tidy(() => tf.cast(tf.oneHot(T(I.labels, [w.B], "int32"), 10), "float32"));
      let V, fwd, x, last;
      const reset = () => {
        if (V) tf.dispose(V);
        V = {};
        if (w.op === "mlptrain")
          for (const n of ["w1", "b1", "w2", "b2"]) V[n] = tf.variable(T(I[n], shape(n)));
        else {
          const P = netParams(w.net, I.params);
          for (const n in P) V[n] = tf.variable(P[n]);
        }
      };
      if (w.op === "mlptrain") {
        x = T(I.x, shape("x"));
        fwd = () => tf.add(tf.matMul(tf.relu(tf.add(tf.matMul(x, V.w1), V.b1)), V.w2), V.b2);
        last = () => V.w2;
      } else {
        x = nhwc(I.x, shape("x"));
        fwd = () => net(w.net, V, x, true);
        last = () => tf.tidy(() => tf.transpose(V["c1.w"], [3, 2, 0, 1]));
      }
      // log-softmax cross entropy; plain SGD as tf.train.sgd does it (p -= lr * g)
      const step = () =>
        tf.tidy(() => {
          const { value, grads } = tf.variableGrads(() =>
            tf.neg(tf.mean(tf.sum(tf.mul(lab, tf.logSoftmax(fwd())), -1))),
          );
          for (const n in grads) {
            const v = Object.values(V).find((q) => q.name === n);
            v.assign(tf.sub(v, tf.mul(grads[n], w.lr)));
          }
          return value;
        });
      reset();
      p.run = step;
      p.check = async () => {
        reset();
        const o = [];
        for (let i = 0; i < w.steps; i++) {
          const l = step();
          o.push((await l.data())[0]);
          l.dispose();
        }
        const z = last(),
          d = await z.data();
        if (w.op === "cnntrain") z.dispose();
        reset();
        return Float32Array.of(...o, ...d);
      };
      kill.push(x, lab);
      p.dispose = () => {
        tf.dispose(V);
        tf.dispose(kill);
      };
      return p;
    }
  }
  throw new Error("not there: " + w.op);
}
