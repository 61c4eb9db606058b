// The threads of one CUDA block, run as fibers of one processor thread: which runs when, where
// they wait for one another, and what to say when they wait in vain.
//
// The order of a launch is 0 (threads by number), 1 (by number downwards) or a seed: then it is
// drawn anew at every place where a thread can wait.
#ifndef SAD_CUDA_HOST_BLOCK_H_
#define SAD_CUDA_HOST_BLOCK_H_

#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "fiber.h"
#include "sanitizer.h"

namespace sad_host {

constexpr int kLanes = 32, kMaxThreads = 1024, kMaxWarps = kMaxThreads / kLanes;

struct Index {
  unsigned x, y, z;
};

// Operations that wait for other threads. Those up to kShuffleXor exchange values.
enum Operation {
  kShuffle,
  kShuffleUp,
  kShuffleDown,
  kShuffleXor,
  kBallot,
  kAny,
  kAll,
  kReduceAdd,
  kReduceMin,
  kReduceMax,
  kReduceMinUnsigned,
  kReduceMaxUnsigned,
  kReduceAnd,
  kReduceOr,
  kReduceXor,
  kSyncWarp,
  kBarrier,
  kBarrierCount,
  kBarrierAnd,
  kBarrierOr,
};
constexpr const char* kNames[] = {
    "__shfl_sync",       "__shfl_up_sync",      "__shfl_down_sync",  "__shfl_xor_sync",
    "__ballot_sync",     "__any_sync",          "__all_sync",        "__reduce_add_sync",
    "__reduce_min_sync", "__reduce_max_sync",   "__reduce_min_sync", "__reduce_max_sync",
    "__reduce_and_sync", "__reduce_or_sync",    "__reduce_xor_sync", "__syncwarp",
    "__syncthreads",     "__syncthreads_count", "__syncthreads_and", "__syncthreads_or",
};

enum State { kReady, kWaiting, kReturned };

struct Thread {
  Index index;  // threadIdx
  int warp, lane;
  State state;
  Fiber* fiber;  // null until it first runs
  // Of the operation that it waits at, or was at last:
  Operation operation;
  unsigned mask;
  int line;
  const char* file;
  int source;  // lane
  uint64_t value, result;
};

// Threads of a warp that have arrived at the same operation with the same mask.
struct Group {
  Operation operation;
  unsigned mask, arrived;
};

struct Warp {
  unsigned exists, ready, returned;  // sets of lanes
  int groups;
  Group group[kLanes];
};

void fiber_main();

struct Launch {
  const char* kernel;
  void (*call)(void**);
  void** arguments;
  uint64_t order, random;
  uint32_t* drawn;  // the blocks in their order, if that is random
  char* error;
  size_t error_bytes;
  bool failed;

