// Bitmap primitives over one tile of 32 px: 16 pixels (4x4) a vector, one primitive after the
// other, so that its parameters and its sums stay in registers.
#ifndef SAD_CPU_BITMAP_PASSES_H_
#define SAD_CPU_BITMAP_PASSES_H_

#include "simd.h"
#include "types.h"

namespace sad {
namespace SAD_ISA {

// Pixel centres within a block, and centres of 16 blocks (two rows of them) within a tile.
struct BitmapOffsets {
  alignas(64) float x[kLanes], y[kLanes], block_x[kLanes], block_y[kLanes];
  constexpr BitmapOffsets() : x(), y(), block_x(), block_y() {
    for (int lane = 0; lane < kLanes; ++lane) {
      x[lane] = static_cast<float>(lane & 3) + 0.5f;
      y[lane] = static_cast<float>(lane >> 2) + 0.5f;
      block_x[lane] = static_cast<float>(4 * (lane & 7) + 2);
      block_y[lane] = static_cast<float>(4 * (lane >> 3) + 2);
    }
  }
};
constexpr BitmapOffsets kBitmapOffsets;

// The blocks of the tile that a primitive touches.
SAD_INLINE uint64_t bitmap_blocks(const BmpPrimitive& p, float dx, float dy) {
  uint64_t out = 0;
  for (int pair = 0; pair < 4; ++pair) {
    const F x = F(dx) + load(kBitmapOffsets.block_x);
    const F y = F(dy + 8.0f * static_cast<float>(pair)) + load(kBitmapOffsets.block_y);
    out |= static_cast<uint64_t>(bits(bmp_touches<F, M>(p, x, y, 1.5f))) << (16 * pair);
  }
  return out;
}

// Quad coordinates of a primitive's pixels, block by block.
struct BitmapWalk {
  const BmpPrimitive& p;
  F s, t;  // of block 0
  SAD_INLINE BitmapWalk at(const BmpPrimitive& p, float dx, float dy) {
    const F x = F(dx) + load(kBitmapOffsets.x), y = F(dy) + load(kBitmapOffsets.y);
    return BitmapWalk{p, F(p.ax) * x + F(p.ay) * y, F(p.ax) * y - F(p.ay) * x};
  }
};

template <bool Blended>
SAD_INLINE void bitmap_lookup(const BmpPrimitive& p, const uint32_t* quads, F u, F v,
                              BmpSample<F>* samples) {
  const F zero(0.0f), last(p.last);
  const F s = sad_min(sad_max(u + F(p.middle), zero), last);
  const F t = sad_min(sad_max(v + F(p.middle), zero), last);
  const F whole_s = sad_truncate(s), whole_t = sad_truncate(t);
  const F fs = s - whole_s, ft = t - whole_t;
  const F index = whole_t * F(static_cast<float>(p.side)) + whole_s;
  const uint32_t* plane = quads + p.plane;
  for (int c = 0; c < (Blended ? 4 : 1); ++c, plane += p.side * p.side) {
    F taps[4];
    gather_bytes(plane, index, taps);
    samples[c] = bmp_bilinear(taps, fs, ft);
  }
}

SAD_INLINE F block_u(const BitmapWalk& walk, float x, float y) {
  return walk.s + F(walk.p.ax * x + walk.p.ay * y);
}
SAD_INLINE F block_v(const BitmapWalk& walk, float x, float y) {
  return walk.t + F(walk.p.ax * y - walk.p.ay * x);
}

template <bool Blended>
static void bitmap_draw_of(const BitmapTile& tile, float* state) {
  constexpr int kState = 4 * kLanes;
  for (int b = 0; b < kBitmapBlocks; ++b)
    for (int row = 0; row < 4; ++row)
      store(state + b * kState + row * kLanes, F(row ? 0.0f : 1.0f));
  uint64_t live = tile.blocks;
  for (int e = 0; e < tile.count && live; ++e) {
    const BmpPrimitive& p = tile.primitives[tile.ids[e]];
    const float dx = tile.x0 - p.x, dy = tile.y0 - p.y;
    const BitmapWalk walk = BitmapWalk::at(p, dx, dy);
    for (uint64_t left = bitmap_blocks(p, dx, dy) & live; left; left &= left - 1) {
      const int b = __builtin_ctzll(left);
      const float x = static_cast<float>(4 * (b & 7)), y = static_cast<float>(4 * (b >> 3));
      BmpSample<F> samples[Blended ? 4 : 1];
      bitmap_lookup<Blended>(p, tile.quads, block_u(walk, x, y), block_v(walk, x, y), samples);
      float* at = state + b * kState;
      F light = load(at), color[3];
      for (int c = 0; c < 3; ++c) color[c] = load(at + (1 + c) * kLanes);
      bmp_paint<Blended>(p, tile.blend, samples, &light, color);
      store(at, light);
      for (int c = 0; c < 3; ++c) store(at + (1 + c) * kLanes, color[c]);
      if (!any(light > F(kBmpDark))) live &= ~(uint64_t{1} << b);
    }
  }
}

template <bool Blended>
static void bitmap_gather_of(const BitmapTile& tile, float* state, float* out) {
  constexpr int kState = 5 * kLanes;
  uint64_t live = tile.blocks;
  for (int e = 0; e < tile.count; ++e) {
    const int id = tile.ids[e];
    const BmpPrimitive& p = tile.primitives[id];
    const float dx = tile.x0 - p.x, dy = tile.y0 - p.y;
    const BitmapWalk walk = BitmapWalk::at(p, dx, dy);
    const bool wanted = !tile.active || tile.active[id];
    F sums[kBmpSums];
    for (int j = 0; j < kBmpSums; ++j) sums[j] = F(0.0f);
    uint64_t left = live ? bitmap_blocks(p, dx, dy) & live : 0;
    for (; left; left &= left - 1) {
      const int b = __builtin_ctzll(left);
      const float x = static_cast<float>(4 * (b & 7)), y = static_cast<float>(4 * (b >> 3));
      const F u = block_u(walk, x, y), v = block_v(walk, x, y);
      BmpSample<F> samples[Blended ? 4 : 1];
      bitmap_lookup<Blended>(p, tile.quads, u, v, samples);
      float* at = state + b * kState;
      F slope[3], light = load(at + 3 * kLanes), rest = load(at + 4 * kLanes);
      for (int c = 0; c < 3; ++c) slope[c] = load(at + c * kLanes);
      if (wanted)
        bmp_gather<Blended>(p, tile.blend, samples, u, v, slope, &light, &rest, sums);
      else
        bmp_gather<Blended, F>(p, tile.blend, samples, u, v, slope, &light, &rest, nullptr);
      store(at + 3 * kLanes, light);
      store(at + 4 * kLanes, rest);
      if (!any(light > F(kBmpDark))) live &= ~(uint64_t{1} << b);
    }
    reduce_rows(sums, kBmpSums, out + e * kBmpSums);
  }
}

static void bitmap_draw(const BitmapTile& tile, float* state) {
  (tile.blended ? bitmap_draw_of<true> : bitmap_draw_of<false>)(tile, state);
}

static void bitmap_gather(const BitmapTile& tile, float* state, float* sums) {
  (tile.blended ? bitmap_gather_of<true> : bitmap_gather_of<false>)(tile, state, sums);
}

}  // namespace SAD_ISA
}  // namespace sad
#endif  // SAD_CPU_BITMAP_PASSES_H_
