// The gradient of a 2-d convolution for its weight, without workgroup memory: for adapters that
// compute on the CPU.
//
// Bindings: g (N, O, OH, OW), x (N, C, H, W), out (O, C/g, KH, KW).
// Tiling: an invocation makes 4 elements of the window (of any input channel), 16 apart, for 8
// output channels, and walks all pixels.

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

fn store_row(z: u32, o: u32, t: u32, c: vec4<f32>) {
  if (o >= OG) { return; }
  let at = (z * OG + o) * TAPS + t;
  if (t < TAPS) { out[at] = c.x; }
  if (t + 16u < TAPS) { out[at + 16u] = c.y; }
  if (t + 32u < TAPS) { out[at + 32u] = c.z; }
  if (t + 48u < TAPS) { out[at + 48u] = c.w; }
}

fn tile(z: u32, o: u32, t: u32) {
  let taps = min(vec4<u32>(t, t + 16u, t + 32u, t + 48u), vec4<u32>(TAPS - 1u));
  let channel = (z * CG + taps / (KH * KW)) * (H * W);
  let down = taps / KW % KH * DH - PH; // wraps below 0
  let right = taps % KW * DW - PW;
  let o1 = (min(o + 1u, OG - 1u) - o) * (OH * OW); // behind the last channel it repeats
  let o2 = (min(o + 2u, OG - 1u) - o) * (OH * OW);
  let o3 = (min(o + 3u, OG - 1u) - o) * (OH * OW);
  let o4 = (min(o + 4u, OG - 1u) - o) * (OH * OW);
  let o5 = (min(o + 5u, OG - 1u) - o) * (OH * OW);
  let o6 = (min(o + 6u, OG - 1u) - o) * (OH * OW);
  let o7 = (min(o + 7u, OG - 1u) - o) * (OH * OW);
  var c0 = vec4<f32>(); var c1 = c0; var c2 = c0; var c3 = c0;
  var c4 = c0; var c5 = c0; var c6 = c0; var c7 = c0;
  for (var n = 0u; n < BATCH; n++) {
    for (var i = 0u; i < OH; i++) {
      let h = i * SH + down;
      let inside = h < vec4<u32>(H);
      let line = n * (GROUPS * CG * H * W) + channel + h * W;
      var f = ((n * GROUPS + z) * OG + o) * (OH * OW) + i * OW;
      // per row its own sums: they stay short, for accuracy
      var s0 = vec4<f32>(); var s1 = s0; var s2 = s0; var s3 = s0;
      var s4 = s0; var s5 = s0; var s6 = s0; var s7 = s0;
      for (var j = 0u; j < OW; j++) {
        let v = j * SW + right;
        let at = line + v;
        let value = select(vec4<f32>(), vec4<f32>(x[at.x], x[at.y], x[at.z], x[at.w]),
          inside & (v < vec4<u32>(W)));
        s0 += g[f] * value;
        s1 += g[f + o1] * value;
        s2 += g[f + o2] * value;
        s3 += g[f + o3] * value;
        s4 += g[f + o4] * value;
        s5 += g[f + o5] * value;
        s6 += g[f + o6] * value;
        s7 += g[f + o7] * value;
        f += 1u;
      }
      c0 += s0; c1 += s1; c2 += s2; c3 += s3; c4 += s4; c5 += s5; c6 += s6; c7 += s7;
    }
  }
  store_row(z, o, t, c0);
  store_row(z, o + 1u, t, c1);
  store_row(z, o + 2u, t, c2);
  store_row(z, o + 3u, t, c3);
  store_row(z, o + 4u, t, c4);
  store_row(z, o + 5u, t, c5);
  store_row(z, o + 6u, t, c6);
  store_row(z, o + 7u, t, c7);
}

@compute @workgroup_size(16)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  for (var z = wid.z; z < GROUPS; z += groups.z) {
    for (var o = wid.y * 8u; o < OG; o += groups.y * 8u) {
      for (var t = wid.x * 64u; t < TAPS; t += groups.x * 64u) {
        tile(z, o, t + lid);
      }
    }
  }
}
