// winograd: 3 × 3 convolution in steps of one by products of transformed 6 × 6 windows: 36
// multiply-adds for 16 results instead of 144, F(4 × 4, 3 × 3). float only.
//
// A tile of the image is 4 × 4 outputs and the 6 × 6 inputs they see. Per piece of some tiles:
//   v = Bᵀ window B  for every channel and tile: 36 matrices (channels × tiles)
//   u = G kernel Gᵀ  for MR output channels: 36 matrices (MR × channels)
//   m = u v  by the register tile;  out = Aᵀ m A
// Windows are transformed four tiles at a time: the piece is laid out with the columns of a tile
// apart (steps of 4, image.h). Bound by the products; kernels are transformed anew for every piece.
// Results differ from the direct sum by some 1e-6 of the largest. Shares are of pieces, or of output
// channels of them.
#include "image.h"

typedef float F4 __attribute__((vector_size(16)));
#define AT(p) (*(F4_anywhere *)(p))
typedef float F4_anywhere __attribute__((vector_size(16), aligned(4)));

// Bᵀ along six values, s apart
INLINED void window_line(F4 *d, int s) {
  F4 b = d[s], c = d[2 * s], e = d[3 * s], f = d[4 * s];
  F4 p = f - 4 * c, q = e - 4 * b, u = f - c, v = 2 * (e - b);
  d[0] = 4 * d[0] - 5 * c + f;
  d[s] = p + q, d[2 * s] = p - q, d[3 * s] = u + v, d[4 * s] = u - v;
  d[5 * s] = 4 * b - 5 * e + d[5 * s];
}

// G along three values, in place of six
INLINED void kernel_line(F4 *d, int s) {
  F4 a = d[0], b = d[s], c = d[2 * s];
  F4 p = (a + c) * (-1 / 6.f), q = b * (1 / 6.f);
  F4 u = a * (1 / 24.f) + c * (1 / 6.f), v = b * (1 / 12.f);
  d[0] = a * .25f;
  d[s] = p - q, d[2 * s] = p + q, d[3 * s] = u + v, d[4 * s] = u - v, d[5 * s] = c;
}

// Aᵀ along six values, the first four in place
INLINED void result_line(F4 *d, int s) {
  F4 p = d[s] + d[2 * s], q = d[s] - d[2 * s], u = d[3 * s] + d[4 * s], v = d[3 * s] - d[4 * s];
  d[0] = d[0] + p + u, d[s] = q + 2 * v, d[2 * s] = p + 4 * u, d[3 * s] = q + 8 * v + d[5 * s];
}

// Elements of a matrix with room behind it such that 36 of them meet in no set of the cache.
static int spread(int elements) { return (elements + 15) / 16 * 16 | 16; }

// v: 36 × channels × width
static void transform_windows(const Field_f *f, const Piece *p, int channels, int width, float *v) {
  int at[36], plane = spread(channels * width);
  SHORT for (int k = 0; k < 36; k++) at[k] = distance_f(f, 0, k);
  for (int c = 0; c < channels; c++) {
    fill_f(f, p, c, 1, (float *)room_a, c > 0);
    float *to = v + c * width;
    for (int strip = 0; strip < strips.n; to += strips.count[strip++]) {
      const float *from = (const float *)room_a + strips.from[strip];
      F4 d[36];
      UNROLL_FULLY for (int k = 0; k < 36; k++) d[k] = AT(from + at[k]);
      UNROLL_FULLY for (int k = 0; k < 6; k++) window_line(d + k, 6);
      UNROLL_FULLY for (int k = 0; k < 6; k++) window_line(d + 6 * k, 1);
      UNROLL_FULLY for (int k = 0; k < 36; k++) AT(to + k * plane) = d[k];
    }
  }
}

// u: 36 × (one of MR rows) × depth, for channels c.. of the kernels of row i
static void transform_kernels(const Taps_f *w, int turned, int i, int c, int depth, float *u,
                              int plane) {
  const float *first = w->a + i * w->row_step + c * w->step;
  for (int k = 0; k < depth; k += 4, u += 4) {
    v128_t g[9];
    const float *a[4];
    UNROLL_FULLY for (int q = 0; q < 4; q++) {
      a[q] = first + least_f(k + q, depth - 1) * w->step;
      g[q] = LOADV(a[q]), g[q + 4] = LOADV(a[q] + 4);
    }
    turn_f(g), turn_f(g + 4);
    g[8] = (v128_t)(F4){a[0][8], a[1][8], a[2][8], a[3][8]};
    F4 d[36];
    UNROLL_FULLY for (int t = 0; t < 9; t++) d[t / 3 * 6 + t % 3] = (F4)(turned ? g[8 - t] : g[t]);
    UNROLL_FULLY for (int q = 0; q < 3; q++) kernel_line(d + 6 * q, 1);
    UNROLL_FULLY for (int q = 0; q < 6; q++) {
      kernel_line(d + q, 6);
      UNROLL_FULLY for (int t = 0; t < 6; t++) AT(u + (6 * t + q) * plane) = d[6 * t + q];
    }
  }
}

