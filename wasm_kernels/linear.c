// linear: out = x wᵀ for few rows of x; weights of 16, 8 or 4 bits become floats in registers.
//
// buffers: x (m, k), w (n, k), out (m, n), and for integers scale (n, k / group).
// words: m, n, k, kind, group; k and group are multiples of 32. Of 16 bytes of int4 the lower halves
// come first. Shares are of rows of w. Reading w bounds one row of x, decoding it a few.
#include "gemm.h"
#include "math.h"

enum { HALF, BFLOAT, BYTE, NIBBLE };
#define UNIT 32  // weights decoded in a turn
#define ROWS 4   // rows of x that share what was decoded

// Four of the weights at w, from number 4 q on; an int4 is 16 times too large, a half 2^112 times
// too small (what is no number then is one).
INLINED v128_t decoded(int kind, const uint8_t *w, int q, v128_t mask) {
  if (kind == BFLOAT) return wasm_i32x4_shl(wasm_u32x4_load16x4(w + 8 * q), 16);
  if (kind == HALF)
    return wasm_v128_and(wasm_i32x4_shl(wasm_i32x4_load16x4(w + 8 * q), 13), mask);
  v128_t two;  // times four weights of 16 bits
  if (kind == BYTE) two = wasm_i16x8_load8x8(w + q / 2 * 8);
  else {
    v128_t all = LOADV(w);
    all = wasm_v128_and(q < 4 ? wasm_i16x8_shl(all, 4) : all, mask);
    two = q & 2 ? wasm_i16x8_extend_high_i8x16(all) : wasm_i16x8_extend_low_i8x16(all);
  }
  v128_t four = q & 1 ? wasm_i32x4_extend_high_i16x8(two) : wasm_i32x4_extend_low_i16x8(two);
  return wasm_f32x4_convert_i32x4(four);
}

typedef struct {
  const float *x, *scale;
  const uint8_t *w;
  float *out;
  int m, n, k, group, bytes;  // bytes: of a row of w
} Lines;

// The products of two rows of w, `apart` from each other, with `rows` rows of x, of which `count`
// are there. One row of x has four sums and two have two, where others have one: each waits for its
// last addition.
INLINED void dots(const Lines *l, int kind, int apart, int rows, int count) {
  int groups = l->k / l->group, sums = ROWS / rows;
  const float *x[ROWS];
  const uint8_t *w[2];
  v128_t total[ROWS][2], s[ROWS][2];
  v128_t unit = wasm_f32x4_splat(kind == HALF ? 0x1p112f : 0x1p-4f);
  v128_t mask = wasm_i32x4_splat((int)(kind == HALF ? 0x8fffe000 : 0xf0f0f0f0));
  __asm__ volatile("" : "+r"(unit), "+r"(mask));  // V8 would build constants at each use
  UNROLL_FULLY for (int c = 0; c < 2; c++) w[c] = l->w + c * apart * l->bytes;
  UNROLL_FULLY for (int r = 0; r < rows; r++) {
    x[r] = l->x + (r < count ? r : 0) * l->k;
    UNROLL_FULLY for (int c = 0; c < 2; c++) total[r][c] = ZEROV;
  }
  for (int g = 0; g < groups; g++) {
    UNROLL_FULLY for (int r = 0; r < ROWS; r++)
      UNROLL_FULLY for (int c = 0; c < 2; c++) s[r][c] = ZEROV;
    for (int i = 0; i < l->group; i += UNIT) {
      UNROLL_FULLY for (int q = 0; q < UNIT / 4; q++) {
        v128_t v[2];
        UNROLL_FULLY for (int c = 0; c < 2; c++) {
          v[c] = decoded(kind, w[c], q, mask);
          if (kind == HALF) v[c] = wasm_f32x4_mul(v[c], unit);
        }
        UNROLL_FULLY for (int r = 0; r < rows; r++) {
          v128_t y = LOADV(x[r] + 4 * q), *to = s[r + q % sums * rows];
          UNROLL_FULLY for (int c = 0; c < 2; c++) to[c] = MADD(y, v[c], to[c]);
        }
      }
      UNROLL_FULLY for (int r = 0; r < rows; r++) x[r] += UNIT;
      UNROLL_FULLY for (int c = 0; c < 2; c++)
        w[c] += kind < BYTE ? 2 * UNIT : kind == BYTE ? UNIT : UNIT / 2;
    }
    UNROLL_FULLY for (int c = 0; c < 2; c++) {
      if (sums > 1)
        UNROLL_FULLY for (int r = 0; r < 2; r++) s[r][c] = ADDV(s[r][c], s[r + 2][c]);
      if (sums > 2) s[0][c] = ADDV(s[0][c], s[1][c]);
      v128_t by = kind < BYTE ? ZEROV : SPLAT(l->scale + c * apart * groups + g);
      if (kind == NIBBLE) by = wasm_f32x4_mul(by, unit);
      UNROLL_FULLY for (int r = 0; r < rows; r++)
        total[r][c] = kind < BYTE ? s[r][c] : MADD(s[r][c], by, total[r][c]);
    }
  }
  float lanes[ROWS][2][4];
  UNROLL_FULLY for (int r = 0; r < rows; r++)
    UNROLL_FULLY for (int c = 0; c < 2; c++) STOREV(lanes[r][c], total[r][c]);
  SHORT for (int r = 0; r < count; r++)
    SHORT for (int c = 0; c < (apart ? 2 : 1); c++) {
      const float *v = lanes[r][c];
      l->out[r * l->n + c * apart] = (v[0] + v[1]) + (v[2] + v[3]);
    }
}

