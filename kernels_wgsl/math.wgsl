// The functions that the `wgsl` expressions of ops/elementwise.py name, and the conversions of
// fused kernels. backends/webgpu.py copies the ones a kernel needs, with what they call.
//
// Why own versions: WGSL's sin, cos, exp, log, pow and tanh may be wrong in many last bits or
// overflow, and compilers may assume that there is no nan or inf. So nan and inf are told by their
// bits and made at run time. Errors are below 4 units in the last place unless a comment says
// otherwise. Suffixes: _f float32, _i int32, _l int64 kept in 32 bits, _b bool.

@group(0) @binding(0) var<storage, read_write> status: array<atomic<u32>, 4>;

// ---- bits ----

fn of_bits(bits: u32) -> f32 { return bitcast<f32>(bits); }
fn inf_f() -> f32 { return of_bits(0x7f800000u); }
fn nan_f() -> f32 { return of_bits(0x7fc00000u); }
fn magnitude(a: f32) -> u32 { return bitcast<u32>(a) & 0x7fffffffu; }
fn isnan_f(a: f32) -> bool { return magnitude(a) > 0x7f800000u; }
fn isinf_f(a: f32) -> bool { return magnitude(a) == 0x7f800000u; }
fn negative(a: f32) -> bool { return bitcast<i32>(a) < 0; }
fn ordered(a: f32, b: f32) -> bool { return max(magnitude(a), magnitude(b)) <= 0x7f800000u; }
fn copysign_f(a: f32, b: f32) -> f32 {
  return bitcast<f32>(magnitude(a) | (bitcast<u32>(b) & 0x80000000u));
}
// 2ⁿ of a whole number, -126 ≤ n ≤ 127: n + 127 comes to stand in the last bits of a large number.
fn pow2(n: f32) -> f32 { return bitcast<f32>(bitcast<u32>(n + 12583039.0) * 0x800000u); } // a shift: README
fn scale(a: f32, n: f32) -> f32 { // a · 2ⁿ; in two steps, for results near the ends of the range
  let half = floor(n * 0.5);
  return a * pow2(half) * pow2(n - half);
}
fn high(a: f32) -> f32 { return bitcast<f32>(bitcast<u32>(a) & 0xfffff000u); }

// ---- comparisons, selection ----

fn eq_f(a: f32, b: f32) -> bool { return a == b && ordered(a, b); }
fn ne_f(a: f32, b: f32) -> bool { return !eq_f(a, b); }
fn lt_f(a: f32, b: f32) -> bool { return a < b && ordered(a, b); }
fn le_f(a: f32, b: f32) -> bool { return a <= b && ordered(a, b); }
fn eq_i(a: i32, b: i32) -> bool { return a == b; }
fn ne_i(a: i32, b: i32) -> bool { return a != b; }
fn lt_i(a: i32, b: i32) -> bool { return a < b; }
fn le_i(a: i32, b: i32) -> bool { return a <= b; }
fn eq_b(a: bool, b: bool) -> bool { return a == b; }
fn ne_b(a: bool, b: bool) -> bool { return a != b; }
fn lt_b(a: bool, b: bool) -> bool { return !a && b; }
fn le_b(a: bool, b: bool) -> bool { return !a || b; }
fn max_f(a: f32, b: f32) -> f32 { return select(nan_f(), max(a, b), ordered(a, b)); }
fn min_f(a: f32, b: f32) -> f32 { return select(nan_f(), min(a, b), ordered(a, b)); }
fn max_i(a: i32, b: i32) -> i32 { return max(a, b); }
fn min_i(a: i32, b: i32) -> i32 { return min(a, b); }
fn max_b(a: bool, b: bool) -> bool { return a || b; }
fn min_b(a: bool, b: bool) -> bool { return a && b; }
fn sign_f(a: f32) -> f32 {
  return select(select(select(0.0, -1.0, a < 0.0), 1.0, a > 0.0), a, isnan_f(a));
}
fn sign_i(a: i32) -> i32 { return sign(a); }
fn order_key_f(a: f32) -> i32 { // sorts as the floats do: -0 equals 0, nan comes last
  let bits = bitcast<i32>(a);
  let key = select(bits, bitcast<i32>(0x80000000u) - bits, bits < 0);
  return select(key, 0x7fffffff, isnan_f(a));
}

// ---- integers ----

