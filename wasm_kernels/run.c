// run: the launches of a plan, one after the other, by one call from the host; help: what the other
// threads do meanwhile.
//
// The host lays the list out (web/devices/cpu/runner.js) and changes only addresses between runs.
// The caller's thread walks it. The shares of a divided launch are claimed one by one by whoever is
// free, from one number in memory, so a thread that sleeps or never came up only means more work for
// the others. The caller cannot wait in a page, it spins until all shares are done; a helper spins for
// a while after its last share, since the next launch is near, and then sleeps.
#include "simd.h"

#define TURNS (1 << 18)  // of spinning before a helper sleeps, some 0.4 ms: Python runs between two plans

#define LOAD(p) __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define ADD(p, n) __atomic_fetch_add(p, n, __ATOMIC_SEQ_CST)

typedef void Kernel(ARGUMENTS);
typedef struct {
  Kernel *kernel;  // its place in the module's table
  const int32_t *words;
  uint8_t **buffers;
  const Cell *scalars;
  int32_t shares;  // into how many it may be divided
} Command;
typedef struct {
  int32_t at;  // the launch that runs: the host names it if it fails
  Command list[];
} Plan;

static struct {
  // number of the launch << 32 | shares of it that nobody has claimed
  _Alignas(64) int64_t ticket;
  _Alignas(64) int32_t done;  // shares of it
  int32_t failed;             // has one trapped in a helper?
  // written before the ticket, and only when all shares of the last launch are done
  _Alignas(64) const Command *command;
  int32_t parts;
  int32_t own;                    // is the caller within a share?
  _Alignas(64) int32_t sleepers;  // helpers that may sleep
  int32_t alarm;                  // counts what they are woken for
  int32_t helpers;                // that came up
  int32_t threads;                // that take part, the caller among them; 0: all helpers leave
} pool;

// The number of a share that is this thread's to do from now on, or -1.
static int claim(void) {
  int64_t seen = LOAD(&pool.ticket);
  while ((int32_t)seen > 0)
    if (__atomic_compare_exchange_n(&pool.ticket, &seen, seen - 1, 0, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST))
      return pool.parts - (int32_t)seen;
  return -1;
}

static void call(const Command *c, int part, int parts) {
  c->kernel(c->words, c->buffers, c->scalars, part, parts);
}

static void wake(void) {
  if (!LOAD(&pool.sleepers)) return;
  ADD(&pool.alarm, 1);
  __builtin_wasm_memory_atomic_notify(&pool.alarm, -1);
}

static void divided(const Command *c, int parts) {
  pool.command = c;
  pool.parts = parts;
  pool.done = 0;
  int64_t launch = (pool.ticket >> 32) + 1;
  __atomic_store_n(&pool.ticket, launch << 32 | parts, __ATOMIC_SEQ_CST);
  wake();
  pool.own = 1;
  for (int part; (part = claim()) >= 0; ADD(&pool.done, 1)) call(c, part, parts);
  pool.own = 0;
  while (LOAD(&pool.done) < parts) {}
  if (LOAD(&pool.failed)) __builtin_trap();
}

// Launches from…to of a plan. `most` threads are worth it for this plan.
EXPORT(run) void run(Plan *p, int from, int to, int most) {
  int threads = LOAD(&pool.helpers) + 1;
  if (threads > pool.threads) threads = pool.threads;
  if (threads > most) threads = most;
  if (threads > 1) wake();
  for (p->at = from; p->at < to; p->at++) {
    const Command *c = p->list + p->at;
    int parts = threads > 1 ? threads * PER_THREAD : 1;
    if (parts > c->shares) parts = c->shares;
    if (threads > 1 && parts > threads) parts -= parts % threads;  // as much for each
    if (parts > 1) divided(c, parts);
    else call(c, 0, 1);
  }
}

// After a trap in `run`: lets nobody begin another share and waits for those that run.
EXPORT(settle) void settle(void) {
  int64_t launch = pool.ticket >> 32 << 32;
  int unclaimed = (int32_t)__atomic_exchange_n(&pool.ticket, launch, __ATOMIC_SEQ_CST);
  while (LOAD(&pool.done) < pool.parts - unclaimed - pool.own) {}
  pool.parts = pool.done = pool.own = pool.failed = 0;
}

// How many threads take part from now on, the caller among them; 0 sends all helpers home.
EXPORT(set_threads) void set_threads(int threads) {
  __atomic_store_n(&pool.threads, threads, __ATOMIC_SEQ_CST);
  wake();
}

// How many helpers have come up.
EXPORT(count_helpers) int count_helpers(void) { return LOAD(&pool.helpers); }

static int claim_soon(void) {
  int part = -1;
  for (int turn = 0; turn < TURNS && part < 0; turn++) part = claim();
  return part;
}

// The life of helper `number` (1, 2, …): does shares until it is sent home.
EXPORT(help) void help(int number) {
  ADD(&pool.helpers, 1);
  while (LOAD(&pool.threads)) {
    int32_t seen = LOAD(&pool.alarm);
    int part = number < LOAD(&pool.threads) ? claim_soon() : -1;
    if (part >= 0) {
      call(pool.command, part, pool.parts);
      ADD(&pool.done, 1);
      continue;
    }
    ADD(&pool.sleepers, 1);
    // What was published before the line above is seen here, what comes after it rings the alarm.
    if ((int32_t)LOAD(&pool.ticket) <= 0 || number >= LOAD(&pool.threads))
      __builtin_wasm_memory_atomic_wait32(&pool.alarm, seen, -1);
    ADD(&pool.sleepers, -1);
  }
  ADD(&pool.helpers, -1);
}

// A helper trapped within a share: the caller fails in its place. `help` is called again.
EXPORT(fail) void fail(void) {
  ADD(&pool.helpers, -1);
  ADD(&pool.failed, 1);
  ADD(&pool.done, 1);
}
