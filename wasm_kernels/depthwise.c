// depthwise: each output channel is a filter of one channel of the image.
//
// Four runs of two vectors of outputs at a time, taps outside: 8 multiply-adds on 8 loads and a
// splat, from a padded copy of the channel (image.h). Bound by loads from the L1 cache; 3 × 3 taps
// share theirs and reach half of the multiply-adds' limit in steps of one. Shares are of channels.
#include "image.h"

static void NAME(filter)(const int *from, const REAL *w, int taps, REAL *const *to) {
  const REAL *x[4];
  v128_t s[8];
  UNROLL_FULLY for (int q = 0; q < 4; q++) {
    x[q] = (const REAL *)room_b + from[q];
    s[2 * q] = s[2 * q + 1] = ZEROV;
  }
  for (int t = 0; t < taps; t++) {
    int at = offsets[t];
    v128_t weight = SPLAT(w + t);
    UNROLL_FULLY for (int q = 0; q < 4; q++) {
      s[2 * q] = MADD(weight, LOADV(x[q] + at), s[2 * q]);
      s[2 * q + 1] = MADD(weight, LOADV(x[q] + at + WIDTH), s[2 * q + 1]);
      KEEP_ORDER(s[2 * q], s[2 * q + 1]);
    }
  }
  UNROLL_FULLY for (int q = 0; q < 4; q++) {
    STOREV(to[q], s[2 * q]);
    STOREV(to[q] + WIDTH, s[2 * q + 1]);
  }
}

// All runs of a piece for one output channel; c: its first element.
static void NAME(filter_piece)(const REAL *w, int taps, REAL *c, int step) {
  REAL apart[4][NR];
  for (int k = 0; k < strips.n; k += 4) {
    REAL *to[4];
    int from[4], some = 0;
    UNROLL_FULLY for (int q = 0; q < 4; q++) {
      int at = NAME(least)(k + q, strips.n - 1);
      from[q] = strips.from[at], to[q] = c + strips.to[at];
      some |= step != 1 || strips.count[at] < NR;
    }
    if (!some) {
      NAME(filter)(from, w, taps, to);
      continue;
    }
    REAL *const copies[4] = {apart[0], apart[1], apart[2], apart[3]};
    NAME(filter)(from, w, taps, copies);
    for (int q = 0; q < 4 && k + q < strips.n; q++)
      for (int i = 0; i < strips.count[k + q]; i++) to[q][i * step] = apart[q][i];
  }
}

typedef struct {
  REAL bias, low, high;
} NAME(Bounds);

// What is done with the results of channel o, if it is the same for all of them; else 0.
static int NAME(bounds)(const NAME(Epilogue) *e, int o, NAME(Bounds) *b) {
  REAL infinite = (REAL)__builtin_inf();
  *b = (NAME(Bounds)){0, -infinite, infinite};
  if (e->bits & 2 || (e->bits & 9 && e->column)) return 0;
  if (e->bits & 1) b->bias = e->bias[o * e->row];
  if (e->bits & 4) b->low = e->low, b->high = e->high;
  return 1;
}