fn xor_i(a: i32, b: i32) -> i32 { return a ^ b; }
fn xor_b(a: bool, b: bool) -> bool { return a != b; }
fn not_i(a: i32) -> i32 { return ~a; }
fn not_b(a: bool) -> bool { return !a; }
fn shl_i(a: i32, b: i32) -> i32 { return select(a << (u32(b) & 31u), 0, u32(b) > 31u); }
fn shr_i(a: i32, b: i32) -> i32 { return a >> select(u32(b), 31u, u32(b) > 31u); }
fn truncdiv_i(a: i32, b: i32) -> i32 {
  let q = a / select(b, 1, b == 0 || b == -1); // -1 apart: the least integer has no negative
  return select(select(q, 0 - a, b == -1), 0, b == 0);
}
fn fmod_i(a: i32, b: i32) -> i32 { return a % select(b, 1, b == 0 || b == -1); }
fn floordiv_i(a: i32, b: i32) -> i32 {
  let q = truncdiv_i(a, b);
  return q - select(0, 1, fmod_i(a, b) != 0 && (a ^ b) < 0);
}
fn remainder_i(a: i32, b: i32) -> i32 {
  let r = fmod_i(a, b);
  return r + select(0, b, r != 0 && (r ^ b) < 0);
}
fn inverse_i(a: i32, b: i32) -> i32 { // a to a negative power, as PyTorch: 0 unless a is ±1
  return select(0, select(select(1, -1, (b & 1) == 1), 1, a == 1), a == 1 || a == -1);
}
fn pow_i(a: i32, b: i32) -> i32 {
  if (b < 0) { return inverse_i(a, b); }
  var result = 1;
  var factor = a;
  for (var n = u32(b); n > 0u; n >>= 1u) {
    result *= select(1, factor, (n & 1u) == 1u);
    factor *= factor;
  }
  return result;
}

// ---- int64 in 32 bits: what leaves the range sets the status word ----

fn overflow_l() { atomicMax(&status[0], 1u); }
fn add_l(a: i32, b: i32) -> i32 {
  let r = a + b;
  if (((a ^ r) & (b ^ r)) < 0) { overflow_l(); }
  return r;
}
fn sub_l(a: i32, b: i32) -> i32 {
  let r = a - b;
  if (((a ^ b) & (a ^ r)) < 0) { overflow_l(); }
  return r;
}
fn mul_l(a: i32, b: i32) -> i32 {
  let r = a * b;
  let size = f32(a) * f32(b); // right but for its last bits, so near ±2³¹ the signs decide
  if (abs(size) > 2147485000.0 || (abs(size) > 1e9 && (r < 0) != (size < 0.0))) { overflow_l(); }
  return r;
}
fn pow_l(a: i32, b: i32) -> i32 {
  if (b < 0) { return inverse_i(a, b); }
  if (a == 1 || a == 0) { return select(a, 1, b == 0); }
  if (a == -1) { return select(1, -1, (b & 1) == 1); }
  var result = 1;
  for (var n = 0; n < min(b, 32); n++) { result = mul_l(result, a); }
  return result;
}
fn shl_l(a: i32, b: i32) -> i32 {
  let r = shl_i(a, b);
  if (u32(b) < 64u && shr_i(r, b) != a) { overflow_l(); }
  return r;
}
fn truncdiv_l(a: i32, b: i32) -> i32 {
  if (b == -1) { return sub_l(0, a); }
  return truncdiv_i(a, b);
}
fn floordiv_l(a: i32, b: i32) -> i32 {
  if (b == -1) { return sub_l(0, a); }
  return floordiv_i(a, b);
}
fn eq_l(a: i32, b: i32) -> bool { return a == b; }
fn ne_l(a: i32, b: i32) -> bool { return a != b; }
fn lt_l(a: i32, b: i32) -> bool { return a < b; }
fn le_l(a: i32, b: i32) -> bool { return a <= b; }
fn max_l(a: i32, b: i32) -> i32 { return max(a, b); }
fn min_l(a: i32, b: i32) -> i32 { return min(a, b); }
fn sign_l(a: i32) -> i32 { return sign(a); }
fn xor_l(a: i32, b: i32) -> i32 { return a ^ b; }
fn not_l(a: i32) -> i32 { return ~a; }
fn shr_l(a: i32, b: i32) -> i32 { return shr_i(a, b); }
fn fmod_l(a: i32, b: i32) -> i32 { return fmod_i(a, b); }
fn remainder_l(a: i32, b: i32) -> i32 { return remainder_i(a, b); }

// ---- conversions ----

