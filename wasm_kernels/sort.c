// sort_i, sort_l: the stable permutation (int32) that sorts each row of int32 or int64 keys.
//
// buffers: keys, out. words: rows, n, first: how many of a row are wanted; the rest of out is
// undefined. A share is some of the rows.
// A few of many are chosen in one pass: what is below the best bound so far is a candidate; when
// the room for candidates is full, they are sorted, the first stay, and the bound comes down. The
// room is small, since sorting what is in it costs more than the pass.
// Pieces of up to 65536 keys are sorted by byte-wise radix passes in static memory (a pass in which
// all keys share the byte is left out); longer rows are then merged, by index, through the same
// memory, or by rotation where a piece is too long even for that. Bound by the scattered writes of
// the passes (some 2 ns per key and pass) and by scattered reads of keys in the merges.
#include "simd.h"

#define PIECE 65536
#define ROOM (PIECE * 4)  // indices that the static memory holds when it serves a merge

#define CANDIDATES 4096

static _Thread_local _Alignas(16) uint64_t keys_a[2 * PIECE];
static _Thread_local int32_t index_b[PIECE];
static _Thread_local uint64_t candidates[CANDIDATES];
static _Thread_local int32_t places[CANDIDATES];
#define keys_b (keys_a + PIECE)
#define room ((int32_t *)keys_a)

// Sorts n keys with sign bit flipped; `index` goes along. The result is in keys_a and index.
static void radix(int32_t *index, int n, int bytes) {
  uint64_t *from = keys_a, *to = keys_b;
  int32_t *index_from = index, *index_to = index_b;
  for (int shift = 0; shift < 8 * bytes; shift += 8) {
    int32_t starts[256] = {0}, sum = 0;
    for (int i = 0; i < n; i++) starts[from[i] >> shift & 255]++;
    if (starts[from[0] >> shift & 255] == n) continue;
    for (int d = 0; d < 256; d++) {
      int32_t count = starts[d];
      starts[d] = sum;
      sum += count;
    }
    for (int i = 0; i < n; i++) {
      int32_t at = starts[from[i] >> shift & 255]++;
      to[at] = from[i];
      index_to[at] = index_from[i];
    }
    uint64_t *keys = from;
    from = to, to = keys;
    int32_t *other = index_from;
    index_from = index_to, index_to = other;
  }
  if (index_from != index) __builtin_memcpy(index, index_from, (unsigned)n * 4);
}

static void reverse(int32_t *x, int n) {
  for (int i = 0, j = n - 1; i < j; i++, j--) {
    int32_t t = x[i];
    x[i] = x[j], x[j] = t;
  }
}

static void rotate(int32_t *x, int middle, int n) {  // brings x[middle..n) to the front
  reverse(x, middle);
  reverse(x + middle, n - middle);
  reverse(x, n);
}

#define INSERTION 24

