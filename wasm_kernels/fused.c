// fused: a chain of elementwise ops with its reductions, interpreted tile by tile.
//
// Python (backends/wasm_fused.py) compiles a Fused step to the words below. A register is a tile of
// `lanes` values of 4 or 8 bytes; one word program is run per tile, so that a value lives in the
// L1 cache between two ops and the dispatch (some 5 ns) is paid once per tile and not per value.
//
// words: rows, inner, along_inner, lanes, block, register bytes, phases, merge mask,
//        section (uniform: same value everywhere, run once, all lanes),
//        per phase: section (one value per row; lanes are rows),
//                   number of reductions, then for each: kind, register, partial register or -1,
//                   section (splats: run per row, where lanes run along the inner space),
//                   section (one value per element)
// section: number of words, instructions; instruction: opcode, number of words, fields (see `run`)
// view:    number of dimensions, then (size, stride) per dimension, innermost first
//
// along_inner 1: rows in blocks of `block`; per phase the row section for the whole block, then row
// by row tiles along the inner space, folded into one accumulator per reduction. along_inner 0:
// lanes are rows, the inner space is a plain loop outside; used where rows are contiguous or the
// inner space is short, and for kernels without one (inner 0, one phase).
//
// A value per element that a later phase needs again (the exponentials of a softmax) stays in the
// scratch memory for the block's rows (`kept`). The commonest float32 ops come alone and in pairs
// (`hot`), and read a number, or a value per row, from a single vector. A share is whole blocks.
//
// Bound by memory for chains of cheap ops over contiguous float32 (read and written in place), by
// L1 traffic (two to four accesses per op or pair and four lanes) for long ones.
#include "math.h"
#include "simd.h"

#define SCRATCH (512 * 1024)  // registers
#define KEPT (256 * 1024)     // values kept for later phases, behind them
#define MAX_REGISTERS 1024
#define MAX_REDUCTIONS 64
#define MAX_DIMS 32

typedef void Op(void *restrict d, const void *p, const void *q, const void *r, int n);

int32_t status;  // set by `index`, read and cleared by the host; exported

static _Thread_local _Alignas(16) uint8_t scratch[SCRATCH + KEPT];
static _Thread_local uint8_t *registers[MAX_REGISTERS];
static _Thread_local int register_bytes;
static _Thread_local Cell accumulators[MAX_REDUCTIONS];

static uint8_t *home(int k) { return scratch + k * register_bytes; }

// ---- the elementwise ops: loops over whole groups of four lanes; what lies behind n is never read

#define LANES_LOOP(n) for (unsigned i = 0, end = ((unsigned)(n) + 3) / 4 * 4; i != end; i++)
#define OP(name) \
  static void op_##name(void *restrict d, const void *p, const void *q, const void *r, int n)
#define X1(name, R, A, e) \
  OP(name) { LANES_LOOP(n) { A a = ((const A *)p)[i]; ((R *)d)[i] = e; } }
#define X2(name, R, A, e) \
  OP(name) { LANES_LOOP(n) { A a = ((const A *)p)[i], b = ((const A *)q)[i]; ((R *)d)[i] = e; } }
#define X3(name, R, A, e)                                                     \
  OP(name) {                                                                  \
    LANES_LOOP(n) {                                                           \
      int32_t a = ((const int32_t *)p)[i];                                    \
      A b = ((const A *)q)[i], c = ((const A *)r)[i];                         \
      ((R *)d)[i] = e;                                                        \
    }                                                                         \
  }
#define V1(name, f)                                                                        \
  OP(name) {                                                                               \
    const float *a = p;                                                                    \
    float *to = d;                                                                         \
    for (; n > 4; n -= 8, a += 8, to += 8) {                                               \
      F4 y = f(*(const F4 *)a), z = f(*(const F4 *)(a + 4));                               \
      *(F4 *)to = y;                                                                       \
      *(F4 *)(to + 4) = z;                                                                 \
    }                                                                                      \
    if (n > 0) *(F4 *)to = f(*(const F4 *)a);                                              \
  }
#include "elementwise.inc"
#undef X1
#undef X2
#undef X3
#undef V1
#define X1(name, R, A, e) op_##name,
#define V1(name, f) op_##name,
#define X2 X1
#define X3 X1
static Op *const ops[] = {
#include "elementwise.inc"
};

// ---- what is met most, in float32: a step of 0 is one vector for all lanes (a number, or a value
// per row); `t` is a op b, rounded, so that a pair gives what two ops would

#define F4_AT(x) (*(const F4 *)(x))
#define HOT(name, e)                                                                            \
  static void hot_##name(float *d, const float *p, const float *q, const float *r, int n,       \
                         int p_step, int q_step, int r_step) {                                  \
    for (; n > 4; n -= 8, d += 8, p += 2 * p_step, q += 2 * q_step, r += 2 * r_step) {          \
      F4 y;                                                                                     \
      { F4 a = F4_AT(p), b = F4_AT(q), c = F4_AT(r); (void)c; y = e; }                          \
      F4 a = F4_AT(p + p_step), b = F4_AT(q + q_step), c = F4_AT(r + r_step);                   \
      (void)c;                                                                                  \
      *(F4 *)d = y;                                                                             \
      *(F4 *)(d + 4) = e;                                                                       \
    }                                                                                           \
    if (n > 0) { F4 a = F4_AT(p), b = F4_AT(q), c = F4_AT(r); (void)c; *(F4 *)d = e; }          \
  }
