// Matrix product without workgroup memory, for adapters that compute on the CPU, where barriers
// cost more than they bring.
//
// Bindings: a, b, out. Shapes: a (…, M, K), b (…, K, N) and out (…, M, N), all strided.
// Tiling: an invocation makes 8 rows × 4 columns; its columns lie 16 apart, so that the
// invocations of a vector unit read and write neighbours. Scalar loads bound it.

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
const OUT_ROW: u32 = 1u;
const OUT_COL: u32 = 1u;

// [batch
fn bases(z: u32) -> vec2<u32> { // where the factors of a batch begin
  return vec2<u32>(0u, 0u);
}
// batch]

fn store_row(z: u32, m: u32, n: u32, c: vec4<f32>) {
  if (m >= M) { return; }
  let at = z * M * N + m * OUT_ROW + n * OUT_COL;
  if (n < N) { out[at] = c.x; }
  if (n + 16u < N) { out[at + 16u * OUT_COL] = c.y; }
  if (n + 32u < N) { out[at + 32u * OUT_COL] = c.z; }
  if (n + 48u < N) { out[at + 48u * OUT_COL] = c.w; }
}

fn tile(z: u32, m: u32, n: u32) {
  let base = bases(z);
  var row = base.x; // address along K of the rows of a; behind the last row it repeats
  let m1 = (min(m + 1u, M - 1u) - m) * A_ROW;
  let m2 = (min(m + 2u, M - 1u) - m) * A_ROW;
  let m3 = (min(m + 3u, M - 1u) - m) * A_ROW;
  let m4 = (min(m + 4u, M - 1u) - m) * A_ROW;
  let m5 = (min(m + 5u, M - 1u) - m) * A_ROW;
  let m6 = (min(m + 6u, M - 1u) - m) * A_ROW;
  let m7 = (min(m + 7u, M - 1u) - m) * A_ROW;
  row += m * A_ROW;
  let n0 = min(n, N - 1u) * B_COL;
  let n1 = min(n + 16u, N - 1u) * B_COL;
  let n2 = min(n + 32u, N - 1u) * B_COL;
  let n3 = min(n + 48u, N - 1u) * B_COL;
  var col = base.y;
  var c0 = vec4<f32>(); var c1 = c0; var c2 = c0; var c3 = c0;
  var c4 = c0; var c5 = c0; var c6 = c0; var c7 = c0;
  for (var k = 0u; k < K; k++) {
    let x = vec4<f32>(b[col + n0], b[col + n1], b[col + n2], b[col + n3]);
    c0 += a[row] * x;
    c1 += a[row + m1] * x;
    c2 += a[row + m2] * x;
    c3 += a[row + m3] * x;
    c4 += a[row + m4] * x;
    c5 += a[row + m5] * x;
    c6 += a[row + m6] * x;
    c7 += a[row + m7] * x;
    row += A_COL;
    col += B_ROW;
  }
  store_row(z, m, n, c0);
  store_row(z, m + 1u, n, c1);
  store_row(z, m + 2u, n, c2);
  store_row(z, m + 3u, n, c3);
  store_row(z, m + 4u, n, c4);
  store_row(z, m + 5u, n, c5);
  store_row(z, m + 6u, n, c6);
  store_row(z, m + 7u, n, c7);
}

@compute @workgroup_size(16)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  for (var z = wid.z; z < BATCH; z += groups.z) {
    for (var m = wid.y * 8u; m < M; m += groups.y * 8u) {
      for (var n = wid.x * 64u; n < N; n += groups.x * 64u) {
        tile(z, m, n + lid);
      }
    }
  }
}
