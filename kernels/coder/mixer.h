// Logistic mixing: several adaptive bits predict one bin, and weights learn which of them to
// believe.
#pragma once

#include <algorithm>
#include <cstdint>

#include "range_coder.h"

namespace sad::coder {

// 65536 / (1 + exp(-d / 256)) at d = -2048, -1920, ..., 2048.
inline constexpr int32_t kLogistic[33] = {
    22,    36,    60,    98,    162,   267,   439,   720,   1179,  1921,  3108,
    4971,  7812,  11955, 17625, 24743, 32768, 40793, 47911, 53581, 57724, 60565,
    62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514};

class MixTables {
 public:
  constexpr MixTables() : squash_(), stretch_(), confidence_() {
    for (int d = 0; d < 4096; ++d) {
      const int32_t a = kLogistic[d >> 7];
      const int32_t p = a + (((kLogistic[(d >> 7) + 1] - a) * (d & 127)) >> 7);
      squash_[d] = static_cast<uint16_t>(p < 32 ? 32 : (p > 65504 ? 65504 : p));
    }
    int d = 1;
    for (int i = 0; i < 4096; ++i) {
      while (d < 4095 && squash_[d] < 16 * i + 8) ++d;
      stretch_[i] = static_cast<int16_t>(d - 2048);
    }
    for (int n = 0; n <= kAdaptationLimit; ++n)
      confidence_[n] = static_cast<int16_t>(512 * n / (2 * n + 3));
  }

  // Probability of a one bin, Q16, for a logit in 1/256, -2047..2047.
  uint32_t squash(int32_t logit) const { return squash_[logit + 2048]; }

  // Logit of a model, drawn to 0 while it has seen few bins.
  int32_t stretch(const AdaptiveBit& model) const {
    return (stretch_[model.probability >> 4] * confidence_[model.count]) >> 8;
  }

 private:
  uint16_t squash_[4096];
  int16_t stretch_[4096];
  int16_t confidence_[kAdaptationLimit + 1];
};
inline constexpr MixTables kMix{};

constexpr int kMaxInputs = 3;
constexpr int32_t kMaxWeight = 1 << 22;

// Weights of one kind of bin, Q16.
struct Mixer {
  int32_t weight[kMaxInputs];
};

template <class Coder, int N>
bool mixed_bit(Coder& coder, Mixer& mixer, AdaptiveBit* const (&models)[N], bool value) {
  static_assert(N <= kMaxInputs);
  int32_t logit[N];
  int64_t sum = 0;
  for (int i = 0; i < N; ++i) {
    logit[i] = kMix.stretch(*models[i]);
    sum += int64_t(mixer.weight[i]) * logit[i];
  }
  const uint32_t p = kMix.squash(static_cast<int32_t>(std::clamp<int64_t>(sum >> 16, -2047, 2047)));
  value = coder.fixed(p, value);
  const int32_t error = (value ? 65536 : 0) - static_cast<int32_t>(p);
  for (int i = 0; i < N; ++i) {
    mixer.weight[i] =
        std::clamp(mixer.weight[i] + ((logit[i] * error + 32768) >> 16), -kMaxWeight, kMaxWeight);
    coder.update(*models[i], value);
  }
  return value;
}

}  // namespace sad::coder
