// Bitmap primitives: picture and gradients. A block is a tile of 16 x 16 px, a thread a pixel, a
// warp 8 x 4 of them. A tile goes through all primitives, 256 at a time: each thread tests one of
// them against the tile, and those that touch it lie in shared memory in their order. So no list
// can be too short, whatever covers a pixel.
#include "bmp_core.h"
#include "cuda_common.cuh"

namespace sad {

constexpr int kComposeTile = 16;
constexpr int kComposeThreads = 256;
constexpr int kComposeWarps = kComposeThreads / 32;
constexpr int kPrimitiveWords = 16;
static_assert(sizeof(BmpPrimitive) == 4 * kPrimitiveWords, "a row of `primitives`");

struct ComposeStage {
  BmpPrimitive primitives[kComposeThreads];
  int ids[kComposeThreads];
  int counts[kComposeWarps];
};

struct ComposePixel {
  int x, y;      // of the raster
  float cx, cy;  // centre, px
  float wx, wy;  // centre of the warp's pixels
  float tx, ty;  // centre of the tile
};

static __device__ __forceinline__ ComposePixel compose_pixel(int tiles_x, int x0, int y0) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int left = x0 + static_cast<int>(blockIdx.x) % tiles_x * kComposeTile;
  const int top = y0 + static_cast<int>(blockIdx.x) / tiles_x * kComposeTile;
  const int wx = left + warp % 2 * 8, wy = top + warp / 2 * 4;
  ComposePixel p;
  p.x = wx + lane % 8;
  p.y = wy + lane / 8;
  p.cx = static_cast<float>(p.x) + 0.5f;
  p.cy = static_cast<float>(p.y) + 0.5f;
  p.wx = static_cast<float>(wx + 4);
  p.wy = static_cast<float>(wy + 2);
  p.tx = static_cast<float>(left + kComposeTile / 2);
  p.ty = static_cast<float>(top + kComposeTile / 2);
  return p;
}

// Bring those of 256 primitives from `base` on that touch the tile into shared memory; returns how
// many. All threads of the block take part.
static __device__ __forceinline__ int compose_stage(const float* primitives, int count, int base,
                                                    const ComposePixel& at, ComposeStage* stage) {
  const int i = base + static_cast<int>(threadIdx.x);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  BmpPrimitive p;
  bool touches = false;
  if (i < count) {
    p = reinterpret_cast<const BmpPrimitive*>(primitives)[i];
    touches = bmp_touches<float, bool>(p, at.tx - p.x, at.ty - p.y, 0.5f * (kComposeTile - 1));
  }
  const unsigned found = __ballot_sync(kFullWarp, touches);
  __syncthreads();  // nobody reads the last ones any more
  if (lane == 0) stage->counts[warp] = __popc(found);
  __syncthreads();
  int before = 0, all = 0;
  for (int w = 0; w < kComposeWarps; ++w) {
    if (w < warp) before += stage->counts[w];
    all += stage->counts[w];
  }
  if (touches) {
    const int place = before + __popc(found & ((1u << lane) - 1u));
    stage->primitives[place] = p;
    stage->ids[place] = i;
  }
  __syncthreads();
  return all;
}

template <bool Blended>
static __device__ __forceinline__ void compose_lookup(const BmpPrimitive& p, const unsigned* quads,
                                                      float u, float v, BmpSample<float>* samples) {
  const float s = sad_min(sad_max(u + p.middle, 0.0f), p.last);
  const float t = sad_min(sad_max(v + p.middle, 0.0f), p.last);
  const int i = static_cast<int>(s), j = static_cast<int>(t);
  const float fs = s - static_cast<float>(i), ft = t - static_cast<float>(j);
  const unsigned* at = quads + p.plane + j * p.side + i;
  SAD_UNROLL
  for (int c = 0; c < (Blended ? 4 : 1); ++c, at += p.side * p.side) {
    const unsigned quad = __ldg(at);
    const float taps[4] = {static_cast<float>(quad & 255u), static_cast<float>(quad >> 8 & 255u),
                           static_cast<float>(quad >> 16 & 255u), static_cast<float>(quad >> 24)};
    samples[c] = bmp_bilinear(taps, fs, ft);
  }
}

// Whether anything of a primitive may lie in the warp's 8 x 4 pixels.
static __device__ __forceinline__ bool compose_near(const BmpPrimitive& p, const ComposePixel& at) {
  return bmp_touches<float, bool>(p, at.wx - p.x, at.wy - p.y, 3.5f);
}

template <bool Blended>
static __device__ __forceinline__ void compose_draw_tile(const float* primitives,
                                                         const unsigned* quads, float* out,
                                                         int count, int tiles_x, int x0, int y0,
                                                         int width, int height, float blend,
                                                         ComposeStage* stage) {
  const ComposePixel at = compose_pixel(tiles_x, x0, y0);
  float light = 1.0f, color[3] = {0.0f, 0.0f, 0.0f};
  for (int base = 0; base < count; base += kComposeThreads) {
    const int n = compose_stage(primitives, count, base, at, stage);
    for (int e = 0; e < n; ++e) {
      const BmpPrimitive& p = stage->primitives[e];
      if (!compose_near(p, at)) continue;
      const float dx = at.cx - p.x, dy = at.cy - p.y;
      BmpSample<float> samples[Blended ? 4 : 1];
      compose_lookup<Blended>(p, quads, p.ax * dx + p.ay * dy, p.ax * dy - p.ay * dx, samples);
      bmp_paint<Blended>(p, blend, samples, &light, color);
    }
    if (!__syncthreads_or(light > kBmpDark)) break;
  }
  const int column = at.x - x0, row = at.y - y0;
  if (column >= width || row >= height) return;
  const long long plane = static_cast<long long>(width) * height;
  float* pixel = out + static_cast<long long>(row) * width + column;
  SAD_UNROLL
  for (int c = 0; c < 3; ++c) pixel[c * plane] = color[c];
  pixel[3 * plane] = 1.0f - light;
}

