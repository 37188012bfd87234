// Float64 references in plain JavaScript (node), for every workload.
import { GPT, makeInputs } from "./spec.js";
const F = Float64Array;
const f64 = (a) => F.from(a);
export function matmul(A, B, M, K, N, bias = null) {
  const C = new F(M * N);
  for (let i = 0; i < M; i++) {
    const ci = i * N;
    if (bias) for (let j = 0; j < N; j++) C[ci + j] = bias[j];
    for (let k = 0; k < K; k++) {
      const a = A[i * K + k],
        bk = k * N;
      for (let j = 0; j < N; j++) C[ci + j] += a * B[bk + j];
    }
  }
  return C;
}
/** Integers of that many bits times a scale per group; weights of 16 bits are left alone. */
function roundedWeights(a, bits, group) {
  const most = 2 ** (bits - 1) - 1;
  for (let g = 0; bits < 16 && g < a.length; g += group) {
    const part = a.subarray(g, g + group),
      scale = Math.fround(part.reduce((m, v) => Math.max(m, Math.abs(v)), 0) / most);
    part.forEach((v, i) => (part[i] = Math.round(Math.fround(v / scale)) * scale));
  }
  return a;
}
const matmulTA = (A, B, M, K, N) => {
  const C = new F(K * N);
  for (let i = 0; i < M; i++)
    for (let k = 0; k < K; k++) {
      const a = A[i * K + k];
      for (let j = 0; j < N; j++) C[k * N + j] += a * B[i * N + j];
    }
  return C;
}; // A^T B
const matmulTB = (A, B, M, K, N) => {
  const C = new F(M * N);
  for (let i = 0; i < M; i++)
    for (let j = 0; j < N; j++) {
      let s = 0;
      for (let k = 0; k < K; k++) s += A[i * K + k] * B[j * K + k];
      C[i * N + j] = s;
    }
  return C;
}; // A B^T, B [N,K]
export function conv2d(X, Wt, Bs, { n, cin, cout, h, w, k, pad, stride, groups }) {
  const oh = Math.floor((h + 2 * pad - k) / stride) + 1,
    ow = Math.floor((w + 2 * pad - k) / stride) + 1,
    cg = cin / groups,
    og = cout / groups,
    Y = new F(n * cout * oh * ow);
  for (let b = 0; b < n; b++)
    for (let o = 0; o < cout; o++) {
      const yo = (b * cout + o) * oh * ow;
      if (Bs) Y.fill(Bs[o], yo, yo + oh * ow);
      const g = Math.floor(o / og);
      for (let c = 0; c < cg; c++) {
        const xo = (b * cin + g * cg + c) * h * w;
        for (let ky = 0; ky < k; ky++)
          for (let kx = 0; kx < k; kx++) {
            const wt = Wt[((o * cg + c) * k + ky) * k + kx];
            for (let y = 0; y < oh; y++) {
              const iy = y * stride + ky - pad;
              if (iy < 0 || iy >= h) continue;
              const x0 = Math.max(0, Math.ceil((pad - kx) / stride)),
                x1 = Math.min(ow - 1, Math.floor((w - 1 + pad - kx) / stride));
              let xi = xo + iy * w + x0 * stride + kx - pad;
              for (let x = x0, yi = yo + y * ow + x0; x <= x1; x++, yi++, xi += stride)
                Y[yi] += wt * X[xi];
            }
          }
      }
    }
  return Y;
}
function maxpool(X, [n, c, h, w], k, s, p, arg = null) {
  const oh = Math.floor((h + 2 * p - k) / s) + 1,
    ow = Math.floor((w + 2 * p - k) / s) + 1,
    Y = new F(n * c * oh * ow);
  for (let q = 0; q < n * c; q++)
    for (let y = 0; y < oh; y++)
      for (let x = 0; x < ow; x++) {
        let m = -Infinity,
          mi = -1;
        for (let ky = 0; ky < k; ky++)
          for (let kx = 0; kx < k; kx++) {
            const iy = y * s + ky - p,
              ix = x * s + kx - p;
            if (iy < 0 || ix < 0 || iy >= h || ix >= w) continue;
            const i = (q * h + iy) * w + ix;
            if (X[i] > m) {
              m = X[i];
              mi = i;
            }
          }
        const o = (q * oh + y) * ow + x;
        Y[o] = m;
        if (arg) arg[o] = mi;
      }
  return Y;
}
const ACT = { relu: (v) => (v > 0 ? v : 0), relu6: (v) => (v < 0 ? 0 : v > 6 ? 6 : v) };
export function netForward(net, x, P, keep = null) {
  const v = [f64(x)];
  const p = {};
  for (const k in P) p[k] = P[k] instanceof F ? P[k] : f64(P[k]);
  net.nodes.forEach((nd, i) => {
    if (nd.op === "input") return;
    const X = v[nd.x],
      s = net.nodes[nd.x].shape;
    let y;
    if (nd.op === "conv")
      y = conv2d(X, p[nd.w], p[nd.b], {
        n: s[0],
        cin: s[1],
        cout: nd.cout,
        h: s[2],
        w: s[3],
        k: nd.k,
        pad: nd.pad,
        stride: nd.stride,
        groups: nd.groups,
      });
    else if (nd.op === "maxpool") {
      const a = keep ? (keep[i] = new Int32Array(nd.shape.reduce((q, r) => q * r))) : null;
      y = maxpool(X, s, nd.k, nd.stride, nd.pad, a);
    } else if (nd.op === "relu") y = X.map(ACT.relu);
    else if (nd.op === "add") {
      y = new F(X.length);
      const Y = v[nd.y];
      for (let j = 0; j < y.length; j++) y[j] = X[j] + Y[j];
    } else if (nd.op === "gap") {
      const [n, c, h, w] = s;
      y = new F(n * c);
      for (let q = 0; q < n * c; q++) {
        let t = 0;
        for (let j = 0; j < h * w; j++) t += X[q * h * w + j];
        y[q] = t / (h * w);
      }
    } else if (nd.op === "flatten") y = X;
    else if (nd.op === "linear") y = matmul(X, p[nd.w], s[0], nd.cin, nd.cout, p[nd.b]);
    if (nd.act) y = y.map(ACT[nd.act]);
    v[i] = y;
  });
  return keep ? v : v[v.length - 1];
}
function xent(logits, labels, B, C) {
  // mean loss and its gradient
  const g = new F(B * C);
  let loss = 0;
  for (let b = 0; b < B; b++) {
    let m = -Infinity;
    for (let c = 0; c < C; c++) m = Math.max(m, logits[b * C + c]);
    let s = 0;
    for (let c = 0; c < C; c++) s += Math.exp(logits[b * C + c] - m);
    loss += Math.log(s) + m - logits[b * C + labels[b]];
    for (let c = 0; c < C; c++)
      g[b * C + c] = (Math.exp(logits[b * C + c] - m) / s - (c === labels[b] ? 1 : 0)) / B;
  }
  return [loss / B, g];
}
const colsum = (g, B, C) => {
  const o = new F(C);
  for (let b = 0; b < B; b++) for (let c = 0; c < C; c++) o[c] += g[b * C + c];
  return o;
};
const sgd = (p, g, lr) => {
  for (let i = 0; i < p.length; i++) p[i] -= lr * g[i];
};
function erf(x) {
  // series / continued fraction, double precision
  const a = Math.abs(x);
  let r;
  if (a < 2.5) {
    let t = a,
      s = a;
    for (let n = 1; n < 60; n++) {
      t *= (-a * a) / n;
      s += t / (2 * n + 1);
    }
    r = (2 / Math.sqrt(Math.PI)) * s;
  } else {
    let f = 0;
    for (let n = 60; n > 0; n--) f = n / 2 / (a + f);
    r = 1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + f);
  }
  return x < 0 ? -r : r;
}
const sigmoid = (v) => 1 / (1 + Math.exp(-v));
const geluTanh = (v) =>
  0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v * v * v)));
