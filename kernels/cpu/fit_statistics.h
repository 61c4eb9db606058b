// Mass, error and removal delta of each site over one square of 4 x 4 tiles, for density control.
#ifndef SAD_CPU_FIT_STATISTICS_H_
#define SAD_CPU_FIT_STATISTICS_H_

#include "fit_square.h"

namespace sad {
namespace SAD_ISA {

// Sums of a pixel without one of its sites come from prefix and suffix sums: subtracting the site
// from the total would cancel where it has nearly all the weight.
template <int C>
SAD_INLINE void statistics_block(const SquareTask& t, const SquareMemory& m, int tile, int block,
                                 int x0, int y0, int* slots) {
  constexpr float kCut = 40.0f;  // logits; a removed site's neighbours may be far under it
  const LanePixels px = lane_pixels(block, x0, y0, t.width, t.height);
  if (!any(px.inside)) return;
  const int32_t* list = t.lists.entries + t.lists.offsets[tile];
  const int count = t.lists.offsets[tile + 1] - t.lists.offsets[tile];
  const Selection top = select_sites<false>(m, list, count, px, t.k, kLog2E * kCut);
  F blend[C];
  const F total = weigh_sites<C>(
      m, list, top, blend, [&](int a, F before, const F* colors) __attribute__((always_inline)) {
        F* prefix = m.prefix + a * (1 + C);
        prefix[0] = before;
        for (int c = 0; c < C; ++c) prefix[1 + c] = colors[c];
      });
  const F inverse = F(1.0f) / total;
  const float* at = t.target + (tile * kBlocks + block) * C * kLanes;
  F target[C], squared(0.0f);
  for (int c = 0; c < C; ++c) {
    target[c] = load(at + c * kLanes);
    const F error = blend[c] * inverse - target[c];
    squared = squared + error * error;
  }
  const F weight = pixel_weights(t, tile, block);
  squared = squared * weight;
  F rest(0.0f), rest_blend[C];
  for (int c = 0; c < C; ++c) rest_blend[c] = F(0.0f);
  for (int a = top.count - 1; a >= 0; --a) {
    const int i = m.top[a], position = list[i];
    const PreparedSite& s = m.sites[position];
    const F* prefix = m.prefix + a * (1 + C);
    const F w = m.logit[i];
    const F others = prefix[0] + rest;
    const M has_others = others > F(1e-30f);
    const F scale = F(1.0f) / select(has_others, others, F(1.0f));
    F removed(0.0f);
    for (int c = 0; c < C; ++c) {
      const F y = (prefix[1 + c] + rest_blend[c]) * scale;
      const F error = select(has_others, y - target[c], F(1.0f));
      removed = removed + error * error;
      rest_blend[c] = rest_blend[c] + w * F(s.color[c]);
    }
    rest = rest + w;
    F* sum = sums_of<3>(m, position, slots);
    const F share = select(px.inside, w * inverse, F(0.0f));
    const F delta = select(w > F(0.0f), removed * weight - squared, F(0.0f));
    sum[0] = sum[0] + share;
    sum[1] = sum[1] + share * squared;
    sum[2] = sum[2] + select(px.inside, delta, F(0.0f));
  }
}

template <int C>
static void statistics_square_c(const SquareTask& t, Scratch* scratch) {
  const SquareMemory m = lay_out(t, 3, 1 + C, scratch);
  memset(t.sums, 0, sizeof(float) * 3 * t.lists.count);
  for_tiles(t, [&](int tile, int x0, int y0) {
    int slots = 0;
    for (int block = 0; block < 4; ++block) statistics_block<C>(t, m, tile, block, x0, y0, &slots);
    finish_tile<3>(m, slots, t.sums);
  });
}

static void statistics_square(const SquareTask& t, Scratch* scratch) {
  with_channels(t.channels,
                [&](auto channels) { statistics_square_c<channels.value>(t, scratch); });
}

}  // namespace SAD_ISA
}  // namespace sad
#endif  // SAD_CPU_FIT_STATISTICS_H_