#define PAIRS(X, first, t) \
  X(first##_add, t + c) X(first##_sub, t - c) X(first##_rsub, c - t) X(first##_mul, t * c)
#define HOTS(X)                                                                                 \
  X(add, a + b) X(sub, a - b) X(mul, a * b) X(div, a / b)                                       \
  X(maximum, (F4)wasm_f32x4_max((v128_t)a, (v128_t)b))                                          \
  X(minimum, (F4)wasm_f32x4_min((v128_t)a, (v128_t)b))                                          \
  PAIRS(X, add, (a + b)) PAIRS(X, sub, (a - b)) PAIRS(X, mul, (a * b)) X(sub_exp, exp_4(a - b))
HOTS(HOT)
typedef void Hot(float *, const float *, const float *, const float *, int, int, int, int);
#define HOT_NAME(name, e) hot_##name,
static Hot *const hots[] = {HOTS(HOT_NAME)};

// ---- storage types: how a dtype is read into lanes, written from them, and indexed --------------

#define DTYPES(X)                                              \
  X(bool, uint8_t, int32_t, x != 0, x != 0)                    \
  X(uint8, uint8_t, int32_t, x, (uint8_t)x)                    \
  X(int8, int8_t, int32_t, x, (int8_t)x)                       \
  X(int16, int16_t, int32_t, x, (int16_t)x)                    \
  X(int32, int32_t, int32_t, x, x)                             \
  X(int64, int64_t, int64_t, x, x)                             \
  X(float16, uint16_t, float, float_of_half(x), half_of(x))    \
  X(bfloat16, uint16_t, float, float_of_bfloat(x), bfloat_of(x)) \
  X(float32, float, float, x, x)                               \
  X(float64, double, double, x, x)

typedef void Move(void *restrict d, const void *restrict s, int stride, int n);
typedef void Pick(void *restrict d, const void *restrict s, const int32_t *restrict at, int step,
                  int n);
// Lane by lane is quicker than vectors put together from single elements.
#define SCALAR_LOOP(n) \
  _Pragma("clang loop vectorize(disable) unroll_count(4)") for (int i = 0; i < n; i++)
#define MOVES(name, S, C, IN, OUT)                                                          \
  static void load_##name(void *restrict d, const void *restrict s, int stride, int n) {    \
    if (stride == 1) {                                                                      \
      for (int i = 0; i < n; i++) { S x = ((const S *)s)[i]; ((C *)d)[i] = IN; }            \
    } else if (stride == 2) { /* vectorised, with shuffles */                               \
      for (int i = 0; i < n; i++) { S x = ((const S *)s)[i * 2]; ((C *)d)[i] = IN; }        \
    } else {                                                                                \
      SCALAR_LOOP(n) { S x = ((const S *)s)[i * stride]; ((C *)d)[i] = IN; }                \
    }                                                                                       \
  }                                                                                         \
  static void store_##name(void *restrict d, const void *restrict s, int stride, int n) {   \
    if (stride == 1) {                                                                      \
      for (int i = 0; i < n; i++) { C x = ((const C *)s)[i]; ((S *)d)[i] = OUT; }           \
    } else {                                                                                \
      for (int i = 0; i < n; i++) { C x = ((const C *)s)[i]; ((S *)d)[i * stride] = OUT; }  \
    }                                                                                       \
  }                                                                                         \
  __attribute__((unused)) static void pick_##name(void *restrict d, const void *restrict s, \
                          const int32_t *restrict at, int step, int n) {                    \
    SCALAR_LOOP(n) { S x = ((const S *)s)[at[i] + i * step]; ((C *)d)[i] = IN; }            \
  }
DTYPES(MOVES)
#define LOAD(name, S, C, IN, OUT) load_##name,
#define STORE(name, S, C, IN, OUT) store_##name,
#define PICK(name, S, C, IN, OUT) pick_##name,
#define BYTES(name, S, C, IN, OUT) sizeof(S),
#define LANE_BYTES(name, S, C, IN, OUT) sizeof(C),
static Move *const loads[] = {DTYPES(LOAD)};
static Move *const stores[] = {DTYPES(STORE)};
// Of four bytes in memory and in lanes.
static void pick_four(void *restrict d, const void *restrict s, const int32_t *restrict at, int step,
                      int n) {
  const int32_t *x = s;
  int32_t *y = d;
  for (; n >= 4; n -= 4, at += 4, y += 4, x += 4 * step) {
    v128_t v = wasm_v128_load32_zero(x + at[0]);
    v = wasm_v128_load32_lane(x + step + at[1], v, 1);
    v = wasm_v128_load32_lane(x + 2 * step + at[2], v, 2);
    wasm_v128_store(y, wasm_v128_load32_lane(x + 3 * step + at[3], v, 3));
  }
  for (int i = 0; i < n; i++) y[i] = x[at[i] + i * step];
}
#define pick_int32 pick_four
#define pick_float32 pick_four
static Pick *const picks[] = {DTYPES(PICK)};
static const uint8_t dtype_bytes[] = {DTYPES(BYTES)};
static const uint8_t lane_bytes[] = {DTYPES(LANE_BYTES)};
enum { FLOAT32 = 8 };  // its place among them

