// attention_f: out = softmax(scale q kᵀ + mask) v for each head; no score outlives its block.
//
// buffers: q (…, T, D), k (…, S, D), v (…, S, E), out (…, T, E), contiguous (, mask (…, T, S)).
// words: T, S, D, E (both at most MOST), scale as a float, causal (query i sees keys up to i), kind
// of mask (0 none, 1 floats that are added, 2 bools: what may be seen); offset and row stride of q,
// k, v and mask, whose columns are neighbours; number of batch dimensions, then per dimension
// (outermost first): size, strides of q, k, v, mask.
//
// A head's keys and values are packed as b of a product is, as many as the room holds; panels of MR
// queries meet them in blocks of KEYS: a product gives the scores, `weigh` makes them weights
// relative to the largest score so far, a product adds the weighted values to the sums. A unit of
// work is the ROWS queries whose sums are kept. MR queries or fewer pack nothing. Bound by
// multiply-adds: D + E of them for four scores, beside which an exponential takes some 15
// instructions.
//
// A row whose scores are all -inf gives zeros, as PyTorch's does.
#include "attention.h"

#define KEYS 256  // a panel's scores stay in the L1 cache
#define MOST 512
#define ROWS (15 * MR)

typedef struct {
  float q[MR * MOST], scores[MR * KEYS], sums[ROWS * MOST], most[ROWS], total[ROWS];
} Room;
_Static_assert(sizeof(Room) <= sizeof room_a, "a unit's rows have to fit");
#define room ((Room *)room_a)

// A row's `n` scores become weights; its sums so far are scaled to the largest score by now.
static void weigh(const Head *h, float *s, int at, int n) {
  float before = room->most[at], most = before;
  F4 *v = (F4 *)s, *sums = (F4 *)(room->sums + at * h->wide), total = K4(0);
  F4 top[4] = {K4(before), K4(before), K4(before), K4(before)};  // four: a maximum takes 4 cycles
  int end = blocks_f(n, 4);
  for (int j = 0; j < end; j += 4)
    UNROLL_FULLY for (int q = 0; q < 4; q++)
      top[q] = (F4)wasm_f32x4_pmax((v128_t)top[q], (v128_t)v[j + q]);
  for (int q = 1; q < 4; q++) top[0] = (F4)wasm_f32x4_pmax((v128_t)top[0], (v128_t)top[q]);
  for (int q = 0; q < 4; q++) most = top[0][q] > most ? top[0][q] : most;
  F4 base = K4(most == -INFINITY ? 0 : most);
  for (int j = 0; j < end; j += 4) total += exp_below_16(v + j, v + j, base);
  F4 shrink = exp_below_4(K4(before) - base);
  room->most[at] = most;
  room->total[at] = room->total[at] * shrink[0] + (total[0] + total[1] + (total[2] + total[3]));
  if (shrink[0] != 1)
    for (int j = 0; j < h->wide / 4; j++) sums[j] *= shrink;
}

// Two products of a panel with keys that are packed: `keys` in panels of their depth, `values` in
// panels of `stride`, both from the first of this block.
static void packed_block(const Head *h, const float *keys, const float *values, int stride, int at,
                         int row, int rows, int key, int n) {
  Tile_f t = {.offset = offsets, .depth = h->depth, .runs = 1, .c_row = KEYS};
  for (int r = 0; r < rows; r++) t.a[r] = room->q + r * MOST;
  for (int j = 0; j < n; j += NR) {
    t.b[0] = keys + j * h->depth, t.c[0] = room->scores + j;
    t.b[1] = t.b[0] + WIDTH, t.c[1] = t.c[0] + WIDTH;
    tile_f(&t, rows, 2);
  }
  for (int r = 0; r < rows; r++) {
    t.a[r] = room->scores + r * KEYS;
    hide(h, room->scores + r * KEYS, row + r, key, n);
    weigh(h, room->scores + r * KEYS, at + r, n);
  }
  t.depth = n, t.c_row = h->wide, t.add = 1;
  for (int j = 0; j < h->width; j += NR) {
    t.b[0] = values + j * stride, t.c[0] = room->sums + at * h->wide + j;
    t.b[1] = t.b[0] + WIDTH, t.c[1] = t.c[0] + WIDTH;
    tile_f(&t, rows, 2);
  }
}

