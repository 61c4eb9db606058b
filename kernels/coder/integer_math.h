// Integer functions that decide symbols: logarithm, exponential, angle levels, colour step classes.
#pragma once

#include <cstdint>

namespace sad::coder {

constexpr int64_t kLog2E = 94548;  // log2(e) in Q16
constexpr int64_t kPi = 205887;    // pi in Q16
constexpr int kMaxAngleLevels = 4096;

inline int bit_length(uint64_t value) { return value == 0 ? 0 : 64 - __builtin_clzll(value); }

// Floor division for a positive divisor.
inline int64_t floor_div(int64_t a, int64_t b) {
  const int64_t q = a / b;
  return q - ((a % b) < 0 ? 1 : 0);
}

// log2(value) in Q16 for value >= 1: exponent plus f (1.3465 - 0.3465 f).
inline int64_t ilog2(uint64_t value) {
  const int e = bit_length(value) - 1;
  const uint64_t mantissa = value ^ (uint64_t(1) << e);
  const auto f = static_cast<int64_t>(e >= 16 ? mantissa >> (e - 16) : mantissa << (16 - e));
  return (int64_t(e) << 16) + ((f * (88244 - ((22708 * f) >> 16))) >> 16);
}

// 2^(value / 65536) in Q16: 1 + f (43024 + 22512 f) / 65536 for the fraction f.
inline int64_t iexp2(int64_t value) {
  const int64_t e = value >> 16;
  const int64_t f = value & 65535;
  const int64_t m = 65536 + ((f * (43024 + ((22512 * f) >> 16))) >> 16);
  return e >= 0 ? m << e : (e < -40 ? 0 : m >> -e);
}

// Number of directions a site with this log_anisotropy symbol can have.
inline int32_t angle_levels(int64_t log_anisotropy, int64_t step_log_anisotropy,
                            int64_t step_angle) {
  const int64_t exponent = (log_anisotropy * step_log_anisotropy * kLog2E) >> 10;
  const int64_t sinh = (iexp2(exponent) - iexp2(-exponent)) >> 1;
  const int64_t divisor = step_angle << 22;  // pi Q16 * sinh Q16 against step in 1/1024
  const int64_t levels = (kPi * sinh + (divisor >> 1)) / divisor;
  return static_cast<int32_t>(levels < 1 ? 1
                                         : (levels > kMaxAngleLevels ? kMaxAngleLevels : levels));
}

constexpr int kColorClasses = 17;  // classes -8..8, half octaves

// 2^(k/2) in Q12, k = -8..8.
inline constexpr int64_t kClassScale[kColorClasses] = {256,   362,   512,   724,   1024, 1448,
                                                       2048,  2896,  4096,  5793,  8192, 11585,
                                                       16384, 23170, 32768, 46341, 65536};

// cos of turn / 65536 turns in Q14: the parabola y = 4 x (1 - x), then y (0.775 + 0.225 y).
inline int32_t icos(int32_t turn) {
  int32_t v = turn & 65535;
  if (v > 32768) v = 65536 - v;
  const bool negative = v > 16384;
  const int64_t x = 16384 - (negative ? 32768 - v : v);
  int64_t y = (x * (32768 - x)) >> 14;
  y = (y * (12698 + ((3686 * y) >> 14))) >> 14;
  return static_cast<int32_t>(negative ? -y : y);
}

inline int32_t isin(int32_t turn) { return icos(turn - 16384); }

// Direction of (x, y) in 1/65536 turns, 0..65535; 0 for the null vector.
inline int32_t iatan2(int64_t y, int64_t x) {
  const int64_t ax = x < 0 ? -x : x;
  const int64_t ay = y < 0 ? -y : y;
  const int64_t longer = ax > ay ? ax : ay;
  if (longer == 0) return 0;
  const int64_t r = ((ax > ay ? ay : ax) << 15) / longer;
  int64_t turn = (r * (8192 + ((2847 * (32768 - r)) >> 15))) >> 15;
  if (ay > ax) turn = 16384 - turn;
  if (x < 0) turn = 32768 - turn;
  if (y < 0) turn = -turn;
  return static_cast<int32_t>(turn & 65535);
}

// Nearest integer of numerator / denominator (halves up), and in which third of its rounding
// interval the quotient lies: it tells the likelier sign of what is left.
struct Rounded {
  int64_t value;
  int third;
};

inline Rounded round_quotient(int64_t numerator, int64_t denominator) {
  const int64_t shifted = numerator + denominator / 2;
  const int64_t value = floor_div(shifted, denominator);
  const int64_t rest = 3 * (shifted - value * denominator);
  return {value, rest < denominator ? 0 : (rest < 2 * denominator ? 1 : 2)};
}

}  // namespace sad::coder
