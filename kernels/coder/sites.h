// The quantized sites as columns of integers, the quantizer and the limits every column obeys.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "integer_math.h"

namespace sad::coder {

// What a hostile file can state, and why no product of it overflows. Symbols are checked against
// their limits as they are decoded, before anything is computed from them; coefficients and header
// fields before that. The largest intermediate results in 63 bits (widths in bits):
//   position counts     24 sites, 37 keys of half a node: 61
//   log_tau prediction  20 coefficient, 30 mean in Q16, 3 terms: 52
//   step classes        8 gain, 30 step x excess in Q16, 17 log2(e): 55
//   colour metric       44 form of offsets cut to 13, 16 ratio of tau^2, cut to 8 octaves: 60
//   colour regression   16 weights, 20 + 20 step of the first axis, 2: 58
// Residuals have 35 bits in the zstd profile and 25 in the range profile, and are added once. Loops
// run over sites, neighbours (12) or bits; recursion is at most 8 deep (BoxTree) and 3 (models).
constexpr int64_t kMaxSites = int64_t(1) << 24;
constexpr int64_t kMaxGrid = int64_t(1)
                             << 19;  // cells along one axis: keeps squared distances under 2^39
constexpr int64_t kMaxColor = int64_t(8) << 26;  // |colour| <= 8 in Q26

struct Quantizer {
  int64_t step_position = 0, step_log_tau = 0, step_log_anisotropy = 0, step_angle = 0,
          step_radius = 0;
  int64_t distance_gain = 0, tau_gain = 0;
  std::vector<int64_t> step_color;
  int64_t grid_width = 0, grid_height = 0;

  bool has_radius() const { return step_radius > 0; }
  int channels() const { return static_cast<int>(step_color.size()); }
  // Largest magnitudes of the symbols: 10, 6 and 1024 px in units of the steps.
  int64_t max_log_tau() const { return 10 * 1024 / step_log_tau; }
  int64_t max_log_anisotropy() const { return 6 * 1024 / step_log_anisotropy; }
  int64_t max_radius() const { return step_radius > 0 ? 1024 * 1024 / step_radius : 0; }

  // fields: position, log_tau, log_anisotropy, angle, radius, distance gain, tau gain, then one
  // step per colour axis.
  static Quantizer make(int64_t width, int64_t height, const std::vector<int64_t>& fields) {
    if (fields.size() < 8 || fields.size() > 11)
      throw std::invalid_argument("quantizer needs 8 to 11 fields");
    for (size_t i = 0; i < fields.size(); ++i) {
      const int64_t most = i == 5 || i == 6 ? 255 : 65535;
      const int64_t least = i == 4 || i == 5 || i == 6 ? 0 : 1;
      if (fields[i] < least || fields[i] > most)
        throw std::invalid_argument("quantizer field out of range");
    }
    if (width < 1 || height < 1 || width > INT32_MAX || height > INT32_MAX)
      throw std::invalid_argument("image size out of range");
    Quantizer q;
    q.step_position = fields[0];
    q.step_log_tau = fields[1];
    q.step_log_anisotropy = fields[2];
    q.step_angle = fields[3];
    q.step_radius = fields[4];
    q.distance_gain = fields[5];
    q.tau_gain = fields[6];
    q.step_color.assign(fields.begin() + 7, fields.end());
    q.grid_width = (width * 1024 + q.step_position - 1) / q.step_position;
    q.grid_height = (height * 1024 + q.step_position - 1) / q.step_position;
    if (q.grid_width > kMaxGrid || q.grid_height > kMaxGrid)
      throw std::invalid_argument("position grid too large");
    return q;
  }
};

// Columns of n sites; color is row-major [n, channels].
struct SiteColumns {
  std::vector<int32_t> x, y, log_tau, log_anisotropy, angle, radius, color;

  size_t size() const { return x.size(); }
};

enum Column { kPosition, kLogTau, kLogAnisotropy, kAngle, kRadius, kColor0 };
constexpr int kMaxColumns = kColor0 + 4;

}  // namespace sad::coder
