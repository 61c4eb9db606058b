// Each pixel's 12 best sites for the integer descent, and the picture's squared error.
#include "refine.cuh"

namespace sad {

constexpr int kStage = 64;  // sites of a tile in shared memory at a time

}  // namespace sad

using namespace sad;

// list_ids, list_logits [P][12], descending, equal logits by ascending id; `count` and -1e30 where
// there are fewer sites. Tiles and their lists as in candidates.cu. A block is a tile.
extern "C" __global__ void __launch_bounds__(64)
    refine_lists(const float* sites, const int* offsets, const int* ids, int* list_ids,
                 float* list_logits, int tiles_x, int width, int height, int count) {
  __shared__ float4 staged[kStage * 2];  // x, y, m0, m1; m2, tau, radius, and the id's bits
  const int tile = blockIdx.x;
  const int px = tile % tiles_x * kTile + threadIdx.x % kTile;
  const int py = tile / tiles_x * kTile + threadIdx.x / kTile;
  const float x = static_cast<float>(px) + 0.5f, y = static_cast<float>(py) + 0.5f;
  const int begin = offsets[tile], end = offsets[tile + 1];
  float logit[kListLength];
  int who[kListLength];
  SAD_UNROLL
  for (int j = 0; j < kListLength; ++j) {
    logit[j] = -1e30f;
    who[j] = count;
  }
  for (int base = begin; base < end; base += kStage) {
    const int n = end - base < kStage ? end - base : kStage;
    if (static_cast<int>(threadIdx.x) < n) {
      const int id = ids[base + threadIdx.x];
      const float4* row = reinterpret_cast<const float4*>(sites) + 4ll * id;
      float4 second = row[1];
      second.w = __int_as_float(id);
      staged[2 * threadIdx.x] = row[0];
      staged[2 * threadIdx.x + 1] = second;
    }
    __syncthreads();
    for (int i = 0; i < n; ++i) {
      const float4 a = staged[2 * i], b = staged[2 * i + 1];
      float l = sad_logit(sad_distance(x - a.x, y - a.y, a.z, a.w, b.x), b.y, b.z);
      if (!(l > logit[kListLength - 1])) continue;
      int id = __float_as_int(b.w);
      bool better = false;  // from where the site goes on, all move down by one
      SAD_UNROLL
      for (int j = 0; j < kListLength; ++j) {
        better = better || l > logit[j];
        const float lower = better ? logit[j] : l;
        const int lower_id = better ? who[j] : id;
        logit[j] = better ? l : logit[j];
        who[j] = better ? id : who[j];
        l = lower;
        id = lower_id;
      }
    }
    __syncthreads();
  }
  if (px >= width || py >= height) return;
  const long long base = (static_cast<long long>(py) * width + px) * kListLength;
  SAD_UNROLL
  for (int j = 0; j < kListLength; ++j) {
    list_ids[base + j] = who[j];
    list_logits[base + j] = logit[j];
  }
}

// Squared error of the blend of the k best, clamped to 0..1, times the pixel's weight: partial
// [blocks] of 256 pixels each. weights [P]; not read unless `weighted`.
extern "C" __global__ void __launch_bounds__(256)
    refine_error(const float* sites, const int* list_ids, const float* list_logits,
                 const float* target, const float* weights, double* partial, int pixels, int count,
                 int k, int weighted) {
  __shared__ float sums[256 / 32];
  const int pixel = blockIdx.x * 256 + threadIdx.x;
  float squared = 0.0f;
  if (pixel < pixels) {
    Others all;  // without any site: the k best are k - 1 and a last one
    const Lists lists{list_ids, list_logits, count};
    all = others_of(lists, sites, pixel, -1, k);
    float value[kMaxChannels], goal[kMaxChannels];
    const float none[kMaxChannels] = {0.0f, 0.0f, 0.0f, 0.0f};
    sad_value_with(all, -3e38f, none, value);
    load4(target, pixel, goal);
    squared = sad_clamped_error(value, goal) * (weighted ? weights[pixel] : 1.0f);
  }
  squared = warp_sum(squared);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = squared;
  __syncthreads();
  if (threadIdx.x != 0) return;
  double sum = 0.0;
  for (int w = 0; w < 256 / 32; ++w) sum += sums[w];
  partial[blockIdx.x] = sum;
}

// total [1]: the sum of partial [n], always in the same order. One block.
extern "C" __global__ void __launch_bounds__(256)
    refine_total(const double* partial, double* total, int n) {
  __shared__ double sums[256 / 32];
  double sum = 0.0;
  for (int i = threadIdx.x; i < n; i += 256) sum += partial[i];
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  sum = 0.0;
  for (int w = 0; w < 256 / 32; ++w) sum += sums[w];
  total[0] = sum;
}
