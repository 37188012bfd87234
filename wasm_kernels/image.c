// Pieces of an image; see image.h. Bound by memory: each element is copied once per piece.
#include "image.h"

#ifndef DOUBLE
_Thread_local Strips strips;
#endif

int NAME(plan)(NAME(Field) *f, int most_columns, int most_outputs) {
  int room = ROOM / sizeof(REAL), bottom = f->down[0], right = f->right[0];
  f->top = bottom, f->left = right;
  for (int t = 1; t < f->taps; t++) {
    f->top = NAME(least)(f->top, f->down[t]), bottom = NAME(most)(bottom, f->down[t]);
    f->left = NAME(least)(f->left, f->right[t]), right = NAME(most)(right, f->right[t]);
  }
  int tall = bottom - f->top + 1;
  f->columns = NAME(least)(f->ow, most_columns);
  f->phase = NAME(blocks)(f->columns + (right - f->left) / f->sw + NR, WIDTH) * WIDTH;  // tiles read on
  f->pitch = f->sw * f->phase;
  if (f->taps > TAPS || (int64_t)tall * f->pitch > room) return 0;
  f->depth = NAME(least)(NAME(least)(f->channels, DEPTH / f->taps), room / (tall * f->pitch));
  int strips = NAME(blocks)(f->columns, WIDTH);
  int rows = NAME(least)(STRIPS / strips, most_outputs / f->columns);
  rows = NAME(least)(rows, (room / (f->depth * f->pitch) - tall) / f->sh + 1);
  f->rows = NAME(blocks)(f->oh, NAME(blocks)(f->oh, NAME(most)(rows, 1)));
  f->lines = (f->rows - 1) * f->sh + tall;
  int n = NAME(least)(STRIPS / strips, most_outputs / f->columns) / f->rows;
  n = NAME(least)(n, room / (f->depth * f->lines * f->pitch));
  f->n = f->rows == f->oh && f->columns == f->ow ? NAME(most)(1, NAME(least)(f->images, n)) : 1;
  f->count = NAME(blocks)(f->images, f->n) * NAME(blocks)(f->oh, f->rows) *
             NAME(blocks)(f->ow, f->columns);
  return 1;
}

Piece NAME(piece)(const NAME(Field) *f, int k) {
  int across = NAME(blocks)(f->ow, f->columns), down = NAME(blocks)(f->oh, f->rows);
  Piece p = {k / across / down * f->n, k / across % down * f->rows, k % across * f->columns};
  p.n = NAME(least)(f->n, f->images - p.image);
  p.rows = NAME(least)(f->rows, f->oh - p.y);
  p.columns = NAME(least)(f->columns, f->ow - p.x);
  return p;
}

// Every step-th element from `at` on of a row of `width`, zero outside.
static void NAME(fill_part)(REAL *to, int n, const REAL *row, int at, int step, int width) {
  if (!row) at = width;
  int end = width > at ? NAME(least)(n, (width - 1 - at) / step + 1) : 0;
  int from = at < 0 ? NAME(least)(end, NAME(blocks)(-at, step)) : 0;
  int q = 0;
  for (; q < from; q++) to[q] = 0;
  row += at;
  if (step == 1) {
    for (; q + WIDTH <= end; q += WIDTH) STOREV(to + q, LOADV(row + q));
    for (; q < end; q++) to[q] = row[q];
  }
#ifndef DOUBLE
  for (; step == 2 && q + WIDTH < end; q += WIDTH)
    STOREV(to + q, wasm_i32x4_shuffle(LOADV(row + 2 * q), LOADV(row + 2 * q + 4), 0, 2, 4, 6));
#endif
  for (; q < end; q++) to[q] = row[q * step];
  for (; q < n; q++) to[q] = 0;
}

void NAME(fill)(const NAME(Field) *f, const Piece *p, int c, int depth) {
  REAL *to = (REAL *)room_b;
  for (int k = 0; k < p->n * depth; k++) {
    const REAL *plane = f->x + (p->image + k / depth) * f->image + (c + k % depth) * f->plane;
    for (int line = 0; line < f->lines; line++) {
      int y = p->y * f->sh + f->top + line;
      const REAL *row = (unsigned)y < (unsigned)f->height ? plane + y * f->width : 0;
      for (int s = 0; s < f->sw; s++, to += f->phase)
        NAME(fill_part)(to, f->phase, row, p->x * f->sw + f->left + s, f->sw, f->width);
    }
  }
}

void NAME(runs)(const NAME(Field) *f, const Piece *p, const NAME(Target) *t, int depth, int width,
                int overlap) {
  strips.n = 0;
  for (int i = 0; i < p->n; i++)
    for (int y = 0; y < p->rows; y++)
      for (int x = 0; x < p->columns; x += width) {
        int at = overlap && p->columns >= width ? NAME(least)(x, p->columns - width) : x, k = strips.n++;
        strips.from[k] = (i * depth * f->lines + y * f->sh) * f->pitch + at;
        strips.to[k] = (p->image + i) * t->image + (p->y + y) * t->row + (p->x + at) * t->column;
        strips.count[k] = NAME(least)(width, p->columns - at);
      }
}

void NAME(finish_piece)(const NAME(Epilogue) *e, const NAME(Target) *t, const Piece *p, int ow, int from,
                        int to) {
  if (!e->bits) return;
  int whole = p->columns == ow;
  for (int i = 0; i < p->n; i++)
    for (int c = from; c < to; c++) {
      REAL *at = t->c + (p->image + i) * t->image + c * t->channel + p->y * t->row + p->x;
      for (int y = 0; y < (whole ? 1 : p->rows); y++)
        NAME(finish)(e, at + y * t->row, whole ? p->rows * ow : p->columns);
    }
}
