// permute: copies one strided view to another of the same shape: transposes, permuted dimensions,
// cat, pad. take_rows: out[r] = a row of `width` elements that begins at source[index[r] + offset].
//
// permute: buffers source, target; words: bytes per element, offset in source, in target, blocked,
// number of dimensions (≥ 1), then (size, source stride, target stride) each, inner first.
// Blocked: dimension 0 runs along the target, dimension 1 along the source. Sixteen by sixteen
// elements go through a small square, so that a cache line of either side is touched once; without
// it, lines a power of two apart would push each other out of the cache. Else dimension 0 is a run
// in both. A share is some of the strips (sixteen of dimension 1) or runs. Up to ACROSS strips go
// together: rows of the source are read far enough for the prefetcher. Bound by memory.
//
// take_rows: buffers index (int32), source, out; words: bytes, rows, width, offset.
#include "simd.h"

#define SIDE 16
#define ACROSS 64  // strips
#define MOST_DIMS 32

typedef struct {
  int dims, from, to, step[2 * MOST_DIMS], at[MOST_DIMS], size[MOST_DIMS];
} Odometer;

static Odometer start(const int32_t *words, int first, int unit) {
  Odometer o = {.dims = words[4] - first, .from = words[1], .to = words[2]};
  for (int d = 0; d < o.dims; d++) {
    const int32_t *dim = words + 5 + 3 * (d + first);
    o.size[d] = dim[0];
    o.at[d] = unit % dim[0];
    unit /= dim[0];
    o.from += o.at[d] * (o.step[2 * d] = dim[1]);
    o.to += o.at[d] * (o.step[2 * d + 1] = dim[2]);
  }
  return o;
}

static void advance(Odometer *o) {
  for (int d = 0; d < o->dims; d++) {
    o->from += o->step[2 * d], o->to += o->step[2 * d + 1];
    if (++o->at[d] < o->size[d]) return;
    o->from -= o->size[d] * o->step[2 * d], o->to -= o->size[d] * o->step[2 * d + 1];
    o->at[d] = 0;
  }
}

static void turn4(float *to, int to_step, const float *from, int from_step) {  // 4 × 4
  v128_t a = wasm_v128_load(from), b = wasm_v128_load(from + from_step);
  v128_t c = wasm_v128_load(from + 2 * from_step), d = wasm_v128_load(from + 3 * from_step);
  v128_t ab = wasm_i32x4_shuffle(a, b, 0, 4, 1, 5), cd = wasm_i32x4_shuffle(c, d, 0, 4, 1, 5);
  wasm_v128_store(to, wasm_i64x2_shuffle(ab, cd, 0, 2));
  wasm_v128_store(to + to_step, wasm_i64x2_shuffle(ab, cd, 1, 3));
  ab = wasm_i32x4_shuffle(a, b, 2, 6, 3, 7), cd = wasm_i32x4_shuffle(c, d, 2, 6, 3, 7);
  wasm_v128_store(to + 2 * to_step, wasm_i64x2_shuffle(ab, cd, 0, 2));
  wasm_v128_store(to + 3 * to_step, wasm_i64x2_shuffle(ab, cd, 1, 3));
}

static void square(float *to, int to_step, const float *from, int from_step) {
  static _Thread_local _Alignas(64) float room[SIDE * SIDE];
  for (int i = 0; i < SIDE; i += 4)
    for (int j = 0; j < SIDE; j += 4) turn4(room + SIDE * j + i, SIDE, from + i * from_step + j, from_step);
  for (int j = 0; j < SIDE; j++)
    for (int i = 0; i < SIDE; i += 4)
      wasm_v128_store(to + j * to_step + i, wasm_v128_load(room + SIDE * j + i));
}

