// scan_f, _d, _i, _l: running sum, product, maximum or minimum along the last axis.
//
// buffers: x, out. words: rows, n, op (0 sum, 1 prod, 2 max, 3 min).
// Sums and products of floats run in double, as PyTorch's do on the CPU. A share is some of the rows. Bound
// by the latency of one addition (four cycles) per four elements of four rows.
#include "math.h"
#include "simd.h"

#define RUN(T, A, start, next)                                                                \
  for (; r + 4 <= end; r += 4) { /* four rows at once: their additions overlap */             \
    A total[4];                                                                               \
    for (int k = 0; k < 4; k++) { const T *row = x + (r + k) * n; (void)row; total[k] = start; } \
    for (int i = 0; i < n; i++)                                                               \
      for (int k = 0; k < 4; k++) {                                                           \
        A was = total[k];                                                                     \
        T at = x[(r + k) * n + i];                                                            \
        out[(r + k) * n + i] = (T)(total[k] = next);                                          \
      }                                                                                       \
  }                                                                                           \
  for (; r < end; r++) {                                                                      \
    const T *row = x + r * n;                                                                 \
    A was = start;                                                                            \
    (void)row;                                                                                \
    for (int i = 0; i < n; i++) {                                                             \
      T at = x[r * n + i];                                                                    \
      out[r * n + i] = (T)(was = next);                                                       \
    }                                                                                         \
  }
#define SCAN(t, T, A)                                         \
  KERNEL(scan_##t) {                                          \
    const T *x = (const T *)buffers[0];                       \
    T *out = (T *)buffers[1];                                 \
    int n = words[1], r = (int)((int64_t)words[0] * part / parts);     \
    int end = (int)((int64_t)words[0] * (part + 1) / parts);  \
    switch (words[2]) {                                       \
      case 0: RUN(T, A, 0, was + at); break;                  \
      case 1: RUN(T, A, 1, was * at); break;                  \
      case 2: RUN(T, T, row[0], max_##t(was, at)); break;     \
      case 3: RUN(T, T, row[0], min_##t(was, at)); break;     \
    }                                                         \
  }
SCAN(f, float, double)
SCAN(d, double, double)
SCAN(i, int32_t, int32_t)
SCAN(l, int64_t, int64_t)
