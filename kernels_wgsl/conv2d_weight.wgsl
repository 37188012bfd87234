// The gradient of a 2-d convolution for its weight: operands for `product` of matmul.wgsl.
//
// Bindings: g (N, O, OH, OW), x (N, C, H, W), out (O, C/g, KH, KW).
// M = O/g, N = C/g · KH · KW, K = batch · OH · OW; a = g, b = windows of x, pixels along K. Small
// results of large batches are bound by the number of workgroups.

// [operands
alias Factor = f32; // or f16
@group(0) @binding(0) var<storage, read> g: array<Factor>;
@group(0) @binding(1) var<storage, read> x: array<Factor>;
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

fn bases(z: u32) -> vec2<u32> { return vec2<u32>(z * OG, z * CG); }
fn load_a(base: u32, m: u32, k: u32) -> Factor {
  if (m >= M || k >= K) { return 0.0; }
  return g[(k / (OH * OW) * O + base + m) * (OH * OW) + k % (OH * OW)];
}
fn load_b(base: u32, k: u32, n: u32) -> Factor {
  if (n >= N || k >= K) { return 0.0; }
  let p = k % (OH * OW);
  let h = (p / OW) * SH + (n / KW) % KH * DH - PH; // wraps below 0
  let v = (p % OW) * SW + n % KW * DW - PW;
  if (h >= H || v >= W) { return 0.0; }
  return x[((k / (OH * OW) * C + base + n / (KH * KW)) * H + h) * W + v];
}
fn store_out(z: u32, m: u32, n: u32, value: f32) {
  if (m < M && n < N) { out[(z * OG + m) * N + n] = value; }
}
// operands]
