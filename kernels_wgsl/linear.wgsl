// out = x wᵀ for a few rows of x; weights of 16, 8 or 4 bits become floats in registers. Reading w
// bounds it.
//
// Bindings: x (ROWS, K), w (N, K) in words, out (ROWS, N), and for integers scale (N, K / GROUP).
// K and GROUP are multiples of 32. Of four words of int4 the lower halves come first.
// Tiling: 64 invocations of a workgroup share the words of COLS rows of w, 16 bytes each at a time,
// which meet the same x: of int8, x alone would be four times what is read of w. A tree adds the
// shares up, or subgroups.wgsl if the GPU has them. Lines with names in _i, _j, _u are repeated for
// each of ROWS, COLS, and for every four weights of those 16 bytes.

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
// [scale
@group(0) @binding(3) var<storage, read> scale: array<f32>;
fn scaled(v: f32, n: u32, k: u32) -> f32 { return v * scale[n * (K / GROUP) + k / GROUP]; }
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

// Four weights: those of a word, the lower or higher halves of its bytes, or those of two words.
// Shifts are written as products: adapters that compute on the CPU shift lane by lane.
// [decode
fn decode(v: u32, next: u32, high: u32) -> vec4<f32> {
  let up = v * vec4<u32>(0x1000000u, 0x10000u, 0x100u, 1u);
  return vec4<f32>(vec4<i32>(up & vec4<u32>(0xff000000u))) * 5.9604644775390625e-8;
}
// decode]

var<workgroup> sums: array<f32, ROWS * COLS * 64>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  let t = wid.x + wid.y * 32768u;
  let n = t / DOWN * COLS;
  if (n >= N) { return; }
  let m = t % DOWN * ROWS;
  let m_i = min(m + _i, M - 1u); // behind the last row and column they repeat
  let n_j = min(n + _j, N - 1u);
  var s_i_j = 0.0;
  for (var k = lid * EACH; k < K; k += 64u * EACH) {
    let v_j = w[(n_j * K + k) / EACH];
    var p_i_j = 0.0;
    let x_i_u = x[(m_i * K + k) / 4u + _u];
    let b_j_u = decode(v_j[_u * STEP % 4u], v_j[(_u * STEP + 1u) % 4u], _u / 4u);
    p_i_j += dot(x_i_u, b_j_u);
    s_i_j += scaled(p_i_j, n_j, k);
  }
// [add
  sums[(_i * COLS + _j) * 64u + lid] = s_i_j;
  for (var far = 32u; far > 0u; far /= 2u) {
    workgroupBarrier();
    if (lid < far) { sums[(_i * COLS + _j) * 64u + lid] += sums[(_i * COLS + _j) * 64u + lid + far]; }
  }
  let r_i_j = sums[(_i * COLS + _j) * 64u];
// add]
  if (lid > 0u) { return; }
  out[m_i * N + n_j] = r_i_j;
}
