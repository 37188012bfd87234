// conv2d, conv2d_input, conv2d_weight (_f, _d): convolution and its two gradients.
//
// buffers: as in docs/architecture.md, the written one last; behind it conv2d's bias, residual, factor.
// words: N, C, H, W, O, KH, KW, OH, OW, then stride, padding, dilation (y, x each), groups; conv2d:
// then the epilogue's (gemm.h). Everything is contiguous.
//
//   conv2d         tiles of output channels × neighbouring outputs over the taps: the windows are
//                  read in a padded piece of the image (image.h), no matrix of them is made
//   conv2d_input   the same on the gradient, with the kernel turned; with a stride, each remainder
//                  of the coordinates is a convolution with some of the taps
//   conv2d_weight  tiles of taps × output channels over the outputs, whose gradient is transposed
//
// All bound by multiply-adds. Kernels of one tap are matrix products; one channel per group goes to
// depthwise.c, 3 × 3 in steps of one for many channels to winograd.c. Shares are of groups, or of
// pieces of the image, or of output channels.
#include "image.h"

// ---- tiles of rows × outputs --------------------------------------------------------------------

// Points the tile at the taps of channels c.. of rows i.., in a row.
static void NAME(point_rows)(NAME(Tile) *t, const NAME(Taps) *w, int taps, int i, int rows,
                             int c) {
  const REAL *a = w->a + i * w->row_step + c * w->step;
  int contiguous = w->step == taps;
  SHORT for (int k = 0; k < taps && contiguous; k++) contiguous = w->tap[k] == k;
  for (int r = 0; r < rows; r++, a += w->row_step) {
    REAL *to = (REAL *)room_a + r * t->depth;
    t->a[r] = contiguous ? a : to;
    SHORT for (int at = 0, k = 0; at < t->depth && !contiguous; at++) {
      *to++ = a[at / taps * w->step + w->tap[k]];
      if (++k == taps) k = 0;
    }
  }
}

// Some rows of all runs of outputs of a piece.
static void NAME(row_of_tiles)(NAME(Tile) *t, REAL *c, int step, int rows) {
  for (int k = 0; k < strips.n; k += 2) {
    int vectors = k + 1 < strips.n ? 2 : 1, whole = step == 1;
    for (int v = 0; v < vectors; v++) {
      t->b[v] = (const REAL *)room_b + strips.from[k + v];
      t->c[v] = c + strips.to[k + v];
      whole &= strips.count[k + v] == WIDTH;
    }
    if (whole) NAME(tile)(t, rows, vectors);
    else NAME(tile_apart)(t, rows, vectors, strips.count + k, step);
  }
}

void NAME(convolve_piece)(const NAME(Field) *f, const NAME(Taps) *w, const NAME(Target) *to,
                          const NAME(Epilogue) *e, const Piece *p, int from, int end) {
  for (int c = 0; c < f->channels; c += f->depth) {
    int depth = NAME(least)(f->depth, f->channels - c), panels = NAME(blocks)(end - from, MR);
    NAME(fill)(f, p, c, depth, (REAL *)room_b, 0);
    NAME(runs)(f, p, to, depth, WIDTH, 0);
    for (int k = 0; k < depth; k++)
      SHORT for (int t = 0; t < f->taps; t++) offsets[k * f->taps + t] = NAME(distance)(f, k, t);
    NAME(Tile) t = {.offset = offsets, .runs = 1, .c_row = to->channel};
    t.depth = depth * f->taps;
    for (int q = 0, i = from; q < panels; q++) {
      int rows = (end - i) / (panels - q);
      NAME(point_rows)(&t, w, f->taps, i, rows, c);
      NAME(prepare_tile)(&t, e, to->c + i * to->channel, rows, c == 0, c + depth == f->channels);
      NAME(row_of_tiles)(&t, to->c + i * to->channel, to->column, rows);
      i += rows;
    }
  }
}

