// The register tile and the blocked product; see gemm.h.
//
// gemm's loops, outside in: a block of columns of c, of depth (pack b into panels of NR columns, as
// many as the L2 cache holds), panels of MR rows (gathered if a's depth is not contiguous), tiles.
#include "gemm.h"

#ifndef DOUBLE
_Alignas(16) _Thread_local uint8_t room_b[ROOM], room_a[MR * DEPTH * 8];
_Thread_local int offsets[DEPTH];
#endif

INLINED void NAME(step)(v128_t s[MR][2], const REAL **a, v128_t x0, v128_t x1, int rows,
                        int vectors) {
  UNROLL_FULLY for (int i = 0; i < rows; i++) {
    v128_t x = SPLAT(a[i]);
    a[i]++;
    s[i][0] = MADD(x, x0, s[i][0]);
    if (vectors > 1) s[i][1] = MADD(x, x1, s[i][1]);
    KEEP_ORDER(s[i][0], s[i][1]);
  }
}

INLINED void NAME(multiply)(const NAME(Tile) *t, int rows, int vectors) {
  v128_t s[MR][2];
  const REAL *a[MR], *b0 = t->b[0], *b1 = t->b[1];
  UNROLL_FULLY for (int i = 0; i < rows; i++) {
    a[i] = t->a[i];
    s[i][0] = s[i][1] = SPLAT(t->start + i);
  }
  for (int run = 0, depth = t->depth;;) {
    const int *offset = t->offset, *end = offset + depth;
    if (depth & 1) {
      NAME(step)(s, a, LOADV(b0 + offset[0]), LOADV(b1 + offset[0]), rows, vectors);
      offset++;
    }
    for (; offset < end; offset += 2) {
      NAME(step)(s, a, LOADV(b0 + offset[0]), LOADV(b1 + offset[0]), rows, vectors);
      NAME(step)(s, a, LOADV(b0 + offset[1]), LOADV(b1 + offset[1]), rows, vectors);
    }
    if (++run >= t->runs) break;
    b0 += t->b_run, b1 += t->b_run;
    UNROLL_FULLY for (int i = 0; i < rows; i++) a[i] += t->jump[run - 1];
  }
  REAL *c0 = t->c[0], *c1 = t->c[1];
  int row = t->c_row;
  if (t->scaled)
    UNROLL_FULLY for (int i = 0; i < rows; i++) {
      v128_t factor = SPLAT(t->factor + i), shift = SPLAT(t->shift + i);
      s[i][0] = MADD(s[i][0], factor, shift);
      if (vectors > 1) s[i][1] = MADD(s[i][1], factor, shift);
    }
  if (t->add)
    UNROLL_FULLY for (int i = 0; i < rows; i++) {
      s[i][0] = ADDV(LOADV(c0 + i * row), s[i][0]);
      if (vectors > 1) s[i][1] = ADDV(LOADV(c1 + i * row), s[i][1]);
    }
  if (t->bounded) {
    v128_t low = SPLAT(&t->low), high = SPLAT(&t->high);
    UNROLL_FULLY for (int i = 0; i < rows; i++) {
      s[i][0] = PMINV(PMAXV(s[i][0], low), high);
      if (vectors > 1) s[i][1] = PMINV(PMAXV(s[i][1], low), high);
    }
  }
  UNROLL_FULLY for (int i = 0; i < rows; i++, c0 += row, c1 += row) {
    STOREV(c0, s[i][0]);
    if (vectors > 1) STOREV(c1, s[i][1]);
  }
}

#define ROWS(r) \
  case r: vectors > 1 ? NAME(multiply)(t, r, 2) : NAME(multiply)(t, r, 1); return

void NAME(tile)(const NAME(Tile) *t, int rows, int vectors) {
  switch (rows) {
    ROWS(1);
    ROWS(2);
    ROWS(3);
    ROWS(4);
#if MR > 4
    ROWS(5);
    ROWS(6);
#endif
  }
}

void NAME(tile_apart)(NAME(Tile) *t, int rows, int vectors, const int *count, int step) {
  REAL tile[MR * NR], *c[2] = {t->c[0], t->c[1]};
  int row = t->c_row;
  t->c[0] = tile, t->c[1] = tile + WIDTH, t->c_row = NR;
  if (t->add)
    SHORT for (int v = 0; v < vectors; v++)
      SHORT for (int q = 0; q < count[v]; q++)
        SHORT for (int i = 0; i < rows; i++) tile[i * NR + v * WIDTH + q] = c[v][i * row + q * step];
  NAME(tile)(t, rows, vectors);
  t->c[0] = c[0], t->c[1] = c[1], t->c_row = row;
  for (int v = 0; v < vectors; v++)
    SHORT for (int q = 0; q < count[v]; q++) {
      REAL *to = c[v] + q * step, *from = tile + v * WIDTH + q;
      SHORT for (int i = 0; i < rows; i++) to[i * row] = from[i * NR];
    }
}

