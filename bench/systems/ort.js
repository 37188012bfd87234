// onnxruntime-web. cfg: {ep: 'wasm'|'webgpu', threads, build: 'jspi'?, layout: 'NCHW'|'NHWC'?, fused?: attention as one contrib operator}
import { Graph, INT64 } from "/lib/onnx.js";
import { GPT, size } from "/lib/spec.js";
const DIST = "/node_modules/onnxruntime-web/dist/";
let ort,
  gpu = false,
  device,
  layout;
export async function init(cfg) {
  gpu = cfg.ep === "webgpu";
  ort = await import(
    DIST +
      (gpu
        ? cfg.build === "jspi"
          ? "ort.jspi.min.mjs"
          : "ort.webgpu.min.mjs"
        : "ort.wasm.min.mjs")
  );
  ort.env.wasm.wasmPaths = DIST;
  ort.env.wasm.numThreads = cfg.threads ?? 1;
  ort.env.logLevel = "error";
  return { version: ort.env.versions?.web ?? null };
}
async function session(bytes, opts = {}) {
  const s = await ort.InferenceSession.create(bytes, {
    executionProviders: [
      gpu ? { name: "webgpu", ...(layout ? { preferredLayout: layout } : {}) } : "wasm",
    ],
    graphOptimizationLevel: "all",
    logSeverityLevel: 3,
    ...(gpu ? { preferredOutputLocation: "gpu-buffer" } : {}),
    ...opts,
  });
  if (gpu) device ??= await ort.env.webgpu.device;
  return s;
}
const T = (d, dims) => new ort.Tensor("float32", d, dims);
const bufs = [];
function put(data, dims) {
  // resident tensor on webgpu, plain one on wasm
  if (!gpu)
    return data instanceof BigInt64Array ? new ort.Tensor("int64", data, dims) : T(data, dims);
  const type = data instanceof BigInt64Array ? "int64" : "float32",
    b = device.createBuffer({
      size: Math.max(16, Math.ceil(data.byteLength / 16) * 16),
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC,
    });
  device.queue.writeBuffer(b, 0, data.buffer, data.byteOffset, data.byteLength);
  bufs.push(b);
  return ort.Tensor.fromGpuBuffer(b, { dataType: type, dims });
}
const i64 = (a) => BigInt64Array.from(a, BigInt);
// graphs: body(g, name) with name(n) giving the graph value of input n; returns [output, dims]
function build(w, I, fed, body, { tiny = false } = {}) {
  const g = new Graph();
  const name = (n) => {
    const s = fed[n];
    return s.const
      ? g.init(s.data, s.dims, n)
      : g.input(n, s.dims, s.data instanceof BigInt64Array ? INT64 : 1);
  };
  const outs = body(g, name, I);
  const o = Array.isArray(outs[0]) ? outs : [outs];
  for (const [v, dims] of o) {
    if (tiny) {
      const n = dims.length,
        k = Math.min(8, dims[n - 1]),
        z = dims.map(() => 0),
        e = dims.map((_, i) => (i === n - 1 ? k : 1));
      g.op("Slice", [v, g.ints(z), g.ints(e)], {}, "tiny");
      g.output("tiny", e);
    } else g.output(v, dims);
  }
  return g.model();
}
const ACTS = (g, x, act) =>
  act === "relu"
    ? g.op("Relu", [x])
    : act === "relu6"
      ? g.op("Clip", [x, g.init(Float32Array.of(0), []), g.init(Float32Array.of(6), [])])
      : x;
