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
// Bound by memory for long chains of cheap ops over contiguous float32 (read and written in place),
// by L1 traffic (three accesses per op and four lanes) otherwise.
#include "math.h"
#include "simd.h"

#define SCRATCH (512 * 1024)
#define MAX_REGISTERS 1024
#define MAX_REDUCTIONS 64
#define MAX_DIMS 32

typedef void Op(void *restrict d, const void *p, const void *q, const void *r, int n);

int32_t status;  // set by `index`, read and cleared by the host; exported

static _Alignas(16) uint8_t scratch[SCRATCH];
static uint8_t *registers[MAX_REGISTERS];
static int register_bytes;
static Cell accumulators[MAX_REDUCTIONS];

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
#include "elementwise.inc"
#undef X1
#undef X2
#undef X3
#define X1(name, R, A, e) op_##name,
#define X2 X1
#define X3 X1
static Op *const ops[] = {
#include "elementwise.inc"
};

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
typedef void Pick(void *restrict d, const void *restrict s, const int32_t *restrict at, int n);
#define MOVES(name, S, C, IN, OUT)                                                          \
  static void load_##name(void *restrict d, const void *restrict s, int stride, int n) {    \
    if (stride == 1) {                                                                      \
      for (int i = 0; i < n; i++) { S x = ((const S *)s)[i]; ((C *)d)[i] = IN; }            \
    } else {                                                                                \
      for (int i = 0; i < n; i++) { S x = ((const S *)s)[i * stride]; ((C *)d)[i] = IN; }   \
    }                                                                                       \
  }                                                                                         \
  static void store_##name(void *restrict d, const void *restrict s, int stride, int n) {   \
    if (stride == 1) {                                                                      \
      for (int i = 0; i < n; i++) { C x = ((const C *)s)[i]; ((S *)d)[i] = OUT; }           \
    } else {                                                                                \
      for (int i = 0; i < n; i++) { C x = ((const C *)s)[i]; ((S *)d)[i * stride] = OUT; }  \
    }                                                                                       \
  }                                                                                         \
  static void pick_##name(void *restrict d, const void *restrict s,                         \
                          const int32_t *restrict at, int n) {                              \
    for (int i = 0; i < n; i++) { S x = ((const S *)s)[at[i]]; ((C *)d)[i] = IN; }          \
  }
DTYPES(MOVES)
#define LOAD(name, S, C, IN, OUT) load_##name,
#define STORE(name, S, C, IN, OUT) store_##name,
#define PICK(name, S, C, IN, OUT) pick_##name,
#define BYTES(name, S, C, IN, OUT) sizeof(S),
#define LANE_BYTES(name, S, C, IN, OUT) sizeof(C),
static Move *const loads[] = {DTYPES(LOAD)};
static Move *const stores[] = {DTYPES(STORE)};
static Pick *const picks[] = {DTYPES(PICK)};
static const uint8_t dtype_bytes[] = {DTYPES(BYTES)};
static const uint8_t lane_bytes[] = {DTYPES(LANE_BYTES)};

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

// `fold` takes a tile into one cell: eight running values, then a tree, then a wide accumulator,
// so that the sum of ten million ones is ten million. `join` works lane by lane.
typedef void Fold(Cell *total, const void *x, int n);
typedef void Join(void *restrict total, const void *restrict x, int n);
typedef void Fill(void *d, int n);
typedef void Finish(void *d, const Cell *total);
#define FOLD(t, T, w, W, name, NARROW, WIDE, ZERO)                                          \
  static void fold_##name##_##t(Cell *total, const void *p, int n) {                        \
    const T *x = p;                                                                         \
    T s[8] = {ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO};                              \
    int i = 0;                                                                              \
    for (; i + 8 <= n; i += 8)                                                              \
      for (int k = 0; k < 8; k++) s[k] = NARROW(s[k], x[i + k]);                            \
    for (; i < n; i++) s[i & 7] = NARROW(s[i & 7], x[i]);                                   \
    for (int k = 0; k < 4; k++) s[k] = NARROW(s[k], s[k + 4]);                              \
    total->w = WIDE(total->w, (W)NARROW(NARROW(s[0], s[1]), NARROW(s[2], s[3])));           \
  }                                                                                         \
  static void join_##name##_##t(void *restrict total, const void *restrict x, int n) {      \
    LANES_LOOP(n) ((T *)total)[i] = NARROW(((T *)total)[i], ((const T *)x)[i]);             \
  }                                                                                         \
  static void fill_##name##_##t(void *d, int n) { LANES_LOOP(n) ((T *)d)[i] = ZERO; }       \
  static void start_##name##_##t(Cell *total) { total->w = (W)(T)ZERO; }                    \
  static void finish_##name##_##t(void *d, const Cell *total) { *(T *)d = (T)total->w; }
FOLDS(FOLD)
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
  TABLE = 16
};
#define KEEP 0x10000  // in a destination: write where OUT pointed the register

