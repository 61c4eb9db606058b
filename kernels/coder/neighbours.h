// Exact nearest neighbours of sites in Morton order: a packed tree of bounding boxes, eight
// children each.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace sad::coder {

constexpr int kIndexBits = 24;
constexpr int kNearestAny = 6;     // of all other sites: spacing and colour class
constexpr int kNearestCoded = 12;  // of the sites before this one: prediction

// The K smallest keys so far. A key is squared distance * 2^24 + index: ties go to the lower index.
template <int K>
struct NearestList {
  uint64_t key[K];

  NearestList() { std::fill(key, key + K, UINT64_MAX); }
  // Whether it is one of them.
  bool insert(uint64_t k) {
    if (k >= key[K - 1]) return false;
    int slot = K - 1;
    for (; slot > 0 && key[slot - 1] > k; --slot) key[slot] = key[slot - 1];
    key[slot] = k;
    return true;
  }
  int count() const { return static_cast<int>(std::lower_bound(key, key + K, UINT64_MAX) - key); }
  int32_t index(int i) const { return static_cast<int32_t>(key[i] & ((1u << kIndexBits) - 1)); }
  int64_t distance(int i) const { return static_cast<int64_t>(key[i] >> kIndexBits); }
};

struct Neighbourhood {
  NearestList<kNearestAny> any;
  NearestList<kNearestCoded> coded;
};

// Eight children a box, and consecutive sites in it: level 0 holds the points as degenerate boxes.
class BoxTree {
 public:
  static constexpr int kShift = 3;
  static constexpr int32_t kFan = 1 << kShift;
  static constexpr int32_t kFar = 1 << 29;

  struct Box {
    int32_t x0, x1, y0, y1;
  };

  struct Block {
    int32_t x0[kFan], x1[kFan], y0[kFan], y1[kFan];  // unused places are out of every reach

    Block() {
      std::fill(x0, x0 + kFan, 2 * kFar);
      std::fill(y0, y0 + kFan, 2 * kFar);
      std::fill(x1, x1 + kFan, -2 * kFar);
      std::fill(y1, y1 + kFan, -2 * kFar);
    }
    void set(size_t i, const Box& b) {
      x0[i] = b.x0;
      x1[i] = b.x1;
      y0[i] = b.y0;
      y1[i] = b.y1;
    }
    Box bounds() const {
      return {*std::min_element(x0, x0 + kFan), *std::max_element(x1, x1 + kFan),
              *std::min_element(y0, y0 + kFan), *std::max_element(y1, y1 + kFan)};
    }
  };

  static size_t blocks(size_t n) { return (n + kFan - 1) / kFan; }

  BoxTree(const std::vector<int32_t>& x, const std::vector<int32_t>& y) : size_(x.size()) {
    std::vector<Block> level(blocks(x.size()));
    for (size_t i = 0; i < x.size(); ++i) level[i / kFan].set(i % kFan, {x[i], x[i], y[i], y[i]});
    while (true) {
      levels.push_back(level);
      if (level.size() == 1) break;
      std::vector<Block> upper(blocks(level.size()));
      for (size_t i = 0; i < level.size(); ++i) upper[i / kFan].set(i % kFan, level[i].bounds());
      level.swap(upper);
    }
  }

  size_t size() const { return size_; }

  std::vector<std::vector<Block>> levels;

 private:
  size_t size_;
};

// Answers queries for sites first, first + 1, ... in turn: the answer for one site bounds the
// search for the next. A query visits only boxes within reach of the farthest neighbour so far;
// many sites in one cell cost no more than others, because equal distances prefer low indices.
class NeighbourSearch {
 public:
  explicit NeighbourSearch(const BoxTree& tree, size_t first = 0)
      : levels_(tree.levels), seen_(tree.size(), -1), site_(static_cast<int32_t>(first) - 1) {}

  const Neighbourhood& next() {
    const Neighbourhood before = found_;
    found_ = {};
    ++site_;
    x_ = levels_[0][site_ >> kShift].x0[site_ % kFan];
    y_ = levels_[0][site_ >> kShift].y0[site_ % kFan];
    seen_[site_] = site_;
    if (before.any.count() > 0) {
      offer(site_ - 1);
      for (int k = 0, n = before.coded.count(); k < n; ++k) offer(before.coded.index(k));
      for (int k = 0, n = before.any.count(); k < n; ++k) offer(before.any.index(k));
    }
    update_reach();
    int32_t node = site_ >> kShift;
    scan(node);
    for (size_t level = 1; level < levels_.size(); ++level) {
      const int32_t parent = node >> kShift;
      visit(level, parent, node % kFan);
      node = parent;
    }
    return found_;
  }