typedef struct {
  const Field_f *f;  // uncut
  const Taps_f *w;
  const Target_f *t;
  Piece *p;  // of tiles
  int turned;      // the kernels
} Work;

// Four tiles of row i: m has them at steps of `step`; `first` counts the piece's tiles. 1: some
// result is not finite.
static int transform_results(const Work *o, int i, const float *m, int step, int first) {
  F4 d[36], odd = {0};
  UNROLL_FULLY for (int k = 0; k < 36; k++) d[k] = AT(m + k * step);
  UNROLL_FULLY for (int k = 0; k < 6; k++) result_line(d + k, 6);
  UNROLL_FULLY for (int k = 0; k < 4; k++) result_line(d + 6 * k, 1);
  UNROLL_FULLY for (int k = 0; k < 16; k++) odd += d[k / 4 * 6 + k % 4] * 0;
  int across = o->p->columns, area = o->p->rows * across, some = 0;
  for (int q = 0; q < 4 && first + q < o->p->n * area; q++) {
    int tile = first + q, image = o->p->image + tile / area;
    int y = (o->p->y + tile % area / across) * 4, x = (o->p->x + tile % across) * 4;
    some |= odd[q] != 0;
    float *to = o->t->c + image * o->t->image + i * o->t->channel + y * o->t->row + x;
    for (int r = 0; r < 4 && y + r < o->f->oh; r++, to += o->t->row) {
      F4 *line = d + 6 * r, whole = {line[0][q], line[1][q], line[2][q], line[3][q]};
      if (x + 4 <= o->f->ow) AT(to) = whole;
      else
        for (int k = 0; x + k < o->f->ow; k++) to[k] = whole[k];
    }
  }
  return some;
}

// Rows from..to of a piece (of outputs) by direct sums: in the transforms inf and nan, and what
// becomes too large, reach all of a tile.
static void redo(const Work *o, const Piece *p, int from, int to) {
  Field_f f = *o->f;
  Target_f t = *o->t;
  Epilogue_f none = {0};
  for (int k = 0; k < 9; k++) f.down[k] += p->y, f.right[k] += p->x;
  f.x += p->image * f.image, t.c += p->image * t.image + p->y * t.row + p->x;
  f.images = p->n, f.oh = p->rows, f.ow = p->columns;
  plan_f(&f, 512, 1 << 30);
  for (int k = 0; k < f.count; k++) {
    Piece part = piece_f(&f, k);
    convolve_piece_f(&f, o->w, &t, &none, &part, from, to);
  }
}

#define FEWEST 24           // channels, on either side, for which the transforms pay
#define FEWEST_WINDOWS 256  // of channels
#define MOST_TILES 128      // of a piece: one channel of them fits room_a
#define DEEP (DEPTH * 8 / 144 - 8)  // channels of u that room_a holds

// m (36 × MR × width) = u v for rows i..
static void multiply_transforms(const Work *o, int i, int rows, int tiles, int width, float *v,
                                float *m) {
  float *u = (float *)room_a;
  int channels = o->f->channels;
  for (int k = 0; k < DEEP; k++) offsets[k] = k * width;
  for (int c = 0; c < channels; c += DEEP) {
    int depth = least_f(DEEP, channels - c), step = blocks_f(depth, 4) * 4;
    int plane = spread(MR * step);
    for (int r = 0; r < rows; r++)
      transform_kernels(o->w, o->turned, i + r, c, depth, u + r * step, plane);
    Tile_f t = {.offset = offsets, .depth = depth, .runs = 1, .c_row = width, .add = c > 0};
    for (int k = 0; k < 36; k++)
      for (int j = 0; j < tiles; j += 8) {
        for (int r = 0; r < rows; r++) t.a[r] = u + k * plane + r * step;
        t.b[0] = v + k * spread(channels * width) + c * width + j, t.c[0] = m + k * MR * width + j;
        t.b[1] = t.b[0] + 4, t.c[1] = t.c[0] + 4;
        tile_f(&t, rows, tiles - j > 4 ? 2 : 1);
      }
  }
}

