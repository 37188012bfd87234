// out[index[j]] = value[j] for j < M; of equal indices any one wins.
//
// Bindings: out (holds the base), index, value, of any 32-bit type. Memory bounds it.

@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@group(0) @binding(1) var<storage, read> index: array<i32>;
@group(0) @binding(2) var<storage, read> value: array<u32>;

const M: u32 = 1u;

@compute @workgroup_size(64)
fn main(
  @builtin(global_invocation_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
) {
  for (var j = id.x; j < M; j += groups.x * 64u) {
    out[u32(index[j])] = value[j];
  }
}
