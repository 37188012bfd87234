// conv2d, conv2d_input, conv2d_weight (_f, _d): convolution and its two gradients.
//
// buffers: as in docs/architecture.md, the written one last. words: N, C, H, W, O, KH, KW, OH, OW,
// then stride, padding, dilation (y, x each), groups. Everything is contiguous.
// Each is the product of gemm.h with one operand gathered from the image while it is packed
// (implicit GEMM: no column matrix in memory), once per group:
//
//   conv2d         out (O × N·OH·OW)    = w (O × C·KH·KW)    · windows of x
//   conv2d_input   out (C × N·H·W)      = wᵀ (C × O·KH·KW)   · windows of g, run backwards
//   conv2d_weight  out (O × C·KH·KW)    = g (O × N·OH·OW)    · windows of x, transposed
//
// Bound by multiply-adds from some 32 output channels on, by the gathering below. With one channel
// per group and few results of it (depthwise) rows are combined directly; that is bound by memory.
#include "gemm.h"

typedef struct {
  int n, c, h, w, o, kh, kw, oh, ow, sh, sw, ph, pw, dh, dw, groups;
} NAME(Conv);

// How the columns of a product walk an image: column (image, y, x) and depth (channel, ky, kx) meet
// at row (y * stride + first + ky * step) / divide, which must be whole; x alike.
typedef struct {
  int image, plane, height, width;      // of the gathered image; elements per image, per channel
  int over, across, kh, kw;             // columns per image and per row; the kernel
  int stride[2], first[2], step[2], divide[2];
} NAME(Window);

#define LARGEST_KERNEL 1024  // a side; above it the product is refused by the launch rules

// Where the columns of a panel read: source rows (as offsets) per ky, source columns per kx, -1
// outside.
typedef struct {
  const REAL *base[NR];
  int row[LARGEST_KERNEL][NR], column[LARGEST_KERNEL][NR];
  int in_row;  // the panel's columns are neighbours in one row
} NAME(Lanes);

static int NAME(source)(int at, int divide, int size) {
  if (divide > 1 && at % divide) return -1;
  if (divide > 1) at /= divide;
  return (unsigned)at < (unsigned)size ? at : -1;
}

static void NAME(lanes_at)(NAME(Lanes) *l, const NAME(Gemm) *g, const NAME(Window) *w, int j) {
  for (int q = 0; q < NR; q++) {
    int at = j + q < g->n ? j + q : g->n - 1, pixel = at % w->over;
    int top = pixel / w->across * w->stride[0] + w->first[0];
    int left = pixel % w->across * w->stride[1] + w->first[1];
    l->base[q] = g->b + at / w->over * w->image;
    for (int k = 0; k < w->kh; k++) {
      int y = NAME(source)(top + k * w->step[0], w->divide[0], w->height);
      l->row[k][q] = y < 0 ? -1 : y * w->width;
    }
    for (int k = 0; k < w->kw; k++)
      l->column[k][q] = NAME(source)(left + k * w->step[1], w->divide[1], w->width);
  }
  int x = j % w->over % w->across;
  l->in_row = w->stride[1] == 1 && w->divide[1] == 1 && x + NR <= w->across && j + NR <= g->n;
}

static void NAME(gather)(const NAME(Lanes) *l, REAL *to, int plane, const int *row,
                         const int *column) {
  if (l->in_row && (row[0] < 0 || (column[0] >= 0 && column[NR - 1] >= 0))) {
    const REAL *s = l->base[0] + plane + row[0] + column[0];
    int inside = row[0] >= 0;
    wasm_v128_store(to, inside ? wasm_v128_load(s) : ZEROV);
    wasm_v128_store(to + WIDTH, inside ? wasm_v128_load(s + WIDTH) : ZEROV);
    return;
  }
  for (int q = 0; q < NR; q++)
    to[q] = (row[q] | column[q]) < 0 ? 0 : l->base[q][plane + row[q] + column[q]];
}