// ---- the epilogue -------------------------------------------------------------------------------

NAME(Epilogue) NAME(epilogue)(const int32_t *words, uint8_t **buffers, int rows, int inner) {
  NAME(Epilogue) e = {.bits = words[0], .rows = rows, .inner = inner};
  if (!e.bits) return e;
  const float *bound = (const float *)words + 1;
  e.low = bound[0], e.high = bound[1], e.row = words[3], e.column = words[4];
  e.out = (const REAL *)buffers[2];
  if (e.bits & 1) e.bias = (const REAL *)buffers[3];
  if (e.bits & 2) e.residual = (const REAL *)buffers[4];
  if (e.bits & 8) e.factor = (const REAL *)buffers[5];
  return e;
}

void NAME(finish)(const NAME(Epilogue) *e, REAL *c, int n) {
  if (!e->bits) return;
  static const REAL zero[1], one[1] = {1};
  int at = c - e->out, bounded = e->bits & 4, q = 0, further = e->residual ? 1 : 0;
  int place = at / e->inner % e->rows * e->row + at % e->inner * e->column;
  int step = e->bias ? e->column : 0, turn = e->factor ? e->column : 0;
  const REAL *more = further ? e->residual + at : zero;
  const REAL *bias = e->bias ? e->bias + place : zero, *factor = e->factor ? e->factor + place : one;
  v128_t low = SPLAT(&e->low), high = SPLAT(&e->high), same = SPLAT(bias), times = SPLAT(factor);
  for (; q + WIDTH <= n; q += WIDTH) {
    v128_t x = MADD(LOADV(c + q), turn ? LOADV(factor + q) : times, step ? LOADV(bias + q) : same);
    if (further) x = ADDV(x, LOADV(more + q));
    STOREV(c + q, bounded ? PMINV(PMAXV(x, low), high) : x);
  }
  SHORT for (; q < n; q++) {
    REAL x = c[q] * factor[q * turn] + bias[q * step] + more[q * further];
    if (bounded && x < e->low) x = e->low;
    c[q] = bounded && x > e->high ? e->high : x;
  }
}

void NAME(prepare_tile)(NAME(Tile) *t, const NAME(Epilogue) *e, const REAL *c, int rows, int first,
                        int last) {
  int biased = first && e->bits & 1;
  t->scaled = e->bits & 8;
  for (int i = 0; i < rows; i++) {
    int at = c + i * t->c_row - e->out;
    int place = e->bits & 9 ? at / e->inner % e->rows * e->row + at % e->inner * e->column : 0;
    REAL bias = biased ? e->bias[place] : 0;
    t->start[i] = t->scaled ? 0 : bias;
    if (t->scaled) t->factor[i] = e->factor[place], t->shift[i] = bias;
  }
  t->add = !first, t->bounded = last && e->bits & 4;
  t->low = e->low, t->high = e->high;
}

#define FEW_ROWS 24  // up to here packing b costs more than it gains
#define BLOCK 384    // depth: a panel of b stays in the L1 cache

// ---- packing ------------------------------------------------------------------------------------

void NAME(transpose)(REAL *to, int to_row, const REAL *from, int column, int rows, int columns) {
  int i = 0;
  for (; i + WIDTH <= rows; i += WIDTH) {
    int j = 0;
    for (; j + WIDTH <= columns; j += WIDTH) {
      v128_t v[WIDTH];
      UNROLL_FULLY for (int q = 0; q < WIDTH; q++) v[q] = LOADV(from + i + (j + q) * column);
      NAME(turn)(v);
      UNROLL_FULLY for (int q = 0; q < WIDTH; q++) STOREV(to + (i + q) * to_row + j, v[q]);
    }
    SHORT for (; j < columns; j++)
      SHORT for (int q = 0; q < WIDTH; q++) to[(i + q) * to_row + j] = from[i + q + j * column];
  }
  SHORT for (; i < rows; i++)
    SHORT for (int j = 0; j < columns; j++) to[i * to_row + j] = from[i + j * column];
}

void NAME(pack_panel)(const NAME(Gemm) *g, REAL *panel, int j, int k, int depth) {
  int columns = NAME(least)(NR, g->n - j), row = g->b_row, column = g->b_column;
  const REAL *b = g->b + k * row + j * column;
  if (columns < NR)
    for (int q = 0; q < depth * NR; q++) panel[q] = 0;
  if (row == 1) {
    NAME(transpose)(panel, NR, b, column, depth, columns);
    return;
  }
  if (columns == NR && column == 1)
    for (int d = 0; d < depth; d++, b += row, panel += NR) {
      STOREV(panel, LOADV(b));
      STOREV(panel + WIDTH, LOADV(b + WIDTH));
    }
  else
    for (int d = 0; d < depth; d++, b += row, panel += NR)
      for (int q = 0; q < columns; q++) panel[q] = b[q * column];
}

