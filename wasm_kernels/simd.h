// What every kernel file shares: the calling convention and four-lane (two-lane) arithmetic.
#pragma once
#include <stdint.h>
#include <wasm_simd128.h>

typedef union { double d; int64_t l; } Cell;  // a number of the plan's scalar table

// A kernel does share `part` of `parts` of its work. Shares of one launch run at the same time on
// several threads; results are the same, bit for bit, for every number of shares.
#define PER_THREAD 4  // shares a launch is divided into: balance against work that all repeat
#define ARGUMENTS \
  const int32_t *words, uint8_t **buffers, const Cell *scalars, int part, int parts
#define EXPORT(name) __attribute__((export_name(#name)))
#define KERNEL(name) EXPORT(name) void name(ARGUMENTS)
#define WHOLE_ONLY if (part) return  // not divided: all of it is the first share's

// A loop that is not worth more code than it takes.
#define SHORT _Pragma("clang loop vectorize(disable) unroll(disable)")

// a * b + c: one instruction in the relaxed build, rounded twice otherwise.
#ifdef __wasm_relaxed_simd__
#define MADD_F(a, b, c) wasm_f32x4_relaxed_madd(a, b, c)
#define MADD_D(a, b, c) wasm_f64x2_relaxed_madd(a, b, c)
#else
#define MADD_F(a, b, c) wasm_f32x4_add(wasm_f32x4_mul(a, b), c)
#define MADD_D(a, b, c) wasm_f64x2_add(wasm_f64x2_mul(a, b), c)
#endif
