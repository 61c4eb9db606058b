// Rendering of one tile: 16 pixels a vector, one pass over the tile's list.
#ifndef SAD_CPU_PASSES_H_
#define SAD_CPU_PASSES_H_

#include "blocks.h"
#include "simd.h"
#include "types.h"

namespace sad {
namespace SAD_ISA {

struct LanePixels {
  F x, y;
  M inside;
};

// Pixel centres within a tile, by block (see blocks.h).
struct LaneOffsets {
  alignas(64) float x[kBlocks][kLanes], y[kBlocks][kLanes];
  constexpr LaneOffsets() : x(), y() {
    for (int block = 0; block < kBlocks; ++block) {
      for (int lane = 0; lane < kLanes; ++lane) {
        x[block][lane] = block_x(block, lane) + 0.5f;
        y[block][lane] = block_y(block, lane) + 0.5f;
      }
    }
  }
};
constexpr LaneOffsets kLaneOffsets;

SAD_INLINE LanePixels lane_pixels(int block, int x0, int y0, int width, int height) {
  LanePixels p;
  p.x = F(static_cast<float>(x0)) + load(kLaneOffsets.x[block]);
  p.y = F(static_cast<float>(y0)) + load(kLaneOffsets.y[block]);
  p.inside = (F(static_cast<float>(width)) > p.x) & (F(static_cast<float>(height)) > p.y);
  return p;
}

// Insert into a descending list of k vectors; k = 8, the default, unrolled.
SAD_INLINE F insert_k(F* sorted, F x, int k) {
  if (k == 8) return sad_insert<8>(sorted, x);
  for (int j = 0; j < k; ++j) {
    const F high = sad_max(sorted[j], x);
    x = sad_min(sorted[j], x);
    sorted[j] = high;
  }
  return x;
}

SAD_INLINE float* pixel_of(const RenderTarget& t, int x, int y) {
  const size_t columns = static_cast<size_t>(t.window.x1 - t.window.x0);
  return t.out + ((y - t.window.y0) * columns + (x - t.window.x0)) * t.channels;
}

// One pixel in double, exactly as the reference does it. `exact` are the sites of `ids`.
static void render_pixel_exact(const RenderTarget& t, int x, int y, const int32_t* ids,
                               const ExactSite* exact, int count) {
  double logits[kMaxK];
  int top[kMaxK];
  int n = 0;
  const int stride = kColor + t.channels;
  const double px = t.raster.x0 + (x + 0.5) * t.raster.step_x;
  const double py = t.raster.y0 + (y + 0.5) * t.raster.step_y;
  for (int e = 0; e < count; ++e) {
    const float* row = t.params + static_cast<size_t>(ids[e]) * stride;
    const double logit = sad_logit_exact(px, py, row, exact[e]);
    n = sad_insert_pair(logits, top, n, t.k, logit, ids[e]);
  }
  double total = 0.0, blend[kMaxChannels] = {0.0, 0.0, 0.0, 0.0};
  for (int j = 0; j < n; ++j) {
    const double w = sad_exp(logits[j] - logits[0]);
    total += w;
    for (int c = 0; c < t.channels; ++c)
      blend[c] += w * t.params[static_cast<size_t>(top[j]) * stride + kColor + c];
  }
  float* out = pixel_of(t, x, y);
  for (int c = 0; c < t.channels; ++c) out[c] = static_cast<float>(blend[c] / total);
}

// Float first; a bound on the float error says which pixels need the exact path: where it cannot
// tell the K-th logit from the next, or where it would move a weight by more than a fraction of a
// code value. Plain: the picture's own pixels, whose centres are exact in float; centres of another
// raster are not, so the offset of its tile from a site is rounded once from double.
template <bool Plain>
static void render_tile_of(const RenderTarget& t, int x0, int y0, const int32_t* ids, int count,
                           UnitScratch* scratch) {
  constexpr float kLogitTolerance = 1e-3f;
  constexpr int kFewTies = 16;  // so many weights of exp(-12) may be too many
  // A few units in the last place of every term that enters the logit, and of the tile's width.
  constexpr float kRelative = Plain ? 4e-7f : 6e-7f;
  const float step_x = static_cast<float>(t.raster.step_x);
  const float step_y = static_cast<float>(t.raster.step_y);
  const float blur = 1.5e-6f * sad_max(step_x, step_y);
  const double tile_x = t.raster.x0 + x0 * t.raster.step_x;
  const double tile_y = t.raster.y0 + y0 * t.raster.step_y;
  const size_t n = static_cast<size_t>(count);
  constexpr size_t kExactFloats = sizeof(ExactSite) / sizeof(float);
  float* memory = scratch->work->need(n * (2 * kLanes + kExactFloats + 1) + 4 * kLanes);
  F* logit = reinterpret_cast<F*>(memory);
  F* bound = logit + n;
  ExactSite* exact = reinterpret_cast<ExactSite*>(bound + n);
  int32_t* active = reinterpret_cast<int32_t*>(exact + n);
  bool prepared = false;  // `exact`: once a pixel needs it
  for (int block = 0; block < 4; ++block) {
    const int bx = x0 + (block & 1) * 4, by = y0 + (block >> 1) * 4;
    if (bx >= t.window.x1 || by >= t.window.y1 || bx + 4 <= t.window.x0 || by + 4 <= t.window.y0)
      continue;
    unsigned doubtful = 0xffffu;
    float result[kMaxChannels][kLanes];
    if (!t.exact) {
      F px = load(kLaneOffsets.x[block]), py = load(kLaneOffsets.y[block]);
      if (Plain) {
        px = F(static_cast<float>(x0)) + px;
        py = F(static_cast<float>(y0)) + py;
      } else {
        px = F(step_x) * px;
        py = F(step_y) * py;
      }
      F maximum(-3e38f);
      for (int e = 0; e < count; ++e) {
        const PreparedSite& s = t.sites[ids[e]];
        F dx, dy;
        if (Plain) {
          dx = px - F(s.x);
          dy = py - F(s.y);
        } else {
          dx = px + F(static_cast<float>(tile_x - s.x));
          dy = py + F(static_cast<float>(tile_y - s.y));
        }
        const F d = sad_distance(dx, dy, F(s.m0), F(s.m1), F(s.m2));
        logit[e] = sad_logit(d, F(s.tau), F(s.radius));
        const F size = sad_abs(F(s.m0) * dx) + sad_abs(F(s.m1) * dy) + sad_abs(F(s.m2) * dy);
        bound[e] = F(s.tau * kRelative) * (size + F(sad_max(s.radius, -s.radius)));
        if (!Plain) bound[e] = bound[e] + F(s.tau * blur * (s.m0 + sad_max(s.m1, -s.m1) + s.m2));
        maximum = sad_max(maximum, logit[e]);
      }
      // 16 logit units are a weight of 1e-7; the bound is added so that no doubt is dropped.
      int m = 0;
      for (int e = 0; e < count; ++e) {
        active[m] = e;
        m += any(logit[e] + bound[e] > maximum - F(16.0f));
      }
      F threshold(-3e38f), next(-3e38f);
      if (m > t.k) {
        F sorted[kMaxK];
        for (int j = 0; j < t.k; ++j) sorted[j] = F(-3e38f);
        for (int a = 0; a < m; ++a) next = sad_max(next, insert_k(sorted, logit[active[a]], t.k));
        threshold = sorted[t.k - 1];
      }
      F total(0.0f), worst(0.0f), blend[kMaxChannels];
      for (int c = 0; c < t.channels; ++c) blend[c] = F(0.0f);
      M doubt = F(0.0f) > F(0.0f);
      for (int a = 0; a < m; ++a) {
        const int e = active[a];
        const PreparedSite& s = t.sites[ids[e]];
        const M top = logit[e] >= threshold;
        const F w = select(top, sad_exp(logit[e] - maximum), F(0.0f));
        total = total + w;
        for (int c = 0; c < t.channels; ++c) blend[c] = blend[c] + w * F(s.color[c]);
        const M matters = logit[e] + bound[e] > maximum - F(12.0f);
        worst = sad_max(worst, select(matters, bound[e], F(0.0f)));
      }
      if (m > t.k) {
        const M relevant = threshold > maximum - F(12.0f);
        const M close = next + worst + worst >= threshold;
        doubt = relevant & close;
        // Under 12 units nobody decides between equal logits: all of them are in the blend, which
        // matters where there are many, as of sites that coincide.
        if (m > t.k + kFewTies && any(maximum - F(12.0f) >= threshold)) {
          F taken(0.0f);
          for (int a = 0; a < m; ++a)
            taken = taken + select(logit[active[a]] >= threshold, F(1.0f), F(0.0f));
          doubt = doubt | (taken > F(static_cast<float>(t.k + kFewTies)));
        }
      }
      doubt = doubt | (worst > F(kLogitTolerance));
      doubtful = bits(doubt);
      const F inverse = F(1.0f) / total;
      for (int c = 0; c < t.channels; ++c) store(result[c], blend[c] * inverse);
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      const int x = bx + (lane & 3), y = by + (lane >> 2);
      if (x < t.window.x0 || x >= t.window.x1 || y < t.window.y0 || y >= t.window.y1) continue;
      if (doubtful >> lane & 1u) {
        if (!prepared) {
          const size_t stride = static_cast<size_t>(kColor + t.channels);
          for (int e = 0; e < count; ++e) exact[e] = sad_prepare_exact(t.params + ids[e] * stride);
          prepared = true;
        }
        render_pixel_exact(t, x, y, ids, exact, count);
      } else {
        float* out = pixel_of(t, x, y);
        for (int c = 0; c < t.channels; ++c) out[c] = result[c][lane];
      }
    }
  }
}

static void render_tile(const RenderTarget& t, int x0, int y0, const int32_t* ids, int count,
                        UnitScratch* scratch) {
  (t.plain ? render_tile_of<true> : render_tile_of<false>)(t, x0, y0, ids, count, scratch);
}

}  // namespace SAD_ISA
}  // namespace sad
#endif  // SAD_CPU_PASSES_H_
