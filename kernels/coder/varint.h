// Zigzag LEB128 integers: predictor coefficients, and every value of the zstd profile.
#pragma once

#include <cstdint>
#include <vector>

#include "range_coder.h"

namespace sad::coder {

inline void put_varint(std::vector<uint8_t>& out, int64_t value) {
  uint64_t v = (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
  for (; v >= 128; v >>= 7) out.push_back(static_cast<uint8_t>(v | 128));
  out.push_back(static_cast<uint8_t>(v));
}

class VarintReader {
 public:
  VarintReader(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  // Five bytes at most, and no more bytes than the value needs.
  int64_t next() {
    uint64_t v = 0;
    for (int i = 0; i < 5; ++i) {
      if (position_ >= size_) throw CorruptPayload("payload ends too early");
      const uint8_t byte = data_[position_++];
      v |= uint64_t(byte & 127) << (7 * i);
      if (byte < 128) {
        if (byte == 0 && i > 0) throw CorruptPayload("overlong integer");
        return static_cast<int64_t>(v >> 1) ^ -static_cast<int64_t>(v & 1);
      }
    }
    throw CorruptPayload("overlong integer");
  }

  size_t position() const { return position_; }

 private:
  const uint8_t* data_;
  size_t size_;
  size_t position_ = 0;
};

}  // namespace sad::coder
