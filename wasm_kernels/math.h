// The functions that the `c` expressions of ops/elementwise.py name, as scalar inline functions.
//
// Suffixes are compute types: f float, d double, i int32, l int64 (b, bool, is an int32 of 0 or 1).
// What models spend time in (exp, log, tanh, sigmoid, erf, sin, cos, ...) is free of branches for
// f: written for four lanes (suffix 4, fused multiply-adds in the relaxed build), or such that
// clang turns a loop over it into f32x4 code. Bounds in ulp stand beside each, for both builds, and
// hold for denormal results too. The rest goes through libm.
#pragma once
#include <float.h>
#include <math.h>
#include <stdint.h>
#include "simd.h"

#define FN static inline __attribute__((always_inline))
#define ADD(a, b) ((a) + (b))  // integers wrap: everything is compiled with -fwrapv
#define SUB(a, b) ((a) - (b))
#define MUL(a, b) ((a) * (b))
#define NEG(a) (-(a))

// A constant kept in a local: V8 builds a v128.const anew, in four instructions, wherever it is
// used.
FN float K(float x) {
  __asm__("" : "+r"(x));
  return x;
}

FN float float_of(int32_t bits) { return __builtin_bit_cast(float, bits); }
FN int32_t bits_of(float x) { return __builtin_bit_cast(int32_t, x); }

// ---- rounding, sign, extremes: single instructions --------------------------------------------

FN float abs_f(float a) { return __builtin_fabsf(a); }
FN double abs_d(double a) { return __builtin_fabs(a); }
FN int32_t abs_i(int32_t a) { return a < 0 ? -a : a; }
FN int64_t abs_l(int64_t a) { return a < 0 ? -a : a; }
FN float sign_f(float a) { return (float)((a > 0) - (a < 0)); }
FN double sign_d(double a) { return (double)((a > 0) - (a < 0)); }
FN int32_t sign_i(int32_t a) { return (a > 0) - (a < 0); }
FN int64_t sign_l(int64_t a) { return (a > 0) - (a < 0); }
FN float sqrt_f(float a) { return __builtin_sqrtf(a); }
FN double sqrt_d(double a) { return __builtin_sqrt(a); }
FN float floor_f(float a) { return __builtin_floorf(a); }
FN double floor_d(double a) { return __builtin_floor(a); }
FN float ceil_f(float a) { return __builtin_ceilf(a); }
FN double ceil_d(double a) { return __builtin_ceil(a); }
FN float trunc_f(float a) { return __builtin_truncf(a); }
FN double trunc_d(double a) { return __builtin_trunc(a); }
FN float round_f(float a) { return __builtin_nearbyintf(a); }  // half to even
FN double round_d(double a) { return __builtin_nearbyint(a); }

// WebAssembly's max and min propagate nan, as PyTorch's do.
FN float max_f(float a, float b) { return __builtin_wasm_max_f32(a, b); }
FN float min_f(float a, float b) { return __builtin_wasm_min_f32(a, b); }
FN double max_d(double a, double b) { return __builtin_wasm_max_f64(a, b); }
FN double min_d(double a, double b) { return __builtin_wasm_min_f64(a, b); }
FN int32_t max_i(int32_t a, int32_t b) { return a > b ? a : b; }
FN int32_t min_i(int32_t a, int32_t b) { return a < b ? a : b; }
FN int64_t max_l(int64_t a, int64_t b) { return a > b ? a : b; }
FN int64_t min_l(int64_t a, int64_t b) { return a < b ? a : b; }

// ---- division; an integer division by zero would trap, so it gives 0 ----------------------------

