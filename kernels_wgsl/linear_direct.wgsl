// linear.wgsl for adapters that compute on the CPU four invocations at a time: no workgroup memory.
//
// Bindings and shapes: as linear.wgsl's, but x in single floats.
// Tiling: a quad of invocations makes ROWS rows × 4 · COLS columns. Of x each loads one of four
// floats, which the quad exchanges; of w each reads 16 bytes at a time of COLS rows of its own.
// Loads bound it, then decoding. Lines with names in _i, _j, _u are repeated for each of ROWS,
// COLS, and for every four weights of 16 bytes.

enable subgroups;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
// [scale
fn scaled(v: f32, n: u32, k: u32) -> f32 { return v; } // linear.wgsl's section comes here
// scale]

const M: u32 = 1u;
const N: u32 = 1u;
const K: u32 = 32u;
const GROUP: u32 = 32u;
const ROWS: u32 = 1u;
const COLS: u32 = 1u;
const DOWN: u32 = 1u; // blocks of ROWS
const EACH: u32 = 16u; // weights of 16 bytes
const STEP: u32 = max(16u / EACH, 1u); // words of four weights
const _i = 0u; const _j = 0u; const _u = 0u; // as it stands

// [decode
fn decode(v: u32, next: u32, high: u32) -> vec4<f32> { return vec4<f32>(); } // so does its decode
// decode]

@compute @workgroup_size(4)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let t = wid.x + wid.y * 32768u;
  let m = t % DOWN * ROWS;
  let n = t / DOWN * (4u * COLS);
  if (n >= N) { return; }
  let m_i = min(m + _i, M - 1u); // behind the last row and column they repeat
  let n_j = min(n + 4u * _j + lane, N - 1u);
  let a_i = m_i * K + lane;
  let b_j = n_j * (K / EACH);
  var s_i_j = 0.0;
  for (var g = 0u; g < K / GROUP; g++) {
    var p_i_j = 0.0;
    for (var k = g * (GROUP / EACH); k < (g + 1u) * (GROUP / EACH); k++) {
      let v_j = w[b_j + k];
      let x_i_u = x[a_i + k * EACH + 4u * _u];
      let four_i_u = vec4<f32>(quadBroadcast(x_i_u, 0u), quadBroadcast(x_i_u, 1u), quadBroadcast(x_i_u, 2u), quadBroadcast(x_i_u, 3u));
      let q_j_u = decode(v_j[_u * STEP % 4u], v_j[(_u * STEP + 1u) % 4u], _u / 4u);
      p_i_j += dot(four_i_u, q_j_u);
    }
    s_i_j += scaled(p_i_j, n_j, g * GROUP);
  }
  out[m_i * N + n_j] = s_i_j;
}
