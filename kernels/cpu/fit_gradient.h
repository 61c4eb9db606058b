// Gradient of one square of 4 x 4 tiles, of its own error or of another loss, and its picture.
#ifndef SAD_CPU_FIT_GRADIENT_H_
#define SAD_CPU_FIT_GRADIENT_H_

#include "fit_square.h"

namespace sad {
namespace SAD_ISA {

// How far under the threshold a site may be and still be looked at until the lists are renewed.
constexpr float kMaskMargin = 4.0f;  // logits

// What a pass is for, see GradientTask.
enum class Pass { kError, kCotangent, kPicture };

// The pixels of a block in a picture [height][width][C], and back; those outside are 0, or skipped.
template <int C>
SAD_INLINE void load_pixels(const float* picture, const SquareTask& t, int block, int x0, int y0,
                            F* out) {
  alignas(64) float lanes[C][kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    const int x = x0 + block_x(block, lane), y = y0 + block_y(block, lane);
    const bool inside = x < t.width && y < t.height;
    const float* at = picture + (inside ? (static_cast<size_t>(y) * t.width + x) * C : 0);
    for (int c = 0; c < C; ++c) lanes[c][lane] = inside ? at[c] : 0.0f;
  }
  for (int c = 0; c < C; ++c) out[c] = load(lanes[c]);
}

template <int C>
SAD_INLINE void store_pixels(const F* pixels, const SquareTask& t, int block, int x0, int y0,
                             float* picture) {
  alignas(64) float lanes[C][kLanes];
  for (int c = 0; c < C; ++c) store(lanes[c], pixels[c]);
  for (int lane = 0; lane < kLanes; ++lane) {
    const int x = x0 + block_x(block, lane), y = y0 + block_y(block, lane);
    if (x >= t.width || y >= t.height) continue;
    float* at = picture + (static_cast<size_t>(y) * t.width + x) * C;
    for (int c = 0; c < C; ++c) at[c] = lanes[c][lane];
  }
}

template <int C, bool OWN, Pass PASS>
SAD_INLINE float gradient_block(const GradientTask& t, const SquareMemory& m, int tile, int block,
                                int x0, int y0, int* slots) {
  constexpr int kSums = 6 + C;
  const SquareTask& square = t.square;
  const LanePixels px = lane_pixels(block, x0, y0, square.width, square.height);
  if (!any(px.inside)) return 0.0f;
  const float* target = nullptr;
  if (PASS == Pass::kError) {
    target = square.target + (tile * kBlocks + block) * C * kLanes;
    for (int c = 0; c < C; ++c) __builtin_prefetch(target + c * kLanes);  // wanted much later
  }
  const int begin = square.lists.offsets[tile];
  int count = square.lists.offsets[tile + 1] - begin;
  const int32_t* list = square.lists.entries + begin;
  uint8_t* masks = t.masks ? t.masks + begin : nullptr;
  if (OWN) {
    const uint16_t* lanes = t.lanes + static_cast<size_t>(begin) * kBlocks + block;
    int n = 0;
    for (int i = 0; i < count; ++i) {
      m.list[n] = list[i];
      m.lanes[n] = lanes[i * kBlocks];
      n += m.lanes[n] != 0;
    }
    if (n == 0) return 0.0f;  // no pixel of the tile knows any site
    list = m.list;
    count = n;
  } else if (masks && !t.fresh) {
    count = append_marked(m.list, list, masks, static_cast<uint8_t>(1u << block), count);
    list = m.list;
  }
  const Selection top = select_sites<OWN>(m, list, count, px, square.k, kLog2E * t.cut);
  if (masks && t.fresh) {
    const F near = top.threshold - F(kLog2E * kMaskMargin);
    for (int i = 0; i < count; ++i)
      masks[i] = static_cast<uint8_t>(masks[i] | any(m.logit[i] >= near) << block);
  }
  F blend[C];
  const F total = weigh_sites<C>(m, list, top, blend);
  const F inverse = F(1.0f) / total;
  if (PASS == Pass::kPicture) {
    for (int c = 0; c < C; ++c) blend[c] = blend[c] * inverse;
    store_pixels<C>(blend, square, block, x0, y0, t.picture);
    return 0.0f;
  }
  F weight(1.0f), g[C], gy(0.0f), loss(0.0f);
  if (PASS == Pass::kCotangent) {
    load_pixels<C>(t.cotangent, square, block, x0, y0, g);
    for (int c = 0; c < C; ++c) gy = gy + g[c] * (blend[c] * inverse);
  } else {
    weight = pixel_weights(square, tile, block);
    const F scale = weight * F(t.scale);
    for (int c = 0; c < C; ++c) {
      const F y = blend[c] * inverse;
      const F error = select(px.inside, y - load(target + c * kLanes), F(0.0f));
      loss = loss + error * error;
      g[c] = error * scale;
      gy = gy + g[c] * y;
    }
  }
  for (int a = 0; a < top.count; ++a) {
    const int i = m.top[a], position = list[i];
    const PreparedSite& s = m.sites[position];
    const F w = m.logit[i] * inverse;
    int slot = m.slot[position];
    F sum[kSums];
    if (slot < 0) {
      slot = new_slot(m, position, slots);
      for (int j = 0; j < kSums; ++j) sum[j] = F(0.0f);
    } else {
      for (int j = 0; j < kSums; ++j) sum[j] = m.sums[slot * kSums + j];
    }
    F gc = F(0.0f) - gy;
    for (int c = 0; c < C; ++c) {
      gc = gc + g[c] * F(s.color[c]);
      sum[kSColor + c] = sum[kSColor + c] + w * g[c];
    }
    sad_accumulate(sum, w * gc, m.distance[i], px.x - F(s.x), px.y - F(s.y));
    for (int j = 0; j < kSums; ++j) m.sums[slot * kSums + j] = sum[j];
  }
  return reduce(loss * weight);
}

template <int C, bool OWN, Pass PASS>
static double gradient_square_c(const GradientTask& t, Scratch* scratch) {
  constexpr int kSums = 6 + C;
  const SquareTask& square = t.square;
  const SquareMemory m = lay_out(square, kSums, 0, scratch);
  if (PASS != Pass::kPicture) memset(square.sums, 0, sizeof(float) * kSums * square.lists.count);
  const int first = t.phase < 0 ? 0 : 4 + t.phase, last = t.phase < 0 ? 4 : first + 1;
  double loss = 0.0;
  for_tiles(square, [&](int tile, int x0, int y0) {
    int slots = 0;
    for (int block = first; block < last; ++block)
      loss += gradient_block<C, OWN, PASS>(t, m, tile, block, x0, y0, &slots);
    finish_tile<kSums>(m, slots, square.sums);
  });
  return loss;
}

template <int C, bool OWN>
static double gradient_square_for(const GradientTask& t, Scratch* scratch) {
  if (t.picture) return gradient_square_c<C, OWN, Pass::kPicture>(t, scratch);
  if (t.cotangent) return gradient_square_c<C, OWN, Pass::kCotangent>(t, scratch);
  return gradient_square_c<C, OWN, Pass::kError>(t, scratch);
}

static double gradient_square(const GradientTask& t, Scratch* scratch) {
  return with_channels(t.square.channels, [&](auto channels) {
    constexpr int C = channels.value;
    return t.lanes ? gradient_square_for<C, true>(t, scratch)
                   : gradient_square_for<C, false>(t, scratch);
  });
}

}  // namespace SAD_ISA
}  // namespace sad
#endif  // SAD_CPU_FIT_GRADIENT_H_