// ---- folds: kind is 4 * type + op; types f d i l, ops sum prod max min --------------------------

#define MULTIPLY(a, b) ((a) * (b))
#define FOLDS(X)                                                                            \
  X(f, float, d, double, sum, ADD, ADD, 0)                                                  \
  X(f, float, d, double, prod, MULTIPLY, MULTIPLY, 1)                                       \
  X(f, float, d, double, max, max_f, max_d, -INFINITY)                                      \
  X(f, float, d, double, min, min_f, min_d, INFINITY)                                       \
  X(d, double, d, double, sum, ADD, ADD, 0)                                                 \
  X(d, double, d, double, prod, MULTIPLY, MULTIPLY, 1)                                      \
  X(d, double, d, double, max, max_d, max_d, -INFINITY)                                     \
  X(d, double, d, double, min, min_d, min_d, INFINITY)                                      \
  X(i, int32_t, l, int64_t, sum, ADD, ADD, 0)                                               \
  X(i, int32_t, l, int64_t, prod, MULTIPLY, MULTIPLY, 1)                                    \
  X(i, int32_t, l, int64_t, max, max_i, max_l, INT32_MIN)                                   \
  X(i, int32_t, l, int64_t, min, min_i, min_l, INT32_MAX)                                   \
  X(l, int64_t, l, int64_t, sum, ADD, ADD, 0)                                               \
  X(l, int64_t, l, int64_t, prod, MULTIPLY, MULTIPLY, 1)                                    \
  X(l, int64_t, l, int64_t, max, max_l, max_l, INT64_MIN)                                   \
  X(l, int64_t, l, int64_t, min, min_l, min_l, INT64_MAX)

// `fold` takes a tile into one cell: sixteen running values, then a tree, then a wide accumulator,
// so that the sum of ten million ones is ten million. `join` works lane by lane, on one row or AT_ONCE.
#define AT_ONCE 8
typedef void Fold(Cell *total, const void *x, int n);
typedef void Join(void *restrict total, uint8_t *const *x, int rows, int n);
typedef void Fill(void *d, int n);
typedef void Finish(void *d, const Cell *total);
#define FOLD(t, T, w, W, name, NARROW, WIDE, ZERO)                                          \
  static void fold_##name##_##t(Cell *total, const void *p, int n) {                        \
    const T *x = p;                                                                         \
    T s[16] = {ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO,                              \
               ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO};                             \
    int i = 0;                                                                              \
    for (; i + 16 <= n; i += 16)                                                            \
      for (int k = 0; k < 16; k++) s[k] = NARROW(s[k], x[i + k]);                           \
    for (; i < n; i++) s[i & 15] = NARROW(s[i & 15], x[i]);                                 \
    for (int w = 8; w; w /= 2)                                                              \
      for (int k = 0; k < w; k++) s[k] = NARROW(s[k], s[k + w]);                            \
    total->w = WIDE(total->w, (W)s[0]);                                                     \
  }                                                                                         \
  static void join_##name##_##t(void *restrict total, uint8_t *const *rows, int n_rows, int n) { \
    T *y = total;                                                                           \
    const T *x[AT_ONCE];                                                                    \
    for (int r = 0; r < n_rows; r++) x[r] = (const T *)rows[r];                             \
    if (n_rows == 1) {                                                                      \
      LANES_LOOP(n) y[i] = NARROW(y[i], x[0][i]);                                           \
      return;                                                                               \
    }                                                                                       \
    LANES_LOOP(n) {                                                                         \
      T s = y[i];                                                                           \
      for (int r = 0; r < AT_ONCE; r++) s = NARROW(s, x[r][i]);                             \
      y[i] = s;                                                                             \
    }                                                                                       \
  }                                                                                         \
  static void fill_##name##_##t(void *d, int n) { LANES_LOOP(n) ((T *)d)[i] = ZERO; }       \
  static void start_##name##_##t(Cell *total) { total->w = (W)(T)ZERO; }                    \
  static void finish_##name##_##t(void *d, const Cell *total) { *(T *)d = (T)total->w; }
FOLDS(FOLD)