#define KIND(kind)                                  \
  case kind:                                        \
    if (count > 2) dots(l, kind, apart, 4, count);  \
    else if (count > 1) dots(l, kind, apart, 2, 2); \
    else dots(l, kind, apart, 1, 1);                \
    break

static void some(const Lines *l, int kind, int apart, int count) {
  switch (kind) {
    KIND(HALF);
    KIND(BFLOAT);
    KIND(BYTE);
    KIND(NIBBLE);
  }
}

// Is a weight infinite or not a number?
static int unusual(const uint8_t *w, int k) {
  v128_t above = wasm_i16x8_splat(0), below = above;
  for (int i = 0; i < k; i += 8) {
    v128_t h = LOADV(w + 2 * i);
    above = wasm_i16x8_max(above, h), below = wasm_u16x8_max(below, h);
  }
  above = wasm_i16x8_ge(above, wasm_i16x8_splat(0x7c00));
  below = wasm_u16x8_ge(below, wasm_u16x8_splat(0xfc00));
  return wasm_v128_any_true(wasm_v128_or(above, below));
}

static void slow_half(const Lines *l) {
  for (int r = 0; r < l->m; r++) {
    float sum = 0;
    for (int i = 0; i < l->k; i++)
      sum += l->x[r * l->k + i] * float_of_half(((const uint16_t *)l->w)[i]);
    l->out[r * l->n] = sum;
  }
}

// All rows of x with rows j and j + apart of w, or only row j.
static void rows_of_w(Lines l, int kind, int j, int apart) {
  l.w += (int64_t)j * l.bytes, l.out += j;
  if (kind >= BYTE) l.scale += j * (l.k / l.group);
  int slow = kind == HALF && unusual(l.w, l.k);
  if (apart && kind == HALF && (slow || unusual(l.w + apart * l.bytes, l.k))) {
    rows_of_w(l, kind, 0, 0);
    rows_of_w(l, kind, apart, 0);
  } else if (slow) {
    slow_half(&l);
  } else
    for (; l.m > 0; l.m -= ROWS, l.x += ROWS * l.k, l.out += ROWS * l.n)
      some(&l, kind, apart, least_f(ROWS, l.m));
}

KERNEL(linear) {
  int m = words[0], n = words[1], k = words[2], kind = words[3], group = words[4];
  int bytes = kind < BYTE ? 2 * k : kind == BYTE ? k : k / 2;
  const float *x = (const float *)buffers[0], *scale = kind < BYTE ? 0 : (const float *)buffers[3];
  Lines l = {x, scale, buffers[1], (float *)buffers[2], m, n, k, group, bytes};
  int j = share_f(n, 4, part, parts), end = share_f(n, 4, part + 1, parts);
  int half = (end - j + 1) / 2;  // far rows of w: matmul.c says why
  for (int i = 0; i < half; i++) rows_of_w(l, kind, j + i, j + i + half < end ? half : 0);
}
