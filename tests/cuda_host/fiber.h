// Fibers: functions with a stack of their own that hand control to one another.
#ifndef SAD_CUDA_HOST_FIBER_H_
#define SAD_CUDA_HOST_FIBER_H_

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#if !defined(__x86_64__) && !defined(__aarch64__) && !defined(SAD_HOST_UCONTEXT)
#define SAD_HOST_UCONTEXT 1
#endif
#ifdef SAD_HOST_UCONTEXT
#include <ucontext.h>
#endif

namespace sad_host {

constexpr size_t kStackBytes = 128 << 10;

#ifdef SAD_HOST_UCONTEXT

// The portable form: a system call per switch.
struct Context {
  ucontext_t state;
};
inline void switch_context(Context* from, Context* to) { swapcontext(&from->state, &to->state); }
inline void start_context(Context* context, char* stack, size_t bytes, void (*entry)()) {
  getcontext(&context->state);
  context->state.uc_stack.ss_sp = stack;
  context->state.uc_stack.ss_size = bytes;
  context->state.uc_link = nullptr;
  makecontext(&context->state, entry, 0);
}

#else

// Registers that a called function has to keep go on the stack; the context is the stack pointer.
struct Context {
  void* stack;
};

extern "C" void sad_host_switch(void** from, void* to) __attribute__((visibility("hidden")));

#if defined(__x86_64__)
constexpr int kSavedWords = 6, kReturnWord = 6;
asm(R"(
.text
.p2align 4
.weak sad_host_switch
.hidden sad_host_switch
.type sad_host_switch, @function
sad_host_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size sad_host_switch, .-sad_host_switch
)");
#else
constexpr int kSavedWords = 20, kReturnWord = 11;
asm(R"(
.text
.p2align 4
.weak sad_host_switch
.hidden sad_host_switch
.type sad_host_switch, %function
sad_host_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size sad_host_switch, .-sad_host_switch
)");
#endif

inline void switch_context(Context* from, Context* to) { sad_host_switch(&from->stack, to->stack); }

inline void start_context(Context* context, char* stack, size_t bytes, void (*entry)()) {
  // 16-byte alignment as at a function's first instruction: on x86-64 a return address lies below.
  uintptr_t top = (reinterpret_cast<uintptr_t>(stack) + bytes) & ~uintptr_t{15};
  void** words = reinterpret_cast<void**>(top) - 32;
  for (int i = 0; i < kSavedWords; ++i) words[i] = nullptr;
  words[kReturnWord] = reinterpret_cast<void*>(entry);
#if defined(__x86_64__)
  words[kReturnWord + 1] = nullptr;  // where entry's own return address would be
#endif
  context->stack = words;
}

#endif  // SAD_HOST_UCONTEXT

struct Fiber {
  Context context;
  char* stack;
  size_t bytes;
};

// Fibers with their stacks, kept from launch to launch. Below every stack lies a page that faults.
class FiberPool {
 public:
  // All fibers at their entry again, whatever they were in.
  void reset() {
    free_count_ = 0;
    for (int i = 0; i < count_; ++i) start(&all_[i]);
  }
  bool complete() const { return free_count_ == count_; }

  Fiber* take() {
    if (free_count_ == 0) create();
    return free_[--free_count_];
  }
  void give_back(Fiber* fiber) { free_[free_count_++] = fiber; }

  void (*entry)();  // what a fiber runs

 private:
  static constexpr int kMost = 1026;  // one for each thread of a block, one that looks for more

  void create() {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    void* memory = mmap(nullptr, page + kStackBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (count_ == kMost || memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0) abort();
    // Tops at different places of their pages, so that they do not meet in the same cache lines.
    const size_t stagger = static_cast<size_t>(count_ % 24 * 320);
    Fiber* fiber = &all_[count_++];
    fiber->stack = static_cast<char*>(memory) + page;
    fiber->bytes = kStackBytes - stagger;
    start(fiber);
  }
  void start(Fiber* fiber) {
    start_context(&fiber->context, fiber->stack, fiber->bytes, entry);
    give_back(fiber);
  }

  int count_, free_count_;
  Fiber all_[kMost];
  Fiber* free_[kMost];
};

}  // namespace sad_host
#endif  // SAD_CUDA_HOST_FIBER_H_