// The commonest by hand: more running values, and no more of them in memory.
// WebAssembly's max costs seven instructions on x86 where pmax is one; nan is looked for apart.
#define EXTREME_FOLD(name, PICK, START)                                                     \
  static void fold_##name##_fast(Cell *total, const void *p, int n) {                       \
    const float *x = p;                                                                     \
    v128_t s[4], bad[4];                                                                    \
    for (int k = 0; k < 4; k++) s[k] = wasm_f32x4_splat(START), bad[k] = wasm_i32x4_splat(0); \
    for (; n >= 16; n -= 16, x += 16)                                                       \
      for (int k = 0; k < 4; k++) {                                                         \
        v128_t y = wasm_v128_load(x + 4 * k);                                               \
        s[k] = PICK(s[k], y);                                                               \
        bad[k] = wasm_v128_or(bad[k], wasm_f32x4_ne(y, y));                                 \
      }                                                                                     \
    for (int k = 0; k < 4; k++)                                                             \
      s[k] = wasm_v128_bitselect(wasm_f32x4_splat(NAN), s[k], bad[k]);                      \
    for (int w = 2; w; w /= 2)                                                              \
      for (int k = 0; k < w; k++) s[k] = wasm_f32x4_##name(s[k], s[k + w]);                 \
    fold_##name##_f(total, s, 4);                                                           \
    if (n > 0) fold_##name##_f(total, x, n);                                                \
  }                                                                                         \
  static void join_##name##_fast(void *restrict total, uint8_t *const *rows, int n_rows, int n) { \
    v128_t *y = total, bad = wasm_i32x4_splat(0);                                           \
    for (int i = 0; n_rows > 1 && i < n; i += 4, y++)                                       \
      for (int r = 0; r < AT_ONCE; r++) {                                                   \
        v128_t x = wasm_v128_load(rows[r] + 4 * i);                                         \
        *y = PICK(*y, x);                                                                   \
        bad = wasm_v128_or(bad, wasm_f32x4_ne(x, x));                                       \
      }                                                                                     \
    for (int r = 0; r < n_rows && (n_rows == 1 || wasm_v128_any_true(bad)); r++)            \
      join_##name##_f(total, rows + r, 1, n);                                               \
  }