#define INTEGER_DIVISION(t, T)                                                       \
  FN T truncdiv_##t(T a, T b) { return b == 0 ? 0 : b == -1 ? -a : a / b; }          \
  FN T fmod_##t(T a, T b) { return b == 0 || b == -1 ? 0 : a % b; }                  \
  FN T remainder_##t(T a, T b) {                                                     \
    T r = fmod_##t(a, b);                                                            \
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;                                 \
  }                                                                                  \
  FN T floordiv_##t(T a, T b) {                                                      \
    T q = truncdiv_##t(a, b);                                                        \
    return fmod_##t(a, b) != 0 && (a < 0) != (b < 0) ? q - 1 : q;                    \
  }                                                                                  \
  FN T pow_##t(T a, T n) { /* by squaring; a negative power of ±1 is ±1, of others 0 */ \
    if (n < 0) return a == 1 ? 1 : a == -1 ? (n & 1 ? -1 : 1) : 0;                   \
    T r = 1;                                                                         \
    for (; n; n >>= 1, a *= a)                                                       \
      if (n & 1) r *= a;                                                             \
    return r;                                                                        \
  }                                                                                  \
  FN T shl_##t(T a, T n) { return n < 0 || n >= 8 * (T)sizeof(T) ? 0 : a << n; }     \
  FN T shr_##t(T a, T n) { return a >> (n < 0 || n >= 8 * (T)sizeof(T) ? 8 * sizeof(T) - 1 : n); } \
  FN T not_##t(T a) { return ~a; }
INTEGER_DIVISION(i, int32_t)
INTEGER_DIVISION(l, int64_t)
FN int32_t not_b(int32_t a) { return !a; }

#define FLOAT_DIVISION(t, T, FMOD, COPYSIGN)                                         \
  FN T fmod_##t(T a, T b) { return FMOD(a, b); }                                     \
  FN T remainder_##t(T a, T b) {                                                     \
    T r = FMOD(a, b);                                                                \
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;                                 \
  }                                                                                  \
  FN T floordiv_##t(T a, T b) { /* PyTorch's, exact where a / b rounds up to a whole number */ \
    if (b == 0) return a / b;                                                        \
    T r = FMOD(a, b), q = (a - r) / b;                                               \
    if (r != 0 && (r < 0) != (b < 0)) q -= 1;                                        \
    if (q == 0) return COPYSIGN(0, a / b);                                           \
    T whole = floor_##t(q);                                                          \
    return q - whole > (T)0.5 ? whole + 1 : whole;                                   \
  }
FLOAT_DIVISION(f, float, fmodf, copysignf)
FLOAT_DIVISION(d, double, fmod, copysign)

// ---- exponentials ---------------------------------------------------------------------------

// x = n ln2 + r with |r| <= ln2/2; the sum trick rounds to a whole number without a branch.
#define ROUND_MAGIC K(12582912.0f)
typedef struct { float r; int32_t n; } ExpParts;
FN ExpParts exp_parts(float x) {
  float shifted = x * K(1.44269504f) + ROUND_MAGIC;
  float n = shifted - ROUND_MAGIC;
  float r = x - n * K(0.693359375f) + n * K(2.12194440e-4f);
  return (ExpParts){r, bits_of(shifted) - bits_of(ROUND_MAGIC)};
}

FN float expm1_near_zero(float r) {  // exp(r) - 1 for |r| <= ln2/2
  float p = K(1.9875691500e-4f);
  p = p * r + K(1.3981999507e-3f);
  p = p * r + K(8.3334519073e-3f);
  p = p * r + K(4.1665795894e-2f);
  p = p * r + K(1.6666665459e-1f);
  p = p * r + K(5.0000001201e-1f);
  return p * (r * r) + r;
}

FN float two_to(int32_t n) { return float_of((n + 127) << 23); }  // -127 < n < 128

// Lets nan through. The last line is not idle: the compiler makes f32x4.pmax and pmin of the
// comparisons, and V8 gives the bound where their first operand is nan.
FN float clamp_f(float x, float lo, float hi) {
  float y = x < lo ? lo : x;
  y = y > hi ? hi : y;
  return x == x ? y : x;
}

FN float scale(float y, int32_t n) {  // y * 2^n in two steps: denormals and overflow come out right
  int32_t half = n >> 1;
  return y * two_to(half) * two_to(n - half);
}

