// Prepared sites, their columns, and the walk over tiles: shared by render, fit and refine.
#ifndef SAD_CPU_DIAGRAM_H_
#define SAD_CPU_DIAGRAM_H_

#include <memory>
#include <vector>

#include "threads.h"
#include "types.h"

namespace sad {

// Memory for a Scratch that lives as long as its owner; 64-byte aligned.
class OwnedScratch : public Scratch {
 public:
  OwnedScratch() {
    grow = [](Scratch* self, size_t n) {
      auto* owner = static_cast<OwnedScratch*>(self);
      const size_t capacity = n + n / 2 + 256;
      owner->memory_.reset(new float[capacity + 16]);
      auto address = reinterpret_cast<uintptr_t>(owner->memory_.get());
      self->data = reinterpret_cast<float*>((address + 63) / 64 * 64);
      self->capacity = capacity;
      return self->data;
    };
  }

 private:
  std::unique_ptr<float[]> memory_;
};

struct WorkerScratch {
  OwnedScratch super, unit, mid, tile, work, extra, groups;
};

// 64-byte aligned array of prepared sites.
class PreparedSites {
 public:
  void resize(int n);
  PreparedSite* data() { return data_; }
  const PreparedSite* data() const { return data_; }
  int size() const { return size_; }

 private:
  std::unique_ptr<char[]> memory_;
  PreparedSite* data_ = nullptr;
  int size_ = 0, capacity_ = 0;
};

void prepare_sites(const float* params, int count, int channels, ThreadPool& pool,
                   PreparedSites* out);

// Visits every tile of a part of a raster with its candidate list, units in parallel. The part's
// corners are those of tiles, or the raster's ends.
// visit(worker, tile x0, tile y0, ids, count, scratch).
using TileFunction = std::function<void(int, int, int, const int32_t*, int, UnitScratch*)>;
void visit_tiles(const Kernels& kernels, const PreparedSites& sites, Extent of,
                 const FilterOptions& options, ThreadPool& pool,
                 std::vector<std::unique_ptr<WorkerScratch>>& scratch, const TileFunction& visit);

// Visits every 32-px square of the image with the lists of its tiles, units in parallel.
// visit(square's number in raster order, lists); the lists live only during the call.
using SquareFunction = std::function<void(int, const SquareLists&)>;
void visit_squares(const Kernels& kernels, const PreparedSites& sites, int width, int height,
                   const FilterOptions& options, ThreadPool& pool,
                   std::vector<std::unique_ptr<WorkerScratch>>& scratch,
                   const SquareFunction& visit);

std::vector<std::unique_ptr<WorkerScratch>> make_scratch(const ThreadPool& pool);

}  // namespace sad
#endif  // SAD_CPU_DIAGRAM_H_