// 3 × 3 taps in steps of one or two: four rows of outputs at a time share their lines, the weights
// stay in registers; 36 multiply-adds on 18 loads, or 27. Blocks at the end overlap the ones before.
static inline __attribute__((always_inline)) void NAME(filter_3x3)(
    const NAME(Field) *f, const Piece *p, const REAL *w, REAL *c, int row, const REAL *x0,
    const NAME(Bounds) *e, int step) {
  int column[3] = {0, step == 1 ? 1 : f->phase, step == 1 ? 2 : 1};
  v128_t weight[9], bias = SPLAT(&e->bias), low = SPLAT(&e->low), high = SPLAT(&e->high);
  UNROLL_FULLY for (int k = 0; k < 9; k++) weight[k] = SPLAT(w + k);
  for (int block = 0; block < p->rows; block += 4) {
    int y = NAME(least)(block, p->rows - 4);
    const REAL *line = x0 + y * step * f->pitch;
    REAL *to = c + (p->y + y) * row + p->x;
    for (int at = 0; at < p->columns; at += WIDTH) {
      int x = NAME(least)(at, p->columns - WIDTH);
      v128_t s[4] = {bias, bias, bias, bias};
      const REAL *from = line + x;
      UNROLL_FULLY for (int r = 0; r < 3 * step + 3; r++, from += f->pitch)
        UNROLL_FULLY for (int k = 0; k < 3; k++) {
          v128_t v = LOADV(from + column[k]);
          UNROLL_FULLY for (int q = 0; q < 4; q++)
            if (r >= q * step && r < q * step + 3)
              s[q] = MADD(weight[(r - q * step) * 3 + k], v, s[q]);
          KEEP_ORDER(s[0], s[1]);
          KEEP_ORDER(s[2], s[3]);
        }
      UNROLL_FULLY for (int q = 0; q < 4; q++)
        STOREV(to + q * row + x, PMINV(PMAXV(s[q], low), high));
    }
  }
}

static int NAME(is_3x3)(const NAME(Field) *f, const NAME(Target) *t) {
  int small = f->taps == 9 && f->sh == f->sw && f->sw <= 2 && t->column == 1;
  for (int k = 0; k < 9 && small; k++) small = f->down[k] < 3 && f->right[k] < 3;
  return small;
}

// All channels from..end of a piece; `dense`: by filter_3x3.
static void NAME(channels)(const NAME(Field) *f, const Piece *p, const REAL *w, int area,
                           const int *place, int per, const NAME(Target) *t,
                           const NAME(Epilogue) *e, int dense, int from, int end) {
  REAL weights[TAPS];
  for (int c = from; c < end; c++) {
    NAME(fill)(f, p, c, 1, (REAL *)room_b, c > from);
    for (int o = c * per; o < c * per + per; o++) {
      NAME(Bounds) bounds;
      int finished = NAME(bounds)(e, o, &bounds) && dense;
      REAL factor = finished && e->bits & 8 ? e->factor[o * e->row] : 1;
      for (int k = 0; k < f->taps; k++) weights[k] = w[o * area + place[k]] * factor;
      REAL *out = t->c + o * t->channel;
      for (int i = 0; i < p->n && dense; i++) {
        REAL *to = out + (p->image + i) * t->image;
        const REAL *x = (const REAL *)room_b + i * f->lines * f->pitch;
        if (f->sw == 1) NAME(filter_3x3)(f, p, weights, to, t->row, x, &bounds, 1);
        else NAME(filter_3x3)(f, p, weights, to, t->row, x, &bounds, 2);
      }
      if (!dense) NAME(filter_piece)(weights, f->taps, out, t->column);
      if (!finished) NAME(finish_piece)(e, t, p, f->ow, o, o + 1);
    }
  }
}

void NAME(depthwise)(NAME(Field) *f, const REAL *w, int area, const int *tap, int per,
                     const NAME(Target) *t, const NAME(Epilogue) *e, int part, int parts) {
  int place[TAPS], channels = f->channels, units = f->count * channels;
  int unit = NAME(share)(units, 1, part, parts), end = NAME(share)(units, 1, part + 1, parts);
  for (int k = 0; k < f->taps; k++) offsets[k] = NAME(distance)(f, 0, k);
  while (unit < end) {
    Piece p = NAME(piece)(f, unit / channels);
    int c = unit % channels, more = NAME(least)(end - unit, channels - c);
    int dense = p.rows >= 4 && p.columns >= WIDTH && NAME(is_3x3)(f, t);
    for (int k = 0; k < f->taps; k++) place[dense ? f->down[k] * 3 + f->right[k] : k] = tap[k];
    NAME(runs)(f, &p, t, 1, NR, 1);
    NAME(channels)(f, &p, w, area, place, per, t, e, dense, c, c + more);
    unit += more;
  }
}
