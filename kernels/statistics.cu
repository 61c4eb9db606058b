// Per-site sums over all pixels, for density control: mass, responsibility-weighted squared error
// and removal delta (see FitSession in backends/base.py).
#include "cuda_common.cuh"

namespace sad {

constexpr int kChannels = SAD_CHANNELS;
constexpr int kSums = 3;
constexpr int kStatisticsWarps = 2;
constexpr int kPiece = 32;             // entries of a list summed up at a time
constexpr float kLog2E = 1.44269504f;  // logits are in units of ln 2 here, for sad_exp2
constexpr float kRemovalCut = 40.0f;   // logits; a site's neighbours may be far under it

}  // namespace sad

using namespace sad;

// rows [entries][3] of each entry of a tile's list; weights as in gradient.cu. The sum of a pixel's
// other weights is taken over those, since subtracting the site from the total would cancel where
// it has nearly all.
extern "C" __global__ void __launch_bounds__(64)
    statistics_tiles(const float* sites, const int* offsets, const int* ids, const float* target,
                     const float* weights, float* rows, int weight_stride, int tiles_x, int width,
                     int height) {
  __shared__ float partial[kStatisticsWarps * kPiece * kSums];
  const int tile = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int px = tile % tiles_x * kTile + threadIdx.x % kTile;
  const int py = tile / tiles_x * kTile + threadIdx.x / kTile;
  const int begin = offsets[tile], end = offsets[tile + 1];
  const bool inside = px < width && py < height && end > begin;
  const float x = static_cast<float>(px) + 0.5f, y = static_cast<float>(py) + 0.5f;

  // The top K as pairs, so that each of them is known; an equal logit goes to the lower id.
  float weight[SAD_K];
  int entry[SAD_K];
  SAD_UNROLL
  for (int j = 0; j < SAD_K; ++j) {
    weight[j] = -3e38f;
    entry[j] = -1;
  }
  for (int e = begin; e < end; ++e) {
    const PreparedSite s = load_site(sites, ids[e]);
    const float d = sad_distance(x - s.x, y - s.y, s.m0, s.m1, s.m2);
    float l = sad_logit(d, s.tau * kLog2E, s.radius);
    int i = e;
    bool better = false;  // from where the site goes on, all move down by one
    SAD_UNROLL
    for (int j = 0; j < SAD_K; ++j) {
      better = better || l > weight[j];
      const float lower = better ? weight[j] : l;
      const int lower_entry = better ? entry[j] : i;
      weight[j] = better ? l : weight[j];
      entry[j] = better ? i : entry[j];
      l = lower;
      i = lower_entry;
    }
  }
  const float maximum = weight[0];
  float total = 0.0f, blend[kChannels], goal[kChannels], before = 0.0f;
  SAD_UNROLL
  for (int c = 0; c < kChannels; ++c) blend[c] = 0.0f;
  SAD_UNROLL
  for (int j = 0; j < SAD_K; ++j) {
    const bool present = entry[j] >= 0 && weight[j] >= maximum - kLog2E * kRemovalCut;
    weight[j] = present ? sad_exp2(weight[j] - maximum) : 0.0f;
    if (!present) entry[j] = -1;
    if (!inside) entry[j] = -1;
    if (entry[j] < 0) continue;
    const PreparedSite s = load_site(sites, ids[entry[j]]);
    total = total + weight[j];
    SAD_UNROLL
    for (int c = 0; c < kChannels; ++c) blend[c] = blend[c] + weight[j] * s.color[c];
  }
  const float inverse = inside ? 1.0f / total : 0.0f;
  SAD_UNROLL
  for (int c = 0; c < kChannels; ++c) {
    goal[c] = inside ? target[(static_cast<long long>(py) * width + px) * kChannels + c] : 0.0f;
    const float error = blend[c] * inverse - goal[c];
    before = before + error * error;
  }
  float delta[SAD_K];
  SAD_UNROLL
  for (int j = 0; j < SAD_K; ++j) {
    delta[j] = 0.0f;
    if (entry[j] < 0) continue;
    float others = 0.0f, rest[kChannels];
    SAD_UNROLL
    for (int c = 0; c < kChannels; ++c) rest[c] = 0.0f;
    SAD_UNROLL
    for (int i = 0; i < SAD_K; ++i) {
      if (i == j || entry[i] < 0) continue;
      const PreparedSite s = load_site(sites, ids[entry[i]]);
      others = others + weight[i];
      SAD_UNROLL
      for (int c = 0; c < kChannels; ++c) rest[c] = rest[c] + weight[i] * s.color[c];
    }
    float after = 0.0f;
    SAD_UNROLL
    for (int c = 0; c < kChannels; ++c) {
      // Without another site, removal is taken to leave an error of 1.
      const float error = others > 1e-30f ? rest[c] / others - goal[c] : 1.0f;
      after = after + error * error;
    }
    delta[j] = after - before;
  }
  // Not before here: registers are short above.
  const long long pixel = static_cast<long long>(py) * width + px;
  const float importance = inside ? weights[pixel * weight_stride] : 0.0f;
  before = before * importance;
  SAD_UNROLL
  for (int j = 0; j < SAD_K; ++j) delta[j] = delta[j] * importance;

  for (int base = begin; base < end; base += kPiece) {
    const int n = end - base < kPiece ? end - base : kPiece;
    for (int i = 0; i < n; ++i) {
      float share = 0.0f, removal = 0.0f;
      bool active = false;
      SAD_UNROLL
      for (int j = 0; j < SAD_K; ++j) {
        if (entry[j] != base + i) continue;
        share = weight[j] * inverse;
        removal = delta[j];
        active = true;
      }
      float* out = partial + (warp * kPiece + i) * kSums;
      if (__any_sync(kFullWarp, active)) {
        float sums[kSums] = {share, share * before, removal};
        const int column = LaneSums<kSums, 16>::reduce(sums, lane);
        if (column < kSums) out[column] = sums[0];
      } else if (lane < kSums) {
        out[lane] = 0.0f;
      }
    }
    __syncthreads();
    for (int e = threadIdx.x; e < n * kSums; e += 64)
      rows[static_cast<long long>(base) * kSums + e] = partial[e] + partial[kPiece * kSums + e];
    __syncthreads();
  }
}

// sums [3][count]: mass, error and removal delta of each site, in the order of the tiles.
extern "C" __global__ void __launch_bounds__(128)
    statistics_sites(const float* rows, const int* starts, const long long* order, float* sums,
                     int count) {
  const int site = blockIdx.x * 32 + threadIdx.x / 4, column = threadIdx.x % 4;
  if (site >= count || column >= kSums) return;
  double sum = 0.0;
  for (int e = starts[site]; e < starts[site + 1]; ++e) sum += rows[order[e] * kSums + column];
  sums[static_cast<long long>(column) * count + site] = static_cast<float>(sum);
}
