// Gradient and statistics of one square of 4 x 4 tiles: 16 pixels a vector.
//
// A block first takes the logits of its list and the K-th largest at each pixel; only the sites
// that reach that threshold at some pixel are weighed and differentiated. Sums over a tile's pixels
// stay in vectors until the tile is done, and sums over tiles stay in the square: what is left to
// add up per site is a row for each of the few squares that know it.
#ifndef SAD_CPU_FIT_PASSES_H_
#define SAD_CPU_FIT_PASSES_H_

#include "passes.h"
#include "top_k.h"

namespace sad {
namespace SAD_ISA {

// How far under the threshold a site may be and still be looked at until the lists are renewed.
constexpr float kMaskMargin = 4.0f;  // logits

constexpr float kLog2E = 1.44269504f;  // logits are in units of ln 2 here, for sad_exp2

// Memory of a square's pass, in one piece.
struct SquareMemory {
  PreparedSite* sites;  // [sites of the square], copied so that they lie side by side
  F *logit, *distance;  // [longest tile list]
  F* sums;              // [longest tile list][columns], by slot
  F* prefix;            // [longest tile list][1 + C], for the statistics
  float* reduced;       // as sums, without lanes
  int32_t* list;        // positions of a block's sites in the square's list
  int32_t* top;         // indices into logit of the sites in some pixel's top K
  int32_t* slot;        // [sites of the square], the place in sums or -1
  int32_t* owner;       // position of each slot
  int32_t* lanes;       // of a block's sites: the pixels that may take them
};

SAD_INLINE SquareMemory lay_out(const SquareTask& t, int columns, int prefix, Scratch* scratch) {
  int longest = 0;
  for (int i = 0; i < kSquareTiles; ++i) {
    const int n = t.lists.offsets[i + 1] - t.lists.offsets[i];
    longest = n > longest ? n : longest;
  }
  const size_t n = static_cast<size_t>(longest) + kLanes, all = static_cast<size_t>(t.lists.count);
  constexpr size_t kSite = sizeof(PreparedSite) / sizeof(float);
  SquareMemory m;
  float* at =
      scratch->need(all * (kSite + 1) + n * kLanes * (2 + columns + prefix) + n * (columns + 4));
  m.sites = reinterpret_cast<PreparedSite*>(at);
  m.logit = reinterpret_cast<F*>(at + all * kSite);
  m.distance = m.logit + n;
  m.sums = m.distance + n;
  m.prefix = m.sums + n * columns;
  m.reduced = reinterpret_cast<float*>(m.prefix + n * prefix);
  m.list = reinterpret_cast<int32_t*>(m.reduced + n * columns);
  m.top = m.list + n;
  m.owner = m.top + n;
  m.lanes = m.owner + n;
  m.slot = m.lanes + n;
  for (size_t i = 0; i < all; ++i) {
    m.sites[i] = t.sites[t.lists.ids[i]];
    m.sites[i].tau *= kLog2E;
    m.slot[i] = -1;
  }
  return m;
}

struct Selection {
  F maximum, threshold;  // sites at or over the threshold are a pixel's top K
  int count;             // of m.top
};

// Logits and distances of `count` sites at 16 pixels, and those that matter there. OWN: of m.lanes
// alone, which are at most k of a pixel.
template <bool OWN>
SAD_INLINE Selection select_sites(const SquareMemory& m, const int32_t* list, int count,
                                  const LanePixels& px, int k, float cut) {
  const auto evaluate = [&](int i) __attribute__((always_inline)) {
    const PreparedSite& s = m.sites[list[i]];
    const F d = sad_distance(px.x - F(s.x), px.y - F(s.y), F(s.m0), F(s.m1), F(s.m2));
    F l = sad_logit(d, F(s.tau), F(s.radius));
    if (OWN) l = select(lane_mask(static_cast<unsigned>(m.lanes[i])), l, F(-3e38f));
    m.distance[i] = d;
    m.logit[i] = l;
    return l;
  };
  Selection out;
  if (OWN || count <= k) {
    out.maximum = F(-3e38f);
    for (int i = 0; i < count; ++i) out.maximum = sad_max(out.maximum, evaluate(i));
    out.threshold = out.maximum - F(cut);
  } else if (k == 8) {
    F eighth;
    top_eight(count, evaluate, &out.maximum, &eighth);
    out.threshold = sad_max(out.maximum - F(cut), eighth);
  } else {
    F sorted[kMaxK];
    for (int j = 0; j < k; ++j) sorted[j] = F(-3e38f);
    for (int i = 0; i < count; ++i) insert_k(sorted, evaluate(i), k);
    out.maximum = sorted[0];
    out.threshold = sad_max(out.maximum - F(cut), sorted[k - 1]);
  }
  out.count = 0;
  for (int i = 0; i < count; ++i) {
    m.top[out.count] = i;
    out.count += any(m.logit[i] >= out.threshold);
  }
  return out;
}

// Adds a tile's sums to the square's and frees the slots.
template <int kColumns>
SAD_INLINE void finish_tile(const SquareMemory& m, int slots, float* sums) {
  reduce_rows(m.sums, slots * kColumns, m.reduced);
  for (int i = 0; i < slots; ++i) {
    float* out = sums + m.owner[i] * kColumns;
    float row[kColumns];  // of its own, so that the compiler takes several columns at a time
    memcpy(row, out, sizeof(row));
    for (int j = 0; j < kColumns; ++j) row[j] += m.reduced[i * kColumns + j];
    memcpy(out, row, sizeof(row));
    m.slot[m.owner[i]] = -1;
  }
}

// Weights of the squared error at 16 pixels.
SAD_INLINE F pixel_weights(const SquareTask& t, int tile, int block) {
  return t.weights ? load(t.weights + (tile * kBlocks + block) * kLanes) : F(1.0f);
}

// ---- Gradient -------------------------------------------------------------------------------

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
      slot = (*slots)++;
      m.slot[position] = slot;
      m.owner[slot] = position;
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
  for (int tile = 0; tile < kSquareTiles; ++tile) {
    constexpr int kSide = kSquare / kTile;
    const int x0 = square.x0 + tile % kSide * kTile, y0 = square.y0 + tile / kSide * kTile;
    if (x0 >= square.width || y0 >= square.height) continue;
    int slots = 0;
    for (int block = first; block < last; ++block)
      loss += gradient_block<C, OWN, PASS>(t, m, tile, block, x0, y0, &slots);
    finish_tile<kSums>(m, slots, square.sums);
  }
  return loss;
}

template <int C, bool OWN>
static double gradient_square_for(const GradientTask& t, Scratch* scratch) {
  if (t.picture) return gradient_square_c<C, OWN, Pass::kPicture>(t, scratch);
  if (t.cotangent) return gradient_square_c<C, OWN, Pass::kCotangent>(t, scratch);
  return gradient_square_c<C, OWN, Pass::kError>(t, scratch);
}

template <bool OWN>
static double gradient_square_of(const GradientTask& t, Scratch* scratch) {
  switch (t.square.channels) {
    case 1:
      return gradient_square_for<1, OWN>(t, scratch);
    case 2:
      return gradient_square_for<2, OWN>(t, scratch);
    case 3:
      return gradient_square_for<3, OWN>(t, scratch);
    default:
      return gradient_square_for<4, OWN>(t, scratch);
  }
}

static double gradient_square(const GradientTask& t, Scratch* scratch) {
  return t.lanes ? gradient_square_of<true>(t, scratch) : gradient_square_of<false>(t, scratch);
}

// ---- Statistics and removal deltas ----------------------------------------------------------

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
  F total(0.0f), blend[C];
  for (int c = 0; c < C; ++c) blend[c] = F(0.0f);
  for (int a = 0; a < top.count; ++a) {
    const int i = m.top[a];
    const PreparedSite& s = m.sites[list[i]];
    F* prefix = m.prefix + a * (1 + C);
    prefix[0] = total;
    for (int c = 0; c < C; ++c) prefix[1 + c] = blend[c];
    const F l = m.logit[i];
    const F w = select(l >= top.threshold, sad_exp2(l - top.maximum), F(0.0f));
    m.logit[i] = w;
    total = total + w;
    for (int c = 0; c < C; ++c) blend[c] = blend[c] + w * F(s.color[c]);
  }
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
    int slot = m.slot[position];
    if (slot < 0) {
      slot = (*slots)++;
      m.slot[position] = slot;
      m.owner[slot] = position;
      for (int j = 0; j < 3; ++j) m.sums[slot * 3 + j] = F(0.0f);
    }
    F* sum = m.sums + slot * 3;
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
  for (int tile = 0; tile < kSquareTiles; ++tile) {
    constexpr int kSide = kSquare / kTile;
    const int x0 = t.x0 + tile % kSide * kTile, y0 = t.y0 + tile / kSide * kTile;
    if (x0 >= t.width || y0 >= t.height) continue;
    int slots = 0;
    for (int block = 0; block < 4; ++block) statistics_block<C>(t, m, tile, block, x0, y0, &slots);
    finish_tile<3>(m, slots, t.sums);
  }
}

static void statistics_square(const SquareTask& t, Scratch* scratch) {
  switch (t.channels) {
    case 1:
      return statistics_square_c<1>(t, scratch);
    case 2:
      return statistics_square_c<2>(t, scratch);
    case 3:
      return statistics_square_c<3>(t, scratch);
    default:
      return statistics_square_c<4>(t, scratch);
  }
}

}  // namespace SAD_ISA
}  // namespace sad
#endif  // SAD_CPU_FIT_PASSES_H_