// The same where they lie.
static void plain_block(const Head *h, int row, int rows, int key, int n) {
  static const Epilogue_f none;
  const float *k = h->k + key * h->k_row, *v = h->v + key * h->v_row;
  float *more = room->sums + MR * MOST, *sums = room->sums;
  product_f((Gemm_f){rows, n, h->depth, room->q, MOST, 1, k, 1, h->k_row, room->scores, KEYS, 1},
            &none, 0, 1);
  for (int r = 0; r < rows; r++) {
    hide(h, room->scores + r * KEYS, row + r, key, n);
    weigh(h, room->scores + r * KEYS, r, n);
  }
  product_f((Gemm_f){rows, h->width, n, room->scores, KEYS, 1, v, h->v_row, 1, more, h->wide, 1},
            &none, 0, 1);
  for (int j = 0; j < rows * h->wide; j++) sums[j] += more[j];
}

// Keys and values from `key` on, `n` of them with room for `stride`.
static void pack(const Head *h, float *keys, float *values, int stride, int key, int n) {
  Gemm_f k = {.n = n, .b = h->k + key * h->k_row, .b_row = 1, .b_column = h->k_row};
  Gemm_f v = {.n = h->width, .b = h->v + key * h->v_row, .b_row = h->v_row, .b_column = 1};
  for (int j = 0; j < n; j += NR) pack_panel_f(&k, keys + j * h->depth, j, 0, h->depth);
  for (int j = 0; j < h->width; j += NR) pack_panel_f(&v, values + j * stride, j, 0, n);
}

// Queries row.. of a head against `n` keys; stride 0: nothing is packed.
static void panel(const Head *h, int stride, int at, int row, int rows, int key, int n) {
  for (int r = 0; r < rows; r++)
    for (int d = 0; d < h->depth; d++)
      room->q[r * MOST + d] = h->q[(row + r) * h->q_row + d] * h->scale;
  if (h->causal) n = least_f(n, row + rows - key);
  for (int j = 0; j < n; j += KEYS) {
    int count = least_f(KEYS, n - j);
    float *keys = (float *)room_b, *values = keys + stride * h->depth;
    if (!stride) plain_block(h, row, rows, key + j, count);
    else
      packed_block(h, keys + j * h->depth, values + j * NR, stride, at, row, rows, key + j, count);
  }
}

// Queries row.. of a head; `packed` says whether all its keys are packed already.
static void unit(const Head *h, float *out, int row, int rows, int packed) {
  int room_for = (int)(ROOM / sizeof(float)) / (h->depth + h->wide) / NR * NR;
  int stride = least_f(room_for, blocks_f(h->keys, NR) * NR), panels = blocks_f(rows, MR);
  int keys = h->causal && stride < h->keys ? least_f(h->keys, row + rows) : h->keys;
  if (h->queries <= MR) stride = 0;
  for (int i = 0; i < rows; i++) room->most[i] = -INFINITY, room->total[i] = 0;
  for (int i = 0; i < rows * h->wide; i++) room->sums[i] = 0;
  for (int key = 0; key < keys; key += stride ? stride : keys) {
    int n = stride ? least_f(stride, keys - key) : keys;
    if (stride && !(packed && stride >= h->keys))
      pack(h, (float *)room_b, (float *)room_b + stride * h->depth, stride, key, n);
    for (int p = 0, i = 0; p < panels; p++) {
      int count = (rows - i) / (panels - p);
      panel(h, stride, i, row + i, count, key, n);
      i += count;
    }
  }
  for (int i = 0; i < rows; i++) {
    float over = room->total[i] == 0 ? 0 : 1 / room->total[i];
    for (int j = 0; j < h->width; j++)
      out[(row + i) * h->width + j] = room->sums[i * h->wide + j] * over;
  }
}

KERNEL(attention_f) {
  Head h = head(words);
  int t = h.queries, e = h.width, units = blocks_f(t, ROWS), heads = heads_of(words, 4);
  for (int d = 0; d < MOST; d++) offsets[d] = d * NR;
  int u = share_f(heads * units, 1, part, parts), end = share_f(heads * units, 1, part + 1, parts);
  for (const float *packed = 0, *values = 0; u < end; u++, packed = h.k, values = h.v) {
    int row = u % units * ROWS;
    read_head(&h, words, 4, u / units, buffers);
    int same = packed == h.k && values == h.v;
    unit(&h, (float *)buffers[3] + u / units * t * e, row, least_f(ROWS, t - row), same);
  }
}
