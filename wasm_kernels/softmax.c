// softmax: exp(x - max) / Σ exp(x - max) of rows of contiguous float32.
//
// buffers: x, out. words: rows, n, offset of x, from row to row of x. out is contiguous. Shares are
// of rows. A row is walked three times, out of the L1 cache but for the first: its largest value,
// the exponentials and their sum, the quotients. A row with a nan, or of nothing but -inf, becomes
// nan by itself, so the search for the largest value need not look for one. Bound by the
// exponentials: about 20 operations for four.
#include "math.h"

FN F4 larger(F4 a, F4 b) { return (F4)wasm_f32x4_pmax((v128_t)a, (v128_t)b); }

// The last n < 4 of a row; the rest as if it were -inf.
FN F4 rest(const float *x, int n) {
  F4 v = K4(-INFINITY);
  for (int i = 0; i < n; i++) v[i] = x[i];
  return v;
}

static float largest(const float *x, int n) {
  F4 s[4];
  for (int k = 0; k < 4; k++) s[k] = K4(-INFINITY);
  for (; n >= 16; n -= 16, x += 16)
    for (int k = 0; k < 4; k++) s[k] = larger(s[k], *(const F4 *)(x + 4 * k));
  for (; n >= 4; n -= 4, x += 4) s[0] = larger(s[0], *(const F4 *)x);
  s[0] = larger(larger(larger(s[0], rest(x, n)), s[1]), larger(s[2], s[3]));
  float most = s[0][0];
  for (int i = 1; i < 4; i++) most = s[0][i] > most ? s[0][i] : most;
  return most;
}

// out = exp(x - most); gives their sum.
static float exponentials(float *out, const float *x, int n, F4 most) {
  F4 s = K4(0);
  for (; n >= 16; n -= 16, x += 16, out += 16) s += exp_below_16((F4 *)out, (const F4 *)x, most);
  for (F4 y; n > 0; n -= 4, x += 4, out += 4) {
    y = exp_below_4((n < 4 ? rest(x, n) : *(const F4 *)x) - most);
    s += y;
    for (int i = 0; i < 4 && i < n; i++) out[i] = y[i];
  }
  return s[0] + s[1] + (s[2] + s[3]);
}

static void scaled(float *out, int n, float factor) {
  F4 f = K4(factor);
  for (; n >= 8; n -= 8, out += 8)
    for (int k = 0; k < 2; k++) *(F4 *)(out + 4 * k) *= f;
  for (int i = 0; i < n; i++) out[i] *= factor;
}

KERNEL(softmax) {
  int n = words[1], end = (int)((int64_t)words[0] * (part + 1) / parts);
  for (int row = (int)((int64_t)words[0] * part / parts); row < end; row++) {
    const float *x = (const float *)buffers[0] + words[2] + row * words[3];
    float *out = (float *)buffers[1] + row * n;
    scaled(out, n, 1 / exponentials(out, x, n, K4(largest(x, n))));
  }
}
