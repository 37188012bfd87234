// The gradients of attention.wgsl's q, k and v as FlashAttention computes them: the weights w are made
// again, block by block, with s = scale · w ∘ (g vᵀ - shares): dq = s k, dk = sᵀ q, dv = wᵀ g.
//
// Two launches: the first with KEYS false makes dq and, for the second, which makes dk and dv, the
// logarithm of each query's sum of exponentials.
//
// Bindings: q (…, T, D), k (…, S, D), v (…, S, E), g (…, T, E), the gradient of the result, whose rows
// are contiguous, shares (…, T), Σ g · result, out (dq, dk, dv, the logarithms (…, T), one behind the
// other), and a mask (…, T, S) if any. Grid: blocks of own rows, then heads.
// Tiling: 8 × 8 invocations keep 8 · ROWS own rows (queries, or keys) and meet 32 others at a time.
// Invocation (x, y) has rows y, y + 8, … and of them the scores of others 4x to 4x + 3, made from
// slices of 4 · DEEP along D and E, and the sums of columns 4x, 4x + 32, …, made from PART rows of
// the others at a time. Scores change hands through workgroup memory. Arithmetic bounds it: 3 D + E
// and 2 D + 2 E multiply-adds for each score. PITCH is odd, so that no bank is asked twice.
// Lines with names in _i, _j, _e are repeated for each of ROWS, COLS, 4.

alias Factor = f32; // or f16
@group(0) @binding(0) var<storage, read> q: array<Factor>;
@group(0) @binding(1) var<storage, read> k: array<Factor>;
@group(0) @binding(2) var<storage, read> v: array<Factor>;
@group(0) @binding(3) var<storage, read> g: array<Factor>;
@group(0) @binding(4) var<storage, read> shares: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

const BATCH: u32 = 1u;
const T: u32 = 1u;
const S: u32 = 1u;
const D: u32 = 1u;
const E: u32 = 1u;
const Q_ROW: u32 = 1u;
const K_ROW: u32 = 1u;
const V_ROW: u32 = 1u;
const G_ROW: u32 = 1u;
const SHARE_ROW: u32 = 1u;
const MASK_ROW: u32 = 0u;
// SCALE: the bits of a float; CAUSAL: query i sees keys up to i; KEYS: own rows are keys
const SCALE: u32 = 0u;
const CAUSAL: bool = false;
const KEYS: bool = false;
const ROWS: u32 = 1u;
const COLS: u32 = 1u;
const DEEP: u32 = 1u;
const DOWN: u32 = 1u;
const PITCH: u32 = DEEP | 1u;
const PART: u32 = 4u;
const OWN: u32 = select(T, S, KEYS);
const OTHERS: u32 = select(S, T, KEYS);
const DK: u32 = BATCH * T * D;
const DV: u32 = DK + BATCH * S * D;
const LOGS: u32 = DV + BATCH * S * E;
const _i = 0u; const _j = 0u; const _e = 0u; // as it stands

// at most 16 KB: slices of own rows and others, or a part of these; scores, and weights, [row][other / 4]
var<workgroup> tiles: array<vec4<f32>, max(8u * (ROWS + 4u) * PITCH, PART * 8u * COLS)>;
var<workgroup> slopes: array<vec4<f32>, 72u * ROWS>;
var<workgroup> weights: array<vec4<f32>, 72u * ROWS>;

var<private> first: vec4<u32>; // where q, k, v and g of the head begin
var<private> second: vec2<u32>; // and shares and mask
var<private> c_i: vec4<f32>;

// [batch
fn bases(z: u32) -> vec4<u32> {
  return vec4<u32>();
}
// batch]
// [more
fn more(z: u32) -> vec2<u32> {
  return vec2<u32>();
}
// more]

fn of_bits(bits: u32) -> f32 { return bitcast<f32>(bits); }
// exp(a) of a ≤ 0: a nan stays one, and what is hidden is 0
fn weight(a: f32) -> f32 {
  let nan = (bitcast<u32>(a) & 0x7fffffffu) > 0x7f800000u;
  return select(select(exp(a), a, nan), 0.0, a < -87.0);
}