FN float exp2_f(float a) {  // 2 ulp
  float x = clamp_f(a, -K(152.0f), K(129.0f));
  float shifted = x + ROUND_MAGIC, n = shifted - ROUND_MAGIC;
  float y = expm1_near_zero((x - n) * K(0.693147181f)) + K(1.0f);
  return scale(y, bits_of(shifted) - bits_of(ROUND_MAGIC));
}

FN float expm1_f(float a) {  // 3 ulp
  ExpParts e = exp_parts(clamp_f(a, -K(20.0f), K(89.0f)));
  float s = two_to(e.n - 1);  // halved: 2^128 is not a float
  float y = K(2.0f) * (s * expm1_near_zero(e.r) + (s - K(0.5f)));
  return a == 0 ? a : y;
}

FN double exp_d(double a) { return exp(a); }
FN double exp2_d(double a) { return exp2(a); }
FN double expm1_d(double a) { return expm1(a); }
FN double sigmoid_d(double a) { return 1.0 / (1.0 + exp(-a)); }
FN double tanh_d(double a) { return tanh(a); }
FN float sinh_f(float a) { return sinhf(a); }
FN double sinh_d(double a) { return sinh(a); }
FN float cosh_f(float a) { return coshf(a); }
FN double cosh_d(double a) { return cosh(a); }
FN float asinh_f(float a) { return (float)asinh(a); }
FN double asinh_d(double a) { return asinh(a); }
FN float acosh_f(float a) { return (float)acosh(a); }
FN double acosh_d(double a) { return acosh(a); }
FN float atanh_f(float a) { return (float)atanh(a); }
FN double atanh_d(double a) { return atanh(a); }
FN float pow_f(float a, float b) { return powf(a, b); }
FN double pow_d(double a, double b) { return pow(a, b); }

// ---- four lanes at once: what models spend their time in ----------------------------------------

typedef float F4 __attribute__((vector_size(16), aligned(4)));
typedef int32_t I4 __attribute__((vector_size(16)));

FN F4 K4(float x) {  // as K
  v128_t y = wasm_f32x4_splat(x);
  __asm__("" : "+r"(y));
  return (F4)y;
}
FN F4 madd(F4 a, F4 b, F4 c) { return (F4)MADD_F((v128_t)a, (v128_t)b, (v128_t)c); }
FN F4 between(float lo, F4 a, float hi) {  // nan stays: the bounds come second
  return (F4)wasm_f32x4_pmin(wasm_f32x4_pmax((v128_t)a, (v128_t)K4(lo)), (v128_t)K4(hi));
}
FN F4 poly(F4 x, const float *c, int n) {  // c[0] + c[1] x + … + c[n] x^n
  F4 y = K4(c[n]);
  while (n--) y = madd(y, x, K4(c[n]));
  return y;
}

// e^x = 2^n e^r; the sum trick leaves n in the low bits of `shifted`.
typedef struct { F4 r; I4 shifted; } Parts4;
FN Parts4 exp_parts_4(F4 x) {
  F4 magic = K4(12582912.0f), shifted = madd(x, K4(1.44269504f), magic), n = shifted - magic;
  return (Parts4){madd(n, K4(2.12194440e-4f), madd(n, K4(-0.693359375f), x)), (I4)shifted};
}
static const float exp_terms[] = {1.0f,         0.49999994f,   0.16666429f,
                                  0.041668016f, 8.3743716e-3f, 1.3843403e-3f};
FN F4 expm1_over_r(F4 r) { return poly(r, exp_terms, 5); }  // (e^r - 1) / r for |r| <= ln2/2

FN F4 exp_4(F4 a) {  // 2 ulp; times 2^n in two steps: denormals and overflow come out right
  Parts4 e = exp_parts_4(between(-105.0f, a, 89.0f));
  I4 exponent = (I4)K4(-INFINITY), one = (I4)K4(1.0f);
  I4 half = e.shifted << 22 & exponent, rest = (e.shifted << 23) - half;
  F4 scale = (F4)(half + one);
  return madd(e.r * scale, expm1_over_r(e.r), scale) * (F4)(rest + one);
}

