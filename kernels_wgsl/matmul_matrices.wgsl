// The tiled `product` of matmul.wgsl for GPUs whose subgroups multiply 8 × 8 matrices of floats.
//
// Bindings and shapes: as matmul.wgsl's; the section `product` goes with the operands of
// convolutions too. Grid: tiles, along N first, then along M, then batches.
// Tiling: four subgroups make 64 × 64 elements, slice by slice of 16 along K through workgroup
// memory. Each makes 32 × 32 of them, 16 matrices in registers, from 4 of a and 4 of b at a time: an
// element loaded from workgroup memory is used 32 times, so by count arithmetic bounds it once M and
// N are some hundreds; it was timed on no GPU. Finished matrices go through workgroup memory, eight
// rows at a time, since what follows a product is done to elements. Lines with names in _i, _j are
// repeated for each of 4; those in _u that follow each other, together.

enable subgroups;
enable chromium_experimental_subgroup_matrix;

alias Factor = f32; // or f16
@group(0) @binding(0) var<storage, read> a: array<Factor>;
@group(0) @binding(1) var<storage, read> b: array<Factor>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

const BATCH: u32 = 1u;
const M: u32 = 1u;
const N: u32 = 1u;
const K: u32 = 1u;
const A_ALONG_K: bool = true; // neighbouring invocations load neighbours along K
const B_ALONG_K: bool = false;
const _i = 0u; const _j = 0u; const _u = 0u; // as it stands

fn bases(z: u32) -> vec2<u32> { return vec2<u32>(z * M * K, z * K * N); }

// [product
// [fours
fn load_a4(base: u32, m: u32, k: u32) -> vec4<Factor> { return vec4<Factor>(a[base + m * K + k]); }
fn load_b4(base: u32, k: u32, n: u32) -> vec4<Factor> { return vec4<Factor>(b[base + k * N + n]); }
fn store4(z: u32, m: u32, n: u32, value: vec4<f32>) { out[(z * M + m) * N + n] = value.x; }
// fours]

alias Element = f32; // of the matrices that are multiplied
const LANES: u32 = 32u; // invocations of a subgroup
const TILE: u32 = 64u;
const FOURS: u32 = TILE / 4u;
const SLICE: u32 = 16u;
const ACROSS: u32 = 1u; // tiles along N
const DOWN: u32 = 1u;
var<workgroup> tile_a: array<Element, SLICE * TILE>; // [k][m]
var<workgroup> tile_b: array<Element, SLICE * TILE>; // [k][n]
var<workgroup> rows: array<f32, 4u * 8u * 32u>; // [subgroup][m][n]

fn fill(base: vec2<u32>, m0: u32, n0: u32, k0: u32, lid: u32) {
  for (var f = lid; f < SLICE * FOURS; f += 4u * LANES) {
    let k = select(f / FOURS, f % SLICE, A_ALONG_K);
    let m = select(f % FOURS, f / SLICE, A_ALONG_K) * 4u;
    let four = load_a4(base.x, m0 + m, k0 + k);
    for (var e = 0u; e < 4u; e++) { tile_a[k * TILE + m + e] = Element(four[e]); }
  }
  for (var f = lid; f < SLICE * FOURS; f += 4u * LANES) {
    let k = select(f / FOURS, f % SLICE, B_ALONG_K);
    let n = select(f % FOURS, f / SLICE, B_ALONG_K) * 4u;
    let four = load_b4(base.y, k0 + k, n0 + n);
    for (var e = 0u; e < 4u; e++) { tile_b[k * TILE + n + e] = Element(four[e]); }
  }
}

@compute @workgroup_size(4u * LANES)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
  @builtin(subgroup_id) number: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let t = wid.x + wid.y * 32768u;
  let z = t / (ACROSS * DOWN);
  if (z >= BATCH) { return; }
  let m0 = t / ACROSS % DOWN * TILE;
  let n0 = t % ACROSS * TILE;
  let base = bases(z);
  let y = number / 2u * 32u;
  let x = number % 2u * 32u;
  var c_i_j: subgroup_matrix_result<f32, 8, 8>;
  for (var k0 = 0u; k0 < K; k0 += SLICE) {
    workgroupBarrier();
    fill(base, m0, n0, k0, lid);
    workgroupBarrier();
    for (var k = 0u; k < SLICE * TILE; k += 8u * TILE) {
      let p_i = subgroupMatrixLoad<subgroup_matrix_left<Element, 8, 8>, col_major>(&tile_a, k + y + 8u * _i, TILE);
      let q_j = subgroupMatrixLoad<subgroup_matrix_right<Element, 8, 8>, row_major>(&tile_b, k + x + 8u * _j, TILE);
      c_i_j = subgroupMatrixMultiplyAccumulate(p_i, q_j, c_i_j);
    }
  }
  var c_u_j = c_i_j; // as it stands
  subgroupMatrixStore<row_major>(&rows, 256u * number + 8u * _j, c_u_j, 32u);
  workgroupBarrier(); // _u
  for (var f = lane; f < 64u; f += LANES) { // _u
    let at_u = 256u * number + 4u * f;
    let four_u = vec4<f32>(rows[at_u], rows[at_u + 1u], rows[at_u + 2u], rows[at_u + 3u]);
    store4(z, m0 + y + 8u * _u + f / 8u, n0 + x + f % 8u * 4u, four_u);
  } // _u
  workgroupBarrier(); // _u
}
// product]
