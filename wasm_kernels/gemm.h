// What matmul and the convolutions share; compiled for float, and for double by double.c.
//
// The register tile: MR rows of a times two vectors of columns of b. Rows of a are read where they
// lie, as long as their depth is contiguous; row k of b lies at `offset[k]` from two bases, so that
// b may be a matrix, a packed panel of one, or an image whose windows overlap. Bound by
// multiply-adds: 12 of them on 2 loads and 6 splats keep to the 16 registers of x64.
#pragma once
#include "simd.h"

#ifdef DOUBLE
#define REAL double
#define WIDTH 2  // lanes of a vector
#define NAME(x) x##_d
#define SPLAT(p) wasm_v128_load64_splat(p)
#define ADDV wasm_f64x2_add
#define PMAXV wasm_f64x2_pmax
#define PMINV wasm_f64x2_pmin
#define MADD MADD_D
#define ZEROV wasm_f64x2_splat(0)
#else
#define REAL float
#define WIDTH 4
#define NAME(x) x##_f
#define SPLAT(p) wasm_v128_load32_splat(p)
#define ADDV wasm_f32x4_add
#define PMAXV wasm_f32x4_pmax
#define PMINV wasm_f32x4_pmin
#define MADD MADD_F
#define ZEROV wasm_f32x4_splat(0)
#endif
// Without it clang gathers the splats at the top of the loop, and a tile no longer fits the
// registers.
#define KEEP_ORDER(x, y) __asm__ volatile("" : "+r"(x), "+r"(y))
#define LOADV wasm_v128_load
#define STOREV wasm_v128_store

// Four vectors as the columns of the four that come (two of doubles).
static inline void NAME(turn)(v128_t *v) {
#ifdef DOUBLE
  v128_t x = v[0];
  v[0] = wasm_i64x2_shuffle(x, v[1], 0, 2);
  v[1] = wasm_i64x2_shuffle(x, v[1], 1, 3);
#else
  v128_t a = wasm_i32x4_shuffle(v[0], v[1], 0, 4, 1, 5),
         b = wasm_i32x4_shuffle(v[0], v[1], 2, 6, 3, 7);
  v128_t c = wasm_i32x4_shuffle(v[2], v[3], 0, 4, 1, 5),
         d = wasm_i32x4_shuffle(v[2], v[3], 2, 6, 3, 7);
  v[0] = wasm_i64x2_shuffle(a, c, 0, 2), v[1] = wasm_i64x2_shuffle(a, c, 1, 3);
  v[2] = wasm_i64x2_shuffle(b, d, 0, 2), v[3] = wasm_i64x2_shuffle(b, d, 1, 3);
#endif
}

#ifdef __wasm_relaxed_simd__
#define MR 6  // rows of a register tile: 12 accumulators, 2 vectors of B, 1 splat of A
#else
#define MR 4  // without fused multiply-add each product needs a register, too
#endif
#define NR (2 * WIDTH)  // its columns
#define INLINED static inline __attribute__((always_inline))
#define UNROLL_FULLY _Pragma("clang loop unroll(full)")

// The sum of the lanes.
INLINED REAL NAME(across)(v128_t v) {
  REAL lane[WIDTH], sum = 0;
  STOREV(lane, v);
  for (int i = 0; i < WIDTH; i++) sum += lane[i];
  return sum;
}

// Each thread's room: a packed block of b or a padded piece of an image (most of an L2 cache), rows
// of a that had to be gathered, and where the rows of b lie.
#define ROOM (616 * 1024)
#define DEPTH 4752  // the most rows of b that one tile walks
extern _Thread_local uint8_t room_b[ROOM], room_a[MR * DEPTH * 8];
extern _Thread_local int offsets[DEPTH];

typedef struct {
  const REAL *a[MR], *b[2];
  const int *offset, *jump;  // jump: how far a moves on after each run but the last
  int depth, runs, b_run;    // the whole depth is runs * depth; b moves on by b_run
  REAL *c[2];                // of each vector of columns
  int c_row, add;            // add: c holds a sum already
  // What each row's sums begin with; with what they are multiplied and what is added then, if
  // `scaled`; bounds of the results, if `bounded`.
  REAL start[MR], factor[MR], shift[MR], low, high;
  int scaled, bounded;
} NAME(Tile);

// rows ≤ MR; vectors 1 or 2
void NAME(tile)(const NAME(Tile) *t, int rows, int vectors);

// The same for results that are not whole vectors: `count` columns, each `step` from the last.
void NAME(tile_apart)(NAME(Tile) *t, int rows, int vectors, const int *count, int step);

// What is done with finished results: · factor + bias + residual, then low and high bound them.
// words: bits (1 bias, 2 residual, 4 bounds, 8 factor), low and high as floats, the bias's and the
// factor's steps per row and per column of the result; buffers 3 to 5: bias, residual, factor
typedef struct {
  int bits, row, column, rows, inner;  // out is (…, rows, inner)
  REAL low, high;
  const REAL *bias, *residual, *factor, *out;
} NAME(Epilogue);

NAME(Epilogue) NAME(epilogue)(const int32_t *words, uint8_t **buffers, int rows, int inner);
// `n` neighbouring results in one row of out
void NAME(finish)(const NAME(Epilogue) *e, REAL *c, int n);

// Whether tiles can do all of it: factor and bias are the same along a row of tiles (`turned`: which
// is a column of the result), and there is no residual.
static inline int NAME(tiled)(const NAME(Epilogue) *e, int turned) {
  return !(e->bits & 2) && !(e->bits & 9 && (turned ? e->row : e->column));
}
// Lets tiles of rows c, c + c_row … do it. The first of several blocks of depth adds the bias, the
// last one bounds.
void NAME(prepare_tile)(NAME(Tile) *t, const NAME(Epilogue) *e, const REAL *c, int rows, int first,
                        int last);

static inline int NAME(least)(int a, int b) { return a < b ? a : b; }
static inline int NAME(most)(int a, int b) { return a > b ? a : b; }
static inline int NAME(blocks)(int n, int of) { return (n + of - 1) / of; }
// Where share `part` of `parts` begins, in units of `unit`.
static inline int NAME(share)(int n, int unit, int part, int parts) {
  return NAME(least)(n, (int)((int64_t)NAME(blocks)(n, unit) * part / parts) * unit);
}

// One product c = a b; everything has any strides.
typedef struct {
  int m, n, k;
  const REAL *a;
  int a_row, a_step;
  const REAL *b;
  int b_row, b_column;
  REAL *c;
  int c_row, c_column;
  int add;  // gemm: to what c holds
} NAME(Gemm);

// Slice `slice` of `slices` of c, along its longer side, by what fits the shape (product), or by
// tiles (gemm).
void NAME(product)(NAME(Gemm) g, const NAME(Epilogue) *e, int slice, int slices);
void NAME(gemm)(const NAME(Gemm) *g, const NAME(Epilogue) *e);
// Rows k.. of b's columns j.. as a panel of NR columns; those that b does not have are zeros.
void NAME(pack_panel)(const NAME(Gemm) *g, REAL *panel, int j, int k, int depth);
// to[i * to_row + j] = from[i + j * column]: `rows` × `columns`
void NAME(transpose)(REAL *to, int to_row, const REAL *from, int column, int rows, int columns);
