// The gradient of a 2-d convolution for its weight, without workgroup memory: for adapters that
// compute on the CPU. Tiled as matmul_direct.wgsl: rows are channels of g, columns are elements of
// the window (of any input channel).
//
// Bindings: g (N, O, OH, OW), x (N, C, H, W), out (O, C/g, KH, KW).
// A tile walks all pixels, with sums of its own per image: they stay short, for accuracy.
// Lines with names in _i, _j, _s, _u are repeated for each of ROWS, COLS, SPREAD, DEEP.

enable subgroups;

@group(0) @binding(0) var<storage, read> g: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

const BATCH: u32 = 1u;
const GROUPS: u32 = 1u;
const CG: u32 = 1u;
const OG: u32 = 1u;
const H: u32 = 1u;
const W: u32 = 1u;
const KH: u32 = 1u;
const KW: u32 = 1u;
const OH: u32 = 1u;
const OW: u32 = 1u;
const SH: u32 = 1u;
const SW: u32 = 1u;
const PH: u32 = 0u;
const PW: u32 = 0u;
const DH: u32 = 1u;
const DW: u32 = 1u;
const TAPS: u32 = CG * KH * KW;
const ROWS: u32 = 1u;
const COLS: u32 = 1u;
const SPREAD: u32 = 1u;
const DEEP: u32 = 1u; // divides OW
const ACROSS: u32 = 1u; // tiles of taps
const DOWN: u32 = 1u;
const _i = 0u; const _j = 0u; const _s = 0u; const _u = 0u; // as it stands

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
  if (z >= GROUPS) { return; }
  let o = t / ACROSS % DOWN * (SPREAD * ROWS) + lane % SPREAD;
  // behind the last channel and tap they repeat
  let o_i = min(o + SPREAD * _i, OG - 1u);
  let t_j = min(t % ACROSS * (4u * COLS) + 4u * _j + lane, TAPS - 1u);
  let t_j_s = place_s(t_j);
  let down_j = t_j / KW % KH * DH - PH; // wraps below 0
  let right_j = t_j % KW * DW - PW;
  let plane_j = (z * CG + t_j / (KH * KW)) * (H * W) + right_j;
  var c_i_j_s = 0.0;
  for (var n = 0u; n < BATCH; n++) {
    var d_i_j_s = 0.0;
    for (var y = 0u; y < OH; y++) {
      let h_j = y * SH + down_j;
      let in_j = h_j < H;
      var b_j = n * (GROUPS * CG * H * W) + plane_j + h_j * W;
      var v_j = right_j;
      var a_i = (((n * GROUPS + z) * OG + o_i) * OH + y) * OW;
      for (var k = 0u; k < OW; k += DEEP) {
        let p_i_u = g[a_i + _u];
        let q_j_u = select(0.0, x[b_j + _u * SW], in_j & (v_j + _u * SW < W));
        let q_j_u_s = across_s(q_j_u);
        d_i_j_s += p_i_u * q_j_u_s;
        a_i += DEEP;
        b_j += DEEP * SW;
        v_j += DEEP * SW;
      }
    }
    c_i_j_s += d_i_j_s;
  }
  out[(z * OG + o_i) * TAPS + t_j_s] = c_i_j_s;
}