static void NAME(pack_windows)(const NAME(Gemm) *g, REAL *panel, int j, int k, int depth) {
  const NAME(Window) *w = (const NAME(Window) *)g->shape;
  NAME(Lanes) l;
  NAME(lanes_at)(&l, g, w, j);
  int area = w->kh * w->kw, channel = k / area, ky = k % area / w->kw, kx = k % w->kw;
  for (int d = 0; d < depth; d++, panel += NR) {
    NAME(gather)(&l, panel, channel * w->plane, l.row[ky], l.column[kx]);
    if (++kx < w->kw) continue;
    kx = 0;
    if (++ky < w->kh) continue;
    ky = 0;
    channel++;
  }
}

// For the gradient of the weights columns are (channel, ky, kx) and the depth is (image, y, x).
static void NAME(pack_weights)(const NAME(Gemm) *g, REAL *panel, int j, int k, int depth) {
  const NAME(Conv) *c = (const NAME(Conv) *)g->shape;
  int area = c->kh * c->kw, over = c->oh * c->ow;
  for (int q = 0; q < NR; q++) {
    int at = j + q, channel = at / area, ky = at % area / c->kw, kx = at % c->kw;
    int dy = ky * c->dh - c->ph, dx = kx * c->dw - c->pw;
    int image = k / over, y = k % over / c->ow, x = k % c->ow;
    for (int d = 0; d < depth;) {
      int run = c->ow - x < depth - d ? c->ow - x : depth - d, row = y * c->sh + dy;
      int inside = at < g->n && (unsigned)row < (unsigned)c->h;
      const REAL *s = g->b + (image * c->c + channel) * c->h * c->w + row * c->w;
      for (int r = 0, column = x * c->sw + dx; r < run; r++, column += c->sw)
        panel[(d + r) * NR + q] = inside && (unsigned)column < (unsigned)c->w ? s[column] : 0;
      d += run;
      x = 0;
      if (++y == c->oh) y = 0, image++;
    }
  }
}

// ---- depthwise: one input channel per group -----------------------------------------------------

// Output columns whose input column lies in the image, for kernel column kx.
static void NAME(columns_inside)(const NAME(Conv) *c, int kx, int *from, int *to) {
  int shift = c->pw - kx * c->dw;  // input column = x * sw - shift
  *from = shift > 0 ? (shift + c->sw - 1) / c->sw : 0;
  int last = c->w - 1 + shift;
  *to = last < 0 ? 0 : last / c->sw + 1 < c->ow ? last / c->sw + 1 : c->ow;
}

