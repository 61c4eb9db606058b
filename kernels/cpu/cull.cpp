#include "cull.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "types.h"

namespace sad {
namespace {

// Bounds are wider than all roundings by this, of each term and of a logit. They are wider than
// those that the filters (candidates.h) have for any tile, which reckon with half its diagonal too:
// what is left out here is in no tile's list, so that the lists stay canonical.
constexpr float kSlack = 1e-4f, kLeast = 1e-5f;

struct Stretch {
  float tau, most, least;  // the largest and the smallest factor on a distance
};

Stretch stretch_of(const float* row) {
  const float p = row[kP], q = row[kQ];
  const float most = sad_exp(0.5f * sad_sqrt(p * p + q * q)) * (1.0f + kSlack);
  return Stretch{sad_exp(row[kLogTau]), most, (1.0f - kSlack) / most};
}

}  // namespace

std::vector<int> cull_sites(const float* params, int count, int channels, int k, double x0,
                            double y0, double x1, double y1, double tile) {
  const size_t columns = static_cast<size_t>(kColor + channels);
  const float cx = static_cast<float>(0.5 * (x0 + x1)), cy = static_cast<float>(0.5 * (y0 + y1));
  // A point of the rectangle is at most so far from its centre along each axis, roundings included.
  const float rounding = 4e-7f * (std::abs(cx) + std::abs(cy));
  const float half = static_cast<float>(tile) * (1.0f + kSlack);
  const float hx = static_cast<float>(0.5 * (x1 - x0)) + rounding;
  const float hy = static_cast<float>(0.5 * (y1 - y0)) + rounding;
  // The k-th largest of what sites in and around the rectangle have at least, everywhere in it.
  std::vector<float> lows;
  for (float around = 0.0f; static_cast<int>(lows.size()) < std::min(k, count) && around < 1e12f;
       around = 4.0f * around + 4.0f) {
    lows.clear();
    for (int i = 0; i < count; ++i) {
      const float* row = params + i * columns;
      const float dx = std::abs(row[kX] - cx), dy = std::abs(row[kY] - cy);
      if (dx > hx + around || dy > hy + around) continue;
      const Stretch s = stretch_of(row);
      const float far = s.most * (sad_sqrt((dx + hx) * (dx + hx) + (dy + hy) * (dy + hy)) + half);
      const float slack = kSlack * s.tau * (far + std::abs(row[kRadius])) + kLeast;
      const float low = s.tau * (row[kRadius] - far) - slack;
      lows.push_back(low > -3e38f ? low : -3e38f);
    }
  }
  float threshold = -3e38f;
  if (static_cast<int>(lows.size()) >= k) {
    std::nth_element(lows.begin(), lows.begin() + (k - 1), lows.end(), std::greater<float>());
    threshold = lows[k - 1];
  }
  std::vector<int> kept;
  for (int i = 0; i < count; ++i) {
    const float* row = params + i * columns;
    const float dx = sad_max(std::abs(row[kX] - cx) - hx, 0.0f);
    const float dy = sad_max(std::abs(row[kY] - cy) - hy, 0.0f);
    const Stretch s = stretch_of(row);
    const float near = s.least * sad_sqrt(dx * dx + dy * dy) - (rounding + half) * s.most;
    const float slack = kSlack * s.tau * (sad_max(near, 0.0f) + std::abs(row[kRadius])) + kLeast;
    const float up = s.tau * (row[kRadius] - sad_max(near, 0.0f)) + slack;
    if (!(up < threshold)) kept.push_back(i);  // also what has overflowed
  }
  return kept;
}

}  // namespace sad
