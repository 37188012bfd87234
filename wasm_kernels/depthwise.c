// depthwise: each output channel is a filter of one channel of the image.
//
// Four runs of two vectors of outputs at a time, taps outside: 8 multiply-adds on 8 loads and a
// splat, from a padded copy of the channel (image.h). Bound by loads from the L1 cache: with 3 × 3 taps
// half of the multiply-adds' limit.
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

void NAME(depthwise)(NAME(Field) *f, const REAL *w, int area, const int *tap, int per,
                     const NAME(Target) *t, const NAME(Epilogue) *e, int part, int parts) {
  REAL weights[TAPS];
  int channels = f->channels, units = f->count * channels, last = -1;
  int end = NAME(share)(units, 1, part + 1, parts);
  for (int k = 0; k < f->taps; k++) offsets[k] = NAME(distance)(f, 0, k);
  for (int unit = NAME(share)(units, 1, part, parts); unit < end; unit++) {
    Piece p = NAME(piece)(f, unit / channels);
    int c = unit % channels;
    if (last != unit / channels) NAME(runs)(f, &p, t, 1, NR, 1);
    last = unit / channels;
    NAME(fill)(f, &p, c, 1);
    for (int o = c * per; o < c * per + per; o++) {
      for (int k = 0; k < f->taps; k++) weights[k] = w[o * area + tap[k]];
      NAME(filter_piece)(weights, f->taps, t->c + o * t->channel, t->column);
      NAME(finish_piece)(e, t, &p, f->ow, o, o + 1);
    }
  }
}
