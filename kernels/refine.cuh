// What the passes of the integer descent share: a pixel's list, a site's pixels, sums of a block.
#ifndef SAD_REFINE_CUH_
#define SAD_REFINE_CUH_

#include "cuda_common.cuh"
#include "sad_descent.h"

namespace sad {

constexpr int kSiteThreads = 192;  // of the block that works on one site
constexpr int kSiteWarps = kSiteThreads / 32;

static __device__ __forceinline__ float logit_at(const PreparedSite& s, float x, float y) {
  return sad_logit(sad_distance(x - s.x, y - s.y, s.m0, s.m1, s.m2), s.tau, s.radius);
}

static __device__ __forceinline__ void load4(const float* from, long long number, float* out) {
  const float4 v = reinterpret_cast<const float4*>(from)[number];
  out[0] = v.x;
  out[1] = v.y;
  out[2] = v.z;
  out[3] = v.w;
}

static __device__ __forceinline__ void store4(float* to, long long number, const float* v) {
  reinterpret_cast<float4*>(to)[number] = make_float4(v[0], v[1], v[2], v[3]);
}

static __device__ __forceinline__ void store_site(float* sites, int id, const PreparedSite& s) {
  const float a[4] = {s.x, s.y, s.m0, s.m1}, b[4] = {s.m2, s.tau, s.radius, s.color[0]};
  const float c[4] = {s.color[1], s.color[2], s.color[3], 0.0f};
  store4(sites, 4ll * id, a);
  store4(sites, 4ll * id + 1, b);
  store4(sites, 4ll * id + 2, c);
}

static __device__ __forceinline__ void load_color(const float* sites, int id, float* color) {
  float c[4];
  load4(sites, 4ll * id + 2, c);
  color[0] = sites[16ll * id + 7];
  color[1] = c[0];
  color[2] = c[1];
  color[3] = c[2];
}

// The lists of all pixels: ids [P][12], `none` behind the last; logits [P][12], descending.
struct Lists {
  const int* ids;
  const float* logits;
  int none;
};

// What a pixel's list says of its sites but for one.
static __device__ __forceinline__ Others others_of(const Lists& lists, const float* sites,
                                                   int pixel, int site, int k) {
  const long long base = static_cast<long long>(pixel) * kListLength;
  Others out;
  sad_no_others(0.0f, &out);
  float own = 0.0f;
  int number = 0;
  for (int j = 0; j < kListLength && number < k; ++j) {
    const int id = lists.ids[base + j];
    if (id == lists.none) break;
    const float logit = lists.logits[base + j];
    if (id == site) {
      own = logit;
      continue;
    }
    float color[kMaxChannels];
    load_color(sites, id, color);
    sad_add_other(&out, number++, k, logit, color);
  }
  if (number == 0) out.reference = own;
  return out;
}

// Sums of V values over the block: `partial` [kSiteWarps][V] gets those of the warps, which
// `block_sum` adds up, in their order, once all threads have met.
template <int V>
static __device__ __forceinline__ void warp_sums(float* values, float* partial) {
  const int column = LaneSums<V, 16>::reduce(values, threadIdx.x % 32);
  if (column < V) partial[threadIdx.x / 32 * V + column] = values[0];
}

template <int V>
static __device__ __forceinline__ float block_sum(const float* partial, int column) {
  float sum = 0.0f;
  SAD_UNROLL
  for (int w = 0; w < kSiteWarps; ++w) sum = sum + partial[w * V + column];
  return sum;
}

}  // namespace sad
#endif  // SAD_REFINE_CUH_
