// The gradient of a 2-d convolution for its input: operands for `product` of matmul.wgsl.
//
// Bindings: g (N, O, OH, OW), w (O, C/g, KH, KW), out (N, C, H, W).
// M = C/g, N = batch · H · W, K = O/g · KH · KW; a = w with its channels exchanged, b = the places
// of g that a pixel of x contributed to.

// [operands
alias Factor = f32; // or f16
@group(0) @binding(0) var<storage, read> g: array<Factor>;
@group(0) @binding(1) var<storage, read> w: array<Factor>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

const BATCH: u32 = 1u; // groups
const M: u32 = 1u;
const N: u32 = 1u;
const K: u32 = 1u;
const A_ALONG_K: bool = true;
const B_ALONG_K: bool = false;
const C: u32 = 1u; // channels of x
const H: u32 = 1u;
const W: u32 = 1u;
const O: u32 = 1u; // channels of y
const KH: u32 = 1u;
const KW: u32 = 1u;
const OH: u32 = 1u;
const OW: u32 = 1u;
const SH: u32 = 1u;
const SW: u32 = 1u;
const PH: u32 = 0u;
const PW: u32 = 0u;
const DH: u32 = 1u;
const DW: u32 = 1u;
const CG: u32 = 1u; // channels of x in a group
const OG: u32 = 1u;

fn bases(z: u32) -> vec2<u32> { return vec2<u32>(z * OG, z * OG); }
fn load_a(base: u32, m: u32, k: u32) -> Factor {
  if (m >= M || k >= K) { return 0.0; }
  return w[((base + k / (KH * KW)) * CG + m) * (KH * KW) + k % (KH * KW)];
}
fn load_b(base: u32, k: u32, n: u32) -> Factor {
  if (n >= N || k >= K) { return 0.0; }
  let p = n % (H * W);
  let h = p / W + PH - (k / KW) % KH * DH; // wraps below 0
  let v = p % W + PW - k % KW * DW;
  if (h % SH != 0u || v % SW != 0u || h / SH >= OH || v / SW >= OW) { return 0.0; }
  return g[((n / (H * W) * O + base + k / (KH * KW)) * OH + h / SH) * OW + v / SW];
}
fn store_out(z: u32, m: u32, n: u32, value: f32) {
  if (m >= M || n >= N) { return; }
  out[(n / (H * W) * C + z * CG + m) * (H * W) + n % (H * W)] = value;
}
// operands]
