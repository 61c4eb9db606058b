#include "delta_coder.h"

#include <algorithm>

#include "adaptive_differences.h"
#include "range_coder.h"

namespace sad::coder {
namespace {

constexpr int kX = 0, kY = 1, kTau = 2, kStretch = 3, kTurn = 4, kReach = 5, kInk = 6;
constexpr int kMaxRow = kInk + 4;
constexpr int kMotionUnit = 16;

// Limits of the symbols of a row, which hold for coded and for given rows alike.
class Rows {
 public:
  explicit Rows(const Quantizer& q) : q_(q) {}

  int width() const { return kInk + q_.channels(); }
  int32_t directions(int32_t stretch) const {
    return angle_levels(stretch, q_.step_log_anisotropy, q_.step_angle);
  }
  void check(const int32_t* row, int8_t klass) const {
    const auto within = [](int64_t v, int64_t low, int64_t high) {
      require(v >= low && v <= high, "symbol out of range");
    };
    require(klass >= -8 && klass <= 8, "colour step class out of range");
    within(row[kX], 0, q_.grid_width - 1);
    within(row[kY], 0, q_.grid_height - 1);
    within(row[kTau], -q_.max_log_tau(), q_.max_log_tau());
    within(row[kStretch], 0, q_.max_log_anisotropy());
    within(row[kTurn], 0, directions(row[kStretch]) - 1);
    within(row[kReach], -q_.max_radius(), q_.max_radius());
    for (int c = 0; c < q_.channels(); ++c) {
      const int64_t limit = kMaxColor / (q_.step_color[c] * kClassScale[klass + 8]);
      within(row[kInk + c], -limit, limit);
    }
  }

 private:
  const Quantizer& q_;
};

// Differences of one kind of sites: those that change, or those that are put beside others.
template <class Coder>
class DifferenceCoder {
 public:
  DifferenceCoder(Coder& coder, const Quantizer& q, int64_t distance)
      : differences_(coder, 3, 15), q_(q), rows_(q) {
    for (const int axis : {kX, kY}) differences_.expect(axis, distance);
  }

  // Codes `row` as the difference from `base` moved by (dx, dy) cells.
  void code(const int32_t* base, int64_t dx, int64_t dy, int32_t* row) {
    differences_.begin_row();
    symbol(kX, kPosition, std::clamp<int64_t>(base[kX] + dx, 0, q_.grid_width - 1), row);
    symbol(kY, kPosition, std::clamp<int64_t>(base[kY] + dy, 0, q_.grid_height - 1), row);
    symbol(kTau, kLogTau, base[kTau], row);
    symbol(kStretch, kLogAnisotropy, base[kStretch], row);
    checked(row[kStretch], 0, q_.max_log_anisotropy(), "log_anisotropy out of range");
    row[kTurn] =
        differences_.direction(kTurn, kAngle, 0, base[kTurn], rows_.directions(base[kStretch]),
                               row[kTurn], rows_.directions(row[kStretch]));
    if (q_.has_radius()) symbol(kReach, kRadius, base[kReach], row);
    for (int c = 0; c < q_.channels(); ++c) symbol(kInk + c, kColor0 + c, base[kInk + c], row);
  }

 private:
  void symbol(int place, int column, int64_t predicted, int32_t* row) {
    row[place] = differences_.symbol(place, column, place == kY ? 64 : 0, predicted, row[place]);
  }

  AdaptiveDifferences<Coder, kMaxRow> differences_;
  const Quantizer& q_;
  Rows rows_;
};

template <class Coder>
class DeltaCoder {
 public:
  DeltaCoder(Coder& coder, const Quantizer& q, const Frame& before, size_t count)
      : coder_(coder),
        before_(before),
        width_(Rows(q).width()),
        count_(count),
        moved_(coder, q, 1),
        added_(coder, q, 8) {}

