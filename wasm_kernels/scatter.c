// scatter: out[index[j]] op= value[j] for j in order, so that the last of equal indices is kept by
// "set"; out and value are rows. copy: bytes.
//
// scatter_f, _d, _i, _l: buffers out, index (int32), value; words: rows of out, m, elements of a
// row, op (0 add, 1 prod, 2 max, 3 min). scatter_set: bytes of a row, no op.
// copy: buffers src, dst; words: bytes. An index outside of out is left out. A share is some of the
// rows of out, for which it looks through all of the index. Bound by memory, by its latency where
// rows are short.
#include "math.h"
#include "simd.h"

#define BLOCK 1024

// Which of a block of indices may be of `count` rows from `first` on: a list, since a branch for
// each would be foretold wrong as often as shares take turns. A single share lists all, once.
static unsigned chosen(unsigned *list, const int32_t *index, unsigned block, unsigned m,
                       unsigned first, unsigned count, int parts) {
  unsigned k = 0, size = m - block < BLOCK ? m - block : BLOCK;
  if (parts == 1 && block) return size;
  for (unsigned j = 0; j < size; j++) {
    list[k] = j;
    k += (parts == 1) | ((unsigned)index[block + j] - first < count);
  }
  return k;
}

#define COMBINE(T, e)                                                                        \
  if (width == 1) {                                                                          \
    for (unsigned j = 0, r; j < m; j++)                                                      \
      if ((r = (unsigned)index[j] - first) < count) { T *to = out + r, x = value[j]; *to = e; } \
    return;                                                                                  \
  }                                                                                          \
  for (unsigned block = 0; block < m; block += BLOCK) {                                      \
    unsigned most = chosen(list, index, block, m, first, count, parts);                      \
    for (unsigned k = 0; k < most; k++) {                                                    \
      unsigned j = block + list[k], r = (unsigned)index[j] - first;                          \
      if (r >= count) continue;                                                              \
      T *to = out + r * width;                                                               \
      const T *from = value + j * width;                                                     \
      _Pragma("clang loop vectorize(assume_safety) interleave_count(2)")                     \
      for (unsigned i = 0; i < width; i++, to++) { T x = from[i]; *to = e; }                 \
    }                                                                                        \
  }
#define SHARE(T, row)                                                                        \
  const unsigned m = (unsigned)words[1], width = (unsigned)(row);                            \
  const unsigned first = (unsigned)((int64_t)words[0] * part / parts);                       \
  const unsigned count = (unsigned)((int64_t)words[0] * (part + 1) / parts) - first;         \
  T *out = (T *)buffers[0] + first * width;                                                  \
  const T *value = (const T *)buffers[2];                                                    \
  const int32_t *index = (const int32_t *)buffers[1];                                        \
  unsigned list[BLOCK];
#define SCATTER(t, T)                                                                        \
  KERNEL(scatter_##t) {                                                                      \
    SHARE(T, words[2])                                                                       \
    switch (words[3]) {                                                                      \
      case 0: COMBINE(T, *to + x) break;                                                     \
      case 1: COMBINE(T, *to * x) break;                                                     \
      case 2: COMBINE(T, max_##t(*to, x)) break;                                             \
      case 3: COMBINE(T, min_##t(*to, x)) break;                                             \
    }                                                                                        \
  }
SCATTER(f, float)
SCATTER(d, double)
SCATTER(i, int32_t)
SCATTER(l, int64_t)

#define SET(T)                                                                               \
  {                                                                                          \
    SHARE(T, words[2] / (int)sizeof(T))                                                      \
    COMBINE(T, x)                                                                            \
  }
KERNEL(scatter_set) {
  int bytes = words[2];
  if (bytes % 8 == 0) SET(uint64_t)
  else if (bytes % 4 == 0) SET(uint32_t)
  else if (bytes % 2 == 0) SET(uint16_t)
  else SET(uint8_t)
}

KERNEL(copy) {
  unsigned bytes = (unsigned)words[0], step = (bytes / (unsigned)parts + 64) & ~63u;
  unsigned from = (unsigned)part * step;
  if (from >= bytes) return;
  __builtin_memmove(buffers[1] + from, buffers[0] + from, bytes - from < step ? bytes - from : step);
}
