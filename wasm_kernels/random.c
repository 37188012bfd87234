// mt19937 with PyTorch's CPU samplers: a seed gives the numbers that torch.manual_seed gives.
//
// Called directly, not from plans. `state` is 2512 bytes of the caller's, 8-byte aligned, laid out
// as Mt19937 below; `mt_seed` fills it. `out` is written with n samples.
//
//   mt_seed(state, seed)                           seed: the lower 32 bits of PyTorch's
//   mt_uniform_f(state, out, n, from, to)          float32 (narrow floats are rounded from it)
//   mt_uniform_d(state, out, n, from, to)          float64
//   mt_normal_f(state, out, n, mean, std)          float32
//   mt_normal_d(state, out, n, mean, std)          float64
//   mt_exponential_f, _d(state, out, n, rate)
//   mt_randint(state, out, n, low, low_hi, span, span_hi)   int64 in [low, low + span); 64-bit
//                                                  numbers come as two halves; span 0 means 2^64
//   mt_words(state, out, n)                        32 bits each
//   mt_bernoulli(state, out, n, p)                 bytes 0 or 1, one probability for all
//   mt_bernoulli_f, _d(state, out, n, p)           bytes 0 or 1, p an array
//   mt_randperm(state, out, n)                     int64
//
// from, to, mean, std, rate and p are doubles. Bound by the generator: some 2 ns per draw.
#include <math.h>
#include "simd.h"

#define N 624
#define M 397

typedef struct {
  uint32_t key[N];
  int32_t next;    // index of the next word; N: make new ones
  int32_t paired;  // is `cached` the second normal sample of a pair?
  double cached;
} Mt19937;

EXPORT(mt_seed) void mt_seed(Mt19937 *s, uint32_t seed) {
  s->key[0] = seed;
  for (uint32_t i = 1; i < N; i++)
    s->key[i] = 1812433253u * (s->key[i - 1] ^ s->key[i - 1] >> 30) + i;
  s->next = N;
  s->paired = 0;
}

static uint32_t twist(uint32_t a, uint32_t b) {
  uint32_t y = (a & 0x80000000u) | (b & 0x7fffffffu);
  return y >> 1 ^ (b & 1 ? 0x9908b0dfu : 0);
}

static void refill(Mt19937 *s) {
  uint32_t *k = s->key;
  for (int i = 0; i < N - M; i++) k[i] = k[i + M] ^ twist(k[i], k[i + 1]);
  for (int i = N - M; i < N - 1; i++) k[i] = k[i + M - N] ^ twist(k[i], k[i + 1]);
  k[N - 1] = k[M - 1] ^ twist(k[N - 1], k[0]);
  s->next = 0;
}

static uint32_t draw(Mt19937 *s) {
  if (s->next >= N) refill(s);
  uint32_t y = s->key[s->next++];
  y ^= y >> 11;
  y ^= y << 7 & 0x9d2c5680u;
  y ^= y << 15 & 0xefc60000u;
  return y ^ y >> 18;
}

static uint64_t draw64(Mt19937 *s) {
  uint64_t high = draw(s);
  return high << 32 | draw(s);
}

static double unit(Mt19937 *s) { return (double)(draw64(s) & ((1ull << 53) - 1)) * 0x1p-53; }
static float unit_f(Mt19937 *s) { return (float)(draw(s) & 0xffffff) * 0x1p-24f; }

// a * b + c rounded once: PyTorch's build fuses them, and a last bit would differ.
static float fma1(float a, float b, float c) { return (float)((double)a * b + c); }

EXPORT(mt_uniform_f) void mt_uniform_f(Mt19937 *s, float *out, int n, double from, double to) {
  float span = (float)to - (float)from;
  for (int i = 0; i < n; i++) out[i] = fma1(unit_f(s), span, (float)from);
}

EXPORT(mt_uniform_d) void mt_uniform_d(Mt19937 *s, double *out, int n, double from, double to) {
  for (int i = 0; i < n; i++) out[i] = unit(s) * (to - from) + from;
}

// ---- normal samples: one by one below sixteen, in blocks of sixteen from there on ---------------

static double normal(Mt19937 *s) {
  if (s->paired) {
    s->paired = 0;
    return s->cached;
  }
  double u1 = unit(s), u2 = unit(s);
  double radius = sqrt(-2.0 * log1p(-u2)), theta = 2 * 3.14159265358979323846 * u1;
  s->cached = radius * sin(theta);
  s->paired = 1;
  return radius * cos(theta);
}

// The logarithm, sine and cosine that PyTorch uses for float32 on x86: Cephes polynomials, every
// step a fused multiply-add. Any other function would differ in the last bits.
static float polynomial(float x, const float *c, int n) {
  float y = c[0];
  for (int i = 1; i < n; i++) y = fma1(y, x, c[i]);
  return y;
}

static float log_cephes(float x) {
  static const float c[] = {7.0376836292e-2f, -1.1514610310e-1f, 1.1676998740e-1f,
                            -1.2420140846e-1f, 1.4249322787e-1f, -1.6668057665e-1f,
                            2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f};
  int32_t bits = __builtin_bit_cast(int32_t, x);
  float e = (float)((bits >> 23) - 126);
  x = __builtin_bit_cast(float, (bits & 0x7fffff) | 0x3f000000);
  int small = x < 0.707106781186547524f;
  e -= (float)small;
  x = x - 1.0f + (small ? x : 0.0f);
  float z = x * x, y = fma1(polynomial(x, c, 9) * x, z, e * -2.12194440e-4f);
  x += fma1(z, -0.5f, y);
  return fma1(e, 0.693359375f, x);
}

