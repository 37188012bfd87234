// Pieces of an image; see image.h. Bound by memory: each element is copied once per piece.
#include "image.h"

#ifndef DOUBLE
_Thread_local Strips strips;
#endif

// Lines and columns that no tap meets are left out.
static void NAME(thin_out)(NAME(Field) *f) {
  f->top = f->down[0], f->left = f->right[0];
  SHORT for (int t = 1; t < f->taps; t++) {
    f->top = NAME(least)(f->top, f->down[t]);
    f->left = NAME(least)(f->left, f->right[t]);
  }
  f->below = f->sh, f->across = f->sw;
  SHORT for (int t = 0; t < f->taps; t++) {
    f->below = NAME(divisor)(f->below, f->down[t] -= f->top);
    f->across = NAME(divisor)(f->across, f->right[t] -= f->left);
  }
  f->sh /= f->below, f->sw /= f->across;
  SHORT for (int t = 0; t < f->taps; t++) f->down[t] /= f->below, f->right[t] /= f->across;
}

int NAME(plan)(NAME(Field) *f, int most_columns, int most_outputs) {
  int room = ROOM / sizeof(REAL), tall = 1, right = 0;
  NAME(thin_out)(f);
  SHORT for (int t = 0; t < f->taps; t++) {
    tall = NAME(most)(tall, f->down[t] + 1);
    right = NAME(most)(right, f->right[t]);
  }
  f->columns = NAME(least)(f->ow, most_columns);
  f->phase = NAME(blocks)(f->columns + right / f->sw, WIDTH) * WIDTH + NR;
  f->pitch = f->sw * f->phase;
  if ((int64_t)tall * f->pitch > room) return 0;
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

// Elements q.. of a row in steps of one or two, as a vector; reads no further than the last of
// them.
static inline v128_t NAME(every)(const REAL *row, int q, int step) {
  if (step == 1) return LOADV(row + q);
#ifdef DOUBLE
  return wasm_i64x2_make(((const int64_t *)row)[2 * q], ((const int64_t *)row)[2 * q + 2]);
#else
  return wasm_i32x4_shuffle(LOADV(row + 2 * q), LOADV(row + 2 * q + 3), 0, 2, 5, 7);
#endif
}

// Elements from..end are every step-th of a row, the others of `n` zero, or they are if `padded`;
// may write NR more.
static inline void NAME(fill_part)(REAL *to, int n, const REAL *row, int from, int end, int step,
                                   int padded) {
  int q = padded ? from : 0;
  for (; q < from; q += WIDTH) STOREV(to + q, ZEROV);
  q = from;
  if (step <= 2 && end - from >= WIDTH) {
    for (; q + WIDTH < end; q += WIDTH) STOREV(to + q, NAME(every)(row, q, step));
    STOREV(to + end - WIDTH, NAME(every)(row, end - WIDTH, step));
    q = end;
  }
  for (; q < end; q++) to[q] = row[q * step];
  for (; q < n && !padded; q += WIDTH) STOREV(to + q, ZEROV);
}

void NAME(fill)(const NAME(Field) *f, const Piece *p, int c, int depth, REAL *piece, int padded) {
  int n = f->phase - NR, step = f->sw * f->across;  // behind n tiles read, but use nothing
  for (int s = 0; s < f->sw; s++) {
    int at = p->x * step + f->left + s * f->across;
    int end = f->width > at ? NAME(least)(n, (f->width - 1 - at) / step + 1) : 0;
    int from = at < 0 ? NAME(least)(end, NAME(blocks)(-at, step)) : 0;
    REAL *to = piece + s * f->phase;
    for (int k = 0; k < p->n * depth; k++) {
      const REAL *plane =
          f->x + (p->image + k / depth) * f->image + (c + k % depth) * f->plane + at;
      for (int line = 0; line < f->lines; line++, to += f->pitch) {
        int y = (p->y * f->sh + line) * f->below + f->top,
            inside = (unsigned)y < (unsigned)f->height;
        if (!inside && padded) continue;
        NAME(fill_part)(to, n, plane + y * f->width, inside ? from : n, inside ? end : n, step,
                        padded);
      }
    }
  }
}

void NAME(runs)(const NAME(Field) *f, const Piece *p, const NAME(Target) *t, int depth, int width,
                int overlap) {
  strips.n = 0;
  for (int i = 0; i < p->n; i++)
    for (int y = 0; y < p->rows; y++)
      for (int x = 0; x < p->columns; x += width) {
        int at = overlap && p->columns >= width ? NAME(least)(x, p->columns - width) : x,
            k = strips.n++;
        strips.from[k] = (i * depth * f->lines + y * f->sh) * f->pitch + at;
        strips.to[k] = (p->image + i) * t->image + (p->y + y) * t->row + (p->x + at) * t->column;
        strips.count[k] = NAME(least)(width, p->columns - at);
      }
}

void NAME(finish_piece)(const NAME(Epilogue) *e, const NAME(Target) *t, const Piece *p, int ow,
                        int from, int to) {
  if (!e->bits) return;
  int whole = p->columns == ow;
  for (int i = 0; i < p->n; i++)
    for (int c = from; c < to; c++) {
      REAL *at = t->c + (p->image + i) * t->image + c * t->channel + p->y * t->row + p->x;
      for (int y = 0; y < (whole ? 1 : p->rows); y++)
        NAME(finish)(e, at + y * t->row, whole ? p->rows * ow : p->columns);
    }
}
