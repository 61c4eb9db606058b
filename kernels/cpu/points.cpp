#include "points.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <stdexcept>

namespace sad {
namespace {

constexpr int kFew = 64;       // points of a box that is not halved
constexpr int kCoarse = 4096;  // and of one that a thread takes
// Sites this far under a point's largest logit weigh less than the resolution of a sum in double.
constexpr double kCut = 45.0;
constexpr double kSlack = 1e-9;  // of bounds, relative; logits round at 1e-15

struct Bounds {
  double low[2], high[2];
};

}  // namespace

Points::Points(const double* params, int count, int channels, const double* points, int size, int k,
               int threads)
    : pool_(threads),
      count_(count),
      channels_(channels),
      size_(size),
      k_(k),
      params_(params, params + static_cast<size_t>(count) * (kColor + channels)),
      points_(points, points + 2 * static_cast<size_t>(size)),
      order_(size),
      left_(16 * (static_cast<int64_t>(size) + count) + (1 << 16)) {
  exact_.reserve(count);
  for (int i = 0; i < count; ++i)
    exact_.push_back(sad_prepare_exact(params + static_cast<size_t>(i) * (kColor + channels)));
  std::iota(order_.begin(), order_.end(), 0);
  if (size == 0) return;
  Box all{0, size, std::vector<int32_t>(count)};
  std::iota(all.sites.begin(), all.sites.end(), 0);
  std::vector<Box> coarse;
  split(std::move(all), kCoarse, &coarse);
  std::vector<std::vector<Box>> fine(coarse.size());
  pool_.run(static_cast<int>(coarse.size()),
            [&](int i, int) { split(std::move(coarse[i]), kFew, &fine[i]); });
  for (auto& some : fine)
    for (Box& box : some) boxes_.push_back(std::move(box));
}

// Appends the boxes of at most `most` points that a box, whose sites are of the one around it, is
// made of; more points in one place stay together.
void Points::split(Box box, int most, std::vector<Box>* out) {
  Bounds b{{1e300, 1e300}, {-1e300, -1e300}};
  for (int i = box.begin; i < box.end; ++i) {
    const double* at = points_.data() + 2 * static_cast<size_t>(order_[i]);
    for (int axis = 0; axis < 2; ++axis) {
      b.low[axis] = std::min(b.low[axis], at[axis]);
      b.high[axis] = std::max(b.high[axis], at[axis]);
    }
  }
  box.sites = near(b.low, b.high, box.sites);
  const int axis = b.high[1] - b.low[1] > b.high[0] - b.low[0];
  if (box.end - box.begin <= most || !(b.high[axis] > b.low[axis])) {
    if (most == kFew && (left_ -= static_cast<int64_t>(box.sites.size())) < 0)
      throw std::length_error("too many sites matter at a point");
    out->push_back(std::move(box));
    return;
  }
  const int middle = box.begin + (box.end - box.begin) / 2;
  const auto before = [&](int32_t i, int32_t j) {
    const double x = points_[2 * static_cast<size_t>(i) + axis];
    const double y = points_[2 * static_cast<size_t>(j) + axis];
    return x < y || (x == y && i < j);
  };
  std::nth_element(order_.begin() + box.begin, order_.begin() + middle, order_.begin() + box.end,
                   before);
  split(Box{box.begin, middle, box.sites}, most, out);
  split(Box{middle, box.end, std::move(box.sites)}, most, out);
}

// The sites of `sites`, ascending, that can be in the top K of a point between two corners.
std::vector<int32_t> Points::near(const double* low, const double* high,
                                  const std::vector<int32_t>& sites) const {
  const size_t n = sites.size();
  if (n <= static_cast<size_t>(k_)) return sites;
  const double cx = 0.5 * (low[0] + high[0]), cy = 0.5 * (low[1] + high[1]);
  const double hx = 0.5 * (high[0] - low[0]), hy = 0.5 * (high[1] - low[1]);
  std::vector<double> lower(n), upper(n);
  for (size_t i = 0; i < n; ++i) {
    const double* row = params_.data() + static_cast<size_t>(sites[i]) * (kColor + channels_);
    const ExactSite& s = exact_[sites[i]];
    const double dx = cx - row[kX], dy = cy - row[kY], cross = 2.0 * s.g01;
    const double xx = s.g00 * dx * dx, xy = cross * dx * dy, yy = s.g11 * dy * dy;
    const double d = std::sqrt(std::max(xx + xy + yy, 0.0));
    const double reach = std::sqrt(s.g00 * hx * hx + std::abs(cross) * hx * hy + s.g11 * hy * hy);
    // Rounding is relative to the terms of the squared distance, not to their sum.
    const double terms = std::sqrt(xx + std::abs(xy) + yy);
    const double slack = kSlack * s.tau * (terms + reach + std::abs(row[kRadius])) + 1e-300;
    lower[i] = s.tau * (row[kRadius] - (d + reach)) - slack;
    upper[i] = s.tau * (row[kRadius] - std::max(d - reach, 0.0)) + slack;
  }
  const double best = *std::max_element(lower.begin(), lower.end());
  std::nth_element(lower.begin(), lower.begin() + (k_ - 1), lower.end(), std::greater<double>());
  const double threshold = std::max(lower[k_ - 1], best - kCut);
  std::vector<int32_t> kept;
  for (size_t i = 0; i < n; ++i)
    if (!(upper[i] < threshold)) kept.push_back(sites[i]);  // also what has overflowed
  return kept;
}

// The top K of a box's sites at a point: places in the box's list, and their weights, of sum 1.
int Points::weigh(const Box& box, const double* point, double* weights, int* top) const {
  int n = 0;
  for (size_t i = 0; i < box.sites.size(); ++i) {
    const double* row = params_.data() + static_cast<size_t>(box.sites[i]) * (kColor + channels_);
    const double l = sad_logit_exact(point[0], point[1], row, exact_[box.sites[i]]);
    n = sad_insert_pair(weights, top, n, k_, l, static_cast<int>(i));
  }
  const double maximum = weights[0];
  double total = 0.0;
  for (int j = 0; j < n; ++j) total += weights[j] = sad_exp(weights[j] - maximum);
  for (int j = 0; j < n; ++j) weights[j] /= total;
  return n;
}

void Points::mix(const Box& box, const double* weights, const int* top, int n, double* out) const {
  std::fill_n(out, channels_, 0.0);
  for (int j = 0; j < n; ++j) {
    const double* row =
        params_.data() + static_cast<size_t>(box.sites[top[j]]) * (kColor + channels_);
    for (int c = 0; c < channels_; ++c) out[c] += weights[j] * row[kColor + c];
  }
}

void Points::blend(double* out) {
  pool_.run(static_cast<int>(boxes_.size()), [&](int b, int) {
    const Box& box = boxes_[b];
    double weights[kMaxK];
    int top[kMaxK];
    for (int i = box.begin; i < box.end; ++i) {
      const size_t point = static_cast<size_t>(order_[i]);
      const int n = weigh(box, points_.data() + 2 * point, weights, top);
      mix(box, weights, top, n, out + point * channels_);
    }
  });
}

void Points::pull_back(const double* cotangent, double* params, double* points) {
  const int n_columns = kColor + channels_;
  std::vector<size_t> rows(boxes_.size() + 1, 0);
  for (size_t b = 0; b < boxes_.size(); ++b) rows[b + 1] = rows[b] + boxes_[b].sites.size();
  std::vector<double> sums(rows.back() * n_columns, 0.0);
  pool_.run(static_cast<int>(boxes_.size()), [&](int b, int) {
    const Box& box = boxes_[b];
    double weights[kMaxK], color[kMaxChannels];
    int top[kMaxK];
    for (int i = box.begin; i < box.end; ++i) {
      const size_t point = static_cast<size_t>(order_[i]);
      const double *at = points_.data() + 2 * point, *g = cotangent + point * channels_;
      const int n = weigh(box, at, weights, top);
      mix(box, weights, top, n, color);
      double slope_x = 0.0, slope_y = 0.0;
      for (int j = 0; j < n; ++j) {
        const int32_t site = box.sites[top[j]];
        const double* row = params_.data() + static_cast<size_t>(site) * n_columns;
        const ExactSite& s = exact_[site];
        double* sum = sums.data() + (rows[b] + top[j]) * n_columns;
        double gl = 0.0;
        for (int c = 0; c < channels_; ++c) {
          gl += g[c] * (row[kColor + c] - color[c]);
          sum[kSColor + c] += weights[j] * g[c];
        }
        gl *= weights[j];
        const double dx = at[0] - row[kX], dy = at[1] - row[kY];
        const double ux = s.g00 * dx + s.g01 * dy, uy = s.g01 * dx + s.g11 * dy;
        const double d = std::sqrt(std::max(ux * dx + uy * dy, 0.0));
        sad_accumulate(sum, gl, d, dx, dy);
        const double h = s.tau * gl / std::max(d, 1e-6);
        slope_x -= h * ux;
        slope_y -= h * uy;
      }
      points[2 * point] = slope_x;
      points[2 * point + 1] = slope_y;
    }
  });
  std::vector<double> totals(static_cast<size_t>(count_) * n_columns, 0.0);
  for (size_t b = 0; b < boxes_.size(); ++b) {
    for (size_t i = 0; i < boxes_[b].sites.size(); ++i) {
      double* total = totals.data() + static_cast<size_t>(boxes_[b].sites[i]) * n_columns;
      const double* sum = sums.data() + (rows[b] + i) * n_columns;
      for (int c = 0; c < n_columns; ++c) total[c] += sum[c];
    }
  }
  for (size_t i = 0; i < static_cast<size_t>(count_); ++i)
    sad_parameter_gradient<double>(params_.data() + i * n_columns, channels_,
                                   totals.data() + i * n_columns, params + i * n_columns);
}

}  // namespace sad