static void sincos_cephes(float x, float *sine, float *cosine) {
  static const float cs[] = {2.443315711809948e-5f, -1.388731625493765e-3f, 4.166664568298827e-2f};
  static const float sn[] = {-1.9515295891e-4f, 8.3321608736e-3f, -1.6666654611e-1f};
  int octant = ((int)(x * 1.27323954473516f) + 1) & ~1;
  float y = (float)octant;
  x = fma1(y, -0.78515625f, x);
  x = fma1(y, -2.4187564849853515625e-4f, x);
  x = fma1(y, -3.77489497744594108e-8f, x);
  float z = x * x;
  float c = fma1(polynomial(z, cs, 3) * z, z, z * -0.5f) + 1.0f;
  float s = fma1(polynomial(z, sn, 3) * z, x, x);
  float a = octant & 2 ? c : s, b = octant & 2 ? s : c;
  *sine = octant & 4 ? -a : a;
  *cosine = ~(octant - 2) & 4 ? -b : b;
}

static void block_f(float *x, double mean, double std) {
  for (int i = 0; i < 8; i++) {
    float sine, cosine, radius = sqrtf(-2.0f * log_cephes(1.0f - x[i]));
    sincos_cephes(6.283185307179586f * x[i + 8], &sine, &cosine);
    x[i] = fma1(radius * cosine, (float)std, (float)mean);
    x[i + 8] = fma1(radius * sine, (float)std, (float)mean);
  }
}

static void block_d(double *x, double mean, double std) {
  for (int i = 0; i < 8; i++) {
    double radius = sqrt(-2.0 * log(1 - x[i])), theta = 2 * 3.14159265358979323846 * x[i + 8];
    x[i] = radius * cos(theta) * std + mean;
    x[i + 8] = radius * sin(theta) * std + mean;
  }
}

#define NORMAL(t, T, UNIT)                                                      \
  EXPORT(mt_normal_##t) void mt_normal_##t(Mt19937 *s, T *out, int n, double mean, double std) { \
    if (n < 16) {                                                               \
      for (int i = 0; i < n; i++) out[i] = (T)(normal(s) * std + mean);         \
      return;                                                                   \
    }                                                                           \
    for (int i = 0; i < n; i++) out[i] = UNIT(s);                               \
    for (int i = 0; i + 16 <= n; i += 16) block_##t(out + i, mean, std);        \
    if (n % 16 == 0) return;                                                    \
    out += n - 16; /* the last sixteen are drawn anew */                        \
    for (int i = 0; i < 16; i++) out[i] = UNIT(s);                              \
    block_##t(out, mean, std);                                                  \
  }
NORMAL(f, float, unit_f)
NORMAL(d, double, unit)

// ---- the others ---------------------------------------------------------------------------------

#define EXPONENTIAL(t, T)                                                                     \
  EXPORT(mt_exponential_##t) void mt_exponential_##t(Mt19937 *s, T *out, int n, double rate) { \
    for (int i = 0; i < n; i++) out[i] = (T)(-1.0 / rate * log1p(-unit(s)));                  \
  }
EXPONENTIAL(f, float)
EXPONENTIAL(d, double)

EXPORT(mt_randint)
void mt_randint(Mt19937 *s, int64_t *out, int n, uint32_t low, uint32_t low_hi, uint32_t span,
                uint32_t span_hi) {
  uint64_t base = (uint64_t)low_hi << 32 | low, range = (uint64_t)span_hi << 32 | span;
  int wide = range == 0 || range >= 1u << 28;
  for (int i = 0; i < n; i++) {
    uint64_t x = wide ? draw64(s) : draw(s);
    out[i] = (int64_t)((range ? x % range : x) + base);
  }
}

EXPORT(mt_words) void mt_words(Mt19937 *s, uint32_t *out, int n) {
  for (int i = 0; i < n; i++) out[i] = draw(s);
}

EXPORT(mt_bernoulli) void mt_bernoulli(Mt19937 *s, uint8_t *out, int n, double p) {
  for (int i = 0; i < n; i++) out[i] = unit(s) < p;
}
EXPORT(mt_bernoulli_f) void mt_bernoulli_f(Mt19937 *s, uint8_t *out, int n, const float *p) {
  for (int i = 0; i < n; i++) out[i] = unit_f(s) < p[i];
}
EXPORT(mt_bernoulli_d) void mt_bernoulli_d(Mt19937 *s, uint8_t *out, int n, const double *p) {
  for (int i = 0; i < n; i++) out[i] = unit(s) < p[i];
}

EXPORT(mt_randperm) void mt_randperm(Mt19937 *s, int64_t *out, int n) {
  for (int i = 0; i < n; i++) out[i] = i;
  for (int i = 0; i < n - 1; i++) {
    int at = i + (int)(draw(s) % (uint32_t)(n - i));
    int64_t x = out[i];
    out[i] = out[at], out[at] = x;
  }
}