  // Encoding: rows and sources are those of `after`. Decoding: they are filled.
  void run(DeltaFrame& after) {
    const size_t sites = after.source.size();
    size_t next = 0;  // of the sites that are encoded
    for (size_t i = 0; i < before_.size(); ++i) {
      const auto at = static_cast<int32_t>(i);
      const int32_t* base = before_.rows.data() + i * width_;
      const bool here = next < sites && after.source[next] == at;
      const int32_t* given = here ? after.frame.rows.data() + next * width_ : nullptr;
      const bool same = here && std::equal(base, base + width_, given);
      const bool kept = coder_.bit(kept_[context(i)], same);
      recent_ = ((recent_ << 1) | (kept ? 0 : 1)) & 255;
      if (!kept && coder_.bit(gone_, !here)) continue;
      int32_t row[kMaxRow] = {};
      std::copy(base, base + width_, row);
      if (!kept) {
        if (given) std::copy(given, given + width_, row);
        moved_.code(base, motion_[0] / kMotionUnit, motion_[1] / kMotionUnit, row);
        for (const int axis : {kX, kY})
          motion_[axis] += (kMotionUnit * (int64_t(row[axis]) - base[axis]) - motion_[axis]) / 4;
      }
      take(at, row, !kept);
      ++next;
      while (true) {
        const bool another = next < sites && after.source[next] == at;
        if (!coder_.bit(more_[kept ? 0 : 1], another)) break;
        int32_t beside[kMaxRow] = {};
        if (another) std::copy_n(after.frame.rows.data() + next * width_, width_, beside);
        added_.code(row, 0, 0, beside);
        take(at, beside, true);
        ++next;
      }
    }
    require(out_.source.size() == count_, "another number of sites than stated");
    after = std::move(out_);
  }

 private:
  // Few or many of the last eight sites changed, and whether this one did last time.
  int context(size_t i) const {
    return 2 * __builtin_popcount(static_cast<unsigned>(recent_)) + (before_.changed[i] ? 1 : 0);
  }

  void take(int32_t source, const int32_t* row, bool changed) {
    require(out_.source.size() < count_, "more sites than stated");
    out_.source.push_back(source);
    out_.frame.rows.insert(out_.frame.rows.end(), row, row + width_);
    out_.frame.classes.push_back(before_.classes[source]);
    out_.frame.changed.push_back(changed ? 1 : 0);
  }

  Coder& coder_;
  const Frame& before_;
  const int width_;
  const size_t count_;
  AdaptiveBit kept_[18], gone_{4096, 4}, more_[2] = {{2048, 4}, {2048, 4}};
  DifferenceCoder<Coder> moved_, added_;
  int64_t motion_[2] = {};  // cells, in sixteenths: running mean of the sites that moved
  int recent_ = 0;
  DeltaFrame out_;
};

void require_frame(const Quantizer& q, const Frame& frame) {
  const Rows rows(q);
  require(frame.size() >= 1 && frame.size() <= size_t(kMaxSites), "site count out of range");
  require(frame.rows.size() == frame.size() * rows.width() && frame.changed.size() == frame.size(),
          "columns differ in length");
  for (size_t i = 0; i < frame.size(); ++i)
    rows.check(frame.rows.data() + i * rows.width(), frame.classes[i]);
}

}  // namespace

std::vector<uint8_t> encode_delta(const Quantizer& q, const Frame& before,
                                  const std::vector<int32_t>& rows,
                                  const std::vector<int32_t>& source) {
  require_frame(q, before);
  DeltaFrame after;
  after.frame.rows = rows;
  after.source = source;
  require(!source.empty() && source.size() <= size_t(kMaxSites), "site count out of range");
  require(source.front() >= 0 && size_t(source.back()) < before.size() &&
              std::is_sorted(source.begin(), source.end()),
          "sources out of order");
  for (const int32_t i : source) {
    after.frame.classes.push_back(before.classes[i]);
    after.frame.changed.push_back(0);
  }
  require_frame(q, after.frame);
  RangeEncoder coder;
  DeltaCoder<RangeEncoder>(coder, q, before, source.size()).run(after);
  return coder.finish();
}

DeltaFrame decode_delta(const Quantizer& q, const Frame& before, size_t count, const uint8_t* data,
                        size_t size) {
  require_frame(q, before);
  require(count >= 1 && count <= size_t(kMaxSites), "site count out of range");
  RangeDecoder coder(data, size);
  DeltaFrame after;
  DeltaCoder<RangeDecoder>(coder, q, before, count).run(after);
  coder.finish();
  require_frame(q, after.frame);
  return after;
}

}  // namespace sad::coder
