#include "diagram.h"

#include <algorithm>

#include "work_budget.h"

namespace sad {

void PreparedSites::resize(int n) {
  if (n > capacity_) {
    memory_.reset(new char[static_cast<size_t>(n) * sizeof(PreparedSite) + 64]);
    auto address = reinterpret_cast<uintptr_t>(memory_.get());
    data_ = reinterpret_cast<PreparedSite*>((address + 63) / 64 * 64);
    capacity_ = n;
  }
  size_ = n;
}

void prepare_sites(const float* params, int count, int channels, ThreadPool& pool,
                   PreparedSites* out) {
  constexpr int kChunk = 1024;
  out->resize(count);
  PreparedSite* sites = out->data();
  pool.run((count + kChunk - 1) / kChunk, [&](int chunk, int) {
    const int end = std::min(count, (chunk + 1) * kChunk);
    for (int i = chunk * kChunk; i < end; ++i)
      sad_prepare(params + static_cast<size_t>(i) * (kColor + channels), channels, sites + i);
  });
}

std::vector<std::unique_ptr<WorkerScratch>> make_scratch(const ThreadPool& pool) {
  std::vector<std::unique_ptr<WorkerScratch>> out;
  for (int i = 0; i < pool.size(); ++i) out.push_back(std::make_unique<WorkerScratch>());
  return out;
}

namespace {

// Columns of all sites; the SIMD filter reads whole vectors, so they are padded.
struct AllColumns {
  std::vector<float> memory;
  std::vector<int32_t> ids;
  SiteColumns columns;

  explicit AllColumns(const PreparedSites& sites) {
    const int n = sites.size();
    const size_t capacity = (static_cast<size_t>(n) + 15) / 16 * 16 + 16;
    memory.assign(8 * capacity, 0.0f);
    ids.assign(capacity, -1);
    columns.x = memory.data();
    columns.y = columns.x + capacity;
    columns.m0 = columns.y + capacity;
    columns.m1 = columns.m0 + capacity;
    columns.m2 = columns.m1 + capacity;
    columns.tau = columns.m2 + capacity;
    columns.radius = columns.tau + capacity;
    columns.reach = columns.radius + capacity;
    columns.id = ids.data();
    columns.count = n;
    std::fill(columns.tau + n, columns.tau + capacity, 1.0f);
    std::fill(columns.radius + n, columns.radius + capacity, kNowhere);
    for (int i = 0; i < n; ++i) {
      const PreparedSite& s = sites.data()[i];
      columns.x[i] = s.x;
      columns.y[i] = s.y;
      columns.m0[i] = s.m0;
      columns.m1[i] = s.m1;
      columns.m2[i] = s.m2;
      columns.tau[i] = s.tau;
      columns.radius[i] = s.radius;
      columns.reach[i] = sad_distance(1.0f, 1.0f, s.m0, s.m1 < 0.0f ? -s.m1 : s.m1, s.m2);
      columns.id[i] = i;
    }
  }
};

// body(worker, sites that matter here, unit x, unit y, scratch) for every unit of the image.
template <typename Body>
void for_units(const Kernels& kernels, const PreparedSites& sites, Extent of,
               const FilterOptions& options, ThreadPool& pool,
               std::vector<std::unique_ptr<WorkerScratch>>& scratch, const Body& body) {
  const AllColumns all(sites);
  OwnedScratch super_sites, super_work;
  const bool several = of.x1 > kSuper || of.y1 > kSuper;
  for (int sy = of.y0 / kSuper * kSuper; sy < of.y1; sy += kSuper) {
    for (int sx = of.x0 / kSuper * kSuper; sx < of.x1; sx += kSuper) {
      const Extent square{std::max(sx, of.x0), std::max(sy, of.y0), std::min(sx + kSuper, of.x1),
                          std::min(sy + kSuper, of.y1)};
      SiteColumns here = all.columns;
      if (several || options.cull) {
        UnitScratch memory{&super_sites, nullptr, nullptr, nullptr, &super_work};
        // Not of the budget: it takes a site's time for each square.
        FilterOptions free = options;
        free.budget = nullptr;
        kernels.filter_super(all.columns, square, free, &memory, &here);
      }
      if (auto* budget = static_cast<PictureBudget*>(options.budget)) {
        if (budget->exceeded()) return;
        budget->start(static_cast<int64_t>(square.x1 - square.x0) * (square.y1 - square.y0),
                      here.count);
      }
      const int ux = square.x0 / kUnit * kUnit, uy = square.y0 / kUnit * kUnit;
      const int units_x = (square.x1 - ux + kUnit - 1) / kUnit;
      const int units_y = (square.y1 - uy + kUnit - 1) / kUnit;
      pool.run(units_x * units_y, [&](int unit, int worker) {
        WorkerScratch& w = *scratch[worker];
        UnitScratch memory{&w.super, &w.unit, &w.mid, &w.tile, &w.work};
        body(worker, here, ux + unit % units_x * kUnit, uy + unit / units_x * kUnit, &memory);
      });
    }
  }
}

}  // namespace

void visit_tiles(const Kernels& kernels, const PreparedSites& sites, Extent of,
                 const FilterOptions& options, ThreadPool& pool,
                 std::vector<std::unique_ptr<WorkerScratch>>& scratch, const TileFunction& visit) {
  struct Visit {
    const TileFunction* function;
    int worker;
  };
  const TileVisitor call = [](void* context, int x0, int y0, const int32_t* ids, int count,
                              UnitScratch* memory) {
    const Visit* v = static_cast<const Visit*>(context);
    (*v->function)(v->worker, x0, y0, ids, count, memory);
  };
  for_units(kernels, sites, of, options, pool, scratch,
            [&](int worker, const SiteColumns& here, int ux, int uy, UnitScratch* memory) {
              Visit v{&visit, worker};
              kernels.visit_unit(here, ux, uy, of, options, memory, call, &v);
            });
}

void visit_squares(const Kernels& kernels, const PreparedSites& sites, int width, int height,
                   const FilterOptions& options, ThreadPool& pool,
                   std::vector<std::unique_ptr<WorkerScratch>>& scratch,
                   const SquareFunction& visit) {
  struct Visit {
    const SquareFunction* function;
    int squares_x;
  };
  const SquareVisitor call = [](void* context, int x0, int y0, const SquareLists& lists) {
    const Visit* v = static_cast<const Visit*>(context);
    (*v->function)(y0 / kSquare * v->squares_x + x0 / kSquare, lists);
  };
  const Extent of{0, 0, width, height};
  for_units(kernels, sites, of, options, pool, scratch,
            [&](int, const SiteColumns& here, int ux, int uy, UnitScratch* memory) {
              Visit v{&visit, (width + kSquare - 1) / kSquare};
              kernels.visit_squares(here, ux, uy, of, options, memory, call, &v);
            });
}

}  // namespace sad
