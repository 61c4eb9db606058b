// By how much the squared error would rise without each site, for the lists of the descent.
#include "refine.cuh"

using namespace sad;

// deltas [N]; a block is a site. A pixel goes to its other sites, the K + 1st included; without
// another site it has an error of 1 in every channel.
extern "C" __global__ void __launch_bounds__(192)
    refine_removal(const long long* order, const int* starts, const float* sites,
                   const int* list_ids, const float* list_logits, const float* target,
                   const float* weights, double* deltas, int width, int count, int k, int channels,
                   int weighted) {
  __shared__ float partial[kSiteWarps];
  const int site = blockIdx.x;
  const Lists lists{list_ids, list_logits, count};
  const PreparedSite own = load_site(sites, site);
  LongSum sum{0.0f, 0.0f};
  const int end = starts[site + 1];
  for (int e = starts[site] + static_cast<int>(threadIdx.x); e < end; e += kSiteThreads) {
    const int pixel = static_cast<int>(order[e] / kListLength);
    const Others others = others_of(lists, sites, pixel, site, k);
    const float x = static_cast<float>(pixel % width) + 0.5f;
    const float y = static_cast<float>(pixel / width) + 0.5f;
    float value[kMaxChannels], goal[kMaxChannels];
    load4(target, pixel, goal);
    sad_value_with(others, logit_at(own, x, y), own.color, value);
    const float before = sad_clamped_error(value, goal);
    const bool alone = others.total == 0.0f && others.last == 0.0f;
    sad_value_with(others, -3e38f, own.color, value);
    const float after = alone ? static_cast<float>(channels) : sad_clamped_error(value, goal);
    sad_add(&sum, (after - before) * (weighted ? weights[pixel] : 1.0f));
  }
  warp_sums<1>(&sum.sum, partial);
  __syncthreads();
  if (threadIdx.x == 0) deltas[site] = block_sum<1>(partial, 0);
}
