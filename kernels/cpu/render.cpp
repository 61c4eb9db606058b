#include "render.h"

#include "work_budget.h"

namespace sad {

void render(const Kernels& kernels, const float* params, int count, int channels, int width,
            int height, int k, bool exact, int max_work, int threads, float* out) {
  // Logits 16 under a pixel's maximum weigh 1e-7: K of them stay far under a code value.
  constexpr float kCut = 16.0f;
  ThreadPool pool(threads);
  auto scratch = make_scratch(pool);
  PreparedSites sites;
  prepare_sites(params, count, channels, pool, &sites);
  const RenderTarget target{sites.data(), params, out, width, height, channels, k, exact};
  PictureBudget budget(max_work);
  const FilterOptions options{k, kCut, max_work > 0 ? &budget : nullptr};
  visit_tiles(kernels, sites, width, height, options, pool, scratch,
              [&](int, int x0, int y0, const int32_t* ids, int n, UnitScratch* memory) {
                kernels.render_tile(target, x0, y0, ids, n, memory);
              });
  if (budget.exceeded()) throw TooMuchWork("too many sites matter at one pixel");
}

}  // namespace sad
