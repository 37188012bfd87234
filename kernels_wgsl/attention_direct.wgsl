// Attention without workgroup memory, for adapters that compute on the CPU four invocations at a
// time (see matmul_direct.wgsl): out = softmax(q kᵀ scale + mask) v; no score leaves a register.
//
// Bindings: q (…, T, D), k (…, S, D), v (…, S, E), whose rows are contiguous, out (…, T, E), and a
// mask (…, T, S) if any. Grid: tiles along T, then heads.
// Tiling: a quad keeps 4 · ROWS queries, one of each block per invocation, and meets 4 · COLS keys
// at a time: c_i_j_s is of row `lane` and key `lane ^ s` of block (i, j), first the score, then the
// weight relative to the largest score so far. So no row asks another invocation for its scores. The
// sums of weighted values lie in `out`: reading and writing them costs as much as reading values.
// Loads bound it. Lines with names in _i, _j, _s, _u are repeated for each of ROWS, COLS, 4, DEEP.

enable subgroups;

@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

const BATCH: u32 = 1u;
const T: u32 = 1u;
const S: u32 = 1u;
const D: u32 = 1u;
const E: u32 = 1u;
const Q_ROW: u32 = 1u;
const K_ROW: u32 = 1u;
const V_ROW: u32 = 1u;
const MASK_ROW: u32 = 0u;
// SCALE: the bits of a float; CAUSAL: query i sees keys up to i
const SCALE: u32 = 0u;
const CAUSAL: bool = false;
const ROWS: u32 = 1u;
const COLS: u32 = 1u;
const DEEP: u32 = 1u;
const DOWN: u32 = 1u;
const _i = 0u; const _j = 0u; const _s = 0u; const _u = 0u; // as it stands

// [batch
// where q, k, v and mask of a head begin
fn bases(z: u32) -> vec4<u32> {
  return vec4<u32>();
}
// batch]

fn of_bits(bits: u32) -> f32 { return bitcast<f32>(bits); }
// exp(a) of a ≤ 0: a nan stays one, and what is hidden is 0
fn weight(a: f32) -> f32 {
  let nan = (bitcast<u32>(a) & 0x7fffffffu) > 0x7f800000u;
  return select(select(exp(a), a, nan), 0.0, a < -87.0);
}

fn masked(score: f32, at: u32) -> f32 { return score; }

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
  let z = t / DOWN;
  if (z >= BATCH) { return; }
  let m = t % DOWN * (4u * ROWS);
  let base = bases(z);
  let hidden = of_bits(0xff800000u);
  // behind the last row they repeat
  let m_i = min(m + 4u * _i + lane, T - 1u);
  let seen_i = select(S, min(S, m_i + 1u), CAUSAL);
  let o_i = (z * T + m_i) * E;
  var most_i = hidden;
  var total_i = 0.0;
  let keys = select(S, min(S, m + 4u * ROWS), CAUSAL);
  for (var n = 0u; n < keys; n += 4u * COLS) {
    let n_j = n + 4u * _j + lane;
    let n_j_s = place_s(n_j);
    let inside_j = S % (4u * COLS) == 0u || n_j < S;
    let l_j = min(n_j, S - 1u);
    var a_i = base.x + m_i * Q_ROW;
    var b_j = base.y + l_j * K_ROW;
    var c_i_j_s = 0.0;
    for (var d = 0u; d < D; d += DEEP) {
      let p_i_u = q[a_i + _u];
      let q_j_u = k[b_j + _u];
      let q_j_u_s = across_s(q_j_u);
      c_i_j_s += p_i_u * q_j_u_s;
      a_i += DEEP;
      b_j += DEEP;
    }
    c_i_j_s = masked(c_i_j_s * of_bits(SCALE), base.w + m_i * MASK_ROW + n_j_s);
    c_i_j_s = select(hidden, c_i_j_s, n_j_s < seen_i);
    let before_i = most_i;
    most_i = max(most_i, c_i_j_s);
    let from_i = select(most_i, 0.0, bitcast<u32>(most_i) == 0xff800000u);
    c_i_j_s = weight(c_i_j_s - from_i);
    let shrink_i = weight(before_i - from_i);
    total_i *= shrink_i;
    total_i += c_i_j_s;
    let v_j = base.z + l_j * V_ROW;
    for (var e = 0u; e < E; e++) {
      let r_j = select(0.0, v[v_j + e], inside_j);
      let r_j_s = across_s(r_j);
      var y_i = select(out[o_i + e] * shrink_i, 0.0, n == 0u);
      y_i += c_i_j_s * r_j_s;
      out[o_i + e] = y_i;
    }
  }
  // a row that sees nothing is 0
  let over_i = select(1.0 / total_i, 0.0, total_i == 0.0);
  for (var e = 0u; e < E; e++) {
    let y_i = out[o_i + e];
    out[o_i + e] = y_i * over_i;
  }
}
