// Matrix product with at most a few rows: out(z) = a(z) · b(z). Memory bounds it.
//
// Bindings: a, b, out. Shapes: a (…, ROWS, K), b (…, K, N) and out (…, ROWS, N), all strided.
// Grid: groups of columns, batches. Tiling: of a workgroup, NL invocations lie along N and KL along
// K, the longer side where b is contiguous; each makes COLS columns of its share of K, and a tree
// adds the shares up; where KL is 64, subgroups.wgsl does if the GPU has them. Lines with names in
// _i, _j are repeated for each of ROWS, COLS.

alias Factor = f32; // or f16
@group(0) @binding(0) var<storage, read> a: array<Factor>;
@group(0) @binding(1) var<storage, read> b: array<Factor>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

const BATCH: u32 = 1u;
const N: u32 = 1u;
const K: u32 = 1u;
const A_ROW: u32 = 1u;
const A_COL: u32 = 1u;
const B_ROW: u32 = 1u;
const B_COL: u32 = 1u;
const OUT_ROW: u32 = 1u;
const OUT_COL: u32 = 1u;
const ROWS: u32 = 1u;
const COLS: u32 = 1u;
const NL: u32 = 1u;
const KL: u32 = 64u; // a power of two
const _i = 0u; const _j = 0u; // as it stands

// [batch
fn bases(z: u32) -> vec2<u32> { // where the factors of a batch begin
  return vec2<u32>(0u, 0u);
}
// batch]

// [finish
fn finish(value: f32, n: u32, at: u32) -> f32 { return value; } // of column n, stored at `at`
// finish]

var<workgroup> sums: array<f32, ROWS * COLS * NL * KL>;

fn columns(z: u32, n: u32, lid: u32) {
  let y = lid / NL;
  let base = bases(z);
  let n_j = n + _j * NL + lid % NL;
  let b_j = base.y + min(n_j, N - 1u) * B_COL;
  var s_i_j = 0.0;
  for (var k = y; k < K; k += KL) {
    let p_i = f32(a[base.x + _i * A_ROW + k * A_COL]);
    let q_j = f32(b[b_j + k * B_ROW]);
    s_i_j += p_i * q_j;
  }
// [add
  sums[(_i * COLS + _j) * (NL * KL) + lid] = s_i_j;
  workgroupBarrier();
  for (var far = KL / 2u; far > 0u; far /= 2u) {
    if (y < far) {
      sums[(_i * COLS + _j) * (NL * KL) + lid] += sums[(_i * COLS + _j) * (NL * KL) + lid + far * NL];
    }
    workgroupBarrier();
  }
  let r_i_j = sums[(_i * COLS + _j) * (NL * KL) + lid];
// add]
  if (y > 0u) { return; }
  let at_i_j = z * ROWS * N + _i * OUT_ROW + n_j * OUT_COL;
  if (n_j < N) { out[at_i_j] = finish(r_i_j, n_j, at_i_j); }
}

@compute @workgroup_size(NL * KL)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  for (var z = wid.y; z < BATCH; z += groups.y) {
    for (var n = wid.x * COLS * NL; n < N; n += groups.x * COLS * NL) {
      workgroupBarrier();
      columns(z, n, lid);
    }
  }
}
