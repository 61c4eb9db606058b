// Binarization and contexts of residuals and directions in the range profile.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "integer_math.h"
#include "mixer.h"
#include "range_coder.h"
#include "residual_models.h"
#include "sites.h"

namespace sad::coder {

// Magnitude - 1 in half-octave buckets: 0 1 2 3 4-5 6-7 8-11 12-15 ...
inline int bucket_of(uint32_t value) {
  if (value < 4) return static_cast<int>(value);
  const int e = bit_length(value) - 2;
  return 2 * e + 2 + static_cast<int>((value >> e) & 1);
}
inline int bucket_bits(int bucket) { return bucket < 4 ? 0 : bucket / 2 - 1; }
inline uint32_t bucket_start(int bucket) {
  return bucket < 4 ? static_cast<uint32_t>(bucket) : (2u | (bucket & 1)) << bucket_bits(bucket);
}

// What is known about a residual before it is coded.
struct ResidualContext {
  int scale;   // expected magnitude, 0..kScales-1
  int detail;  // 0..kDetails-1
  int sign_a;  // 0..kSigns-1
  int sign_b;  // 0..kSigns-1
};

struct DirectionContext {
  int coherence;   // agreement of the neighbours, 0..kCoherences-1
  int elongation;  // 0..5
  int direction;   // predicted, in sixteenths
};

// A sixteenth of the half-turn starts at this residual: ceil((2 k - 1) n / 32).
inline int64_t sector_start(int k, int32_t levels) {
  return floor_div((2 * int64_t(k) - 1) * levels + 31, 32);
}

template <class Coder>
class ResidualCoder {
 public:
  explicit ResidualCoder(Coder& coder, const ResidualModels& start = kFreshModels())
      : coder_(coder), models_(std::make_unique<ResidualModels>(start)) {}

  const ResidualModels& models() const { return *models_; }

  int64_t residual(int column, const ResidualContext& context, int64_t value) {
    ResidualModels::Column& model = models_->columns[column];
    if (!magnitude_bin(model, context, 0, value != 0)) return 0;
    AdaptiveBit* const signs[2] = {&model.sign[0][context.sign_a], &model.sign[1][context.sign_b]};
    const bool negative = mixed_bit(coder_, model.sign_mixer, signs, value < 0);
    const auto rest = static_cast<uint32_t>(std::llabs(value) - 1);
    const int target = bucket_of(rest);
    int bucket = 0;
    while (bucket < kBuckets && magnitude_bin(model, context, bucket + 1, target > bucket))
      ++bucket;
    if (bucket == kBuckets)
      while (coder_.bit(model.escape[bucket - kBuckets], target > bucket))
        if (++bucket > kLastBucket) throw CorruptPayload("residual out of range");
    const uint32_t start = bucket_start(bucket);
    const int64_t magnitude = int64_t(start) + coder_.bits(rest - start, bucket_bits(bucket)) + 1;
    return negative ? -magnitude : magnitude;
  }

  // Index of a direction relative to the predicted one, 0..levels-1: a binary search for its
  // sixteenth of the half-turn, then equally likely.
  int32_t direction(const DirectionContext& context, int32_t value, int32_t levels) {
    if (levels <= 1) return 0;
    int64_t v = value >= sector_start(16, levels) ? int64_t(value) - levels : value;
    int low = 0;
    int high = 16;
    for (int node = 1; node < 16;) {
      const int middle = (low + high) / 2;
      const int64_t border = sector_start(middle, levels);
      bool upper;
      if (border == sector_start(low, levels))
        upper = true;
      else if (border == sector_start(high, levels))
        upper = false;
      else
        upper = direction_bin(context, node, v >= border);
      (upper ? low : high) = middle;
      node = 2 * node + (upper ? 1 : 0);
    }
    const int64_t start = sector_start(low, levels);
    v = start + coder_.uniform(static_cast<uint32_t>(v - start),
                               static_cast<uint32_t>(sector_start(high, levels) - start));
    return static_cast<int32_t>(v < 0 ? v + levels : v);
  }

 private:
  bool magnitude_bin(ResidualModels::Column& model, const ResidualContext& context, int bin,
                     bool value) {
    AdaptiveBit* const models[2] = {&model.scale[context.scale][bin],
                                    &model.detail[context.detail][bin]};
    return mixed_bit(coder_, model.mixer[bin], models, value);
  }

  bool direction_bin(const DirectionContext& c, int node, bool value) {
    ResidualModels& m = *models_;
    AdaptiveBit* const models[3] = {&m.coherence[c.coherence][node],
                                    &m.elongation[c.coherence][c.elongation][node],
                                    &m.direction[c.direction][c.coherence / 2][node]};
    return mixed_bit(coder_, m.direction_mixer[node], models, value);
  }

  Coder& coder_;
  std::unique_ptr<ResidualModels> models_;
};

}  // namespace sad::coder
