// Running sum, product, maximum or minimum along the rows of (rows, N), an invocation per row: for
// many rows, and for adapters that compute on the CPU.
//
// Bindings: x, out. The walk of one invocation along its row bounds it.

@group(0) @binding(0) var<storage, read> x: array<T>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;

const ROWS: u32 = 1u;
const N: u32 = 1u;

// [combine
alias T = f32;
fn combine(a: T, b: T) -> T { return a + b; }
// combine]

@compute @workgroup_size(16)
fn main(
  @builtin(global_invocation_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
) {
  for (var row = id.x; row < ROWS; row += groups.x * 16u) {
    var total = x[row * N];
    out[row * N] = total;
    for (var at = row * N + 1u; at < (row + 1u) * N; at++) {
      total = combine(total, x[at]);
      out[at] = total;
    }
  }
}
