// log_tau is predicted as gamma + alpha T + beta L + delta M: T and M are the means of symbol and
// spacing over coded neighbours, L is the site's own spacing.
#pragma once

#include <algorithm>
#include <cstdint>

#include "geometry.h"

namespace sad::coder {

constexpr int32_t kMaxCoefficient = 1 << 20;

struct TauPredictor {
  int32_t alpha = 0, beta = 0, delta = 0, gamma = 0;  // Q8

  // T, L, M in Q16; the result is a Q16 symbol.
  int64_t operator()(int64_t neighbour_tau, int64_t spacing, int64_t neighbour_spacing) const {
    return int64_t(gamma) * 256 +
           ((alpha * neighbour_tau + beta * spacing + delta * neighbour_spacing) >> 8);
  }
};

}  // namespace sad::coder
