#include "primitive_coder.h"

#include <algorithm>

#include "adaptive_differences.h"
#include "range_coder.h"

namespace sad::coder {
namespace {

enum Place { kX, kY, kSize, kTurn, kCover, kRed, kGreen, kBlue };

constexpr int kTreeBits = 8;                      // of a key that are adaptive
constexpr int kPrefixes[] = {10, 8, 6, 4, 2, 0};  // bits of keys that name a place

template <class Coder>
class PrimitiveCoder {
 public:
  PrimitiveCoder(Coder& coder, const PrimitiveQuantizer& q)
      : coder_(coder), q_(q), differences_(coder, 4, 3) {
    bits_x_ = bit_length(static_cast<uint64_t>(q.grid_width - 1));
    bits_y_ = bit_length(static_cast<uint64_t>(q.grid_height - 1));
    for (size_t level = 0; level < std::size(kPrefixes); ++level)
      latest_[level].assign(size_t(1) << kPrefixes[level], -1);
  }

  // Encoding: `rows` are given. Decoding: they are filled.
  void run(std::vector<PrimitiveRow>& rows, const std::vector<PrimitiveRow>* before) {
    for (size_t i = 0; i < rows.size(); ++i) {
      if (before)
        changed(rows[i], (*before)[i]);
      else
        fresh(rows, i);
    }
  }

  const PrimitiveCosts& bits() const { return bits_; }

 private:
  // A primitive of a key frame: like the latest one that lies where it does.
  void fresh(std::vector<PrimitiveRow>& rows, size_t i) {
    PrimitiveRow& row = rows[i];
    const uint64_t key = position(row);
    PrimitiveRow base{};
    base[kSize] = i ? rows[i - 1][kSize] : 0;
    base[kCover] = static_cast<int32_t>(q_.opacity_levels / 2);
    for (int c = kRed; c <= kBlue; ++c) base[c] = static_cast<int32_t>(q_.color_levels / 2);
    level_ = 0;
    while (level_ < std::size(kPrefixes) && latest(level_, key) < 0) ++level_;
    if (level_ < std::size(kPrefixes)) {
      const PrimitiveRow& near = rows[latest(level_, key)];
      std::copy(near.begin() + kCover, near.end(), base.begin() + kCover);
      base[kSize] = static_cast<int32_t>((base[kSize] + near[kSize]) / 2);
    }
    differences_.begin_row();
    symbol(kSize, base, row);
    checked(row[kSize], 0, q_.max_radius(), "radius out of range");
    const auto n = static_cast<uint32_t>(q_.directions(row[kSize]));
    row[kTurn] = static_cast<int32_t>(coder_.uniform(static_cast<uint32_t>(row[kTurn]), n));
    charge(kTurn);
    rest(base, row);
    for (size_t level = 0; level < std::size(kPrefixes); ++level)
      latest(level, key) = static_cast<int32_t>(i);
  }

  // A primitive of a delta frame: kept, or like it was before.
  void changed(PrimitiveRow& row, const PrimitiveRow& before) {
    AdaptiveBit& model = kept_[__builtin_popcount(static_cast<unsigned>(recent_))];
    const bool kept = coder_.bit(model, row == before);
    charge(kX);
    recent_ = ((recent_ << 1) | (kept ? 0 : 1)) & 255;
    if (kept) {
      row = before;
      return;
    }
    differences_.begin_row();
    for (const int p : {kX, kY, kSize}) symbol(p, before, row);
    checked(row[kX], 0, q_.grid_width - 1, "position out of range");
    checked(row[kY], 0, q_.grid_height - 1, "position out of range");
    checked(row[kSize], 0, q_.max_radius(), "radius out of range");
    row[kTurn] =
        differences_.direction(kTurn, kTurn, kind(), before[kTurn], q_.directions(before[kSize]),
                               row[kTurn], q_.directions(row[kSize]));
    charge(kTurn);
    rest(before, row);
  }

  // Opacity and colour; red and blue move with green.
  void rest(const PrimitiveRow& base, PrimitiveRow& row) {
    PrimitiveRow predicted = base;
    symbol(kCover, predicted, row);
    checked(row[kCover], 0, q_.opacity_levels, "opacity out of range");
    symbol(kGreen, predicted, row);
    const auto most = static_cast<int32_t>(q_.color_levels);
    const int64_t moved = int64_t(row[kGreen]) - base[kGreen];
    for (const int c : {kRed, kBlue}) {
      predicted[c] = static_cast<int32_t>(std::clamp<int64_t>(base[c] + moved, 0, most));
      symbol(c, predicted, row);
    }
    for (int c = kRed; c <= kBlue; ++c) checked(row[c], 0, most, "colour out of range");
  }

