// Differences of a row of symbols from the one that it is predicted from: of a site or a primitive
// from the frame before. The context of each is how large those of its place were lately, and what
// the row had so far.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "column_coder.h"
#include "residual_coder.h"

namespace sad::coder {

template <class Coder, int kPlaces>
class AdaptiveDifferences {
 public:
  // A running mean takes 1 / 2^rate of each magnitude; up to `most` changes count.
  AdaptiveDifferences(Coder& coder, int rate, int most)
      : residuals_(coder), rate_(rate), most_(most) {
    std::fill(energy_, energy_ + kPlaces, kOne);
  }

  void expect(int place, int64_t magnitude) { energy_[place] = magnitude * kOne; }

  void begin_row() {
    changes_ = 0;
    previous_ = 0;
  }

  // Codes a difference with the models of `column`; `kind` (in steps of 4 (most + 1)) tells apart
  // what else is known of it.
  int64_t difference(int place, int column, int kind, int64_t value) {
    const int detail = kind + 4 * std::min(changes_, most_) + size_class(previous_);
    const ResidualContext context{scale_class(energy_[place], kOne), detail, sign_[place], 0};
    const int64_t r = residuals_.residual(column, context, value);
    const int64_t magnitude = std::min<int64_t>(std::abs(r), 1 << 20);
    energy_[place] += (magnitude * kOne - energy_[place]) >> rate_;
    sign_[place] = r < 0 ? 1 : (r > 0 ? 2 : 0);
    changes_ += r != 0;
    previous_ = r;
    return r;
  }

  int32_t symbol(int place, int column, int kind, int64_t predicted, int32_t value) {
    const int64_t coded = predicted + difference(place, column, kind, value - predicted);
    return checked(coded, INT32_MIN, INT32_MAX, "symbol out of range");
  }

  // One of n directions, by the shorter way round from direction `from` of `before`.
  int32_t direction(int place, int column, int kind, int32_t from, int64_t before, int32_t value,
                    int64_t n) {
    if (n == 1) return 0;
    const int64_t predicted = (2 * from * n + before) / (2 * before) % n;
    const int64_t low = -((n - 1) / 2), high = n / 2;
    int64_t turn = value - predicted;
    if (turn > high) turn -= n;
    if (turn < low) turn += n;
    turn = checked(difference(place, column, kind, turn), low, high, "angle out of range");
    return static_cast<int32_t>((predicted + turn + n) % n);
  }

 private:
  ResidualCoder<Coder> residuals_;
  const int rate_, most_;
  int64_t energy_[kPlaces];  // running mean magnitude, Q16
  int sign_[kPlaces] = {};   // of the last difference
  int changes_ = 0;          // differences of this row so far that are not 0
  int64_t previous_ = 0;
};

}  // namespace sad::coder
