// Loss and gradients: sums of each tile over its pixels, then of each site over its tiles.
//
// A thread is a pixel. The logits of the tile's list give the K-th largest; the sites that reach it
// are blended; what they contribute to dL/dparameters is linear in a few sums (sad_accumulate),
// which are reduced over the lanes of a warp and written once per tile and site. Nothing is added
// up by atomics but the loss, in integers, so that no order of execution changes a bit.
#include "cuda_common.cuh"

namespace sad {

constexpr int kChannels = SAD_CHANNELS;
constexpr int kRow = kColor + kChannels;
constexpr int kGradientThreads = 64;
constexpr int kSampled = 16;            // pixels of a tile in one phase
constexpr int kSitesPerBlock = 16;      // of gradient_sites
constexpr int kStaged = 32;             // sites of a tile in shared memory at a time
constexpr float kLog2E = 1.44269504f;   // logits are in units of ln 2 here, for sad_exp2
constexpr float kLossUnit = 268435456;  // 2^28 units of squared error, see gradient_tiles

struct StagedSite {
  float4 a, b, c;  // x, y, m0, m1; m2, tau / ln 2, radius, color 0; colors 1..3
};

static __device__ __forceinline__ void stage(const float* sites, int id, StagedSite* out) {
  const float4* row = reinterpret_cast<const float4*>(sites) + 4 * static_cast<long long>(id);
  out->a = row[0];
  float4 b = row[1];
  b.y *= kLog2E;
  out->b = b;
  if (kChannels > 1) out->c = row[2];
}

static __device__ __forceinline__ float staged_color(const StagedSite& s, int c) {
  return c == 0 ? s.b.w : c == 1 ? s.c.x : c == 2 ? s.c.y : s.c.z;
}

// One tile by PIXELS threads, 64 (all pixels) or 16 (one phase of them); 64 / PIXELS tiles a block.
// GIVEN: `target` is dL/dpicture; weights, loss and scale are not used.
template <int PIXELS, bool GIVEN>
static __device__ __forceinline__ void tile_gradient(
    const float* sites, const int* offsets, const int* ids, const float* target,
    const float* weights, float* rows, unsigned long long* loss, int weight_stride, int tiles,
    int tiles_x, int width, int height, float cut, int phase, float scale, StagedSite* staged,
    float* partial, int* lengths, float* squared) {
  constexpr int kGroups = kGradientThreads / PIXELS, kSide = PIXELS == kTilePixels ? kTile : 4;
  constexpr int kLanes = PIXELS < 32 ? PIXELS : 32, kParts = PIXELS / kLanes;  // of a reduction
  const int group = threadIdx.x / PIXELS, thread = threadIdx.x % PIXELS;
  const int lane = threadIdx.x % 32, part = thread / kLanes;
  const int tile = blockIdx.x * kGroups + group;
  const bool exists = tile < tiles;
  constexpr int kStride = kTile / kSide;
  const int px = tile % tiles_x * kTile + thread % kSide * kStride + (phase & 1);
  const int py = tile / tiles_x * kTile + thread / kSide * kStride + (phase >> 1);
  const bool inside = exists && px < width && py < height;
  const float x = static_cast<float>(px) + 0.5f, y = static_cast<float>(py) + 0.5f;
  const int begin = exists ? offsets[tile] : 0, end = exists ? offsets[tile + 1] : 0;
  // All threads of the block go through as many pieces of their lists as the longest one has.
  if (thread == 0) lengths[group] = end - begin;
  __syncthreads();
  int longest = lengths[0];
  for (int g = 1; g < kGroups; ++g) longest = lengths[g] > longest ? lengths[g] : longest;
  const bool single = longest <= kStaged;  // piece, which stays in shared memory
  StagedSite* mine = staged + group * kStaged;

  // Logits: the largest and the K-th largest.
  float top[SAD_K];
  SAD_UNROLL
  for (int j = 0; j < SAD_K; ++j) top[j] = -3e38f;
  for (int base = 0; base < longest; base += kStaged) {
    const int n = end - begin - base < kStaged ? end - begin - base : kStaged;
    for (int i = thread; i < n; i += PIXELS) stage(sites, ids[begin + base + i], mine + i);
    __syncthreads();
    for (int i = 0; i < n; ++i) {
      const StagedSite& s = mine[i];
      const float d = sad_distance(x - s.a.x, y - s.a.y, s.a.z, s.a.w, s.b.x);
      sad_insert<SAD_K>(top, sad_logit(d, s.b.y, s.b.z));
    }
    __syncthreads();
  }
  const float maximum = top[0], threshold = sad_max(maximum - kLog2E * cut, top[SAD_K - 1]);

  // The blend of the sites at or over the threshold. Which these are is noted if a word can hold
  // it.
  const bool noted = longest <= 64;
  unsigned long long reached = 0;
  float total = 0.0f, blend[kChannels];
  SAD_UNROLL
  for (int c = 0; c < kChannels; ++c) blend[c] = 0.0f;
  for (int base = 0; base < longest; base += kStaged) {
    const int n = end - begin - base < kStaged ? end - begin - base : kStaged;
    if (!single) {
      for (int i = thread; i < n; i += PIXELS) stage(sites, ids[begin + base + i], mine + i);
      __syncthreads();
    }
    for (int i = 0; i < n; ++i) {
      const StagedSite& s = mine[i];
      const float d = sad_distance(x - s.a.x, y - s.a.y, s.a.z, s.a.w, s.b.x);
      const float l = sad_logit(d, s.b.y, s.b.z);
      if (l >= threshold) {
        reached |= 1ull << ((base + i) % 64);
        const float w = sad_exp2(l - maximum);
        total = total + w;
        SAD_UNROLL
        for (int c = 0; c < kChannels; ++c) blend[c] = blend[c] + w * staged_color(s, c);
      }
    }
    if (!single) __syncthreads();
  }

  // The error and dL/dy. A pixel outside the image, or of a tile without sites, has none.
  const bool counts = inside && end > begin;
  const float inverse = counts ? 1.0f / total : 0.0f;
  const long long pixel = static_cast<long long>(py) * width + px;
  const float weight = counts && !GIVEN ? weights[pixel * weight_stride] : 0.0f;
  const float slope = weight * scale;
  float g[kChannels], gy = 0.0f, error2 = 0.0f;
  SAD_UNROLL
  for (int c = 0; c < kChannels; ++c) {
    const float value = blend[c] * inverse;
    if (GIVEN) {
      g[c] = counts ? target[pixel * kChannels + c] : 0.0f;
    } else {
      const float error = counts ? value - target[pixel * kChannels + c] : 0.0f;
      error2 = error2 + error * error;
      g[c] = error * slope;
    }
    gy = gy + g[c] * value;
  }

  // Sums over the tile's pixels, site by site.
  for (int base = 0; base < longest; base += kStaged) {
    const int n = end - begin - base < kStaged ? end - begin - base : kStaged;
    const int most = longest - base < kStaged ? longest - base : kStaged;
    if (!single) {
      for (int i = thread; i < n; i += PIXELS) stage(sites, ids[begin + base + i], mine + i);
      __syncthreads();
    }
    for (int i = 0; i < most; ++i) {  // warps stay together: groups with shorter lists idle
      float sums[kRow];
      SAD_UNROLL
      for (int j = 0; j < kRow; ++j) sums[j] = 0.0f;
      // Most sites matter to few pixels: a warp passes over those that matter to none of its own,
      // which it mostly knows before it computes anything.
      bool active = i < n && counts && (!noted || (reached >> (base + i) & 1u) != 0);
      if (active) {
        const StagedSite& s = mine[i];
        const float dx = x - s.a.x, dy = y - s.a.y;
        const float d = sad_distance(dx, dy, s.a.z, s.a.w, s.b.x);
        const float l = sad_logit(d, s.b.y, s.b.z);
        active = l >= threshold;
        if (active) {
          const float w = sad_exp2(l - maximum) * inverse;
          float gc = 0.0f - gy;
          SAD_UNROLL
          for (int c = 0; c < kChannels; ++c) {
            gc = gc + g[c] * staged_color(s, c);
            sums[kSColor + c] = w * g[c];
          }
          sad_accumulate(sums, w * gc, d, dx, dy);
        }
      }
      float* out = partial + ((group * kParts + part) * kStaged + i) * kRow;
      if (__any_sync(kFullWarp, active)) {
        const int column = LaneSums<kRow, kLanes / 2>::reduce(sums, lane);
        if (column < kRow) out[column] = sums[0];
      } else if (lane % kLanes < kRow) {
        out[lane % kLanes] = 0.0f;
      }
    }
    __syncthreads();
    for (int e = thread; e < n * kRow; e += PIXELS) {
      const float* from = partial + group * kParts * kStaged * kRow + e;
      float sum = from[0];
      SAD_UNROLL
      for (int p = 1; p < kParts; ++p) sum = sum + from[p * kStaged * kRow];
      rows[static_cast<long long>(begin + base) * kRow + e] = sum;
    }
    __syncthreads();
  }

  if (GIVEN) return;
  // 2^28 units keep 1e-6 of a tile's error at 46 dB, and 2^28 pixels of the largest error fit.
  error2 = warp_sum(error2 * weight);
  if (lane == 0) squared[threadIdx.x / 32] = error2;
  __syncthreads();
  if (threadIdx.x == 0) {
    const double sum = static_cast<double>(squared[0] + squared[1]) * kLossUnit;
    atomicAdd(loss, static_cast<unsigned long long>(sum + 0.5));
  }
}

}  // namespace sad