FN F4 exp_below_4(F4 x) {  // 2 ulp for x ≤ 0; below -87.7, where normal numbers end, n is -127: 0
  F4 low = K4(-88.0296919f);
  Parts4 e = exp_parts_4((F4)wasm_f32x4_pmax((v128_t)x, (v128_t)low));  // nan stays
  F4 scale = (F4)((e.shifted << 23) + (I4)K4(1.0f));
  return madd(e.r * scale, expm1_over_r(e.r), scale);
}

// out = exp(x - most) for sixteen x ≤ most; gives the sum of their four vectors. As exp_below_4, but
// step by step: a constant is fetched once for all, and no vector waits for its own last step.
#define STEP(v, e)                                                                        \
  _Pragma("clang loop unroll(full)") for (int k = 0; k < 4; k++) v[k] = e;                \
  __asm__ volatile("" : "+r"(v[0]), "+r"(v[1]), "+r"(v[2]), "+r"(v[3]))
FN F4 exp_below_16(F4 *out, const F4 *x, F4 most) {
  F4 r[4], y[4], shifted[4], magic = K4(12582912.0f), low = K4(-88.0296919f);
  STEP(r, (F4)wasm_f32x4_pmax((v128_t)(x[k] - most), (v128_t)low));
  STEP(shifted, madd(r[k], K4(1.44269504f), magic));
  STEP(y, shifted[k] - magic);
  STEP(r, madd(y[k], K4(-0.693359375f), r[k]));
  STEP(r, madd(y[k], K4(2.12194440e-4f), r[k]));
  STEP(y, madd(r[k], K4(exp_terms[5]), K4(exp_terms[4])));
  STEP(y, madd(y[k], r[k], K4(exp_terms[3])));
  STEP(y, madd(y[k], r[k], K4(exp_terms[2])));
  STEP(y, madd(y[k], r[k], K4(exp_terms[1])));
  STEP(y, madd(y[k], r[k], K4(exp_terms[0])));
  STEP(shifted, (F4)(((I4)shifted[k] << 23) + (I4)K4(1.0f)));
  STEP(y, madd(r[k] * shifted[k], y[k], shifted[k]));
  _Pragma("clang loop unroll(full)") for (int k = 0; k < 4; k++) out[k] = y[k];
  return (y[0] + y[1]) + (y[2] + y[3]);
}

FN F4 sigmoid_4(F4 a) { return K4(1.0f) / (K4(1.0f) + exp_4(-a)); }  // 3 ulp

FN F4 with_sign(F4 y, F4 a) {  // y is not negative
  return (F4)wasm_v128_or((v128_t)y, wasm_v128_and((v128_t)a, (v128_t)K4(-0.0f)));
}

FN F4 tanh_4(F4 a) {  // 4 ulp: -m / (m + 2) with m = expm1(-2|a|) loses nothing near zero
  F4 t = (F4)wasm_f32x4_abs((v128_t)a), one = K4(1.0f);
  Parts4 e = exp_parts_4(between(-20.0f, t * K4(-2.0f), 0.0f));
  F4 scale = (F4)((e.shifted << 23) + (I4)one);
  F4 m = madd(e.r * scale, expm1_over_r(e.r), scale - one);
  return with_sign((F4)wasm_f32x4_abs((v128_t)(m / (m + K4(2.0f)))), a);
}

