// Workloads, shared by the driver (node) and the pages (browser).
// A workload: id, group, desc, kind, op, inputs {name: {shape, scale?, shift?, max?}} (max: integers below it), flops, bytes (memory moved at least), tol.
//   kind 'op'    : main figure 'res' = inputs and output resident, B runs then one synchronisation, per run
//   kind 'lat'   : main figure 'lat' = one run and the awaited read of its (small) output
//   kind 'train' : main figure 'lat' = one SGD step and the awaited read of its loss
// Inputs are generated from the seed text `${id}:${name}`, so every system (and a later one) gets the same numbers.

function hash(s) {
  let h = 2166136261;
  for (let i = 0; i < s.length; i++) {
    h ^= s.charCodeAt(i);
    h = Math.imul(h, 16777619);
  }
  return h >>> 0;
}
export function rand(seedText, n, scale = 1, shift = 0) {
  const out = new Float32Array(n);
  let a = hash(seedText);
  for (let i = 0; i < n; i++) {
    // mulberry32
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    out[i] = ((((t ^ (t >>> 14)) >>> 0) / 4294967296) * 2 - 1) * scale + shift;
  }
  return out;
}
export const size = (s) => s.reduce((a, b) => a * b, 1);
export function randInts(seedText, n, max) {
  const r = rand(seedText, n);
  return Int32Array.from(r, (v) => Math.min(max - 1, Math.floor(((v + 1) / 2) * max)));
}

// ---- feed-forward nets as a list of nodes (SSA by index; node 0 is the input) ----
class Net {
  constructor(shape) {
    this.nodes = [{ op: "input", shape }];
    this.params = {};
    this.flops = 0;
  }
  push(n) {
    this.nodes.push(n);
    return this.nodes.length - 1;
  }
  shape(i) {
    return this.nodes[i].shape;
  }
  param(name, shape, fanIn) {
    this.params[name] = { shape, scale: fanIn ? Math.sqrt(6 / fanIn) : 0.1 };
    return name;
  }
  conv(x, cout, k, { stride = 1, pad = 0, groups = 1, act = null, gain = 1 } = {}) {
    const [n, c, h, w] = this.shape(x);
    const i = this.nodes.length;
    const oh = Math.floor((h + 2 * pad - k) / stride) + 1,
      ow = Math.floor((w + 2 * pad - k) / stride) + 1;
    const wn = this.param(
        `c${i}.w`,
        [cout, c / groups, k, k],
        ((c / groups) * k * k) / (gain * gain),
      ),
      bn = this.param(`c${i}.b`, [cout]);
    this.flops += 2 * n * cout * oh * ow * (c / groups) * k * k;
    return this.push({
      op: "conv",
      x,
      w: wn,
      b: bn,
      k,
      stride,
      pad,
      groups,
      act,
      cin: c,
      cout,
      shape: [n, cout, oh, ow],
    });
  }
  maxpool(x, k, stride, pad = 0) {
    const [n, c, h, w] = this.shape(x);
    return this.push({
      op: "maxpool",
      x,
      k,
      stride,
      pad,
      shape: [
        n,
        c,
        Math.floor((h + 2 * pad - k) / stride) + 1,
        Math.floor((w + 2 * pad - k) / stride) + 1,
      ],
    });
  }
  relu(x) {
    return this.push({ op: "relu", x, shape: this.shape(x) });
  }
  add(x, y, act = null) {
    return this.push({ op: "add", x, y, act, shape: this.shape(x) });
  }
  gap(x) {
    const [n, c] = this.shape(x);
    return this.push({ op: "gap", x, shape: [n, c] });
  }
  flatten(x) {
    const s = this.shape(x);
    return this.push({ op: "flatten", x, from: s, shape: [s[0], size(s.slice(1))] });
  }
  linear(x, out) {
    const [n, c] = this.shape(x);
    const i = this.nodes.length; // weight stored [in, out]
    const wn = this.param(`l${i}.w`, [c, out], c * 2),
      bn = this.param(`l${i}.b`, [out]);
    this.flops += 2 * n * c * out;
    return this.push({ op: "linear", x, w: wn, b: bn, cin: c, cout: out, shape: [n, out] });
  }
}
export function cnn(batch) {
  const m = new Net([batch, 3, 32, 32]);
  let x = m.relu(m.maxpool(m.conv(0, 16, 5, { pad: 2 }), 2, 2));
  x = m.relu(m.maxpool(m.conv(x, 32, 5, { pad: 2 }), 2, 2));
  m.linear(m.flatten(x), 10);
  return m;
}
export function resnet18() {
  const m = new Net([1, 3, 224, 224]);
  let x = m.maxpool(m.conv(0, 64, 7, { stride: 2, pad: 3, act: "relu" }), 3, 2, 1);
  for (const [c, s] of [
    [64, 1],
    [128, 2],
    [256, 2],
    [512, 2],
  ])
    for (let b = 0; b < 2; b++) {
      const st = b === 0 ? s : 1;
      let y = m.conv(x, c, 3, { stride: st, pad: 1, act: "relu" });
      y = m.conv(y, c, 3, { pad: 1, gain: 0.5 });
      const id = st !== 1 || m.shape(x)[1] !== c ? m.conv(x, c, 1, { stride: st, gain: 0.7 }) : x;
      x = m.add(y, id, "relu");
    }
  m.linear(m.gap(x), 1000);
  return m;
}
export function mobilenetv2() {
  const m = new Net([1, 3, 224, 224]);
  let x = m.conv(0, 32, 3, { stride: 2, pad: 1, act: "relu6" });
  for (const [t, c, n, s] of [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
  ])
    for (let b = 0; b < n; b++) {
      const cin = m.shape(x)[1],
        st = b === 0 ? s : 1;
      let y = x;
      if (t !== 1) y = m.conv(y, cin * t, 1, { act: "relu6" });
      y = m.conv(y, cin * t, 3, { stride: st, pad: 1, groups: cin * t, act: "relu6" });
      y = m.conv(y, c, 1, { gain: 0.7 });
      x = st === 1 && cin === c ? m.add(x, y) : y;
    }
  m.linear(m.gap(m.conv(x, 1280, 1, { act: "relu6" })), 1000);
  return m;
}

