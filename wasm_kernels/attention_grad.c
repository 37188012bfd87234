// attention_grad_f: the gradients of attention_f's q, k and v.
//
// buffers: q, k, v, out (dq (…, T, D), dk (…, S, D) and dv (…, S, E), one behind the other), mask, g
// (…, T, E), the gradient of the result, and shares (…, T), Σ g · result of each row.
// words: as attention_f's, with six operands: q, k, v, mask, g, shares.
//
// The weights of some queries are computed again (Dao et al., arXiv:2205.14135, has the formulas):
//   w = softmax(scale q kᵀ + mask)    s = scale w ∘ (g vᵀ - shares)
//   dv += wᵀ g    dq = s k    dk += sᵀ q
// so that w and s stay in the L2 cache. A unit of work is a head, for its queries share dk and dv.
// Bound by multiply-adds: 3 D + 2 E of them for each score.
#include "attention.h"

#define SCORES (64 * 1024)  // of w, and of s
#define ROWS 64  // at most; k and v are packed anew for so many

static _Thread_local _Alignas(16) float weights[SCORES], slopes[SCORES];

typedef struct {
  const float *g, *shares;
  int g_row, share_row;
  float *dq, *dk, *dv;
} Gradients;

// A row's scores become weights.
static void weigh_all(const Head *h, float *s, int row, int n) {
  F4 *v = (F4 *)s, scale = K4(h->scale), total = K4(0), top = K4(-INFINITY);
  int end = blocks_f(n, 4);
  for (int j = 0; j < end; j++) v[j] *= scale;
  hide(h, s, row, 0, n);
  for (int j = 0; j < end; j++) top = (F4)wasm_f32x4_pmax((v128_t)top, (v128_t)v[j]);
  float most = -INFINITY;
  for (int q = 0; q < 4; q++) most = top[q] > most ? top[q] : most;
  F4 base = K4(most == -INFINITY ? 0 : most);
  for (int j = 0; j < end; j += 4) total += exp_below_16(v + j, v + j, base);
  float sum = total[0] + total[1] + (total[2] + total[3]);
  F4 over = K4(sum == 0 ? 0 : 1 / sum);
  for (int j = 0; j < end; j++) v[j] *= over;
}

static void some_queries(const Head *h, const Gradients *x, int row, int rows, int stride) {
  static const Epilogue_f none;
  int n = h->causal ? least_f(h->keys, row + rows) : h->keys, d = h->depth, e = h->width;
  const float *q = h->q + row * h->q_row, *g = x->g + row * x->g_row;
  gemm_f(&(Gemm_f){rows, n, d, q, h->q_row, 1, h->k, 1, h->k_row, weights, stride, 1}, &none);
  for (int r = 0; r < rows; r++) weigh_all(h, weights + r * stride, row + r, n);
  gemm_f(&(Gemm_f){n, e, rows, weights, 1, stride, g, x->g_row, 1, x->dv, e, 1, 1}, &none);
  gemm_f(&(Gemm_f){rows, n, e, g, x->g_row, 1, h->v, 1, h->v_row, slopes, stride, 1}, &none);
  for (int r = 0; r < rows; r++) {
    F4 *s = (F4 *)(slopes + r * stride), *w = (F4 *)(weights + r * stride), scale = K4(h->scale);
    F4 share = K4(x->shares[(row + r) * x->share_row]);
    for (int j = 0; j < blocks_f(n, 4); j++) s[j] = (s[j] - share) * w[j] * scale;
  }
  gemm_f(&(Gemm_f){rows, d, n, slopes, stride, 1, h->k, h->k_row, 1, x->dq + row * d, d, 1}, &none);
  gemm_f(&(Gemm_f){n, d, rows, slopes, 1, stride, q, h->q_row, 1, x->dk, d, 1, 1}, &none);
}

KERNEL(attention_grad_f) {
  Head h = head(words);
  int heads = heads_of(words, 6), t = h.queries, s = h.keys, d = h.depth, e = h.width;
  int stride = blocks_f(s, 16) * 16, rows = most_f(1, least_f(ROWS, SCORES / stride));
  Gradients x = {.g_row = words[16], .share_row = words[18]};
  float *dq = (float *)buffers[3], *dk = dq + heads * t * d, *dv = dk + heads * s * d;
  for (int u = share_f(heads, 1, part, parts); u < share_f(heads, 1, part + 1, parts); u++) {
    read_head(&h, words, 6, u, buffers);
    x.g = (const float *)buffers[5] + begin(words, 6, u, 4);
    x.shares = (const float *)buffers[6] + begin(words, 6, u, 5);
    x.dq = dq + u * t * d, x.dk = dk + u * s * d, x.dv = dv + u * s * e;
    __builtin_memset(x.dk, 0, sizeof(float) * (unsigned)(s * d));
    __builtin_memset(x.dv, 0, sizeof(float) * (unsigned)(s * e));
    for (int row = 0; row < t; row += rows)
      some_queries(&h, &x, row, least_f(rows, t - row), stride);
  }
}
