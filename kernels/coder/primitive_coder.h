// Primitives of a composition, in the order of their depth: docs/FORMAT.md, section 16.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sad::coder {

// x, y, radius, angle, opacity, then red, green, blue.
constexpr int kPrimitiveColumns = 8;
constexpr int64_t kMaxPrimitives = 1 << 20;

using PrimitiveRow = std::array<int32_t, kPrimitiveColumns>;
using PrimitiveCosts = std::array<double, kPrimitiveColumns>;

struct PrimitiveQuantizer {
  int64_t grid_width, grid_height;  // cells
  int64_t step_log_radius;          // 1/1024 octave
  int64_t step_arc;                 // 1/1024 px
  int64_t opacity_levels, color_levels;

  // Raises std::invalid_argument for fields out of range.
  void check() const;
  int32_t max_radius() const { return static_cast<int32_t>(22 * 1024 / step_log_radius); }
  // Directions that a primitive of this radius symbol is told in.
  int32_t directions(int64_t radius) const;
};

struct CodedPrimitives {
  std::vector<uint8_t> bytes;
  PrimitiveCosts bits;
};

struct DecodedPrimitives {
  std::vector<PrimitiveRow> rows;
  PrimitiveCosts bits;
};

// `before`: the primitives of the frame before, as many; null for a key frame. Both raise
// std::invalid_argument for rows out of range.
CodedPrimitives encode_primitives(const PrimitiveQuantizer& q,
                                  const std::vector<PrimitiveRow>& rows,
                                  const std::vector<PrimitiveRow>* before);
DecodedPrimitives decode_primitives(const PrimitiveQuantizer& q, size_t count,
                                    const std::vector<PrimitiveRow>* before, const uint8_t* data,
                                    size_t size);

}  // namespace sad::coder