// ---- GPT-like transformer: pre-norm, causal, tanh-gelu MLP, untied head without bias ----
export const GPT = { L: 6, D: 384, H: 6, T: 64, V: 1000 };
export function gptParams({ L, D, V, T } = GPT) {
  const p = {};
  const lin = (n, i, o) => {
    p[n + ".w"] = { shape: [i, o], scale: Math.sqrt(3 / i) };
    p[n + ".b"] = { shape: [o], scale: 0.05 };
  };
  const ln = (n) => {
    p[n + ".g"] = { shape: [D], scale: 0.1, shift: 1 };
    p[n + ".b"] = { shape: [D], scale: 0.1 };
  };
  p["emb"] = { shape: [V, D] };
  p["pos"] = { shape: [T + 1, D], scale: 0.3 };
  for (let l = 0; l < L; l++) {
    ln(`h${l}.ln1`);
    lin(`h${l}.qkv`, D, 3 * D);
    lin(`h${l}.proj`, D, D);
    ln(`h${l}.ln2`);
    lin(`h${l}.fc`, D, 4 * D);
    lin(`h${l}.out`, 4 * D, D);
  }
  ln("lnf");
  p["head.w"] = { shape: [D, V], scale: Math.sqrt(3 / D) };
  return p;
}

export const workloads = [];
const W = (o) => workloads.push({ tol: 2e-4, ...o });
for (const N of [128, 256, 512, 1024, 2048])
  W({
    id: `matmul-${N}`,
    group: "matmul",
    kind: "op",
    op: "matmul",
    desc: `f32 [${N},${N}]@[${N},${N}]`,
    N,
    inputs: { a: { shape: [N, N] }, b: { shape: [N, N] } },
    out: [N, N],
    flops: 2 * N ** 3,
  });
const conv = (id, desc, n, cin, cout, h, k, pad, groups = 1) =>
  W({
    id,
    group: "conv2d",
    kind: "op",
    op: "conv2d",
    desc,
    conv: { n, cin, cout, h, w: h, k, pad, groups, stride: 1 },
    inputs: {
      x: { shape: [n, cin, h, h] },
      w: { shape: [cout, cin / groups, k, k] },
      b: { shape: [cout] },
    },
    out: [n, cout, h, h],
    flops: ((2 * n * cout * h * h * cin) / groups) * k * k,
  });
