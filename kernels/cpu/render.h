// Drawing a diagram.
#ifndef SAD_CPU_RENDER_H_
#define SAD_CPU_RENDER_H_

#include "diagram.h"

namespace sad {

// params [count, 6 + channels] -> out [height, width, channels]. exact: every pixel in double.
void render(const Kernels& kernels, const float* params, int count, int channels, int width,
            int height, int k, bool exact, int threads, float* out);

}  // namespace sad
#endif  // SAD_CPU_RENDER_H_