using namespace sad;

// rows [entries][6 + C]: the sums of GradientSum for each entry of a tile's list. losses [slot]
// grows by the squared error of the sampled pixels. Weights of the squared errors: one a pixel, in
// the order of the image, with weight_stride 1, or a single one for all with 0. All pixels; a block
// is a tile.
extern "C" __global__ void __launch_bounds__(64, 14)
    gradient_tiles(const float* sites, const int* offsets, const int* ids, const float* target,
                   const float* weights, float* rows, unsigned long long* losses, int weight_stride,
                   int tiles, int tiles_x, int width, int height, float cut, int slot,
                   float scale) {
  __shared__ StagedSite staged[kStaged];
  __shared__ float partial[2 * kStaged * kRow];
  __shared__ int lengths[1];
  __shared__ float squared[kGradientThreads / 32];
  tile_gradient<kTilePixels, false>(sites, offsets, ids, target, weights, rows, losses + slot,
                                    weight_stride, tiles, tiles_x, width, height, cut, 0, scale,
                                    staged, partial, lengths, squared);
}

// The same with derivatives given: cotangent [height][width][C] is dL/dpicture.
extern "C" __global__ void __launch_bounds__(64, 14)
    pull_back_tiles(const float* sites, const int* offsets, const int* ids, const float* cotangent,
                    float* rows, int tiles, int tiles_x, int width, int height, float cut) {
  __shared__ StagedSite staged[kStaged];
  __shared__ float partial[2 * kStaged * kRow];
  __shared__ int lengths[1];
  tile_gradient<kTilePixels, true>(sites, offsets, ids, cotangent, nullptr, rows, nullptr, 0, tiles,
                                   tiles_x, width, height, cut, 0, 0.0f, staged, partial, lengths,
                                   nullptr);
}

