// What a launch tells the sanitizer (sanitizer.cpp), which checks every access to memory of a
// kernel that is compiled for it; of another it checks nothing.
#ifndef SAD_CUDA_HOST_SANITIZER_H_
#define SAD_CUDA_HOST_SANITIZER_H_

#include <cstddef>
#include <cstdint>

// Of a function whose own accesses are not the kernel's.
#define SAD_HOST_UNSEEN __attribute__((no_sanitize("thread")))

namespace sad_host {

// An array that a kernel is given, as compiler.py passes it.
struct Array {
  const char* name;
  uintptr_t begin;
  size_t bytes, element;
  bool constant;
};

#ifdef SAD_HOST_CHECKED
void begin_launch(const Array* arrays, int count);
void end_launch();
void begin_block();
void pass_barrier();
void pass_syncwarp(int warp, unsigned lanes);
void check_atomic(const void* address, size_t size, const void* return_address);
#else
inline void begin_launch(const Array*, int) {}
inline void end_launch() {}
inline void begin_block() {}
inline void pass_barrier() {}
inline void pass_syncwarp(int, unsigned) {}
inline void check_atomic(const void*, size_t, const void*) {}
#endif

}  // namespace sad_host
#endif  // SAD_CUDA_HOST_SANITIZER_H_
