// matmul_f, matmul_d: out = a b, batched, with any strides; out is contiguous.
//
// buffers: a, b, out. words: M, N, K, a offset, a row stride, a column stride, b offset, b row
// stride, b column stride, number of batch dimensions, then per batch dimension (outermost first):
// size, a stride, b stride. One or two rows skip the packing (it would cost as much as the
// product): they are bound by the memory that b lies in. The rest is gemm.h.
#include "gemm.h"

static void NAME(pack_matrix)(const NAME(Gemm) *g, REAL *panel, int j, int k, int depth) {
  int columns = g->n - j < NR ? g->n - j : NR, row = g->b_row, column = g->b_column;
  const REAL *b = g->b + k * row + j * column;
  if (columns == NR && column == 1) {
    for (int d = 0; d < depth; d++, b += row, panel += NR) {
      wasm_v128_store(panel, wasm_v128_load(b));
      wasm_v128_store(panel + WIDTH, wasm_v128_load(b + WIDTH));
    }
  } else if (columns == NR) {
    for (int d = 0; d < depth; d++, b += row, panel += NR)
      for (int q = 0; q < NR; q++) panel[q] = b[q * column];
  } else {
    for (int d = 0; d < depth; d++, b += row, panel += NR)
      for (int q = 0; q < NR; q++) panel[q] = q < columns ? b[q * column] : 0;
  }
}

// One row times a matrix whose rows are contiguous: four rows of b per pass over out.
static void NAME(row_by_rows)(const NAME(Gemm) *g) {
  for (int j = 0; j < g->n; j++) g->c[j] = 0;
  for (int k = 0; k < g->k; k += 4) {
    REAL s[4];
    const REAL *b[4];
    for (int q = 0; q < 4; q++) {
      int at = k + q < g->k ? k + q : k;
      s[q] = k + q < g->k ? g->a[at * g->a_step] : 0;
      b[q] = g->b + at * g->b_row;
    }
    int j = 0, left = g->k - k;
    v128_t s0 = SPLAT(s), s1 = SPLAT(s + 1), s2 = SPLAT(s + 2), s3 = SPLAT(s + 3);
    for (; left >= 4 && j + WIDTH <= g->n; j += WIDTH) {
      v128_t c = wasm_v128_load(g->c + j);
      c = MADD(s0, wasm_v128_load(b[0] + j), c);
      c = MADD(s1, wasm_v128_load(b[1] + j), c);
      c = MADD(s2, wasm_v128_load(b[2] + j), c);
      c = MADD(s3, wasm_v128_load(b[3] + j), c);
      wasm_v128_store(g->c + j, c);
    }
    for (; j < g->n; j++)
      for (int q = 0; q < 4 && q < left; q++) g->c[j] += s[q] * b[q][j];
  }
}

// One row times a matrix whose columns are contiguous: four dot products at a time.
static void NAME(row_by_columns)(const NAME(Gemm) *g) {
  for (int j = 0; j < g->n; j += 4) {
    int columns = g->n - j < 4 ? g->n - j : 4;
    const REAL *b[4];
    v128_t s[4];
    for (int q = 0; q < 4; q++) {
      b[q] = g->b + (j + (q < columns ? q : 0)) * g->b_column;
      s[q] = ZEROV;
    }
    int k = 0;
    for (; k + WIDTH <= g->k; k += WIDTH) {
      v128_t x = wasm_v128_load(g->a + k);
#pragma clang loop unroll(full)
      for (int q = 0; q < 4; q++) s[q] = MADD(x, wasm_v128_load(b[q] + k), s[q]);
    }
    for (int q = 0; q < columns; q++) {
      REAL lane[WIDTH], sum = 0;
      wasm_v128_store(lane, s[q]);
      for (int i = 0; i < WIDTH; i++) sum += lane[i];
      for (int i = k; i < g->k; i++) sum += g->a[i] * b[q][i];
      g->c[j + q] = sum;
    }
  }
}

static void NAME(product)(const NAME(Gemm) *g) {
  int by_rows = g->b_column == 1, by_columns = g->b_row == 1 && g->a_step == 1;
  if (g->m > 2 || !(by_rows || by_columns)) {
    NAME(gemm)(g);
    return;
  }
  NAME(Gemm) row = *g;
  for (int i = 0; i < g->m; i++) {
    row.a = g->a + i * g->a_row;
    row.c = g->c + i * g->c_row;
    if (by_rows) NAME(row_by_rows)(&row);
    else NAME(row_by_columns)(&row);
  }
}

KERNEL(NAME(matmul)) {
  WHOLE_ONLY;
  int m = words[0], n = words[1], k = words[2], dims = words[9], batches = 1;
  const int32_t *batch = words + 10;
  for (int d = 0; d < dims; d++) batches *= batch[3 * d];
  for (int at = 0; at < batches; at++) {
    int a = words[3], b = words[6];
    for (int d = dims - 1, rest = at; d >= 0; rest /= batch[3 * d], d--) {
      a += rest % batch[3 * d] * batch[3 * d + 1];
      b += rest % batch[3 * d] * batch[3 * d + 2];
    }
    REAL *c = (REAL *)buffers[2] + at * m * n;
    NAME(Gemm) g = {m, n, k, (const REAL *)buffers[0] + a, words[4], k, 0, words[5],
                    NAME(pack_matrix), (const REAL *)buffers[1] + b, 0, words[7], words[8],
                    c, n, n, 0};
    if (k) NAME(product)(&g);
    else __builtin_memset(c, 0, sizeof(REAL) * (unsigned)(m * n));
  }
}
