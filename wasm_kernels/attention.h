// What attention.c and attention_grad.c have in common: heads, and which keys a query sees.
#pragma once
#include "gemm.h"
#include "math.h"

typedef struct {
  const float *q, *k, *v;
  const uint8_t *mask;
  int queries, keys, depth, width, wide, causal, kind, q_row, k_row, v_row, mask_row;
  float scale;
} Head;

// Scores of keys a row does not see, and of those that fill the last vectors, become -inf.
static inline void hide(const Head *h, float *restrict s, int row, int key, int n) {
  int seen = h->causal ? most_f(0, least_f(n, row + 1 - key)) : n;
  const uint8_t *mask = h->mask + (row * h->mask_row + key) * (h->kind == 1 ? 4 : 1);
  for (int j = seen; j < blocks_f(n, 16) * 16; j++) s[j] = -INFINITY;
  if (h->kind == 1)
    for (int j = 0; j < seen; j++) s[j] += ((const float *)mask)[j];
  if (h->kind == 2)
    for (int j = 0; j < seen; j++) {  // clang makes vectors of it, and no branch
      int32_t keep = -(mask[j] != 0), hidden = bits_of(-INFINITY);
      s[j] = float_of((bits_of(s[j]) & keep) | (hidden & ~keep));
    }
}

static inline Head head(const int32_t *words) {
  return (Head){.queries = words[0], .keys = words[1], .depth = words[2], .width = words[3],
                .wide = blocks_f(words[3], NR) * NR, .scale = float_of(words[4]),
                .causal = words[5], .kind = words[6], .q_row = words[8], .k_row = words[10],
                .v_row = words[12], .mask_row = words[14]};
}

// The batch dimensions, behind the places of `operands` operands.
static inline int heads_of(const int32_t *words, int operands) {
  const int32_t *batch = words + 8 + 2 * operands;
  int heads = 1;
  for (int d = 0; d < batch[-1]; d++) heads *= batch[d * (operands + 1)];
  return heads;
}

// Where operand `x` of head `number` begins.
static inline int begin(const int32_t *words, int operands, int number, int x) {
  const int32_t *batch = words + 8 + 2 * operands;
  int at = words[7 + 2 * x];
  for (int d = batch[-1] - 1; d >= 0; d--) {
    const int32_t *dim = batch + d * (operands + 1);
    at += number % dim[0] * dim[1 + x];
    number /= dim[0];
  }
  return at;
}

static inline void read_head(Head *h, const int32_t *words, int operands, int number,
                             uint8_t **buffers) {
  h->q = (const float *)buffers[0] + begin(words, operands, number, 0);
  h->k = (const float *)buffers[1] + begin(words, operands, number, 1);
  h->v = (const float *)buffers[2] + begin(words, operands, number, 2);
  h->mask = buffers[4] + begin(words, operands, number, 3) * (h->kind == 1 ? 4 : 1);
}
