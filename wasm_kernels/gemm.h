// The blocked product that matmul and the convolutions share; compiled for float, and for double
// by double.c. A and B are packed into panels, so strides, transposes and the gathering of an image
// cost one pass each, outside of the inner loop.
#pragma once
#include "simd.h"

#ifdef DOUBLE
#define REAL double
#define WIDTH 2  // lanes of a vector
#define NAME(x) x##_d
#define SPLAT(p) wasm_v128_load64_splat(p)
#define ADDV wasm_f64x2_add
#define MADD MADD_D
#define ZEROV wasm_f64x2_splat(0)
#else
#define REAL float
#define WIDTH 4
#define NAME(x) x##_f
#define SPLAT(p) wasm_v128_load32_splat(p)
#define ADDV wasm_f32x4_add
#define MADD MADD_F
#define ZEROV wasm_f32x4_splat(0)
#endif

#ifdef __wasm_relaxed_simd__
#define MR 6            // rows of a register tile: 12 accumulators, 2 vectors of B, 1 splat of A
#else
#define MR 4            // without fused multiply-add each product needs a register, too
#endif
#define NR (2 * WIDTH)  // its columns
#define KC 256          // depth of a block: a panel of A and one of B stay in the L1 cache
#define MC 96           // rows of a packed block of A
#define NC (128 * WIDTH)  // columns of a packed block of B, 512 KB: the L2 cache

// One product c = a b, with a of m × k and b of k × n.
typedef struct NAME(Gemm) {
  int m, n, k;
  const REAL *a;  // (i, k) at i * a_row + k / a_inner * a_outer + k % a_inner * a_step
  int a_row, a_inner, a_outer, a_step;
  // writes depth × NR values of columns j.., rows k..; columns from `n` on are zero
  void (*pack)(const struct NAME(Gemm) *g, REAL *panel, int j, int k, int depth);
  const REAL *b;
  const int *shape;  // of the image, for a convolution's pack
  int b_row, b_column;
  REAL *c;  // (i, j) at i * c_row + j / c_inner * c_outer + j % c_inner
  int c_row, c_inner, c_outer;
} NAME(Gemm);

void NAME(gemm)(const NAME(Gemm) *g);
extern uint8_t packed_a[MC * KC * 8], packed_b[4 * 128 * KC * 4];  // room for either type
