// Every column after the positions: prediction, contexts and residual, the same for both profiles
// and directions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "color_predictor.h"
#include "geometry.h"
#include "residual_coder.h"
#include "sites.h"
#include "tau_predictor.h"

namespace sad::coder {

constexpr int64_t kOne = 65536;

// Half-octave class of a magnitude in units of unit / 16.
inline int scale_class(int64_t magnitude, int64_t unit) {
  const int64_t v = 16 * magnitude / unit;
  if (v < 2) return static_cast<int>(v);
  const int e = bit_length(static_cast<uint64_t>(v)) - 1;
  return std::min(2 * e + static_cast<int>((v >> (e - 1)) & 1), kScales - 1);
}

// Nine classes of a signed quantity, 4 around zero, borders at 1/4, 3/4, 6/4 and 14/4 units.
inline int offset_class(int64_t value, int64_t unit) {
  const int64_t v = 4 * std::abs(value) / unit;
  const int m = v < 1 ? 0 : (v < 3 ? 1 : (v < 6 ? 2 : (v < 14 ? 3 : 4)));
  return value < 0 ? 4 - m : 4 + m;
}

// 0, 1, 2-3, more.
inline int size_class(int64_t residual) {
  const int64_t m = std::abs(residual);
  return m < 2 ? static_cast<int>(m) : (m < 4 ? 2 : 3);
}

inline int32_t checked(int64_t value, int64_t low, int64_t high, const char* message) {
  if (value < low || value > high) throw CorruptPayload(message);
  return static_cast<int32_t>(value);
}

// Sink: residual(column, context, value) and direction(context, value, levels) code one integer and
// return it.
template <class Sink>
class ColumnCoder {
 public:
  ColumnCoder(Sink& sink, const Quantizer& q, const TauPredictor& tau,
              const std::vector<SiteNeighbours>& near, int64_t reference, SiteColumns& sites)
      : sink_(sink),
        q_(q),
        tau_(tau),
        near_(near),
        reference_(reference),
        sites_(sites),
        error_(near.size()) {}

  void run() {
    code_log_tau();
    code_log_anisotropy();
    code_angle();
    if (q_.has_radius()) code_radius();
    code_color();
  }

 private:
  size_t size() const { return near_.size(); }

  // Mean magnitude of the neighbours' residuals, Q16.
  int64_t energy(const SiteNeighbours& site) const {
    return site.mean([&](int32_t j) { return error_[j]; });
  }
  void remember(size_t i, int64_t residual) {
    error_[i] = std::min<int64_t>(std::abs(residual), 1 << 20) * kOne;
  }

  void code_log_tau() {
    const int64_t limit = q_.max_log_tau();
    auto& tau = sites_.log_tau;
    for (size_t i = 0; i < size(); ++i) {
      const SiteNeighbours& site = near_[i];
      const int64_t mean = site.mean([&](int32_t j) { return tau[j] * kOne; });
      const int64_t spacing = site.mean([&](int32_t j) { return near_[j].spacing; });
      const Rounded p = round_quotient(tau_(mean, site.spacing, spacing), kOne);
      const int64_t predicted = std::clamp(p.value, -limit, limit);
      const int64_t nearest = site.coded_count ? tau[site.coded[0]] * kOne - mean : 0;
      const int sign = offset_class(nearest, kOne) * 3 + p.third;
      const int64_t r = sink_.residual(kLogTau, {scale_class(energy(site), kOne), 0, sign, p.third},
                                       tau[i] - predicted);
      tau[i] = checked(predicted + r, -limit, limit, "log_tau out of range");
      remember(i, r);
    }
  }

  // Contexts are in absolute units, so that they mean the same at every step.
  void code_log_anisotropy() {
    const int64_t limit = q_.max_log_anisotropy();
    auto& a = sites_.log_anisotropy;
    const auto& tau = sites_.log_tau;
    for (size_t i = 0; i < size(); ++i) {
      const SiteNeighbours& site = near_[i];
      const Rounded p = round_quotient(site.mean([&](int32_t j) { return a[j] * kOne; }), kOne);
      const int elongation =
          static_cast<int>(std::min<int64_t>((p.value * q_.step_log_anisotropy) >> 8, 15));
      const int sharpness =
          static_cast<int>(std::clamp<int64_t>(((tau[i] * q_.step_log_tau) >> 9) + 10, 0, 15));
      const int64_t excess =
          tau[i] * kOne - site.mean_any([&](int32_t j) { return tau[j] * kOne; });
      const int relative = offset_class(excess * q_.step_log_tau, 768 * kOne);
      const ResidualContext context{scale_class(energy(site), kOne), sharpness * 16 + elongation,
                                    elongation * 3 + p.third,
                                    std::min(sharpness, 13) * 9 + relative};
      const int64_t r = sink_.residual(kLogAnisotropy, context, a[i] - p.value);
      a[i] = checked(p.value + r, 0, limit, "log_anisotropy out of range");
      remember(i, r);
    }
  }

