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

// params [count, 6 + channels] -> out [height, width, channels]. exact: every pixel in double.
// max_work: candidate sites a pixel, as a mean, see PictureBudget; 0: no bound. What exceeds it
// does not depend on the number of threads.
void render(const Kernels& kernels, const float* params, int count, int channels, int width,
            int height, int k, bool exact, int max_work, int threads, float* out);

}  // namespace sad
#endif  // SAD_CPU_RENDER_H_
