// matmul_f, matmul_d: out = a b, batched, with any strides; out is contiguous.
//
// buffers: a, b, out (, bias, residual, factor). words: M, N, K, a offset, a row stride, a column stride, b
// offset, b row stride, b column stride, number of batch dimensions, then per batch dimension
// (outermost first): size, a stride, b stride; then the epilogue's words (gemm.h).
//
// Shares are of batches, or of the longer side of each product. Few rows against a matrix are bound
// by the memory it lies in: they skip the packing. The rest is gemm.c. When the depth of b is
// contiguous, cᵀ = bᵀ aᵀ is computed if that packs less.
#include "gemm.h"

#define FEW_DOTS 8  // rows, or columns, up to which dot products are as fast as tiles
#define FEW_SUMS 3  // rows up to which sums of rows are

// c += a(.., k) b(k, ..) for `rows` rows of a and for `depth` rows k of b, each `apart` from the last.
INLINED void NAME(add_rows)(const NAME(Gemm) *g, int rows, int k, int depth, int apart) {
  v128_t s[2][4];
  const REAL *b[4];
  UNROLL_FULLY for (int q = 0; q < depth; q++) {
    b[q] = g->b + (k + q * apart) * g->b_row;
    UNROLL_FULLY for (int r = 0; r < rows; r++)
      s[r][q] = SPLAT(g->a + r * g->a_row + (k + q * apart) * g->a_step);
  }
  int j = 0;
  for (; j + WIDTH <= g->n; j += WIDTH)
    UNROLL_FULLY for (int r = 0; r < rows; r++) {
      v128_t c = LOADV(g->c + r * g->c_row + j);
      UNROLL_FULLY for (int q = 0; q < depth; q++) c = MADD(s[r][q], LOADV(b[q] + j), c);
      STOREV(g->c + r * g->c_row + j, c);
    }
  SHORT for (; j < g->n; j++)
    SHORT for (int r = 0; r < rows; r++)
      SHORT for (int q = 0; q < depth; q++)
        g->c[r * g->c_row + j] +=
            g->a[r * g->a_row + (k + q * apart) * g->a_step] * b[q][j];
}

// One or two rows times a matrix whose rows are contiguous: four far rows of b per pass over c.
static void NAME(sum_rows)(NAME(Gemm) g, int rows) {
  int apart = g.k / 4;
  for (int r = 0; r < rows; r++)
    __builtin_memset(g.c + r * g.c_row, 0, (unsigned)g.n * sizeof(REAL));
  for (int k = 0; k < apart; k++)
    if (rows == 2) NAME(add_rows)(&g, 2, k, 4, apart);
    else NAME(add_rows)(&g, 1, k, 4, apart);
  for (; rows; rows--, g.a += g.a_row, g.c += g.c_row)
    for (int k = 4 * apart; k < g.k; k++) NAME(add_rows)(&g, 1, k, 1, 0);
}

// c(i.., j..) for `rows` rows of a and `count` of `across` columns of b, each `apart` columns from
// the last: dot products along the contiguous depth of both. Nothing is packed; multiply-adds bound
// it from three rows on. A single row has two sums, where others have one: each waits for its last
// addition.
INLINED void NAME(dots)(const NAME(Gemm) *g, int i, int j, int rows, int across, int apart,
                        int count) {
  int k = 0, step = rows == 1 ? 2 * WIDTH : WIDTH;
  const REAL *a[4], *b[4];
  v128_t s[4][4];
  UNROLL_FULLY for (int q = 0; q < across; q++)
    b[q] = g->b + (j + (q < count ? q * apart : 0)) * g->b_column;
  UNROLL_FULLY for (int r = 0; r < 4; r++) {
    a[r] = g->a + (i + (r < rows ? r : 0)) * g->a_row;
    UNROLL_FULLY for (int q = 0; q < across; q++) s[r][q] = ZEROV;
  }
  for (; k + step <= g->k; k += step)
    UNROLL_FULLY for (int u = 0; u < (rows == 1 ? 2 : 1); u++) {
      v128_t y[4];
      UNROLL_FULLY for (int q = 0; q < across; q++) y[q] = LOADV(b[q] + k + u * WIDTH);
      UNROLL_FULLY for (int r = 0; r < rows; r++) {
        v128_t x = LOADV(a[r] + k + u * WIDTH), *to = s[r + u];
        UNROLL_FULLY for (int q = 0; q < across; q++) to[q] = MADD(x, y[q], to[q]);
      }
    }
  UNROLL_FULLY for (int q = 0; q < across && rows == 1; q++) s[0][q] = ADDV(s[0][q], s[1][q]);
  REAL lanes[4][4][WIDTH];
  UNROLL_FULLY for (int r = 0; r < rows; r++)
    UNROLL_FULLY for (int q = 0; q < across; q++) STOREV(lanes[r][q], s[r][q]);
  SHORT for (int r = 0; r < rows; r++)
    SHORT for (int q = 0; q < count; q++) {
      const REAL *x = g->a + (i + r) * g->a_row, *y = g->b + (j + q * apart) * g->b_column;
      REAL sum = 0;
      SHORT for (int lane = 0; lane < WIDTH; lane++) sum += lanes[r][q][lane];
      SHORT for (int d = k; d < g->k; d++) sum += x[d] * y[d];
      g->c[(i + r) * g->c_row + (j + q * apart) * g->c_column] = sum;
    }
}