EXTREME_FOLD(max, wasm_f32x4_pmax, -INFINITY)
EXTREME_FOLD(min, wasm_f32x4_pmin, INFINITY)
static void fold_sum_fast(Cell *total, const void *p, int n) {
  const float *x = p;
  F4 s[8];
  for (int k = 0; k < 8; k++) s[k] = K4(0);
  for (; n >= 32; n -= 32, x += 32)
    for (int k = 0; k < 8; k++) s[k] += F4_AT(x + 4 * k);
  for (int w = 4; w; w /= 2)
    for (int k = 0; k < w; k++) s[k] += s[k + w];
  total->d += (s[0][0] + s[0][2]) + (s[0][1] + s[0][3]);
  if (n > 0) fold_sum_f(total, x, n);
}
#define fold_sum_f fold_sum_fast
#define fold_max_f fold_max_fast
#define join_max_f join_max_fast
#define join_min_f join_min_fast
#define fold_min_f fold_min_fast
typedef struct {
  Fold *fold;
  Join *join;
  Fill *fill;
  void (*start)(Cell *);
  Finish *finish;
  int lane_bytes;
} Reduction;
#define REDUCTION(t, T, w, W, name, NARROW, WIDE, ZERO) \
  {fold_##name##_##t, join_##name##_##t, fill_##name##_##t, start_##name##_##t, \
   finish_##name##_##t, sizeof(T)},
static const Reduction reductions[] = {FOLDS(REDUCTION)};

// ---- addresses ----------------------------------------------------------------------------------

// Where a section stands: lanes start .. start + n of one space, position `outer` of the other.
typedef struct {
  int start, n, outer, row;
  uint8_t **buffers;
  const Cell *scalars;
} Place;

static int address(const int32_t *view, int at) {
  int dims = *view++, sum = 0;
  for (; dims > 1; dims--, view += 2) {
    sum += (at % view[0]) * view[1];
    at /= view[0];
  }
  return dims ? sum + at * view[1] : 0;
}

static const int32_t *after(const int32_t *view) { return view + 1 + 2 * view[0]; }

// Walks the lanes of a view in runs along its innermost dimension.
typedef struct {
  int at, stride, run, left;  // of the run: address, step, length; lanes still to go, it included
  int dims, at_in[MAX_DIMS];
  const int32_t *view;
} Walk;

static Walk walk(const int32_t *view, int start, int n) {
  Walk w = {.left = n, .run = n, .dims = *view, .view = view + 1};
  for (int d = 0; d < w.dims; d++) {
    const int32_t *dim = w.view + 2 * d;
    w.at_in[d] = d < w.dims - 1 ? start % dim[0] : start;
    w.at += w.at_in[d] * dim[1];
    if (d < w.dims - 1) start /= dim[0];
  }
  w.stride = w.dims ? w.view[1] : 0;
  int room = w.dims > 1 ? w.view[0] - w.at_in[0] : n;
  w.run = room < n ? room : n;
  return w;
}

static int next(Walk *w) {
  w->left -= w->run;
  if (w->left <= 0) return 0;
  w->at += w->run * w->stride;
  for (int d = 1; d < w->dims; d++) {  // a dimension is full: back to its start, one up in the next
    const int32_t *dim = w->view + 2 * d;
    w->at += dim[1] - dim[-2] * dim[-1];
    if (++w->at_in[d] < dim[0] || d == w->dims - 1) break;
    w->at_in[d] = 0;
  }
  w->run = w->view[0] < w->left ? w->view[0] : w->left;
  return 1;
}

static void splat(uint8_t *d, const uint8_t *value, int bytes, int n) {
  if (bytes == 4) {
    int32_t x;
    __builtin_memcpy(&x, value, 4);
    for (int i = 0; i < n; i++) ((int32_t *)d)[i] = x;
  } else {
    int64_t x;
    __builtin_memcpy(&x, value, 8);
    for (int i = 0; i < n; i++) ((int64_t *)d)[i] = x;
  }
}

// ---- instructions -------------------------------------------------------------------------------

enum {
  LOAD_OP, STORE_OP, OUT_OP, ADDR_OP, SCALAR_OP, CONST_OP, SPLAT_OP, TAKE_OP, INDEX_OP, REDUCE_OP,
  KEPT_OP, HOT_OP,
  TABLE = 16
};
#define KEEP 0x10000  // in a destination: write where OUT pointed the register

enum { IN_PLACE = 1, ALIGNED = 2, NARROW = 4 };

static int lanes_address(const int32_t *view, const Place *p, int how) {
  return how & ALIGNED ? address(view, p->start) : p->start;
}

// Short runs of four bytes, one or two apart (a picture's rows, a pooling window): where a run takes
// little longer than a call. Reads nothing but what lies between its first and last value.
static void load_runs(int32_t *restrict d, const int32_t *base, Walk *k) {
  int step = k->stride;
  do {
    const int32_t *s = base + k->at;
    int i = 0, run = k->run;
    if (step == 1)
      for (; i + 4 <= run; i += 4) wasm_v128_store(d + i, wasm_v128_load(s + i));
    else
      for (; i + 4 <= run; i += 4) {
        v128_t a = wasm_v128_load(s + 2 * i), b = wasm_v128_load(s + 2 * i + 3);
        wasm_v128_store(d + i, wasm_i32x4_shuffle(a, b, 0, 2, 5, 7));
      }
    for (; i < run; i++) d[i] = s[i * step];
    d += run;
  } while (next(k));
}

// load: register, operand, dtype, how, offset, lanes view, outer view. How: in place; aligned (a
// tile lies within one run of the lanes view); narrow (the same value in all lanes, wanted once)
static void load(const int32_t *w, const Place *p) {
  int dtype = w[2], bytes = dtype_bytes[dtype], wide = lane_bytes[dtype], how = w[3];
  const int32_t *lanes = w + 5;
  const uint8_t *base = p->buffers[w[1]];
  unsigned at = (unsigned)(w[4] + address(after(lanes), p->outer));
  uint8_t *d = home(w[0]);
  if (how & IN_PLACE && p->n % 4 == 0) {
    at += (unsigned)lanes_address(lanes, p, how);
    registers[w[0]] = (uint8_t *)base + at * (unsigned)bytes;
    return;
  }
  registers[w[0]] = d;
  Walk k = walk(lanes, p->start, p->n);
  if (how & NARROW) k.left = k.run = 16 / wide;
  if (dtype == FLOAT32 && k.dims > 1 && (k.stride == 1 || k.stride == 2)) {
    load_runs((int32_t *)d, (const int32_t *)base + at, &k);
    return;
  }
  do {
    const uint8_t *s = base + (at + (unsigned)k.at) * (unsigned)bytes;
    if (k.stride == 0 && k.run > 1) {
      uint8_t value[8];
      loads[dtype](value, s, 1, 1);
      splat(d, value, wide, k.run);
    } else {
      loads[dtype](d, s, k.stride, k.run);
    }
    d += k.run * wide;
  } while (next(&k));
}

// store: register, operand, dtype, offset, lanes view, outer view
static void store(const int32_t *w, const Place *p) {
  int dtype = w[2], bytes = dtype_bytes[dtype], wide = lane_bytes[dtype];
  const int32_t *lanes = w + 4;
  uint8_t *base = p->buffers[w[1]];
  unsigned at = (unsigned)(w[3] + address(after(lanes), p->outer));
  const uint8_t *s = registers[w[0]];
  Walk k = walk(lanes, p->start, p->n);
  do {
    uint8_t *d = base + (at + (unsigned)k.at) * (unsigned)bytes;
    if (d != s) stores[dtype](d, s, k.stride, k.run);
    s += k.run * wide;
  } while (next(&k));
}

// out: register, operand, bytes, how, offset, lanes view, outer view. The lanes are contiguous: the
// op that follows writes to its destination at once.
static void out(const int32_t *w, const Place *p) {
  unsigned at = (unsigned)(w[4] + address(after(w + 5), p->outer) + lanes_address(w + 5, p, w[3]));
  registers[w[0]] = p->n % 4 ? home(w[0]) : p->buffers[w[1]] + at * (unsigned)w[2];
}

// kept: register, offset in the scratch memory, bytes per row and per lane: a value that a later phase reads
// again stays there for all rows of the block. The op that follows writes it, or it is just read.
static void kept(const int32_t *w, const Place *p) {
  registers[w[0]] = scratch + w[1] + p->row * w[2] + p->start * w[3];
}

// addr: register, is int64, offset, lanes view, outer view
static void addr(const int32_t *w, const Place *p) {
  const int32_t *lanes = w + 3;
  int at = w[2] + address(after(lanes), p->outer), done = 0;
  uint8_t *d = registers[w[0]] = home(w[0]);
  Walk k = walk(lanes, p->start, p->n);
  do {
    int first = at + k.at, step = k.stride;
    if (w[1]) for (int i = 0; i < k.run; i++) ((int64_t *)d)[done + i] = first + i * step;
    else for (int i = 0; i < k.run; i++) ((int32_t *)d)[done + i] = first + i * step;
    done += k.run;
  } while (next(&k));
}

// scalar: register, type letter's place in "fdil", scalar slot, narrow
static void scalar(const int32_t *w, const Place *p) {
  const Cell *cell = p->scalars + w[2];
  uint8_t *d = registers[w[0]] = home(w[0]);
  float f = (float)cell->d;
  int32_t i = (int32_t)cell->l;
  int n = w[3] ? 4 : p->n;
  if (w[1] == 0) splat(d, (uint8_t *)&f, 4, n);
  else if (w[1] == 2) splat(d, (uint8_t *)&i, 4, n);
  else splat(d, (const uint8_t *)cell, 8, n);
}

// index: register, index register, 0 int32, 1 int64 to int32, 2 int64; size, code, what is added to a
// negative one. Lanes behind n are left alone.
#define CHECK(T, R)                                                                             \
  for (; i < p->n; i++) {                                                              \
    T at = ((const T *)s)[i];                                                                   \
    at += at < 0 ? w[5] : 0;                                                                    \
    int out = at < 0 || at >= size;                                                             \
    bad |= out;                                                                                 \
    ((R *)d)[i] = out ? 0 : (R)at;                                                              \
  }
static void check(const int32_t *w, const Place *p) {
  uint8_t *restrict d = registers[w[0]] = home(w[0]);
  const uint8_t *s = registers[w[1]];
  int32_t size = w[3], bad = 0;
  int i = 0;
  v128_t wrong = wasm_i32x4_splat(0), most = wasm_i32x4_splat(size);
  v128_t back = wasm_i32x4_splat(w[5]);
  for (; w[2] < 2 && i + 4 <= p->n; i += 4) {
    v128_t low = wasm_v128_load(s + 4 * i), high = wasm_i32x4_shr(low, 31);
    if (w[2]) {
      v128_t a = wasm_v128_load(s + 8 * i), b = wasm_v128_load(s + 8 * i + 16);
      low = wasm_i32x4_shuffle(a, b, 0, 2, 4, 6), high = wasm_i32x4_shuffle(a, b, 1, 3, 5, 7);
    }
    v128_t sign = wasm_i32x4_shr(low, 31), at = wasm_i32x4_add(low, wasm_v128_and(sign, back));
    v128_t out = wasm_v128_or(wasm_i32x4_ne(high, sign), wasm_u32x4_ge(at, most));
    wasm_v128_store(d + 4 * i, wasm_v128_andnot(at, out));
    wrong = wasm_v128_or(wrong, out);
  }
  bad = wasm_v128_any_true(wrong);
  if (w[2] == 0) CHECK(int32_t, int32_t)
  else if (w[2] == 1) CHECK(int64_t, int32_t)
  else CHECK(int64_t, int64_t)
  if (bad && status < w[4]) status = w[4];
}

static uint8_t *target(int w) {  // where an op writes: to its home, if no `out` or `kept` says else
  int k = w & (KEEP - 1);
  if (!(w & KEEP)) registers[k] = home(k);
  return registers[k];
}

// hot: register, operand registers, number of the op, bits: operands that go from lane to lane
static void hot(const int32_t *w, int n) {
  float *d = (float *)target(w[0]), *p = (float *)registers[w[1]];
  float *q = (float *)registers[w[2]], *r = (float *)registers[w[3]];
  hots[w[4]](d, p, q, r, n, w[5] & 1 ? 4 : 0, w[5] & 2 ? 4 : 0, w[5] & 4 ? 4 : 0);
}

// take: register, register of int32, operand, dtype, offset, lanes view, outer view: what lies at the
// place of the views, and so many elements on
static void take(const int32_t *w, const Place *p) {
  const int32_t *lanes = w + 5, *at = (const int32_t *)registers[w[1]];
  unsigned first = (unsigned)(w[4] + address(after(lanes), p->outer)), bytes = dtype_bytes[w[3]];
  uint8_t *d = target(w[0]);
  Walk k = walk(lanes, p->start, p->n);
  do {
    picks[w[3]](d, p->buffers[w[2]] + (first + (unsigned)k.at) * bytes, at, k.stride, k.run);
    at += k.run;
    d += k.run * lane_bytes[w[3]];
  } while (next(&k));
}

static void special(const int32_t *w, int op, const Place *p, int along_inner) {
  uint8_t *d = home(w[0] & (KEEP - 1));
  switch (op) {
    case LOAD_OP: load(w, p); return;
    case STORE_OP: store(w, p); return;
    case OUT_OP: out(w, p); return;
    case ADDR_OP: addr(w, p); return;
    case SCALAR_OP: scalar(w, p); return;
    case CONST_OP:  // register, bytes, low word, high word, narrow
      splat(registers[w[0]] = d, (const uint8_t *)(w + 2), w[1], w[4] ? 4 : p->n);
      return;
    case SPLAT_OP:  // register, register of one value per row, bytes, narrow
      splat(registers[w[0]] = d, registers[w[1]] + p->row * w[2], w[2], w[3] ? 4 : p->n);
      return;
    case KEPT_OP: kept(w, p); return;
    case HOT_OP: hot(w, p->n); return;
    case TAKE_OP: take(w, p); return;
    case INDEX_OP: check(w, p); return;
    case REDUCE_OP:  // number of the reduction, register, kind, register of the total
      if (along_inner) reductions[w[2]].fold(accumulators + w[0], registers[w[1]], p->n);
      else reductions[w[2]].join(home(w[3]), registers + w[1], 1, p->n);
      return;
  }
}

static void run(const int32_t *section, const Place *p, int along_inner) {
  const int32_t *end = section + 1 + *section;
  for (const int32_t *w = section + 1; w < end; w += w[1]) {
    if (w[0] < TABLE) {
      special(w + 2, w[0], p, along_inner);
      continue;
    }
    ops[w[0] - TABLE](target(w[2]), registers[w[3]], registers[w[4]], registers[w[5]], p->n);
  }
}

static const int32_t *skip(const int32_t *section) { return section + 1 + *section; }

// ---- the loops ----------------------------------------------------------------------------------

typedef struct {
  int rows, inner, along_inner, lanes, block, bytes, phases, merge;
} Head;

// One row: lanes run along the inner space.
static void row_of_tiles(const Head *h, const int32_t *reduce, int n_reduce, Place place, int row) {
  const int32_t *splats = reduce + 3 * n_reduce, *body = skip(splats);
  place.outer = place.start + row;
  place.row = row;
  place.n = h->lanes < h->inner ? h->lanes : h->inner;
  if (*splats) run(splats, &place, 1);
  for (int k = 0; k < n_reduce; k++) reductions[reduce[3 * k]].start(accumulators + k);
  for (place.start = 0; place.start < h->inner; place.start += h->lanes) {
    int left = h->inner - place.start;
    place.n = left < h->lanes ? left : h->lanes;
    run(body, &place, 1);
  }
  for (int k = 0; k < n_reduce; k++) {
    const Reduction *r = reductions + reduce[3 * k];
    r->finish(home(reduce[3 * k + 1]) + row * r->lane_bytes, accumulators + k);
  }
}

// Nothing but a sum (product, …) of rows that are read in place: AT_ONCE of them, which is one pass
// over the totals, and as many streams as memory likes.
static int rows_at_once(const Head *h, const int32_t *body, const Place *place) {
  const int32_t *reduce = body + 1 + body[2];
  int plain = body[1] == LOAD_OP && body[6] & IN_PLACE && reduce[0] == REDUCE_OP;
  if (!plain || body[0] != body[2] + reduce[1] || place->n % 4 || place->outer % AT_ONCE) return 0;
  if (place->outer + AT_ONCE > h->inner || (h->merge + 1) % AT_ONCE) return 0;
  uint8_t *rows[AT_ONCE];
  for (int k = 0; k < AT_ONCE; k++) {
    Place at = *place;
    at.outer += k;
    load(body + 3, &at);
    rows[k] = registers[body[3]];
  }
  reductions[reduce[4]].join(home(reduce[5]), rows, AT_ONCE, place->n);
  return 1;
}

// The fold of windows two values wide and two apart, each value of which is read once: n rows of them,
// `at` where each begins. With a nan among them (or two infinities that add up to one) it is left to
// `join`, since WebAssembly's max costs seven instructions on x86 where pmax is one.
#define WINDOWS(name, PICK, FIRST, WATCH)                                                     \
  static int windows_##name(float *d, const float *x, Walk k, const int *at, int n) {         \
    v128_t bad = wasm_i32x4_splat(0);                                                         \
    do {                                                                                      \
      for (int i = 0; i < k.run; i += 4, d += 4) {                                            \
        v128_t s = wasm_f32x4_splat(FIRST);                                                   \
        for (int r = 0; r < n; r++) {                                                         \
          const float *p = x + k.at + 2 * i + at[r];                                          \
          v128_t low = wasm_v128_load(p), high = wasm_v128_load(p + 4);                       \
          v128_t both = wasm_f32x4_add(low, high);                                            \
          if (WATCH) bad = wasm_v128_or(bad, wasm_f32x4_ne(both, both));                      \
          s = PICK(s, wasm_i32x4_shuffle(low, high, 0, 2, 4, 6));                             \
          s = PICK(s, wasm_i32x4_shuffle(low, high, 1, 3, 5, 7));                             \
        }                                                                                     \
        wasm_v128_store(d, s);                                                                \
      }                                                                                       \
    } while (next(&k));                                                                       \
    return !wasm_v128_any_true(bad);                                                          \
  }
