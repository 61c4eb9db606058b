// The adaptive models of residuals and directions, and the state that they start from.
#pragma once

#include <cstdint>

#include "mixer.h"
#include "priors.h"
#include "range_coder.h"
#include "sites.h"

namespace sad::coder {

constexpr int kDetails = 256;  // contexts of the second model of a magnitude
constexpr int kSigns = 128;    // contexts of each of the two sign models
constexpr int kBuckets = 15;   // magnitude buckets with mixed bins; adaptive bits follow
constexpr int kLastBucket = 45;
constexpr int kPriorCount = 150;          // bins' worth of trust in the initial probabilities
constexpr int32_t kPriorWeight = 45875;   // 0.7
constexpr int32_t kDetailWeight = 13107;  // 0.2
constexpr int32_t kSignWeight = 29491;    // 0.45

struct ResidualModels {
  struct Column {
    AdaptiveBit scale[kScales][kBuckets + 1];
    AdaptiveBit detail[kDetails][kBuckets + 1];
    AdaptiveBit sign[2][kSigns];
    AdaptiveBit escape[kLastBucket - kBuckets + 1];
    Mixer mixer[kBuckets + 1];
    Mixer sign_mixer{{kSignWeight, kSignWeight, 0}};
  };

  Column columns[kMaxColumns];
  AdaptiveBit coherence[kCoherences][16];
  AdaptiveBit elongation[kCoherences][6][16];
  AdaptiveBit direction[16][kCoherences / 2 + 1][16];
  Mixer direction_mixer[16];

  ResidualModels() {
    for (int c = 0; c < kMaxColumns; ++c) {
      for (int s = 0; s < kScales; ++s)
        for (int b = 0; b <= kBuckets; ++b)
          columns[c].scale[s][b] = prior(kPriors[c < kColor0 ? 1 : 0][s][b]);
      for (Mixer& m : columns[c].mixer) m = {{kPriorWeight, kDetailWeight, 0}};
    }
    for (int k = 0; k < kCoherences; ++k)
      for (int b = 0; b < 16; ++b) coherence[k][b] = prior(kDirectionPriors[k][b]);
    for (Mixer& m : direction_mixer) m = {{kPriorWeight, kDetailWeight, kDetailWeight}};
  }

  static AdaptiveBit prior(uint8_t p) {
    return {static_cast<uint16_t>(256 * p + 128), kPriorCount};
  }
};

inline const ResidualModels& kFreshModels() {
  static const ResidualModels models;
  return models;
}

}  // namespace sad::coder
