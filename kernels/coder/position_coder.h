// Positions as a set: the grid is halved again and again, and the count of sites in the lower half
// is coded. Of a group of sites the interval of their keys is known.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "range_coder.h"
#include "sites.h"

namespace sad::coder {

// The order in which the bits of x and y are consumed: along the longer side of the node, x on a
// tie.
struct SplitOrder {
  int bits_x, bits_y;

  explicit SplitOrder(const Quantizer& q)
      : bits_x(bit_length(static_cast<uint64_t>(q.grid_width - 1))),
        bits_y(bit_length(static_cast<uint64_t>(q.grid_height - 1))) {}
};

// Bits of (x, y) in split order: sorting by it is the traversal order.
inline uint64_t morton_key(const SplitOrder& order, uint32_t x, uint32_t y) {
  uint64_t key = 0;
  int rx = order.bits_x;
  int ry = order.bits_y;
  while (rx > 0 || ry > 0) {
    if (rx >= ry)
      key = (key << 1) | ((x >> --rx) & 1u);
    else
      key = (key << 1) | ((y >> --ry) & 1u);
  }
  return key;
}

// Keys begin..end - 1.
struct KeyInterval {
  int64_t begin, end;

  // How many keys of first..first + count - 1 lie in it.
  int64_t overlap(int64_t first, int64_t count) const {
    return std::max<int64_t>(0, std::min(end, first + count) - std::max(begin, first));
  }
  bool contains(uint64_t key) const {
    return static_cast<int64_t>(key) >= begin && static_cast<int64_t>(key) < end;
  }
};

// A group states its interval by the upper 16 bits of its first and its last key.
inline int slot_shift(const SplitOrder& order) {
  return std::max(0, order.bits_x + order.bits_y - 16);
}
inline KeyInterval all_keys(const SplitOrder& order) {
  return {0, int64_t(1) << (order.bits_x + order.bits_y)};
}

// Stable order of the sites by Morton key.
inline std::vector<int32_t> traversal_order(const Quantizer& q, const std::vector<int32_t>& x,
                                            const std::vector<int32_t>& y,
                                            std::vector<uint64_t>* sorted_keys = nullptr) {
  const SplitOrder order(q);
  std::vector<std::pair<uint64_t, int32_t>> keyed(x.size());
  for (size_t i = 0; i < x.size(); ++i)
    keyed[i] = {morton_key(order, static_cast<uint32_t>(x[i]), static_cast<uint32_t>(y[i])),
                static_cast<int32_t>(i)};
  std::sort(keyed.begin(), keyed.end());
  std::vector<int32_t> index(x.size());
  if (sorted_keys) sorted_keys->resize(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    index[i] = keyed[i].second;
    if (sorted_keys) (*sorted_keys)[i] = keyed[i].first;
  }
  return index;
}

template <class Coder>
class PositionCoder {
 public:
  PositionCoder(Coder& coder, const Quantizer& q, const KeyInterval& interval)
      : coder_(coder), q_(q), order_(q), interval_(interval) {
    for (int n = 2; n <= kSmall; ++n) start_small(n, 0, n);
    for (LargeModel& model : large_) {
      model.nonzero = {58000, 5};
      model.negative = {32768, 5};
      for (AdaptiveBit& bin : model.unary) bin = {38000, 5};
    }
  }

  // Encoding: keys are the sorted Morton keys, x and y the positions in that order. Decoding: keys
  // is not read, x and y are filled.
  void run(int32_t count, const std::vector<uint64_t>& keys, std::vector<int32_t>& x,
           std::vector<int32_t>& y) {
    x.resize(count);
    y.resize(count);
    Node stack[2 * kMaxDepth];
    int size = 0;
    int32_t begin = 0;
    stack[size++] = {0, 0, 0, order_.bits_x, order_.bits_y, count};
    while (size > 0) {
      const Node node = stack[--size];
      if (node.count == 1 || (node.rx == 0 && node.ry == 0)) {
        place(node, begin, x, y);
        begin += node.count;
        continue;
      }
      const int32_t low = split(node, keys, begin);
      const bool along_x = node.rx >= node.ry;
      Node child{2 * node.key,
                 along_x ? 2 * node.x : node.x,
                 along_x ? node.y : 2 * node.y,
                 node.rx - (along_x ? 1 : 0),
                 node.ry - (along_x ? 0 : 1),
                 low};
      const Node lower = child;
      (along_x ? child.x : child.y)++;
      child.key++;
      child.count = node.count - low;
      if (child.count > 0) stack[size++] = child;
      if (lower.count > 0) stack[size++] = lower;
    }
  }

 private:
  struct Node {
    int64_t key;    // upper bits of its cells' keys
    uint32_t x, y;  // upper bits of its cells
    int rx, ry;     // bits below them
    int32_t count;
  };

  static constexpr int kMaxDepth = 40;  // 19 bits an axis at most
  static constexpr int kSmall = 8;      // counts up to here have a model for every outcome
  static constexpr uint16_t kSmallCount = 60;
  static constexpr uint32_t kUnary = 12;

  struct LargeModel {
    AdaptiveBit nonzero, negative, unary[kUnary], escape[25];
  };