// The pixels of one phase, 0..3: one of every 2 x 2. A block is four tiles.
extern "C" __global__ void __launch_bounds__(64, 14)
    gradient_tiles_sampled(const float* sites, const int* offsets, const int* ids,
                           const float* target, const float* weights, float* rows,
                           unsigned long long* losses, int weight_stride, int tiles, int tiles_x,
                           int width, int height, float cut, int slot, int phase, float scale) {
  constexpr int kGroups = kGradientThreads / kSampled;
  __shared__ StagedSite staged[kGroups * kStaged];
  __shared__ float partial[kGroups * kStaged * kRow];
  __shared__ int lengths[kGroups];
  __shared__ float squared[kGradientThreads / 32];
  tile_gradient<kSampled, false>(sites, offsets, ids, target, weights, rows, losses + slot,
                                 weight_stride, tiles, tiles_x, width, height, cut, phase, scale,
                                 staged, partial, lengths, squared);
}

// gradients [count][6 + C] from the rows of each site, in the order of the tiles: 16 threads a
// site, one a column, add up; one thread a site does the rest. losses [next] is made ready for the
// next sums.
extern "C" __global__ void __launch_bounds__(256)
    gradient_sites(const float* params, const float* rows, const int* starts,
                   const long long* order, float* gradients, unsigned long long* losses, int count,
                   int next) {
  __shared__ float totals[kSitesPerBlock][kRow];
  if (blockIdx.x == 0 && threadIdx.x == 0) losses[next] = 0;
  const int first = blockIdx.x * kSitesPerBlock, column = threadIdx.x % 16;
  const int summed = first + static_cast<int>(threadIdx.x / 16);
  if (column < kRow) {
    const int end = summed < count ? starts[summed + 1] : 0;
    float sum = 0.0f;
    for (int e = summed < count ? starts[summed] : 0; e < end; ++e)
      sum = sum + rows[order[e] * kRow + column];
    totals[threadIdx.x / 16][column] = sum;
  }
  __syncthreads();
  const int site = first + static_cast<int>(threadIdx.x);
  if (threadIdx.x >= kSitesPerBlock || site >= count) return;
  float sums[kRow], out[kRow];
  SAD_UNROLL
  for (int j = 0; j < kRow; ++j) sums[j] = totals[threadIdx.x][j];
  const long long at = static_cast<long long>(site) * kRow;
  sad_parameter_gradient<float>(params + at, kChannels, sums, out);
  SAD_UNROLL
  for (int j = 0; j < kRow; ++j) gradients[at + j] = out[j];
}
