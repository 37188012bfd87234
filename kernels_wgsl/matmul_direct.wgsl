// Matrix product without workgroup memory, for adapters that compute on the CPU four invocations
// at a time: there a load costs as much as ten multiply-adds, whatever its pattern.
//
// Bindings: a, b, out. Shapes: a (…, M, K), b (…, K, N) and out (…, M, N), all strided.
// Tiling: a quad of invocations makes SPREAD · ROWS rows × 4 · COLS columns. Along K it loads
// SPREAD rows of a (4, or 1 where rows are few) and four columns of b at a time, one per
// invocation, and exchanges the columns within the quad: c_i_j_s holds row `lane` and column
// `lane ^ s` of block (i, j). Loads bound it, then the registers.
// Lines with names in _i, _j, _s, _u are repeated for each of ROWS, COLS, SPREAD, DEEP.

enable subgroups;

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
const ROWS: u32 = 1u;
const COLS: u32 = 1u;
const SPREAD: u32 = 1u;
const DEEP: u32 = 1u; // steps along K per turn of the loop, whose variables cost at its end
const ACROSS: u32 = 1u; // tiles along N
const DOWN: u32 = 1u;
const _i = 0u; const _j = 0u; const _s = 0u; const _u = 0u; // as it stands

// [batch
fn bases(z: u32) -> vec2<u32> { // where the factors of a batch begin
  return vec2<u32>(0u, 0u);
}
// batch]

// [finish
fn finish(value: f32, n: u32, at: u32) -> f32 { return value; } // of column n, stored at `at`
// finish]

// Within a quad: the value of the invocation whose number differs by s.
fn across_0(v: f32) -> f32 { return v; }
fn across_1(v: f32) -> f32 { return quadSwapX(v); }
fn across_2(v: f32) -> f32 { return quadSwapY(v); }
fn across_3(v: f32) -> f32 { return quadSwapDiagonal(v); }
fn across_s(v: f32) -> f32 { return v; } // as it stands
fn place_s(v: u32) -> u32 { return bitcast<u32>(across_s(bitcast<f32>(v))); }

@compute @workgroup_size(4)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let t = wid.x + wid.y * 32768u;
  let z = t / (ACROSS * DOWN);
  if (z >= BATCH) { return; }
  let m = t / ACROSS % DOWN * (SPREAD * ROWS) + lane % SPREAD;
  let n = t % ACROSS * (4u * COLS);
  let base = bases(z);
  let m_i = min(m + SPREAD * _i, M - 1u); // behind the last row and column they repeat
  let n_j = min(n + 4u * _j + lane, N - 1u);
  let n_j_s = place_s(n_j);
  var a_i = base.x + m_i * A_ROW;
  var b_j = base.y + n_j * B_COL;
  var c_i_j_s = 0.0;
  for (var k = 0u; k < K; k += DEEP) {
    let p_i_u = a[a_i + _u * A_COL];
    let q_j_u = b[b_j + _u * B_ROW];
    let q_j_u_s = across_s(q_j_u);
    c_i_j_s += p_i_u * q_j_u_s;
    a_i += DEEP * A_COL;
    b_j += DEEP * B_ROW;
  }
  let at_i_j_s = z * M * N + m_i * OUT_ROW + n_j_s * OUT_COL;
  out[at_i_j_s] = finish(c_i_j_s, n_j_s, at_i_j_s);
}
