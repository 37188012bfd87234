// 2-d convolution as a matrix product per group: the operands for `product` of matmul.wgsl.
//
// Bindings: x (N, C, H, W), w (O, C/g, KH, KW), out (N, O, OH, OW).
// M = O/g, N = batch · OH · OW, K = C/g · KH · KW; a = w, b = windows of x, read where they are.

// [operands
alias Factor = f32; // or f16
@group(0) @binding(0) var<storage, read> x: array<Factor>;
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

// [finish
fn finish(value: f32, n: u32, at: u32) -> f32 { return value; } // of channel n, stored at `at`
// finish]

fn bases(z: u32) -> vec2<u32> { return vec2<u32>(z * OG * K, z * CG); }
fn load_a(base: u32, m: u32, k: u32) -> Factor {
  if (m >= M || k >= K) { return 0.0; }
  return w[base + m * K + k];
}
fn load_b(base: u32, k: u32, n: u32) -> Factor {
  if (n >= N || k >= K) { return 0.0; }
  let p = n % (OH * OW);
  let h = (p / OW) * SH + (k / KW) % KH * DH - PH; // wraps below 0, so one comparison is enough
  let v = (p % OW) * SW + k % KW * DW - PW;
  if (h >= H || v >= W) { return 0.0; }
  return x[((n / (OH * OW) * C + base + k / (KH * KW)) * H + h) * W + v];
}
fn store_out(z: u32, m: u32, n: u32, value: f32) {
  if (m >= M || n >= N) { return; }
  let channel = z * OG + m;
  let at = (n / (OH * OW) * O + channel) * (OH * OW) + n % (OH * OW);
  out[at] = finish(value, channel, at);
}
// operands]
