// Candidate lists: the sites that can be among the top K of some pixel of a tile.
//
// Over a rectangle with centre c and half-extents h, the distance to site i lies within
// d_i(c) +- R_i, with R_i the largest metric length of a corner offset (triangle inequality), so
// its logit lies in [tau (r - d - R), tau (r - max(d - R, 0))]. The K-th largest lower bound is a
// threshold: a site whose upper bound is under it is in no pixel's top K there. Squares of 1024,
// 128, 32 and 8 px refine one another, so that the work grows as N log(tiles), not N x tiles.
#ifndef SAD_CPU_CANDIDATES_H_
#define SAD_CPU_CANDIDATES_H_

#include "simd.h"
#include "types.h"

namespace sad {
namespace SAD_ISA {

constexpr int kColumns = 9;  // of SiteColumns

SAD_INLINE SiteColumns columns_in(float* base, int capacity) {
  SiteColumns c;
  c.x = base;
  c.y = c.x + capacity;
  c.m0 = c.y + capacity;
  c.m1 = c.m0 + capacity;
  c.m2 = c.m1 + capacity;
  c.tau = c.m2 + capacity;
  c.radius = c.tau + capacity;
  c.reach = c.radius + capacity;
  c.id = reinterpret_cast<int32_t*>(c.reach + capacity);
  c.count = 0;
  return c;
}

SAD_INLINE int padded(int n) { return (n + kLanes - 1) / kLanes * kLanes; }

struct Rectangle {
  float x0, y0, x1, y1;  // pixel centres
};

// The rectangle of the pixel centres of a part of a raster, exact for the picture's own.
SAD_INLINE Rectangle centres(Extent of, const Raster& raster) {
  const double x0 = raster.x0 + (of.x0 + 0.5) * raster.step_x;
  const double x1 = raster.x0 + (of.x1 - 0.5) * raster.step_x;
  const double y0 = raster.y0 + (of.y0 + 0.5) * raster.step_y;
  const double y1 = raster.y0 + (of.y1 - 0.5) * raster.step_y;
  return Rectangle{static_cast<float>(x0) - raster.margin, static_cast<float>(y0) - raster.margin,
                   static_cast<float>(x1) + raster.margin, static_cast<float>(y1) + raster.margin};
}

// The square at (x, y), cut off where the part ends.
SAD_INLINE Extent square_of(int x, int y, int side, Extent of) {
  return Extent{x > of.x0 ? x : of.x0, y > of.y0 ? y : of.y0, x + side < of.x1 ? x + side : of.x1,
                y + side < of.y1 ? y + side : of.y1};
}

// The first square of `side` px that reaches `from`, of those from `start` on.
SAD_INLINE int first_of(int start, int side, int from) {
  return from > start ? start + (from - start) / side * side : start;
}

SAD_INLINE void insert_best(float* best, int k, float value) {
  if (value <= best[k - 1]) return;
  int j = k - 1;
  for (; j > 0 && best[j - 1] < value; --j) best[j] = best[j - 1];
  best[j] = value;
}

// Of the `count` kept sites, among which are the k of largest lower bound, keep those that can
// matter by the k-th of these bounds.
SAD_INLINE int shortest(const float* upper, const float* lower, int32_t* kept, int count,
                        const FilterOptions& options) {
  float best[kMaxK + kDescentList];
  for (int j = 0; j < options.k; ++j) best[j] = -3e38f;
  for (int i = 0; i < count; ++i) insert_best(best, options.k, lower[kept[i]]);
  const float threshold = sad_max(best[options.k - 1], best[0] - options.cut);
  int m = 0;
  for (int i = 0; i < count; ++i) {
    kept[m] = kept[i];
    m += upper[kept[i]] >= threshold;
  }
  return m;
}

// Writes to `kept` (room for padded(in.count) + 16) the positions in `in`, ascending, of the sites
// that can matter in the rectangle, and returns how many. `lower`, if not null, makes the choice
// one of the rectangle alone (canonical): by the K-th largest lower bound itself. Sites that `in`
// lacks because a larger rectangle has no use for them do not change it.
static int filter_positions(const SiteColumns& in, Rectangle at, const FilterOptions& options,
                            float* upper, int32_t* kept, float* lower = nullptr) {
  const int n = in.count;
  const float cx = 0.5f * (at.x0 + at.x1), cy = 0.5f * (at.y0 + at.y1);
  float half_x = 0.5f * (at.x1 - at.x0), half_y = 0.5f * (at.y1 - at.y0);
  // Bounds of a square hold for all squares inside of it, but those of rectangles that are cut off
  // need not: then a larger one could leave out what the list of a smaller one has.
  if (options.canonical) half_x = half_y = sad_max(half_x, half_y);
  const bool square = half_x == half_y;
  const F hx(half_x), hy(half_y);
  // The two largest lower bounds in each lane: enough to find a threshold that k sites reach,
  // seldom under the k-th largest itself.
  F first(-3e38f), second(-3e38f);
  for (int i = 0; i < n; i += kLanes) {
    const F dx = F(cx) - load(in.x + i), dy = F(cy) - load(in.y + i);
    const F m0 = load(in.m0 + i), m1 = load(in.m1 + i), m2 = load(in.m2 + i);
    const F tau = load(in.tau + i), radius = load(in.radius + i);
    const F d = sad_distance(dx, dy, m0, m1, m2);
    const F reach = square ? hx * load(in.reach + i) : sad_distance(hx, hy, m0, sad_abs(m1), m2);
    // Wider than rounding: 1e-5 relative, for the float logits of the tile itself too.
    const F slack = tau * (d + reach + sad_abs(radius)) * F(1e-5f) + F(1e-6f);
    const F up = tau * (radius - sad_max(d - reach, F(0.0f))) + slack;
    const F low = tau * (radius - (d + reach)) - slack;
    store(upper + i, up);
    if (lower) store(lower + i, low);
    second = sad_max(second, sad_min(first, low));
    first = sad_max(first, low);
  }
  float lows[2 * kLanes], best[kMaxK + kDescentList];  // descending
  store(lows, first);
  store(lows + kLanes, second);
  const int k = options.k;
  for (int j = 0; j < k; ++j) best[j] = -3e38f;
  for (float value : lows) insert_best(best, k, value);
  const F threshold(sad_max(best[k - 1], best[0] - options.cut));
  int m = 0;
  for (int i = 0; i < n; i += kLanes) m += append_lanes(kept + m, i, load(upper + i) >= threshold);
  while (m > 0 && kept[m - 1] >= n) --m;  // lanes behind the end, when there are under k sites
  return lower ? shortest(upper, lower, kept, m, options) : m;
}

SAD_INLINE bool spend(const FilterOptions& options, int64_t evaluations) {
  return !options.budget || options.budget->spend(options.budget, evaluations);
}

// Columns of the sites of `in` that can matter in the rectangle, in the order of `in`. False: the
// budget does not suffice, or there are more than `most` of them.
static bool filter(const SiteColumns& in, Extent of, const FilterOptions& options, int most,
                   bool canonical, Scratch* memory, Scratch* work, SiteColumns* out) {
  if (!spend(options, in.count)) return false;
  const int room = padded(in.count) + kLanes;
  float* upper = work->need((canonical ? 3 : 2) * static_cast<size_t>(room));
  int32_t* kept = reinterpret_cast<int32_t*>(upper + room);
  float* lower = canonical ? upper + 2 * static_cast<size_t>(room) : nullptr;
  const int m = filter_positions(in, centres(of, options.raster), options, upper, kept, lower);
  if (m > most) {
    options.budget->refuse(options.budget);
    return false;
  }
  const int capacity = padded(m);
  *out = columns_in(memory->need(kColumns * static_cast<size_t>(capacity)), capacity);
  for (int i = 0; i < m; ++i) {
    const int j = kept[i];
    out->x[i] = in.x[j];
    out->y[i] = in.y[j];
    out->m0[i] = in.m0[j];
    out->m1[i] = in.m1[j];
    out->m2[i] = in.m2[j];
    out->tau[i] = in.tau[j];
    out->radius[i] = in.radius[j];
    out->reach[i] = in.reach[j];
    out->id[i] = in.id[j];
  }
  for (int i = m; i < capacity; ++i) {
    out->x[i] = out->y[i] = out->m1[i] = 0.0f;
    out->m0[i] = out->m2[i] = out->tau[i] = out->reach[i] = 1.0f;
    out->radius[i] = kNowhere;
    out->id[i] = -1;
  }
  out->count = m;
  return true;
}

constexpr int kAny = 0x7fffffff;  // as the length of a list: no bound

static void filter_super(const SiteColumns& all, Extent square, const FilterOptions& options,
                         UnitScratch* scratch, SiteColumns* out) {
  filter(all, square, options, kAny, false, scratch->super, scratch->work, out);
}

// Visits the pixels of a tile, with the sites that can be among the K of its list there. Of each is
// also the site that the tile's cut goes by, without which the list could be a longer one.
static void visit_cells(const SiteColumns& tile, Extent of, FilterOptions options,
                        UnitScratch* scratch, TileVisitor visit, void* context) {
  const size_t room = static_cast<size_t>(padded(tile.count) + kLanes);
  float* upper = scratch->work->need(3 * room);
  int32_t* kept = reinterpret_cast<int32_t*>(upper + room);
  float* lower = upper + 2 * room;
  filter_positions(tile, centres(of, options.raster), options, upper, kept, lower);
  int32_t highest = 0;
  for (int i = 1; i < tile.count; ++i)
    if (lower[i] > lower[highest]) highest = i;
  options.cut = 1e30f;
  for (int y = of.y0; y < of.y1; ++y) {
    for (int x = of.x0; x < of.x1; ++x) {
      const Rectangle cell = centres(Extent{x, y, x + 1, y + 1}, options.raster);
      int m = filter_positions(tile, cell, options, upper, kept);
      kept[m++] = highest;
      for (int i = 0; i < m; ++i) kept[i] = tile.id[kept[i]];
      visit(context, x, y, kept, m, scratch);
    }
  }
}

static void visit_unit(const SiteColumns& sites, int ux, int uy, Extent of,
                       const FilterOptions& options, UnitScratch* scratch, TileVisitor visit,
                       void* context) {
  SiteColumns unit, mid, tile;
  const WorkBudget* budget = options.budget;
  const Extent here = square_of(ux, uy, kUnit, of);
  if (!filter(sites, here, options, budget ? budget->unit : kAny, false, scratch->unit,
              scratch->work, &unit))
    return;
  for (int my = first_of(uy, kSquare, here.y0); my < here.y1; my += kSquare) {
    for (int mx = first_of(ux, kSquare, here.x0); mx < here.x1; mx += kSquare) {
      const Extent square = square_of(mx, my, kSquare, here);
      if (!filter(unit, square, options, budget ? budget->square : kAny, false, scratch->mid,
                  scratch->work, &mid))
        return;
      for (int y = square.y0; y < square.y1; y += kTile) {
        for (int x = square.x0; x < square.x1; x += kTile) {
          const Extent at = square_of(x, y, kTile, square);
          if (!filter(mid, at, options, budget ? budget->tile : kAny, options.canonical,
                      scratch->tile, scratch->work, &tile) ||
              !spend(options, static_cast<int64_t>(tile.count) * kTilePixels))
            return;
          if (options.cells)
            visit_cells(tile, at, options, scratch, visit, context);
          else
            visit(context, x, y, tile.id, tile.count, scratch);
        }
      }
    }
  }
}

// The tiles' lists of one square hold positions in the square's list, which is reduced to the sites
// that some tile needs.
static void visit_squares(const SiteColumns& sites, int ux, int uy, Extent of,
                          const FilterOptions& options, UnitScratch* scratch, SquareVisitor visit,
                          void* context) {
  SiteColumns unit, mid;
  const Extent here = square_of(ux, uy, kUnit, of);
  filter(sites, here, options, kAny, false, scratch->unit, scratch->work, &unit);
  for (int y0 = uy; y0 < here.y1; y0 += kSquare) {
    for (int x0 = ux; x0 < here.x1; x0 += kSquare) {
      filter(unit, square_of(x0, y0, kSquare, here), options, kAny, false, scratch->mid,
             scratch->work, &mid);
      const int room = padded(mid.count) + kLanes;
      float* upper = scratch->work->need(2 * static_cast<size_t>(room));
      int32_t* place = reinterpret_cast<int32_t*>(upper + room);  // in the square's list, or -1
      int32_t* entries =
          reinterpret_cast<int32_t*>(scratch->tile->need(static_cast<size_t>(room) * kSquareTiles));
      int32_t offsets[kSquareTiles + 1] = {0};
      for (int t = 0; t < kSquareTiles; ++t) {
        constexpr int kSide = kSquare / kTile;
        const int x = x0 + t % kSide * kTile, y = y0 + t / kSide * kTile;
        offsets[t + 1] = offsets[t];
        if (x >= here.x1 || y >= here.y1) continue;
        const Rectangle tile = centres(square_of(x, y, kTile, here), options.raster);
        offsets[t + 1] += filter_positions(mid, tile, options, upper, entries + offsets[t]);
      }
      for (int i = 0; i < mid.count; ++i) place[i] = -1;
      for (int e = 0; e < offsets[kSquareTiles]; ++e) place[entries[e]] = 0;
      int count = 0;
      for (int i = 0; i < mid.count; ++i) {
        if (place[i] < 0) continue;
        place[i] = count;
        mid.id[count++] = mid.id[i];
      }
      for (int e = 0; e < offsets[kSquareTiles]; ++e) entries[e] = place[entries[e]];
      visit(context, x0, y0, SquareLists{mid.id, count, entries, offsets});
    }
  }
}

}  // namespace SAD_ISA
}  // namespace sad
#endif  // SAD_CPU_CANDIDATES_H_