// Other pieces for several shares: as many images in each, or, of few images, some of the rows where
// channels do not divide as evenly.
static void NAME(divide)(NAME(Field) *f, int outs, int parts) {
  int cuts = NAME(blocks)(parts, f->count), rows = NAME(blocks)(f->rows, cuts);
  if (parts < 2) return;
  if (f->n > 1 && f->images >= parts) {
    f->n = NAME(blocks)(f->images, NAME(blocks)(f->count, parts) * parts);
    f->count = NAME(blocks)(f->images, f->n);
  } else if (f->n == 1 && cuts > 1 && rows > 1 && NAME(blocks)(outs, MR) < 4 * parts) {
    f->lines -= (f->rows - rows) * f->sh;
    f->count = f->count / NAME(blocks)(f->oh, f->rows) * NAME(blocks)(f->oh, rows);
    f->rows = rows;
  }
}

// `whole` is the field before it was cut.
static void NAME(convolve)(NAME(Field) *f, const NAME(Field) *whole, const NAME(Taps) *w,
                           const NAME(Target) *t, const NAME(Epilogue) *e, int part, int parts) {
#ifndef DOUBLE
  if (winograd(whole, w, t, e, part, parts)) return;
#endif
  NAME(divide)(f, w->rows, parts);
  int slices = NAME(slices)(f->count, parts), units = f->count * slices, tiled = NAME(tiled)(e, 0);
  NAME(Epilogue) none = {0};
  int end = NAME(share)(units, 1, part + 1, parts);
  for (int unit = NAME(share)(units, 1, part, parts); unit < end; unit++) {
    Piece p = NAME(piece)(f, unit / slices);
    int from = NAME(share)(w->rows, MR, unit % slices, slices);
    int to = NAME(share)(w->rows, MR, unit % slices + 1, slices);
    if (from == to) continue;
    NAME(convolve_piece)(f, w, t, tiled ? e : &none, &p, from, to);
    if (!tiled) NAME(finish_piece)(e, t, &p, f->ow, from, to);
  }
}

// ---- by rows: what no piece has room for, and the depthwise gradient of the weights --------------

// Output columns whose input column lies in the image, for kernel column kx.
static void NAME(columns_inside)(const Conv *c, int kx, int *from, int *to) {
  int shift = c->pw - kx * c->dw;  // input column = x * sw - shift
  *from = shift > 0 ? (shift + c->sw - 1) / c->sw : 0;
  int last = c->w - 1 + shift;
  *to = last < 0 ? 0 : last / c->sw + 1 < c->ow ? last / c->sw + 1 : c->ow;
}

static void NAME(add_row)(REAL *out, const REAL *x, REAL w, int n, int out_step, int step) {
  for (int i = 0; i < n; i++) out[i * out_step] += w * x[i * step];
}

static REAL NAME(dot_row)(const REAL *a, const REAL *x, int n, int step) {
  REAL s[NR] = {0}, sum = 0;
  int i = 0;
  if (step == 1)
    for (; i + NR <= n; i += NR)
      for (int q = 0; q < NR; q++) s[q] += a[i + q] * x[i + q];
  for (; i < n; i++) sum += a[i] * x[i * step];
  for (int q = 0; q < NR; q++) sum += s[q];
  return sum;
}

// One image and output channel: mode 0 forward, 1 gradient of the input, 2 of the weights. x, w and
// y are the image, the kernel and the output (or its gradient).
static void NAME(by_rows)(const Conv *c, REAL *x, REAL *w, REAL *y, int image, int o, int mode) {
  int area = c->kh * c->kw, in = c->c / c->groups, group = o / (c->o / c->groups);
  for (int row = 0; row < c->oh; row++)
    for (int k = 0; k < in * area; k++) {
      int from, to, ky = k % area / c->kw, kx = k % c->kw, line = row * c->sh - c->ph + ky * c->dh;
      NAME(columns_inside)(c, kx, &from, &to);
      if ((unsigned)line >= (unsigned)c->h || from >= to) continue;
      int plane = image * c->c + group * in + k / area;
      REAL *source = x + (plane * c->h + line) * c->w + from * c->sw - c->pw + kx * c->dw;
      REAL *target = y + ((image * c->o + o) * c->oh + row) * c->ow + from;
      REAL *weight = w + o * in * area + k;
      if (mode == 0) NAME(add_row)(target, source, *weight, to - from, 1, c->sw);
      if (mode == 1) NAME(add_row)(source, target, *weight, to - from, c->sw, 1);
      if (mode == 2) *weight += NAME(dot_row)(target, source, to - from, c->sw);
    }
}