fn masked(score: f32, at: u32) -> f32 { return score; }

fn q_at(at: u32) -> vec4<f32> { return vec4<f32>(vec4<Factor>(q[at], q[at + 1u], q[at + 2u], q[at + 3u])); }
fn k_at(at: u32) -> vec4<f32> { return vec4<f32>(vec4<Factor>(k[at], k[at + 1u], k[at + 2u], k[at + 3u])); }
fn v_at(at: u32) -> vec4<f32> { return vec4<f32>(vec4<Factor>(v[at], v[at + 1u], v[at + 2u], v[at + 3u])); }
fn g_at(at: u32) -> vec4<f32> { return vec4<f32>(vec4<Factor>(g[at], g[at + 1u], g[at + 2u], g[at + 3u])); }

// Four elements of a row of q or k (`deep`), or of g or v; what is not there is 0.
fn row_at(deep: bool, key: bool, row: u32, at: u32) -> vec4<f32> {
  let there = row < select(T, S, key);
  let end = select(0u, select(E, D, deep), there);
  var four: vec4<f32>;
  if (deep && key) { four = k_at(first.y + row * K_ROW + at); }
  if (deep && !key) { four = q_at(first.x + row * Q_ROW + at); }
  if (!deep && key) { four = v_at(first.z + row * V_ROW + at); }
  if (!deep && !key) { four = g_at(first.w + row * G_ROW + at); }
  return select(vec4<f32>(), four, at + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(end));
}

// c_i: products of own rows from m on with others from n on.
fn multiply(deep: bool, m: u32, n: u32, lid: u32) {
  let x = lid % 8u;
  let y_i = lid / 8u + 8u * _i;
  c_i = vec4<f32>();
  for (var d = 0u; d < select(E, D, deep); d += 4u * DEEP) {
    workgroupBarrier();
    for (var f = lid; f < 8u * (ROWS + 4u) * DEEP; f += 64u) {
      let row = f / DEEP;
      let at = d + f % DEEP * 4u;
      // of others 0, 4, … 28, 1, 5, …: so those of an invocation are 8 rows apart
      let other = n + row % 8u * 4u + row / 8u - ROWS;
      let own = row < 8u * ROWS;
      tiles[row * PITCH + f % DEEP] = row_at(deep, own == KEYS, select(other, m + row, own), at);
    }
    workgroupBarrier();
    for (var f = 0u; f < DEEP; f++) {
      let p_i = tiles[y_i * PITCH + f];
      let q_e = tiles[(8u * (ROWS + _e) + x) * PITCH + f];
      c_i[_e] += dot(p_i, q_e);
    }
  }
}

fn score(product: f32, own: u32, other: u32) -> f32 {
  let query = select(own, other, KEYS);
  let key = select(other, own, KEYS);
  let seen = query < T && key < S && (!CAUSAL || key <= query);
  let found = masked(product * of_bits(SCALE), second.y + query * MASK_ROW + key);
  return select(of_bits(0xff800000u), found, seen);
}

fn share(own: u32, other: u32) -> f32 {
  return shares[second.x + select(own, other, KEYS) * SHARE_ROW];
}

