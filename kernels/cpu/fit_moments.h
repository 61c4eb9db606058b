// Moments of each site's error over a square of 4 x 4 tiles, for splitting along its principal
// axis.
#ifndef SAD_CPU_FIT_MOMENTS_H_
#define SAD_CPU_FIT_MOMENTS_H_

#include "fit_square.h"

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
  F blend[C];
  const F total = weigh_sites<C>(m, list, top, blend);
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
    F* sum = sums_of<kMoments>(m, position, slots);
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
  for_tiles(t, [&](int tile, int x0, int y0) {
    int slots = 0;
    for (int block = 0; block < 4; ++block)
      moments_block<C>(t, m, cut, tile, block, x0, y0, &slots);
    finish_tile<kMoments>(m, slots, t.sums);
  });
}

static void moments_square(const SquareTask& t, float cut, Scratch* scratch) {
  with_channels(t.channels,
                [&](auto channels) { moments_square_c<channels.value>(t, cut, scratch); });
}

}  // namespace SAD_ISA
}  // namespace sad
#endif  // SAD_CPU_FIT_MOMENTS_H_