// Shares are of output channels for the weights, else of (image, group).
static void NAME(all_by_rows)(const Conv *c, REAL *x, REAL *w, REAL *y, int mode, int part,
                              int parts) {
  int units = mode == 2 ? c->o : c->n * c->groups, outs = c->o / c->groups;
  REAL *result[] = {y, x, w};
  int sizes[] = {outs * c->oh * c->ow, c->c / c->groups * c->h * c->w,
                 c->c / c->groups * c->kh * c->kw};
  for (int u = NAME(share)(units, 1, part, parts); u < NAME(share)(units, 1, part + 1, parts);
       u++) {
    __builtin_memset(result[mode] + u * sizes[mode], 0, sizeof(REAL) * (unsigned)sizes[mode]);
    for (int i = 0; i < (mode == 2 ? c->n : outs); i++)
      if (mode == 2) NAME(by_rows)(c, x, w, y, i, u, mode);
      else NAME(by_rows)(c, x, w, y, u / c->groups, u % c->groups * outs + i, mode);
  }
}

// ---- the exports --------------------------------------------------------------------------------

// The taps as the outputs of conv2d see them.
static NAME(Field) NAME(field)(const Conv *c, const REAL *x) {
  NAME(Field) f = {x, c->c * c->h * c->w, c->h * c->w, c->h, c->w, c->c / c->groups, c->sh, c->sw};
  f.taps = c->kh * c->kw, f.images = c->n, f.oh = c->oh, f.ow = c->ow;
  SHORT for (int t = 0; t < f.taps && t < TAPS; t++) {
    f.down[t] = t / c->kw * c->dh - c->ph;
    f.right[t] = t % c->kw * c->dw - c->pw;
  }
  return f;
}

// Groups are shared if there are enough of them, else the work of each.
#define EACH_GROUP(count) \
  int many = (count) >= 2 * parts, share = many ? 0 : part, shares = many ? 1 : parts; \
  for (int at = many ? NAME(share)(count, 1, part, parts) : 0, \
           end = many ? NAME(share)(count, 1, part + 1, parts) : (count); \
       at < end; at++)

KERNEL(NAME(conv2d)) {
  const Conv *c = (const Conv *)words;
  REAL *x = (REAL *)buffers[0], *w = (REAL *)buffers[1], *out = (REAL *)buffers[2];
  int in = c->c / c->groups, outs = c->o / c->groups, over = c->oh * c->ow, area = c->kh * c->kw;
  NAME(Epilogue) e = NAME(epilogue)(words + 16, buffers, c->o, over);
  NAME(Target) target = {out, c->o * over, over, c->ow, 1};
  int tap[TAPS];
  SHORT for (int t = 0; t < area && t < TAPS; t++) tap[t] = t;
  if (area == 1 && over == c->h * c->w && !c->ph && !c->pw && in > 1) {
    EACH_GROUP(c->n * c->groups) {
      const REAL *a = w + at % c->groups * outs * in, *b = x + at * in * over;
      NAME(Gemm) g = {outs, over, in, a, in, 1, b, over, 1, out + at * outs * over, over, 1};
      NAME(product)(g, &e, share, shares);
    }
    return;
  }
  NAME(Field) f = NAME(field)(c, x), whole = f;
  if (area > TAPS || !NAME(plan)(&f, 512, 1 << 30)) {
    NAME(all_by_rows)(c, x, w, out, 0, part, parts);
    int from = NAME(share)(c->n * c->groups, 1, part, parts) * outs;
    int to = NAME(share)(c->n * c->groups, 1, part + 1, parts) * outs;
    for (int at = from; at < to; at++) NAME(finish)(&e, out + at * over, over);
    return;
  }
  if (in == 1 && outs < 4) {
    f.channels = c->c;
    NAME(depthwise)(&f, w, area, tap, outs, &target, &e, part, parts);
    return;
  }
  EACH_GROUP(c->groups) {
    NAME(Taps) taps = {w + at * outs * in * area, outs, in * area, area, tap};
    f.x = whole.x = x + at * in * f.plane, target.c = out + at * outs * over;
    NAME(convolve)(&f, &whole, &taps, &target, &e, share, shares);
  }
}

