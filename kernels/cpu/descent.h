// Passes of the integer descent: each pixel's best sites, and what a move of one site does to the
// squared error of the pixels that know it.
//
// For one site s, a pixel's other sites do not change while s is tried, so they are summed once:
// the K - 1 best others, and the K-th, which is in the blend only while s is not. A move then costs
// one logit, one exp and one blend a pixel.
#include "quad.h"
#include "simd.h"
#include "types.h"

namespace sad {
namespace SAD_ISA {

// ---- Lists ----------------------------------------------------------------------------------

static void list_tile(const PreparedSite* sites, int x0, int y0, int width, int height,
                      const int32_t* ids, int count, DescentLists lists, Scratch* scratch) {
  constexpr int kList = kDescentList;
  float* memory = scratch->need(static_cast<size_t>(count) * kLanes + 4 * kLanes);
  F* logit = reinterpret_cast<F*>(memory);
  for (int block = 0; block < 4; ++block) {
    const int bx = x0 + (block & 1) * 4, by = y0 + (block >> 1) * 4;
    if (bx >= width || by >= height) continue;
    const LanePixels px = lane_pixels(block, x0, y0, width, height);
    F sorted[kList], index[kList];
    for (int j = 0; j < kList; ++j) {
      sorted[j] = F(-1e30f);
      index[j] = F(-1.0f);
    }
    for (int e = 0; e < count; ++e) {
      const PreparedSite& s = sites[ids[e]];
      const F d = sad_distance(px.x - F(s.x), px.y - F(s.y), F(s.m0), F(s.m1), F(s.m2));
      logit[e] = sad_logit(d, F(s.tau), F(s.radius));
      if (!any(logit[e] > sorted[kList - 1])) continue;
      F value = logit[e], who(static_cast<float>(e));
      for (int j = 0; j < kList; ++j) {
        const M better = value > sorted[j];
        const F old_value = sorted[j], old_who = index[j];
        sorted[j] = select(better, value, old_value);
        index[j] = select(better, who, old_who);
        value = select(better, old_value, value);
        who = select(better, old_who, who);
      }
    }
    float values[kList][kLanes], whose[kList][kLanes];
    for (int j = 0; j < kList; ++j) {
      store(values[j], sorted[j]);
      store(whose[j], index[j]);
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      const int x = bx + (lane & 3), y = by + (lane >> 2);
      if (x >= width || y >= height) continue;
      const size_t base = (static_cast<size_t>(y) * width + x) * kList;
      for (int j = 0; j < kList; ++j) {
        const int e = static_cast<int>(whose[j][lane]);
        lists.ids[base + j] = e < 0 ? -1 : ids[e];
        lists.logits[base + j] = values[j][lane];
      }
    }
  }
}

static void weigh_pixels(const DescentLists& lists, int first, int count, int k, float* weights) {
  float lane[kLanes], out[kLanes];
  for (int i = 0; i < kLanes; ++i) lane[i] = static_cast<float>(i);
  const M best = F(static_cast<float>(k)) > load(lane);
  for (int at = 0; at < count; ++at) {
    const float* logits = lists.logits + (static_cast<size_t>(first) + at) * kDescentList;
    const F l = load(logits);
    const F w = select(best & (l > F(-1e29f)), sad_exp(l - F(logits[0])), F(0.0f));
    store(out, w * F(1.0f / reduce(w)));
    memcpy(weights + static_cast<size_t>(at) * k, out, sizeof(float) * k);
  }
}

// ---- One site's pixels ----------------------------------------------------------------------

// Rows of 16 floats in a group of 16 pixels.
// Places without a pixel have weight 0.
enum GroupRow { kGx = 0, kGy, kGreference, kGtotal, kGthreshold, kGlast, kGweight, kGrows };
SAD_INLINE int group_rows(int channels) { return kGrows + 3 * channels; }  // blend, last, target

static void descent_setup(const DescentPixels& p, Scratch* groups, Scratch*) {
  constexpr int kList = kDescentList;
  const int channels = p.channels, rows = group_rows(channels), k = p.k;
  const int count = (p.count + kLanes - 1) / kLanes;
  float* out = groups->need(static_cast<size_t>(count) * rows * kLanes);
  for (int g = 0; g < count; ++g, out += rows * kLanes) {
    for (int i = 0; i < kLanes; ++i) {
      const int at = g * kLanes + i;
      const int32_t entry = p.entries[at < p.count ? at : p.count - 1];
      const int pixel = entry / kList, slot = entry - pixel * kList, row = pixel / p.width;
      const float* logits = p.lists.logits + static_cast<size_t>(pixel) * kList;
      const int32_t* ids = p.lists.ids + static_cast<size_t>(pixel) * kList;
      // Reference logit: the best other site's; the site's own where it is alone.
      const float best = logits[slot == 0];
      const float reference = best > -1e29f ? best : logits[slot];
      float w[kLanes];
      store(w, sad_exp(load(logits) - F(reference)));
      Quad blend = quad(0.0f), last_blend = quad(0.0f);
      float total = 0.0f, last = 0.0f, threshold = -3e38f;
      const int kth = k - 1 + (k - 1 >= slot);  // the K-th of the others
      for (int j = 0; j < kth && logits[j] > -1e29f; ++j) {
        if (j == slot) continue;
        total += w[j];
        blend += quad(w[j]) * load_quad(p.colors + static_cast<size_t>(ids[j]) * kMaxChannels);
      }
      if (logits[kth] > -1e29f) {
        last = w[kth];
        threshold = logits[kth];
        last_blend =
            quad(last) * load_quad(p.colors + static_cast<size_t>(ids[kth]) * kMaxChannels);
      }
      out[kGx * kLanes + i] = static_cast<float>(pixel - row * p.width) + 0.5f;
      out[kGy * kLanes + i] = static_cast<float>(row) + 0.5f;
      out[kGreference * kLanes + i] = reference;
      out[kGtotal * kLanes + i] = total;
      out[kGthreshold * kLanes + i] = threshold;
      out[kGlast * kLanes + i] = last;
      out[kGweight * kLanes + i] = at >= p.count ? 0.0f : p.weights ? p.weights[pixel] : 1.0f;
      const float* target = p.target + static_cast<size_t>(pixel) * kMaxChannels;
      for (int c = 0; c < channels; ++c) {
        out[(kGrows + c) * kLanes + i] = blend[c];
        out[(kGrows + channels + c) * kLanes + i] = last_blend[c];
        out[(kGrows + 2 * channels + c) * kLanes + i] = target[c];
      }
    }
  }
}

template <int C>
static double descent_error_c(const DescentPixels& p, const float* groups, const PreparedSite& s,
                              float* logits) {
  const int rows = kGrows + 3 * C;
  const int count = (p.count + kLanes - 1) / kLanes;
  F sum(0.0f);
  for (int g = 0; g < count; ++g, groups += rows * kLanes) {
    const F dx = load(groups + kGx * kLanes) - F(s.x), dy = load(groups + kGy * kLanes) - F(s.y);
    const F d = sad_distance(dx, dy, F(s.m0), F(s.m1), F(s.m2));
    const F l = sad_logit(d, F(s.tau), F(s.radius));
    if (logits) store(logits + g * kLanes, l);
    const M in = l > load(groups + kGthreshold * kLanes);
    const F w = sad_exp(l - load(groups + kGreference * kLanes));
    const F total = load(groups + kGtotal * kLanes) + select(in, w, load(groups + kGlast * kLanes));
    const F inverse = F(1.0f) / total;
    F squared(0.0f);
    for (int c = 0; c < C; ++c) {
      const F own = select(in, w * F(s.color[c]), load(groups + (kGrows + C + c) * kLanes));
      F y = (load(groups + (kGrows + c) * kLanes) + own) * inverse;
      y = sad_min(sad_max(y, F(0.0f)), F(1.0f));
      const F error = y - load(groups + (kGrows + 2 * C + c) * kLanes);
      squared = squared + error * error;
    }
    sum = sum + squared * load(groups + kGweight * kLanes);
  }
  return reduce(sum);
}

static double descent_error(const DescentPixels& p, const float* groups, const PreparedSite& s,
                            float* logits) {
  switch (p.channels) {
    case 1:
      return descent_error_c<1>(p, groups, s, logits);
    case 2:
      return descent_error_c<2>(p, groups, s, logits);
    case 3:
      return descent_error_c<3>(p, groups, s, logits);
    default:
      return descent_error_c<4>(p, groups, s, logits);
  }
}

// Normal equations of the site's colour along one axis, others fixed: step = out[0] / out[1].
static void descent_color(const DescentPixels& p, const float* groups, const PreparedSite& s,
                          const float* direction, double* out) {
  const int channels = p.channels, rows = group_rows(channels);
  const int count = (p.count + kLanes - 1) / kLanes;
  F along(0.0f), square(0.0f);
  for (int g = 0; g < count; ++g, groups += rows * kLanes) {
    const F dx = load(groups + kGx * kLanes) - F(s.x), dy = load(groups + kGy * kLanes) - F(s.y);
    const F d = sad_distance(dx, dy, F(s.m0), F(s.m1), F(s.m2));
    const F l = sad_logit(d, F(s.tau), F(s.radius));
    const M in = l > load(groups + kGthreshold * kLanes);
    const F w = sad_exp(l - load(groups + kGreference * kLanes));
    const F own = select(in, w, load(groups + kGlast * kLanes));
    const F inverse = F(1.0f) / (load(groups + kGtotal * kLanes) + own);
    const F a = select(in, w * inverse, F(0.0f));
    const F weighted = a * load(groups + kGweight * kLanes);
    F residual(0.0f);
    for (int c = 0; c < channels; ++c) {
      const F mine = select(in, w * F(s.color[c]), load(groups + (kGrows + channels + c) * kLanes));
      const F y = (load(groups + (kGrows + c) * kLanes) + mine) * inverse;
      residual =
          residual + F(direction[c]) * (load(groups + (kGrows + 2 * channels + c) * kLanes) - y);
    }
    along = along + weighted * residual;
    square = square + weighted * a;
  }
  out[0] = reduce(along);
  out[1] = reduce(square);
}

}  // namespace SAD_ISA
}  // namespace sad
