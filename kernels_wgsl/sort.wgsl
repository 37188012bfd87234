// Stable ascending permutation of rows of keys (rows, N): what fits into workgroup memory.
//
// Bindings: keys, out. A bitonic network whose comparators all put the larger one behind, so that
// the elements missing to a power of two count as infinitely large and need no memory. Equal keys
// compare by their index, which makes it stable.
// With FIRST, blocks of 1024 are sorted from scratch. Without, the permutation in `out` is merged
// within blocks, behind the steps of sort_step.wgsl over longer distances. Barriers bound it.

@group(0) @binding(0) var<storage, read> keys: array<i32>;
@group(0) @binding(1) var<storage, read_write> out: array<i32>;

const ROWS: u32 = 1u;
const N: u32 = 1u;
const BLOCK: u32 = 1024u; // a power of two, at most 1024
const FIRST: bool = true;

var<workgroup> key: array<i32, 1024>;
var<workgroup> place: array<i32, 1024>;

fn compare(a: u32, b: u32, count: u32) { // a < b
  if (b >= count) { return; }
  let ka = key[a];
  let kb = key[b];
  let pa = place[a];
  let pb = place[b];
  if (kb < ka || (kb == ka && pb < pa)) {
    key[a] = kb;
    key[b] = ka;
    place[a] = pb;
    place[b] = pa;
  }
}
// Every element of a run of 2 · half with its mirror image.
fn flip(half: u32, count: u32, lid: u32) {
  for (var i = lid; i < BLOCK / 2u; i += 256u) {
    let run = i / half * half * 2u;
    compare(run + i % half, run + 2u * half - 1u - i % half, count);
  }
  workgroupBarrier();
}
fn disperse(half: u32, count: u32, lid: u32) {
  for (var i = lid; i < BLOCK / 2u; i += 256u) {
    let a = i / half * half * 2u + i % half;
    compare(a, a + half, count);
  }
  workgroupBarrier();
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  let blocks = (N + BLOCK - 1u) / BLOCK;
  for (var block = wid.x; block < ROWS * blocks; block += groups.x) {
    let row = block / blocks * N;
    let start = block % blocks * BLOCK;
    let count = min(BLOCK, N - start);
    for (var i = lid; i < count; i += 256u) {
      var from_ = i32(start + i);
      if (!FIRST) { from_ = out[row + start + i]; }
      place[i] = from_;
      key[i] = keys[row + u32(from_)];
    }
    workgroupBarrier();
    if (FIRST) {
      for (var half = 1u; half < BLOCK; half *= 2u) {
        flip(half, count, lid);
        for (var q = half / 2u; q > 0u; q /= 2u) { disperse(q, count, lid); }
      }
    } else {
      for (var q = BLOCK / 2u; q > 0u; q /= 2u) { disperse(q, count, lid); }
    }
    for (var i = lid; i < count; i += 256u) { out[row + start + i] = place[i]; }
    workgroupBarrier();
  }
}