  Context main;
  Fiber* running;
  Thread* pending;  // to be started by the fiber that runs next
  int threads, returned, at_barrier;
  Thread* first_at_barrier;
  unsigned ready_warps;
  int warp;  // that ran last
  Warp warps[kMaxWarps];
  Thread thread[kMaxThreads];
};

inline Launch launch_state;
inline Thread* current;
inline Index grid_dim, block_dim, block_index;
inline FiberPool fibers;

// The block that runs as the i-th.
inline Index block_at(uint64_t i) {
  const Launch& l = launch_state;
  const uint64_t last = uint64_t{grid_dim.x} * grid_dim.y * grid_dim.z - 1;
  const uint64_t b = l.order == 0 ? i : l.order == 1 ? last - i : l.drawn[i];
  return Index{static_cast<unsigned>(b % grid_dim.x),
               static_cast<unsigned>(b / grid_dim.x % grid_dim.y),
               static_cast<unsigned>(b / grid_dim.x / grid_dim.y)};
}

// ---- Errors ---------------------------------------------------------------------------------

inline void report(const char* format, ...) {
  Launch& l = launch_state;
  int n = snprintf(l.error, l.error_bytes, "kernel %s, block (%u, %u, %u): ", l.kernel,
                   block_index.x, block_index.y, block_index.z);
  va_list values;
  va_start(values, format);
  if (n >= 0 && static_cast<size_t>(n) < l.error_bytes)
    vsnprintf(l.error + n, l.error_bytes - n, format, values);
  va_end(values);
  l.failed = true;
}

[[noreturn]] inline void give_up() {
  Context unused;
  switch_context(&unused, &launch_state.main);
  abort();
}

struct Text {
  char text[256];
};
inline Text name(const Thread& t) {
  Text out;
  snprintf(out.text, sizeof(out.text), "thread (%u, %u, %u)", t.index.x, t.index.y, t.index.z);
  return out;
}
inline Text place(const Thread& t) {
  const char* slash = strrchr(t.file, '/');
  char mask[32] = "";
  if (t.operation < kBarrier) snprintf(mask, sizeof(mask), " with mask %#x", t.mask);
  Text out;
  snprintf(out.text, sizeof(out.text), "%s%s in line %d of %s", kNames[t.operation], mask, t.line,
           slash ? slash + 1 : t.file);
  return out;
}

// No thread can run and not all have returned: name one that waits and one that it waits for.
[[noreturn]] inline void deadlock() {
  Launch& l = launch_state;
  for (int i = 0; i < l.threads; ++i) {
    const Thread& waits = l.thread[i];
    if (waits.state != kWaiting) continue;
    for (int j = 0; j < l.threads; ++j) {
      const Thread& other = l.thread[j];
      bool awaited = other.state == kReturned || other.operation != waits.operation;
      if (waits.operation < kBarrier)
        awaited = (awaited || other.mask != waits.mask) && other.warp == waits.warp &&
                  (waits.mask >> other.lane & 1);
      if (!awaited || i == j) continue;
      if (other.state == kReturned)
        report("%s waits at %s for %s, which has returned", name(waits).text, place(waits).text,
               name(other).text);
      else
        report("%s waits at %s for %s, which waits at %s", name(waits).text, place(waits).text,
               name(other).text, place(other).text);
      give_up();
    }
  }
  report("its threads wait for one another");
  give_up();
}

// ---- Which thread runs ----------------------------------------------------------------------

SAD_HOST_UNSEEN inline unsigned random_bits() {
  uint64_t& x = launch_state.random;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return static_cast<unsigned>(x >> 32);
}

// A member of a set that is not empty. At random: the lowest after renumbering all by an
// exclusive or, which swaps halves of the set, quarters, and so on.
SAD_HOST_UNSEEN inline int choose(unsigned set) {
  if (launch_state.order == 0) return __builtin_ctz(set);
  if (launch_state.order == 1) return 31 - __builtin_clz(set);
  const unsigned by = random_bits();
  constexpr unsigned kLower[] = {0x55555555u, 0x33333333u, 0x0f0f0f0fu, 0x00ff00ffu, 0x0000ffffu};
  for (int i = 0; i < 5; ++i) {
    const unsigned swapped = (set >> (1 << i) & kLower[i]) | (set & kLower[i]) << (1 << i);
    set ^= (set ^ swapped) & -(by >> i & 1);
  }
  return __builtin_ctz(set) ^ static_cast<int>(by & 31);
}

// Take a thread that can run; null if there is none. The warp that ran last goes on, so that warps
// drift apart, but not always when the order is random.
SAD_HOST_UNSEEN inline Thread* pick() {
  Launch& l = launch_state;
  if (l.ready_warps == 0) return nullptr;
  const bool stay = l.warps[l.warp].ready != 0 && (l.order < 2 || (random_bits() & 28));
  if (!stay) l.warp = choose(l.ready_warps);
  Warp& warp = l.warps[l.warp];
  const int lane = choose(warp.ready);
  warp.ready &= ~(1u << lane);
  if (warp.ready == 0) l.ready_warps &= ~(1u << l.warp);
  return &l.thread[l.warp * kLanes + lane];
}

SAD_HOST_UNSEEN inline void make_ready(int warp, unsigned lanes) {
  Launch& l = launch_state;
  l.warps[warp].ready |= lanes;
  l.ready_warps |= 1u << warp;
  for (; lanes; lanes &= lanes - 1) l.thread[warp * kLanes + __builtin_ctz(lanes)].state = kReady;
}

// Every fiber runs this: start threads that have not run, and once there is nothing to start, make
// way for those that wait on fibers of their own. A thread that never waits leaves its stack to
// the next.
SAD_HOST_UNSEEN inline void fiber_main() {
  Launch& l = launch_state;
  for (;;) {
    Thread* next = l.pending ? l.pending : pick();
    l.pending = nullptr;
    Fiber* mine = l.running;
    if (next && !next->fiber) {
      next->fiber = mine;
      current = next;
      l.call(l.arguments);
      current->state = kReturned;
      l.warps[current->warp].returned |= 1u << current->lane;
      ++l.returned;
      continue;
    }
    if (!next && l.returned < l.threads) deadlock();
    fibers.give_back(mine);
    if (next) {
      l.running = next->fiber;
      current = next;
    }
    switch_context(&mine->context, next ? &next->fiber->context : &l.main);
  }
}

// Let others run until this thread is ready again and picked.
SAD_HOST_UNSEEN inline void wait() {
  Launch& l = launch_state;
  Thread* self = current;
  Thread* next = pick();
  if (next == self) return;
  if (!next) deadlock();
  current = next;
  if (!next->fiber) l.pending = next;
  l.running = next->fiber ? next->fiber : fibers.take();
  switch_context(&self->fiber->context, &l.running->context);
}

// ---- Waiting for other threads --------------------------------------------------------------

// Give every thread of a complete group its result.
SAD_HOST_UNSEEN inline void complete(const Group& group, Thread* lanes) {
  if (group.operation <= kShuffleXor) {
    for (unsigned set = group.mask; set; set &= set - 1) {
      Thread& t = lanes[__builtin_ctz(set)];
      // The value of a lane that takes no part is undefined: NaN, or -1.
      t.result = group.mask >> t.source & 1 ? lanes[t.source].value : ~uint64_t{0};
    }
    return;
  }
  uint64_t result = 0;
  bool first = true;
  for (unsigned set = group.mask; set; set &= set - 1, first = false) {
    const Thread& t = lanes[__builtin_ctz(set)];
    const uint32_t a = static_cast<uint32_t>(result), b = static_cast<uint32_t>(t.value);
    const int32_t ia = static_cast<int32_t>(a), ib = static_cast<int32_t>(b);
    const bool all = first || a != 0;
    switch (group.operation) {
      case kBallot:
        result |= (b != 0 ? 1u : 0u) << t.lane;
        break;
      case kAny:
        result = a || b;
        break;
      case kAll:
        result = all && b;
        break;
      case kReduceAdd:
        result = a + b;
        break;
      case kReduceMin:
        result = first || ib < ia ? b : a;
        break;
      case kReduceMax:
        result = first || ib > ia ? b : a;
        break;
      case kReduceMinUnsigned:
        result = first || b < a ? b : a;
        break;
      case kReduceMaxUnsigned:
        result = first || b > a ? b : a;
        break;
      case kReduceAnd:
        result = first ? b : a & b;
        break;
      case kReduceOr:
        result = a | b;
        break;
      case kReduceXor:
        result = a ^ b;
        break;
      default:
        break;
    }
  }
  for (unsigned set = group.mask; set; set &= set - 1) lanes[__builtin_ctz(set)].result = result;
}

SAD_HOST_UNSEEN inline void arrive(Operation operation, unsigned mask, uint64_t value, int line,
                                   const char* file) {
  Thread& self = *current;
  self.operation = operation;
  self.mask = mask;
  self.value = value;
  self.line = line;
  self.file = file;
  self.state = kWaiting;
}

SAD_HOST_UNSEEN __attribute__((noinline)) inline uint64_t warp_operation(
    Operation operation, unsigned mask, uint64_t value, int source, int line, const char* file) {
  Launch& l = launch_state;
  Thread& self = *current;
  Warp& warp = l.warps[self.warp];
  arrive(operation, mask, value, line, file);
  self.source = source;
  if (!(mask >> self.lane & 1)) {
    report("%s is not in the mask of its %s", name(self).text, place(self).text);
    give_up();
  }
  if (const unsigned missing = mask & ~(warp.exists & ~warp.returned)) {
    const int lane = __builtin_ctz(missing);
    const bool exists = warp.exists >> lane & 1;
    report("%s: lane %d of the mask of its %s %s", name(self).text, lane, place(self).text,
           exists ? "has returned" : "is no thread of the block");
    give_up();
  }
  int at = 0;
  while (at < warp.groups && (warp.group[at].mask != mask || warp.group[at].operation != operation))
    ++at;
  if (at == warp.groups) warp.group[warp.groups++] = Group{operation, mask, 0};
  Group& group = warp.group[at];
  group.arrived |= 1u << self.lane;
  if (group.arrived == mask) {
    complete(group, &l.thread[self.warp * kLanes]);
    if (operation == kSyncWarp) pass_syncwarp(self.warp, mask);
    make_ready(self.warp, mask);
    group = warp.group[--warp.groups];
  }
  wait();
  return self.result;
}

SAD_HOST_UNSEEN __attribute__((noinline)) inline int block_operation(Operation operation, int value,
                                                                     int line, const char* file) {
  Launch& l = launch_state;
  Thread& self = *current;
  arrive(operation, 0, value != 0, line, file);
  if (l.at_barrier++ == 0) l.first_at_barrier = &self;
  const Thread& first = *l.first_at_barrier;
  if (first.operation != operation || first.line != line ||
      (first.file != file && strcmp(first.file, file) != 0)) {
    report("%s is at %s while %s is at %s", name(first).text, place(first).text, name(self).text,
           place(self).text);
    give_up();
  }
  if (l.at_barrier == l.threads) {
    int count = 0;
    for (int i = 0; i < l.threads; ++i) count += static_cast<int>(l.thread[i].value);
    const int result = operation == kBarrierAnd  ? count == l.threads
                       : operation == kBarrierOr ? count > 0
                                                 : count;
    for (int i = 0; i < l.threads; ++i) l.thread[i].result = result;
    l.at_barrier = 0;
    pass_barrier();
    for (int w = 0; w * kLanes < l.threads; ++w) make_ready(w, l.warps[w].exists);
  }
  wait();
  return static_cast<int>(self.result);
}

}  // namespace sad_host
#endif  // SAD_CUDA_HOST_BLOCK_H_
