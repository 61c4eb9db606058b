// Drawing a diagram.
#ifndef SAD_CPU_RENDER_H_
#define SAD_CPU_RENDER_H_

#include <stdexcept>

#include "diagram.h"

namespace sad {

// Raised by render where drawing would cost more than max_work allows.
struct TooMuchWork : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What to draw: a window of a raster of width x height pixels. `raster.margin` is set here.
struct Drawing {
  int width, height;
  Extent window;
  Raster raster;
  int k;
  bool exact;    // every pixel in double
  int max_work;  // candidate sites a pixel, as a mean, see PictureBudget; 0: no bound
};

// params [count, 6 + channels] -> out [rows, columns, channels] of the window, each pixel with the
// bits that it has in the whole raster. What exceeds max_work does not depend on the number of
// threads.
void render(const Kernels& kernels, const float* params, int count, int channels, Drawing drawing,
            int threads, float* out);

// For each run of sites, from starts[g] up to the next, the rectangle x0, y0, x1, y1 in px of the
// picture outside of which none of them can matter, out [groups][4]; empty where none does.
void reaches(const Kernels& kernels, const float* params, int count, int channels, int width,
             int height, int k, const std::vector<int32_t>& starts, int threads, int32_t* out);

}  // namespace sad
#endif  // SAD_CPU_RENDER_H_