#define PARTS 12  // any of the numbers of columns below divides it

// `rows` rows of a against `count` columns from j on in each of `parts` ≤ PARTS parts of b.
INLINED void NAME(few_rows)(const NAME(Gemm) *g, int i, int j, int rows, int across, int apart,
                            int parts, int count) {
  int step = PARTS / across;
  for (int t = 0; t < step && t < parts; t++)
    for (int q = 0; q < count; q++)
      NAME(dots)(g, i, j + t * apart + q, rows, across, step * apart,
                 NAME(blocks)(parts - t, step));
}

#define PASS(rows, across) \
  case rows: NAME(few_rows)(g, i, j, rows, across, apart, parts, count); break

// All rows against the same columns.
static void NAME(all_rows)(const NAME(Gemm) *g, int j, int apart, int parts, int count) {
  int passes = NAME(blocks)(g->m, 4);
  for (int pass = 0, i = 0, rows; pass < passes; pass++, i += rows)
    switch (rows = (g->m - i) / (passes - pass)) {
      PASS(1, 4);
      PASS(2, 4);
      PASS(3, 3);
      PASS(4, 2);
    }
}

// Several far parts of b are read at once, which memory serves sooner than one or than neighbours
// (67 MB in 2.4 ms instead of 4.0). If the rows take several passes, so few columns at a time that
// they stay in the L2 cache.
static void NAME(few_by_columns)(const NAME(Gemm) *g) {
  int apart = g->n / PARTS, step = apart;
  if (g->m > 4) step = NAME(most)(1, ROOM / (PARTS * (int)sizeof(REAL)) / NAME(most)(g->k, 1));
  for (int j = 0; j < apart; j += step)
    NAME(all_rows)(g, j, apart, PARTS, NAME(least)(step, apart - j));
  NAME(all_rows)(g, PARTS * apart, 1, g->n - PARTS * apart, 1);
}

static void NAME(multiply_by)(const NAME(Gemm) *g, const NAME(Epilogue) *e, int few) {
  if (few == 2) NAME(few_by_columns)(g);
  for (int i = 0; few == 1 && i < g->m; i += 2) {
    NAME(Gemm) two = *g;
    two.a += i * g->a_row, two.c += i * g->c_row;
    NAME(sum_rows)(two, NAME(least)(2, g->m - i));
  }
  if (!few) NAME(gemm)(g, e);
  else if (g->c_column == 1)
    for (int i = 0; i < g->m; i++) NAME(finish)(e, g->c + i * g->c_row, g->n);
  else
    for (int j = 0; j < g->n; j++) NAME(finish)(e, g->c + j * g->c_column, g->m);
}

void NAME(product)(NAME(Gemm) g, const NAME(Epilogue) *e, int slice, int slices) {
  int contiguous = g.a_step == 1 && g.b_row == 1, least = NAME(least)(g.m, g.n);
  int swap = g.b_row == 1 && g.b_column != 1 && (g.a_step != 1 || g.n > g.m);
  if (contiguous && least <= FEW_DOTS) swap = g.n < g.m;
  if (swap)
    g = (NAME(Gemm)){g.n, g.m,      g.k,     g.b, g.b_column, g.b_row,
                     g.a, g.a_step, g.a_row, g.c, 1,          g.c_row};
  int few = contiguous && least <= FEW_DOTS ? 2 : g.m <= FEW_SUMS && g.b_column == 1 && g.c_column == 1;
  if (!g.k) few = 2;
  if (g.m > g.n) {
    int from = NAME(share)(g.m, MR, slice, slices);
    g.m = NAME(share)(g.m, MR, slice + 1, slices) - from;
    g.a += from * g.a_row, g.c += from * g.c_row;
  } else {
    int from = NAME(share)(g.n, NR, slice, slices);
    g.n = NAME(share)(g.n, NR, slice + 1, slices) - from;
    g.b += from * g.b_column, g.c += from * g.c_column;
  }
  if (!g.k)
    for (int i = 0; i < g.m; i++)
      for (int j = 0; j < g.n; j++) g.c[i * g.c_row + j * g.c_column] = 0;
  if (g.m && g.n) NAME(multiply_by)(&g, e, few);
}

KERNEL(NAME(matmul)) {
  int m = words[0], n = words[1], k = words[2], dims = words[9], batches = 1;
  const int32_t *batch = words + 10;
  for (int d = 0; d < dims; d++) batches *= batch[3 * d];
  NAME(Epilogue) e = NAME(epilogue)(batch + 3 * dims, buffers, m, n);
  int slices = batches < 4 * parts ? parts : 1;
  int unit = NAME(share)(batches * slices, 1, part, parts);
  for (; unit < NAME(share)(batches * slices, 1, part + 1, parts); unit++) {
    int at = unit / slices, a = words[3], b = words[6];
    for (int d = dims - 1, rest = at; d >= 0; rest /= batch[3 * d], d--) {
      a += rest % batch[3 * d] * batch[3 * d + 1];
      b += rest % batch[3 * d] * batch[3 * d + 2];
    }
    const REAL *x = (const REAL *)buffers[0] + a, *y = (const REAL *)buffers[1] + b;
    REAL *out = (REAL *)buffers[2] + at * m * n;
    NAME(Gemm) g = {m, n, k, x, words[4], words[5], y, words[7], words[8], out, n, 1};
    NAME(product)(g, &e, unit % slices, slices);
  }
}
