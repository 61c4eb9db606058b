// Where the shared memory of a block lies.
#ifndef SAD_CUDA_HOST_SHARED_MEMORY_H_
#define SAD_CUDA_HOST_SHARED_MEMORY_H_

#include <cstddef>
#include <cstring>

// __shared__ variables. The linker defines the names if there is any.
extern "C" {
extern char __start_sad_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_sad_shared[] __attribute__((weak, visibility("hidden")));
}

namespace sad_host {

inline size_t static_bytes() { return static_cast<size_t>(__stop_sad_shared - __start_sad_shared); }

// Memory of `extern __shared__ T name[];`.
alignas(128) inline char dynamic_memory[256 << 10];
inline size_t dynamic_bytes;
inline void* dynamic_shared() { return dynamic_memory; }

// What a block reads before it wrote it is NaN, or -1.
inline void poison_shared() {
  if (static_bytes() > 0) memset(__start_sad_shared, 0xff, static_bytes());
  if (dynamic_bytes > 0) memset(dynamic_memory, 0xff, dynamic_bytes);
}

}  // namespace sad_host
#endif  // SAD_CUDA_HOST_SHARED_MEMORY_H_