  // Binomial probabilities of the bisection of low..high, as if sites fell anywhere.
  void start_small(int n, int low, int high) {
    if (low == high) return;
    const int middle = (low + high) / 2;
    int64_t choose = 1;
    int64_t all = 0;
    int64_t above = 0;
    for (int k = 0; k <= high; ++k) {
      if (k >= low) all += choose;
      if (k > middle) above += choose;
      choose = choose * (n - k) / (k + 1);
    }
    small_[n][middle] = {static_cast<uint16_t>(65536 * above / all), kSmallCount};
    start_small(n, low, middle);
    start_small(n, middle + 1, high);
  }

  // A single site's remaining bits are equally likely; several sites share their cell.
  void place(const Node& node, int32_t begin, std::vector<int32_t>& x, std::vector<int32_t>& y) {
    const auto mask = [](int bits) { return (1u << bits) - 1; };
    const uint32_t low_x = Coder::kDecoding ? 0 : static_cast<uint32_t>(x[begin]) & mask(node.rx);
    const uint32_t low_y = Coder::kDecoding ? 0 : static_cast<uint32_t>(y[begin]) & mask(node.ry);
    const int64_t cell_x = (int64_t(node.x) << node.rx) | coder_.bits(low_x, node.rx);
    const int64_t cell_y = (int64_t(node.y) << node.ry) | coder_.bits(low_y, node.ry);
    if (cell_x >= q_.grid_width || cell_y >= q_.grid_height)
      throw CorruptPayload("position outside the grid");
    for (int32_t i = begin; i < begin + node.count; ++i) {
      x[i] = static_cast<int32_t>(cell_x);
      y[i] = static_cast<int32_t>(cell_y);
    }
  }

  // How many of the node's sites have a zero in the next bit.
  int32_t split(const Node& node, const std::vector<uint64_t>& keys, int32_t begin) {
    const bool along_x = node.rx >= node.ry;
    const int shift = (along_x ? node.rx : node.ry) - 1;
    const int64_t half = int64_t(1) << shift;
    const int64_t start = int64_t(along_x ? node.x : node.y) << (shift + 1);
    const int64_t upper = std::min(half, (along_x ? q_.grid_width : q_.grid_height) - start - half);
    // Keys of both halves where a site can be; of the high half as a share of those in the grid.
    const int64_t keys_of_half = int64_t(1) << (node.rx + node.ry - 1);
    const int64_t first_key = node.key << (node.rx + node.ry);
    const int64_t in_low = interval_.overlap(first_key, keys_of_half);
    const int64_t in_high =
        (interval_.overlap(first_key + keys_of_half, keys_of_half) * std::max<int64_t>(upper, 0) +
         half - 1) >>
        shift;
    if (in_high == 0) return node.count;
    if (in_low == 0) return 0;
    int32_t low = 0;
    if constexpr (!Coder::kDecoding) {
      const int bit = node.rx + node.ry - 1;
      const auto first = keys.begin() + begin;
      low = static_cast<int32_t>(
          std::partition_point(first, first + node.count,
                               [bit](uint64_t key) { return ((key >> bit) & 1) == 0; }) -
          first);
    }
    if (in_low != in_high)
      return large(node.count, low, static_cast<int32_t>(node.count * in_low / (in_low + in_high)));
    return node.count <= kSmall ? small(node.count, low) : large(node.count, low, node.count / 2);
  }

  // Bisection of 0..count with one model for every threshold.
  int32_t small(int32_t count, int32_t value) {
    int32_t low = 0;
    int32_t high = count;
    while (low < high) {
      const int32_t middle = (low + high) / 2;
      if (coder_.bit(small_[count][middle], value > middle))
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }

  // Deviation from the expected count: sign, then Golomb with a binomial's spread, Elias gamma past
  // 12 steps.
  int32_t large(int32_t count, int32_t value, int32_t expected) {
    const int scale = bit_length(static_cast<uint64_t>(count)) - 1;
    const int raw = std::max(0, scale / 2 - 1);
    LargeModel& model = large_[scale];
    const int32_t deviation = value - expected;
    if (!coder_.bit(model.nonzero, deviation != 0)) return expected;
    const bool negative = coder_.bit(model.negative, deviation < 0);
    const auto magnitude = static_cast<uint32_t>(negative ? -deviation : deviation) - 1;
    uint32_t quotient = 0;
    while (quotient < kUnary && coder_.bit(model.unary[quotient], (magnitude >> raw) > quotient))
      ++quotient;
    if (quotient == kUnary) {
      const uint32_t excess = (magnitude >> raw) - kUnary + 1;
      const int length = bit_length(excess) - 1;
      int bits = 0;
      while (coder_.bit(model.escape[bits], length > bits))
        if (++bits > 24) throw CorruptPayload("count outside its node");
      quotient = kUnary - 1 + ((1u << bits) | coder_.bits(excess & ((1u << bits) - 1), bits));
    }
    const int64_t decoded =
        ((int64_t(quotient) << raw) | coder_.bits(magnitude & ((1u << raw) - 1), raw)) + 1;
    const int64_t result = negative ? expected - decoded : expected + decoded;
    if (result < 0 || result > count) throw CorruptPayload("count outside its node");
    return static_cast<int32_t>(result);
  }

  Coder& coder_;
  const Quantizer& q_;
  SplitOrder order_;
  KeyInterval interval_;
  AdaptiveBit small_[kSmall + 1][kSmall];
  LargeModel large_[25];
};

}  // namespace sad::coder