  // The key of section 7, its first bits by a tree of models.
  uint64_t position(PrimitiveRow& row) {
    uint64_t x = 0, y = 0, key = 0;
    int rx = bits_x_, ry = bits_y_;
    size_t node = 1;
    for (int b = 0; b < bits_x_ + bits_y_; ++b) {
      const bool along_x = rx >= ry;
      const bool wanted = along_x ? (row[kX] >> --rx) & 1 : (row[kY] >> --ry) & 1;
      bool bit;
      if (b < kTreeBits) {
        bit = coder_.bit(tree_[node], wanted);
        node = 2 * node + bit;
      } else {
        bit = coder_.bits(wanted, 1) != 0;
      }
      (along_x ? x : y) = 2 * (along_x ? x : y) + bit;
      key = 2 * key + bit;
    }
    row[kX] = checked(static_cast<int64_t>(x), 0, q_.grid_width - 1, "position out of range");
    row[kY] = checked(static_cast<int64_t>(y), 0, q_.grid_height - 1, "position out of range");
    charge(kX);
    return key;
  }

  int32_t& latest(size_t level, uint64_t key) {
    const int drop = bits_x_ + bits_y_ - kPrefixes[level];
    return latest_[level][drop >= 0 ? key >> drop : key];
  }

  void symbol(int place, const PrimitiveRow& base, PrimitiveRow& row) {
    const int column = place >= kRed ? kColor0 + place - kRed : place;
    row[place] = differences_.symbol(place, column, kind(), base[place], row[place]);
    charge(place);
  }

  int kind() const { return 16 * static_cast<int>(level_); }

  void charge(int place) {
    bits_[place] += coder_.cost() - charged_;
    charged_ = coder_.cost();
  }

  Coder& coder_;
  const PrimitiveQuantizer& q_;
  AdaptiveDifferences<Coder, kPrimitiveColumns> differences_;
  int bits_x_, bits_y_;
  AdaptiveBit tree_[size_t(1) << kTreeBits], kept_[9];
  std::vector<int32_t> latest_[std::size(kPrefixes)];  // primitive by prefix of its key
  size_t level_ = 0;                                   // of the prefix that was found
  int recent_ = 0;                                     // which of the last eight changed
  PrimitiveCosts bits_{};
  double charged_ = 0;
};

void check_rows(const PrimitiveQuantizer& q, const std::vector<PrimitiveRow>& rows) {
  require(!rows.empty() && rows.size() <= size_t(kMaxPrimitives), "primitive count out of range");
  for (const PrimitiveRow& row : rows) {
    const auto within = [](int64_t v, int64_t high) {
      require(v >= 0 && v <= high, "symbol out of range");
    };
    within(row[kX], q.grid_width - 1);
    within(row[kY], q.grid_height - 1);
    within(row[kSize], q.max_radius());
    within(row[kTurn], q.directions(row[kSize]) - 1);
    within(row[kCover], q.opacity_levels);
    for (int c = kRed; c <= kBlue; ++c) within(row[c], q.color_levels);
  }
}

}  // namespace

void PrimitiveQuantizer::check() const {
  const auto within = [](int64_t v, int64_t low, int64_t high) {
    if (v < low || v > high) throw std::invalid_argument("quantizer field out of range");
  };
  within(grid_width, 1, 1 << 20);
  within(grid_height, 1, 1 << 20);
  within(step_log_radius, 1, 1024);
  for (const int64_t field : {step_arc, opacity_levels, color_levels}) within(field, 1, 65535);
}

int32_t PrimitiveQuantizer::directions(int64_t radius) const {
  const int64_t length = 2 * kPi * iexp2(32 * (2 * radius + 1) * step_log_radius - (2 << 16));
  const int64_t divisor = step_arc << 22;
  return static_cast<int32_t>(
      std::clamp<int64_t>((length + (divisor >> 1)) / divisor, 1, kMaxAngleLevels));
}

CodedPrimitives encode_primitives(const PrimitiveQuantizer& q,
                                  const std::vector<PrimitiveRow>& rows,
                                  const std::vector<PrimitiveRow>* before) {
  q.check();
  check_rows(q, rows);
  if (before) {
    check_rows(q, *before);
    require(before->size() == rows.size(), "another number of primitives than the frame before");
  }
  RangeEncoder coder;
  PrimitiveCoder<RangeEncoder> rest(coder, q);
  std::vector<PrimitiveRow> copy = rows;
  rest.run(copy, before);
  return {coder.finish(), rest.bits()};
}

DecodedPrimitives decode_primitives(const PrimitiveQuantizer& q, size_t count,
                                    const std::vector<PrimitiveRow>* before, const uint8_t* data,
                                    size_t size) {
  q.check();
  require(count >= 1 && count <= size_t(kMaxPrimitives), "primitive count out of range");
  if (before) {
    check_rows(q, *before);
    require(before->size() == count, "another number of primitives than the frame before");
  }
  RangeDecoder coder(data, size);
  PrimitiveCoder<RangeDecoder> rest(coder, q);
  DecodedPrimitives out{std::vector<PrimitiveRow>(count), {}};
  rest.run(out.rows, before);
  coder.finish();
  out.bits = rest.bits();
  return out;
}

}  // namespace sad::coder
