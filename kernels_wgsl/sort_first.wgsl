// The first K of the stable ascending permutation of rows of keys (rows, N).
//
// Bindings: keys, out; what `out` holds behind the first K of a row is undefined. A workgroup takes
// SPAN keys of a row. A radix select, by counts of one byte at a time, first of the keys, then of
// the indices of equal ones, narrows the K-th down until at most ROOM do not come behind it; these
// are gathered in any order and placed by counting. Where a row is cut into several spans, a second
// launch, with MERGE, chooses among the first K of each.
// Reading the keys bounds it, once per byte looked at and once more; for large K the comparisons of
// all that are gathered with each other do, and on adapters that compute on the CPU the barriers,
// which cost less in small workgroups.

@group(0) @binding(0) var<storage, read> keys: array<i32>;
@group(0) @binding(1) var<storage, read_write> out: array<i32>;

const ROWS: u32 = 1u;
const N: u32 = 1u;
const K: u32 = 1u; // at most 1024 and SPAN
const SPAN: u32 = 1u;
const ROOM: u32 = 1024u; // from K to 1024
const MERGE: bool = false;
const SIZE: u32 = 256u; // invocations, 16 at least

var<workgroup> counts: array<atomic<u32>, 256>;
var<workgroup> sums: array<u32, 16>;
var<workgroup> found: vec3<u32>;
var<workgroup> have: atomic<u32>;
var<workgroup> chosen: array<vec2<u32>, 1024>;

fn entry(row: u32, e: u32) -> vec2<u32> { // a key, as a number without sign, and its index
  var index = e;
  if (MERGE) { index = u32(out[row + e / K * SPAN + e % K]); }
  return vec2(bitcast<u32>(keys[row + index]) ^ 0x80000000u, index);
}
fn before(a: vec2<u32>, b: vec2<u32>) -> bool {
  return a.x < b.x || (a.x == b.x && a.y < b.y);
}
// The byte of the element that is number `wanted`, how many of that byte are wanted, and are there.
fn pick(wanted: u32) -> vec3<u32> {
  var left = wanted;
  var byte = 0u;
  while (left > sums[byte / 16u]) {
    left -= sums[byte / 16u];
    byte += 16u;
  }
  var count = atomicLoad(&counts[byte]);
  while (left > count) {
    left -= count;
    byte++;
    count = atomicLoad(&counts[byte]);
  }
  return vec3(byte, left, count);
}

@compute @workgroup_size(SIZE)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  let spans = (N + SPAN - 1u) / SPAN;
  let blocks = select(spans, 1u, MERGE);
  for (var block = wid.x; block < ROWS * blocks; block += groups.x) {
    let row = block / blocks * N;
    let start = block % blocks * SPAN;
    var end = min(start + SPAN, N);
    if (MERGE) { end = (spans - 1u) * K + min(K, N - (spans - 1u) * SPAN); }
    let k = min(K, end - start);
    var wanted = k;
    var total = 0u; // how many do not come behind the bound
    var bound = vec2(0u); // the K-th, as far as it is known: where `mask` is set
    var mask = vec2(0u);
    for (var pass_ = 0u; pass_ < 8u; pass_++) {
      let shift = 24u - pass_ % 4u * 8u;
      let by_key = pass_ < 4u;
      if (!by_key && (N - 1u) >> shift == 0u && shift > 0u) { continue; }
      for (var i = lid; i < 256u; i += SIZE) { atomicStore(&counts[i], 0u); }
      if (lid == 0u) { atomicStore(&have, 0u); }
      workgroupBarrier();
      for (var e = start + lid; e < end; e += SIZE) {
        let one = entry(row, e);
        if (all((one & mask) == bound)) {
          atomicAdd(&counts[(select(one.y, one.x, by_key) >> shift) & 255u], 1u);
        }
      }
      workgroupBarrier();
      if (lid < 16u) {
        var sum = 0u;
        for (var i = 0u; i < 16u; i++) { sum += atomicLoad(&counts[lid * 16u + i]); }
        sums[lid] = sum;
      }
      workgroupBarrier();
      if (lid == 0u) { found = pick(wanted); }
      let byte = workgroupUniformLoad(&found);
      let part = select(vec2(0u, 1u), vec2(1u, 0u), by_key) << vec2(shift);
      bound |= part * byte.x;
      mask |= part * 255u;
      wanted = byte.y;
      total = k - wanted + byte.z;
      if (total <= ROOM) { break; }
    }
    for (var e = start + lid; e < end; e += SIZE) {
      let one = entry(row, e);
      if (!before(bound, one & mask)) { chosen[atomicAdd(&have, 1u)] = one; }
    }
    workgroupBarrier();
    for (var i = lid; i < total; i += SIZE) {
      let mine = chosen[i];
      var rank = 0u;
      for (var j = 0u; j < total; j++) { rank += select(0u, 1u, before(chosen[j], mine)); }
      if (rank < k) { out[row + start + rank] = i32(mine.y); }
    }
    workgroupBarrier();
  }
}
