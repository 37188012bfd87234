// Stable ascending permutation of short rows of keys (rows, N), by counting.
//
// Bindings: keys, out. An invocation per element counts the elements that come before it, and
// writes its index there. N comparisons per element bound it, so it is for short rows, and for
// longer ones on adapters that compute on the CPU, where the barriers of sort.wgsl cost more.

@group(0) @binding(0) var<storage, read> keys: array<i32>;
@group(0) @binding(1) var<storage, read_write> out: array<i32>;

const ROWS: u32 = 1u;
const N: u32 = 1u;

@compute @workgroup_size(64)
fn main(
  @builtin(global_invocation_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
) {
  for (var e = id.x; e < ROWS * N; e += groups.x * 64u) {
    let row = e / N * N;
    let mine = keys[e];
    var rank = 0u;
    for (var i = row; i < e; i++) { rank += select(0u, 1u, keys[i] <= mine); }
    for (var i = e + 1u; i < row + N; i++) { rank += select(0u, 1u, keys[i] < mine); }
    out[row + rank] = i32(e - row);
  }
}
