#include "render.h"

#include <algorithm>
#include <cmath>

#include "work_budget.h"

namespace sad {
namespace {

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

}  // namespace

void render(const Kernels& kernels, const float* params, int count, int channels, Drawing drawing,
            int threads, float* out) {
  // Logits 16 under a pixel's maximum weigh 1e-7: K of them stay far under a code value.
  constexpr float kCut = 16.0f;
  const bool plain = is_plain(drawing.raster);
  drawing.raster.margin = plain ? 0.0f : margin_of(drawing);
  const Extent of = tiles_of(drawing);
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
  options.cull = of.x1 - of.x0 < drawing.width || of.y1 - of.y0 < drawing.height;
  visit_tiles(kernels, sites, of, options, pool, scratch,
              [&](int, int x0, int y0, const int32_t* ids, int n, UnitScratch* memory) {
                kernels.render_tile(target, x0, y0, ids, n, memory);
              });
  if (budget.exceeded()) throw TooMuchWork("too many sites matter at one pixel");
}

}  // namespace sad
