// A diagram coded against another one: which sites stay, go, change or get others beside them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sites.h"

namespace sad::coder {

// Sites as rows x, y, log_tau, log_anisotropy, angle, radius, colours; what a frame hands on.
struct Frame {
  std::vector<int32_t> rows;
  std::vector<int8_t> classes;   // colour step classes -8..8
  std::vector<uint8_t> changed;  // whether the site was not kept as it was

  size_t size() const { return classes.size(); }
};

// source[j]: site of the frame before that site j goes back to, in ascending order; the first of
// each is that site itself, others were put beside it.
struct DeltaFrame {
  Frame frame;
  std::vector<int32_t> source;
};

// Raises std::invalid_argument for rows out of range.
std::vector<uint8_t> encode_delta(const Quantizer& q, const Frame& before,
                                  const std::vector<int32_t>& rows,
                                  const std::vector<int32_t>& source);
DeltaFrame decode_delta(const Quantizer& q, const Frame& before, size_t count, const uint8_t* data,
                        size_t size);

}  // namespace sad::coder
