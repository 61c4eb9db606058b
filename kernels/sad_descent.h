// What a move of one site does to a pixel, and which moves there are: the mathematics of the
// integer descent (see `Refiner` in backends/base.py), one pixel or one site at a time.
//
// For a site under trial a pixel's other sites do not change, so they are summed up once: the K - 1
// best others, and the K-th, which is blended only while the site is not. A trial then costs one
// logit, one exp and one blend a pixel.
#ifndef SAD_DESCENT_H_
#define SAD_DESCENT_H_

#include "sad_core.h"

namespace sad {

constexpr int kListLength = 12;         // sites that a pixel keeps
constexpr float kMaxAxis = 4.0f;        // largest colour on one axis; the bitstream allows 8
constexpr double kLeastGain = 1e-6;     // share of the cost that a move must save: less is rounding
constexpr float kLeastSquare = 1e-12f;  // sum of squared weights under which a site is not seen
constexpr float kMaxColorStep = 64.0f;  // symbols
constexpr double kRidge = 1e-4;         // towards the present colours, in the least squares

// Columns of a symbol row; those of the colour axes follow.
enum RowColumn {
  kRowX = 0,
  kRowY,
  kRowLogTau,
  kRowAnisotropy,
  kRowAngle,
  kRowRadius,
  kRowColor,
  kMaxRow = kRowColor + kMaxChannels
};

// ---- A pixel without one of its sites -------------------------------------------------------

// More that a logit is above all others makes no difference, and 1 / e^88 would be subnormal: with
// -ftz=true, which CuPy adds, it is 0.
constexpr float kMostAbove = 80.0f;

// Sums over the best others, relative to the reference logit; colours are padded to four channels.
struct Others {
  float reference;  // largest logit of another site; the site's own where it is alone
  float total;      // of the weights of the K - 1 best
  float threshold;  // logit of the K-th: under it the site is not blended
  float last;       // weight of the K-th
  float blend[kMaxChannels], last_blend[kMaxChannels];
};

SAD_FN void sad_no_others(float own_logit, Others* out) {
  out->reference = own_logit;
  out->total = out->last = 0.0f;
  out->threshold = -3e38f;
  for (int c = 0; c < kMaxChannels; ++c) out->blend[c] = out->last_blend[c] = 0.0f;
}

// Add the other site that comes `number`-th, from 0 to k - 1, by descending logit.
SAD_FN void sad_add_other(Others* out, int number, int k, float logit, const float* color) {
  if (number == 0) out->reference = logit;
  const float w = sad_exp(logit - out->reference);
  if (number < k - 1) {
    out->total = out->total + w;
    for (int c = 0; c < kMaxChannels; ++c) out->blend[c] = out->blend[c] + w * color[c];
  } else {
    out->threshold = logit;
    out->last = w;
    for (int c = 0; c < kMaxChannels; ++c) out->last_blend[c] = w * color[c];
  }
}

// The pixel's value with a site of this logit and colour; returns the site's weight.
SAD_FN float sad_value_with(const Others& others, float logit, const float* color, float* value) {
  const bool in = logit > others.threshold;
  const float w = sad_exp(sad_min(logit - others.reference, kMostAbove));
  const float inverse = 1.0f / (others.total + (in ? w : others.last));
  for (int c = 0; c < kMaxChannels; ++c)
    value[c] = (others.blend[c] + (in ? w * color[c] : others.last_blend[c])) * inverse;
  return in ? w * inverse : 0.0f;
}

SAD_FN float sad_clamped_error(const float* value, const float* target) {
  float sum = 0.0f;
  for (int c = 0; c < kMaxChannels; ++c) {
    const float e = sad_min(sad_max(value[c], 0.0f), 1.0f) - target[c];
    sum = sum + e * e;
  }
  return sum;
}

// A sum of many numbers in float (W. Kahan, 1965): what rounding loses is added later.
struct LongSum {
  float sum, lost;
};
SAD_FN void sad_add(LongSum* to, float x) {
  const float y = x - to->lost, t = to->sum + y;
  to->lost = (t - to->sum) - y;
  to->sum = t;
}

// ---- Moves ----------------------------------------------------------------------------------

// Halves go away from zero.
SAD_FN int sad_nearest(double x) { return static_cast<int>(x < 0.0 ? x - 0.5 : x + 0.5); }

// Move one symbol of the geometry; false where it may not. bounds [6][2]: least and largest symbol
// of each column. first_angle [L + 1]: directions of the log_anisotropy symbols before each.
SAD_FN bool sad_move_symbol(int* row, int column, int delta, const int* bounds,
                            const int* first_angle) {
  const int value = row[column] + delta, at = row[kRowAnisotropy];
  const int levels = first_angle[at + 1] - first_angle[at];
  if (column == kRowAngle) {
    row[kRowAngle] = (value + levels) % levels;
    return levels > 1;
  }
  if (value < bounds[2 * column] || value > bounds[2 * column + 1]) return false;
  if (column == kRowAnisotropy) {  // the nearest direction among the new levels
    const long long to = first_angle[value + 1] - first_angle[value];
    row[kRowAngle] = static_cast<int>((2ll * row[kRowAngle] * to + levels) / (2 * levels) % to);
  }
  row[column] = value;
  return true;
}

// Colour of the symbols on the axes, padded with zeros; false if one of them is too large.
SAD_FN bool sad_symbol_color(const int* symbols, const float* steps, const float* axes,
                             int channels, float* color) {
  bool allowed = true;
  for (int c = 0; c < kMaxChannels; ++c) color[c] = 0.0f;
  for (int j = 0; j < channels; ++j) {
    const float value = static_cast<float>(symbols[j]) * steps[j];
    allowed = allowed && value <= kMaxAxis && value >= -kMaxAxis;
    for (int c = 0; c < channels; ++c) color[c] = color[c] + value * axes[j * channels + c];
  }
  return allowed;
}

// The three changes of a colour symbol that are tried, in this order, 0 for none: the nearest to
// the least-squares optimum, then those one up and down, where they may be cheaper or are nearest.
SAD_FN void sad_color_moves(float ideal, bool costed, int* moves) {
  ideal = sad_min(sad_max(ideal, -kMaxColorStep), kMaxColorStep);
  const int side = ideal > 0.0f ? 1 : -1;
  moves[0] = sad_nearest(ideal);
  moves[1] = costed || moves[0] == 0 ? side : 0;
  moves[2] = costed ? -side : 0;
}

}  // namespace sad
#endif  // SAD_DESCENT_H_
