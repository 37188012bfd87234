// A piece of an image with its padding, as the convolutions read it: every tap of the kernel is
// then a fixed distance away and no bounds are checked. Where outputs walk the image in steps,
// columns are dealt out to one part of the line per remainder, so that neighbours read neighbours.
// Layout:
//
//   (image, channel, line, column % sw, column / sw): `pitch` elements a line, `phase` a part of it
#pragma once
#include "gemm.h"

#define TAPS 1024    // of a kernel; what has more goes by rows (conv2d.c)
#define STRIPS 2048  // vectors of outputs in a piece

typedef struct {
  // The image: elements per image and per channel; the step of the outputs; where the taps of the
  // first output lie.
  const REAL *x;
  int image, plane, height, width, channels, sh, sw, taps, down[TAPS], right[TAPS];
  int images, oh, ow;  // the outputs
  // The planner makes taps and steps count in the lines and columns that a piece has: every
  // below-th and across-th from (top, left) on. Pieces: of how many images, channels, rows and
  // columns of outputs; their layout; how many there are.
  int top, left, below, across, n, depth, rows, columns, lines, phase, pitch, count;
} NAME(Field);

typedef struct {
  int image, y, x, n, rows, columns;
} Piece;  // of the outputs

// Runs of neighbouring outputs of a piece: place in the piece and in the result, how many.
typedef struct {
  int n, from[STRIPS], to[STRIPS], count[STRIPS];
} Strips;
extern _Thread_local Strips strips;

// Cuts the field into pieces that have room; 0: even one row of one channel has none.
int NAME(plan)(NAME(Field) *f, int most_columns, int most_outputs);
Piece NAME(piece)(const NAME(Field) *f, int k);
// Copies `depth` channels from c on of a piece; `padded`: over other ones of the same piece, whose
// zeros stay.
void NAME(fill)(const NAME(Field) *f, const Piece *p, int c, int depth, REAL *to, int padded);
// Distance of tap t of channel c from an output's place in the piece.
static inline int NAME(distance)(const NAME(Field) *f, int c, int t) {
  int right = f->right[t];
  return (c * f->lines + f->down[t]) * f->pitch + right % f->sw * f->phase + right / f->sw;
}

typedef struct {
  int n, c, h, w, o, kh, kw, oh, ow, sh, sw, ph, pw, dh, dw, groups;
} Conv;

// Where results go: elements per image, channel, row and column.
typedef struct {
  REAL *c;
  int image, channel, row, column;
} NAME(Target);

// Notes the runs of `width` outputs of a piece; with `overlap` the last one of a row is whole, too.
void NAME(runs)(const NAME(Field) *f, const Piece *p, const NAME(Target) *t, int depth, int width,
                int overlap);
// Finishes channels from..to of a piece.
void NAME(finish_piece)(const NAME(Epilogue) *e, const NAME(Target) *t, const Piece *p, int ow,
                        int from, int to);

// The kernel as a matrix: (row, channel, tap) at row * row_step + channel * step + tap[t].
typedef struct {
  const REAL *a;
  int rows, row_step, step, *tap;
} NAME(Taps);

// Rows from..end of a piece, by tiles.
void NAME(convolve_piece)(const NAME(Field) *f, const NAME(Taps) *w, const NAME(Target) *to,
                          const NAME(Epilogue) *e, const Piece *p, int from, int end);

static inline int NAME(divisor)(int a, int b) {
  while (b) {
    int rest = a % b;
    a = b, b = rest;
  }
  return a;
}
// In how many slices of its rows each of `count` pieces is shared: as few as divide evenly, for each
// needs the whole piece.
static inline int NAME(slices)(int count, int parts) {
  return count >= 4 * parts ? 1 : parts / NAME(divisor)(count, parts);
}

#ifndef DOUBLE
// 0: not for this shape
int winograd(const Field_f *f, const Taps_f *w, const Target_f *t, const Epilogue_f *e, int part,
             int parts);
#endif

// One channel of the image per group: `w` has the taps of each of `per` outputs of a channel in a
// row, at tap[t].
void NAME(depthwise)(NAME(Field) *f, const REAL *w, int area, const int *tap, int per,
                     const NAME(Target) *t, const NAME(Epilogue) *e, int part, int parts);