// Points the tile at rows i.. of a, from column k on.
static void NAME(rows_of_a)(const NAME(Gemm) *g, NAME(Tile) *t, int i, int rows, int k) {
  const REAL *a = g->a + i * g->a_row + k * g->a_step;
  REAL *copy = (REAL *)room_a;
  SHORT for (int r = 0; r < rows; r++) t->a[r] = g->a_step == 1 ? a + r * g->a_row : copy + r * t->depth;
  if (g->a_step == 1) return;
  if (g->a_row == 1) NAME(transpose)(copy, t->depth, a, g->a_step, rows, t->depth);
  else
    for (int r = 0; r < rows; r++)
      for (int d = 0; d < t->depth; d++) copy[r * t->depth + d] = a[r * g->a_row + d * g->a_step];
}

// ---- the product --------------------------------------------------------------------------------

// A row of tiles; b is the matrix itself, or its panels.
static void NAME(panel)(const NAME(Gemm) *g, NAME(Tile) *t, const REAL *b, int b_step, int i,
                        int rows, int j0, int columns) {
  t->c[0] = g->c + i * g->c_row + j0 * g->c_column;
  for (int j = 0; j < columns; j += NR, b += b_step, t->c[0] += NR * g->c_column) {
    t->b[0] = b, t->b[1] = b + WIDTH;
    t->c[1] = t->c[0] + WIDTH * g->c_column;
    int left = columns - j, count[2] = {NAME(least)(WIDTH, left), NAME(least)(WIDTH, left - WIDTH)};
    if (left >= NR && g->c_column == 1) NAME(tile)(t, rows, 2);
    else NAME(tile_apart)(t, rows, left > WIDTH ? 2 : 1, count, g->c_column);
  }
}

// Columns j0.. of c; `direct`: whole tiles of them, and b's rows are read where they lie.
static void NAME(block)(const NAME(Gemm) *g, const NAME(Epilogue) *e, int j0, int columns,
                        int direct) {
  REAL *packed = (REAL *)room_b;
  int most = NAME(blocks)(g->k, NAME(blocks)(g->k, BLOCK)), panels = NAME(blocks)(g->m, MR);
  int tiled = NAME(tiled)(e, g->c_column != 1);
  NAME(Epilogue) none = {0};
  for (int k = 0; k < g->k; k += most) {
    int depth = NAME(least)(most, g->k - k);
    NAME(Tile) t = {.offset = offsets, .depth = depth, .runs = 1, .c_row = g->c_row};
    for (int j = 0; j < columns && !direct; j += NR)
      NAME(pack_panel)(g, packed + j * depth, j0 + j, k, depth);
    for (int d = 0; d < depth; d++) offsets[d] = d * (direct ? g->b_row : NR);
    for (int p = 0, i = 0; p < panels; p++) {
      int rows = (g->m - i) / (panels - p);
      NAME(rows_of_a)(g, &t, i, rows, k);
      NAME(prepare_tile)(&t, tiled ? e : &none, g->c + i * g->c_row, rows, k == 0, k + depth == g->k);
      t.add |= g->add;
      if (direct) NAME(panel)(g, &t, g->b + k * g->b_row + j0, NR, i, rows, j0, columns);
      else NAME(panel)(g, &t, packed, NR * depth, i, rows, j0, columns);
      for (int r = 0; r < rows && k + depth == g->k && g->c_column == 1 && !tiled; r++)
        NAME(finish)(e, g->c + (i + r) * g->c_row + j0, columns);
      i += rows;
    }
  }
  for (int j = j0; j < j0 + columns && g->c_column != 1 && !tiled; j++)
    NAME(finish)(e, g->c + j * g->c_column, g->m);
}

void NAME(gemm)(const NAME(Gemm) *g, const NAME(Epilogue) *e) {
  int direct = g->m <= FEW_ROWS && g->b_column == 1 ? g->n / NR * NR : 0;
  int width = (int)(ROOM / sizeof(REAL)) / NAME(least)(g->k, BLOCK) / NR * NR;
  for (int j = 0; j < direct; j += 64) NAME(block)(g, e, j, NAME(least)(64, direct - j), 1);
  for (int j = direct; j < g->n; j += width) NAME(block)(g, e, j, NAME(least)(width, g->n - j), 0);
}
