#include "render.h"

#include <algorithm>
#include <cmath>

#include "cull.h"
#include "work_budget.h"

namespace sad {
namespace {

// Logits 16 under a pixel's maximum weigh 1e-7: K of them stay far under a code value.
constexpr float kCut = 16.0f;

bool is_plain(const Raster& r) {
  return r.x0 == 0.0 && r.y0 == 0.0 && r.step_x == 1.0 && r.step_y == 1.0;
}

// Corners of rectangles are rounded to float, and so are their centre and extents.
float margin_of(const Drawing& d) {
  const double x = std::abs(d.raster.x0) + d.width * d.raster.step_x;
  const double y = std::abs(d.raster.y0) + d.height * d.raster.step_y;
  return static_cast<float>(std::max(x, y) * std::ldexp(1.0, -21));
}

// The window with all of the tiles that it touches.
Extent tiles_of(const Drawing& d) {
  const Extent& w = d.window;
  return Extent{w.x0 / kTile * kTile, w.y0 / kTile * kTile,
                std::min((w.x1 + kTile - 1) / kTile * kTile, d.width),
                std::min((w.y1 + kTile - 1) / kTile * kTile, d.height)};
}

// The parameters of the sites that can matter in a part of a raster.
std::vector<float> rows_near(const float* params, int count, int channels, int k,
                             const Raster& raster, Extent of) {
  const double tile =
      kTile * std::max(raster.step_x, raster.step_y) * std::sqrt(0.5) + 2.0 * raster.margin;
  const std::vector<int> kept =
      cull_sites(params, count, channels, k, raster.x0 + of.x0 * raster.step_x,
                 raster.y0 + of.y0 * raster.step_y, raster.x0 + of.x1 * raster.step_x,
                 raster.y0 + of.y1 * raster.step_y, tile);
  const size_t columns = static_cast<size_t>(kColor + channels);
  std::vector<float> out(kept.size() * columns);
  for (size_t i = 0; i < kept.size(); ++i)
    std::copy_n(params + kept[i] * columns, columns, out.data() + i * columns);
  return out;
}

}  // namespace

void render(const Kernels& kernels, const float* params, int count, int channels, Drawing drawing,
            int threads, float* out) {
  const bool plain = is_plain(drawing.raster);
  drawing.raster.margin = plain ? 0.0f : margin_of(drawing);
  const Extent of = tiles_of(drawing);
  const bool part = of.x1 - of.x0 < drawing.width || of.y1 - of.y0 < drawing.height;
  std::vector<float> near;
  if (part || !plain) {
    near = rows_near(params, count, channels, drawing.k, drawing.raster, of);
    params = near.data();
    count = static_cast<int>(near.size() / (kColor + channels));
  }
  ThreadPool pool(threads);
  auto scratch = make_scratch(pool);
  PreparedSites sites;
  prepare_sites(params, count, channels, pool, &sites);
  const RenderTarget target{sites.data(), params,        out,   drawing.window, channels,
                            drawing.k,    drawing.exact, plain, drawing.raster};
  PictureBudget budget(drawing.max_work);
  FilterOptions options{drawing.k, kCut, drawing.max_work > 0 ? &budget : nullptr};
  options.raster = drawing.raster;
  options.canonical = true;
  options.cull = part;
  visit_tiles(kernels, sites, of, options, pool, scratch,
              [&](int, int x0, int y0, const int32_t* ids, int n, UnitScratch* memory) {
                kernels.render_tile(target, x0, y0, ids, n, memory);
              });
  if (budget.exceeded()) throw TooMuchWork("too many sites matter at one pixel");
}

void reaches(const Kernels& kernels, const float* params, int count, int channels, int width,
             int height, int k, const std::vector<int32_t>& starts, int threads, int32_t* out) {
  ThreadPool pool(threads);
  auto scratch = make_scratch(pool);
  PreparedSites sites;
  prepare_sites(params, count, channels, pool, &sites);
  FilterOptions options{k, kCut};
  options.canonical = options.cells = true;
  const size_t groups = starts.size();
  std::vector<int32_t> group(count, -1);
  for (size_t g = 0; g < groups; ++g)
    std::fill(group.begin() + starts[g],
              g + 1 < groups ? group.begin() + starts[g + 1] : group.end(),
              static_cast<int32_t>(g));
  std::vector<std::vector<Extent>> found(pool.size());
  for (auto& of : found) of.assign(groups, Extent{width, height, 0, 0});
  // The centres of pixels, from the lists that they are drawn from; and what lies between them.
  for (const float margin : {0.0f, 0.5f}) {
    options.raster.margin = margin;
    visit_tiles(kernels, sites, Extent{0, 0, width, height}, options, pool, scratch,
                [&](int worker, int x, int y, const int32_t* ids, int n, UnitScratch*) {
                  for (int i = 0; i < n; ++i) {
                    if (group[ids[i]] < 0) continue;
                    Extent& e = found[worker][group[ids[i]]];
                    e = Extent{std::min(e.x0, x), std::min(e.y0, y), std::max(e.x1, x + 1),
                               std::max(e.y1, y + 1)};
                  }
                });
  }
  for (size_t g = 0; g < groups; ++g) {
    Extent all{width, height, 0, 0};
    for (const auto& of : found) {
      all = Extent{std::min(all.x0, of[g].x0), std::min(all.y0, of[g].y0),
                   std::max(all.x1, of[g].x1), std::max(all.y1, of[g].y1)};
    }
    const bool none = all.x0 >= all.x1;
    out[4 * g] = none ? 0 : all.x0;
    out[4 * g + 1] = none ? 0 : all.y0;
    out[4 * g + 2] = none ? 0 : std::min(all.x1, width);
    out[4 * g + 3] = none ? 0 : std::min(all.y1, height);
  }
}

}  // namespace sad
