// The sanitizer of a library of kernels: what the compiler calls before every access under
// -fsanitize=thread (its own run-time library is not linked), and what launches tell.
#include "sanitizer.h"

#include "shadow.h"

namespace sad_host {

void begin_launch(const Array* arrays, int count) { watch(arrays, count); }
void end_launch() { watching = false; }
void begin_block() { clocks.begin_block(); }
void pass_barrier() { clocks.pass_barrier(); }
void pass_syncwarp(int warp, unsigned lanes) { clocks.pass_syncwarp(warp, lanes); }

void check_atomic(const void* address, size_t size, const void* return_address) {
  check(address, size, kWholeRead, return_address);
  check(address, size, kWholeWrite, return_address);
}

}  // namespace sad_host

#define SAD_HOST_HOOKS(name, access) \
  SAD_HOST_HOOK(name, access, 1)     \
  SAD_HOST_HOOK(name, access, 2)     \
  SAD_HOST_HOOK(name, access, 4)     \
  SAD_HOST_HOOK(name, access, 8)     \
  SAD_HOST_HOOK(name, access, 16)
#define SAD_HOST_HOOK(name, access, size)                                          \
  void __tsan_##name##size(void* address) {                                        \
    sad_host::check(address, size, sad_host::access, __builtin_return_address(0)); \
  }

extern "C" {

SAD_HOST_HOOKS(read, kRead)
SAD_HOST_HOOKS(write, kWrite)
SAD_HOST_HOOKS(unaligned_read, kRead)
SAD_HOST_HOOKS(unaligned_write, kWrite)
SAD_HOST_HOOKS(volatile_read, kWholeRead)
SAD_HOST_HOOKS(volatile_write, kWholeWrite)
SAD_HOST_HOOKS(unaligned_volatile_read, kRead)
SAD_HOST_HOOKS(unaligned_volatile_write, kWrite)

void __tsan_read_range(void* address, unsigned long size) {
  sad_host::check(address, size, sad_host::kRead, __builtin_return_address(0));
}
void __tsan_write_range(void* address, unsigned long size) {
  sad_host::check(address, size, sad_host::kWrite, __builtin_return_address(0));
}

// Clang's, for structures.
void* __tsan_memcpy(void* to, const void* from, unsigned long size) {
  sad_host::check(from, size, sad_host::kRead, __builtin_return_address(0));
  sad_host::check(to, size, sad_host::kWrite, __builtin_return_address(0));
  return memcpy(to, from, size);
}
void* __tsan_memmove(void* to, const void* from, unsigned long size) {
  sad_host::check(from, size, sad_host::kRead, __builtin_return_address(0));
  sad_host::check(to, size, sad_host::kWrite, __builtin_return_address(0));
  return memmove(to, from, size);
}
void* __tsan_memset(void* to, int value, unsigned long size) {
  sad_host::check(to, size, sad_host::kWrite, __builtin_return_address(0));
  return memset(to, value, size);
}

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

}  // extern "C"