WINDOWS(sum, wasm_f32x4_add, 0, 0)
WINDOWS(max, wasm_f32x4_pmax, -INFINITY, 1)
#define MOST_ROWS 8

// Is a block nothing but such windows (of a pooling by two), and are they folded now?
static int windows(const Head *h, const int32_t *body, const Place *place) {
  const int32_t *w = body + 3, *reduce = body + 1 + body[2], *lanes = w + 5;
  if (h->inner % 2 || h->inner > 2 * MOST_ROWS || h->inner > h->merge || place->n % 4) return 0;
  if (body[1] != LOAD_OP || reduce[0] != REDUCE_OP || body[0] != body[2] + reduce[1]) return 0;
  if (w[2] != FLOAT32 || lanes[0] < 2 || lanes[1] % 4 || lanes[2] != 2) return 0;
  int at[MOST_ROWS], n = h->inner / 2;
  for (int r = 0; r < n; r++) {
    at[r] = w[4] + address(after(lanes), 2 * r);
    if (w[4] + address(after(lanes), 2 * r + 1) != at[r] + 1) return 0;
  }
  float *d = (float *)home(reduce[5]), *x = (float *)place->buffers[w[1]];
  Walk k = walk(lanes, place->start, place->n);
  if (reduce[4] == 0) return windows_sum(d, x, k, at, n);
  return reduce[4] == 2 && windows_max(d, x, k, at, n);
}