function layernorm(X, g, b, rows, D) {
  const Y = new F(rows * D);
  for (let r = 0; r < rows; r++) {
    let m = 0,
      q = 0;
    for (let j = 0; j < D; j++) m += X[r * D + j];
    m /= D;
    for (let j = 0; j < D; j++) q += (X[r * D + j] - m) ** 2;
    const s = 1 / Math.sqrt(q / D + 1e-5);
    for (let j = 0; j < D; j++) Y[r * D + j] = (X[r * D + j] - m) * s * g[j] + b[j];
  }
  return Y;
}
function gpt(inp, rows, past) {
  // rows tokens; past: keys/values [H,T,dh] per layer, or null
  const { L, D, H, T, V } = GPT,
    dh = D / H,
    p = {};
  for (const k in inp.params) p[k] = f64(inp.params[k]);
  const tok = past ? inp.next : inp.tokens,
    off = past ? T : 0;
  let x = new F(rows * D);
  for (let r = 0; r < rows; r++)
    for (let j = 0; j < D; j++) x[r * D + j] = p.emb[tok[r] * D + j] + p.pos[(off + r) * D + j];
  for (let l = 0; l < L; l++) {
    const a = layernorm(x, p[`h${l}.ln1.g`], p[`h${l}.ln1.b`], rows, D),
      qkv = matmul(a, p[`h${l}.qkv.w`], rows, D, 3 * D, p[`h${l}.qkv.b`]),
      y = new F(rows * D);
    const K = past && inp[`pastk${l}`],
      Vv = past && inp[`pastv${l}`],
      n0 = past ? T : 0;
    for (let h = 0; h < H; h++)
      for (let r = 0; r < rows; r++) {
        const S = n0 + r + 1,
          sc = new F(S);
        let mx = -Infinity;
        for (let s = 0; s < S; s++) {
          let d = 0;
          for (let j = 0; j < dh; j++)
            d +=
              qkv[r * 3 * D + h * dh + j] *
              (s < n0 ? K[(h * T + s) * dh + j] : qkv[(s - n0) * 3 * D + D + h * dh + j]);
          sc[s] = d / Math.sqrt(dh);
          mx = Math.max(mx, sc[s]);
        }
        let t = 0;
        for (let s = 0; s < S; s++) t += sc[s] = Math.exp(sc[s] - mx);
        for (let s = 0; s < S; s++)
          for (let j = 0; j < dh; j++)
            y[r * D + h * dh + j] +=
              (sc[s] / t) *
              (s < n0 ? Vv[(h * T + s) * dh + j] : qkv[(s - n0) * 3 * D + 2 * D + h * dh + j]);
      }
    const o = matmul(y, p[`h${l}.proj.w`], rows, D, D, p[`h${l}.proj.b`]);
    for (let i = 0; i < o.length; i++) x[i] += o[i];
    const f = matmul(
        layernorm(x, p[`h${l}.ln2.g`], p[`h${l}.ln2.b`], rows, D),
        p[`h${l}.fc.w`],
        rows,
        D,
        4 * D,
        p[`h${l}.fc.b`],
      ).map(geluTanh),
      m = matmul(f, p[`h${l}.out.w`], rows, 4 * D, D, p[`h${l}.out.b`]);
    for (let i = 0; i < m.length; i++) x[i] += m[i];
  }
  return matmul(layernorm(x, p["lnf.g"], p["lnf.b"], rows, D), p["head.w"], rows, D, V);
}
// Expected output (Float64Array). For training: the losses of the first `steps` steps, then the last layer's weights after them.
export function reference(w) {
  const I = makeInputs(w);
  switch (w.op) {
    case "matmul":
      return matmul(f64(I.a), f64(I.b), w.N, w.N, w.N);
    case "conv2d":
      return conv2d(f64(I.x), f64(I.w), f64(I.b), w.conv);
    case "softmax": {
      const [R, C] = w.out,
        Y = new F(R * C);
      for (let r = 0; r < R; r++) {
        let m = -Infinity,
          s = 0;
        for (let c = 0; c < C; c++) m = Math.max(m, I.x[r * C + c]);
        for (let c = 0; c < C; c++) s += Y[r * C + c] = Math.exp(I.x[r * C + c] - m);
        for (let c = 0; c < C; c++) Y[r * C + c] /= s;
      }
      return Y;
    }
    case "layernorm":
      return layernorm(I.x, I.g, I.b, w.out[0], w.out[1]);
    case "ewchain":
      return F.from(I.x, (x, i) => {
        const v = x * 2 + 1;
        return 0.5 * v * (1 + erf(v / Math.SQRT2)) * I.y[i];
      });
    case "sum": {
      let s = 0;
      for (const v of I.x) s += v;
      return F.of(s);
    }
    case "reduce": {
      const N = 2048,
        Y = new F(N);
      for (let r = 0; r < N; r++) for (let c = 0; c < N; c++) Y[w.axis ? r : c] += I.x[r * N + c];
      return Y;
    }
    case "transpose": {
      const N = 2048,
        Y = new F(N * N);
      for (let r = 0; r < N; r++) for (let c = 0; c < N; c++) Y[c * N + r] = I.x[r * N + c];
      return Y;
    }
    case "net":
      return netForward(w.net, I.x, I.params);
    case "gpt":
      return gpt(I, GPT.T, false);
    case "gptdecode":
      return gpt(I, 1, true);
    case "dispatch":
      return F.from(I.x, (x, i) => x + w.n * I.y[i]);
    case "matvec":
      return matmul(f64(I.a), f64(I.x), 4096, 4096, 1);
    case "matvecpacked":
      return matmul(roundedWeights(f64(I.a), w.bits, w.group_size), f64(I.x), 4096, 4096, 1);
    case "bmm": {
      const [B, M, K] = w.inputs.a.shape,
        N = w.inputs.b.shape[2],
        Y = new F(B * M * N);
      for (let i = 0; i < B; i++) {
        const a = f64(I.a.subarray(i * M * K, (i + 1) * M * K)),
          b = f64(I.b.subarray(i * K * N, (i + 1) * K * N));
        Y.set(matmul(a, b, M, K, N), i * M * N);
      }
      return Y;
    }
    case "lstm": {
      const { B, D, H } = w,
        a = matmulTB(f64(I.x), f64(I.wih), B, D, 4 * H),
        r = matmulTB(f64(I.h), f64(I.whh), B, H, 4 * H),
        Y = new F(B * H);
      for (let b = 0; b < B; b++)
        for (let j = 0; j < H; j++) {
          const [i, f, g, o] = [0, 1, 2, 3].map((q) => {
            const k = q * H + j;
            return a[b * 4 * H + k] + r[b * 4 * H + k] + I.bih[k] + I.bhh[k];
          });
          const c = sigmoid(f) * I.c[b * H + j] + sigmoid(i) * Math.tanh(g);
          Y[b * H + j] = sigmoid(o) * Math.tanh(c);
        }
      return Y;
    }
    case "attention": {
      const { heads, T, dh } = w,
        n = T * dh,
        Y = new F(heads * n);
      for (let h = 0; h < heads; h++) {
        const [q, k, v] = [I.q, I.k, I.v].map((x) => f64(x.subarray(h * n, (h + 1) * n))),
          s = matmulTB(q, k, T, dh, T);
        for (let r = 0; r < T; r++) {
          const row = s.subarray(r * T, (r + 1) * T);
          let t = 0;
          for (let i = 0; i < T; i++) t += row[i] = Math.exp(row[i] / Math.sqrt(dh));
          for (let i = 0; i < T; i++) row[i] /= t;
        }
        Y.set(matmul(s, v, T, T, dh), h * n);
      }
      return Y;
    }
    case "bntrain": {
      const [n, c, h, wd] = w.out,
        m = n * h * wd,
        Y = new F(n * c * h * wd);
      for (let k = 0; k < c; k++) {
        const each = (f) => {
          for (let b = 0; b < n; b++) {
            const o = (b * c + k) * h * wd;
            for (let i = o; i < o + h * wd; i++) f(i);
          }
        };
        let mean = 0,
          q = 0,
          sg = 0,
          sgx = 0;
        each((i) => (mean += I.x[i] / m));
        each((i) => (q += (I.x[i] - mean) ** 2 / m));
        const r = 1 / Math.sqrt(q + 1e-5);
        each((i) => {
          sg += I.dy[i];
          sgx += I.dy[i] * (I.x[i] - mean) * r;
        });
        each((i) => {
          Y[i] = I.g[k] * r * (I.dy[i] - sg / m - ((I.x[i] - mean) * r * sgx) / m);
        });
      }
      return Y;
    }
    case "adam": {
      const p = f64(I.p);
      for (let i = 0; i < p.length; i++) {
        let m = 0,
          v = 0;
        for (let t = 1; t <= w.steps; t++) {
          m = 0.9 * m + 0.1 * I.g[i];
          v = 0.999 * v + 0.001 * I.g[i] ** 2;
          p[i] -= (w.lr * (m / (1 - 0.9 ** t))) / (Math.sqrt(v / (1 - 0.999 ** t)) + 1e-8);
        }
      }
      return p;
    }
    case "embedding": {
      const D = w.out[1],
        Y = new F(w.out[0] * D);
      I.idx.forEach((k, r) => Y.set(I.table.subarray(k * D, (k + 1) * D), r * D));
      return Y;
    }
    case "gather": {
      const C = w.out[1];
      return F.from(I.idx, (k, i) => I.x[Math.floor(i / C) * C + k]);
    }
    case "scatter": {
      const [R, D] = w.out,
        Y = new F(R * D);
      I.idx.forEach((k, r) => {
        for (let j = 0; j < D; j++) Y[k * D + j] += I.src[r * D + j];
      });
      return Y;
    }
    case "topk": {
      const V = w.inputs.x.shape[1];
      return F.from(I.u, (u, r) => {
        const row = I.x.subarray(r * V, (r + 1) * V),
          top = Array.from(row.keys())
            .sort((a, b) => row[b] - row[a] || a - b)
            .slice(0, w.k),
          e = top.map((i) => Math.exp(row[i] - row[top[0]])),
          sum = e.reduce((a, b) => a + b);
        let t = 0;
        return top[e.filter((v) => (t += v / sum) < u).length];
      });
    }
    case "fma":
      return F.of(2, 2, 2, 2);
    case "copy":
      return F.of(1, 2, 3, 4);
    case "mlptrain": {
      const [n0, n1, n2] = w.sizes,
        B = w.B,
        x = f64(I.x),
        w1 = f64(I.w1),
        b1 = f64(I.b1),
        w2 = f64(I.w2),
        b2 = f64(I.b2),
        losses = [];
      for (let s = 0; s < w.steps; s++) {
        const z = matmul(x, w1, B, n0, n1, b1),
          a = z.map(ACT.relu),
          o = matmul(a, w2, B, n1, n2, b2);
        const [loss, g] = xent(o, I.labels, B, n2);
        losses.push(loss);
        const gw2 = matmulTA(a, g, B, n1, n2),
          ga = matmulTB(g, w2, B, n2, n1);
        for (let i = 0; i < ga.length; i++) if (!(z[i] > 0)) ga[i] = 0;
        const gw1 = matmulTA(x, ga, B, n0, n1);
        sgd(w2, gw2, w.lr);
        sgd(b2, colsum(g, B, n2), w.lr);
        sgd(b1, colsum(ga, B, n1), w.lr);
        sgd(w1, gw1, w.lr);
      }
      return F.of(...losses, ...w2);
    }
    case "cnntrain": {
      const P = {};
      for (const k in I.params) P[k] = f64(I.params[k]);
      const N = w.net.nodes,
        B = w.B,
        losses = [];
      let last;
      for (let s = 0; s < w.steps; s++) {
        const keep = {},
          v = netForward(w.net, I.x, P, keep),
          [loss, g0] = xent(v[v.length - 1], I.labels, B, 10);
        losses.push(loss);
        let g = g0;
        const upd = [];
        for (let i = N.length - 1; i > 0; i--) {
          const nd = N[i],
            X = v[nd.x],
            sh = N[nd.x].shape;
          if (nd.op === "linear") {
            last = nd.w;
            upd.push([nd.w, matmulTA(X, g, B, nd.cin, nd.cout)], [nd.b, colsum(g, B, nd.cout)]);
            g = matmulTB(g, P[nd.w], B, nd.cout, nd.cin);
          } else if (nd.op === "relu") {
            const q = g;
            g = X.map((u, j) => (u > 0 ? q[j] : 0));
          } else if (nd.op === "maxpool") {
            const q = new F(X.length),
              a = keep[i];
            for (let j = 0; j < a.length; j++) q[a[j]] += g[j];
            g = q;
          } else if (nd.op === "conv") {
            const { cin, cout, k, pad } = nd,
              [, , h, wd] = sh,
              gw = new F(cout * cin * k * k),
              gb = new F(cout),
              gx = new F(X.length);
            for (let b = 0; b < B; b++)
              for (let o = 0; o < cout; o++) {
                const go = (b * cout + o) * h * wd;
                for (let j = 0; j < h * wd; j++) gb[o] += g[go + j];
                for (let c = 0; c < cin; c++) {
                  const xo = (b * cin + c) * h * wd;
                  for (let ky = 0; ky < k; ky++)
                    for (let kx = 0; kx < k; kx++) {
                      let t = 0;
                      const wi = ((o * cin + c) * k + ky) * k + kx,
                        wt = P[nd.w][wi];
                      for (let y = Math.max(0, pad - ky); y < Math.min(h, h + pad - ky); y++)
                        for (let x = Math.max(0, pad - kx); x < Math.min(wd, wd + pad - kx); x++) {
                          const xi = xo + (y + ky - pad) * wd + x + kx - pad,
                            gv = g[go + y * wd + x];
                          t += gv * X[xi];
                          gx[xi] += gv * wt;
                        }
                      gw[wi] += t;
                    }
                }
              }
            upd.push([nd.w, gw], [nd.b, gb]);
            g = gx;
          }
        }
        for (const [k, gr] of upd) sgd(P[k], gr, w.lr);
      }
      return F.of(...losses, ...P["c1.w"]);
    }
  }
  throw new Error("no reference for " + w.op);
}
