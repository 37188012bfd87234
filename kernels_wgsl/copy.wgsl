// dst = src, N words of any type. Memory bounds it.
//
// Bindings: src, dst.

@group(0) @binding(0) var<storage, read> src: array<u32>;
@group(0) @binding(1) var<storage, read_write> dst: array<u32>;

const N: u32 = 1u;

@compute @workgroup_size(64)
fn main(
  @builtin(global_invocation_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
) {
  for (var i = id.x; i < N; i += groups.x * 64u) {
    dst[i] = src[i];
  }
}