// A block of rows, side by side in the lanes; totals of long float sums are joined every
// merge + 1 elements, which keeps the rounding error at that of two short sums.
static void rows_in_lanes(const Head *h, const int32_t *reduce, int n_reduce, Place place) {
  const int32_t *body = skip(reduce + 3 * n_reduce);
  if (n_reduce == 1 && windows(h, body, &place)) return;
  for (int k = 0; k < n_reduce; k++) {
    const Reduction *r = reductions + reduce[3 * k];
    r->fill(registers[reduce[3 * k + 1]] = home(reduce[3 * k + 1]), place.n);
    if (reduce[3 * k + 2] >= 0) r->fill(home(reduce[3 * k + 2]), place.n);
  }
  for (int j = 0; j < h->inner; j++) {
    place.outer = j;
    if (rows_at_once(h, body, &place)) j += AT_ONCE - 1;
    else run(body, &place, 0);
    if ((j & h->merge) != h->merge && j + 1 < h->inner) continue;
    for (int k = 0; k < n_reduce; k++) {
      const Reduction *r = reductions + reduce[3 * k];
      if (reduce[3 * k + 2] < 0) continue;
      uint8_t *part = home(reduce[3 * k + 2]);
      r->join(home(reduce[3 * k + 1]), &part, 1, place.n);
      r->fill(home(reduce[3 * k + 2]), place.n);
    }
  }
}