// PART others from n + part on, by columns.
fn load(deep: bool, n: u32, part: u32, lid: u32) {
  workgroupBarrier();
  for (var f = lid; f < PART * 8u * COLS; f += 64u) {
    tiles[f] = row_at(deep, !KEYS, n + part + f / (8u * COLS), f % (8u * COLS) * 4u);
  }
  workgroupBarrier();
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  let t = wid.x + wid.y * 32768u;
  let z = t / DOWN;
  if (z >= BATCH) { return; }
  let m = t % DOWN * (8u * ROWS);
  let x = lid % 8u;
  let y_i = lid / 8u + 8u * _i;
  let m_i = m + y_i;
  first = bases(z);
  second = more(z);
  // a key meets queries from its own number on, a query keys up to its own
  let begin = select(0u, m / 32u * 32u, CAUSAL && KEYS);
  let end = select(OTHERS, min(S, m + 8u * ROWS), CAUSAL && !KEYS);
  let hidden = of_bits(0xff800000u);
  var log_i = 0.0;
  if (!KEYS) {
    var most_i = hidden;
    var total_i = 0.0;
    for (var n = begin; n < end; n += 32u) {
      multiply(true, m, n, lid);
      c_i[_e] = score(c_i[_e], m_i, n + 4u * x + _e);
      let before_i = most_i;
      most_i = max(most_i, max(max(c_i.x, c_i.y), max(c_i.z, c_i.w)));
      let from_i = select(most_i, 0.0, bitcast<u32>(most_i) == 0xff800000u);
      c_i[_e] = weight(c_i[_e] - from_i);
      total_i = total_i * weight(before_i - from_i) + dot(c_i, vec4<f32>(1.0));
    }
    slopes[y_i * 9u + x] = vec4<f32>(most_i, total_i, 0.0, 0.0);
    workgroupBarrier();
    var top_i = hidden;
    var all_i = 0.0;
    for (var f = 0u; f < 8u; f++) {
      top_i = max(top_i, slopes[y_i * 9u + f].x);
    }
    let base_i = select(top_i, 0.0, bitcast<u32>(top_i) == 0xff800000u);
    for (var f = 0u; f < 8u; f++) {
      all_i += slopes[y_i * 9u + f].y * weight(slopes[y_i * 9u + f].x - base_i);
    }
    log_i = select(base_i + log(all_i), of_bits(0x7f800000u), all_i == 0.0);
    if (x == 0u && m_i < T) { out[LOGS + z * T + m_i] = log_i; }
  }
  var a_i_j = vec4<f32>();
  var b_i_j = vec4<f32>();
  for (var n = begin; n < end; n += 32u) {
    multiply(true, m, n, lid);
    let other = n + 4u * x;
    c_i[_e] = score(c_i[_e], m_i, other + _e);
    if (KEYS) {
      let log_e = out[LOGS + z * T + min(other + _e, T - 1u)];
      c_i[_e] = weight(c_i[_e] - log_e);
    } else {
      c_i = vec4<f32>(weight(c_i.x - log_i), weight(c_i.y - log_i), weight(c_i.z - log_i), weight(c_i.w - log_i));
    }
    let w_i = c_i;
    multiply(false, m, n, lid);
    c_i[_e] = w_i[_e] * (c_i[_e] - share(m_i, other + _e)) * of_bits(SCALE);
    slopes[y_i * 9u + x] = select(c_i, vec4<f32>(), w_i == vec4<f32>());
    weights[y_i * 9u + x] = w_i;
    for (var part = 0u; part < 32u; part += PART) {
      load(true, n, part, lid);
      for (var f = 0u; f < PART; f += 4u) {
        let s_i = slopes[y_i * 9u + (part + f) / 4u];
        let v_e_j = tiles[((f + _e) * COLS + _j) * 8u + x];
        a_i_j += s_i[_e] * v_e_j;
      }
      if (KEYS) {
        load(false, n, part, lid);
        for (var f = 0u; f < PART; f += 4u) {
          let s_i = weights[y_i * 9u + (part + f) / 4u];
          let v_e_j = tiles[((f + _e) * COLS + _j) * 8u + x];
          b_i_j += s_i[_e] * v_e_j;
        }
      }
    }
  }
  let e_j = 4u * x + 32u * _j;
  for (var f = 0u; f < 4u; f++) {
    if (m_i < OWN && e_j + f < D) { out[select(0u, DK, KEYS) + (z * OWN + m_i) * D + e_j + f] = a_i_j[f]; }
    if (KEYS && m_i < OWN && e_j + f < E) { out[DV + (z * OWN + m_i) * E + e_j + f] = b_i_j[f]; }
  }
}
