// A kernel launch: its blocks one after the other, and the signals that a kernel's faults raise.
#ifndef SAD_CUDA_HOST_LAUNCH_H_
#define SAD_CUDA_HOST_LAUNCH_H_

#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include <utility>

#include "block.h"
#include "shared_memory.h"

namespace sad_host {

// ---- Faults ---------------------------------------------------------------------------------

inline sigjmp_buf recover;

inline void on_fault(int number) { siglongjmp(recover, number); }

// While it lives, a fault or the end of the time allowed comes back to `recover`.
class FaultGuard {
 public:
  explicit FaultGuard(int seconds) {
    static char stack[64 << 10];
    stack_t own{};
    own.ss_sp = stack;
    own.ss_size = sizeof(stack);
    sigaltstack(&own, &stack_);
    struct sigaction action{};
    action.sa_handler = on_fault;
    action.sa_flags = SA_ONSTACK;
    for (int i = 0; i < kSignals; ++i) sigaction(kSignal[i], &action, &actions_[i]);
    const itimerval limit{{0, 0}, {seconds, 0}};
    setitimer(ITIMER_VIRTUAL, &limit, &timer_);
  }
  ~FaultGuard() {
    setitimer(ITIMER_VIRTUAL, &timer_, nullptr);
    for (int i = 0; i < kSignals; ++i) sigaction(kSignal[i], &actions_[i], nullptr);
    sigaltstack(&stack_, nullptr);
  }
  FaultGuard(const FaultGuard&) = delete;
  FaultGuard& operator=(const FaultGuard&) = delete;

 private:
  static constexpr int kSignals = 6;
  static constexpr int kSignal[kSignals] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGVTALRM};
  stack_t stack_{};
  struct sigaction actions_[kSignals]{};
  itimerval timer_{};
};

inline const char* fault_name(int number) {
  switch (number) {
    case SIGILL:
    case SIGTRAP:
    case SIGFPE:
      return "an index beyond its array, a misaligned pointer or a division by zero";
    case SIGVTALRM:
      return "no end in the time allowed";
    default:
      return "an address that is not mapped or misaligned (or the stack is full)";
  }
}

// ---- Launch ---------------------------------------------------------------------------------

// While it lives, subnormal numbers count as 0, as floats do in what CuPy compiles: it adds
// -ftz=true to the options. A device's doubles keep theirs. Not on other processors than x86.
class FlushSubnormals {
#if defined(__SSE2__)
 public:
  FlushSubnormals() { _mm_setcsr(mode_ | 0x8040); }  // results and operands
  ~FlushSubnormals() { _mm_setcsr(mode_); }
  FlushSubnormals(const FlushSubnormals&) = delete;
  FlushSubnormals& operator=(const FlushSubnormals&) = delete;

 private:
  const unsigned mode_ = _mm_getcsr();
#endif
};

inline void run_block() {
  Launch& l = launch_state;
  poison_shared();
  begin_block();
  l.returned = l.at_barrier = l.warp = 0;
  l.pending = nullptr;
  l.ready_warps = 0;
  for (int w = 0; w * kLanes < l.threads; ++w) {
    const int lanes = l.threads - w * kLanes;
    Warp& warp = l.warps[w];
    warp.exists = warp.ready = lanes >= kLanes ? ~0u : (1u << lanes) - 1;
    warp.returned = 0;
    warp.groups = 0;
    l.ready_warps |= 1u << w;
  }
  for (int i = 0; i < l.threads; ++i) {
    l.thread[i].fiber = nullptr;
    l.thread[i].state = kReady;
  }
  if (l.order > 0) l.warp = choose(l.ready_warps);
  l.running = fibers.take();
  switch_context(&l.main, &l.running->context);
  current = nullptr;
}

inline void run_grid() {
  Launch& l = launch_state;
  const uint64_t blocks = uint64_t{grid_dim.x} * grid_dim.y * grid_dim.z;
  if (l.order > 1) {
    l.drawn = static_cast<uint32_t*>(malloc(blocks * sizeof(uint32_t)));
    for (uint64_t i = 0; i < blocks; ++i) {
      const uint64_t j = random_bits() % (i + 1);
      l.drawn[i] = l.drawn[j];
      l.drawn[j] = static_cast<uint32_t>(i);
    }
  }
  for (uint64_t i = 0; i < blocks && !l.failed; ++i) {
    block_index = block_at(i);
    run_block();
  }
  free(l.drawn);
  l.drawn = nullptr;
}

// Returns whether the kernel ran to its end; otherwise `error` says why not.
inline bool launch(const char* kernel, void (*call)(void**), const unsigned* grid,
                   const unsigned* block, void** arguments, const Array* arrays, int array_count,
                   uint64_t order, size_t shared_bytes, int seconds, char* error,
                   size_t error_bytes) {
  Launch& l = launch_state;
  l.kernel = kernel;
  l.call = call;
  l.arguments = arguments;
  l.order = order;
  l.random = (order + 1) * 0x9e3779b97f4a7c15u;
  l.error = error;
  l.error_bytes = error_bytes;
  l.failed = false;
  grid_dim = Index{grid[0], grid[1], grid[2]};
  block_dim = Index{block[0], block[1], block[2]};
  l.threads = static_cast<int>(block[0] * block[1] * block[2]);
  for (int i = 0; i < l.threads; ++i) {
    const unsigned n = static_cast<unsigned>(i), row = n / block[0];
    l.thread[i].index = Index{n % block[0], row % block[1], row / block[1]};
    l.thread[i].warp = i / kLanes;
    l.thread[i].lane = i % kLanes;
  }
  dynamic_bytes = shared_bytes;
  current = nullptr;
  begin_launch(arrays, array_count);
  fibers.entry = fiber_main;
  if (!fibers.complete()) fibers.reset();  // the last launch ended in an error
  const FaultGuard guard(seconds);
  const FlushSubnormals flush;
  if (const int fault = sigsetjmp(recover, 1))
    report("%s: %s", current ? name(*current).text : "before its first thread", fault_name(fault));
  else
    run_grid();
  end_launch();
  return !l.failed;
}

template <typename... P, size_t... I>
SAD_HOST_UNSEEN inline void call_with(void (*kernel)(P...), void** arguments,
                                      std::index_sequence<I...>) {
  kernel(*static_cast<std::remove_cv_t<P>*>(arguments[I])...);
}

// Call a kernel with arguments given as the driver takes them: a pointer to each.
template <typename... P>
inline void call_kernel(void (*kernel)(P...), void** arguments) {
  call_with(kernel, arguments, std::index_sequence_for<P...>{});
}

}  // namespace sad_host
#endif  // SAD_CUDA_HOST_LAUNCH_H_
