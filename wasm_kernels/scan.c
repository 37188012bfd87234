// scan_f, _d, _i, _l: running sum, product, maximum or minimum along the last axis.
//
// buffers: x, out. words: rows, n, op (0 sum, 1 prod, 2 max, 3 min).
// Sums and products of floats run in double, as PyTorch's do on the CPU. Bound by the latency of
// one addition per element (four cycles).
#include "math.h"
#include "simd.h"

#define RUN(T, A, start, next)                                \
  for (int r = 0; r < words[0]; r++, x += n, out += n) {      \
    A total = start;                                          \
    for (int i = 0; i < n; i++) out[i] = (T)(total = next);   \
  }
#define SCAN(t, T, A)                                         \
  KERNEL(scan_##t) {                                          \
    WHOLE_ONLY;                                               \
    const T *x = (const T *)buffers[0];                       \
    T *out = (T *)buffers[1];                                 \
    int n = words[1];                                         \
    switch (words[2]) {                                       \
      case 0: RUN(T, A, 0, total + x[i]); break;              \
      case 1: RUN(T, A, 1, total * x[i]); break;              \
      case 2: RUN(T, T, x[0], max_##t(total, x[i])); break;   \
      case 3: RUN(T, T, x[0], min_##t(total, x[i])); break;   \
    }                                                         \
  }
SCAN(f, float, double)
SCAN(d, double, double)
SCAN(i, int32_t, int32_t)
SCAN(l, int64_t, int64_t)