static const int32_t *phase(const Head *h, const int32_t *w, Place place) {
  run(w, &place, 0);
  w = skip(w);
  int n_reduce = *w++;
  for (int k = 0; k < n_reduce; k++) registers[w[3 * k + 1]] = home(w[3 * k + 1]);
  if (!h->along_inner) rows_in_lanes(h, w, n_reduce, place);
  else for (int row = 0; row < place.n; row++) row_of_tiles(h, w, n_reduce, place, row);
  return skip(skip(w + 3 * n_reduce));
}

// Shares are whole blocks, so that tiles begin where they would in one share.
KERNEL(fused) {
  Head h = {words[0], words[1], words[2], words[3], words[4], words[5], words[6], words[7]};
  const int32_t *uniform = words + 8;
  int64_t blocks = (h.rows + h.block - 1) / h.block;
  int first = (int)(blocks * part / parts) * h.block, end = (int)(blocks * (part + 1) / parts) * h.block;
  if (first >= end) return;
  if (end > h.rows) end = h.rows;
  register_bytes = h.bytes;
  Place place = {0, h.lanes, 0, 0, buffers, scalars};
  run(uniform, &place, 0);
  for (place.start = first; place.start < end; place.start += h.block) {
    int left = end - place.start;
    place.n = left < h.block ? left : h.block;
    const int32_t *w = skip(uniform);
    for (int p = 0; p < h.phases; p++) w = phase(&h, w, place);
  }
}