conv("conv-3x3", "3x3 64->64, 56x56, batch 1, pad 1", 1, 64, 64, 56, 3, 1);
conv("conv-1x1", "1x1 256->64, 56x56, batch 1", 1, 256, 64, 56, 1, 0);
conv("conv-dw", "depthwise 3x3, 96 ch, 112x112, batch 1", 1, 96, 96, 112, 3, 1, 96);
conv("conv-5x5-b64", "5x5 3->16, 32x32, batch 64, pad 2", 64, 3, 16, 32, 5, 2);
const M4 = 1 << 22;
W({
  id: "softmax",
  group: "memory",
  kind: "op",
  op: "softmax",
  desc: "softmax rows of 1024x1024",
  inputs: { x: { shape: [1024, 1024], scale: 4 } },
  out: [1024, 1024],
  bytes: 8 * 1024 * 1024,
});
W({
  id: "layernorm",
  group: "memory",
  kind: "op",
  op: "layernorm",
  desc: "layernorm 1024x768 (gain, bias)",
  inputs: { x: { shape: [1024, 768] }, g: { shape: [768] }, b: { shape: [768] } },
  out: [1024, 768],
  bytes: 8 * 1024 * 768,
});
W({
  id: "ew-chain",
  group: "memory",
  kind: "op",
  op: "ewchain",
  desc: "gelu(x*2+1)*y on 4M (erf gelu)",
  inputs: { x: { shape: [M4] }, y: { shape: [M4] } },
  out: [M4],
  bytes: 12 * M4,
});
W({
  id: "sum-4M",
  group: "memory",
  kind: "op",
  op: "sum",
  desc: "sum of 4M to a scalar",
  inputs: { x: { shape: [M4], shift: 0.5 } },
  out: [1],
  bytes: 4 * M4,
});
W({
  id: "reduce-ax0",
  group: "memory",
  kind: "op",
  op: "reduce",
  axis: 0,
  desc: "sum 2048x2048 over axis 0",
  inputs: { x: { shape: [2048, 2048], shift: 0.5 } },
  out: [2048],
  bytes: 4 * M4,
});
W({
  id: "reduce-ax1",
  group: "memory",
  kind: "op",
  op: "reduce",
  axis: 1,
  desc: "sum 2048x2048 over axis 1",
  inputs: { x: { shape: [2048, 2048], shift: 0.5 } },
  out: [2048],
  bytes: 4 * M4,
});
W({
  id: "transpose",
  group: "memory",
  kind: "op",
  op: "transpose",
  desc: "transpose copy of 2048x2048",
  inputs: { x: { shape: [2048, 2048] } },
  out: [2048, 2048],
  bytes: 8 * M4,
});
for (const b of [1, 64]) {
  const net = cnn(b);
  W({
    id: `cnn-b${b}`,
    group: "nets",
    kind: "lat",
    op: "net",
    net,
    desc: `small CNN inference, batch ${b}`,
    inputs: { x: { shape: [b, 3, 32, 32] } },
    out: [b, 10],
    flops: net.flops,
  });
}
W({
  id: "mlp-train",
  group: "training",
  kind: "train",
  op: "mlptrain",
  desc: "MLP 784-256-10 training step, batch 64",
  B: 64,
  sizes: [784, 256, 10],
  lr: 0.01,
  steps: 3,
  tol: 1e-3,
  inputs: {
    x: { shape: [64, 784] },
    w1: { shape: [784, 256], scale: Math.sqrt(3 / 784) },
    b1: { shape: [256], scale: 0.05 },
    w2: { shape: [256, 10], scale: Math.sqrt(3 / 256) },
    b2: { shape: [10], scale: 0.05 },
  },
  flops: 6 * 64 * (784 * 256 + 256 * 10) - 2 * 64 * 784 * 256,
});
{
  const net = cnn(64);
  W({
    id: "cnn-train",
    group: "training",
    kind: "train",
    op: "cnntrain",
    net,
    desc: "small CNN training step, batch 64",
    B: 64,
    lr: 0.001,
    steps: 3,
    tol: 2e-3,
    inputs: { x: { shape: [64, 3, 32, 32] } },
    flops: 3 * net.flops - 2 * 64 * 16 * 1024 * 75,
  });
}
{
  const { L, D, T, V } = GPT;
  const lin = L * 12 * D * D + D * V;
  W({
    id: "gpt-fwd",
    group: "nets",
    kind: "lat",
    op: "gpt",
    desc: `GPT forward, ${L} layers, d=${D}, T=${T}, batch 1`,
    params: gptParams(),
    out: [T, V],
    flops: 2 * T * lin + L * 4 * T * T * D,
    inputs: {},
  });
  W({
    id: "gpt-decode",
    group: "nets",
    kind: "lat",
    op: "gptdecode",
    desc: `GPT one-token decode, KV cache of ${T}`,
    params: gptParams(),
    out: [1, V],
    flops: 2 * lin + L * 4 * (T + 1) * D,
    inputs: {},
    bytes: 4 * lin,
  });
}
{
  const net = resnet18();
  W({
    id: "resnet18",
    group: "nets",
    kind: "lat",
    op: "net",
    net,
    desc: "ResNet-18 shape, 224x224, batch 1 (norms folded)",
    inputs: { x: { shape: [1, 3, 224, 224] } },
    out: [1, 1000],
    flops: net.flops,
    tol: 1e-3,
  });
}
{
  const net = mobilenetv2();
  W({
    id: "mobilenetv2",
    group: "nets",
    kind: "lat",
    op: "net",
    net,
    desc: "MobileNetV2 shape, 224x224, batch 1 (norms folded)",
    inputs: { x: { shape: [1, 3, 224, 224] } },
    out: [1, 1000],
    flops: net.flops,
    tol: 1e-3,
  });
}
W({
  id: "dispatch-eager",
  group: "overhead",
  kind: "lat",
  op: "dispatch",
  mode: "eager",
  n: 1000,
  desc: "1000 dependent adds on 16 elements, one call each",
  inputs: { x: { shape: [16] }, y: { shape: [16], scale: 0.01 } },
  out: [16],
});
W({
  id: "dispatch-graph",
  group: "overhead",
  kind: "lat",
  op: "dispatch",
  mode: "graph",
  n: 1000,
  desc: "the same 1000 adds given as one graph / jit function",
  inputs: { x: { shape: [16] }, y: { shape: [16], scale: 0.01 } },
  out: [16],
});

