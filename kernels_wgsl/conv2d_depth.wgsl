// 2-d convolution of single channels (C/g = 1), or, with a stride of 1 and its window turned round,
// the gradient for the input.
//
// Bindings: x (N, CHANNELS / EACH, H, W), w (CHANNELS, KH, KW), out (N, CHANNELS, OH, OW).
// Tiling: an invocation makes WIDE neighbours in a row, which share what they load of each row of
// the window; the last strip of a row is moved to the left and repeats some. Loads bound it.

alias Factor = f32; // or f16
@group(0) @binding(0) var<storage, read> x: array<Factor>;
@group(0) @binding(1) var<storage, read> w: array<Factor>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

const PLANES: u32 = 1u; // batch · CHANNELS
const CHANNELS: u32 = 1u;
const EACH: u32 = 1u; // channels of out per channel of x
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
const TURNED: bool = false;
const WIDE: u32 = 1u;
const STRIPS: u32 = 1u; // of a row
const _i = 0u; // as it stands

// [finish
fn finish(value: f32, n: u32, at: u32) -> f32 { return value; } // of channel n, stored at `at`
// finish]

fn load(line: u32, v: u32, inside: bool) -> f32 {
  return select(0.0, f32(x[line + v]), inside & (v < W)); // v wraps below 0
}
fn weight(at: u32) -> f32 {
  return f32(w[select(at, 2u * (at / (KH * KW)) * (KH * KW) + KH * KW - 1u - at, TURNED)]);
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  let t = (wid.x + wid.y * 32768u) * 64u + lid;
  if (t >= PLANES * OH * STRIPS) { return; }
  let line = t / STRIPS; // of out
  let left = min(t % STRIPS * WIDE, OW - WIDE);
  let plane = line / OH;
  let image = plane / CHANNELS * (CHANNELS / EACH) + plane % CHANNELS / EACH;
  let v = left * SW - PW;
  var c_i = 0.0;
  for (var i = 0u; i < KH; i++) {
    let h = line % OH * SH + i * DH - PH; // wraps below 0
    let inside = h < H;
    let start = (image * H + h) * W;
    let at = (plane % CHANNELS * KH + i) * KW;
// [taps
    let x_0 = load(start, v, inside);
    let w_0 = weight(at);
    c_i += w_0 * x_0;
// taps]
  }
  let at = line * OW + left;
  out[at + _i] = finish(c_i, plane % CHANNELS, at + _i);
}
