// Matrix product out(z) = a(z) · b(z), and the tiled product that the convolutions share.
//
// Bindings: a, b, out. Shapes: a (…, M, K) and b (…, K, N) strided, out (…, M, N) contiguous.
// Grid: tiles, along N first, then along M, then batches.
// Tiling: SPLIT times SIDE × SIDE invocations make TILE × TILE elements, an invocation 4 × 4 of them
// or 8 × 8 (HALVES is 1 or 2); each SIDE × SIDE take a share of K, slice by slice of 16 through
// 128 · TILE · SPLIT bytes of workgroup memory. An element loaded from there is used 4 or 8 times, so
// arithmetic bounds it once M and N are some hundreds; one loaded into it is used TILE times. Below
// that the number of workgroups does: then smaller tiles make more of them, and SPLIT more of K
// happens at once. Lines with names in _i, _j, _e are repeated for each of HALVES, HALVES, 4; those
// in _u that follow each other, together for each of HALVES.
//
// `operands` says where the factors come from; conv2d*.wgsl hold other ones for the same `product`.

// [operands
alias Factor = f32; // or f16
@group(0) @binding(0) var<storage, read> a: array<Factor>;
@group(0) @binding(1) var<storage, read> b: array<Factor>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

const BATCH: u32 = 1u;
const M: u32 = 1u;
const N: u32 = 1u;
const K: u32 = 1u;
const A_ROW: u32 = 1u;
const A_COL: u32 = 1u;
const B_ROW: u32 = 1u;
const B_COL: u32 = 1u;
const A_ALONG_K: bool = true; // neighbouring invocations load neighbours along K
const B_ALONG_K: bool = false;

// [batch
fn bases(z: u32) -> vec2<u32> { // where the factors of a batch begin
  return vec2<u32>(0u, 0u);
}
// batch]

// [finish
fn finish(value: f32, n: u32, at: u32) -> f32 { return value; } // of column n, stored at `at`
// finish]

fn load_a(base: u32, m: u32, k: u32) -> Factor {
  if (m >= M || k >= K) { return 0.0; }
  return a[base + m * A_ROW + k * A_COL];
}
fn load_b(base: u32, k: u32, n: u32) -> Factor {
  if (n >= N || k >= K) { return 0.0; }
  return b[base + k * B_ROW + n * B_COL];
}
fn store_out(z: u32, m: u32, n: u32, value: f32) {
  if (m >= M || n >= N) { return; }
  let at = (z * M + m) * N + n;
  out[at] = finish(value, n, at);
}
// operands]

// [product
const TILE: u32 = 32u;
const SPLIT: u32 = 1u; // or 4
const HALVES: u32 = min(TILE / 32u, 2u);
const SIDE: u32 = TILE / (4u * HALVES);
const SIZE: u32 = SIDE * SIDE;
const SLICE: u32 = 16u;
const ACROSS: u32 = 1u; // tiles along N
const DOWN: u32 = 1u;
const FOURS: u32 = TILE / 4u;
const B_TILE: u32 = SPLIT * SLICE * FOURS; // where the tiles of b begin
const _i = 0u; const _j = 0u; const _e = 0u; const _u = 0u; // as it stands
alias Tile = Factor;
var<workgroup> tiles: array<vec4<Tile>, 2u * B_TILE>; // a: [split][k][m / 4], b: [split][k][n / 4]

// [fours
fn load_a4(base: u32, m: u32, k: u32) -> vec4<Factor> {
  return vec4<Factor>(
    load_a(base, m, k), load_a(base, m + 1u, k), load_a(base, m + 2u, k), load_a(base, m + 3u, k));
}
fn load_b4(base: u32, k: u32, n: u32) -> vec4<Factor> {
  return vec4<Factor>(
    load_b(base, k, n), load_b(base, k, n + 1u), load_b(base, k, n + 2u), load_b(base, k, n + 3u));
}
fn store4(z: u32, m: u32, n: u32, value: vec4<f32>) {
  for (var j = 0u; j < 4u; j++) { store_out(z, m, n + j, value[j]); }
}
// fours]

fn fill(base: vec2<u32>, m0: u32, n0: u32, k0: u32, to: u32, lid: u32) {
  // what does not change along the loops stands before them: addresses of convolutions are dear
  let ka = select(lid / FOURS, lid % SLICE, A_ALONG_K);
  let ma = select(lid % FOURS, lid / SLICE, A_ALONG_K);
  for (var s = 0u; s < SLICE * FOURS / SIZE; s++) {
    let k = ka + select(s * (SIZE / FOURS), 0u, A_ALONG_K);
    let m = ma + select(0u, s * (SIZE / SLICE), A_ALONG_K);
    tiles[to + k * FOURS + m] = vec4<Tile>(load_a4(base.x, m0 + 4u * m, k0 + k));
  }
  let kb = select(lid / FOURS, lid % SLICE, B_ALONG_K);
  let nb = select(lid % FOURS, lid / SLICE, B_ALONG_K);
  for (var s = 0u; s < SLICE * FOURS / SIZE; s++) {
    let k = kb + select(s * (SIZE / FOURS), 0u, B_ALONG_K);
    let n = nb + select(0u, s * (SIZE / SLICE), B_ALONG_K);
    tiles[B_TILE + to + k * FOURS + n] = vec4<Tile>(load_b4(base.y, k0 + k, n0 + 4u * n));
  }
}

@compute @workgroup_size(SIZE * SPLIT)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(local_invocation_index) all: u32,
) {
  let t = wid.x + wid.y * 32768u;
  let z = t / (ACROSS * DOWN);
  if (z >= BATCH) { return; }
  let m0 = t / ACROSS % DOWN * TILE;
  let n0 = t % ACROSS * TILE;
  let lid = all % SIZE;
  let split = all / SIZE;
  let x = lid % SIDE;
  let y = lid / SIDE;
  let base = bases(z);
  let to = split * SLICE * FOURS;
  var c_i_e_j = vec4<f32>(); // row e of the fours i, columns of the fours j
  for (var k0 = 0u; k0 < K; k0 += SPLIT * SLICE) {
    workgroupBarrier();
    fill(base, m0, n0, k0 + split * SLICE, to, lid);
    workgroupBarrier();
    for (var k = to; k < to + SLICE * FOURS; k += FOURS) {
      let p_i = vec4<f32>(tiles[k + SIDE * _i + y]);
      let q_j = vec4<f32>(tiles[B_TILE + k + SIDE * _j + x]);
      c_i_e_j += p_i[_e] * q_j;
    }
  }
  let m = m0 + y * 4u;
  let n = n0 + x * 4u;
  if (SPLIT == 1u) {
    store4(z, m + 4u * SIDE * _i + _e, n + 4u * SIDE * _j, c_i_e_j);
    return;
  }
  var c_u_e_j = c_i_e_j; // as it stands
  workgroupBarrier(); // of a row of fours, _u, share `split` adds up row `split`
  tiles[((_j * SPLIT + split) * 4u + _e) * SIZE + lid] = vec4<Tile>(c_u_e_j);
  workgroupBarrier(); // _u
  var sum_u_j = vec4<f32>();
  for (var s = 0u; s < SPLIT; s++) { sum_u_j += vec4<f32>(tiles[((_j * SPLIT + s) * 4u + split) * SIZE + lid]); }
  store4(z, m + 4u * SIDE * _u + split, n + 4u * SIDE * _j, sum_u_j);
}
// product]
