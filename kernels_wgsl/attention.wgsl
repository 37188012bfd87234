// Attention as FlashAttention computes it: out = softmax(q kᵀ scale + mask) v for each head, where no
// score outlives its block.
//
// Bindings: q (…, T, D), k (…, S, D), v (…, S, E), whose rows are contiguous, out (…, T, E), and a
// mask (…, T, S) if any. Grid: blocks of queries (the last first: if causal it is the longest), then
// heads.
// Tiling: 8 × 8 invocations keep 8 · ROWS queries and meet 32 keys at a time. Invocation (x, y) has
// rows y, y + 8, … and of them the scores of keys 4x to 4x + 3, made from slices of 4 · DEEP along D,
// and the sums of weighted values of columns 4x, 4x + 32, …, made from PART rows of v at a time.
// Scores become weights relative to the row's largest so far, which changes hands through workgroup
// memory as the weights do; their total is added up at the end. With ROWS of 4 four elements of a
// slice serve eight multiply-adds of four, so arithmetic bounds it; with few heads and queries the
// number of workgroups does, so then ROWS is smaller. PITCH is odd, so that no bank is asked twice.
// Lines with names in _i, _j, _e are repeated for each of ROWS, COLS, 4.

alias Factor = f32; // or f16
@group(0) @binding(0) var<storage, read> q: array<Factor>;
@group(0) @binding(1) var<storage, read> k: array<Factor>;
@group(0) @binding(2) var<storage, read> v: array<Factor>;
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
const PITCH: u32 = DEEP | 1u;
const PART: u32 = 4u;
const _i = 0u; const _j = 0u; const _e = 0u; // as it stands

// at most 15 KB: slices of q and k, or a part of v; weights [row][key / 4]; a float per row and x
var<workgroup> tiles: array<vec4<f32>, max(8u * (ROWS + 4u) * PITCH, PART * 8u * COLS)>;
var<workgroup> weights: array<vec4<f32>, 72u * ROWS>;
var<workgroup> shares: array<f32, 64u * ROWS>;

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

// Four elements; those from column `end` on, and of rows that are not there, are 0.
fn inside(four: vec4<f32>, at: u32, end: u32, there: bool) -> vec4<f32> {
  return select(vec4<f32>(), four, vec4<bool>(there) & (at + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(end)));
}
fn q_at(at: u32) -> vec4<f32> { return vec4<f32>(vec4<Factor>(q[at], q[at + 1u], q[at + 2u], q[at + 3u])); }
fn k_at(at: u32) -> vec4<f32> { return vec4<f32>(vec4<Factor>(k[at], k[at + 1u], k[at + 2u], k[at + 3u])); }
fn v_at(at: u32) -> vec4<f32> { return vec4<f32>(vec4<Factor>(v[at], v[at + 1u], v[at + 2u], v[at + 3u])); }

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  let t = wid.x + wid.y * 32768u;
  let z = t / DOWN;
  if (z >= BATCH) { return; }
  let m = (DOWN - 1u - t % DOWN) * (8u * ROWS);
  let x = lid % 8u;
  let y_i = lid / 8u + 8u * _i;
  let base = bases(z);
  let hidden = of_bits(0xff800000u);
  let m_i = m + y_i;
  let seen_i = select(S, min(S, m_i + 1u), CAUSAL);
  var most_i = hidden;
  var total_i = 0.0;
  var s_i_j = vec4<f32>();
  let keys = select(S, min(S, m + 8u * ROWS), CAUSAL);
  for (var n = 0u; n < keys; n += 32u) {
    var c_i = vec4<f32>();
    for (var d = 0u; d < D; d += 4u * DEEP) {
      workgroupBarrier();
      for (var f = lid; f < 8u * (ROWS + 4u) * DEEP; f += 64u) {
        let row = f / DEEP;
        let at = d + f % DEEP * 4u;
        // of keys 0, 4, … 28, 1, 5, …: so those of an invocation are 8 rows apart
        let key = n + row % 8u * 4u + row / 8u - ROWS;
        if (row < 8u * ROWS) {
          tiles[row * PITCH + f % DEEP] = inside(q_at(base.x + (m + row) * Q_ROW + at), at, D, m + row < T);
        } else {
          tiles[row * PITCH + f % DEEP] = inside(k_at(base.y + key * K_ROW + at), at, D, key < S);
        }
      }
      workgroupBarrier();
      for (var f = 0u; f < DEEP; f++) {
        let p_i = tiles[y_i * PITCH + f];
        let q_e = tiles[(8u * (ROWS + _e) + x) * PITCH + f];
        c_i[_e] += dot(p_i, q_e);
      }
    }
    let key = n + 4u * x;
    c_i[_e] = masked(c_i[_e] * of_bits(SCALE), base.w + m_i * MASK_ROW + key + _e);
    c_i[_e] = select(hidden, c_i[_e], key + _e < seen_i);
    shares[y_i * 8u + x] = max(max(c_i.x, c_i.y), max(c_i.z, c_i.w));
    workgroupBarrier();
    let before_i = most_i;
    for (var f = 0u; f < 8u; f++) {
      most_i = max(most_i, shares[y_i * 8u + f]);
    }
    let from_i = select(most_i, 0.0, bitcast<u32>(most_i) == 0xff800000u);
    c_i[_e] = weight(c_i[_e] - from_i);
    weights[y_i * 9u + x] = c_i;
    let shrink_i = weight(before_i - from_i);
    total_i = total_i * shrink_i + dot(c_i, vec4<f32>(1.0));
    s_i_j *= shrink_i;
    for (var part = 0u; part < 32u; part += PART) {
      workgroupBarrier();
      for (var f = lid; f < PART * 8u * COLS; f += 64u) {
        let key = n + part + f / (8u * COLS);
        let at = f % (8u * COLS) * 4u;
        tiles[f] = inside(v_at(base.z + key * V_ROW + at), at, E, key < S);
      }
      workgroupBarrier();
      for (var f = 0u; f < PART; f += 4u) {
        let w_i = weights[y_i * 9u + (part + f) / 4u];
        let v_e_j = tiles[((f + _e) * COLS + _j) * 8u + x];
        s_i_j += w_i[_e] * v_e_j;
      }
    }
  }
  workgroupBarrier();
  shares[y_i * 8u + x] = total_i;
  workgroupBarrier();
  var all_i = 0.0;
  for (var f = 0u; f < 8u; f++) {
    all_i += shares[y_i * 8u + f];
  }
  // a row that sees nothing is 0
  let over_i = select(1.0 / all_i, 0.0, all_i == 0.0);
  let e_j = 4u * x + 32u * _j;
  for (var f = 0u; f < 4u; f++) {
    if (m_i < T && e_j + f < E) { out[(z * T + m_i) * E + e_j + f] = s_i_j[f] * over_i; }
  }
}
