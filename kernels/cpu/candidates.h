// Candidate lists: the sites that can be among the top K of some pixel of a tile.
//
// Over a rectangle with centre c and half-extents h, the distance to site i lies within
// d_i(c) +- R_i, with R_i the largest metric length of a corner offset (triangle inequality), so its
// logit lies in [tau (r - d - R), tau (r - max(d - R, 0))]. The K-th largest lower bound is a
// threshold: a site whose upper bound is under it is in no pixel's top K there. Squares of 1024,
// 128, 32 and 8 px refine one another, so that the work grows as N log(tiles), not N x tiles.
#include "simd.h"
#include "types.h"

namespace sad {
namespace SAD_ISA {

SAD_INLINE SiteColumns columns_in(float* base, int capacity) {
  SiteColumns c;
  c.x = base;
  c.y = c.x + capacity;
  c.m0 = c.y + capacity;
  c.m1 = c.m0 + capacity;
  c.m2 = c.m1 + capacity;
  c.tau = c.m2 + capacity;
  c.radius = c.tau + capacity;
  c.id = reinterpret_cast<int32_t*>(c.radius + capacity);
  c.count = 0;
  return c;
}

SAD_INLINE int padded(int n) { return (n + kLanes - 1) / kLanes * kLanes; }

// Sites of `in` that can matter in [x0, x1] x [y0, y1] (pixel centres), in the order of `in`.
static void filter(const SiteColumns& in, float x0, float y0, float x1, float y1,
                   FilterOptions options, Scratch* memory, Scratch* work, SiteColumns* out) {
  const int n = in.count, padded_n = padded(n);
  *out = columns_in(memory->need(8 * static_cast<size_t>(padded_n) + 8 * kLanes), padded_n);
  float* upper = work->need(static_cast<size_t>(padded_n));
  const float cx = 0.5f * (x0 + x1), cy = 0.5f * (y0 + y1);
  const F hx(0.5f * (x1 - x0)), hy(0.5f * (y1 - y0));
  float best[kMaxK + kDescentList];  // largest lower bounds, descending
  const int k = options.k;
  for (int j = 0; j < k; ++j) best[j] = -3e38f;
  for (int i = 0; i < n; i += kLanes) {
    const F dx = F(cx) - load(in.x + i), dy = F(cy) - load(in.y + i);
    const F m0 = load(in.m0 + i), m1 = load(in.m1 + i), m2 = load(in.m2 + i);
    const F tau = load(in.tau + i), radius = load(in.radius + i);
    const F d = sad_distance(dx, dy, m0, m1, m2);
    const F reach = sad_distance(hx, hy, m0, sad_abs(m1), m2);
    // Wider than rounding: 1e-5 relative, for the float logits of the tile itself too.
    const F slack = tau * (d + reach + sad_abs(radius)) * F(1e-5f) + F(1e-6f);
    const F up = tau * (radius - sad_max(d - reach, F(0.0f))) + slack;
    const F low = tau * (radius - (d + reach)) - slack;
    store(upper + i, up);
    unsigned better = bits(low > F(best[k - 1]));
    if (better) {
      float lows[kLanes];
      store(lows, low);
      for (; better; better &= better - 1) {
        const int lane = __builtin_ctz(better);
        if (i + lane >= n) break;
        float value = lows[lane];
        if (value <= best[k - 1]) continue;
        int j = k - 1;
        for (; j > 0 && best[j - 1] < value; --j) best[j] = best[j - 1];
        best[j] = value;
      }
    }
  }
  const float threshold = sad_max(best[k - 1], best[0] - options.cut);
  int m = 0;
  for (int i = 0; i < n; i += kLanes) {
    unsigned keep = bits(load(upper + i) >= F(threshold));
    for (; keep; keep &= keep - 1) {
      const int j = i + __builtin_ctz(keep);
      if (j >= n) break;
      out->x[m] = in.x[j];
      out->y[m] = in.y[j];
      out->m0[m] = in.m0[j];
      out->m1[m] = in.m1[j];
      out->m2[m] = in.m2[j];
      out->tau[m] = in.tau[j];
      out->radius[m] = in.radius[j];
      out->id[m] = in.id[j];
      ++m;
    }
  }
  for (int j = m; j < padded(m) && j < padded_n; ++j) {  // finite values behind the end
    out->x[j] = out->y[j] = out->m1[j] = out->radius[j] = 0.0f;
    out->m0[j] = out->m2[j] = out->tau[j] = 1.0f;
    out->id[j] = -1;
  }
  out->count = m;
}

static void filter_super(const SiteColumns& all, float x0, float y0, float x1, float y1,
                         FilterOptions options, UnitScratch* scratch, SiteColumns* out) {
  filter(all, x0, y0, x1, y1, options, scratch->super, scratch->work, out);
}

SAD_INLINE int at_most(int a, int b) { return a < b ? a : b; }

static void visit_unit(const SiteColumns& sites, int ux, int uy, int width, int height,
                       FilterOptions options, UnitScratch* scratch, TileVisitor visit,
                       void* context) {
  constexpr int kMid = 32;
  const int ux1 = at_most(ux + kUnit, width), uy1 = at_most(uy + kUnit, height);
  SiteColumns unit, mid, tile;
  filter(sites, ux + 0.5f, uy + 0.5f, ux1 - 0.5f, uy1 - 0.5f, options, scratch->unit,
         scratch->work, &unit);
  for (int my = uy; my < uy1; my += kMid) {
    for (int mx = ux; mx < ux1; mx += kMid) {
      const int mx1 = at_most(mx + kMid, width), my1 = at_most(my + kMid, height);
      filter(unit, mx + 0.5f, my + 0.5f, mx1 - 0.5f, my1 - 0.5f, options, scratch->mid,
             scratch->work, &mid);
      for (int y = my; y < my1; y += kTile) {
        for (int x = mx; x < mx1; x += kTile) {
          const int x1 = at_most(x + kTile, width), y1 = at_most(y + kTile, height);
          filter(mid, x + 0.5f, y + 0.5f, x1 - 0.5f, y1 - 0.5f, options, scratch->tile,
                 scratch->work, &tile);
          visit(context, x, y, tile.id, tile.count, scratch);
        }
      }
    }
  }
}

}  // namespace SAD_ISA
}  // namespace sad
