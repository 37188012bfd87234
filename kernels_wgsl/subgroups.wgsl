// Sums over the 64 invocations of a workgroup by subgroups, with one barrier where a tree has six.
//
// Bindings: out (ROWS, COLS, 64), whose lines become their sums. Nothing here bounds a kernel's
// speed: `add` stands in for the section of that name of matvec.wgsl and linear.wgsl.
// Tiling: each subgroup adds its values up, then each all those sums; so it does not matter which
// invocations are in one, nor how many. Lines with names in _i, _j are repeated for each of ROWS,
// COLS.

enable subgroups;

@group(0) @binding(0) var<storage, read_write> out: array<f32>;

const ROWS: u32 = 1u;
const COLS: u32 = 1u;
const _i = 0u; const _j = 0u; // as it stands

var<workgroup> sums: array<f32, ROWS * COLS * 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lid: u32) {
  let s_i_j = out[(_i * COLS + _j) * 64u + lid];
// [add
  let size = subgroupAdd(1u);
  let place = subgroupExclusiveAdd(1u);
  let own_i_j = subgroupAdd(s_i_j);
  sums[(_i * COLS + _j) * 64u + lid] = select(0.0, own_i_j, place == 0u);
  workgroupBarrier();
  var all_i_j = 0.0;
  for (var far = place; far < 64u; far += size) {
    all_i_j += sums[(_i * COLS + _j) * 64u + far];
  }
  let r_i_j = subgroupAdd(all_i_j);
// add]
  out[(_i * COLS + _j) * 64u + lid] = r_i_j;
}
