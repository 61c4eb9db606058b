// CUDA C++ as far as the kernels use it, for a C++17 compiler of the GNU family: a .cu file that is
// compiled with this header runs on the CPU (compiler.py adds the header and the launchers).
//
// Differences from a device: blocks run one after the other, and so do the threads of a block
// between the places where they wait; __shared__ arrays hold NaN (all bits set) when a block starts
// (not those of function templates: GCC before 14 places them elsewhere); there is no inline PTX.
// `extern __shared__ T name[];` is rewritten by compiler.py to SAD_HOST_DYNAMIC_SHARED(T, name).
#ifndef SAD_CUDA_HOST_SHIM_H_
#define SAD_CUDA_HOST_SHIM_H_

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <type_traits>

#include "launch.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __constant__ static
// "used" keeps the compiler from taking the variable's first value for zero.
#define __shared__ static __attribute__((used, section("sad_shared")))
#define SAD_HOST_DYNAMIC_SHARED(type, name) \
  type* const name = static_cast<type*>(sad_host::dynamic_shared())

#define threadIdx (sad_host::current->index)
#define blockIdx (sad_host::block_index)
#define blockDim (sad_host::block_dim)
#define gridDim (sad_host::grid_dim)
constexpr int warpSize = sad_host::kLanes;

// ---- Vector types ---------------------------------------------------------------------------

#define SAD_HOST_VECTOR(type, name, align)                                    \
  struct alignas(align * sizeof(type) / 2) name##2 { type x, y; };            \
  struct name##3 { type x, y, z; };                                           \
  struct alignas(align * sizeof(type)) name##4 { type x, y, z, w; };          \
  inline name##2 make_##name##2(type x, type y) { return {x, y}; }            \
  inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; } \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
SAD_HOST_VECTOR(unsigned char, uchar, 4)
SAD_HOST_VECTOR(short, short, 4)
SAD_HOST_VECTOR(unsigned short, ushort, 4)
SAD_HOST_VECTOR(int, int, 4)
SAD_HOST_VECTOR(unsigned, uint, 4)
SAD_HOST_VECTOR(float, float, 4)
struct alignas(16) double2 {
  double x, y;
};
inline double2 make_double2(double x, double y) { return {x, y}; }
struct alignas(16) longlong2 {
  long long x, y;
};
inline longlong2 make_longlong2(long long x, long long y) { return {x, y}; }
struct alignas(16) ulonglong2 {
  unsigned long long x, y;
};
inline ulonglong2 make_ulonglong2(unsigned long long x, unsigned long long y) { return {x, y}; }
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// ---- Waiting for other threads --------------------------------------------------------------

// Where a call stands, for messages. It is part of a declaration's defaults.
#define SAD_HOST_PLACE int line = __builtin_LINE(), const char *file = __builtin_FILE()

inline void __syncthreads(SAD_HOST_PLACE) {
  sad_host::block_operation(sad_host::kBarrier, 0, line, file);
}
inline int __syncthreads_count(int predicate, SAD_HOST_PLACE) {
  return sad_host::block_operation(sad_host::kBarrierCount, predicate, line, file);
}
inline int __syncthreads_and(int predicate, SAD_HOST_PLACE) {
  return sad_host::block_operation(sad_host::kBarrierAnd, predicate, line, file);
}
inline int __syncthreads_or(int predicate, SAD_HOST_PLACE) {
  return sad_host::block_operation(sad_host::kBarrierOr, predicate, line, file);
}
inline void __syncwarp(unsigned mask = ~0u, SAD_HOST_PLACE) {
  // The default names all lanes; a last warp that is smaller has none of the others.
  const sad_host::Warp& warp = sad_host::launch_state.warps[sad_host::current->warp];
  sad_host::warp_operation(sad_host::kSyncWarp, mask == ~0u ? warp.exists : mask, 0, 0, line, file);
}

namespace sad_host {

template <typename T>
inline T shuffle(Operation operation, unsigned mask, T value, int from, int width, int line,
                 const char* file) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  if (width < 1 || width > kLanes || (width & (width - 1)) != 0) {
    report("%s: a shuffle's width is %d in line %d", name(*current).text, width, line);
    give_up();
  }
  const int lane = current->lane, first = lane & ~(width - 1), last = first + width - 1;
  int source = lane;
  if (operation == kShuffle) source = first | (from & (width - 1));
  if (operation == kShuffleUp && lane - from >= first) source = lane - from;
  if (operation == kShuffleDown && lane + from <= last) source = lane + from;
  if (operation == kShuffleXor && (lane ^ from) <= last) source = lane ^ from;
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(value));
  bits = warp_operation(operation, mask, bits, source & (kLanes - 1), line, file);
  memcpy(&value, &bits, sizeof(value));
  return value;
}

// What T is promoted to: a shuffled bool or char is an int.
template <typename T>
using Promoted = decltype(+T());

}  // namespace sad_host

#define SAD_HOST_SHUFFLE(function, operation, Lane)                                              \
  template <typename T>                                                                          \
  inline sad_host::Promoted<T> function(unsigned mask, T value, Lane from, int width = warpSize, \
                                        SAD_HOST_PLACE) {                                        \
    return sad_host::shuffle<sad_host::Promoted<T>>(sad_host::operation, mask, value,            \
                                                    static_cast<int>(from), width, line, file);  \
  }
SAD_HOST_SHUFFLE(__shfl_sync, kShuffle, int)
SAD_HOST_SHUFFLE(__shfl_up_sync, kShuffleUp, unsigned)
SAD_HOST_SHUFFLE(__shfl_down_sync, kShuffleDown, unsigned)
SAD_HOST_SHUFFLE(__shfl_xor_sync, kShuffleXor, int)

#define SAD_HOST_VOTE(type, function, operation, Value)                           \
  inline type function(unsigned mask, Value value, SAD_HOST_PLACE) {              \
    return static_cast<type>(sad_host::warp_operation(                            \
        sad_host::operation, mask, static_cast<unsigned>(value), 0, line, file)); \
  }
SAD_HOST_VOTE(unsigned, __ballot_sync, kBallot, int)
SAD_HOST_VOTE(int, __any_sync, kAny, int)
SAD_HOST_VOTE(int, __all_sync, kAll, int)
SAD_HOST_VOTE(int, __reduce_add_sync, kReduceAdd, int)
SAD_HOST_VOTE(int, __reduce_min_sync, kReduceMin, int)
SAD_HOST_VOTE(int, __reduce_max_sync, kReduceMax, int)
SAD_HOST_VOTE(unsigned, __reduce_add_sync, kReduceAdd, unsigned)
SAD_HOST_VOTE(unsigned, __reduce_min_sync, kReduceMinUnsigned, unsigned)
SAD_HOST_VOTE(unsigned, __reduce_max_sync, kReduceMaxUnsigned, unsigned)
SAD_HOST_VOTE(unsigned, __reduce_and_sync, kReduceAnd, unsigned)
SAD_HOST_VOTE(unsigned, __reduce_or_sync, kReduceOr, unsigned)
SAD_HOST_VOTE(unsigned, __reduce_xor_sync, kReduceXor, unsigned)

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __nanosleep(unsigned) {}
[[noreturn]] inline void __trap() {
  sad_host::report("%s: __trap", sad_host::name(*sad_host::current).text);
  sad_host::give_up();
}

#include "intrinsics.h"

#endif  // SAD_CUDA_HOST_SHIM_H_