// The taps that meet inputs (down + sh * y, right + sw * x), as seen from these; how many.
static int NAME(phase_taps)(const Conv *c, NAME(Field) *f, int *tap, int down, int right) {
  f->taps = 0;
  SHORT for (int k = 0; k < c->kh * c->kw; k++) {
    int y = down + c->ph - k / c->kw * c->dh, x = right + c->pw - k % c->kw * c->dw;
    if (y % c->sh || x % c->sw) continue;
    tap[f->taps] = k;
    f->down[f->taps] = y / c->sh, f->right[f->taps++] = x / c->sw;
  }
  return f->taps;
}

// One remainder of the coordinates; no shares: only tells whether it has room.
static int NAME(input_phase)(const Conv *c, const REAL *y, const REAL *w, REAL *out, int down,
                             int right, int part, int parts) {
  int in = c->c / c->groups, outs = c->o / c->groups, over = c->oh * c->ow, plane = c->h * c->w;
  int area = c->kh * c->kw, tap[TAPS];
  NAME(Field) f = {y, c->o * over, over, c->oh, c->ow, outs, 1, 1};
  f.images = c->n;
  f.oh = NAME(blocks)(c->h - down, c->sh), f.ow = NAME(blocks)(c->w - right, c->sw);
  NAME(Target) target = {out + down * c->w + right, c->c * plane, plane, c->sh * c->w, c->sw};
  NAME(Epilogue) none = {0};
  if (f.oh <= 0 || f.ow <= 0) return 1;  // no such coordinates
  if (!NAME(phase_taps)(c, &f, tap, down, right)) {
    int end = parts ? NAME(share)(c->n * c->c, 1, part + 1, parts) : 0;
    for (int at = parts ? NAME(share)(c->n * c->c, 1, part, parts) : 0; at < end; at++)
      for (int q = 0; q < f.oh * f.ow; q++)
        target.c[at * plane + q / f.ow * target.row + q % f.ow * target.column] = 0;
    return 1;
  }
  NAME(Field) whole = f;
  int fits = NAME(plan)(&f, 512, 1 << 30);
  if (!fits || !parts) return fits;
  if (in == 1 && outs == 1) {
    f.channels = c->o;
    NAME(depthwise)(&f, w, area, tap, 1, &target, &none, part, parts);
    return 1;
  }
  EACH_GROUP(c->groups) {
    NAME(Taps) taps = {w + at * outs * in * area, in, area, in * area, tap};
    NAME(Target) to = target;
    f.x = whole.x = y + at * outs * over, to.c += at * in * plane;
    NAME(convolve)(&f, &whole, &taps, &to, &none, share, shares);
  }
  return 1;
}

KERNEL(NAME(conv2d_input)) {
  const Conv *c = (const Conv *)words;
  REAL *y = (REAL *)buffers[0], *w = (REAL *)buffers[1], *out = (REAL *)buffers[2];
  int fits = c->kh * c->kw <= TAPS, phases = c->sh * c->sw;
  for (int q = 0; q < phases && fits; q++)
    fits = NAME(input_phase)(c, y, w, out, q / c->sw, q % c->sw, 0, 0);
  for (int q = 0; q < phases && fits; q++)
    NAME(input_phase)(c, y, w, out, q / c->sw, q % c->sw, part, parts);
  if (!fits) NAME(all_by_rows)(c, out, w, y, 1, part, parts);
}

// ---- the gradient of the weights -----------------------------------------------------------------

#define MOST_OUTPUTS 4096  // of a piece: as many as room_a holds NR of