function netBody(w) {
  return (g, name, I) => {
    const v = [name("x")],
      P = (n) => g.init(I.params[n], w.net.params[n].shape, n);
    w.net.nodes.forEach((nd, i) => {
      if (nd.op === "input") return;
      let y;
      const x = v[nd.x];
      if (nd.op === "conv")
        y = g.op("Conv", [x, P(nd.w), P(nd.b)], {
          kernel_shape: [nd.k, nd.k],
          pads: [nd.pad, nd.pad, nd.pad, nd.pad],
          strides: [nd.stride, nd.stride],
          group: nd.groups,
        });
      else if (nd.op === "maxpool")
        y = g.op("MaxPool", [x], {
          kernel_shape: [nd.k, nd.k],
          strides: [nd.stride, nd.stride],
          pads: [nd.pad, nd.pad, nd.pad, nd.pad],
        });
      else if (nd.op === "relu") y = g.op("Relu", [x]);
      else if (nd.op === "add") y = g.op("Add", [x, v[nd.y]]);
      else if (nd.op === "gap") y = g.op("Flatten", [g.op("GlobalAveragePool", [x])], { axis: 1 });
      else if (nd.op === "flatten") y = g.op("Flatten", [x], { axis: 1 });
      else if (nd.op === "linear") y = g.op("Gemm", [x, P(nd.w), P(nd.b)]);
      v[i] = ACTS(g, y, nd.act);
    });
    return [v[v.length - 1], w.out];
  };
}
function gptBody(w, dec, fused) {
  const { L, D, H, T: TT, V } = GPT,
    dh = D / H,
    R = dec ? 1 : TT;
  return (g, name, I) => {
    const P = (n) => g.init(I.params[n], w.params[n].shape, n),
      ln = (x, n) =>
        g.op("LayerNormalization", [x, P(n + ".g"), P(n + ".b")], {
          axis: -1,
          epsilon: { float: 1e-5 },
        });
    const lin = (x, n) => g.op("Add", [g.op("MatMul", [x, P(n + ".w")]), P(n + ".b")]);
    let x = g.op("Add", [
      g.op("Gather", [P("emb"), name("tokens")], { axis: 0 }),
      g.init(I.params.pos.slice(dec ? TT * D : 0, (dec ? TT + 1 : TT) * D), [R, D]),
    ]); // [R, D]
    let mask;
    if (!dec && !fused) {
      const m = new Float32Array(R * R);
      for (let i = 0; i < R; i++) for (let j = i + 1; j < R; j++) m[i * R + j] = -1e9;
      mask = g.init(m, [1, R, R]);
    }
    const scale = g.init(Float32Array.of(1 / Math.sqrt(dh)), []);
    for (let l = 0; l < L; l++) {
      const qkv = lin(ln(x, `h${l}.ln1`), `h${l}.qkv`);
      let o;
      if (fused) {
        const parts = g.op(
          "Split",
          [g.op("Reshape", [qkv, g.ints([1, R, 3 * D])])],
          { axis: 2, num_outputs: 3 },
          [`q${l}`, `k${l}`, `v${l}`],
        );
        o = g.op(
          "MultiHeadAttention",
          dec ? [...parts, "", "", "", name(`pastk${l}`), name(`pastv${l}`)] : parts,
          { num_heads: H, unidirectional: 1 },
          dec ? [`o${l}`, `pk${l}`, `pv${l}`] : `o${l}`,
          "com.microsoft",
        );
        if (dec) o = `o${l}`;
        o = g.op("Reshape", [o, g.ints([R, D])]);
      } else {
        const t = g.op("Transpose", [g.op("Reshape", [qkv, g.ints([R, 3, H, dh])])], {
          perm: [1, 2, 0, 3],
        }); // [3,H,R,dh]
        g.op("Split", [t], { axis: 0, num_outputs: 3 }, [`q${l}`, `k${l}`, `v${l}`]);
        const sq = (n) => g.op("Squeeze", [n, g.ints([0])]);
        let q = sq(`q${l}`),
          k = sq(`k${l}`),
          v = sq(`v${l}`);
        if (dec) {
          k = g.op("Concat", [name(`pastk${l}`), k], { axis: 1 });
          v = g.op("Concat", [name(`pastv${l}`), v], { axis: 1 });
        }
        let s = g.op("Mul", [
          g.op("MatMul", [q, g.op("Transpose", [k], { perm: [0, 2, 1] })]),
          scale,
        ]);
        if (mask) s = g.op("Add", [s, mask]);
        o = g.op("Reshape", [
          g.op("Transpose", [g.op("MatMul", [g.op("Softmax", [s], { axis: -1 }), v])], {
            perm: [1, 0, 2],
          }),
          g.ints([R, D]),
        ]);
      }
      x = g.op("Add", [x, lin(o, `h${l}.proj`)]);
      const f = g.op("Gelu", [lin(ln(x, `h${l}.ln2`), `h${l}.fc`)], { approximate: "tanh" });
      x = g.op("Add", [x, lin(f, `h${l}.out`)]);
    }
    return [g.op("MatMul", [ln(x, "lnf"), P("head.w")]), w.out];
  };
}
const BODY = {
  matmul: (w) => (g, n) => [g.op("MatMul", [n("a"), n("b")]), w.out],
  conv2d: (w) => (g, n) => [
    g.op("Conv", [n("x"), n("w"), n("b")], {
      kernel_shape: [w.conv.k, w.conv.k],
      pads: Array(4).fill(w.conv.pad),
      group: w.conv.groups,
    }),
    w.out,
  ],
  softmax: (w) => (g, n) => [g.op("Softmax", [n("x")], { axis: -1 }), w.out],
  layernorm: (w) => (g, n) => [
    g.op("LayerNormalization", [n("x"), n("g"), n("b")], { axis: -1, epsilon: { float: 1e-5 } }),
    w.out,
  ],
  ewchain: (w) => (g, n) => [
    g.op("Mul", [
      g.op(
        "Gelu",
        [
          g.op("Add", [
            g.op("Mul", [n("x"), g.init(Float32Array.of(2), [])]),
            g.init(Float32Array.of(1), []),
          ]),
        ],
        { approximate: "none" },
      ),
      n("y"),
    ]),
    w.out,
  ],
  sum: (w) => (g, n) => [
    g.op("ReduceSum", [g.op("Reshape", [n("x"), g.ints([1, 1 << 22])]), g.ints([1])], {
      keepdims: 0,
    }),
    w.out,
  ],
  reduce: (w) => (g, n) => [g.op("ReduceSum", [n("x"), g.ints([w.axis])], { keepdims: 0 }), w.out],
  transpose: (w) => (g, n) => [g.op("Transpose", [n("x")], { perm: [1, 0] }), w.out],
  net: netBody,
  gpt: (w) => gptBody(w, false, !!w.fused),
  gptdecode: (w) => gptBody(w, true, !!w.fused),
  dispatch: (w) => (g, n) => {
    let x = n("x");
    const y = n("y");
    for (let i = 0; i < (w.mode === "eager" ? 1 : w.n); i++) x = g.op("Add", [x, y]);
    return [x, w.out];
  },
};
function joined(parts) {
  const out = new Float32Array(parts.reduce((n, a) => n + a.length, 0));
  let at = 0;
  for (const a of parts) {
    out.set(a, at);
    at += a.length;
  }
  return out;
}
// PyTorch's order of gates to ONNX's: i f g o → i o f g
function gates(a) {
  const n = a.length / 4,
    [i, f, g, o] = [0, 1, 2, 3].map((k) => a.subarray(k * n, (k + 1) * n));
  return joined([i, o, f, g]);
}
const sigmoidTanh = (g, s, t) => g.op("Mul", [g.op("Sigmoid", [s]), g.op("Tanh", [t])]);
Object.assign(BODY, {
  matvec: (w) => (g, n) => [g.op("MatMul", [n("a"), n("x")]), w.out],
  bmm: (w) => (g, n) => [g.op("MatMul", [n("a"), n("b")]), w.out],
  lstm: (w) => (g, n, I) => {
    const { B, D, H } = w;
    if (gpu) {
      const part = (x, k, b) => g.op("Gemm", [n(x), n(k), n(b)], { transB: 1 });
      const z = g.op("Add", [part("x", "wih", "bih"), part("h", "whh", "bhh")]);
      g.op("Split", [z], { axis: 1, num_outputs: 4 }, ["gi", "gf", "gg", "go"]);
      const kept = g.op("Mul", [g.op("Sigmoid", ["gf"]), n("c")]);
      const c = g.op("Add", [kept, sigmoidTanh(g, "gi", "gg")]);
      return [sigmoidTanh(g, "go", c), w.out];
    }
    const bias = joined([gates(I.bih), gates(I.bhh)]);
    const one = (x, k) => g.op("Reshape", [n(x), g.ints([1, B, k])]);
    const weights = [g.init(gates(I.wih), [1, 4 * H, D]), g.init(gates(I.whh), [1, 4 * H, H])];
    const ins = [one("x", D), ...weights, g.init(bias, [1, 8 * H]), "", one("h", H), one("c", H)];
    g.op("LSTM", ins, { hidden_size: H }, ["", "yh"]);
    return [g.op("Reshape", ["yh", g.ints(w.out)]), w.out];
  },
  attention: (w) => (g, n) => {
    const k = g.op("Transpose", [n("k")], { perm: [0, 2, 1] });
    const scale = g.init(Float32Array.of(1 / Math.sqrt(w.dh)), []);
    const scores = g.op("Mul", [g.op("MatMul", [n("q"), k]), scale]);
    return [g.op("MatMul", [g.op("Softmax", [scores], { axis: -1 }), n("v")]), w.out];
  },
  embedding: (w) => (g, n) => [g.op("Gather", [n("table"), n("idx")], { axis: 0 }), w.out],
  gather: (w) => (g, n) => [g.op("GatherElements", [n("x"), n("idx")], { axis: 1 }), w.out],
  scatter: (w) => (g, n) => {
    const zeros = g.init(new Float32Array(size(w.out)), w.out);
    const at = g.op("Reshape", [n("idx"), g.ints([-1, 1])]);
    return [g.op("ScatterND", [zeros, at, n("src")], { reduction: "add" }), w.out];
  },
  topk: (w) => (g, n) => {
    g.op("TopK", [n("x"), g.ints([w.k])], { axis: -1 }, ["top", "tokens"]);
    const axis = g.init(BigInt64Array.of(1n), []);
    const sums = g.op("CumSum", [g.op("Softmax", ["top"], { axis: -1 }), axis]);
    const below = g.op("Cast", [g.op("Less", [sums, n("u")])], { to: 1 });
    const count = g.op("ReduceSum", [below, g.ints([1])], { keepdims: 1 });
    const at = g.op("Cast", [count], { to: INT64 });
    const token = g.op("GatherElements", ["tokens", at], { axis: 1 });
    return [g.op("Reshape", [g.op("Cast", [token], { to: 1 }), g.ints(w.out)]), w.out];
  },
});
// what a model holds as its weights: not fed
const WEIGHTS = {
  conv2d: ["w", "b"],
  layernorm: ["g", "b"],
  matvec: ["a"],
  lstm: ["wih", "whh", "bih", "bhh"],
  embedding: ["table"],
};
export async function prepare(w, I, cfg) {
  if (w.group === "training")
    throw new Error(
      "not there: onnxruntime-web runs inference only (its training build was withdrawn)",
    );
  layout = cfg.layout ?? (w.id === "conv-1x1" || w.id === "conv-dw" ? "NCHW" : null); // its default (NHWC) adds two transposes to a lone convolution; the faster of the two was taken per workload
  if (gpu && !device) {
    const g = new Graph();
    g.op("Identity", [g.input("x", [1])], {}, "out");
    g.output("out", [1]);
    await session(g.model());
  } // brings up the device
  const fedNames = w.net ? ["x"] : w.params ? [] : Object.keys(w.inputs);
  const spec = {};
  for (const n of fedNames)
    spec[n] = {
      data: I[n] instanceof Int32Array ? i64(I[n]) : I[n],
      dims: w.inputs[n].shape,
      const: WEIGHTS[w.op]?.includes(n) ?? false,
    };
  if (w.params) {
    const dec = w.op === "gptdecode",
      { T: TT, D, H, L } = GPT;
    spec.tokens = { data: i64(dec ? I.next : I.tokens), dims: [dec ? 1 : TT] };
    if (dec)
      for (let l = 0; l < L; l++)
        for (const k of "kv")
          spec[`past${k}${l}`] = {
            data: I[`past${k}${l}`],
            dims: cfg.fused ? [1, H, TT, D / H] : [H, TT, D / H],
          };
  }
  if (!BODY[w.op]) throw new Error("not there: " + w.op);
  const body = BODY[w.op]({ ...w, fused: cfg.fused }),
    s = await session(build(w, I, spec, body)),
    feeds = {};
  for (const n in spec) if (!spec[n].const) feeds[n] = put(spec[n].data, spec[n].dims);
  const o = s.outputNames[0],
    call = async () => (await s.run(feeds))[o];
  const p = {
    run: call,
    read: async (h) => (gpu ? await h.getData() : h.data),
    sync: async () => {
      if (gpu) await device.queue.onSubmittedWorkDone();
    },
    free: (h) => h.dispose(),
    dispose: async () => {
      await s.release();
      for (const b of bufs.splice(0)) b.destroy();
    },
  };
  if (w.op === "dispatch" && w.mode === "eager") {
    p.res = false;
    p.note = "one-node graph, 1000 session.run calls, output fed back";
    p.run = async () => {
      let h = feeds.x;
      for (let i = 0; i < w.n; i++) {
        const r = (await s.run({ x: h, y: feeds.y }))[o];
        if (i) h.dispose();
        h = r;
      }
      return h;
    };
  }
  if (w.kind === "op" && !gpu) {
    // resident variant: inputs as initialisers (no folding), output left inside, 8 values read
    const cs = {};
    for (const n in spec) cs[n] = { ...spec[n], const: true };
    const s2 = await session(
      build(w, I, cs, body, { tiny: w.out.length > 0 && size(w.out) > 8 }),
      w.op === "transpose"
        ? { graphOptimizationLevel: "disabled" }
        : { extra: { optimization: { disable_specified_optimizers: "ConstantFolding" } } },
    );
    const key = s2.outputNames[0];
    p.resident = {
      run: async () => (await s2.run({}))[key],
      sync: async () => {},
      free: (h) => h.dispose(),
    };
    p.checkRes = async () => {
      const h = (await s2.run({}))[key];
      return Float32Array.from(h.data);
    };
    const d0 = p.dispose;
    p.dispose = async () => {
      await s2.release();
      await d0();
    };
    p.note =
      "res: inputs as initialisers, output kept inside; lat: inputs fed and output copied each run";
  }
  return p;
}
