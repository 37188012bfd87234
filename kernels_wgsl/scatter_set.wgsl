// out[index[e / WIDTH] · WIDTH + e % WIDTH] = value[e] for e < N; of equal indices any one wins.
//
// Bindings: out (holds the base), index, value, of any 32-bit type. Memory bounds it.

@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@group(0) @binding(1) var<storage, read> index: array<i32>;
@group(0) @binding(2) var<storage, read> value: array<u32>;

const N: u32 = 1u;
const WIDTH: u32 = 1u;

@compute @workgroup_size(64)
fn main(
  @builtin(global_invocation_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
) {
  for (var e = id.x; e < N; e += groups.x * 64u) {
    out[u32(index[e / WIDTH]) * WIDTH + e % WIDTH] = value[e];
  }
}