static void NAME(add_row)(REAL *restrict out, const REAL *restrict x, REAL w, int n, int out_step,
                          int step) {
  if (step == 1 && out_step == 1)
    for (int i = 0; i < n; i++) out[i] += w * x[i];
  else
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

// Walks all (image, out channel, kernel row and column, output row): mode 0 forward, 1 gradient of
// the input, 2 of the weights. x, w and y are the image, the kernel and the output (or its
// gradient).
static void NAME(depthwise)(const NAME(Conv) *c, REAL *x, REAL *w, REAL *y, int mode) {
  int area = c->kh * c->kw, per = c->o / c->groups;
  for (int at = 0; at < c->n * c->o; at++) {
    int o = at % c->o, image = at / c->o;
    REAL *plane = x + (image * c->c + o / per) * c->h * c->w, *out = y + at * c->oh * c->ow;
    for (int row = 0; row < c->oh; row++)
      for (int k = 0; k < area; k++) {
        int from, to, in = row * c->sh - c->ph + k / c->kw * c->dh;
        NAME(columns_inside)(c, k % c->kw, &from, &to);
        if ((unsigned)in >= (unsigned)c->h || from >= to) continue;
        REAL *source = plane + in * c->w + from * c->sw - c->pw + k % c->kw * c->dw;
        REAL *target = out + row * c->ow + from, *weight = w + o * area + k;
        if (mode == 0) NAME(add_row)(target, source, *weight, to - from, 1, c->sw);
        if (mode == 1) NAME(add_row)(source, target, *weight, to - from, c->sw, 1);
        if (mode == 2) *weight += NAME(dot_row)(target, source, to - from, c->sw);
      }
  }
}

// ---- the exports --------------------------------------------------------------------------------

KERNEL(NAME(conv2d)) {
  WHOLE_ONLY;
  const NAME(Conv) *c = (const NAME(Conv) *)words;
  REAL *x = (REAL *)buffers[0], *w = (REAL *)buffers[1], *out = (REAL *)buffers[2];
  int in = c->c / c->groups, outs = c->o / c->groups, over = c->oh * c->ow, k = in * c->kh * c->kw;
  if (in == 1 && outs < 4) {
    __builtin_memset(out, 0, sizeof(REAL) * (unsigned)(c->n * c->o * over));
    NAME(depthwise)(c, x, w, out, 0);
    return;
  }
  NAME(Window) window = {c->c * c->h * c->w, c->h * c->w, c->h, c->w, over, c->ow, c->kh, c->kw,
                         {c->sh, c->sw}, {-c->ph, -c->pw}, {c->dh, c->dw}, {1, 1}};
  for (int at = 0; at < c->groups; at++) {
    NAME(Gemm) g = {outs, c->n * over, k, w + at * outs * k, k, k, 0, 1, NAME(pack_windows),
                    x + at * in * c->h * c->w, (const int *)&window, 0, 0,
                    out + at * outs * over, over, over, c->o * over};
    NAME(gemm)(&g);
  }
}

KERNEL(NAME(conv2d_input)) {
  WHOLE_ONLY;
  const NAME(Conv) *c = (const NAME(Conv) *)words;
  REAL *y = (REAL *)buffers[0], *w = (REAL *)buffers[1], *out = (REAL *)buffers[2];
  int in = c->c / c->groups, outs = c->o / c->groups, over = c->oh * c->ow, plane = c->h * c->w;
  int area = c->kh * c->kw;
  if (in == 1) {
    __builtin_memset(out, 0, sizeof(REAL) * (unsigned)(c->n * c->c * plane));
    NAME(depthwise)(c, out, w, y, 1);
    return;
  }
  NAME(Window) window = {c->o * over, over, c->oh, c->ow, plane, c->w, c->kh, c->kw,
                         {1, 1}, {c->ph, c->pw}, {-c->dh, -c->dw}, {c->sh, c->sw}};
  for (int at = 0; at < c->groups; at++) {
    NAME(Gemm) g = {in, c->n * plane, outs * area, w + at * outs * in * area, area, area,
                    in * area, 1, NAME(pack_windows), y + at * outs * over, (const int *)&window, 0, 0,
                    out + at * in * plane, plane, plane, c->c * plane};
    NAME(gemm)(&g);
  }
}

KERNEL(NAME(conv2d_weight)) {
  WHOLE_ONLY;
  const NAME(Conv) *c = (const NAME(Conv) *)words;
  REAL *y = (REAL *)buffers[0], *x = (REAL *)buffers[1], *out = (REAL *)buffers[2];
  int in = c->c / c->groups, outs = c->o / c->groups, over = c->oh * c->ow;
  int n = in * c->kh * c->kw;
  if (in == 1 && outs < 4) {
    __builtin_memset(out, 0, sizeof(REAL) * (unsigned)(c->o * n));
    NAME(depthwise)(c, x, out, y, 2);
    return;
  }
  for (int at = 0; at < c->groups; at++) {
    NAME(Gemm) g = {outs, n, c->n * over, y + at * outs * over, over, over, c->o * over, 1,
                    NAME(pack_weights), x + at * in * c->h * c->w, words, 0, 0,
                    out + at * outs * n, n, n, 0};
    NAME(gemm)(&g);
  }
}
