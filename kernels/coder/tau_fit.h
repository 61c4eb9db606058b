// Least-squares coefficients of the log_tau prediction. Encoder only: the decoder reads them as
// integers.
#pragma once

#include <cmath>
#include <utility>

#include "tau_predictor.h"

namespace sad::coder {

inline TauPredictor fit_tau_predictor(const std::vector<SiteNeighbours>& near,
                                      const std::vector<int32_t>& log_tau) {
  constexpr int kTerms = 4;
  double a[kTerms][kTerms + 1] = {};
  for (size_t i = 0; i < near.size(); ++i) {
    const SiteNeighbours& site = near[i];
    if (site.coded_count == 0) continue;
    const double row[kTerms + 1] = {
        site.mean([&](int32_t j) { return int64_t(log_tau[j]) * 65536; }) / 65536.0,
        site.spacing / 65536.0, site.mean([&](int32_t j) { return near[j].spacing; }) / 65536.0,
        1.0, double(log_tau[i])};
    for (int r = 0; r < kTerms; ++r)
      for (int c = 0; c <= kTerms; ++c) a[r][c] += row[r] * row[c];
  }
  for (int r = 0; r < kTerms; ++r) a[r][r] += 1e-3;  // keeps degenerate inputs solvable
  for (int r = 0; r < kTerms; ++r) {
    int pivot = r;
    for (int i = r + 1; i < kTerms; ++i)
      if (std::fabs(a[i][r]) > std::fabs(a[pivot][r])) pivot = i;
    for (int c = 0; c <= kTerms; ++c) std::swap(a[r][c], a[pivot][c]);
    for (int i = 0; i < kTerms; ++i) {
      if (i == r || a[r][r] == 0) continue;
      const double f = a[i][r] / a[r][r];
      for (int c = r; c <= kTerms; ++c) a[i][c] -= f * a[r][c];
    }
  }
  int32_t q8[kTerms];
  for (int r = 0; r < kTerms; ++r) {
    const double value = a[r][r] == 0 ? 0 : a[r][kTerms] / a[r][r] * 256.0;
    q8[r] = std::isfinite(value) ? static_cast<int32_t>(std::lround(std::fmin(
                                       std::fmax(value, -kMaxCoefficient), kMaxCoefficient)))
                                 : 0;
  }
  return {q8[0], q8[1], q8[2], q8[3]};
}

}  // namespace sad::coder
