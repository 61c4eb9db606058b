// What the CUDA kernels share: sums over the lanes of a warp, and rectangles of pixels.
#ifndef SAD_CUDA_COMMON_CUH_
#define SAD_CUDA_COMMON_CUH_

#include "sad_core.h"

namespace sad {

constexpr int kTile = 8;  // px, side of the tile that has a candidate list
constexpr int kTilePixels = kTile * kTile;
constexpr unsigned kFullWarp = 0xffffffffu;

// Sum of V values over groups of 2 * OFFSET adjacent lanes: at every step a lane gives half of its
// values away and adds up the other half, so that V values cost about V + 2 shuffles, not
// V * log2(lanes). Afterwards v[0] of a lane holds the sum of the value whose number is returned;
// V or more: of none. All lanes of the warp take part.
template <int V, int OFFSET>
struct LaneSums {
  static __device__ __forceinline__ int reduce(float* v, int lane) {
    constexpr int kHalf = (V + 1) / 2;
    const bool upper = lane & OFFSET;
#pragma unroll
    for (int i = 0; i < kHalf; ++i) {
      const float second = kHalf + i < V ? v[kHalf + i < V ? kHalf + i : 0] : 0.0f;
      const float give = upper ? v[i] : second, keep = upper ? second : v[i];
      v[i] = keep + __shfl_xor_sync(kFullWarp, give, OFFSET);
    }
    const int within = LaneSums<kHalf, OFFSET / 2>::reduce(v, lane);
    const int number = upper ? kHalf + within : within;
    return within < kHalf && number < V ? number : V;
  }
};
template <int OFFSET>
struct LaneSums<1, OFFSET> {
  static __device__ __forceinline__ int reduce(float* v, int lane) {
    v[0] += __shfl_xor_sync(kFullWarp, v[0], OFFSET);
    const bool other = LaneSums<1, OFFSET / 2>::reduce(v, lane) != 0;
    return other || (lane & OFFSET) ? 1 : 0;  // one of the lanes that hold the sum answers
  }
};
template <int V>
struct LaneSums<V, 0> {
  static __device__ __forceinline__ int reduce(float*, int) { return 0; }
};
template <>
struct LaneSums<1, 0> {
  static __device__ __forceinline__ int reduce(float*, int) { return 0; }
};

static __device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2)
    x = sad_max(x, __shfl_xor_sync(kFullWarp, x, offset));
  return x;
}

template <typename T>
static __device__ __forceinline__ T warp_sum(T x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x = x + __shfl_xor_sync(kFullWarp, x, offset);
  return x;
}

// A root within a unit in the last place, in one instruction, where correct rounding takes ten.
// Numbers too small to be normal count as 0.
static __device__ __forceinline__ float approximate_sqrt(float x) {
#if defined(__CUDA_ARCH__)
  float root;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(root) : "f"(x));
  return root;
#else
  return sad_sqrt(x);
#endif
}

// sad_distance, for fits and for bounds of logits that allow for more than its rounding.
static __device__ __forceinline__ float approximate_distance(float dx, float dy, float m0, float m1,
                                                             float m2) {
  const float u = m0 * dx + m1 * dy, v = m2 * dy;
  return approximate_sqrt(u * u + v * v);
}

// Prepared sites are read as four vectors of 16 bytes.
static __device__ __forceinline__ PreparedSite load_site(const float* sites, int id) {
  const float4* at = reinterpret_cast<const float4*>(sites) + 4 * static_cast<long long>(id);
  const float4 a = at[0], b = at[1], c = at[2];
  PreparedSite s;
  s.x = a.x;
  s.y = a.y;
  s.m0 = a.z;
  s.m1 = a.w;
  s.m2 = b.x;
  s.tau = b.y;
  s.radius = b.z;
  s.color[0] = b.w;
  s.color[1] = c.x;
  s.color[2] = c.y;
  s.color[3] = c.z;
  return s;
}

}  // namespace sad
#endif  // SAD_CUDA_COMMON_CUH_
