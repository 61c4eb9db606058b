// Colour prediction: means over coded neighbours weighted by distance in both sites' metrics, and
// the local line of colours along which chroma follows luma.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "geometry.h"
#include "integer_math.h"
#include "sites.h"

namespace sad::coder {

// tau^2 G of a site: the shape in Q8 and the logarithm of the scale.
struct Metric {
  int64_t xx, yy, xy;
  int64_t log2_tau2;  // Q16

  Metric() = default;
  Metric(const Quantizer& q, int32_t log_tau, int32_t log_anisotropy, int32_t angle,
         int32_t levels) {
    const int64_t exponent = (log_anisotropy * q.step_log_anisotropy * kLog2E) >> 10;
    const int64_t grow = iexp2(exponent);
    const int64_t shrink = iexp2(-exponent);
    const int64_t cosh = (grow + shrink) >> 9;
    const int64_t sinh = (grow - shrink) >> 9;
    const auto turn = static_cast<int32_t>((int64_t(angle) << 16) / levels);  // twice the direction
    const int64_t p = (sinh * icos(turn)) >> 14;
    xx = cosh + p;
    yy = cosh - p;
    xy = (sinh * isin(turn)) >> 14;
    log2_tau2 = (2 * log_tau * q.step_log_tau * kLog2E) >> 10;
  }

  int64_t form(int64_t dx, int64_t dy) const {
    return std::max<int64_t>(0, xx * dx * dx + yy * dy * dy + 2 * xy * dx * dy);
  }
};

class ColorPredictor {
 public:
  ColorPredictor(const SiteColumns& sites, const std::vector<SiteNeighbours>& near,
                 const std::vector<Metric>& metric, std::vector<int64_t>& values, int channels)
      : sites_(sites), near_(near), metric_(metric), values_(values), channels_(channels) {}

  // Weights of the neighbours of site i; values of the sites before it must be known.
  void start(size_t i) {
    site_ = i;
    const SiteNeighbours& near = near_[i];
    count_ = near.coded_count;
    total_ = 0;
    if (count_ == 0) return;
    int64_t reach = 0;
    for (int k = 0; k < count_; ++k)
      reach = std::max({reach, std::abs(dx(near.coded[k])), std::abs(dy(near.coded[k]))});
    const int shift = std::max(0, bit_length(static_cast<uint64_t>(reach)) - 13);
    int64_t distance[kNearestCoded];
    int64_t nearest = INT64_MAX;
    int64_t farthest = 0;
    for (int k = 0; k < count_; ++k) {
      const int32_t j = near.coded[k];
      const int64_t sharper =
          std::clamp<int64_t>(metric_[j].log2_tau2 - metric_[i].log2_tau2, -8 * 65536, 8 * 65536);
      const int64_t x = dx(j) >> shift;
      const int64_t y = dy(j) >> shift;
      const int64_t d =
          metric_[i].form(x, y) + ((metric_[j].form(x, y) * (iexp2(sharper) >> 8)) >> 8);
      distance[k] = std::min(d, int64_t(1) << 47);
      farthest = std::max(farthest, distance[k]);
      if (distance[k] < nearest) {
        nearest = distance[k];
        nearest_ = j;
      }
    }
    // Shifted so that 32 bits suffice.
    const int narrow = std::max(0, bit_length(static_cast<uint64_t>(farthest + 8 * nearest)) - 20);
    const auto unit = static_cast<uint32_t>(nearest >> narrow);
    for (int k = 0; k < count_; ++k) {
      const auto d = static_cast<uint32_t>(distance[k] >> narrow);
      weight_[k] = ((9 * unit + 1) << 11) / (d + 8 * unit + 1);
      total_ += weight_[k];
    }
  }

  // Floor of the weighted mean of value(j); 0 without neighbours.
  template <class Value>
  int64_t mean(Value&& value) const {
    if (count_ == 0) return 0;
    int64_t sum = 0;
    for (int k = 0; k < count_; ++k) sum += weight_[k] * value(near_[site_].coded[k]);
    return floor_div(sum, total_);
  }

  // Predicted value (Q26) of axis c; the axes before it must be known. unit: the site's step on
  // axis 0.
  int64_t predict(int c, int64_t unit) {
    mean_[c] = mean([&](int32_t j) { return values_[size_t(j) * channels_ + c]; });
    if (c == 0 || c == 3 || count_ == 0) return mean_[c];
    const int64_t stiffness = 4 * total_ * (unit >> 12) * (unit >> 12);
    int64_t covariance = 0;
    int64_t variance = stiffness;
    for (int k = 0; k < count_; ++k) {
      const int64_t luma = deviation(k, 0);
      covariance += weight_[k] * luma * deviation(k, c);
      variance += weight_[k] * luma * luma;
    }
    slope_[c] = slope(covariance, variance);
    const int64_t luma = own(0) - mean_[0];
    int64_t result = mean_[c] + ((slope_[c] * luma) >> 12);
    if (c == 1) return result;
    // What is left of the second axis explains more of the third.
    covariance = 0;
    variance = stiffness;
    for (int k = 0; k < count_; ++k) {
      const int64_t rest = deviation(k, 1) - ((slope_[1] * deviation(k, 0)) >> 12);
      covariance += weight_[k] * rest * (deviation(k, 2) - ((slope_[2] * deviation(k, 0)) >> 12));
      variance += weight_[k] * rest * rest;
    }
    const int64_t rest = own(1) - mean_[1] - ((slope_[1] * luma) >> 12);
    return result + ((slope(covariance, variance) * rest) >> 12);
  }

  // Mean absolute deviation of the neighbours' values from their mean.
  int64_t spread(int c) const {
    return mean([&](int32_t j) { return std::abs(values_[size_t(j) * channels_ + c] - mean_[c]); });
  }

  // The most similar neighbour's value against the mean of all.
  int64_t nearest_offset(int c) const {
    return count_ == 0 ? 0 : values_[size_t(nearest_) * channels_ + c] - mean_[c];
  }

 private:
  int64_t dx(int32_t j) const { return int64_t(sites_.x[j]) - sites_.x[site_]; }
  int64_t dy(int32_t j) const { return int64_t(sites_.y[j]) - sites_.y[site_]; }
  int64_t own(int c) const { return values_[site_ * channels_ + c]; }
  int64_t deviation(int k, int c) const {
    return (values_[size_t(near_[site_].coded[k]) * channels_ + c] - mean_[c]) >> 12;
  }

  // Q12, at most 4 either way.
  static int64_t slope(int64_t covariance, int64_t variance) {
    return std::clamp<int64_t>(covariance / ((variance >> 12) + 1), -16384, 16384);
  }

  const SiteColumns& sites_;
  const std::vector<SiteNeighbours>& near_;
  const std::vector<Metric>& metric_;
  std::vector<int64_t>& values_;
  int channels_;
  size_t site_ = 0;
  int count_ = 0;
  int32_t nearest_ = 0;
  int32_t weight_[kNearestCoded] = {};
  int64_t total_ = 0;
  int64_t mean_[4] = {};
  int64_t slope_[4] = {};
};

}  // namespace sad::coder
