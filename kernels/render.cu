// Drawing a diagram: a thread is a pixel, a block a tile, whose quarters choose their sites.
//
// Float first; a bound on the float error says which pixels are repeated in double: where it cannot
// tell the K-th logit from the next, or where it would move a weight by more than a fraction of a
// code value (as in cpu/passes.h). Those take exactly the reference's top K.
#include "quads.cuh"

namespace sad {

constexpr int kChannels = SAD_CHANNELS;
constexpr int kRow = kColor + kChannels;
constexpr float kLogitTolerance = 1e-3f;
constexpr float kMatters = 12.0f;  // logits under the largest; a weight of 6e-6
constexpr int kFewTies = 16;       // so many of these weights may be too many

struct Evaluated {
  float logit, bound;
};

// blur: px that the pixel centre may be off by; 0 for the picture's own, which are exact.
static __device__ __forceinline__ Evaluated evaluate(const StagedSite& s, float x, float y,
                                                     float blur) {
  const float4 a = s.a, b = s.b;
  const float dx = x - a.x, dy = y - a.y;
  Evaluated out;
  out.logit = sad_logit(sad_distance(dx, dy, a.z, a.w, b.x), b.y, b.z);
  // A few units in the last place of every term that enters the logit.
  const float u = a.z * dx, v = a.w * dy, w = b.x * dy;
  const float size = (u < 0.0f ? -u : u) + (v < 0.0f ? -v : v) + (w < 0.0f ? -w : w);
  out.bound = (b.y * 4e-7f) * (size + (b.z < 0.0f ? -b.z : b.z));
  if (blur > 0.0f) out.bound += b.y * blur * (a.z + (a.w < 0.0f ? -a.w : a.w) + b.x);
  return out;
}

// Number i of the picture: in float as it is, or in code values of 8 or 16 bits, whose operations
// are those of sadcodec.pixels.code_values.
static __device__ __forceinline__ void put(unsigned char* out, long long i, int bits, float value) {
  if (bits == 0) {
    reinterpret_cast<float*>(out)[i] = value;
    return;
  }
  const float most = bits == 8 ? 255.0f : 65535.0f;
  const float code = sad_min(sad_max(value, 0.0f), 1.0f) * most + 0.5f;
  if (bits == 8)
    out[i] = static_cast<unsigned char>(code);
  else
    reinterpret_cast<unsigned short*>(out)[i] = static_cast<unsigned short>(code);
}

}  // namespace sad

using namespace sad;

