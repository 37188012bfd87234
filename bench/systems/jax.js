// jax-js. cfg: {device: 'wasm'|'webgpu', threads}
import { GPT } from "/lib/spec.js";
let jax, np, nn, lax, dev;
export async function init(cfg) {
  dev = cfg.device;
  if (cfg.threads)
    Object.defineProperty(navigator, "hardwareConcurrency", {
      value: cfg.threads,
      configurable: true,
    }); // its pool has one worker per core
  if (cfg.noshared) delete self.SharedArrayBuffer;
  jax = await import("/node_modules/@jax-js/jax/dist/index.js");
  ({ numpy: np, nn, lax } = jax);
  const got = await jax.init(dev);
  if (!got.includes(dev)) throw new Error("no device " + dev);
  jax.defaultDevice(dev);
  return { devices: got };
}
const A = (d, s) => np.array(d).reshape(s);
const { sqrt } = Math;
const ln = (x, g, b) => nn.standardize(x, -1).mul(g).add(b);
function pool(x, k, stride, pad) {
  if (pad)
    x = np.pad(x, [
      [0, 0],
      [0, 0],
      [pad, pad],
      [pad, pad],
    ]);
  return lax.reduceWindow(x, (v) => np.max(v), [k, k], [stride, stride]);
} // padding follows a ReLU, so zeros do
const conv = (x, w, b, { k, stride, pad, groups, cout }) =>
  lax
    .convGeneralDilated(
      x,
      w,
      [stride, stride],
      [
        [pad, pad],
        [pad, pad],
      ],
      { featureGroupCount: groups },
    )
    .add(b.reshape([cout, 1, 1]));