// Output channels o.. as columns: one row of NR per output of the piece.
static void NAME(turn_gradient)(const Conv *c, const Piece *p, const REAL *y, int o, int columns) {
  REAL *to = (REAL *)room_a;
  for (int i = 0; i < p->n; i++)
    for (int r = 0; r < p->rows; r++, to += p->columns * NR)
      NAME(transpose)(to, NR, y + (((p->image + i) * c->o + o) * c->oh + p->y + r) * c->ow + p->x,
                      c->oh * c->ow, p->columns, columns);
}

// Adds (or with `add` 0 writes) a piece's share: all taps of `depth` channels from `channel` on.
static void NAME(weigh_piece)(const NAME(Field) *f, const Piece *p, const int *jump, int depth,
                              REAL *out, int n, int columns, int add) {
  int all = depth * f->taps, panels = NAME(blocks)(all, MR);
  int count[2] = {NAME(least)(WIDTH, columns), columns - WIDTH};
  NAME(Tile) t = {.offset = offsets, .jump = jump, .c_row = 1, .add = add};
  t.b[0] = (const REAL *)room_a, t.b[1] = t.b[0] + WIDTH;
  t.depth = p->columns, t.runs = p->n * p->rows, t.b_run = p->columns * NR;
  for (int q = 0, i = 0; q < panels; q++) {
    int rows = (all - i) / (panels - q);
    for (int r = 0; r < rows; r++)
      t.a[r] = (const REAL *)room_b + NAME(distance)(f, (i + r) / f->taps, (i + r) % f->taps);
    t.c[0] = out + i, t.c[1] = t.c[0] + WIDTH * n;
    NAME(tile_apart)(&t, rows, columns > WIDTH ? 2 : 1, count, n);
    i += rows;
  }
}

// Output channels o..to of one group, channels from..end of the image.
static void NAME(weigh)(const Conv *c, const NAME(Field) *f, const REAL *y, REAL *out, int o,
                        int to, int from, int end) {
  int n = f->channels * f->taps;
  for (int k = 0; k < f->count; k++) {
    Piece p = NAME(piece)(f, k);
    for (int at = from; at < end; at += f->depth) {
      int depth = NAME(least)(f->depth, end - at);
      NAME(fill)(f, &p, at, depth, (REAL *)room_b, 0);
      for (int run = 1; run < p.n * p.rows; run++)
        strips.from[run - 1] = f->sh * f->pitch - p.columns +
                               (run % p.rows ? 0 : (depth * f->lines - p.rows * f->sh) * f->pitch);
      SHORT for (int d = 0; d < p.columns; d++) offsets[d] = d * NR;
      for (int q = o; q < to; q += NR) {
        int columns = NAME(least)(NR, to - q);
        NAME(turn_gradient)(c, &p, y, q, columns);
        NAME(weigh_piece)(f, &p, strips.from, depth, out + q * n + at * f->taps, n, columns, k > 0);
      }
    }
  }
}

KERNEL(NAME(conv2d_weight)) {
  const Conv *c = (const Conv *)words;
  REAL *y = (REAL *)buffers[0], *x = (REAL *)buffers[1], *out = (REAL *)buffers[2];
  int in = c->c / c->groups, outs = c->o / c->groups, area = c->kh * c->kw;
  NAME(Field) f = NAME(field)(c, x);
  if (area > TAPS || (in == 1 && outs < 4) || !NAME(plan)(&f, 512, MOST_OUTPUTS)) {
    NAME(all_by_rows)(c, x, out, y, 2, part, parts);
    return;
  }
  EACH_GROUP(c->groups) {
    int by_outputs = NAME(blocks)(outs, NR) >= shares;
    int o = by_outputs ? NAME(share)(outs, NR, share, shares) : 0;
    int to = by_outputs ? NAME(share)(outs, NR, share + 1, shares) : outs;
    int from = by_outputs ? 0 : NAME(share)(in, 1, share, shares);
    int until = by_outputs ? in : NAME(share)(in, 1, share + 1, shares);
    f.x = x + at * in * f.plane;
    NAME(weigh)(c, &f, y + at * outs * c->oh * c->ow, out + at * outs * in * area, o, to, from,
                until);
  }
}
