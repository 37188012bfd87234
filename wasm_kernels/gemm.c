// gemm: c = a b by packed panels and a 6 × 8 (double: 6 × 4) register tile; see gemm.h.
//
// Loops, outside in: NC columns of c, KC of depth (pack B), MC rows (pack A), panels of NR columns,
// panels of MR rows, and the tile's loop over the depth: 12 multiply-adds on 2 loads and 6 splats.
// Bound by multiply-adds: 16 registers of x64 hold the tile, so nothing spills.
#include "gemm.h"

#ifndef DOUBLE
_Alignas(16) uint8_t packed_a[MC * KC * 8], packed_b[4 * 128 * KC * 4];
#endif

// Without it clang gathers the splats at the top of the loop, and the tile no longer fits the
// registers.
#define KEEP_ORDER(x, y) __asm__ volatile("" : "+r"(x), "+r"(y))

// (MR × depth) (depth × NR) into tile, or added to it.
static inline __attribute__((always_inline)) void NAME(multiply)(
    const REAL *a, const REAL *b, int depth, REAL *tile, int row, int add) {
  v128_t s[MR][2];
#pragma clang loop unroll(full)
  for (int i = 0; i < MR; i++) s[i][0] = s[i][1] = ZEROV;
  for (int k = 0; k < depth; k++, a += MR, b += NR) {
    v128_t b0 = wasm_v128_load(b), b1 = wasm_v128_load(b + WIDTH);
#pragma clang loop unroll(full)
    for (int i = 0; i < MR; i++) {
      v128_t x = SPLAT(a + i);
      s[i][0] = MADD(x, b0, s[i][0]);
      s[i][1] = MADD(x, b1, s[i][1]);
      KEEP_ORDER(s[i][0], s[i][1]);
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < MR; i++, tile += row) {
    if (add) {
      s[i][0] = ADDV(s[i][0], wasm_v128_load(tile));
      s[i][1] = ADDV(s[i][1], wasm_v128_load(tile + WIDTH));
    }
    wasm_v128_store(tile, s[i][0]);
    wasm_v128_store(tile + WIDTH, s[i][1]);
  }
}

static void NAME(pack_a)(const NAME(Gemm) *g, int i, int rows, int k, int depth) {
  REAL *panel = (REAL *)packed_a;
  for (int top = 0; top < rows; top += MR, panel += MR * depth) {
    const REAL *a = g->a + (i + top) * g->a_row;
    int full = rows - top < MR ? rows - top : MR;
    int outer = k / g->a_inner, inner = k % g->a_inner;
    for (int d = 0; d < depth; d++) {
      const REAL *s = a + outer * g->a_outer + inner * g->a_step;
      REAL *to = panel + d * MR;
      if (full == MR)
        for (int r = 0; r < MR; r++) to[r] = s[r * g->a_row];
      else
        for (int r = 0; r < MR; r++) to[r] = r < full ? s[r * g->a_row] : 0;
      if (++inner == g->a_inner) inner = 0, outer++;
    }
  }
}

// A tile at the edge of c, or across two of its runs, goes through a copy.
static void NAME(tile_at_edge)(const NAME(Gemm) *g, const REAL *a, const REAL *b, int depth, int i,
                               int j, int add) {
  REAL tile[MR * NR];
  NAME(multiply)(a, b, depth, tile, NR, 0);
  int rows = g->m - i < MR ? g->m - i : MR, columns = g->n - j < NR ? g->n - j : NR;
  for (int q = 0; q < columns; q++) {
    REAL *c = g->c + i * g->c_row + (j + q) / g->c_inner * g->c_outer + (j + q) % g->c_inner;
    for (int r = 0; r < rows; r++)
      c[r * g->c_row] = tile[r * NR + q] + (add ? c[r * g->c_row] : 0);
  }
}

static void NAME(tile)(const NAME(Gemm) *g, const REAL *a, const REAL *b, int depth, int i, int j,
                       int add) {
  int run = j % g->c_inner;
  if (i + MR > g->m || j + NR > g->n || run + NR > g->c_inner) {
    NAME(tile_at_edge)(g, a, b, depth, i, j, add);
    return;
  }
  REAL *c = g->c + i * g->c_row + j / g->c_inner * g->c_outer + run;
  if (add) NAME(multiply)(a, b, depth, c, g->c_row, 1);
  else NAME(multiply)(a, b, depth, c, g->c_row, 0);
}

static int NAME(least)(int a, int b) { return a < b ? a : b; }

void NAME(gemm)(const NAME(Gemm) *g) {
  REAL *b = (REAL *)packed_b, *a = (REAL *)packed_a;
  for (int j0 = 0; j0 < g->n; j0 += NC) {
    int columns = NAME(least)(NC, g->n - j0);
    for (int k = 0; k < g->k; k += KC) {
      int depth = NAME(least)(KC, g->k - k);
      for (int j = 0; j < columns; j += NR) g->pack(g, b + j * depth, j0 + j, k, depth);
      for (int i0 = 0; i0 < g->m; i0 += MC) {
        int rows = NAME(least)(MC, g->m - i0);
        NAME(pack_a)(g, i0, rows, k, depth);
        for (int j = 0; j < columns; j += NR)
          for (int i = 0; i < rows; i += MR)
            NAME(tile)(g, a + i * depth, b + j * depth, depth, i0 + i, j0 + j, k > 0);
      }
    }
  }
}
