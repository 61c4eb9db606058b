// Render, gradient and statistics of one tile: 16 pixels a vector, one pass over the tile's list.
#include "simd.h"
#include "types.h"

namespace sad {
namespace SAD_ISA {

struct LanePixels {
  F x, y;
  M inside;
};

SAD_INLINE LanePixels lane_pixels(int block, int x0, int y0, int width, int height) {
  float x[kLanes], y[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    const int bx = block < 4 ? (block & 1) * 4 + (i & 3) : (i & 3) * 2 + (block & 1);
    const int by = block < 4 ? (block >> 1) * 4 + (i >> 2) : (i >> 2) * 2 + ((block >> 1) & 1);
    x[i] = x0 + bx + 0.5f;
    y[i] = y0 + by + 0.5f;
  }
  LanePixels p;
  p.x = load(x);
  p.y = load(y);
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

// Logits and distances of a list at 16 pixels; which sites are active; the top-K threshold.
struct Selection {
  F maximum, threshold;
  int active;
};

SAD_INLINE Selection select_sites(const PreparedSite* sites, const int32_t* ids, int count,
                                  const LanePixels& px, int k, float cut, F* logit, F* distance,
                                  int32_t* active) {
  F maximum(-3e38f);
  for (int e = 0; e < count; ++e) {
    const PreparedSite& s = sites[ids[e]];
    const F d = sad_distance(px.x - F(s.x), px.y - F(s.y), F(s.m0), F(s.m1), F(s.m2));
    const F l = sad_logit(d, F(s.tau), F(s.radius));
    distance[e] = d;
    logit[e] = l;
    maximum = sad_max(maximum, l);
  }
  const F floor = maximum - F(cut);
  int n = 0;
  for (int e = 0; e < count; ++e) {
    active[n] = e;
    n += any(logit[e] > floor);
  }
  F threshold = floor;
  if (n > k) {
    F sorted[kMaxK];
    for (int j = 0; j < k; ++j) sorted[j] = F(-3e38f);
    for (int a = 0; a < n; ++a) insert_k(sorted, logit[active[a]], k);
    threshold = sad_max(threshold, sorted[k - 1]);
  }
  return Selection{maximum, threshold, n};
}

// ---- Gradient -------------------------------------------------------------------------------

template <int C>
SAD_INLINE float gradient_block(const GradientTile& t, int block, F* logit, F* distance,
                                int32_t* active, F* sums, uint8_t* touched) {
  constexpr int kSums = 6 + C;
  const LanePixels px = lane_pixels(block, t.x0, t.y0, t.width, t.height);
  const Selection sel =
      select_sites(t.sites, t.ids, t.count, px, t.k, t.cut, logit, distance, active);
  F total(0.0f), blend[C];
  for (int c = 0; c < C; ++c) blend[c] = F(0.0f);
  for (int a = 0; a < sel.active; ++a) {
    const int e = active[a];
    const PreparedSite& s = t.sites[t.ids[e]];
    const F w = select(logit[e] >= sel.threshold, sad_exp(logit[e] - sel.maximum), F(0.0f));
    logit[e] = w;
    total = total + w;
    for (int c = 0; c < C; ++c) blend[c] = blend[c] + w * F(s.color[c]);
  }
  const F inverse = F(1.0f) / total;
  F g[C], gy(0.0f), loss(0.0f);
  for (int c = 0; c < C; ++c) {
    const F y = blend[c] * inverse;
    const F error =
        select(px.inside, y - load(t.target + (block * C + c) * kLanes), F(0.0f));
    loss = loss + error * error;
    g[c] = error * F(t.scale);
    gy = gy + g[c] * y;
  }
  for (int a = 0; a < sel.active; ++a) {
    const int e = active[a];
    const PreparedSite& s = t.sites[t.ids[e]];
    const F w = logit[e] * inverse;
    F* sum = sums + e * kSums;
    if (!touched[e]) {
      touched[e] = 1;
      for (int j = 0; j < kSums; ++j) sum[j] = F(0.0f);
    }
    F gc = F(0.0f) - gy;
    for (int c = 0; c < C; ++c) {
      gc = gc + g[c] * F(s.color[c]);
      sum[kSColor + c] = sum[kSColor + c] + w * g[c];
    }
    sad_accumulate(sum, w * gc, distance[e], px.x - F(s.x), px.y - F(s.y));
  }
  return reduce(loss);
}

template <int C>
static float gradient_tile_c(const GradientTile& t, Scratch* scratch) {
  constexpr int kSums = 6 + C;
  const size_t n = static_cast<size_t>(t.count);
  float* memory = scratch->need(n * kLanes * (2 + kSums) + 2 * n + 4 * kLanes);
  F* logit = reinterpret_cast<F*>(memory);
  F* distance = logit + n;
  F* sums = distance + n;
  int32_t* active = reinterpret_cast<int32_t*>(sums + n * kSums);
  uint8_t* touched = reinterpret_cast<uint8_t*>(active + n + 1);
  memset(touched, 0, n);
  float loss = 0.0f;
  const int first = t.phase < 0 ? 0 : 4 + t.phase, last = t.phase < 0 ? 4 : first + 1;
  for (int block = first; block < last; ++block)
    loss += gradient_block<C>(t, block, logit, distance, active, sums, touched);
  for (int e = 0; e < t.count; ++e) {
    float* out = t.sums + e * kSums;
    if (touched[e]) {
      for (int j = 0; j < kSums; ++j) out[j] = reduce(sums[e * kSums + j]);
    } else {
      for (int j = 0; j < kSums; ++j) out[j] = 0.0f;
    }
  }
  return loss;
}

static float gradient_tile(const GradientTile& t, Scratch* scratch) {
  switch (t.channels) {
    case 1: return gradient_tile_c<1>(t, scratch);
    case 2: return gradient_tile_c<2>(t, scratch);
    case 3: return gradient_tile_c<3>(t, scratch);
    default: return gradient_tile_c<4>(t, scratch);
  }
}

// ---- Statistics and removal deltas ----------------------------------------------------------

// Sums of a pixel without one of its sites come from prefix and suffix sums: subtracting the site
// from the total would cancel where it has nearly all the weight.
template <int C>
static void statistics_tile_c(const StatisticsTile& t, Scratch* scratch) {
  const size_t n = static_cast<size_t>(t.count);
  float* memory = scratch->need(n * kLanes * (2 + 1 + C + 3) + 2 * n + 4 * kLanes);
  F* logit = reinterpret_cast<F*>(memory);
  F* distance = logit + n;
  F* prefix = distance + n;  // [n][1 + C]
  F* sums = prefix + n * (1 + C);
  int32_t* active = reinterpret_cast<int32_t*>(sums + n * 3);
  for (size_t i = 0; i < 3 * n; ++i) sums[i] = F(0.0f);
  for (int block = 0; block < 4; ++block) {
    const LanePixels px = lane_pixels(block, t.x0, t.y0, t.width, t.height);
    const Selection sel =
        select_sites(t.sites, t.ids, t.count, px, t.k, 40.0f, logit, distance, active);
    F total(0.0f), blend[C];
    for (int c = 0; c < C; ++c) blend[c] = F(0.0f);
    for (int a = 0; a < sel.active; ++a) {
      const int e = active[a];
      const PreparedSite& s = t.sites[t.ids[e]];
      prefix[a * (1 + C)] = total;
      for (int c = 0; c < C; ++c) prefix[a * (1 + C) + 1 + c] = blend[c];
      const F w = select(logit[e] >= sel.threshold, sad_exp(logit[e] - sel.maximum), F(0.0f));
      logit[e] = w;
      total = total + w;
      for (int c = 0; c < C; ++c) blend[c] = blend[c] + w * F(s.color[c]);
    }
    const F inverse = F(1.0f) / total;
    F target[C], squared(0.0f);
    for (int c = 0; c < C; ++c) {
      target[c] = load(t.target + (block * C + c) * kLanes);
      const F error = blend[c] * inverse - target[c];
      squared = squared + error * error;
    }
    F rest(0.0f), rest_blend[C];
    for (int c = 0; c < C; ++c) rest_blend[c] = F(0.0f);
    for (int a = sel.active - 1; a >= 0; --a) {
      const int e = active[a];
      const PreparedSite& s = t.sites[t.ids[e]];
      const F w = logit[e];
      const F others = prefix[a * (1 + C)] + rest;
      const M has_others = others > F(1e-30f);
      const F scale = F(1.0f) / select(has_others, others, F(1.0f));
      F removed(0.0f);
      for (int c = 0; c < C; ++c) {
        const F y = (prefix[a * (1 + C) + 1 + c] + rest_blend[c]) * scale;
        const F error = select(has_others, y - target[c], F(1.0f));
        removed = removed + error * error;
        rest_blend[c] = rest_blend[c] + w * F(s.color[c]);
      }
      rest = rest + w;
      const F share = w * inverse;
      sums[3 * e] = sums[3 * e] + select(px.inside, share, F(0.0f));
      sums[3 * e + 1] = sums[3 * e + 1] + select(px.inside, share * squared, F(0.0f));
      const F delta = select(w > F(0.0f), removed - squared, F(0.0f));
      sums[3 * e + 2] = sums[3 * e + 2] + select(px.inside, delta, F(0.0f));
    }
  }
  for (size_t i = 0; i < 3 * n; ++i) t.out[i] = reduce(sums[i]);
}

static void statistics_tile(const StatisticsTile& t, Scratch* scratch) {
  switch (t.channels) {
    case 1: return statistics_tile_c<1>(t, scratch);
    case 2: return statistics_tile_c<2>(t, scratch);
    case 3: return statistics_tile_c<3>(t, scratch);
    default: return statistics_tile_c<4>(t, scratch);
  }
}

// ---- Render ---------------------------------------------------------------------------------

// One pixel in double, exactly as the reference does it.
static void render_pixel_exact(const RenderTarget& t, int x, int y, const int32_t* ids,
                               int count) {
  double logits[kMaxK];
  int top[kMaxK];
  int n = 0;
  const int stride = kColor + t.channels;
  for (int e = 0; e < count; ++e) {
    const float* row = t.params + static_cast<size_t>(ids[e]) * stride;
    n = sad_insert_pair(logits, top, n, t.k, sad_logit_exact(x + 0.5, y + 0.5, row), ids[e]);
  }
  double total = 0.0, blend[kMaxChannels] = {0.0, 0.0, 0.0, 0.0};
  for (int j = 0; j < n; ++j) {
    const double w = sad_exp(logits[j] - logits[0]);
    total += w;
    for (int c = 0; c < t.channels; ++c)
      blend[c] += w * t.params[static_cast<size_t>(top[j]) * stride + kColor + c];
  }
  float* out = t.out + (static_cast<size_t>(y) * t.width + x) * t.channels;
  for (int c = 0; c < t.channels; ++c) out[c] = static_cast<float>(blend[c] / total);
}

// Float first; a bound on the float error says which pixels need the exact path: where it cannot
// tell the K-th logit from the next, or where it would move a weight by more than a fraction of a
// code value.
static void render_tile(const RenderTarget& t, int x0, int y0, const int32_t* ids, int count,
                        UnitScratch* scratch) {
  constexpr float kLogitTolerance = 1e-3f;
  const size_t n = static_cast<size_t>(count);
  float* memory = scratch->work->need(n * kLanes * 2 + n + 4 * kLanes);
  F* logit = reinterpret_cast<F*>(memory);
  F* bound = logit + n;
  int32_t* active = reinterpret_cast<int32_t*>(bound + n);
  for (int block = 0; block < 4; ++block) {
    const int bx = x0 + (block & 1) * 4, by = y0 + (block >> 1) * 4;
    if (bx >= t.width || by >= t.height) continue;
    unsigned doubtful = 0xffffu;
    float result[kMaxChannels][kLanes];
    if (!t.exact) {
      const LanePixels px = lane_pixels(block, x0, y0, t.width, t.height);
      F maximum(-3e38f);
      for (int e = 0; e < count; ++e) {
        const PreparedSite& s = t.sites[ids[e]];
        const F dx = px.x - F(s.x), dy = px.y - F(s.y);
        const F d = sad_distance(dx, dy, F(s.m0), F(s.m1), F(s.m2));
        logit[e] = sad_logit(d, F(s.tau), F(s.radius));
        // A few units in the last place of every term that enters the logit.
        const F size = sad_abs(F(s.m0) * dx) + sad_abs(F(s.m1) * dy) + sad_abs(F(s.m2) * dy);
        bound[e] = F(s.tau * 4e-7f) * (size + F(sad_max(s.radius, -s.radius)));
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
        for (int a = 0; a < m; ++a)
          next = sad_max(next, insert_k(sorted, logit[active[a]], t.k));
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
      }
      doubt = doubt | (worst > F(kLogitTolerance));
      doubtful = bits(doubt);
      const F inverse = F(1.0f) / total;
      for (int c = 0; c < t.channels; ++c) store(result[c], blend[c] * inverse);
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      const int x = bx + (lane & 3), y = by + (lane >> 2);
      if (x >= t.width || y >= t.height) continue;
      if (doubtful >> lane & 1u) {
        render_pixel_exact(t, x, y, ids, count);
      } else {
        float* out = t.out + (static_cast<size_t>(y) * t.width + x) * t.channels;
        for (int c = 0; c < t.channels; ++c) out[c] = result[c][lane];
      }
    }
  }
}

}  // namespace SAD_ISA
}  // namespace sad
