// Pictures of bitmap primitives: tiles, threads, templates.
#ifndef SAD_CPU_BITMAP_H_
#define SAD_CPU_BITMAP_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "threads.h"
#include "types.h"

namespace sad {

struct BitmapPlace {
  float low_x, high_x, low_y, high_y;  // px, what a primitive can be seen in
};

class Bitmaps {
 public:
  // levels: kTemplateLevels of each template, whose planes lie within quads, which are not copied.
  Bitmaps(const Kernels& kernels, const uint32_t* quads, std::vector<BmpLevel> levels, bool blended,
          int threads);

  // The primitives to draw, [count][kBmpColumns] in px of the raster.
  void set_params(const float* params, int count, float opacity, float blend);
  // Those that change; tiles that none of them touches, nor touched at the last call, are passed
  // over. Null: all.
  void set_active(const uint8_t* active);
  int count() const { return static_cast<int>(primitives_.size()); }

  // Draw a window of the raster: premultiplied RGBA [4][window rows][columns]. max_work: at most so
  // many evaluations a pixel in the mean, else TooMuchWork; 0: no bound.
  void draw(Extent window, int max_work, float* out);
  // slopes [4][rows][columns] = dL/d(image), image as draw left it; out [count][kBmpColumns].
  void gradient(Extent window, const float* image, const float* slopes, float* out);

 private:
  struct Memory {  // of one thread
    std::vector<int32_t> near, ids;
    std::vector<float> state;
  };
  struct TileSums {
    std::vector<int32_t> ids;
    std::vector<float> sums;
  };
  bool any_active(const std::vector<int32_t>& ids) const;
  uint64_t wanted(Extent window, int x0, int y0) const;
  template <typename Visit>
  void visit_tiles(Extent window, Visit visit);
  BitmapTile tile_of(const Memory& memory, int x0, int y0, Extent window) const;

  const Kernels& kernels_;
  const int templates_;
  const bool blended_;
  std::vector<BmpLevel> levels_;  // [templates][kTemplateLevels]
  const uint32_t* quads_;
  float blend_ = 0.0f;
  std::vector<float> params_;
  std::vector<BmpPrimitive> primitives_;
  std::vector<BitmapPlace> places_;
  std::vector<uint8_t> active_;   // empty: all
  std::vector<uint8_t> touched_;  // per tile of the last window drawn: by one that was active
  std::vector<TileSums> sums_;
  ThreadPool pool_;
  std::vector<Memory> memory_;
};

}  // namespace sad
#endif  // SAD_CPU_BITMAP_H_