// 1: the taps are a 3 × 3 kernel, 2: one that is turned, 0: something else
static int dense_3x3(const Field_f *f, const Taps_f *w, int *top, int *left) {
  if (f->taps != 9 || f->sh != 1 || f->sw != 1) return 0;
  int order = f->down[0] > f->down[8] ? 2 : 1;
  *top = f->down[order > 1 ? 8 : 0], *left = f->right[order > 1 ? 8 : 0];
  for (int t = 0; t < 9; t++) {
    int at = order > 1 ? 8 - t : t;
    if (w->tap[t] != t || f->down[at] != *top + t / 3 || f->right[at] != *left + t % 3) return 0;
  }
  return order;
}

// Rows from..to of a piece of `width` tiles; notes which rows have a result that is not finite.
static void multiply_piece(const Work *o, int from, int to, int width, uint8_t *odd) {
  int channels = o->f->channels, panels = blocks_f(to - from, MR);
  float *v = (float *)room_b, *m = v + 36 * spread(width * channels);
  int tiles = o->p->n * o->p->rows * o->p->columns;
  for (int q = 0, i = from; q < panels; q++) {
    int rows = (to - i) / (panels - q);
    multiply_transforms(o, i, rows, tiles, width, v, m);
    for (int r = 0; r < rows; r++)
      for (int k = 0; k < tiles; k += 4)
        odd[i + r - from] |= transform_results(o, i + r, m + r * width + k, MR * width, k);
    i += rows;
  }
}

// Cuts the field into pieces of tiles; gives the room of a piece, in tiles, 0: not for this shape.
static int tiled(const Field_f *whole, Field_f *f, int rows, int top, int left) {
  int channels = whole->channels;
  f->channels = 1, f->taps = 36, f->sh = f->sw = 4;
  f->oh = blocks_f(whole->oh, 4), f->ow = blocks_f(whole->ow, 4);
  for (int k = 0; k < 36; k++) f->down[k] = top + k / 6, f->right[k] = left + k % 6;
  int tiles = f->images * f->oh * f->ow, width = (ROOM / 144 - 32) / (channels + MR) / 4 * 4;
  width = least_f(width, MOST_TILES);
  int most = f->ow % 4 ? width - 3 : width;  // the last vector of a row writes three more
  int pays = channels >= FEWEST && rows >= FEWEST && tiles * channels >= FEWEST_WINDOWS;
  return pays && tiles >= 4 && most >= 4 && plan_f(f, most, most) ? width : 0;
}

int winograd(const Field_f *whole, const Taps_f *kernels, const Target_f *t, const Epilogue_f *e,
             int part, int parts) {
  int top, left, order = dense_3x3(whole, kernels, &top, &left);
  if (!order) return 0;
  Field_f f = *whole;
  int width = tiled(whole, &f, kernels->rows, top, left);
  if (!width) return 0;
  // Every slice of a piece transforms its windows anew: as few as occupy the threads.
  if (parts > 1) parts = most_f(2, parts / PER_THREAD);
  if (part >= parts) return 1;
  int slices = f.count % parts == 0 || f.count >= 4 * parts ? 1 : blocks_f(parts, f.count);
  int units = f.count * slices;
  int end = share_f(units, 1, part + 1, parts);
  for (int unit = share_f(units, 1, part, parts); unit < end; unit++) {
    Piece p = piece_f(&f, unit / slices);
    int from = share_f(kernels->rows, MR, unit % slices, slices);
    int to = share_f(kernels->rows, MR, unit % slices + 1, slices);
    runs_f(&f, &p, t, 1, 4, 0);
    transform_windows(&f, &p, whole->channels, width, (float *)room_b);
    Work work = {whole, kernels, t, &p, order > 1};
    uint8_t odd[to - from + 1];
    __builtin_memset(odd, 0, (unsigned)(to - from + 1));
    multiply_piece(&work, from, to, width, odd);
    p.y *= 4, p.x *= 4;
    p.rows = least_f(p.rows * 4, whole->oh - p.y);
    p.columns = least_f(p.columns * 4, whole->ow - p.x);
    for (int i = from, end; i < to; i = end + 1) {  // runs of odd rows
      for (end = i; odd[end - from];) end++;
      if (end > i) redo(&work, &p, i, end);
    }
    finish_piece_f(e, t, &p, whole->ow, from, to);
  }
  return 1;
}
