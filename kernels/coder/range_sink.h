// What a ColumnCoder hands its residuals to in the range profile.
#pragma once

#include <array>
#include <cstdint>

#include "range_coder.h"
#include "residual_coder.h"

namespace sad::coder {

// Residuals through the range coder, with the cost of every column.
template <class Coder>
class RangeSink {
 public:
  RangeSink(Coder& coder, std::array<double, kMaxColumns>& bits, const ResidualModels& start)
      : coder_(coder), residuals_(coder, start), bits_(bits) {}

  const ResidualModels& models() const { return residuals_.models(); }

  int64_t residual(int column, const ResidualContext& context, int64_t value) {
    const double before = coder_.cost();
    const int64_t result = residuals_.residual(column, context, value);
    bits_[column] += coder_.cost() - before;
    return result;
  }
  int32_t direction(const DirectionContext& context, int32_t value, int32_t levels) {
    const double before = coder_.cost();
    const int32_t result = residuals_.direction(context, value, levels);
    bits_[kAngle] += coder_.cost() - before;
    return result;
  }

 private:
  Coder& coder_;
  ResidualCoder<Coder> residuals_;
  std::array<double, kMaxColumns>& bits_;
};

}  // namespace sad::coder
