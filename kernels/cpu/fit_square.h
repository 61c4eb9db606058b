// What the passes of a fit share over one square of 4 x 4 tiles: 16 pixels a vector.
//
// A block first takes the logits of its list and the K-th largest at each pixel; only the sites
// that reach that threshold at some pixel are weighed and differentiated. Sums over a tile's pixels
// stay in vectors until the tile is done, and sums over tiles stay in the square: what is left to
// add up per site is a row for each of the few squares that know it.
#ifndef SAD_CPU_FIT_SQUARE_H_
#define SAD_CPU_FIT_SQUARE_H_

#include <type_traits>

#include "passes.h"
#include "top_k.h"

namespace sad {
namespace SAD_ISA {

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

// Weights of the selected sites, not yet normalized, in the place of their logits. Returns their
// sum; `blend` becomes the sum of the weighted colours. Ahead of each site: before(its number,
// sums).
template <int C, class Before>
SAD_INLINE F weigh_sites(const SquareMemory& m, const int32_t* list, const Selection& top, F* blend,
                         Before&& before) {
  F total(0.0f);
  for (int c = 0; c < C; ++c) blend[c] = F(0.0f);
  for (int a = 0; a < top.count; ++a) {
    before(a, total, blend);
    const int i = m.top[a];
    const PreparedSite& s = m.sites[list[i]];
    const F l = m.logit[i];
    const F w = select(l >= top.threshold, sad_exp2(l - top.maximum), F(0.0f));
    m.logit[i] = w;
    total = total + w;
    for (int c = 0; c < C; ++c) blend[c] = blend[c] + w * F(s.color[c]);
  }
  return total;
}

template <int C>
SAD_INLINE F weigh_sites(const SquareMemory& m, const int32_t* list, const Selection& top,
                         F* blend) {
  return weigh_sites<C>(m, list, top, blend,
                        [](int, F, const F*) __attribute__((always_inline)) {});
}

// A slot for the sums of a site that is new to the tile.
SAD_INLINE int new_slot(const SquareMemory& m, int position, int* slots) {
  const int slot = (*slots)++;
  m.slot[position] = slot;
  m.owner[slot] = position;
  return slot;
}

// The sums of a site; 0 where it is new to the tile.
template <int COLUMNS>
SAD_INLINE F* sums_of(const SquareMemory& m, int position, int* slots) {
  if (m.slot[position] >= 0) return m.sums + m.slot[position] * COLUMNS;
  F* sums = m.sums + new_slot(m, position, slots) * COLUMNS;
  for (int j = 0; j < COLUMNS; ++j) sums[j] = F(0.0f);
  return sums;
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

// body(tile, x0, y0) for the tiles of a square that lie in the picture.
template <class Body>
SAD_INLINE void for_tiles(const SquareTask& t, Body&& body) {
  constexpr int kSide = kSquare / kTile;
  for (int tile = 0; tile < kSquareTiles; ++tile) {
    const int x0 = t.x0 + tile % kSide * kTile, y0 = t.y0 + tile / kSide * kTile;
    if (x0 < t.width && y0 < t.height) body(tile, x0, y0);
  }
}

// body(channels), their number known when it is compiled.
template <class Body>
SAD_INLINE auto with_channels(int channels, Body&& body) {
  switch (channels) {
    case 1:
      return body(std::integral_constant<int, 1>());
    case 2:
      return body(std::integral_constant<int, 2>());
    case 3:
      return body(std::integral_constant<int, 3>());
    default:
      return body(std::integral_constant<int, 4>());
  }
}

}  // namespace SAD_ISA
}  // namespace sad
#endif  // SAD_CPU_FIT_SQUARE_H_
