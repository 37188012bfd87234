// out[index[j]] = combine(out[index[j]], value[j]) for j < M in order, for rows of WIDTH elements.
//
// Bindings: out (holds the base), index, value. For adapters in software, where atomic operations are
// slow: an invocation goes through all of the index for some columns of SIZE rows of out.

@group(0) @binding(0) var<storage, read_write> out: array<T>;
@group(0) @binding(1) var<storage, read> index: array<i32>;
@group(0) @binding(2) var<storage, read> value: array<T>;

const M: u32 = 1u;
const WIDTH: u32 = 1u;
const RANGES: u32 = 1u;
const SIZE: u32 = 1u;
const STRIPS: u32 = (WIDTH + 3u) / 4u;

// [combine
alias T = f32;
fn combine(a: T, b: T) -> T { return a + b; }
// combine]

@compute @workgroup_size(4)
fn main(
  @builtin(global_invocation_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
) {
  for (var k = id.x; k < STRIPS * RANGES; k += groups.x * 4u) {
    let first = k / STRIPS * SIZE;
    for (var j = 0u; j < M; j += 1u) {
      let row = u32(index[j]);
      if (row - first < SIZE) {
        for (var column = k % STRIPS; column < WIDTH; column += STRIPS) {
          let at = row * WIDTH + column;
          out[at] = combine(out[at], value[j * WIDTH + column]);
        }
      }
    }
  }
}
