// Every column after the positions: prediction, context and residual, shared by all profiles and directions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "geometry.h"
#include "range_coder.h"
#include "sites.h"

namespace sad::coder {

// log_tau is predicted as gamma + alpha T + beta L + delta M, coefficients in Q8: T and M are the means of symbol and
// spacing over coded neighbours, L is the site's own spacing.
struct TauPredictor {
    int32_t alpha = 0, beta = 0, delta = 0, gamma = 0;

    // Q16 symbol.
    int64_t operator()(int64_t neighbour_tau, int64_t spacing, int64_t neighbour_spacing) const {
        return (int64_t(gamma) << 8) + ((alpha * neighbour_tau + beta * spacing + delta * neighbour_spacing) >> 8);
    }
};

constexpr int32_t kMaxCoefficient = 1 << 20;

// Nearest integer of a Q16 value, and which third of the rounding interval it lies in: it tells the likelier sign.
struct Rounded {
    int32_t value;
    int third;
};

inline Rounded round_fraction(int64_t numerator, int64_t denominator) {
    const int64_t shifted = numerator + denominator / 2;
    const int64_t value = floor_div(shifted, denominator);
    const int64_t rest = shifted - value * denominator;
    return {static_cast<int32_t>(value), rest * 3 < denominator ? 0 : (rest * 3 < 2 * denominator ? 1 : 2)};
}

inline int magnitude_class(int64_t magnitude) {
    return magnitude == 0 ? 0 : (magnitude == 1 ? 1 : (magnitude <= 3 ? 2 : 3));
}

inline int32_t checked(int64_t value, int64_t low, int64_t high, const char* message) {
    if (value < low || value > high) throw CorruptPayload(message);
    return static_cast<int32_t>(value);
}

// Sink: residual(column, context, third, value) and direction(context, value, levels) code one integer and return it.
template <class Sink>
class ColumnCoder {
public:
    ColumnCoder(Sink& sink, const Quantizer& q, const TauPredictor& tau, const std::vector<SiteNeighbours>& near, SiteColumns& sites)
        : sink_(sink), q_(q), tau_(tau), near_(near), sites_(sites) {}

    void run() {
        code_log_tau();
        code_log_anisotropy();
        code_angle();
        if (q_.has_radius()) code_radius();
        code_color();
    }

private:
    size_t size() const { return near_.size(); }

    void code_log_tau() {
        const int64_t limit = q_.max_log_tau();
        auto& tau = sites_.log_tau;
        for (size_t i = 0; i < size(); ++i) {
            const SiteNeighbours& site = near_[i];
            const int64_t mean = site.weighted_mean([&](int32_t j) { return int64_t(tau[j]) * 65536; });
            const int64_t spacing = site.weighted_mean([&](int32_t j) { return near_[j].spacing; });
            Rounded p = round_fraction(tau_(mean, site.spacing, spacing), 65536);
            p.value = static_cast<int32_t>(std::clamp<int64_t>(p.value, -limit, limit));
            const int64_t spread = site.weighted_mean([&](int32_t j) { return std::abs(int64_t(tau[j]) * 65536 - mean); });
            const int context = spread < (1 << 16) ? 0 : (spread < (5 << 15) ? 1 : 2);
            const int64_t residual = sink_.residual(kLogTau, context, p.third, int64_t(tau[i]) - p.value);
            tau[i] = checked(p.value + residual, -limit, limit, "log_tau out of range");
        }
    }

    void code_log_anisotropy() {
        const int64_t limit = q_.max_log_anisotropy();
        auto& a = sites_.log_anisotropy;
        for (size_t i = 0; i < size(); ++i) {
            const Rounded p = round_fraction(near_[i].weighted_mean([&](int32_t j) { return int64_t(a[j]) * 65536; }), 65536);
            const int64_t residual = sink_.residual(kLogAnisotropy, std::min(p.value / 2, 7), p.third, int64_t(a[i]) - p.value);
            a[i] = checked(p.value + residual, 0, limit, "log_anisotropy out of range");
        }
    }

    void code_angle() {
        std::vector<int32_t> levels(static_cast<size_t>(q_.max_log_anisotropy()) + 1);
        for (size_t a = 0; a < levels.size(); ++a)
            levels[a] = angle_levels(static_cast<int64_t>(a), q_.step_log_anisotropy, q_.step_angle);
        for (size_t i = 0; i < size(); ++i) {
            const int32_t n = levels[sites_.log_anisotropy[i]];
            sites_.angle[i] = checked(sink_.direction(sites_.angle[i], n), 0, n - 1, "angle out of range");
        }
    }

    void code_radius() {
        const int64_t limit = q_.max_radius();
        auto& radius = sites_.radius;
        for (size_t i = 0; i < size(); ++i) {
            const int64_t mean = near_[i].weighted_mean([&](int32_t j) { return int64_t(radius[j]) * 65536; });
            const Rounded p = round_fraction(mean, 65536);
            const int64_t spread = near_[i].weighted_mean([&](int32_t j) { return std::abs(int64_t(radius[j]) * 65536 - mean); });
            const int context = std::min(bit_length(static_cast<uint64_t>(spread) >> 15), 7);
            const int64_t residual = sink_.residual(kRadius, context, p.third, int64_t(radius[i]) - p.value);
            radius[i] = checked(p.value + residual, -limit, limit, "radius out of range");
        }
    }

    // Values are compared across sites in Q26, where every class has its own unit.
    void code_color() {
        const int channels = q_.channels();
        const std::vector<int8_t> classes = color_classes(near_, sites_.log_tau, q_);
        std::vector<int64_t> values(size() * channels);
        for (size_t i = 0; i < size(); ++i) {
            const SiteNeighbours& site = near_[i];
            int previous = 0;
            for (int c = 0; c < channels; ++c) {
                const int64_t unit = q_.step_color[c] * kClassScale[classes[i]];
                const int64_t mean = site.weighted_mean([&](int32_t j) { return values[size_t(j) * channels + c]; });
                const int64_t spread = site.weighted_mean([&](int32_t j) { return std::abs(values[size_t(j) * channels + c] - mean); });
                const Rounded p = round_fraction(mean, unit);
                const int context = 4 * std::min(bit_length(static_cast<uint64_t>(2 * spread / unit)), 7) + previous;
                int32_t& symbol = sites_.color[i * channels + c];
                const int64_t residual = sink_.residual(kColor0 + c, context, p.third, int64_t(symbol) - p.value);
                symbol = checked(p.value + residual, -kMaxColor / unit, kMaxColor / unit, "colour out of range");
                values[i * channels + c] = symbol * unit;
                previous = magnitude_class(std::abs(residual));
            }
        }
    }

    Sink& sink_;
    const Quantizer& q_;
    TauPredictor tau_;
    const std::vector<SiteNeighbours>& near_;
    SiteColumns& sites_;
};

}  // namespace sad::coder