// n0 elements along the target by n1 along the source, of which sixteen rows are read at a time.
#define STRIP(T)                                                                               \
  static void square_##T(T *to, const T *from, const int32_t *dim, int n0, int n1) {           \
    int f0 = dim[1], t0 = dim[2], f1 = dim[4], t1 = dim[5];                                    \
    if (sizeof(T) == 4 && n0 == SIDE && n1 == SIDE && f1 == 1 && t0 == 1)                      \
      square((float *)to, t1, (const float *)from, f0);                                        \
    else                                                                                       \
      SHORT for (int j = 0; j < n1; j++)                                                       \
        SHORT for (int k = 0; k < n0; k++) to[k * t0 + j * t1] = from[k * f0 + j * f1];        \
  }                                                                                            \
  static void strips_##T(T *to, const T *from, const int32_t *dim, int n1) {                   \
    for (int n0 = dim[0], i = 0; i < n0; i += SIDE)                                            \
      for (int j = 0; j < n1; j += SIDE)                                                       \
        square_##T(to + i * dim[2] + j * dim[5], from + i * dim[1] + j * dim[4], dim,          \
                   n0 - i < SIDE ? n0 - i : SIDE, n1 - j < SIDE ? n1 - j : SIDE);              \
  }                                                                                            \
  static void run_##T(T *to, const T *from, int n, int f0, int t0) {                           \
    if (f0 == 1 && t0 == 1) __builtin_memcpy(to, from, (unsigned)n * sizeof(T));               \
    else if (f0 == 2 && t0 == 1) for (int i = 0; i < n; i++) to[i] = from[2 * i];              \
    else SHORT for (int i = 0; i < n; i++) to[i * t0] = from[i * f0];                                \
  }                                                                                            \
  static void permute_##T(const int32_t *words, const T *from, T *to, int part, int parts) {   \
    const int32_t *dim = words + 5;                                                            \
    int blocked = words[3], strips = blocked ? (dim[3] + SIDE - 1) / SIDE : 1;                 \
    int64_t outer = 1;                                                                         \
    for (int d = 1 + blocked; d < words[4]; d++) outer *= dim[3 * d];                          \
    int64_t first = outer * strips * part / parts, end = outer * strips * (part + 1) / parts;  \
    Odometer o = start(words, 1 + blocked, (int)(first / strips));                             \
    for (int64_t unit = first, next; unit < end; unit = next) {                                \
      int strip = (int)(unit % strips), left = strips - strip;                                 \
      if (left > ACROSS) left = ACROSS;                                                        \
      if (left > end - unit) left = (int)(end - unit);                                         \
      int at = strip * SIDE, n1 = left * SIDE;                                                 \
      if (!blocked) run_##T(to + o.to, from + o.from, dim[0], dim[1], dim[2]);                 \
      else strips_##T(to + o.to + at * dim[5], from + o.from + at * dim[4], dim,               \
                      n1 < dim[3] - at ? n1 : dim[3] - at);                                    \
      if (strip + left == strips) advance(&o);                                                 \
      next = unit + left;                                                                      \
    }                                                                                          \
  }
STRIP(uint8_t)
STRIP(uint16_t)
STRIP(uint32_t)
STRIP(uint64_t)

KERNEL(permute) {
  const void *from = buffers[0];
  void *to = buffers[1];
  switch (words[0]) {
    case 1: permute_uint8_t(words, from, to, part, parts); break;
    case 2: permute_uint16_t(words, from, to, part, parts); break;
    case 4: permute_uint32_t(words, from, to, part, parts); break;
    case 8: permute_uint64_t(words, from, to, part, parts); break;
  }
}

KERNEL(take_rows) {
  int rows = words[1], bytes = words[0] * words[2];
  int first = (int)((int64_t)rows * part / parts), end = (int)((int64_t)rows * (part + 1) / parts);
  const int32_t *index = (const int32_t *)buffers[0];
  for (int r = first; r < end; r++)
    __builtin_memcpy(buffers[2] + (unsigned)r * (unsigned)bytes,
                     buffers[1] + (unsigned)(index[r] + words[3]) * (unsigned)words[0], (unsigned)bytes);
}
