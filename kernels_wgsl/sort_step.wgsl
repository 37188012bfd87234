// One step of the bitonic network of sort.wgsl over distances that workgroup memory cannot hold.
//
// Bindings: keys, out (the permutation so far; keys are read through it). An invocation compares
// one pair. Memory latency bounds it.

@group(0) @binding(0) var<storage, read> keys: array<i32>;
@group(0) @binding(1) var<storage, read_write> out: array<i32>;

const ROWS: u32 = 1u;
const N: u32 = 1u;
const PAIRS: u32 = 1u; // per row: half the next power of two
const HALF: u32 = 1u; // half the length of a run
const FLIP: bool = true;

fn compare(row: u32, a: u32, b: u32) {
  if (b >= N) { return; }
  let pa = out[row + a];
  let pb = out[row + b];
  let ka = keys[row + u32(pa)];
  let kb = keys[row + u32(pb)];
  if (kb < ka || (kb == ka && pb < pa)) {
    out[row + a] = pb;
    out[row + b] = pa;
  }
}

@compute @workgroup_size(64)
fn main(
  @builtin(global_invocation_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
) {
  for (var p = id.x; p < ROWS * PAIRS; p += groups.x * 64u) {
    let i = p % PAIRS;
    let run = i / HALF * HALF * 2u;
    let far = select(run + HALF + i % HALF, run + 2u * HALF - 1u - i % HALF, FLIP);
    compare(p / PAIRS * N, run + i % HALF, far);
  }
}
