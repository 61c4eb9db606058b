// Sites of a tile in shared memory, and which of them a quarter of the tile needs.
//
// A tile is a block of 64 threads. Each quarter, 4 x 4 pixels by 16 threads, chooses from the
// tile's list the sites that can be in the top K of one of its own, by bounds of their logits as in
// candidates.cu: where sites are small, that is a quarter of them.
#ifndef SAD_QUADS_CUH_
#define SAD_QUADS_CUH_

#include "cuda_common.cuh"

namespace sad {

constexpr int kQuad = 16;         // threads that go through the same sites
constexpr int kStaged = 192;      // sites of a tile in shared memory at a time
constexpr float kLeast = -3e38f;  // under any logit
static_assert(kStaged <= 256, "chosen sites are numbered by a byte");

struct StagedSite {
  float4 a, b, c;  // x, y, m0, m1; m2, tau, radius, color 0; colors 1..3
};

// Logits come in units in which 1 is `unit`.
static __device__ __forceinline__ void stage(const float* sites, int id, float unit,
                                             StagedSite* out) {
  const float4* row = reinterpret_cast<const float4*>(sites) + 4 * static_cast<long long>(id);
  out->a = row[0];
  float4 b = row[1];
  b.y *= unit;
  out->b = b;
  if (SAD_CHANNELS > 1) out->c = row[2];
}

static __device__ __forceinline__ float staged_color(const StagedSite& s, int c) {
  return c == 0 ? s.b.w : c == 1 ? s.c.x : c == 2 ? s.c.y : s.c.z;
}

struct Bounds {
  float low, up;
};

// The pixels of a quarter: the centre, and how far from it their own centres lie.
struct Quad {
  float x, y, half_x, half_y;

  // Bounds of a site's logit. In its metric the pixels lie in a box around the centre, whose
  // nearest and furthest point are those of each axis.
  __device__ __forceinline__ Bounds bounds(const StagedSite& s) const {
    const float dx = x - s.a.x, dy = y - s.a.y;
    const float u = fabsf(s.a.z * dx + s.a.w * dy), v = fabsf(s.b.x * dy);
    const float half_u = s.a.z * half_x + fabsf(s.a.w) * half_y, half_v = s.b.x * half_y;
    const float near_u = sad_max(u - half_u, 0.0f), near_v = sad_max(v - half_v, 0.0f);
    const float far_u = u + half_u, far_v = v + half_v;
    const float nearest = approximate_sqrt(near_u * near_u + near_v * near_v);
    const float furthest = approximate_sqrt(far_u * far_u + far_v * far_v);
    // Wider than rounding: 1e-5 relative, for the logits of the pixels too.
    const float slack = s.b.y * (furthest + fabsf(s.b.z)) * 1e-5f + 1e-6f;
    Bounds out;
    out.up = s.b.y * (s.b.z - nearest) + slack;
    out.low = s.b.y * (s.b.z - furthest) - slack;
    return out;
  }
};

// What a site must reach: the K-th largest lower bound, or the largest less the cut. Each of 16
// lanes remembers the two largest of those that it looks at, enough to find a threshold that K
// sites reach, seldom under the K-th largest itself.
struct QuadThreshold {
  float first = kLeast, second = kLeast;

  __device__ __forceinline__ void add(const StagedSite* staged, int n, const Quad& quad) {
    for (int i = threadIdx.x % kQuad; i < n; i += kQuad) {
      const float low = quad.bounds(staged[i]).low;
      second = sad_max(second, sad_min(first, low));
      first = sad_max(first, low);
    }
  }

  __device__ __forceinline__ float value(float cut) {
    const int lane = threadIdx.x % 32;
    float largest = first, best = first;
    for (int j = 0; j < SAD_K; ++j) {
      largest = first;
      SAD_UNROLL
      for (int offset = kQuad / 2; offset > 0; offset /= 2)
        largest = sad_max(largest, __shfl_xor_sync(kFullWarp, largest, offset));
      if (j == 0) best = largest;
      const unsigned votes = __ballot_sync(kFullWarp, first == largest) >> (lane & kQuad) & 0xffffu;
      if (lane % kQuad == __ffs(votes) - 1) {
        first = second;
        second = kLeast;
      }
    }
    return sad_max(largest, best - cut);
  }
};

// Write to `chosen` the numbers of the staged sites that reach the threshold; return how many.
static __device__ __forceinline__ int choose(const StagedSite* staged, int n, const Quad& quad,
                                             float threshold, unsigned char* chosen) {
  const int lane = threadIdx.x % 32, within = threadIdx.x % kQuad;
  int count = 0;
  for (int base = 0; base < n; base += kQuad) {
    const int i = base + within;
    const bool keep = i < n && quad.bounds(staged[i]).up >= threshold;
    const unsigned votes = __ballot_sync(kFullWarp, keep) >> (lane & kQuad) & 0xffffu;
    if (keep) chosen[count + __popc(votes & ((1u << within) - 1u))] = static_cast<unsigned char>(i);
    count += __popc(votes);
  }
  __syncwarp();
  return count;
}

}  // namespace sad
#endif  // SAD_QUADS_CUH_