FN F4 erf_4(F4 a) {  // 3 ulp: a polynomial near zero, 1 - exp(polynomial) beyond
  static const float inner[] = {1.28379166e-1f, -3.76125336e-1f, 1.12819925e-1f, -2.67681349e-2f,
                                4.99119423e-3f, -5.96761703e-4f};
  static const float outer[] = {-1.28717512e-1f, -6.34846687e-1f, -1.06777877e-1f, 2.42546219e-2f,
                                -3.88396438e-3f, 3.83197126e-4f, -1.72853470e-5f};
  F4 t = (F4)wasm_f32x4_pmin(wasm_f32x4_abs((v128_t)a), (v128_t)K4(4.0f));
  Parts4 e = exp_parts_4(madd(poly(t, outer, 6), t, -t));
  F4 scale = (F4)((e.shifted << 23) + (I4)K4(1.0f));
  F4 far = K4(1.0f) - madd(e.r * scale, expm1_over_r(e.r), scale);
  F4 near = madd(poly(t * t, inner, 5), t, t);
  I4 beyond = t > K4(0.927734375f);
  return with_sign((F4)wasm_v128_bitselect((v128_t)far, (v128_t)near, (v128_t)beyond), a);
}

// The normal distribution, to 1.7e-7: (1 + erf(a / √2)) / 2, erf by a quotient of polynomials in a².
FN F4 phi_4(F4 a) {
  static const float top[] = {0.797884524f, 0.0673186779f, 9.32473876e-3f, 3.3283513e-4f,
                              1.25901734e-5f, 4.53012277e-8f};
  static const float low[] = {1.0f, 0.251037776f, 0.0285272431f, 1.87114789e-3f, 7.26582875e-5f,
                              1.19037122e-6f};
  F4 z = a * a, y = between(-1.0f, a * poly(z, top, 5) / poly(z, low, 5), 1.0f), one = K4(1.0f);
  I4 beyond = (F4)wasm_f32x4_abs((v128_t)a) > K4(5.27154541f);
  y = (F4)wasm_v128_bitselect((v128_t)with_sign(one, a), (v128_t)y, (v128_t)beyond);
  return madd(y, K4(0.5f), K4(0.5f));
}

// ---- logarithms -------------------------------------------------------------------------------

// a = 2^e (1 + m) with sqrt(1/2) <= 1 + m < sqrt(2); log1m is log(1 + m) - m.
typedef struct { float m, log1m, e; } LogParts;
FN LogParts log_parts(float a) {
  int tiny = a < K(FLT_MIN);
  float larger = a * K(8388608.0f);
  int32_t bits = bits_of(tiny ? larger : a), half = bits_of(K(0.70710678f));
  int32_t mantissa = bits_of(K(0x1.fffffcp-127f));  // 0x007fffff
  int32_t above = bits - half;  // bits of sqrt(1/2): the exponent field then counts from there
  float e = (float)((above >> 23) - (tiny ? 23 : 0));
  float m = float_of((above & mantissa) + half) - K(1.0f), z = m * m;
  float p = K(7.0376836292e-2f);
  p = p * m - K(1.1514610310e-1f);
  p = p * m + K(1.1676998740e-1f);
  p = p * m - K(1.2420140846e-1f);
  p = p * m + K(1.4249322787e-1f);
  p = p * m - K(1.6668057665e-1f);
  p = p * m + K(2.0000714765e-1f);
  p = p * m - K(2.4999993993e-1f);
  p = p * m + K(3.3333331174e-1f);
  return (LogParts){m, p * m * z - K(0.5f) * z, e};
}

FN float log_ends(float a, float y) {  // what a logarithm is outside the positive finite floats
  float below = K(-INFINITY), undefined = K(NAN);
  y = a > K(FLT_MAX) ? a : y;
  y = a == 0 ? below : y;
  return a >= 0 ? y : undefined;
}

FN float log_f(float a) {  // 1 ulp
  LogParts p = log_parts(a);
  float y = p.log1m + p.e * -K(2.12194440e-4f) + p.m + p.e * K(0.693359375f);
  return log_ends(a, y);
}

FN float log2_f(float a) {  // 2 ulp, exact for powers of two; log2(e) = 1 + 0.4427
  LogParts p = log_parts(a);
  float y = p.log1m * K(0.44269504f) + p.m * K(0.44269504f) + p.log1m + p.m + p.e;
  return log_ends(a, y);
}

