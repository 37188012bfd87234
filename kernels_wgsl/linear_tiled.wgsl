// out = x wᵀ for many rows of x as a tiled product: the operands for `product` of matmul.wgsl.
//
// Bindings, shapes, `scale` and `decode`: as linear.wgsl's. a = x, b = w, of which a tile is
// decoded on its way to workgroup memory, once for all rows of the tile.

// [operands
alias Factor = f32; // of x, and of w when decoded
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
// [scale
fn scaled(v: f32, n: u32, k: u32) -> f32 { return v; } // linear.wgsl's section comes here
// scale]

const BATCH: u32 = 1u;
const M: u32 = 1u;
const N: u32 = 1u;
const K: u32 = 32u;
const GROUP: u32 = 32u;
const EACH: u32 = 16u; // weights of 16 bytes
const STEP: u32 = max(16u / EACH, 1u); // words of four weights
const A_ALONG_K: bool = true;
const B_ALONG_K: bool = true;

// [decode
fn decode(v: u32, next: u32, high: u32) -> vec4<f32> { return vec4<f32>(); } // so does its decode
// decode]

fn bases(z: u32) -> vec2<u32> { return vec2<u32>(); }
fn load_a(base: u32, m: u32, k: u32) -> Factor {
  if (m >= M || k >= K) { return 0.0; }
  return x[m * K + k];
}
fn load_b(base: u32, k: u32, n: u32) -> Factor {
  if (n >= N || k >= K) { return 0.0; }
  let at = (n * K + k) / EACH * 4u;
  let q = k % EACH / 4u;
  let four = decode(w[at + q * STEP % 4u], w[at + (q * STEP + 1u) % 4u], q / 4u);
  return scaled(four[k % 4u], n, k);
}
fn store_out(z: u32, m: u32, n: u32, value: f32) {
  if (m < M && n < N) { out[m * N + n] = value; }
}
// operands]
