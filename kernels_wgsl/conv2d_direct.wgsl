// 2-d convolution, or its gradient for the input, without workgroup memory: for adapters that
// compute on the CPU.
//
// Bindings: x (N, groups · CI, planes of X_PLANE), w, out (N, groups · CO, planes of Y_PLANE).
// Tiling: an invocation makes 4 pixels, 16 apart, of 8 channels. The kernel window is walked
// outside, so that the loop over the input channels only adds to addresses. Few branches: the
// compiler of such adapters takes very long on many of them within loops within loops.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

const GROUPS: u32 = 1u;
const PIXELS: u32 = 1u; // of out, over the batch
const CI: u32 = 1u; // channels of x in a group
const CO: u32 = 1u;
const X_PLANE: u32 = 1u;
const Y_PLANE: u32 = 1u;
const W_CI: u32 = 1u; // strides of w
const W_CO: u32 = 1u;
const W_GROUP: u32 = 1u;
const H: u32 = 1u; // size of the image of the convolution, not of its gradient
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
const BACKWARD: bool = false;
const NOWHERE: u32 = 0xffffffffu;

fn forward_place(p: u32, i: u32, j: u32) -> u32 {
  let h = (p / OW) * SH + i * DH - PH; // wraps below 0
  let v = (p % OW) * SW + j * DW - PW;
  return select(NOWHERE, h * W + v, h < H && v < W);
}
fn backward_place(p: u32, i: u32, j: u32) -> u32 {
  let h = p / W + PH - i * DH;
  let v = p % W + PW - j * DW;
  let there = h % SH == 0u && v % SW == 0u && h / SH < OH && v / SW < OW;
  return select(NOWHERE, (h / SH) * OW + v / SW, there);
}
// Where in its plane of x a pixel of out meets element (i, j) of the window.
fn place(q: u32, i: u32, j: u32) -> u32 {
  let p = q % Y_PLANE;
  let at = select(forward_place(p, i, j), backward_place(p, i, j), BACKWARD);
  return select(NOWHERE, at, q < PIXELS);
}
fn image(q: u32, z: u32) -> u32 { // where the first channel of a pixel's group begins
  return (q / Y_PLANE * GROUPS + z) * CI * X_PLANE;
}
fn result(q: u32, z: u32) -> u32 {
  return (q / Y_PLANE * GROUPS + z) * CO * Y_PLANE + q % Y_PLANE;
}
fn store_channel(o: u32, q: u32, at: vec4<u32>, c: vec4<f32>) {
  if (o >= CO) { return; }
  let to = at + o * Y_PLANE;
  if (q < PIXELS) { out[to.x] = c.x; }
  if (q + 16u < PIXELS) { out[to.y] = c.y; }
  if (q + 32u < PIXELS) { out[to.z] = c.z; }
  if (q + 48u < PIXELS) { out[to.w] = c.w; }
}

fn tile(z: u32, o: u32, q: u32) {
  let o1 = (min(o + 1u, CO - 1u) - o) * W_CO; // behind the last channel it repeats
  let o2 = (min(o + 2u, CO - 1u) - o) * W_CO;
  let o3 = (min(o + 3u, CO - 1u) - o) * W_CO;
  let o4 = (min(o + 4u, CO - 1u) - o) * W_CO;
  let o5 = (min(o + 5u, CO - 1u) - o) * W_CO;
  let o6 = (min(o + 6u, CO - 1u) - o) * W_CO;
  let o7 = (min(o + 7u, CO - 1u) - o) * W_CO;
  var c0 = vec4<f32>(); var c1 = c0; var c2 = c0; var c3 = c0;
  var c4 = c0; var c5 = c0; var c6 = c0; var c7 = c0;
  for (var tap = 0u; tap < KH * KW; tap++) {
    let i = tap / KW;
    let j = tap % KW;
    let at = vec4<u32>(
      place(q, i, j), place(q + 16u, i, j), place(q + 32u, i, j), place(q + 48u, i, j));
    let there = at != vec4<u32>(NOWHERE);
    let from0 = image(q, z) + at.x;
    let from1 = image(q + 16u, z) + at.y;
    let from2 = image(q + 32u, z) + at.z;
    let from3 = image(q + 48u, z) + at.w;
    var f = z * W_GROUP + o * W_CO + tap;
    for (var c = 0u; c < CI * X_PLANE; c += X_PLANE) {
      let v = select(
        vec4<f32>(), vec4<f32>(x[from0 + c], x[from1 + c], x[from2 + c], x[from3 + c]), there);
      c0 += w[f] * v;
      c1 += w[f + o1] * v;
      c2 += w[f + o2] * v;
      c3 += w[f + o3] * v;
      c4 += w[f + o4] * v;
      c5 += w[f + o5] * v;
      c6 += w[f + o6] * v;
      c7 += w[f + o7] * v;
      f += W_CI;
    }
  }
  let at = vec4<u32>(result(q, z), result(q + 16u, z), result(q + 32u, z), result(q + 48u, z));
  store_channel(o, q, at, c0);
  store_channel(o + 1u, q, at, c1);
  store_channel(o + 2u, q, at, c2);
  store_channel(o + 3u, q, at, c3);
  store_channel(o + 4u, q, at, c4);
  store_channel(o + 5u, q, at, c5);
  store_channel(o + 6u, q, at, c6);
  store_channel(o + 7u, q, at, c7);
}

@compute @workgroup_size(16)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  for (var z = wid.z; z < GROUPS; z += groups.z) {
    for (var o = wid.y * 8u; o < CO; o += groups.y * 8u) {
      for (var q = wid.x * 64u; q < PIXELS; q += groups.x * 64u) {
        tile(z, o, q + lid);
      }
    }
  }
}
