// out[at] = combine(out[at], value[e]) for e < N, at = index[e / WIDTH] · WIDTH + e % WIDTH; equal
// indices meet in any order.
//
// Bindings: out (holds the base), index, value. A loop of compare-and-exchange, since WGSL has no
// atomic operations on floats; contention on one element bounds it.

@group(0) @binding(0) var<storage, read_write> out: array<atomic<u32>>;
@group(0) @binding(1) var<storage, read> index: array<i32>;
@group(0) @binding(2) var<storage, read> value: array<T>;

const N: u32 = 1u;
const WIDTH: u32 = 1u;

// [combine
alias T = f32;
fn combine(a: T, b: T) -> T { return a + b; }
// combine]

@compute @workgroup_size(64)
fn main(
  @builtin(global_invocation_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
) {
  for (var e = id.x; e < N; e += groups.x * 64u) {
    let at = u32(index[e / WIDTH]) * WIDTH + e % WIDTH;
    let mine = value[e];
    var seen = atomicLoad(&out[at]);
    loop {
      let next = bitcast<u32>(combine(bitcast<T>(seen), mine));
      let got = atomicCompareExchangeWeak(&out[at], seen, next);
      if (got.exchanged) { break; }
      seen = got.old_value;
    }
  }
}
