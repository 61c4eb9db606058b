// Moments of each site's error over a square of 4 x 4 tiles, for splitting along its principal
// axis.
#ifndef SAD_CPU_FIT_MOMENTS_H_
#define SAD_CPU_FIT_MOMENTS_H_

#include "fit_passes.h"

namespace sad {
namespace SAD_ISA {

template <int C>
SAD_INLINE void moments_block(const SquareTask& t, const SquareMemory& m, float cut, int tile,
                              int block, int x0, int y0, int* slots) {
  const LanePixels px = lane_pixels(block, x0, y0, t.width, t.height);
  if (!any(px.inside)) return;
  const int32_t* list = t.lists.entries + t.lists.offsets[tile];
  const int count = t.lists.offsets[tile + 1] - t.lists.offsets[tile];
  const Selection top = select_sites<false>(m, list, count, px, t.k, kLog2E * cut);
  F total(0.0f), blend[C];
  for (int c = 0; c < C; ++c) blend[c] = F(0.0f);
  for (int a = 0; a < top.count; ++a) {
    const int i = m.top[a];
    const PreparedSite& s = m.sites[list[i]];
    const F l = m.logit[i];
    const F w = select(l >= top.threshold, sad_exp2(l - top.maximum), F(0.0f));
    m.logit[i] = w;
    total = total + w;
    for (int c = 0; c < C; ++c) blend[c] = blend[c] + w * F(s.color[c]);
  }
  const F inverse = select(px.inside, F(1.0f) / total, F(0.0f));
  const float* target = t.target + (tile * kBlocks + block) * C * kLanes;
  F squared(0.0f);
  for (int c = 0; c < C; ++c) {
    const F error = blend[c] * inverse - load(target + c * kLanes);
    squared = squared + error * error;
  }
  squared = squared * pixel_weights(t, tile, block);
  for (int a = 0; a < top.count; ++a) {
    const int i = m.top[a], position = list[i];
    const PreparedSite& s = m.sites[position];
    int slot = m.slot[position];
    if (slot < 0) {
      slot = (*slots)++;
      m.slot[position] = slot;
      m.owner[slot] = position;
      for (int j = 0; j < kMoments; ++j) m.sums[slot * kMoments + j] = F(0.0f);
    }
    F* sum = m.sums + slot * kMoments;
    const F dx = px.x - F(s.x), dy = px.y - F(s.y);
    const F share = m.logit[i] * inverse;
    const F error = share * squared, ex = error * dx, ey = error * dy;
    sum[0] = sum[0] + share;
    sum[1] = sum[1] + error;
    sum[2] = sum[2] + ex;
    sum[3] = sum[3] + ey;
    sum[4] = sum[4] + ex * dx;
    sum[5] = sum[5] + ex * dy;
    sum[6] = sum[6] + ey * dy;
  }
}

template <int C>
static void moments_square_c(const SquareTask& t, float cut, Scratch* scratch) {
  const SquareMemory m = lay_out(t, kMoments, 0, scratch);
  memset(t.sums, 0, sizeof(float) * kMoments * t.lists.count);
  for (int tile = 0; tile < kSquareTiles; ++tile) {
    constexpr int kSide = kSquare / kTile;
    const int x0 = t.x0 + tile % kSide * kTile, y0 = t.y0 + tile / kSide * kTile;
    if (x0 >= t.width || y0 >= t.height) continue;
    int slots = 0;
    for (int block = 0; block < 4; ++block)
      moments_block<C>(t, m, cut, tile, block, x0, y0, &slots);
    finish_tile<kMoments>(m, slots, t.sums);
  }
}

static void moments_square(const SquareTask& t, float cut, Scratch* scratch) {
  switch (t.channels) {
    case 1:
      return moments_square_c<1>(t, cut, scratch);
    case 2:
      return moments_square_c<2>(t, cut, scratch);
    case 3:
      return moments_square_c<3>(t, cut, scratch);
    default:
      return moments_square_c<4>(t, cut, scratch);
  }
}

}  // namespace SAD_ISA
}  // namespace sad
#endif  // SAD_CPU_FIT_MOMENTS_H_
