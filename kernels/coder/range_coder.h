// Adaptive binary range coder: 32-bit range, 16-bit probabilities, carries resolved in the output.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace sad::coder {

// Raised for any payload that no encoder writes; the module turns it into a Python ValueError.
struct CorruptPayload : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

inline void require(bool condition, const char* message) {
  if (!condition) throw CorruptPayload(message);
}

constexpr int kAdaptationLimit = 255;
constexpr uint32_t kProbabilityFloor =
    32;  // of 65536: no bin is free, so work is bounded by the payload's length

// Rates 1 / (n + 1.5), in Q16: the first bins move an estimate most.
struct AdaptationTable {
  uint32_t rate[kAdaptationLimit + 1];
  constexpr AdaptationTable() : rate() {
    for (int n = 0; n <= kAdaptationLimit; ++n) rate[n] = 131072u / (2 * n + 3);
  }
};
inline constexpr AdaptationTable kAdaptation{};

// Probability of a one bin, with the number of bins seen (saturating).
struct AdaptiveBit {
  uint16_t probability = 32768;
  uint16_t count = 0;

  void update(bool bit) {
    const uint32_t rate = kAdaptation.rate[count];
    uint32_t p = probability;
    if (bit) {
      p += ((65536 - p) * uint64_t(rate)) >> 16;
      if (p > 65536 - kProbabilityFloor) p = 65536 - kProbabilityFloor;
    } else {
      p -= (p * uint64_t(rate)) >> 16;
      if (p < kProbabilityFloor) p = kProbabilityFloor;
    }
    probability = static_cast<uint16_t>(p);
    if (count < kAdaptationLimit) ++count;
  }
};

// -log2(p) for p in 1/4096 steps; only for reports, never for a coding decision.
class CostTable {
 public:
  CostTable() {
    for (int i = 0; i < 4096; ++i) bits_[i] = static_cast<float>(-std::log2((i + 0.5) / 4096.0));
  }
  float operator()(uint32_t probability16) const { return bits_[probability16 >> 4]; }

 private:
  float bits_[4096];
};
inline const CostTable kCost;

// log2(n) for the equally likely values of RangeEncoder::uniform; only for reports.
class UniformCostTable {
 public:
  UniformCostTable() {
    for (int n = 1; n <= 4096; ++n)
      bits_[n] = static_cast<float>(std::log2(static_cast<double>(n)));
  }
  float operator()(uint32_t n) const { return bits_[n]; }

 private:
  float bits_[4097] = {};
};
inline const UniformCostTable kUniformCost;

class RangeEncoder {
 public:
  static constexpr bool kDecoding = false;

  bool bit(AdaptiveBit& model, bool value) {
    fixed(model.probability, value);
    model.update(value);
    return value;
  }

  static void update(AdaptiveBit& model, bool value) { model.update(value); }

  // One bin whose probability of one is probability / 65536, 0 < probability < 65536.
  bool fixed(uint32_t probability, bool value) {
    const auto bound = static_cast<uint32_t>((uint64_t(range_) * probability) >> 16);
    if (value) {
      range_ = bound;
      cost_ += kCost(probability);
    } else {
      low_ += bound;
      range_ -= bound;
      cost_ += kCost(65536 - probability);
    }
    normalize();
    return value;
  }

  // One of n equally likely values, n <= 4096.
  uint32_t uniform(uint32_t value, uint32_t n) {
    if (n <= 1) return 0;
    range_ /= n;
    low_ += uint64_t(range_) * value;
    cost_ += kUniformCost(n);
    normalize();
    return value;
  }

  uint32_t bits(uint32_t value, int count) {
    while (count > 12) {
      count -= 12;
      uniform((value >> count) & 4095u, 4096);
    }
    uniform(value & ((1u << count) - 1), 1u << count);
    return value;
  }

  // Ends the stream in the fewest bytes: the value with most trailing zero bytes in the interval,
  // zeros dropped.
  std::vector<uint8_t> finish() {
    const uint64_t high = low_ + range_ - 1;
    uint64_t value = high;
    for (int shift = 32; shift >= 0; shift -= 8) {
      const uint64_t mask = (uint64_t(1) << shift) - 1;
      value = (low_ + mask) & ~mask;
      if (value <= high) break;
    }
    low_ = value;
    size_t keep = bytes_.size();
    for (int i = 0; i < 4; ++i) {
      shift_byte();
      if (bytes_.back() != 0) keep = bytes_.size();
    }
    bytes_.resize(keep);
    return std::move(bytes_);
  }

  double cost() const { return cost_; }

 private:
  void normalize() {
    while (range_ < (1u << 24)) {
      shift_byte();
      range_ <<= 8;
    }
  }

  void shift_byte() {
    if (low_ >> 32) {
      for (size_t i = bytes_.size(); i-- > 0;)
        if (++bytes_[i] != 0) break;
    }
    bytes_.push_back(static_cast<uint8_t>(low_ >> 24));
    low_ = (low_ << 8) & 0xFFFFFFFFu;
  }

  uint64_t low_ = 0;  // 33 bits: bit 32 is a carry into the bytes already written
  uint32_t range_ = 0xFFFFFFFFu;
  double cost_ = 0;
  std::vector<uint8_t> bytes_;
};

class RangeDecoder {
 public:
  static constexpr bool kDecoding = true;

  RangeDecoder(const uint8_t* data, size_t size) : data_(data), size_(size) {
    for (int i = 0; i < 4; ++i) code_ = (code_ << 8) | next();
  }

  bool bit(AdaptiveBit& model, bool = false) {
    const bool value = fixed(model.probability);
    model.update(value);
    return value;
  }

  static void update(AdaptiveBit& model, bool value) { model.update(value); }

  bool fixed(uint32_t probability, bool = false) {
    const auto bound = static_cast<uint32_t>((uint64_t(range_) * probability) >> 16);
    const bool value = code_ < bound;
    if (value) {
      range_ = bound;
      cost_ += kCost(probability);
    } else {
      code_ -= bound;
      range_ -= bound;
      cost_ += kCost(65536 - probability);
    }
    normalize();
    return value;
  }

  uint32_t uniform(uint32_t, uint32_t n) {
    if (n <= 1) return 0;
    range_ /= n;
    const uint32_t value = code_ / range_;
    if (value >= n) throw CorruptPayload("range coder: value outside its interval");
    code_ -= value * range_;
    cost_ += kUniformCost(n);
    normalize();
    return value;
  }

  uint32_t bits(uint32_t, int count) {
    uint32_t value = 0;
    while (count > 12) {
      count -= 12;
      value = (value << 12) | uniform(0, 4096);
    }
    return (value << count) | uniform(0, 1u << count);
  }

  // The encoder drops at most four zero bytes at the end and no other byte.
  void finish() const {
    if (position_ < size_ || position_ > size_ + 4)
      throw CorruptPayload("payload length does not match its content");
    if (position_ < size_ + 4 && size_ > 0 && data_[size_ - 1] == 0)
      throw CorruptPayload("payload ends with a superfluous zero byte");
  }

  double cost() const { return cost_; }

 private:
  uint32_t next() {
    if (position_ < size_) return data_[position_++];
    if (++position_ > size_ + 4) throw CorruptPayload("payload ends too early");
    return 0;
  }

  void normalize() {
    while (range_ < (1u << 24)) {
      code_ = (code_ << 8) | next();
      range_ <<= 8;
    }
  }

  const uint8_t* data_;
  size_t size_;
  size_t position_ = 0;
  uint32_t range_ = 0xFFFFFFFFu;
  uint32_t code_ = 0;
  double cost_ = 0;
};

}  // namespace sad::coder