FN float log1p_f(float a) {  // 3 ulp: log(u) with what 1 + a rounded away put back
  float u = K(1.0f) + a, rest = (a - (u - K(1.0f))) / u;
  float y = log_f(u) + (u > 0 && u <= FLT_MAX ? rest : 0.0f);
  return a == 0 ? a : y;
}

FN double log_d(double a) { return log(a); }
FN double log2_d(double a) { return log2(a); }
FN float log10_f(float a) { return (float)log10(a); }
FN double log10_d(double a) { return log10(a); }
FN double log1p_d(double a) { return log1p(a); }

// ---- trigonometry -----------------------------------------------------------------------------

// a = q pi/2 + r, reduced in double (three parts would be needed in float): exact to 2 ulp for
// |a| < 1e6, absolute error below 1e-6 up to 1e9.
typedef struct { float sin, cos; int32_t q; } TrigParts;
FN TrigParts trig_parts(float a) {
  double q = __builtin_nearbyint(a * 0.63661977236758134);
  float r = (float)(a - q * 1.57079632673412561417 - q * 6.07710050650619224932e-11);
  r = clamp_f(r, -0.8f, 0.8f);
  float z = r * r;
  float s = ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * r + r;
  float c = (2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f;
  c = c * z * z - 0.5f * z + 1.0f;
  return (TrigParts){s, c, (int32_t)q};
}

FN float sin_f(float a) {  // 2 ulp of the result or of 1e-7
  TrigParts t = trig_parts(a);
  float y = t.q & 1 ? t.cos : t.sin;
  return t.q & 2 ? -y : y;
}

FN float cos_f(float a) {
  TrigParts t = trig_parts(a);
  float y = t.q & 1 ? t.sin : t.cos;
  return (t.q + 1) & 2 ? -y : y;
}

FN float tan_f(float a) {  // 4 ulp
  TrigParts t = trig_parts(a);
  return t.q & 1 ? -t.cos / t.sin : t.sin / t.cos;
}

FN double sin_d(double a) { return sin(a); }
FN double cos_d(double a) { return cos(a); }
FN double tan_d(double a) { return tan(a); }
FN float asin_f(float a) { return asinf(a); }
FN double asin_d(double a) { return asin(a); }
FN float acos_f(float a) { return acosf(a); }
FN double acos_d(double a) { return acos(a); }
FN float atan_f(float a) { return atanf(a); }
FN double atan_d(double a) { return atan(a); }
FN float atan2_f(float a, float b) { return atan2f(a, b); }
FN double atan2_d(double a, double b) { return atan2(a, b); }

// ---- special functions ------------------------------------------------------------------------

FN double erf_d(double a) { return erf(a); }
FN double erfc_d(double a) { return erfc(a); }
FN double phi_d(double a) { return erfc(a * -0.70710678118654752) / 2; }
FN float erfc_f(float a) { return (float)erfc(a); }
FN double lgamma_d(double a) { return lgamma(a); }
FN float lgamma_f(float a) { return (float)lgamma(a); }

static __attribute__((noinline)) double erfinv_d(double y) {  // rational, two Newton steps
  double x, z = fabs(y);
  if (z >= 1) return z > 1 ? NAN : copysign(INFINITY, y);
  if (z <= 0.7) {
    z = y * y;
    x = y * (((-0.140543331 * z + 0.914624893) * z - 1.645349621) * z + 0.886226899) /
        ((((0.012229801 * z - 0.329097515) * z + 1.442710462) * z - 2.118377725) * z + 1);
  } else {
    z = sqrt(-log((1 - z) / 2));
    x = (((1.641345311 * z + 3.429567803) * z - 1.624906493) * z - 1.970840454) /
        ((1.637067800 * z + 3.543889200) * z + 1);
    x = copysign(x, y);
  }
  for (int step = 0; step < 2; step++) x -= (erf(x) - y) / (1.1283791670955126 * exp(-x * x));
  return x;
}
FN float erfinv_f(float a) { return (float)erfinv_d(a); }

static __attribute__((noinline)) double digamma_d(double x) {
  double reflected = 0;
  if (x == 0) return copysign(INFINITY, -x);
  if (x < 0) {
    if (x == floor(x)) return NAN;
    reflected = -M_PI / tan(M_PI * (x - floor(x)));
    x = 1 - x;
  }
  for (; x < 10; x += 1) reflected -= 1 / x;
  double z = 1 / (x * x), series = 8.33333333333333333333e-2;
  series = ((((((series * z - 2.10927960927960927961e-2) * z + 7.57575757575757575758e-3) * z -
               4.16666666666666666667e-3) * z + 3.96825396825396825397e-3) * z -
             8.33333333333333333333e-3) * z + 8.33333333333333333333e-2);
  return x > 1e17 ? log(x) : log(x) - 0.5 / x - z * series + reflected;
}
FN float digamma_f(float a) { return (float)digamma_d(a); }

static __attribute__((noinline)) double trigamma_d(double x) {
  double sign = 1, sum = 0;
  if (x < 0.5) {
    double s = sin(M_PI * x);
    sign = -1, sum = -M_PI * M_PI / (s * s), x = 1 - x;
  }
  for (; x < 10; x += 1) sum += 1 / (x * x);
  double z = 1 / (x * x);
  double series = 1.0 / 6 - z * (1.0 / 30 - z * (1.0 / 42 - z * (1.0 / 30 - z * (5.0 / 66))));
  return sign * (sum + (1 + 0.5 / x + z * series) / x);
}
FN float trigamma_f(float a) { return (float)trigamma_d(a); }

// ---- keys that sort as the floats do: -0 equals 0, nan comes last -------------------------------

FN int32_t order_key_f(float a) {
  int32_t bits = bits_of(a), key = bits ^ ((bits >> 31) & INT32_MAX);
  return a != a ? INT32_MAX : a == 0 ? 0 : key;
}
FN int64_t order_key_d(double a) {
  int64_t bits = __builtin_bit_cast(int64_t, a), key = bits ^ ((bits >> 63) & INT64_MAX);
  return a != a ? INT64_MAX : a == 0 ? 0 : key;
}

// ---- the narrow floats ------------------------------------------------------------------------

FN uint16_t half_of(float a) {  // to nearest even
  uint32_t bits = (uint32_t)bits_of(a), sign = bits >> 16 & 0x8000;
  bits &= 0x7fffffff;
  uint32_t special = bits > 0x7f800000 ? 0x7e00 : 0x7c00;
  uint32_t small = (uint32_t)bits_of(float_of((int32_t)bits) + 0.5f) - 0x3f000000u;
  uint32_t normal = (bits - 0x38000000u + 0xfff + (bits >> 13 & 1)) >> 13;
  uint32_t h = bits >= 0x47800000 ? special : bits < 0x38800000 ? small : normal;
  return (uint16_t)(h | sign);
}
FN float float_of_half(uint16_t h) {
  uint32_t bits = (uint32_t)(h & 0x7fff) << 13, exponent = bits & 0x0f800000;
  float normal = float_of((int32_t)(bits + (exponent == 0x0f800000 ? 0x70000000u : 0x38000000u)));
  float small = float_of((int32_t)(bits + 0x38800000u)) - float_of(0x38800000);
  int32_t sign = (int32_t)((uint32_t)(h & 0x8000) << 16);
  return float_of(bits_of(exponent == 0 ? small : normal) | sign);
}
FN uint16_t bfloat_of(float a) {
  uint32_t bits = (uint32_t)bits_of(a);
  uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return (uint16_t)(a != a ? 0x7fc0 : rounded);
}
FN float float_of_bfloat(uint16_t h) { return float_of((int32_t)((uint32_t)h << 16)); }
FN float to_half(float a) { return float_of_half(half_of(a)); }
FN float to_bfloat(float a) { return float_of_bfloat(bfloat_of(a)); }
