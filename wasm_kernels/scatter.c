// scatter: out[index[j]] op= value[j] for j in order, so that the last of equal indices is kept by
// "set". copy: bytes.
//
// scatter_f, _d, _i, _l: buffers out, index (int32), value; words: n (of out), m, op
// (0 add, 1 prod, 2 max, 3 min). scatter_set: words n, m, bytes per element (1, 2, 4, 8).
// copy: buffers src, dst; words: bytes. An index outside of out is left out. Bound by memory
// latency.
#include "math.h"
#include "simd.h"

#define EACH(T, e)                                            \
  for (int j = 0; j < words[1]; j++)                          \
    if ((unsigned)index[j] < (unsigned)words[0]) {            \
      T *to = out + index[j], x = value[j];                   \
      *to = e;                                                \
    }
#define SCATTER(t, T)                                         \
  KERNEL(scatter_##t) {                                       \
    WHOLE_ONLY;                                               \
    T *out = (T *)buffers[0];                                 \
    const int32_t *index = (const int32_t *)buffers[1];       \
    const T *value = (const T *)buffers[2];                   \
    switch (words[2]) {                                       \
      case 0: EACH(T, *to + x) break;                         \
      case 1: EACH(T, *to * x) break;                         \
      case 2: EACH(T, max_##t(*to, x)) break;                 \
      case 3: EACH(T, min_##t(*to, x)) break;                 \
    }                                                         \
  }
SCATTER(f, float)
SCATTER(d, double)
SCATTER(i, int32_t)
SCATTER(l, int64_t)

#define SET(T)                                                \
  {                                                           \
    T *out = (T *)buffers[0];                                 \
    const T *value = (const T *)buffers[2];                   \
    EACH(T, x)                                                \
  }
KERNEL(scatter_set) {
  WHOLE_ONLY;
  const int32_t *index = (const int32_t *)buffers[1];
  switch (words[2]) {
    case 1: SET(uint8_t) break;
    case 2: SET(uint16_t) break;
    case 4: SET(uint32_t) break;
    case 8: SET(uint64_t) break;
  }
}

KERNEL(copy) {
  unsigned bytes = (unsigned)words[0], step = (bytes / (unsigned)parts + 64) & ~63u;
  unsigned from = (unsigned)part * step;
  if (from >= bytes) return;
  __builtin_memmove(buffers[1] + from, buffers[0] + from, bytes - from < step ? bytes - from : step);
}