// ---- layers, indexing, sampling and the optimizer ----
W({
  id: "matvec",
  group: "products",
  kind: "op",
  op: "matvec",
  desc: "f32 [4096,4096]@[4096]",
  inputs: { a: { shape: [4096, 4096] }, x: { shape: [4096] } },
  out: [4096],
  bytes: 4 * 4096 * 4096,
});
// the same with weights of fewer bits, and a scale per row, or per `group` of a row
for (const [name, bits, group] of [
  ["f16", 16, 0],
  ["int8", 8, 4096],
  ["int4", 4, 128],
])
  W({
    id: `matvec-${name}`,
    group: "products",
    kind: "op",
    op: "matvecpacked",
    bits,
    group_size: group,
    desc: `${name} weights [4096,4096], f32 [4096]`,
    inputs: { a: { shape: [4096, 4096] }, x: { shape: [4096] } },
    out: [4096],
    bytes: (bits / 8) * 4096 * 4096,
    tol: 4e-3, // a few weights lie in the middle between two steps and may be rounded either way
  });
W({
  id: "bmm",
  group: "products",
  kind: "op",
  op: "bmm",
  desc: "256 products [64,32]@[32,64]",
  inputs: { a: { shape: [256, 64, 32] }, b: { shape: [256, 32, 64] } },
  out: [256, 64, 64],
  flops: 2 * 256 * 64 * 64 * 32,
});
W({
  id: "lstm-step",
  group: "layers",
  kind: "op",
  op: "lstm",
  desc: "one LSTM step, batch 32, 256 inputs, 512 hidden (weights [4H,·], gates i f g o); the new h",
  B: 32,
  D: 256,
  H: 512,
  inputs: {
    x: { shape: [32, 256] },
    h: { shape: [32, 512] },
    c: { shape: [32, 512] },
    wih: { shape: [2048, 256], scale: 0.1 },
    whh: { shape: [2048, 512], scale: 0.1 },
    bih: { shape: [2048], scale: 0.1 },
    bhh: { shape: [2048], scale: 0.1 },
  },
  out: [32, 512],
  flops: 2 * 32 * 2048 * 768,
});
W({
  id: "attn-1024",
  group: "layers",
  kind: "op",
  op: "attention",
  desc: "attention, 8 heads of 64, T=1024, no mask",
  heads: 8,
  T: 1024,
  dh: 64,
  inputs: {
    q: { shape: [8, 1024, 64], scale: 3 },
    k: { shape: [8, 1024, 64] },
    v: { shape: [8, 1024, 64] },
  },
  out: [8, 1024, 64],
  flops: 4 * 8 * 1024 * 1024 * 64,
});
W({
  id: "bn-train",
  group: "training",
  kind: "op",
  op: "bntrain",
  desc: "BatchNorm2d in training, 16x64x32x32: forward, running averages, backward; the input's gradient",
  inputs: {
    x: { shape: [16, 64, 32, 32], shift: 0.3 },
    dy: { shape: [16, 64, 32, 32] },
    g: { shape: [64], shift: 1, scale: 0.5 },
    b: { shape: [64] },
  },
  out: [16, 64, 32, 32],
  bytes: 4 * 4 * (1 << 20),
});
W({
  id: "adam-10m",
  group: "training",
  kind: "op",
  op: "adam",
  desc: "Adam update of 10 tensors of 1024x1024 with given gradients",
  copies: 10,
  lr: 0.01,
  steps: 3,
  inputs: { p: { shape: [1024, 1024] }, g: { shape: [1024, 1024] } },
  out: [1024, 1024],
  bytes: 28 * 10 * (1 << 20),
});
W({
  id: "embedding",
  group: "indexing",
  kind: "op",
  op: "embedding",
  desc: "4096 rows of a 32000x256 table",
  inputs: { table: { shape: [32000, 256] }, idx: { shape: [4096], max: 32000 } },
  out: [4096, 256],
  bytes: 8 * 4096 * 256,
});
W({
  id: "gather",
  group: "indexing",
  kind: "op",
  op: "gather",
  desc: "gather along the rows of 1024x1024",
  inputs: { x: { shape: [1024, 1024] }, idx: { shape: [1024, 1024], max: 1024 } },
  out: [1024, 1024],
  bytes: 12 * 1024 * 1024,
});
W({
  id: "scatter",
  group: "indexing",
  kind: "op",
  op: "scatter",
  desc: "16384 rows of 64 added into a zeroed 4096x64 by index (an embedding's gradient)",
  inputs: { src: { shape: [16384, 64] }, idx: { shape: [16384], max: 4096 } },
  out: [4096, 64],
  bytes: 4 * (16384 * 64 + 4096 * 64),
});
W({
  id: "topk-sample",
  group: "sampling",
  kind: "lat",
  op: "topk",
  desc: "16 tokens from the top 50 of 32000 logits, with given uniform numbers",
  k: 50,
  tol: 0,
  inputs: { x: { shape: [16, 32000], scale: 8 }, u: { shape: [16, 1], scale: 0.5, shift: 0.5 } },
  out: [16],
  bytes: 4 * 16 * 32000,
});

