// run, work: a plan's launches in one call, on one thread or shared among several.
//
// The list of a plan holds one Launch per kernel call, in order. With several threads all of them
// walk it: whoever is free claims the next share of the launch that is due, so that a thread that
// sleeps or has not come up yet only leaves more to the others. A launch begins when all shares of
// the one before it are done. Launches that are not worth dividing belong to the caller of `run`.
//
// The caller never waits in the system's sense (a page's main thread may not): at the end of a
// launch it spins until the shares that others have claimed are done. Workers spin for a moment when a
// run ends and then sleep until the next one.
#include "simd.h"

typedef void Kernel(ARGUMENTS);
typedef struct {
  Kernel *kernel;  // its place in the module's table
  const int32_t *words;
  uint8_t **buffers;
  int32_t shares;  // how many are worth it
} Launch;

int32_t running;  // number of the launch that the caller of `run` is at; exported, for errors

static void alone(const Launch *list, int count, const Cell *scalars) {
  for (running = 0; running < count; running++) {
    const Launch *l = list + running;
    l->kernel(l->words, l->buffers, scalars, 0, 1);
  }
}

#ifndef __wasm_atomics__

EXPORT(run) int run(const Launch *list, int count, const Cell *scalars, int threads) {
  alone(list, count, scalars);
  return 1;
}

#else

#define SPINS 4000       // some 20 microseconds
#define PARTS_A_THREAD 2  // more shares than threads: they end at nearly the same time

static const Launch *plan;
static const Cell *cells;
static int32_t launches, parts_at_most;
// run number (32 bits), launch (16), next share (16): one word, so that a claim that comes too late
// fails whatever the memory behind it has become
static uint64_t due = (uint64_t)0xffff << 16;
static int32_t finished;  // shares of the launch that is due
static int32_t asleep;    // workers that wait for `turn` to change
static int32_t turn;
int32_t failed;  // set by the host when a worker's kernel trapped; exported

#define LOAD(x) __atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define STORE(x, v) __atomic_store_n(&(x), v, __ATOMIC_SEQ_CST)
#define RUN_OF(d) ((d) >> 32)
#define LAUNCH_OF(d) ((int)((d) >> 16 & 0xffff))
#define SHARE_OF(d) ((int)((d) & 0xffff))
#define IDLE 0xffff  // the launch when there is none

static int parts_of(const Launch *l) {
  return l->shares < parts_at_most ? l->shares : parts_at_most;
}

// Does one share of the launch that is due, if there is one for this thread; 0 if not.
static int help(uint64_t now, int caller) {
  if (LAUNCH_OF(now) == IDLE) return 0;
  const Launch *l = plan + LAUNCH_OF(now);
  int parts = parts_of(l), share = SHARE_OF(now);
  if (share >= parts || (parts == 1 && !caller)) return 0;
  if (!__atomic_compare_exchange_n(&due, &now, now + 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
    return 1;
  l = plan + LAUNCH_OF(now);  // from here on the run cannot end: what was read before was a guess
  parts = parts_of(l);
  if (caller) running = LAUNCH_OF(now);
  l->kernel(l->words, l->buffers, cells, share, parts);
  if (__atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST) == parts) {
    uint64_t next = LAUNCH_OF(now) + 1 < launches ? LAUNCH_OF(now) + 1 : IDLE;
    STORE(finished, 0);
    STORE(due, RUN_OF(now) << 32 | next << 16);
  }
  return 1;
}

// A run of at most 65535 launches. Returns 0 if a worker failed.
EXPORT(run) int run(const Launch *list, int count, const Cell *scalars, int threads) {
  if (threads < 2 || !count) {
    alone(list, count, scalars);
    return 1;
  }
  uint64_t next = (RUN_OF(LOAD(due)) + 1) << 32;
  plan = list, cells = scalars, launches = count, parts_at_most = threads * PARTS_A_THREAD;
  finished = 0;
  STORE(due, next);
  __atomic_add_fetch(&turn, 1, __ATOMIC_SEQ_CST);
  if (LOAD(asleep)) __builtin_wasm_memory_atomic_notify(&turn, 1 << 16);
  for (uint64_t now; LAUNCH_OF(now = LOAD(due)) != IDLE;)
    if (!help(now, 1) && LOAD(failed)) return 0;
  return 1;
}

// A worker's life.
EXPORT(work) void work(void) {
  for (;;) {
    int32_t seen = LOAD(turn);
    for (int spins = 0; spins < SPINS; spins++)
      while (help(LOAD(due), 0)) spins = 0;
    if (LOAD(turn) != seen) continue;
    __atomic_add_fetch(&asleep, 1, __ATOMIC_SEQ_CST);
    __builtin_wasm_memory_atomic_wait32(&turn, seen, -1);
    __atomic_add_fetch(&asleep, -1, __ATOMIC_SEQ_CST);
  }
}

#endif