fn index_i(a: i32, size: i32, code: u32, back: i32) -> i32 { // back: added to a negative one
  let at = select(a, a + back, a < 0);
  if (at < 0 || at >= size) {
    atomicMax(&status[0], code);
    return 0;
  }
  return at;
}
fn f_to_i(a: f32) -> i32 { // truncates; what is too large wraps, nan and inf give 0
  if (abs(a) < 2147483648.0 && !isnan_f(a)) { return i32(a); }
  let bits = bitcast<u32>(a);
  let shift = ((bits >> 23u) & 255u) - 150u;
  if (shift > 31u) { return 0; }
  let size = i32(((bits & 0x7fffffu) | 0x800000u) << shift);
  return select(size, 0 - size, negative(a));
}
fn f_to_l(a: f32) -> i32 {
  let size = magnitude(a);
  if (size >= 0x4f000000u && size < 0x7f800000u && a != -2147483648.0) { overflow_l(); }
  return f_to_i(a);
}
fn half_to_f(h: u32) -> f32 {
  let m = h & 1023u;
  let e = (h >> 10u) & 31u;
  var bits = ((e + 112u) << 23u) | (m << 13u);
  if (e == 0u) { bits = bitcast<u32>(f32(m) * 5.9604644775390625e-8); }
  if (e == 31u) { bits = 0x7f800000u | (m << 13u); }
  return bitcast<f32>(bits | ((h & 0x8000u) << 16u));
}
fn f_to_half(a: f32) -> u32 { // to nearest, ties to even
  let size = magnitude(a);
  var h = 0u;
  if (size > 0x7f800000u) {
    h = 0x7e00u;
  } else if (size >= 0x47800000u) {
    h = 0x7c00u;
  } else if (size >= 0x38800000u) {
    h = (size - 0x38000000u + 0xfffu + ((size >> 13u) & 1u)) >> 13u;
  } else if (size > 0x33000000u) { // subnormal
    let m = (size & 0x7fffffu) | 0x800000u;
    let shift = 126u - (size >> 23u);
    h = m >> shift;
    let rest = m & ((1u << shift) - 1u);
    let tie = 1u << (shift - 1u);
    h += select(0u, 1u, rest > tie || (rest == tie && (h & 1u) == 1u));
  }
  return h | ((bitcast<u32>(a) >> 16u) & 0x8000u);
}
fn bfloat_to_f(h: u32) -> f32 { return bitcast<f32>(h * 65536u); }
fn f_to_bfloat(a: f32) -> u32 { // to nearest, ties to even
  let bits = bitcast<u32>(a);
  return select((bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u, 0x7fc0u, isnan_f(a));
}

// ---- division, remainders, roots ----

fn div_f(a: f32, b: f32) -> f32 { // a plain division need not hold for divisors beyond 2¹²⁶
  let small = select(1.0, 0.0625, abs(b) > 8e37);
  return (a * small) / (b * small);
}
// Exact, by long division of the significands, eight bits at a time.
fn fmod_f(a: f32, b: f32) -> f32 {
  let x = magnitude(a);
  let y = magnitude(b);
  if (x >= 0x7f800000u || y > 0x7f800000u || y == 0u) { return nan_f(); }
  if (x < y) { return a; }
  let ey = max(y >> 23u, 1u);
  let my = (y & 0x7fffffu) | select(0x800000u, 0u, y < 0x800000u);
  var r = ((x & 0x7fffffu) | select(0x800000u, 0u, x < 0x800000u)) % my;
  var d = max(x >> 23u, 1u) - ey;
  while (d > 0u) {
    let k = min(d, 8u);
    r = (r << k) % my;
    d -= k;
  }
  let up = countLeadingZeros(r | 1u) - 8u; // r < 2²⁴
  var bits = r << (ey - 1u);
  if (ey > up) { bits = (r << up) + ((ey - up - 1u) << 23u); }
  if (r == 0u) { bits = 0u; }
  return bitcast<f32>(bits | (bitcast<u32>(a) & 0x80000000u));
}
fn remainder_f(a: f32, b: f32) -> f32 {
  let r = fmod_f(a, b);
  if (r == 0.0) { return copysign_f(r, b); }
  return r + select(0.0, b, !isnan_f(r) && negative(r) != negative(b));
}
fn floordiv_f(a: f32, b: f32) -> f32 {
  if (magnitude(b) == 0u || isinf_f(a)) { return div_f(a, b); }
  let r = fmod_f(a, b);
  let q = div_f(a - r, b) - select(0.0, 1.0, r != 0.0 && negative(r) != negative(b));
  return select(round(q), q, isnan_f(r));
}
fn sqrt_f(a: f32) -> f32 { // a built-in sqrt may be 1 / rsqrt(a)
  if (magnitude(a) < 0x00800000u || (isinf_f(a) && !negative(a))) { return a; }
  return select(nan_f(), sqrt(a), a > 0.0 && !isnan_f(a));
}
fn rsqrt_f(a: f32) -> f32 {
  if (magnitude(a) < 0x00800000u) { return copysign_f(inf_f(), a); }
  return select(1.0 / sqrt_f(a), 0.0, isinf_f(a) && !negative(a));
}

// ---- exponentials ----

fn exp_tail(r: f32) -> f32 { // (exp(r) - 1 - r) / r², |r| ≤ 0.35
  var p = 1.9875691500e-4;
  p = p * r + 1.3981999507e-3;
  p = p * r + 8.3334519073e-3;
  p = p * r + 4.1665795894e-2;
  p = p * r + 1.6666665459e-1;
  return p * r + 5.0000001201e-1;
}
fn exp_f(a: f32) -> f32 {
  let x = clamp(a, -104.0, 89.0);
  let n = round(x * 1.44269504);
  let r = (x - n * 0.693359375) + n * 2.12194440e-4;
  let e = scale(exp_tail(r) * (r * r) + r + 1.0, n);
  return select(select(e, inf_f(), a > 88.7228394), a, isnan_f(a));
}
fn exp2_f(a: f32) -> f32 {
  let x = clamp(a, -151.0, 129.0);
  let n = round(x);
  let r = (x - n) * 0.693147181;
  let e = scale(exp_tail(r) * (r * r) + r + 1.0, n);
  return select(select(e, inf_f(), a >= 128.0), a, isnan_f(a));
}
fn expm1_f(a: f32) -> f32 {
  if (a > 80.0 || isnan_f(a)) { return exp_f(a); }
  let x = max(a, -30.0);
  let n = round(x * 1.44269504);
  let r = (x - n * 0.693359375) + n * 2.12194440e-4;
  let two = pow2(n);
  let e = (exp_tail(r) * (r * r) + r) * two + (two - 1.0);
  return select(e, a, magnitude(a) < 0x00800000u);
}
fn sigmoid_f(a: f32) -> f32 {
  let e = exp_f(-abs(a));
  return select(1.0, e, a < 0.0) / (1.0 + e);
}

// ---- logarithms ----

struct Parts { m: f32, e: f32 } // x = (1 + m) · 2ᵉ with √½ ≤ 1 + m < √2

fn log_parts(a: f32) -> Parts {
  var bits = bitcast<u32>(a);
  var e = -127.0;
  if (bits < 0x00800000u) { // subnormal: its bits are the number, in units of 2⁻¹⁴⁹
    bits = bitcast<u32>(f32(bits));
    e = -276.0;
  }
  let carry = (bits + 0x4afb0du) >> 23u; // 1 more where the significand is above √2
  let m = bitcast<f32>(bits - carry * 0x800000u + 0x3f800000u);
  return Parts(m - 1.0, e + f32(carry));
}
fn log_tail(m: f32) -> f32 { // log(1 + m) - m + m²/2
  var p = 7.0376836292e-2;
  p = p * m - 1.1514610310e-1;
  p = p * m + 1.1676998740e-1;
  p = p * m - 1.2420140846e-1;
  p = p * m + 1.4249322787e-1;
  p = p * m - 1.6668057665e-1;
  p = p * m + 2.0000714765e-1;
  p = p * m - 2.4999993993e-1;
  p = p * m + 3.3333331174e-1;
  return p * m * m * m;
}
fn log_edge(a: f32, finite: f32) -> f32 { // the values a logarithm has outside of (0, inf)
  if (magnitude(a) == 0u) { return -inf_f(); }
  if (isnan_f(a) || negative(a)) { return nan_f(); }
  return select(finite, a, isinf_f(a));
}
fn log_f(a: f32) -> f32 {
  let x = log_parts(a);
  let y = log_tail(x.m) - 2.12194440e-4 * x.e - 0.5 * x.m * x.m;
  return log_edge(a, (x.m + y) + 0.693359375 * x.e);
}
fn log2_f(a: f32) -> f32 {
  let x = log_parts(a);
  let y = log_tail(x.m) - 0.5 * x.m * x.m;
  return log_edge(a, ((x.m + y) * 0.44269504 + y) + x.m + x.e);
}
fn log10_f(a: f32) -> f32 {
  let x = log_parts(a);
  let y = log_tail(x.m) - 0.5 * x.m * x.m;
  let low = (x.m + y) * 7.00731903e-4 + x.e * 2.48745664e-4;
  return log_edge(a, ((low + y * 0.43359375) + x.m * 0.43359375) + x.e * 0.30078125);
}
fn log1p_f(a: f32) -> f32 {
  if (a > -0.29 && a < 0.41) { return a + (log_tail(a) - 0.5 * a * a); }
  return log_f(1.0 + a);
}

// ---- powers ----

fn odd_integer(b: f32) -> bool {
  return abs(b) < 16777216.0 && trunc(b) == b && (i32(b) & 1) == 1;
}
// The power of positive, finite numbers: the logarithm and its product in two floats each.
fn pow_positive(a: f32, b: f32) -> f32 {
  var bits = bitcast<u32>(a);
  var n = -127.0;
  if (bits < 0x00800000u) {
    bits = bitcast<u32>(f32(bits));
    n = -276.0;
  }
  n += f32(bits >> 23u);
  bits = (bits & 0x7fffffu) | 0x3f800000u;
  if (bits >= 0x3fddb3d7u) { // above √3
    n += 1.0;
    bits -= 0x800000u;
  }
  let near = bits > 0x3f9cc471u; // above √1.5: expand around 1.5
  let base = select(1.0, 1.5, near);
  let x = bitcast<f32>(bits);
  let u = x - base;
  let v = 1.0 / (x + base);
  let s = u * v;
  let sh = high(s);
  let th = high(x + base);
  let tl = x - (th - base);
  let sl = v * ((u - sh * th) - sh * tl);
  let s2 = s * s;
  var r = 2.0697501302e-1;
  r = r * s2 + 2.3066075146e-1;
  r = r * s2 + 2.7272811532e-1;
  r = r * s2 + 3.3333334327e-1;
  r = r * s2 + 4.2857143283e-1;
  r = r * s2 + 6.0000002384e-1;
  r = r * s2 * s2 + sl * (sh + s);
  let q = sh * sh;
  let wh = high(3.0 + q + r);
  let wl = r - ((wh - 3.0) - q);
  let p = sh * wh;
  let d = sl * wh + wl * s;
  let ph = high(p + d);
  let pl = d - (ph - p);
  let zh = 9.6191406250e-1 * ph;
  let zl = -1.1736857402e-4 * ph + pl * 9.6179670095e-1 + select(0.0, 1.56322085e-6, near);
  let k = select(0.0, 5.84960938e-1, near);
  let lh = high(((zh + zl) + k) + n); // log2(a) = lh + ll
  let ll = zl - (((lh - n) - k) - zh);
  let y = clamp(b, -1e30, 1e30); // so large that only its sign matters
  let yh = high(y);
  let el = (y - yh) * lh + y * ll;
  let eh = yh * lh;
  let e = clamp(eh + el, -160.0, 160.0);
  if (abs(e) == 160.0) { return select(0.0, inf_f(), e > 0.0); }
  let whole = round(e);
  let rest = ((eh - whole) + el) * 0.693147181;
  let small = scale(exp_tail(rest) * (rest * rest) + rest + 1.0, clamp(whole, -150.0, 128.0));
  return select(small, inf_f(), e >= 128.0);
}
fn pow_f(a: f32, b: f32) -> f32 {
  if (b == 2.0) { return a * a; }
  let x = magnitude(a);
  let y = magnitude(b);
  if (y == 0u || bitcast<u32>(a) == 0x3f800000u) { return 1.0; }
  if (x > 0x7f800000u || y > 0x7f800000u) { return nan_f(); }
  if (y == 0x7f800000u) {
    if (x == 0x3f800000u) { return 1.0; }
    return select(0.0, inf_f(), (x > 0x3f800000u) != negative(b));
  }
  let odd = odd_integer(b);
  let sign = select(1.0, -1.0, negative(a) && odd);
  if (x == 0u || x == 0x7f800000u) {
    return sign * select(0.0, inf_f(), (x == 0u) == negative(b));
  }
  if (negative(a) && trunc(b) != b) { return nan_f(); }
  return sign * pow_positive(abs(a), b);
}

// ---- trigonometry ----

// The bits of 2/π; an angle times it, modulo 4, is quadrant and place in it.
const TWO_OVER_PI = array<u32, 7>(
  0x28be60dbu, 0x9391054au, 0x7f09d5f4u, 0x7d4d3770u, 0x36d8a566u, 0x4f10e410u, 0x7f9458eau
);
fn mul_high(a: u32, b: u32) -> u32 {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let mid = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let more = (a & 0xffffu) * (b >> 16u) + (mid & 0xffffu);
  return (a >> 16u) * (b >> 16u) + (mid >> 16u) + (more >> 16u);
}

struct Angle { r: f32, q: u32 } // a = r + q · π/2, |r| ≤ π/4

fn reduce_large(a: f32) -> Angle { // Payne and Hanek: exact for every float
  let bits = magnitude(a);
  let m = (bits << 8u) | 0x80000000u;
  let e = (bits >> 23u) - 126u;
  let i = e >> 5u;
  let s = e & 31u;
  var w0 = select(TWO_OVER_PI[max(i, 1u) - 1u], 0u, i == 0u);
  var w1 = TWO_OVER_PI[i];
  var w2 = TWO_OVER_PI[i + 1u];
  if (s > 0u) {
    w0 = (w0 << s) | (w1 >> (32u - s));
    w1 = (w1 << s) | (w2 >> (32u - s));
    w2 = (w2 << s) | (TWO_OVER_PI[i + 2u] >> (32u - s));
  }
  var low = m * w1;
  var top = m * w0 + mul_high(m, w1);
  let add = mul_high(m, w2);
  low += add;
  top += select(0u, 1u, low < add);
  var q = top >> 30u;
  top &= 0x3fffffffu;
  let flip = top >= 0x20000000u; // beyond the middle: come from the next quadrant
  if (flip) {
    q += 1u;
    top = ~(top | 0xc0000000u);
    low = 0u - low;
    top += select(0u, 1u, low == 0u);
  }
  let lead = countLeadingZeros(top | 1u);
  var head = top;
  if (lead > 0u) { head = (top << lead) | (low >> (32u - lead)); }
  // head · 2^(-30 - lead) quadrants
  let r = f32(head) * 3.6572951e-10 * 4.0 * pow2(-f32(lead));
  let signed = select(r, -r, flip != negative(a));
  return Angle(signed, select(q, 0u - q, negative(a)));
}
fn reduce_angle(a: f32) -> Angle {
  if (abs(a) > 200.0) { return reduce_large(a); }
  let n = round(a * 0.636619772);
  // π/2 in three parts, so short that the products are exact
  let r = ((a - n * 1.570770263671875) - n * 2.6063062250614166e-05) - n * 6.07710063e-11;
  return Angle(r, u32(i32(n)));
}
fn sin_near(r: f32) -> f32 { // |r| ≤ π/4
  let z = r * r;
  return ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1) * z * r + r;
}
fn cos_near(r: f32) -> f32 {
  let z = r * r;
  let p = (2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2;
  return p * z * z - 0.5 * z + 1.0;
}
fn sin_quadrant(r: f32, q: u32) -> f32 {
  let s = select(sin_near(r), cos_near(r), (q & 1u) == 1u);
  return select(s, -s, (q & 2u) == 2u);
}
fn sin_f(a: f32) -> f32 {
  if (magnitude(a) >= 0x7f800000u) { return nan_f(); }
  let x = reduce_angle(a);
  return sin_quadrant(x.r, x.q);
}
fn cos_f(a: f32) -> f32 {
  if (magnitude(a) >= 0x7f800000u) { return nan_f(); }
  let x = reduce_angle(a);
  return sin_quadrant(x.r, x.q + 1u);
}
fn tan_f(a: f32) -> f32 {
  if (magnitude(a) >= 0x7f800000u) { return nan_f(); }
  let x = reduce_angle(a);
  let z = x.r * x.r;
  var p = 9.38540185543e-3;
  p = p * z + 3.11992232697e-3;
  p = p * z + 2.44301354525e-2;
  p = p * z + 5.34112807005e-2;
  p = p * z + 1.33387994085e-1;
  p = p * z + 3.33331568548e-1;
  let t = p * z * x.r + x.r;
  return select(t, -1.0 / t, (x.q & 1u) == 1u);
}
fn asin_near(a: f32, z: f32) -> f32 { // a + a·z·…, z = a² ≤ 1/4
  var p = 4.2163199048e-2;
  p = p * z + 2.4181311049e-2;
  p = p * z + 4.5470025998e-2;
  p = p * z + 7.4953002686e-2;
  p = p * z + 1.6666752422e-1;
  return p * z * a + a;
}
fn asin_f(a: f32) -> f32 {
  let x = abs(a);
  if (x > 1.0 || isnan_f(a)) { return nan_f(); }
  if (x <= 0.5) { return asin_near(a, a * a); }
  let z = 0.5 * (1.0 - x);
  let s = 2.0 * asin_near(sqrt_f(z), z);
  return copysign_f(1.57079633 - s, a);
}
fn acos_f(a: f32) -> f32 {
  let x = abs(a);
  if (x > 1.0 || isnan_f(a)) { return nan_f(); }
  if (x <= 0.5) { return 1.57079633 - asin_near(a, a * a); }
  let z = 0.5 * (1.0 - x);
  let s = 2.0 * asin_near(sqrt_f(z), z);
  return select(s, 3.14159265 - s, a < 0.0);
}
fn atan_f(a: f32) -> f32 {
  if (isnan_f(a)) { return a; }
  let x = abs(a);
  var y = 0.0;
  var t = x;
  if (x > 2.41421356) {
    y = 1.57079633;
    t = select(-1.0 / x, 0.0, isinf_f(a));
  } else if (x > 0.414213562) {
    y = 0.785398163;
    t = (x - 1.0) / (x + 1.0);
  }
  let z = t * t;
  var p = 8.05374449538e-2;
  p = p * z - 1.38776856032e-1;
  p = p * z + 1.99777106478e-1;
  p = p * z - 3.33329491539e-1;
  return copysign_f(y + (p * z * t + t), a);
}
fn atan2_f(a: f32, b: f32) -> f32 {
  if (!ordered(a, b)) { return nan_f(); }
  let y = abs(a);
  let x = abs(b);
  var t = div_f(min(x, y), max(x, y));
  if (magnitude(max(x, y)) == 0u) { t = 0.0; }
  if (isinf_f(x) && isinf_f(y)) { t = 1.0; }
  t = atan_f(t);
  if (y > x) { t = 1.57079633 - t; }
  if (negative(b)) { t = 3.14159265 - t; }
  return copysign_f(t, a);
}

// ---- hyperbolic ----

fn sinh_f(a: f32) -> f32 {
  let x = abs(a);
  if (x < 1.0 || isnan_f(a)) {
    let z = a * a;
    return ((2.03721912945e-4 * z + 8.33028376239e-3) * z + 1.66667160211e-1) * z * a + a;
  }
  let e = exp_f(select(x, 0.5 * x, x > 80.0));
  return copysign_f(select(0.5 * e - 0.5 / e, (0.5 * e) * e, x > 80.0), a);
}
fn cosh_f(a: f32) -> f32 {
  let x = abs(a);
  let e = exp_f(select(x, 0.5 * x, x > 80.0));
  return select(0.5 * e + 0.5 / e, (0.5 * e) * e, x > 80.0);
}
fn tanh_f(a: f32) -> f32 {
  let x = abs(a);
  if (isnan_f(a)) { return a; }
  if (x > 9.1) { return copysign_f(1.0, a); }
  if (x < 0.625) {
    let z = a * a;
    var p = -5.70498872745e-3;
    p = p * z + 2.06390887954e-2;
    p = p * z - 5.37397155531e-2;
    p = p * z + 1.33314422036e-1;
    p = p * z - 3.33332819422e-1;
    return p * z * a + a;
  }
  return copysign_f(1.0 - 2.0 / (exp_f(2.0 * x) + 1.0), a);
}
fn asinh_f(a: f32) -> f32 {
  let x = abs(a);
  if (x < 0.5 || isnan_f(a)) {
    let z = a * a;
    var p = 2.0122003309e-2;
    p = p * z - 4.2699340972e-2;
    p = p * z + 7.4847586088e-2;
    p = p * z - 1.6666288134e-1;
    return p * z * a + a;
  }
  let far = x > 1500.0;
  let l = log_f(select(x + sqrt(x * x + 1.0), x, far));
  return copysign_f(select(l, l + 0.693147181, far), a);
}
fn acosh_f(a: f32) -> f32 {
  if (a < 1.0 || isnan_f(a)) { return nan_f(); }
  let z = a - 1.0;
  if (z < 0.5) {
    var p = 1.7596881071e-3;
    p = p * z - 7.5272886713e-3;
    p = p * z + 2.6454905019e-2;
    p = p * z - 1.1784741703e-1;
    return (p * z + 1.4142135263) * sqrt_f(z);
  }
  let far = a > 1500.0;
  let l = log_f(select(a + sqrt(z * (a + 1.0)), a, far));
  return select(l, l + 0.693147181, far);
}
fn atanh_f(a: f32) -> f32 {
  let x = abs(a);
  if (x > 1.0 || isnan_f(a)) { return nan_f(); }
  if (x == 1.0) { return copysign_f(inf_f(), a); }
  if (x < 0.5) {
    let z = a * a;
    var p = 1.81740078349e-1;
    p = p * z + 8.24370301058e-2;
    p = p * z + 1.46691431730e-1;
    p = p * z + 1.99782164500e-1;
    p = p * z + 3.33337300303e-1;
    return p * z * a + a;
  }
  return copysign_f(0.5 * log_f((1.0 + x) / (1.0 - x)), a);
}

// ---- special functions ----

// Both ranges are computed and one is chosen: cheaper than a branch wherever invocations run in step.
fn erf_f(a: f32) -> f32 {
  let t = min(abs(a), 4.0);
  var r = (-1.72853470e-5 * t + 3.83197126e-4) * t * t;
  r += -3.88396438e-3 * t + 2.42546219e-2;
  r = r * t - 1.06777877e-1;
  r = r * t - 6.34846687e-1;
  r = r * t - 1.28717512e-1;
  let x = r * t - t; // from -17 on: no range to check
  let n = round(x * 1.44269504);
  let d = (x - n * 0.693359375) + n * 2.12194440e-4;
  let large = 1.0 - (exp_tail(d) * (d * d) + d + 1.0) * pow2(n);
  let s = a * a;
  var p = -5.96761703e-4;
  p = p * s + 4.99119423e-3;
  p = p * s - 2.67681349e-2;
  p = p * s + 1.12819925e-1;
  p = p * s - 3.76125336e-1;
  p = p * s + 1.28379166e-1;
  return select(p * a + a, copysign_f(large, a), magnitude(a) - 0x3f6d8001u < 0x40128000u);
}
fn phi_f(a: f32) -> f32 {
  return erf_f(a * 0.707106781) * 0.5 + 0.5;
}
fn erfc_f(a: f32) -> f32 {
  if (isnan_f(a)) { return a; }
  if (a < 0.5) { return 1.0 - erf_f(a); }
  if (a > 10.1) { return 0.0; }
  // (1 + 2a) exp(a²) erfc(a) by q = (a - 4) / (a + 4)
  let q = (a - 4.0) / (a + 4.0);
  let p = erfcx_tail(q) / (1.0 + 2.0 * a);
  let h = high(a); // a² in two parts
  return exp_f(-h * h) * exp_f((h - a) * (h + a)) * p;
}
fn erfcx_tail(q: f32) -> f32 { // fitted by least squares on Chebyshev points
  var p = 0.00526700169;
  p = p * q - 0.016571315;
  p = p * q + 0.0370075852;
  p = p * q - 0.0662577525;
  p = p * q + 0.0937635526;
  p = p * q - 0.10104575;
  p = p * q + 0.068094939;
  p = p * q + 0.0153799122;
  p = p * q - 0.139621079;
  return p * q + 1.23299515;
}
// Giles' approximation; relative error below 4e-7.
fn erfinv_f(a: f32) -> f32 {
  if (abs(a) > 1.0 || isnan_f(a)) { return nan_f(); }
  if (abs(a) == 1.0) { return copysign_f(inf_f(), a); }
  var w = -log_f((1.0 - a) * (1.0 + a));
  if (abs(a) < 0.3) { w = -log1p_f(-a * a); }
  var p = 0.0;
  if (w < 5.0) {
    w -= 2.5;
    p = 2.81022636e-08;
    p = p * w + 3.43273939e-07;
    p = p * w - 3.5233877e-06;
    p = p * w - 4.39150654e-06;
    p = p * w + 0.00021858087;
    p = p * w - 0.00125372503;
    p = p * w - 0.00417768164;
    p = p * w + 0.246640727;
    p = p * w + 1.50140941;
  } else {
    w = sqrt(w) - 3.0;
    p = -0.000200214257;
    p = p * w + 0.000100950558;
    p = p * w + 0.00134934322;
    p = p * w - 0.00367342844;
    p = p * w + 0.00573950773;
    p = p * w - 0.0076224613;
    p = p * w + 0.00943887047;
    p = p * w + 1.00167406;
    p = p * w + 2.83297682;
  }
  return p * a;
}
fn sin_pi(a: f32) -> f32 { // sin(π a)
  let n = round(2.0 * a);
  return sin_quadrant((a - 0.5 * n) * 3.14159265, u32(i32(clamp(n, -2e9, 2e9))));
}
fn lgamma_below_2(x: f32) -> f32 { // 0 < x < 2
  let low = x <= 0.9;
  let r = select(0.0, -log_f(x), low);
  let at = select(x, x + 1.0, low);
  if (at >= 1.7316) {
    let y = select(2.0 - x, 1.0 - x, low);
    let z = y * y;
    let p = 7.72156641e-2 + z * (6.73484802e-2 + z * 6.84631644e-3);
    return r + (y * p + z * (3.22467119e-1 + z * (2.06395667e-2 + z * 4.69941925e-3)) - 0.5 * y);
  }
  if (at >= 1.23164) {
    let y = select(x - 1.46163213, x - 0.46163213, low);
    var p = -9.89206228e-3;
    p = p * y + 1.86483748e-2;
    p = p * y - 3.28450352e-2;
    p = p * y + 6.46013096e-2;
    p = p * y - 1.47586212e-1;
    p = p * y + 4.83836412e-1;
    return r + ((p * y - 2.35939837e-8) * y - 1.21486291e-1);
  }
  let y = select(x - 1.0, x, low);
  let p = y * (-7.72156641e-2 + y * (7.36789703e-1 + y * 4.95649040e-1));
  let q = 1.0 + y * (1.10958421 + y * (2.10598111e-1 - y * 1.02995494e-2));
  return r + (p / q - 0.5 * y);
}
fn lgamma_positive(x: f32) -> f32 {
  if (x < 2.0) { return lgamma_below_2(x); }
  if (x < 8.0) {
    let whole = floor(x);
    let y = x - whole;
    let p = y * (-7.72156641e-2 + y * (2.69987404e-1 + y * (1.42851010e-1 + y * 1.19389519e-2)));
    let q = 1.0 + y * (6.79650068e-1 + y * (1.16058730e-1 + y * 3.75673687e-3));
    var z = 1.0;
    for (var k = 2.0; k < whole; k += 1.0) { z *= y + k; }
    return (0.5 * y + p / q) + select(log_f(z), 0.0, whole == 2.0);
  }
  let z = 1.0 / x;
  let w = 4.18938547e-1 + z * (8.33332464e-2 - z * z * 2.76129087e-3);
  return (x - 0.5) * (log_f(x) - 1.0) + w;
}
fn lgamma_f(a: f32) -> f32 {
  if (isnan_f(a)) { return a; }
  if (isinf_f(a)) { return inf_f(); }
  if (a > 0.0) { return lgamma_positive(a); }
  if (trunc(a) == a) { return inf_f(); }
  if (a > -1e-7) { return -log_f(-a); }
  return log_f(3.14159265 / abs(a * sin_pi(a))) - lgamma_positive(-a);
}
fn digamma_f(a: f32) -> f32 {
  if (isnan_f(a)) { return a; }
  if (magnitude(a) == 0u) { return copysign_f(inf_f(), -a); }
  if (isinf_f(a)) { return select(a, nan_f(), negative(a)); }
  if (a < 0.0 && trunc(a) == a) { return nan_f(); }
  var x = a;
  var sum = 0.0;
  if (a < 0.0) {
    x = 1.0 - a;
    sum = -3.14159265 * sin_pi(a + 0.5) / sin_pi(a);
  }
  while (x < 6.0) {
    sum -= 1.0 / x;
    x += 1.0;
  }
  let z = 1.0 / (x * x);
  let series = z * (8.33333333e-2 - z * (8.33333333e-3 - z * (3.96825397e-3 - z * 4.16666667e-3)));
  return sum + (log_f(x) - 0.5 / x - series);
}
fn trigamma_f(a: f32) -> f32 {
  if (isnan_f(a)) { return a; }
  if (a <= 0.0 && trunc(a) == a) { return inf_f(); }
  var x = a;
  var sum = 0.0;
  var sign = 1.0;
  if (a < 0.0) {
    let s = 3.14159265 / sin_pi(a);
    sum = s * s;
    sign = -1.0;
    x = 1.0 - a;
  }
  var own = 0.0;
  while (x < 6.0) {
    own += 1.0 / (x * x);
    x += 1.0;
  }
  let z = 1.0 / (x * x);
  let series = z / x * (1.66666667e-1 - z * (3.33333333e-2 - z * (2.38095238e-2 - z * 3.33333333e-2)));
  return sum + sign * (own + 1.0 / x + 0.5 * z + series);
}
