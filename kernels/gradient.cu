// Loss and gradients: sums of each tile over its pixels, then of each site over its tiles.
//
// A thread is a pixel. The logits of the tile's list give the K-th largest; the sites that reach it
// are blended; what they contribute to dL/dparameters is linear in a few sums (sad_accumulate),
// which are reduced over the lanes of a warp and written once per tile and site. Nothing is added
// up by atomics but the loss, in integers, so that no order of execution changes a bit.
//
// Where all pixels count, each quarter of a tile first chooses from the tile's list what can matter
// to its own pixels (quads.cuh).
#include "quads.cuh"

namespace sad {

constexpr int kChannels = SAD_CHANNELS;
constexpr int kRow = kColor + kChannels;
constexpr int kGradientThreads = 64;
constexpr int kSampled = 16;            // pixels of a tile in one phase
constexpr int kSitesPerBlock = 16;      // of gradient_sites
constexpr int kStagedSampled = 32;      // sites of a tile in shared memory, where one is sampled
constexpr int kPiece = 32;              // entries of a list summed up at a time
constexpr int kNotedWords = 32;         // of kPiece entries each
constexpr float kLog2E = 1.44269504f;   // logits are in units of ln 2 here, for sad_exp2
constexpr float kLossUnit = 268435456;  // 2^28 units of squared error, see gradient_tiles

// Within two units in the last place, in one instruction; sad_exp2 takes sixteen.
static __device__ __forceinline__ float approximate_exp2(float x) {
#if defined(__CUDA_ARCH__)
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
#else
  return sad_exp2(x);
#endif
}

static __device__ __forceinline__ float staged_distance(const StagedSite& s, float dx, float dy) {
  return approximate_distance(dx, dy, s.a.z, s.a.w, s.b.x);
}

// Shared memory of a block. A tile has PIXELS threads: 64 for all its pixels, 16 for one phase.
template <int PIXELS>
struct TileMemory {
  static constexpr int kTiles = kGradientThreads / PIXELS;
  static constexpr int kRoom = PIXELS == kTilePixels ? kStaged : kStagedSampled;
  static constexpr int kLanes = PIXELS < 32 ? PIXELS : 32;  // whose sums are taken together,
  static constexpr int kParts = PIXELS / kLanes;            // parts of a tile
  StagedSite staged[kTiles][kRoom];
  unsigned char chosen[kGradientThreads / kQuad][kRoom];
  unsigned noted[kTiles * kParts][kNotedWords];  // entries of a list that a pixel of a part blends
  float partial[kTiles * kParts][kPiece][kRow];
  int lengths[kTiles];
  float squared[kGradientThreads / 32];
};

// One tile by PIXELS threads; 64 / PIXELS tiles a block.
// GIVEN: `target` is dL/dpicture; weights, loss and scale are not used.
template <int PIXELS, bool GIVEN>
static __device__ __forceinline__ void tile_gradient(const float* sites, const int* offsets,
                                                     const int* ids, const float* target,
                                                     const float* weights, float* rows,
                                                     unsigned long long* loss, int weight_stride,
                                                     int tiles, int tiles_x, int width, int height,
                                                     float cut, int phase, float scale,
                                                     TileMemory<PIXELS>* memory) {
  using Memory = TileMemory<PIXELS>;
  constexpr int kRoom = Memory::kRoom, kLanes = Memory::kLanes, kParts = Memory::kParts;
  constexpr bool kQuarters = PIXELS == kTilePixels;
  const int group = threadIdx.x / PIXELS, thread = threadIdx.x % PIXELS;
  const int lane = threadIdx.x % 32, part = threadIdx.x / kLanes;
  const int quad = threadIdx.x / kQuad, within = threadIdx.x % kQuad;
  const int tile = blockIdx.x * Memory::kTiles + group;
  const bool exists = tile < tiles;
  const int quad_x = tile % tiles_x * kTile + (kQuarters ? quad % 2 * 4 : 0);
  const int quad_y = tile / tiles_x * kTile + (kQuarters ? quad / 2 * 4 : 0);
  const int px = quad_x + (kQuarters ? within % 4 : within % 4 * 2 + (phase & 1));
  const int py = quad_y + (kQuarters ? within / 4 : within / 4 * 2 + (phase >> 1));
  const bool inside = exists && px < width && py < height;
  const float x = static_cast<float>(px) + 0.5f, y = static_cast<float>(py) + 0.5f;
  const int begin = exists ? offsets[tile] : 0, end = exists ? offsets[tile + 1] : 0;
  // All threads of the block go through as many pieces of their lists as the longest one has.
  if (thread == 0) memory->lengths[group] = end - begin;
  for (int i = threadIdx.x; i < Memory::kTiles * kParts * kNotedWords; i += kGradientThreads)
    memory->noted[i / kNotedWords][i % kNotedWords] = 0;
  __syncthreads();
  int longest = memory->lengths[0];
  for (int g = 1; g < Memory::kTiles; ++g)
    longest = memory->lengths[g] > longest ? memory->lengths[g] : longest;
  const bool single = longest <= kRoom;  // piece, which stays in shared memory
  const bool noted = longest <= kNotedWords * kPiece;
  StagedSite* mine = memory->staged[group];
  unsigned char* chosen = memory->chosen[quad];

  const auto stage_piece = [&](int base) {
    const int n = end - begin - base < kRoom ? end - begin - base : kRoom;
    for (int i = thread; i < n; i += PIXELS) stage(sites, ids[begin + base + i], kLog2E, mine + i);
    __syncthreads();
    return n;
  };
  int n = 0, kept = 0;  // entries of the piece, and of those the quad's
  if (single) n = stage_piece(0);

  const Quad pixels{static_cast<float>(quad_x) + 2.0f, static_cast<float>(quad_y) + 2.0f, 1.5f,
                    1.5f};
  float needed = kLeast;
  if (kQuarters) {
    QuadThreshold lows;
    for (int base = 0; base < longest; base += kRoom) {
      if (!single) n = stage_piece(base);
      lows.add(mine, n, pixels);
      if (!single) __syncthreads();
    }
    needed = lows.value(kLog2E * cut);
  }
  const auto chosen_of_piece = [&]() {
    return kQuarters ? choose(mine, n, pixels, needed, chosen) : n;
  };

  // Logits: the largest and the K-th largest.
  float top[SAD_K];
  SAD_UNROLL
  for (int j = 0; j < SAD_K; ++j) top[j] = kLeast;
  for (int base = 0; base < longest; base += kRoom) {
    if (!single) n = stage_piece(base);
    kept = chosen_of_piece();
#pragma unroll 4
    for (int j = 0; j < kept; ++j) {
      const StagedSite& s = mine[kQuarters ? chosen[j] : j];
      const float d = staged_distance(s, x - s.a.x, y - s.a.y);
      sad_insert<SAD_K>(top, sad_logit(d, s.b.y, s.b.z));
    }
    if (!single) __syncthreads();
  }
  const float maximum = top[0], threshold = sad_max(maximum - kLog2E * cut, top[SAD_K - 1]);

  // The blend of the sites at or over the threshold. Which of them a part has is noted.
  float total = 0.0f, blend[kChannels];
  SAD_UNROLL
  for (int c = 0; c < kChannels; ++c) blend[c] = 0.0f;
  for (int base = 0; base < longest; base += kRoom) {
    if (!single) {
      n = stage_piece(base);
      kept = chosen_of_piece();
    }
    const int other = __shfl_xor_sync(kFullWarp, kept, kQuad);
    const int most = kept > other ? kept : other;
    for (int j = 0; j < most; ++j) {  // warps stay together: the quad with the shorter list idles
      const int i = j >= kept ? 0 : kQuarters ? chosen[j] : j;
      bool reached = false;
      if (j < kept) {
        const StagedSite& s = mine[i];
        const float d = staged_distance(s, x - s.a.x, y - s.a.y);
        const float l = sad_logit(d, s.b.y, s.b.z);
        reached = l >= threshold;
        if (reached) {
          const float w = approximate_exp2(l - maximum);
          total = total + w;
          SAD_UNROLL
          for (int c = 0; c < kChannels; ++c) blend[c] = blend[c] + w * staged_color(s, c);
        }
      }
      const unsigned votes = __ballot_sync(kFullWarp, reached) >> (lane & kQuad) & 0xffffu;
      if (noted && within == 0 && votes != 0)
        atomicOr(&memory->noted[part][(base + i) / kPiece], 1u << (base + i) % kPiece);
    }
    __syncthreads();
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

  // Sums over the tile's pixels, site by site. Most sites matter to few pixels: a part passes over
  // those that matter to none of its own.
  for (int base = 0; base < longest; base += kRoom) {
    if (!single) n = stage_piece(base);
    for (int start = 0; start < kRoom && base + start < longest; start += kPiece) {
      const int count = n - start < kPiece ? n - start : kPiece;
      const auto matters = [&](int of_part) {
        return noted        ? memory->noted[of_part][(base + start) / kPiece]
               : count <= 0 ? 0u
                            : kFullWarp >> (kPiece - count);
      };
      for (unsigned rest = matters(part); __any_sync(kFullWarp, rest != 0); rest &= rest - 1) {
        const int i = __ffs(rest) - 1;
        float sums[kRow];
        SAD_UNROLL
        for (int j = 0; j < kRow; ++j) sums[j] = 0.0f;
        if (rest != 0 && counts) {
          const StagedSite& s = mine[start + i];
          const float dx = x - s.a.x, dy = y - s.a.y;
          const float d = staged_distance(s, dx, dy);
          const float l = sad_logit(d, s.b.y, s.b.z);
          if (l >= threshold) {
            const float w = approximate_exp2(l - maximum) * inverse;
            float gc = 0.0f - gy;
            SAD_UNROLL
            for (int c = 0; c < kChannels; ++c) {
              gc = gc + g[c] * staged_color(s, c);
              sums[kSColor + c] = w * g[c];
            }
            sad_accumulate(sums, w * gc, d, dx, dy);
          }
        }
        const int column = LaneSums<kRow, kLanes / 2>::reduce(sums, lane);
        if (rest != 0 && column < kRow) memory->partial[part][i][column] = sums[0];
      }
      __syncthreads();
      for (int e = thread; e < count * kRow; e += PIXELS) {
        float sum = 0.0f;
        SAD_UNROLL
        for (int p = group * kParts; p < (group + 1) * kParts; ++p)
          if (matters(p) >> e / kRow & 1u) sum = sum + memory->partial[p][e / kRow][e % kRow];
        rows[static_cast<long long>(begin + base + start) * kRow + e] = sum;
      }
      __syncthreads();
    }
  }

  if (GIVEN) return;
  // 2^28 units keep 1e-6 of a tile's error at 46 dB, and 2^28 pixels of the largest error fit.
  error2 = warp_sum(error2 * weight);
  if (lane == 0) memory->squared[threadIdx.x / 32] = error2;
  __syncthreads();
  if (threadIdx.x == 0) {
    const double sum = static_cast<double>(memory->squared[0] + memory->squared[1]) * kLossUnit;
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
  __shared__ TileMemory<kTilePixels> memory;
  tile_gradient<kTilePixels, false>(sites, offsets, ids, target, weights, rows, losses + slot,
                                    weight_stride, tiles, tiles_x, width, height, cut, 0, scale,
                                    &memory);
}

// The same with derivatives given: cotangent [height][width][C] is dL/dpicture.
extern "C" __global__ void __launch_bounds__(64, 14)
    pull_back_tiles(const float* sites, const int* offsets, const int* ids, const float* cotangent,
                    float* rows, int tiles, int tiles_x, int width, int height, float cut) {
  __shared__ TileMemory<kTilePixels> memory;
  tile_gradient<kTilePixels, true>(sites, offsets, ids, cotangent, nullptr, rows, nullptr, 0, tiles,
                                   tiles_x, width, height, cut, 0, 0.0f, &memory);
}

// The pixels of one phase, 0..3: one of every 2 x 2. A block is four tiles.
extern "C" __global__ void __launch_bounds__(64, 14)
    gradient_tiles_sampled(const float* sites, const int* offsets, const int* ids,
                           const float* target, const float* weights, float* rows,
                           unsigned long long* losses, int weight_stride, int tiles, int tiles_x,
                           int width, int height, float cut, int slot, int phase, float scale) {
  __shared__ TileMemory<kSampled> memory;
  tile_gradient<kSampled, false>(sites, offsets, ids, target, weights, rows, losses + slot,
                                 weight_stride, tiles, tiles_x, width, height, cut, phase, scale,
                                 &memory);
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