#define SORT(t, T, U, V, FLIP)                                                                 \
  static void insertion_##t(const T *keys, int32_t *out, int start, int n) {                   \
    for (int i = 0; i < n; i++) {                                                              \
      int at = i;                                                                              \
      T key = keys[start + i];                                                                 \
      for (; at > 0 && keys[out[at - 1]] > key; at--) out[at] = out[at - 1];                   \
      out[at] = start + i;                                                                     \
    }                                                                                          \
  }                                                                                            \
  static void piece_##t(const T *keys, int32_t *out, int start, int n) {                       \
    if (n <= INSERTION) {                                                                      \
      insertion_##t(keys, out, start, n);                                                      \
      return;                                                                                  \
    }                                                                                          \
    for (int i = 0; i < n; i++) {                                                              \
      keys_a[i] = (U)keys[start + i] ^ FLIP;                                                   \
      out[i] = start + i;                                                                      \
    }                                                                                          \
    radix(out, n, sizeof(T));                                                                  \
  }                                                                                            \
  static void merge_##t(const T *keys, int32_t *out, int middle, int n) { /* middle <= room */ \
    __builtin_memcpy(room, out, (unsigned)middle * 4);                                         \
    int a = 0, b = middle, to = 0;                                                             \
    while (a < middle && b < n) out[to++] = keys[out[b]] < keys[room[a]] ? out[b++] : room[a++]; \
    while (a < middle) out[to++] = room[a++];                                                  \
  }                                                                                            \
  static int before_##t(const T *keys, const int32_t *run, int n, T key) {                     \
    int low = 0, high = n; /* how many of a run are less than a key */                         \
    while (low < high) {                                                                       \
      int middle = (low + high) / 2;                                                           \
      if (keys[run[middle]] < key) low = middle + 1;                                           \
      else high = middle;                                                                      \
    }                                                                                          \
    return low;                                                                                \
  }                                                                                            \
  static void join_##t(const T *keys, int32_t *out, int middle, int n) {                       \
    if (middle == 0 || middle == n || keys[out[middle - 1]] <= keys[out[middle]]) return;      \
    if (middle <= ROOM) {                                                                 \
      merge_##t(keys, out, middle, n);                                                         \
      return;                                                                                  \
    }                                                                                          \
    int left = middle / 2; /* split both runs at one key, rotate, and join the halves */       \
    int right = before_##t(keys, out + middle, n - middle, keys[out[left]]);                   \
    rotate(out + left, middle - left, middle - left + right);                                  \
    join_##t(keys, out, left, left + right);                                                   \
    join_##t(keys, out + left + right, middle - left, n - left - right);                       \
  }                                                                                            \
  static int prune_##t(const T *keys, int32_t *out, int n, int first) {                        \
    T *own = (T *)candidates;                                                                  \
    for (int i = 0; i < n; i++) own[i] = keys[out[i]];                                         \
    piece_##t(own, places, 0, n);                                                              \
    if (first > n) first = n;                                                                  \
    for (int i = 0; i < first; i++) places[i] = out[places[i]];                                \
    __builtin_memcpy(out, places, (unsigned)first * 4);                                        \
    return first;                                                                              \
  }                                                                                            \
  static void choose_##t(const T *keys, int32_t *out, int n, int first) {                      \
    int have = 0, bounded = 0, most = 4 * first;                                               \
    most = most < 192 ? 192 : most > CANDIDATES ? CANDIDATES : most;                           \
    T bound = 0;                                                                               \
    for (int i = 0; i < n; i += 16) {                                                          \
      if (bounded && i + 16 <= n) {                                                            \
        v128_t any = wasm_i32x4_splat(0);                                                      \
        for (int k = 0; k < 16; k += 16 / (int)sizeof(T))                                                        \
          any = wasm_v128_or(any, wasm_##V##_lt(wasm_v128_load(keys + i + k), wasm_##V##_splat(bound)));           \
        if (!wasm_v128_any_true(any)) continue;                                                \
      }                                                                                        \
      for (int k = i; k < n && k < i + 16; k++)                                                \
        if (!bounded || keys[k] < bound) out[have++] = k;                                      \
      if (have <= most - 16) continue;                                                         \
      have = prune_##t(keys, out, have, first);                                                \
      bounded = 1, bound = keys[out[first - 1]];                                               \
    }                                                                                          \
    prune_##t(keys, out, have, first);                                                         \
  }                                                                                            \
  KERNEL(sort_##t) {                                                                           \
    int n = words[1], first = words[2];                                                        \
    int end = (int)((int64_t)words[0] * (part + 1) / parts);                                   \
    for (int row = (int)((int64_t)words[0] * part / parts); row < end; row++) {                \
      const T *keys = (const T *)buffers[0] + row * n;                                         \
      int32_t *out = (int32_t *)buffers[1] + row * n;                                          \
      if (n > CANDIDATES && first <= CANDIDATES / 4) {                                         \
        choose_##t(keys, out, n, first);                                                       \
        continue;                                                                              \
      }                                                                                        \
      for (int i = 0; i < n; i += PIECE)                                                       \
        piece_##t(keys, out + i, i, n - i < PIECE ? n - i : PIECE);                            \
      for (int width = PIECE; width < n; width *= 2)                                           \
        for (int i = 0; i + width < n; i += 2 * width)                                         \
          join_##t(keys, out + i, width, n - i < 2 * width ? n - i : 2 * width);               \
    }                                                                                          \
  }

SORT(i, int32_t, uint32_t, i32x4, 0x80000000u)
SORT(l, int64_t, uint64_t, i64x2, 0x8000000000000000u)
