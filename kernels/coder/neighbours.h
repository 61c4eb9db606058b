// Exact nearest neighbours of sites in Morton order: a packed tree of bounding boxes, eight children each.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace sad::coder {

// The k nearest so far, ordered by (squared distance, index): ties go to the lower index.
template <int K>
struct NearestList {
    int64_t distance[K];
    int32_t index[K];
    int count = 0;

    bool admits(int64_t d, int32_t i) const {
        if (count < K) return true;
        return d < distance[K - 1] || (d == distance[K - 1] && i < index[K - 1]);
    }

    void insert(int64_t d, int32_t i) {
        if (!admits(d, i)) return;
        int slot = count < K ? count++ : K - 1;
        while (slot > 0 && (distance[slot - 1] > d || (distance[slot - 1] == d && index[slot - 1] > i))) {
            distance[slot] = distance[slot - 1];
            index[slot] = index[slot - 1];
            --slot;
        }
        distance[slot] = d;
        index[slot] = i;
    }
};

constexpr int kNearestAny = 6;    // of all other sites: spacing and colour class
constexpr int kNearestCoded = 4;  // of the sites before this one: prediction

struct Neighbourhood {
    NearestList<kNearestAny> any;
    NearestList<kNearestCoded> coded;
};

// Queries visit a box only if its nearest corner could still enter a list, starting beside the site itself: cost is
// logarithmic even when all sites share a cell, because boxes hold consecutive indices and ties prefer low ones.
class NeighbourIndex {
public:
    NeighbourIndex(const std::vector<int32_t>& x, const std::vector<int32_t>& y) : x_(x.data()), y_(y.data()), n_(static_cast<int32_t>(x.size())) {
        std::vector<Box> level;
        for (int32_t begin = 0; begin < n_; begin += kFan) {
            Box box{x[begin], x[begin], y[begin], y[begin]};
            for (int32_t i = begin + 1; i < std::min(begin + kFan, n_); ++i) box.cover({x[i], x[i], y[i], y[i]});
            level.push_back(box);
        }
        while (true) {
            levels_.push_back(level);
            if (level.size() <= 1) break;
            std::vector<Box> upper;
            for (size_t begin = 0; begin < level.size(); begin += kFan) {
                Box box = level[begin];
                for (size_t i = begin + 1; i < std::min(begin + kFan, level.size()); ++i) box.cover(level[i]);
                upper.push_back(box);
            }
            level.swap(upper);
        }
    }

    Neighbourhood query(int32_t site) const {
        Neighbourhood found;
        scan(site >> kShift, site, found);
        int32_t node = site >> kShift;
        for (size_t level = 0; level + 1 < levels_.size(); ++level) {
            const int32_t begin = node & ~(kFan - 1);
            const auto end = static_cast<int32_t>(std::min<size_t>(begin + kFan, levels_[level].size()));
            // Nearest indices first: Morton neighbours are usually close.
            for (int32_t step = 1; step < kFan; ++step) {
                if (node - step >= begin) descend(level, node - step, site, found);
                if (node + step < end) descend(level, node + step, site, found);
            }
            node >>= kShift;
        }
        return found;
    }

private:
    static constexpr int kShift = 3;
    static constexpr int32_t kFan = 1 << kShift;

    struct Box {
        int32_t x0, x1, y0, y1;
        void cover(const Box& o) {
            x0 = std::min(x0, o.x0);
            x1 = std::max(x1, o.x1);
            y0 = std::min(y0, o.y0);
            y1 = std::max(y1, o.y1);
        }
        int64_t distance(int64_t x, int64_t y) const {
            const int64_t dx = std::max<int64_t>({x0 - x, 0, x - x1});
            const int64_t dy = std::max<int64_t>({y0 - y, 0, y - y1});
            return dx * dx + dy * dy;
        }
    };

    bool wanted(size_t level, int32_t node, int32_t site, const Neighbourhood& found) const {
        const int64_t d = levels_[level][node].distance(x_[site], y_[site]);
        const auto first = static_cast<int32_t>(int64_t(node) << (kShift * (level + 1)));
        return found.any.admits(d, first) || (first < site && found.coded.admits(d, first));
    }

    void scan(int32_t leaf, int32_t site, Neighbourhood& found) const {
        const int32_t begin = leaf << kShift;
        const int32_t end = std::min(begin + kFan, n_);
        const int64_t x = x_[site];
        const int64_t y = y_[site];
        for (int32_t i = begin; i < end; ++i) {
            if (i == site) continue;
            const int64_t dx = x_[i] - x;
            const int64_t dy = y_[i] - y;
            const int64_t d = dx * dx + dy * dy;
            found.any.insert(d, i);
            if (i < site) found.coded.insert(d, i);
        }
    }

    // Depth is at most log8(2^24) = 8 levels of at most 8 entries.
    void descend(size_t level, int32_t node, int32_t site, Neighbourhood& found) const {
        struct Entry {
            size_t level;
            int32_t node;
        };
        Entry stack[8 * kFan];
        int size = 0;
        stack[size++] = {level, node};
        while (size > 0) {
            const Entry top = stack[--size];
            if (!wanted(top.level, top.node, site, found)) continue;
            if (top.level == 0) {
                scan(top.node, site, found);
                continue;
            }
            const int32_t begin = top.node << kShift;
            const auto end = static_cast<int32_t>(std::min<size_t>(begin + kFan, levels_[top.level - 1].size()));
            for (int32_t child = end; child-- > begin;) stack[size++] = {top.level - 1, child};
        }
    }

    const int32_t* x_;
    const int32_t* y_;
    int32_t n_;
    std::vector<std::vector<Box>> levels_;
};

}  // namespace sad::coder