 private:
  static constexpr int kShift = BoxTree::kShift;
  static constexpr int32_t kFan = BoxTree::kFan;
  static constexpr int32_t kFar = BoxTree::kFar;
  using Block = BoxTree::Block;

  // No site farther than this along an axis can enter a list. The root only prunes: one too large
  // costs time alone.
  static int32_t reach(uint64_t worst) {
    if (worst == UINT64_MAX) return kFar;
    return static_cast<int32_t>(std::sqrt(static_cast<double>(worst >> kIndexBits))) + 1;
  }
  // Sites of the same cell with a higher index than this cannot enter it either.
  static int32_t last(uint64_t worst) {
    return worst >> kIndexBits == 0 ? static_cast<int32_t>(worst) : INT32_MAX;
  }
  void update_reach() {
    any_reach_ = reach(found_.any.key[kNearestAny - 1]);
    coded_reach_ = std::max(any_reach_, reach(found_.coded.key[kNearestCoded - 1]));
    any_last_ = last(found_.any.key[kNearestAny - 1]);
    coded_last_ = std::max(any_last_, last(found_.coded.key[kNearestCoded - 1]));
  }

  // Which children of a block lie within reach, as bits; written so that compilers use vector
  // operations.
  uint32_t near(size_t level, int32_t block) const {
    static constexpr int32_t kBit[kFan] = {1, 2, 4, 8, 16, 32, 64, 128};
    const Block& b = levels_[level][block];
    const int32_t first = block << (kShift * (level + 1));
    const bool coded = first < site_;
    if (first > (coded ? coded_last_ : any_last_)) return 0;
    const int32_t r = coded ? coded_reach_ : any_reach_;
    const int32_t left = x_ - r;
    const int32_t right = x_ + r;
    const int32_t top = y_ - r;
    const int32_t bottom = y_ + r;
    int32_t mask = 0;
    for (int i = 0; i < kFan; ++i) {
      const int32_t hit =
          -static_cast<int32_t>(b.x0[i] <= right) & -static_cast<int32_t>(b.x1[i] >= left) &
          -static_cast<int32_t>(b.y0[i] <= bottom) & -static_cast<int32_t>(b.y1[i] >= top);
      mask |= hit & kBit[i];
    }
    return static_cast<uint32_t>(mask);
  }

  void offer(int32_t i) {
    if (seen_[i] == site_) return;
    seen_[i] = site_;
    const Block& b = levels_[0][i >> kShift];
    const int64_t dx = b.x0[i % kFan] - x_;
    const int64_t dy = b.y0[i % kFan] - y_;
    const uint64_t key =
        (static_cast<uint64_t>(dx * dx + dy * dy) << kIndexBits) | static_cast<uint32_t>(i);
    if (i < site_) changed_ |= found_.coded.insert(key);
    changed_ |= found_.any.insert(key);
  }

  void scan(int32_t leaf) {
    uint32_t mask = near(0, leaf);
    if (mask == 0) return;
    changed_ = false;
    for (; mask != 0; mask &= mask - 1) offer(leaf * kFan + __builtin_ctz(mask));
    if (changed_) update_reach();
  }

  // Searches the children of a block except one; the depth is at most log8(2^24) = 8.
  void visit(size_t level, int32_t block, int32_t except) {
    for (uint32_t mask = near(level, block) & ~(1u << except); mask != 0; mask &= mask - 1) {
      const int32_t child = block * kFan + __builtin_ctz(mask);
      if (level == 1)
        scan(child);
      else
        visit(level - 1, child, kFan);
    }
  }

  const std::vector<std::vector<Block>>& levels_;
  std::vector<int32_t> seen_;  // the last site for which this one was looked at
  Neighbourhood found_;
  int32_t site_;
  int32_t x_ = 0, y_ = 0;
  int32_t any_reach_ = kFar, coded_reach_ = kFar;
  int32_t any_last_ = INT32_MAX, coded_last_ = INT32_MAX;
  bool changed_ = false;  // a list, since it was last set
};

}  // namespace sad::coder