// load: register, operand, dtype, in place, offset, lanes view, outer view
static void load(const int32_t *w, const Place *p) {
  int dtype = w[2], bytes = dtype_bytes[dtype], wide = lane_bytes[dtype];
  const int32_t *lanes = w + 5;
  const uint8_t *base = p->buffers[w[1]];
  unsigned at = (unsigned)(w[4] + address(after(lanes), p->outer));
  uint8_t *d = home(w[0]);
  if (w[3] && p->n % 4 == 0) {
    registers[w[0]] = (uint8_t *)base + (at + (unsigned)p->start) * (unsigned)bytes;
    return;
  }
  registers[w[0]] = d;
  Walk k = walk(lanes, p->start, p->n);
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

// out: register, operand, bytes, offset, lanes view, outer view. The lanes are contiguous: the op
// that follows writes to its destination at once.
static void out(const int32_t *w, const Place *p) {
  unsigned at = (unsigned)(w[3] + address(after(w + 4), p->outer) + p->start);
  registers[w[0]] = p->n % 4 ? home(w[0]) : p->buffers[w[1]] + at * (unsigned)w[2];
}

// addr: register, is int64, offset, lanes view, outer view
static void addr(const int32_t *w, const Place *p) {
  const int32_t *lanes = w + 3;
  int at = w[2] + address(after(lanes), p->outer), done = 0;
  uint8_t *d = registers[w[0]] = home(w[0]);
  Walk k = walk(lanes, p->start, p->n);
  do {
    for (int i = 0; i < k.run; i++, done++) {
      int value = at + k.at + i * k.stride;
      if (w[1]) ((int64_t *)d)[done] = value;
      else ((int32_t *)d)[done] = value;
    }
  } while (next(&k));
}

// scalar: register, type letter's place in "fdil", scalar slot
static void scalar(const int32_t *w, const Place *p) {
  const Cell *cell = p->scalars + w[2];
  uint8_t *d = registers[w[0]] = home(w[0]);
  float f = (float)cell->d;
  int32_t i = (int32_t)cell->l;
  if (w[1] == 0) splat(d, (uint8_t *)&f, 4, p->n);
  else if (w[1] == 2) splat(d, (uint8_t *)&i, 4, p->n);
  else splat(d, (const uint8_t *)cell, 8, p->n);
}

// index: register, index register, is int64, size, code. Lanes behind n are left alone.
static void check(const int32_t *w, const Place *p) {
  uint8_t *d = registers[w[0]] = home(w[0]);
  int64_t size = w[3];
  for (int i = 0; i < p->n; i++) {
    int64_t at = w[2] ? ((int64_t *)registers[w[1]])[i] : ((int32_t *)registers[w[1]])[i];
    if (at < 0) at += size;
    if (at < 0 || at >= size) {
      status = status > w[4] ? status : w[4];
      at = 0;
    }
    if (w[2]) ((int64_t *)d)[i] = at;
    else ((int32_t *)d)[i] = (int32_t)at;
  }
}

static void special(const int32_t *w, int op, const Place *p, int along_inner) {
  uint8_t *d = home(w[0]);
  switch (op) {
    case LOAD_OP: load(w, p); return;
    case STORE_OP: store(w, p); return;
    case OUT_OP: out(w, p); return;
    case ADDR_OP: addr(w, p); return;
    case SCALAR_OP: scalar(w, p); return;
    case CONST_OP:  // register, bytes, low word, high word
      splat(registers[w[0]] = d, (const uint8_t *)(w + 2), w[1], p->n);
      return;
    case SPLAT_OP:  // register, register of one value per row, bytes
      splat(registers[w[0]] = d, registers[w[1]] + p->row * w[2], w[2], p->n);
      return;
    case TAKE_OP:  // register, register of int32, operand, dtype
      picks[w[3]](d, p->buffers[w[2]], (const int32_t *)registers[w[1]], p->n);
      registers[w[0]] = d;
      return;
    case INDEX_OP: check(w, p); return;
    case REDUCE_OP:  // number of the reduction, register, kind, register of the total
      if (along_inner) reductions[w[2]].fold(accumulators + w[0], registers[w[1]], p->n);
      else reductions[w[2]].join(home(w[3]), registers[w[1]], p->n);
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
    int k = w[2] & (KEEP - 1);
    if (!(w[2] & KEEP)) registers[k] = home(k);
    ops[w[0] - TABLE](registers[k], registers[w[3]], registers[w[4]], registers[w[5]], p->n);
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

// A block of rows, side by side in the lanes; totals of long float sums are joined every
// merge + 1 elements, which keeps the rounding error at that of two short sums.
static void rows_in_lanes(const Head *h, const int32_t *reduce, int n_reduce, Place place) {
  const int32_t *body = skip(reduce + 3 * n_reduce);
  for (int k = 0; k < n_reduce; k++) {
    const Reduction *r = reductions + reduce[3 * k];
    r->fill(registers[reduce[3 * k + 1]] = home(reduce[3 * k + 1]), place.n);
    if (reduce[3 * k + 2] >= 0) r->fill(home(reduce[3 * k + 2]), place.n);
  }
  for (int j = 0; j < h->inner; j++) {
    place.outer = j;
    run(body, &place, 0);
    if ((j & h->merge) != h->merge && j + 1 < h->inner) continue;
    for (int k = 0; k < n_reduce; k++) {
      const Reduction *r = reductions + reduce[3 * k];
      if (reduce[3 * k + 2] < 0) continue;
      r->join(home(reduce[3 * k + 1]), home(reduce[3 * k + 2]), place.n);
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

KERNEL(fused) {
  WHOLE_ONLY;
  Head h = {words[0], words[1], words[2], words[3], words[4], words[5], words[6], words[7]};
  const int32_t *uniform = words + 8;
  register_bytes = h.bytes;
  Place place = {0, h.lanes, 0, 0, buffers, scalars};
  run(uniform, &place, 0);
  for (place.start = 0; place.start < h.rows; place.start += h.block) {
    int left = h.rows - place.start;
    place.n = left < h.block ? left : h.block;
    const int32_t *w = skip(uniform);
    for (int p = 0; p < h.phases; p++) w = phase(&h, w, place);
  }
}