template <bool Blended>
static __device__ __forceinline__ void compose_gather_tile(
    const float* primitives, const unsigned* quads, const unsigned char* active, const float* image,
    const float* slopes, unsigned long long* sums, int count, int tiles_x, int width, int height,
    float blend, float unit, ComposeStage* stage) {
  const ComposePixel at = compose_pixel(tiles_x, 0, 0);
  const bool inside = at.x < width && at.y < height;
  const long long plane = static_cast<long long>(width) * height;
  const long long pixel = inside ? static_cast<long long>(at.y) * width + at.x : 0;
  float slope[3], light = 1.0f, rest = 0.0f;
  if (inside) rest = -slopes[3 * plane + pixel] * (1.0f - image[3 * plane + pixel]);
  SAD_UNROLL
  for (int c = 0; c < 3; ++c) {
    slope[c] = inside ? slopes[c * plane + pixel] : 0.0f;
    rest += slope[c] * (inside ? image[c * plane + pixel] : 0.0f);
  }
  for (int base = 0; base < count; base += kComposeThreads) {
    const int n = compose_stage(primitives, count, base, at, stage);
    for (int e = 0; e < n; ++e) {
      const BmpPrimitive& p = stage->primitives[e];
      if (!compose_near(p, at)) continue;  // the same for all lanes
      const float dx = at.cx - p.x, dy = at.cy - p.y;
      const float u = p.ax * dx + p.ay * dy, v = p.ax * dy - p.ay * dx;
      BmpSample<float> samples[Blended ? 4 : 1];
      compose_lookup<Blended>(p, quads, u, v, samples);
      float own[kBmpSums];
      SAD_UNROLL
      for (int j = 0; j < kBmpSums; ++j) own[j] = 0.0f;
      bmp_gather<Blended>(p, blend, samples, u, v, slope, &light, &rest, own);
      const int id = stage->ids[e];
      if (!active[id]) continue;  // the same for all lanes
      // Fixed-point sums: their order does not matter, so that no order of blocks changes a bit.
      const int number = LaneSums<kBmpSums, 16>::reduce(own, threadIdx.x % 32);
      if (number < kBmpSums && own[0] != 0.0f) {
        const long long whole = static_cast<long long>(own[0] * unit);
        atomicAdd(sums + static_cast<long long>(id) * kBmpSums + number,
                  static_cast<unsigned long long>(whole));
      }
    }
    if (!__syncthreads_or(light > kBmpDark)) break;
  }
}

}  // namespace sad

using namespace sad;

// params [count][8]; levels [templates][8][6] as sadcodec/compose/quads.py makes them; primitives
// [count][16] are BmpPrimitive.
extern "C" __global__ void __launch_bounds__(128)
    compose_prepare(const float* params, const int* levels, float* primitives, int count,
                    int templates, float opacity, float blend) {
  const int i = blockIdx.x * 128 + threadIdx.x;
  if (i >= count) return;
  const int* table = levels + i % templates * (kTemplateLevels * 6);
  reinterpret_cast<BmpPrimitive*>(primitives)[i] =
      bmp_prepare(params + static_cast<long long>(i) * kBmpColumns, opacity, blend,
                  reinterpret_cast<const BmpLevel*>(table));
}

// out [4][height][width]: premultiplied RGBA of the window whose first pixel is (x0, y0), a
// multiple of the tile's side.
extern "C" __global__ void __launch_bounds__(256, 3)
    compose_draw(const float* primitives, const unsigned* quads, float* out, int count, int tiles_x,
                 int x0, int y0, int width, int height, float blend, int blended) {
  __shared__ ComposeStage stage;
  if (blended)
    compose_draw_tile<true>(primitives, quads, out, count, tiles_x, x0, y0, width, height, blend,
                            &stage);
  else
    compose_draw_tile<false>(primitives, quads, out, count, tiles_x, x0, y0, width, height, blend,
                             &stage);
}

// image as compose_draw left it, slopes dL/d(image), both [4][height][width]. sums [count][8] are
// added to, in units of 1 / unit.
extern "C" __global__ void __launch_bounds__(256, 3)
    compose_gather(const float* primitives, const unsigned* quads, const unsigned char* active,
                   const float* image, const float* slopes, unsigned long long* sums, int count,
                   int tiles_x, int width, int height, float blend, int blended, float unit) {
  __shared__ ComposeStage stage;
  if (blended)
    compose_gather_tile<true>(primitives, quads, active, image, slopes, sums, count, tiles_x, width,
                              height, blend, unit, &stage);
  else
    compose_gather_tile<false>(primitives, quads, active, image, slopes, sums, count, tiles_x,
                               width, height, blend, unit, &stage);
}

// gradients [count][8] by the parameters.
extern "C" __global__ void __launch_bounds__(128)
    compose_gradient(const float* params, const float* primitives, const unsigned long long* sums,
                     float* gradients, int count, float blend, float unit) {
  const int i = blockIdx.x * 128 + threadIdx.x;
  if (i >= count) return;
  double own[kBmpSums];
  SAD_UNROLL
  for (int j = 0; j < kBmpSums; ++j)
    own[j] = static_cast<double>(
                 static_cast<long long>(sums[static_cast<long long>(i) * kBmpSums + j])) /
             static_cast<double>(unit);
  bmp_parameter_gradient(params + static_cast<long long>(i) * kBmpColumns,
                         reinterpret_cast<const BmpPrimitive*>(primitives)[i], blend, own,
                         gradients + static_cast<long long>(i) * kBmpColumns);
}
