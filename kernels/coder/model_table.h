// What a file says about the state that the models of its groups start from.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "residual_models.h"

namespace sad::coder {

// Calls bin(AdaptiveBit&) and weight(int32_t&) for everything that a table can have, in its order.
template <class Models, class Bin, class Weight>
void for_each_model(const Quantizer& q, Models& m, Bin&& bin, Weight&& weight) {
  for (int c = kLogTau; c < kColor0 + q.channels(); ++c) {
    if (c == kAngle || (c == kRadius && !q.has_radius())) continue;
    auto& column = m.columns[c];
    for (auto& row : column.scale)
      for (auto& model : row) bin(model);
    for (auto& row : column.detail)
      for (auto& model : row) bin(model);
    for (auto& row : column.sign)
      for (auto& model : row) bin(model);
    for (auto& mixer : column.mixer)
      for (int i = 0; i < 2; ++i) weight(mixer.weight[i]);
    for (int i = 0; i < 2; ++i) weight(column.sign_mixer.weight[i]);
  }
  for (auto& row : m.coherence)
    for (auto& model : row) bin(model);
  for (auto& rows : m.elongation)
    for (auto& row : rows)
      for (auto& model : row) bin(model);
  for (auto& rows : m.direction)
    for (auto& row : rows)
      for (auto& model : row) bin(model);
  for (auto& mixer : m.direction_mixer)
    for (int i = 0; i < 3; ++i) weight(mixer.weight[i]);
}

// An encoder that counts how often each model has seen a zero and a one.
class TrainingEncoder : public RangeEncoder {
 public:
  struct Seen {
    int64_t all = 0, ones = 0;
  };

  TrainingEncoder() : seen_(sizeof(ResidualModels) / sizeof(AdaptiveBit)) {}

  void count(const ResidualModels& models) { base_ = reinterpret_cast<const char*>(&models); }
  const Seen& seen(const ResidualModels& models, const AdaptiveBit& model) const {
    return seen_[at(reinterpret_cast<const char*>(&models), model)];
  }
  void update(AdaptiveBit& model, bool value) {
    Seen& s = seen_[at(base_, model)];
    ++s.all;
    s.ones += value ? 1 : 0;
    model.update(value);
  }

 private:
  static size_t at(const char* base, const AdaptiveBit& model) {
    return static_cast<size_t>(reinterpret_cast<const char*>(&model) - base) / sizeof(AdaptiveBit);
  }
  const char* base_ = nullptr;
  std::vector<Seen> seen_;
};

constexpr int kWeightShift = 7;     // weights in 16 bits
constexpr int64_t kLeastSeen = 20;  // bins, from which on a model is worth its byte

// `seen(model)` are the bins that a model has met, `weights` the mixers' in order.
template <class SeenBy>
std::vector<uint8_t> pack_models(const Quantizer& q, const ResidualModels& models, SeenBy&& seen,
                                 const std::vector<int64_t>& weights) {
  RangeEncoder coder;
  AdaptiveBit given[2];
  bool before = false;
  size_t next = 0;
  for_each_model(
      q, models,
      [&](const AdaptiveBit& model) {
        const TrainingEncoder::Seen& s = seen(model);
        before = coder.bit(given[before ? 1 : 0], s.all >= kLeastSeen);
        if (before)
          coder.bits(static_cast<uint32_t>((256 * (5 * s.ones + 2)) / (5 * s.all + 4)), 8);
      },
      [&](int32_t) {
        const int64_t w = (weights[next++] + (1 << (kWeightShift - 1))) >> kWeightShift;
        coder.bits(static_cast<uint32_t>(std::clamp<int64_t>(w, -32768, 32767) + 32768), 16);
      });
  return coder.finish();
}

// Throws CorruptPayload for what no encoder writes.
inline std::unique_ptr<ResidualModels> unpack_models(const Quantizer& q, const uint8_t* data,
                                                     size_t size) {
  auto models = std::make_unique<ResidualModels>();
  RangeDecoder coder(data, size);
  AdaptiveBit given[2];
  bool before = false;
  for_each_model(
      q, *models,
      [&](AdaptiveBit& model) {
        before = coder.bit(given[before ? 1 : 0]);
        if (before) model = ResidualModels::prior(static_cast<uint8_t>(coder.bits(0, 8)));
      },
      [&](int32_t& weight) {
        weight = (static_cast<int32_t>(coder.bits(0, 16)) - 32768) * (1 << kWeightShift);
      });
  coder.finish();
  return models;
}

}  // namespace sad::coder