  // Predicted by the neighbours' mean double-angle vector, whose length tells how far they agree.
  void code_angle() {
    levels_.resize(static_cast<size_t>(q_.max_log_anisotropy()) + 1);
    for (size_t a = 0; a < levels_.size(); ++a)
      levels_[a] = angle_levels(static_cast<int64_t>(a), q_.step_log_anisotropy, q_.step_angle);
    std::vector<int32_t> p(size());
    std::vector<int32_t> q(size());
    for (size_t i = 0; i < size(); ++i) {
      const int32_t n = levels_[sites_.log_anisotropy[i]];
      const int64_t a = sites_.log_anisotropy[i] * q_.step_log_anisotropy;  // in 1/1024
      const int64_t mean_p = near_[i].mean([&](int32_t j) { return p[j]; });
      const int64_t mean_q = near_[i].mean([&](int32_t j) { return q[j]; });
      const int32_t turn = iatan2(mean_q, mean_p);
      const auto zero = static_cast<int32_t>(((int64_t(turn) * n + 32768) >> 16) % n);
      int32_t v = sites_.angle[i] - zero;
      if (v < 0) v += n;
      v = sink_.direction({coherence_class(mean_p, mean_q), elongation_class(a), turn >> 12}, v, n);
      sites_.angle[i] = checked((int64_t(v) + zero) % n, 0, n - 1, "angle out of range");
      const auto own = static_cast<int32_t>((int64_t(sites_.angle[i]) << 16) / n);
      p[i] = static_cast<int32_t>((a * icos(own)) >> 14);
      q[i] = static_cast<int32_t>((a * isin(own)) >> 14);
    }
  }

  static int coherence_class(int64_t p, int64_t q) {
    constexpr int64_t kBorders[kCoherences - 1] = {120, 250,  400,  560,  720,
                                                   900, 1100, 1300, 1600, 2000};
    const int64_t length =
        std::max(std::abs(p), std::abs(q)) + std::min(std::abs(p), std::abs(q)) / 2;
    return static_cast<int>(std::lower_bound(kBorders, kBorders + kCoherences - 1, length) -
                            kBorders);
  }
  static int elongation_class(int64_t a) {
    return a < 500 ? 0 : (a < 900 ? 1 : (a < 1300 ? 2 : (a < 1700 ? 3 : (a < 2200 ? 4 : 5))));
  }

  void code_radius() {
    const int64_t limit = q_.max_radius();
    auto& radius = sites_.radius;
    for (size_t i = 0; i < size(); ++i) {
      const SiteNeighbours& site = near_[i];
      const int64_t mean = site.mean([&](int32_t j) { return radius[j] * kOne; });
      const Rounded p = round_quotient(mean, kOne);
      const int64_t nearest = site.coded_count ? radius[site.coded[0]] * kOne - mean : 0;
      const int sign = offset_class(nearest, kOne) * 3 + p.third;
      const int64_t r = sink_.residual(kRadius, {scale_class(energy(site), kOne), 0, sign, p.third},
                                       radius[i] - p.value);
      radius[i] = checked(p.value + r, -limit, limit, "radius out of range");
      remember(i, r);
    }
  }

  // Sites have steps of their own, so values are compared in Q26.
  void code_color() {
    const int channels = q_.channels();
    const std::vector<int8_t> classes = color_classes(near_, sites_.log_tau, q_, reference_);
    std::vector<Metric> metric(size());
    std::vector<int64_t> values(size() * channels);
    std::vector<int64_t> errors(size() * channels);
    ColorPredictor predictor(sites_, near_, metric, values, channels);
    for (size_t i = 0; i < size(); ++i) {
      const int32_t a = sites_.log_anisotropy[i];
      metric[i] = Metric(q_, sites_.log_tau[i], a, sites_.angle[i], levels_[a]);
      predictor.start(i);
      int64_t previous = 0;
      for (int c = 0; c < channels; ++c) {
        const int64_t unit = q_.step_color[c] * kClassScale[classes[i]];
        const int64_t limit = kMaxColor / unit;
        const int64_t value = predictor.predict(c, q_.step_color[0] * kClassScale[classes[i]]);
        const Rounded p = round_quotient(value, unit);
        const int64_t predicted = std::clamp(p.value, -limit, limit);
        const int64_t energy =
            predictor.mean([&](int32_t j) { return errors[size_t(j) * channels + c]; });
        const int offset = offset_class(predictor.nearest_offset(c), unit);
        const ResidualContext context{
            scale_class(energy, unit),
            scale_class(predictor.spread(c) + energy, 2 * unit) / 2 * 4 + size_class(previous),
            offset * 3 + p.third, 9 * offset_class(previous, 1) + offset};
        int32_t& symbol = sites_.color[i * channels + c];
        const int64_t r = sink_.residual(kColor0 + c, context, symbol - predicted);
        symbol = checked(predicted + r, -limit, limit, "colour out of range");
        values[i * channels + c] = symbol * unit;
        errors[i * channels + c] = std::abs(symbol * unit - value);
        previous = r;
      }
    }
  }

  Sink& sink_;
  const Quantizer& q_;
  TauPredictor tau_;
  const std::vector<SiteNeighbours>& near_;
  int64_t reference_;  // spacing of step class 0
  SiteColumns& sites_;
  std::vector<int64_t> error_;
  std::vector<int32_t> levels_;
};

}  // namespace sad::coder