// out: [height][width][C] of the region whose first pixel is (x0, y0); bits: 0 for float, not
// clamped, else 8 or 16. List i is ids[offsets[i]] up to ids[offsets[ends + i]]. Column i of the
// raster is at place_x + (i + 0.5) step_x. exact_sites [count][4] as prepare_exact makes them;
// all_exact: every pixel in double. Logits further than cut under a pixel's largest may be left
// out.
extern "C" __global__ void __launch_bounds__(64, 14)
    render_tiles(const float* params, const float* sites, const double* exact_sites,
                 const int* offsets, int ends, const int* ids, unsigned char* out, int bits,
                 int tiles_x, int x0, int y0, int width, int height, double place_x, double place_y,
                 double step_x, double step_y, float blur, float cut, int all_exact) {
  __shared__ StagedSite staged[kStaged];
  __shared__ unsigned char chosen_by_all[kTilePixels / kQuad][kStaged];
  const int tile = blockIdx.x, quad = threadIdx.x / kQuad, within = threadIdx.x % kQuad;
  unsigned char* chosen = chosen_by_all[quad];
  const int column = tile % tiles_x * kTile + quad % 2 * 4 + within % 4;
  const int row = tile / tiles_x * kTile + quad / 2 * 4 + within / 4;
  const bool inside = column < width && row < height;
  const int begin = offsets[tile], end = offsets[ends + tile];
  const int px = x0 + column, py = y0 + row;
  const double exact_x = place_x + (px + 0.5) * step_x, exact_y = place_y + (py + 0.5) * step_y;
  const float x = static_cast<float>(exact_x), y = static_cast<float>(exact_y);
  const long long pixel = (static_cast<long long>(row) * width + column) * kChannels;

  bool doubtful = all_exact != 0;
  if (!doubtful) {
    const bool single = end - begin <= kStaged;  // piece, which stays in shared memory
    const auto stage_piece = [&](int base) {
      const int n = end - base < kStaged ? end - base : kStaged;
      for (int i = threadIdx.x; i < n; i += kTilePixels)
        stage(sites, ids[base + i], 1.0f, staged + i);
      __syncthreads();
      return n;
    };
    const float step_across = static_cast<float>(step_x), step_down = static_cast<float>(step_y);
    const Quad pixels{x + (1.5f - within % 4) * step_across, y + (1.5f - within / 4) * step_down,
                      1.5f * step_across + 2.0f * blur, 1.5f * step_down + 2.0f * blur};
    int n = 0, kept = 0;  // entries of the piece, and of those the quarter's
    if (single) n = stage_piece(begin);
    QuadThreshold lows;
    for (int base = begin; base < end; base += kStaged) {
      if (!single) n = stage_piece(base);
      lows.add(staged, n, pixels);
      if (!single) __syncthreads();
    }
    const float needed = lows.value(cut);

    float top[SAD_K], next = kLeast;
    SAD_UNROLL
    for (int j = 0; j < SAD_K; ++j) top[j] = kLeast;
    for (int base = begin; base < end; base += kStaged) {
      if (!single) n = stage_piece(base);
      kept = choose(staged, n, pixels, needed, chosen);
      for (int j = 0; j < kept; ++j)
        next = sad_max(next, sad_insert<SAD_K>(top, evaluate(staged[chosen[j]], x, y, blur).logit));
      if (!single) __syncthreads();
    }
    const float maximum = top[0], threshold = top[SAD_K - 1];
    float total = 0.0f, worst = 0.0f, blend[kChannels];
    int taken = 0;
    SAD_UNROLL
    for (int c = 0; c < kChannels; ++c) blend[c] = 0.0f;
    for (int base = begin; base < end; base += kStaged) {
      if (!single) {
        n = stage_piece(base);
        kept = choose(staged, n, pixels, needed, chosen);
      }
      for (int j = 0; j < kept; ++j) {
        const StagedSite& s = staged[chosen[j]];
        const Evaluated at = evaluate(s, x, y, blur);
        if (at.logit + at.bound > maximum - kMatters) worst = sad_max(worst, at.bound);
        if (at.logit < threshold) continue;
        ++taken;
        const float w = sad_exp(at.logit - maximum);
        total = total + w;
        SAD_UNROLL
        for (int c = 0; c < kChannels; ++c) blend[c] = blend[c] + w * staged_color(s, c);
      }
      if (!single) __syncthreads();
    }
    doubtful = worst > kLogitTolerance || taken > SAD_K + kFewTies;
    if (end - begin > SAD_K && threshold > maximum - kMatters)
      doubtful = doubtful || next + worst + worst >= threshold;
    if (!doubtful && inside) {
      SAD_UNROLL
      for (int c = 0; c < kChannels; ++c) put(out, pixel + c, bits, blend[c] * (1.0f / total));
    }
  }
  if (!doubtful || !inside) return;

  // As the reference does it, operation by operation.
  double logits[SAD_K], total = 0.0, blend[kChannels];
  int top[SAD_K], n = 0;
  for (int e = begin; e < end; ++e) {
    const int id = ids[e];
    const double* site = exact_sites + 4 * static_cast<long long>(id);
    const ExactSite exact{site[0], site[1], site[2], site[3]};
    const float* own = params + static_cast<long long>(id) * kRow;
    n = sad_insert_pair(logits, top, n, SAD_K, sad_logit_exact(exact_x, exact_y, own, exact), id);
  }
  SAD_UNROLL
  for (int c = 0; c < kChannels; ++c) blend[c] = 0.0;
  for (int j = 0; j < n; ++j) {
    const double w = sad_exp(logits[j] - logits[0]);
    total += w;
    const float* own = params + static_cast<long long>(top[j]) * kRow;
    SAD_UNROLL
    for (int c = 0; c < kChannels; ++c) blend[c] += w * own[kColor + c];
  }
  SAD_UNROLL
  for (int c = 0; c < kChannels; ++c)
    put(out, pixel + c, bits, static_cast<float>(blend[c] / total));
}