// ---- what the machine can do at most: only the systems marked `limit` run these ----
W({
  id: "limit-fma",
  group: "limits",
  limit: true,
  kind: "op",
  op: "fma",
  desc: "independent chains of fused multiply-adds in registers",
  inputs: {},
  out: [4],
  flops: 2 ** 31,
});
W({
  id: "limit-copy",
  group: "limits",
  limit: true,
  kind: "op",
  op: "copy",
  desc: "copy of 4M floats, the faster of a vector loop and the platform's own",
  inputs: {},
  out: [4],
  bytes: 8 * M4,
});

export const byId = (id) => workloads.find((w) => w.id === id);
// Fresh input values: {name: Float32Array | Int32Array}
export function makeInputs(w) {
  const o = {};
  for (const [n, s] of Object.entries(w.inputs))
    o[n] = s.max
      ? randInts(`${w.id}:${n}`, size(s.shape), s.max)
      : rand(`${w.id}:${n}`, size(s.shape), s.scale ?? 1, s.shift ?? 0);
  if (w.kind === "train") o.labels = randInts(`${w.id}:labels`, w.B, 10);
  if (w.net) {
    const key = w.net.nodes.length > 20 ? w.id : "cnn";
    o.params = {};
    for (const [n, s] of Object.entries(w.net.params))
      o.params[n] = rand(`${key}:${n}`, size(s.shape), s.scale);
  }
  if (w.params) {
    o.params = {};
    for (const [n, s] of Object.entries(w.params))
      o.params[n] = rand(`gpt:${n}`, size(s.shape), s.scale ?? 1, s.shift ?? 0);
    o.tokens = randInts("gpt:tokens", GPT.T, GPT.V);
    o.next = randInts("gpt:next", 1, GPT.V);
    if (w.op === "gptdecode")
      for (let l = 0; l < GPT.L; l++)
        for (const k of "kv") o[`past${k}${l}`] = rand(`gpt:past${k}${l}`, GPT.T * GPT.D); // [H, T, D/H]
  }
  return o;
}
