// Matrix product out(z) = a(z) · b(z), and the tiled product that the convolutions share.
//
// Bindings: a, b, out. Shapes: a (…, M, K) and b (…, K, N) strided, out (…, M, N) contiguous.
// Grid: column tiles, row tiles, batches; the loops in `main` take what a grid cannot hold.
// Tiling: a workgroup of 64 makes 64 × 64 elements, an invocation 8 × 8 of them; slices of 16 along
// K pass through workgroup memory. An element loaded from there is used 8 times, so arithmetic
// bounds it once M and N are some hundreds; below that, the number of workgroups does.
//
// `operands` says where the factors come from; conv2d*.wgsl hold other ones for the same `product`.

// [operands
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

const BATCH: u32 = 1u;
const M: u32 = 1u;
const N: u32 = 1u;
const K: u32 = 1u;
const A_ROW: u32 = 1u;
const A_COL: u32 = 1u;
const B_ROW: u32 = 1u;
const B_COL: u32 = 1u;
const A_ALONG_K: bool = true; // neighbouring invocations load neighbours along K
const B_ALONG_K: bool = false;

// [batch
fn bases(z: u32) -> vec2<u32> { // where the factors of a batch begin
  return vec2<u32>(0u, 0u);
}
// batch]

fn load_a(base: u32, m: u32, k: u32) -> f32 {
  if (m >= M || k >= K) { return 0.0; }
  return a[base + m * A_ROW + k * A_COL];
}
fn load_b(base: u32, k: u32, n: u32) -> f32 {
  if (n >= N || k >= K) { return 0.0; }
  return b[base + k * B_ROW + n * B_COL];
}
fn store_out(z: u32, m: u32, n: u32, value: f32) {
  if (m < M && n < N) { out[(z * M + m) * N + n] = value; }
}
// operands]

// [product
const SLICE: u32 = 16u;
var<workgroup> tile_a: array<vec4<f32>, 256>; // [k][m / 4]
var<workgroup> tile_b: array<vec4<f32>, 256>; // [k][n / 4]

fn fill(base: vec2<u32>, m0: u32, n0: u32, k0: u32, lid: u32) {
  for (var s = lid; s < 256u; s += 64u) {
    let ka = k0 + select(s / 16u, s % 16u, A_ALONG_K);
    let m = m0 + 4u * select(s % 16u, s / 16u, A_ALONG_K);
    tile_a[select(s, (s % 16u) * 16u + s / 16u, A_ALONG_K)] = vec4<f32>(
      load_a(base.x, m, ka), load_a(base.x, m + 1u, ka),
      load_a(base.x, m + 2u, ka), load_a(base.x, m + 3u, ka));
    let kb = k0 + select(s / 16u, s % 16u, B_ALONG_K);
    let n = n0 + 4u * select(s % 16u, s / 16u, B_ALONG_K);
    tile_b[select(s, (s % 16u) * 16u + s / 16u, B_ALONG_K)] = vec4<f32>(
      load_b(base.y, kb, n), load_b(base.y, kb, n + 1u),
      load_b(base.y, kb, n + 2u), load_b(base.y, kb, n + 3u));
  }
}

fn store_row(z: u32, m: u32, n: u32, left: vec4<f32>, right: vec4<f32>) {
  for (var j = 0u; j < 4u; j++) {
    store_out(z, m, n + j, left[j]);
    store_out(z, m, n + 32u + j, right[j]);
  }
}

fn tile(z: u32, m0: u32, n0: u32, lid: u32) {
  let x = lid % 8u;
  let y = lid / 8u;
  let base = bases(z);
  // row i of the invocation: 4 columns on the left, 4 on the right
  var l0 = vec4<f32>(); var l1 = l0; var l2 = l0; var l3 = l0;
  var l4 = l0; var l5 = l0; var l6 = l0; var l7 = l0;
  var r0 = l0; var r1 = l0; var r2 = l0; var r3 = l0;
  var r4 = l0; var r5 = l0; var r6 = l0; var r7 = l0;
  for (var k0 = 0u; k0 < K; k0 += SLICE) {
    workgroupBarrier();
    fill(base, m0, n0, k0, lid);
    workgroupBarrier();
    for (var k = 0u; k < SLICE; k++) {
      let p = tile_a[k * 16u + y];
      let q = tile_a[k * 16u + 8u + y];
      let l = tile_b[k * 16u + x];
      let r = tile_b[k * 16u + 8u + x];
      l0 += p.x * l; r0 += p.x * r;
      l1 += p.y * l; r1 += p.y * r;
      l2 += p.z * l; r2 += p.z * r;
      l3 += p.w * l; r3 += p.w * r;
      l4 += q.x * l; r4 += q.x * r;
      l5 += q.y * l; r5 += q.y * r;
      l6 += q.z * l; r6 += q.z * r;
      l7 += q.w * l; r7 += q.w * r;
    }
  }
  let m = m0 + y * 4u;
  let n = n0 + x * 4u;
  store_row(z, m, n, l0, r0);
  store_row(z, m + 1u, n, l1, r1);
  store_row(z, m + 2u, n, l2, r2);
  store_row(z, m + 3u, n, l3, r3);
  store_row(z, m + 32u, n, l4, r4);
  store_row(z, m + 33u, n, l5, r5);
  store_row(z, m + 34u, n, l6, r6);
  store_row(z, m + 35u, n, l7, r7);
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  for (var z = wid.z; z < BATCH; z += groups.z) {
    for (var m0 = wid.y * 64u; m0 < M; m0 += groups.y * 64u) {
      for (var n0 = wid.x * 64u; n0 < N; n0 += groups.x * 64u) {
        tile(z, m0, n0, lid);
      }
    }
  }
}
// product]
