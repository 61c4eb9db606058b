// Positions as a set: the grid is split along bit planes, level by level, and the count of the lower half is coded.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "range_coder.h"
#include "sites.h"

namespace sad::coder {

// The order in which the bits of x and y are consumed: always the longer side of the node, x on a tie.
struct SplitOrder {
    int bits_x, bits_y;

    explicit SplitOrder(const Quantizer& q) : bits_x(bit_length(q.grid_width - 1)), bits_y(bit_length(q.grid_height - 1)) {}
    int depth() const { return bits_x + bits_y; }
};

// Bits of (x, y) interleaved in split order: sorting by it is the traversal order.
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

// Stable order of the sites by Morton key.
inline std::vector<int32_t> traversal_order(const Quantizer& q, const std::vector<int32_t>& x, const std::vector<int32_t>& y,
                                            std::vector<uint64_t>* sorted_keys = nullptr) {
    const SplitOrder order(q);
    std::vector<std::pair<uint64_t, int32_t>> keyed(x.size());
    for (size_t i = 0; i < x.size(); ++i)
        keyed[i] = {morton_key(order, static_cast<uint32_t>(x[i]), static_cast<uint32_t>(y[i])), static_cast<int32_t>(i)};
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
    PositionCoder(Coder& coder, const Quantizer& q) : coder_(coder), q_(q), order_(q) {}

    // Encoding: keys are the sorted Morton keys and x, y are only rewritten. Decoding: keys is unused.
    void run(int32_t count, const std::vector<uint64_t>& keys, std::vector<int32_t>& x, std::vector<int32_t>& y) {
        keys_ = &keys;
        x.resize(count);
        y.resize(count);
        rx_ = order_.bits_x;
        ry_ = order_.bits_y;
        std::vector<Node> nodes{{0, 0, count}};
        std::vector<Node> next;
        while ((rx_ > 0 || ry_ > 0) && dense(count)) {
            fill_counts(nodes);
            next.clear();
            next.reserve(std::min<size_t>(2 * nodes.size(), count));
            const bool along_x = rx_ >= ry_;
            int32_t begin = 0;
            for (const Node& node : nodes) {
                const int32_t low = split(node, begin, along_x, true);
                push_children(next, node, low, along_x);
                begin += node.count;
            }
            nodes.swap(next);
            (along_x ? rx_ : ry_)--;
        }
        int32_t begin = 0;
        for (const Node& node : nodes) {
            finish_node(node, begin, x, y);
            begin += node.count;
        }
    }

private:
    struct Node {
        uint32_t x, y;  // upper bits of its cells
        int32_t count;
    };

    static constexpr int kSmall = 8;  // counts up to here have a context per outcome

    // Counts of neighbours are contexts while there are at most eight cells a site.
    bool dense(int32_t count) const {
        const int64_t cells = columns() * rows();
        return cells <= std::min<int64_t>(8 * int64_t(count), int64_t(1) << 25);
    }
    int64_t columns() const { return ((q_.grid_width - 1) >> rx_) + 1; }
    int64_t rows() const { return ((q_.grid_height - 1) >> ry_) + 1; }

    void fill_counts(const std::vector<Node>& nodes) {
        stride_ = columns() + 2;
        counts_.assign(static_cast<size_t>(stride_ * (rows() + 2)), 0);
        for (const Node& node : nodes) counts_[cell(node)] = static_cast<uint32_t>(node.count);
    }
    size_t cell(const Node& node) const { return static_cast<size_t>((node.y + 1) * stride_ + node.x + 1); }

    static void push_children(std::vector<Node>& out, const Node& node, int32_t low, bool along_x) {
        const uint32_t x = along_x ? 2 * node.x : node.x;
        const uint32_t y = along_x ? node.y : 2 * node.y;
        if (low > 0) out.push_back({x, y, low});
        if (low < node.count) out.push_back({along_x ? x + 1 : x, along_x ? y : y + 1, node.count - low});
    }

    // How many of the node's sites have a zero in the next bit.
    int32_t count_low(const Node& node, int32_t begin) const {
        if constexpr (Coder::kDecoding) return 0;
        const int bit = rx_ + ry_ - 1;
        const auto first = keys_->begin() + begin;
        return static_cast<int32_t>(
            std::partition_point(first, first + node.count, [bit](uint64_t key) { return ((key >> bit) & 1) == 0; }) - first);
    }

    int32_t split(const Node& node, int32_t begin, bool along_x, bool with_neighbours) {
        const int shift = along_x ? rx_ - 1 : ry_ - 1;
        const int64_t limit = along_x ? q_.grid_width : q_.grid_height;
        const int64_t start = int64_t(along_x ? node.x : node.y) << (shift + 1);
        const int64_t half = int64_t(1) << shift;
        const int64_t high_cells = std::min(half, limit - start - half);
        if (high_cells <= 0) return node.count;
        const int32_t actual = count_low(node, begin);
        if (high_cells != half) return split_unequal(node.count, actual, half, high_cells);

        int context = 0;
        bool mirror = false;
        if (with_neighbours) {
            const uint32_t* c = &counts_[cell(node)];
            const int64_t side = along_x ? 1 : stride_;
            const int64_t across = along_x ? stride_ : 1;
            const int64_t before = 2 * int64_t(c[-side]) + c[-side - across] + c[-side + across];
            const int64_t after = 2 * int64_t(c[side]) + c[side - across] + c[side + across];
            mirror = before > after;
            const int64_t difference = mirror ? before - after : after - before;
            const int64_t total = before + after;
            context = 1 + (difference == 0 ? (total == 0 ? 0 : 1) : (4 * difference <= total ? 2 : (2 * difference <= total ? 3 : 4)));
        }
        const int32_t value = mirror ? node.count - actual : actual;
        const int32_t coded = node.count <= kSmall ? small(node.count, value, context) : large(node.count, value, node.count / 2, context);
        return mirror ? node.count - coded : coded;
    }

    int32_t split_unequal(int32_t count, int32_t actual, int64_t low_cells, int64_t high_cells) {
        if (count == 1) {
            const int64_t p = std::clamp<int64_t>((low_cells << 16) / (low_cells + high_cells), kProbabilityFloor, 65536 - kProbabilityFloor);
            return coder_.fixed(static_cast<uint32_t>(p), actual == 1) ? 1 : 0;
        }
        const auto expected = static_cast<int32_t>(int64_t(count) * low_cells / (low_cells + high_cells));
        return large(count, actual, expected, kContexts - 1);
    }

    // Bisection of 0..count with one model for every threshold.
    int32_t small(int32_t count, int32_t value, int context) {
        int32_t low = 0;
        int32_t high = count;
        while (low < high) {
            const int32_t middle = (low + high) / 2;
            if (coder_.bit(small_[context][count][middle], value > middle))
                low = middle + 1;
            else
                high = middle;
        }
        return low;
    }

    // Deviation from the expected count: sign, Golomb-coded magnitude with the parameter of a binomial's spread.
    int32_t large(int32_t count, int32_t value, int32_t expected, int context) {
        const int scale = bit_length(static_cast<uint64_t>(count)) - 1;
        const int raw = std::max(0, scale / 2 - 1);
        LargeModel& model = large_[context][scale];
        const int32_t deviation = value - expected;
        if (!coder_.bit(model.nonzero, deviation != 0)) return expected;
        const bool negative = coder_.bit(model.negative, deviation < 0);
        const auto magnitude = static_cast<uint32_t>(negative ? -deviation : deviation) - 1;
        uint32_t quotient = 0;
        while (quotient < kUnary && coder_.bit(model.unary[quotient], (magnitude >> raw) > quotient)) ++quotient;
        if (quotient == kUnary) {
            const uint32_t excess = (magnitude >> raw) - kUnary + 1;
            const int length = bit_length(excess) - 1;
            int bits = 0;
            while (coder_.bit(model.escape[bits], length > bits))
                if (++bits > 24) throw CorruptPayload("count outside its node");
            quotient = kUnary - 1 + ((1u << bits) | coder_.bits(excess & ((1u << bits) - 1), bits));
        }
        const int64_t decoded = ((int64_t(quotient) << raw) | coder_.bits(magnitude & ((1u << raw) - 1), raw)) + 1;
        const int64_t result = negative ? expected - decoded : expected + decoded;
        if (result < 0 || result > count) throw CorruptPayload("count outside its node");
        return static_cast<int32_t>(result);
    }

    // Below the levels with neighbours: single sites as raw bits, the rest split further, depth first.
    void finish_node(const Node& root, int32_t begin, std::vector<int32_t>& x, std::vector<int32_t>& y) {
        struct Entry {
            Node node;
            int rx, ry;
        };
        Entry stack[64];
        int size = 0;
        const int saved_rx = rx_;
        const int saved_ry = ry_;
        stack[size++] = {root, rx_, ry_};
        while (size > 0) {
            const Entry entry = stack[--size];
            const Node& node = entry.node;
            rx_ = entry.rx;
            ry_ = entry.ry;
            if (node.count == 1 || (rx_ == 0 && ry_ == 0)) {
                uint32_t cx = node.x;
                uint32_t cy = node.y;
                if (rx_ > 0 || ry_ > 0) {
                    const uint32_t low_x = Coder::kDecoding ? 0 : static_cast<uint32_t>(x[begin]) & ((1u << rx_) - 1);
                    const uint32_t low_y = Coder::kDecoding ? 0 : static_cast<uint32_t>(y[begin]) & ((1u << ry_) - 1);
                    cx = (cx << rx_) | coder_.bits(low_x, rx_);
                    cy = (cy << ry_) | coder_.bits(low_y, ry_);
                    if (cx >= q_.grid_width || cy >= q_.grid_height) throw CorruptPayload("position outside the grid");
                }
                for (int32_t i = 0; i < node.count; ++i, ++begin) {
                    x[begin] = static_cast<int32_t>(cx);
                    y[begin] = static_cast<int32_t>(cy);
                }
                continue;
            }
            const bool along_x = rx_ >= ry_;
            const int32_t low = split(node, begin, along_x, false);
            const int rx = along_x ? rx_ - 1 : rx_;
            const int ry = along_x ? ry_ : ry_ - 1;
            const uint32_t nx = along_x ? 2 * node.x : node.x;
            const uint32_t ny = along_x ? node.y : 2 * node.y;
            if (low < node.count)
                stack[size++] = {{along_x ? nx + 1 : nx, along_x ? ny : ny + 1, node.count - low}, rx, ry};
            if (low > 0) stack[size++] = {{nx, ny, low}, rx, ry};
        }
        rx_ = saved_rx;
        ry_ = saved_ry;
    }

    static constexpr int kContexts = 7;  // without neighbours, five with, unequal halves
    static constexpr uint32_t kUnary = 12;

    struct LargeModel {
        AdaptiveBit nonzero, negative, unary[kUnary], escape[26];
    };

    Coder& coder_;
    const Quantizer& q_;
    SplitOrder order_;
    const std::vector<uint64_t>* keys_ = nullptr;
    int rx_ = 0, ry_ = 0;
    int64_t stride_ = 0;
    std::vector<uint32_t> counts_;
    AdaptiveBit small_[kContexts][kSmall + 1][kSmall];
    LargeModel large_[kContexts][26];
};

}  // namespace sad::coder