function net(nt, P, x) {
  // P: owned
  const uses = nt.nodes.map(() => 0);
  nt.nodes.forEach((nd) => {
    if (nd.x !== undefined) uses[nd.x]++;
    if (nd.y !== undefined) uses[nd.y]++;
  });
  const v = [x],
    take = (i) => (--uses[i] > 0 ? v[i].ref : v[i]);
  nt.nodes.forEach((nd, i) => {
    if (nd.op === "input") return;
    let y;
    const X = take(nd.x);
    if (nd.op === "conv") y = conv(X, P[nd.w], P[nd.b], nd);
    else if (nd.op === "maxpool") y = pool(X, nd.k, nd.stride, nd.pad);
    else if (nd.op === "relu") y = nn.relu(X);
    else if (nd.op === "add") y = X.add(take(nd.y));
    else if (nd.op === "gap") y = np.mean(X, [2, 3]);
    else if (nd.op === "flatten") y = X.reshape(nd.shape);
    else if (nd.op === "linear") y = np.matmul(X, P[nd.w]).add(P[nd.b]);
    if (nd.act === "relu") y = nn.relu(y);
    if (nd.act === "relu6") y = nn.relu6(y);
    v[i] = y;
  });
  return v[v.length - 1];
}
function gpt(P, X, dec) {
  const { L, D, H, T: TT } = GPT,
    dh = D / H,
    R = dec ? 1 : TT,
    lin = (x, n) => np.matmul(x, P[n + ".w"]).add(P[n + ".b"]);
  let x = np.take(P.emb, X.tok, 0).add(X.pos);
  for (let l = 0; l < L; l++) {
    const t = lin(ln(x.ref, P[`h${l}.ln1.g`], P[`h${l}.ln1.b`]), `h${l}.qkv`).reshape([
      R,
      3,
      H,
      dh,
    ]);
    const [q, k0, v0] = [t.ref.slice([], 0), t.ref.slice([], 1), t.slice([], 2)];
    let o;
    if (!dec)
      o = nn.dotProductAttention(q, k0, v0, { isCausal: true }); // [R,H,dh]
    else
      o = nn.dotProductAttention(
        q,
        np.concatenate([X[`pastk${l}`].transpose([1, 0, 2]), k0], 0),
        np.concatenate([X[`pastv${l}`].transpose([1, 0, 2]), v0], 0),
      );
    x = x.add(lin(o.reshape([R, D]), `h${l}.proj`));
    x = x.ref.add(
      lin(
        nn.gelu(lin(ln(x, P[`h${l}.ln2.g`], P[`h${l}.ln2.b`]), `h${l}.fc`), { approximate: true }),
        `h${l}.out`,
      ),
    );
  }
  return np.matmul(ln(x, P["lnf.g"], P["lnf.b"]), P["head.w"]);
}
// [[value, aux], gradients] as one list
const flatAux = ([[value, aux], grads]) => [value, aux, grads];
export async function prepare(w, I) {
  const t = {},
    p = {
      lazy: true,
      read: (h) => h.ref.data(),
      sync: (hs) => jax.blockUntilReady(hs),
      free: (h) => h.dispose(),
      dispose: () => {
        for (const k in t)
          try {
            t[k].dispose();
          } catch {}
        f?.dispose?.();
      },
    };
  let f;
  for (const n in w.inputs) t[n] = A(I[n], w.inputs[n].shape);
  const r = (...ns) => ns.map((n) => t[n].ref),
    fn = (g, ...ns) => {
      f = jax.jit(g);
      p.run = () => f(...r(...ns));
      return p;
    };
  switch (w.op) {
    case "matmul":
      return fn((a, b) => np.matmul(a, b), "a", "b");
    case "conv2d":
      return fn((x, k, b) => conv(x, k, b, w.conv), "x", "w", "b");
    case "softmax":
      return fn((x) => nn.softmax(x, -1), "x");
    case "layernorm":
      return fn(ln, "x", "g", "b");
    case "ewchain":
      return fn((x, y) => nn.gelu(x.mul(2).add(1), { approximate: false }).mul(y), "x", "y");
    case "sum":
      return fn((x) => np.sum(x).reshape([1]), "x");
    case "reduce":
      return fn((x) => np.sum(x, w.axis), "x");
    case "transpose":
      return fn((x) => np.transpose(x), "x");
    case "net": {
      for (const n in w.net.params) t[n] = A(I.params[n], w.net.params[n].shape);
      const names = Object.keys(w.net.params);
      f = jax.jit((P, x) => net(w.net, P, x));
      p.run = () => f(Object.fromEntries(names.map((n) => [n, t[n].ref])), t.x.ref);
      return p;
    }
    case "gpt":
    case "gptdecode": {
      const { T: TT, D, H, L } = GPT,
        dec = w.op === "gptdecode",
        R = dec ? 1 : TT,
        names = Object.keys(w.params).filter((n) => n !== "pos"),
        xs = ["tok", "pos"];
      for (const n of names) t[n] = A(I.params[n], w.params[n].shape);
      t.tok = np.array(dec ? I.next : I.tokens, { dtype: np.int32 });
      t.pos = A(I.params.pos.slice(dec ? TT * D : 0, (dec ? TT + 1 : TT) * D), [R, D]);
      if (dec)
        for (let l = 0; l < L; l++)
          for (const k of "kv") {
            const n = `past${k}${l}`;
            xs.push(n);
            t[n] = A(I[n], [H, TT, D / H]);
          }
      f = jax.jit((P, X) => gpt(P, X, dec));
      p.run = () =>
        f(
          Object.fromEntries(names.map((n) => [n, t[n].ref])),
          Object.fromEntries(xs.map((n) => [n, t[n].ref])),
        );
      return p;
    }
    case "dispatch": {
      p.res = false;
      const loop = (x, y) => {
        for (let i = 0; i < w.n; i++) x = x.add(i === w.n - 1 ? y : y.ref);
        return x;
      };
      if (w.mode === "graph") {
        p.note = "jit fuses the 1000 adds";
        return fn(loop, "x", "y");
      }
      p.run = () => loop(t.x.ref, t.y.ref);
      return p;
    }
    case "matvec":
      return fn((a, x) => np.matmul(a, x), "a", "x");
    case "bmm":
      return fn((a, b) => np.matmul(a, b), "a", "b");
    case "lstm":
      return fn(
        (x, h, c, wih, whh, bih, bhh) => {
          const a = np.matmul(x, np.transpose(wih)).add(bih);
          const [i, f, g, o] = np.split(a.add(np.matmul(h, np.transpose(whh))).add(bhh), 4, 1);
          const next = nn
            .sigmoid(f)
            .mul(c)
            .add(nn.sigmoid(i).mul(np.tanh(g)));
          return nn.sigmoid(o).mul(np.tanh(next));
        },
        ...["x", "h", "c", "wih", "whh", "bih", "bhh"],
      );
    case "attention":
      return fn(
        (q, k, v) => {
          const scores = np.matmul(q, k.transpose([0, 2, 1])).mul(1 / sqrt(w.dh));
          return np.matmul(nn.softmax(scores, -1), v);
        },
        ...["q", "k", "v"],
      );
    case "embedding":
      return fn((table, i) => np.take(table, i, 0), "table", "idx");
    case "gather":
      return fn((x, i) => np.takeAlongAxis(x, i, 1), "x", "idx");
    case "scatter":
      p.note = "the gradient of take";
      return fn(
        (i, src) => jax.grad((table) => np.sum(np.take(table, i, 0).mul(src)))(np.zeros(w.out)),
        ...["idx", "src"],
      );
    case "topk":
      return fn(
        (x, u) => {
          const [v, i] = lax.topK(x, w.k);
          const below = np.cumsum(nn.softmax(v, -1), 1).less(u).astype(np.int32);
          const token = np.takeAlongAxis(i, np.sum(below, 1, { keepdims: true }), 1);
          return token.reshape(w.out).astype(np.float32);
        },
        ...["x", "u"],
      );
    case "bntrain": {
      const axes = [0, 2, 3],
        C = w.inputs.g.shape[0],
        n = I.x.length / C;
      const loss = (P, dy) => {
        const m = np.mean(P.x.ref, axes, { keepdims: true }),
          d = P.x.sub(m.ref),
          v = np.mean(np.square(d.ref), axes, { keepdims: true });
        const y = d
          .mul(np.reciprocal(np.sqrt(v.ref.add(1e-5))))
          .mul(P.g.reshape([C, 1, 1]))
          .add(P.b.reshape([C, 1, 1]));
        return [np.sum(y.mul(dy)), { m: m.reshape([C]), v: v.reshape([C]).mul(n / (n - 1)) }];
      };
      f = jax.jit((P, dy, rm, rv) => {
        const [, s, G] = flatAux(jax.valueAndGrad(loss, { hasAux: true })(P, dy));
        return [G.x, [G.g, G.b], rm.mul(0.9).add(s.m.mul(0.1)), rv.mul(0.9).add(s.v.mul(0.1))];
      });
      t.rm = np.zeros([C]);
      t.rv = np.ones([C]);
      p.run = () => {
        const P = { x: t.x.ref, g: t.g.ref, b: t.b.ref };
        const [gx, others, rm, rv] = f(P, t.dy.ref, t.rm, t.rv);
        others.forEach((h) => h.dispose());
        [t.rm, t.rv] = [rm, rv];
        return gx;
      };
      return p;
    }
    case "adam": {
      const names = Array.from({ length: w.copies }, (_, k) => "p" + k);
      const each = (make) => Object.fromEntries(names.map((n) => [n, make(n)]));
      const [P0, G] = ["p", "g"].map((k) => each(() => t[k].ref.add(0)));
      let S = { p: P0, m: each(() => np.zeros(w.out)), v: each(() => np.zeros(w.out)) };
      let step = 0;
      f = jax.jit((S, G, c1, c2) => {
        const m = each((n) => S.m[n].mul(0.9).add(G[n].ref.mul(0.1)));
        const v = each((n) => S.v[n].mul(0.999).add(np.square(G[n]).mul(0.001)));
        const p = each((n) => {
          const d = np.sqrt(v[n].ref.mul(c2.ref)).add(1e-8);
          return S.p[n].sub(m[n].ref.mul(c1.ref).mul(np.reciprocal(d)));
        });
        c1.dispose();
        c2.dispose();
        return { p, m, v };
      });
      p.lat = false;
      p.run = () => {
        step++;
        const c1 = np.array([w.lr / (1 - 0.9 ** step)]),
          c2 = np.array([1 / (1 - 0.999 ** step)]);
        S = f(S, jax.tree.ref(G), c1, c2);
        return S.p[names.at(-1)].ref;
      };
      p.sync = async (hs) => {
        await jax.blockUntilReady(hs);
        await jax.blockUntilReady(S);
      };
      p.check = async () => {
        for (let k = 0; k < w.steps; k++) p.run().dispose();
        return S.p[names.at(-1)].ref.data();
      };
      const d0 = p.dispose;
      p.dispose = () => {
        jax.tree.dispose([S, G]);
        d0();
      };
      return p;
    }
    case "mlptrain":
    case "cnntrain": {
      const cn = w.op === "cnntrain",
        names = cn ? Object.keys(w.net.params) : ["w1", "b1", "w2", "b2"];
      let P;
      for (const n of names)
        if (t[n]) {
          t[n].dispose();
          delete t[n];
        }
      const oh = new Float32Array(w.B * 10);
      I.labels.forEach((c, i) => (oh[i * 10 + c] = 1));
      t.lab = A(oh, [w.B, 10]);
      const reset = () => {
        if (P) for (const n in P) P[n].dispose();
        P = {};
        for (const n of names)
          P[n] = A(cn ? I.params[n] : I[n], cn ? w.net.params[n].shape : w.inputs[n].shape);
      };
      const fwd = (Q, x) =>
        cn ? net(w.net, Q, x) : np.matmul(nn.relu(np.matmul(x, Q.w1).add(Q.b1)), Q.w2).add(Q.b2);
      const loss = (Q, x, y) => np.sum(nn.logSoftmax(fwd(Q, x), -1).mul(y)).mul(-1 / w.B);
      f = jax.jit((Q, x, y) => {
        const [l, g] = jax.valueAndGrad(loss)(jax.tree.ref(Q), x, y);
        const o = {};
        for (const n of names) o[n] = Q[n].sub(g[n].mul(w.lr));
        return [l, o];
      });
      const step = () => {
        const [l, o] = f(P, t.x.ref, t.lab.ref);
        P = o;
        return l;
      };
      reset();
      p.run = step;
      p.sync = async (hs) => {
        await jax.blockUntilReady(hs);
        await jax.blockUntilReady(P);
      };
      p.check = async () => {
        reset();
        const o = [];
        for (let i = 0; i < w.steps; i++) {
          const l = step();
          o.push((await l.data())[0]);
        }
        const d = await (cn ? P["c1.w"] : P.w2).ref.data();
        reset();
        return Float32Array.of(...o, ...d);
      };
      const d0 = p.dispose;
      p.dispose = () => {
        for (const n in P) P[n].dispose();
        d0();
      };
      return p;
    }
  }
  throw new Error("not there: " + w.op);
}
