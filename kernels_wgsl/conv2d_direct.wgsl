// 2-d convolution, or its gradient for the input, without workgroup memory: for adapters that
// compute on the CPU. Tiled as matmul_direct.wgsl: rows are channels of out, columns are pixels.
//
// Bindings: x (N, groups · CI, XH, XW), w, out (N, groups · CO, YH, YW).
// The window is walked outside, so that the loop over the input channels only adds to addresses.
// Going backward with a stride, the pixels of out fall into phases that meet different elements of
// the window: a tile lies in one phase, and walks the elements FIRST, FIRST + STEP, … of it.
// Lines with names in _i, _j, _s, _u are repeated for each of ROWS, COLS, SPREAD, DEEP.

enable subgroups;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

const GROUPS: u32 = 1u;
const PIXELS: u32 = 1u; // of out, over the batch, in a phase
const GH: u32 = 1u; // their grid in an image
const GW: u32 = 1u;
const CI: u32 = 1u; // channels of x in a group
const CO: u32 = 1u;
const XH: u32 = 1u;
const XW: u32 = 1u;
const YH: u32 = 1u;
const YW: u32 = 1u;
const W_CI: u32 = 1u; // strides of w
const W_CO: u32 = 1u;
const W_GROUP: u32 = 1u;
const KH: u32 = 1u;
const KW: u32 = 1u;
const SH: u32 = 1u;
const SW: u32 = 1u;
const PH: u32 = 0u;
const PW: u32 = 0u;
const DH: u32 = 1u;
const DW: u32 = 1u;
const BACKWARD: bool = false;
const PHASES_H: u32 = 1u; // 1, or the stride
const PHASES_W: u32 = 1u;
const COMMON_H: u32 = 1u; // greatest common divisor of stride and dilation
const COMMON_W: u32 = 1u;
const STEP_H: u32 = 1u; // stride / COMMON
const STEP_W: u32 = 1u;
const INVERSE_H: u32 = 0u; // of dilation / COMMON, modulo STEP
const INVERSE_W: u32 = 0u;
const ROWS: u32 = 1u;
const COLS: u32 = 1u;
const SPREAD: u32 = 1u;
const DEEP: u32 = 1u; // divides CI
const ACROSS: u32 = 1u; // tiles of pixels
const DOWN: u32 = 1u;
const _i = 0u; const _j = 0u; const _s = 0u; const _u = 0u; // as it stands

// [finish
fn finish(value: f32, n: u32, at: u32) -> f32 { return value; } // of channel n, stored at `at`
// finish]

// The first element of the window that a phase meets.
fn first(at: u32, size: u32, divisor: u32, inverse: u32, step: u32) -> u32 {
  return select(size, at / divisor * inverse % step, at % divisor == 0u);
}
// How far element i leads from the place of a pixel in x.
fn shift(i: u32, phase: u32, stride: u32, pad: u32, dilation: u32) -> u32 {
  let back = i32(phase + pad) - i32(i * dilation);
  return select(i * dilation - pad, u32(back / i32(stride)), BACKWARD); // wraps below 0
}

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
  let zp = t / (ACROSS * DOWN);
  let z = zp / (PHASES_H * PHASES_W);
  if (z >= GROUPS) { return; }
  let phase_h = zp / PHASES_W % PHASES_H;
  let phase_w = zp % PHASES_W;
  let o = t / ACROSS % DOWN * (SPREAD * ROWS) + lane % SPREAD;
  // behind the last channel and pixel they repeat
  let o_i = min(o + SPREAD * _i, CO - 1u);
  let q_j = min(t % ACROSS * (4u * COLS) + 4u * _j + lane, PIXELS - 1u);
  let n_j = q_j / (GH * GW);
  let y_j = min(q_j / GW % GH, (YH - 1u - phase_h) / PHASES_H);
  let x_j = min(q_j % GW, (YW - 1u - phase_w) / PHASES_W);
  let h_j = select(y_j * SH, y_j, BACKWARD);
  let v_j = select(x_j * SW, x_j, BACKWARD);
  let from_j = (n_j * GROUPS + z) * (CI * XH * XW);
  var c_i_j_s = 0.0;
  let first_h = first(phase_h + PH, KH, COMMON_H, INVERSE_H, STEP_H);
  let first_w = first(phase_w + PW, KW, COMMON_W, INVERSE_W, STEP_W);
  for (var i = first_h; i < KH; i += STEP_H) {
    for (var j = first_w; j < KW; j += STEP_W) {
      let down = shift(i, phase_h, SH, PH, DH);
      let right = shift(j, phase_w, SW, PW, DW);
      let in_j = (h_j + down < XH) & (v_j + right < XW);
      var b_j = from_j + (h_j + down) * XW + v_j + right;
      var a_i = z * W_GROUP + o_i * W_CO + i * KW + j;
      for (var c = 0u; c < CI; c += DEEP) {
        let p_i_u = w[a_i + _u * W_CI];
        let q_j_u = select(0.0, x[b_j + _u * (XH * XW)], in_j);
        let q_j_u_s = across_s(q_j_u);
        c_i_j_s += p_i_u * q_j_u_s;
        a_i += DEEP * W_CI;
        b_j += DEEP * (XH * XW);
      }
    }
  }
  let row_j = (n_j * GROUPS + z) * CO * YH + y_j * PHASES_H + phase_h;
  let to_j = row_j * YW + x_j * PHASES_W + phase_w;
  let to_j_s = place_s(to_j);
  let at_i_j_s = to_j_s + o_i * (YH * YW);
  out[at_i_j_s] = finish(c_i_j_s, z * CO + o_i, at_i_j_s);
}
