// Running sum, product, maximum or minimum along the rows of (rows, N), a workgroup per row.
//
// Bindings: x, out. A workgroup takes 256 elements at a time: it scans them by doubling distances
// in workgroup memory and carries the total on. Barriers bound it.

@group(0) @binding(0) var<storage, read> x: array<T>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;

const ROWS: u32 = 1u;
const N: u32 = 1u;

// [combine
alias T = f32;
fn combine(a: T, b: T) -> T { return a + b; }
// combine]

var<workgroup> part: array<T, 256>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  for (var row = wid.x; row < ROWS; row += groups.x) {
    for (var start = 0u; start < N; start += 256u) {
      let at = min(start + lid, N - 1u);
      let before = part[255]; // the total of what came before
      var value = x[row * N + at];
      workgroupBarrier();
      if (lid == 0u && start > 0u) { value = combine(before, value); }
      part[lid] = value;
      workgroupBarrier();
      for (var d = 1u; d < 256u; d *= 2u) {
        var left = value;
        if (lid >= d) { left = part[lid - d]; }
        workgroupBarrier();
        if (lid >= d) {
          value = combine(left, value);
          part[lid] = value;
        }
        workgroupBarrier();
      }
      if (start + lid < N) { out[row * N + start + lid] = value; }
    }
    workgroupBarrier();
  }
}
