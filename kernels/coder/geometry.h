// What both sides know about a site before its columns are coded: neighbours, spacing and colour step class.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "integer_math.h"
#include "neighbours.h"
#include "sites.h"

namespace sad::coder {

struct SiteNeighbours {
    int32_t any[kNearestAny];
    int32_t coded[kNearestCoded];
    int32_t weight[kNearestCoded];  // inverse squared distance, the nearest has 2^16
    int32_t spacing;                // mean log2 distance to the nearest sites, Q16
    int8_t any_count, coded_count;

    // Floor of the weighted mean of values(j) over the nearest coded sites; 0 without any.
    template <class Values>
    int64_t weighted_mean(Values&& values) const {
        if (coded_count == 0) return 0;
        int64_t sum = 0;
        int64_t total = 0;
        for (int j = 0; j < coded_count; ++j) {
            sum += weight[j] * static_cast<int64_t>(values(coded[j]));
            total += weight[j];
        }
        return floor_div(sum, total);
    }
};

// Sites must be in traversal order.
inline std::vector<SiteNeighbours> find_neighbours(const std::vector<int32_t>& x, const std::vector<int32_t>& y) {
    const NeighbourIndex index(x, y);
    std::vector<SiteNeighbours> result(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
        const Neighbourhood found = index.query(static_cast<int32_t>(i));
        SiteNeighbours& site = result[i];
        site.any_count = static_cast<int8_t>(found.any.count);
        site.coded_count = static_cast<int8_t>(found.coded.count);
        int64_t log_sum = 0;
        for (int j = 0; j < found.any.count; ++j) {
            site.any[j] = found.any.index[j];
            log_sum += ilog2(static_cast<uint64_t>(found.any.distance[j]) + 1);
        }
        site.spacing = found.any.count == 0 ? 0 : static_cast<int32_t>(log_sum / (2 * found.any.count));
        for (int j = 0; j < found.coded.count; ++j) {
            site.coded[j] = found.coded.index[j];
            site.weight[j] = static_cast<int32_t>(((found.coded.distance[0] + 1) << 16) / (found.coded.distance[j] + 1));
        }
    }
    return result;
}

// Classes 0..16 (half octaves -8..8) of every site's colour step.
inline std::vector<int8_t> color_classes(const std::vector<SiteNeighbours>& sites, const std::vector<int32_t>& log_tau,
                                         const Quantizer& q) {
    std::vector<int8_t> classes(sites.size());
    int64_t sum = 0;
    for (const SiteNeighbours& site : sites) sum += site.spacing;
    const int64_t reference = sites.empty() ? 0 : sum / static_cast<int64_t>(sites.size());
    for (size_t i = 0; i < sites.size(); ++i) {
        const SiteNeighbours& site = sites[i];
        int64_t excess = 0;
        if (site.any_count > 0) {
            int64_t tau_sum = 0;
            for (int j = 0; j < site.any_count; ++j) tau_sum += log_tau[site.any[j]];
            excess = int64_t(log_tau[i]) * 65536 - floor_div(tau_sum * 65536, site.any_count);
        }
        const int64_t sharpness = (q.tau_gain * q.step_log_tau * excess * kLog2E) >> 26;
        const int64_t distance = q.distance_gain * (site.spacing - reference);
        const int64_t k = site.any_count == 0 ? 0 : (sharpness - distance + (int64_t(1) << 21)) >> 22;
        classes[i] = static_cast<int8_t>(std::clamp<int64_t>(k, -8, 8) + 8);
    }
    return classes;
}

}  // namespace sad::coder
