// What both sides know about a site from positions alone: neighbours, spacing and, with log_tau,
// the colour step class.
#pragma once

#include <algorithm>
#include <cstdint>
#include <future>
#include <vector>

#include "integer_math.h"
#include "neighbours.h"
#include "sites.h"

namespace sad::coder {

struct SiteNeighbours {
  int32_t any[kNearestAny];
  int32_t coded[kNearestCoded];
  int32_t weight[kNearestCoded];  // falls with squared distance, the nearest has 2^12
  int32_t spacing;                // mean log2 distance to the nearest sites, Q16
  int8_t any_count, coded_count;

  // Floor of the weighted mean of value(j) over the coded neighbours; 0 without any.
  template <class Value>
  int64_t mean(Value&& value) const {
    if (coded_count == 0) return 0;
    int64_t sum = 0;
    int64_t total = 0;
    for (int k = 0; k < coded_count; ++k) {
      sum += weight[k] * static_cast<int64_t>(value(coded[k]));
      total += weight[k];
    }
    return floor_div(sum, total);
  }

  // Floor of the mean of value(j) over the nearest sites, coded or not; 0 without any.
  template <class Value>
  int64_t mean_any(Value&& value) const {
    if (any_count == 0) return 0;
    int64_t sum = 0;
    for (int k = 0; k < any_count; ++k) sum += static_cast<int64_t>(value(any[k]));
    return floor_div(sum, any_count);
  }
};

inline SiteNeighbours describe(const Neighbourhood& found) {
  SiteNeighbours site{};
  site.any_count = static_cast<int8_t>(found.any.count());
  site.coded_count = static_cast<int8_t>(found.coded.count());
  int64_t log_sum = 0;
  for (int k = 0; k < site.any_count; ++k) {
    site.any[k] = found.any.index(k);
    log_sum += ilog2(static_cast<uint64_t>(found.any.distance(k)) + 1);
  }
  site.spacing = site.any_count == 0 ? 0 : static_cast<int32_t>(log_sum / (2 * site.any_count));
  for (int k = 0; k < site.coded_count; ++k) site.coded[k] = found.coded.index(k);
  if (site.coded_count == 0) return site;
  // Shifted so that 32 bits suffice.
  const int64_t nearest = found.coded.distance(0);
  const int64_t farthest = found.coded.distance(site.coded_count - 1);
  const int shift = std::max(0, bit_length(static_cast<uint64_t>(farthest + nearest)) - 19);
  const auto unit = static_cast<uint32_t>(nearest >> shift);
  for (int k = 0; k < site.coded_count; ++k) {
    const auto distance = static_cast<uint32_t>(found.coded.distance(k) >> shift);
    site.weight[k] = static_cast<int32_t>(((2 * unit + 1) << 12) / (distance + unit + 1));
  }
  return site;
}

// Sites must be in traversal order. The result does not depend on the number of threads.
inline std::vector<SiteNeighbours> find_neighbours(const std::vector<int32_t>& x,
                                                   const std::vector<int32_t>& y, int threads) {
  const BoxTree tree(x, y);
  std::vector<SiteNeighbours> result(x.size());
  const auto search = [&](size_t begin, size_t end) {
    NeighbourSearch queries(tree, begin);
    for (size_t i = begin; i < end; ++i) result[i] = describe(queries.next());
  };
  constexpr size_t kWorthAThread = 1024;  // sites; a thread takes some 50 us to start
  const size_t n = x.size();
  const size_t parts = std::clamp<size_t>(n / kWorthAThread, 1, static_cast<size_t>(threads));
  std::vector<std::future<void>> others;
  for (size_t t = 1; t < parts; ++t)
    others.push_back(std::async(std::launch::async, search, n * t / parts, n * (t + 1) / parts));
  search(0, n / parts);
  for (std::future<void>& other : others) other.get();
  return result;
}

// Mean spacing, the reference of the colour step classes.
inline int64_t mean_spacing(const std::vector<SiteNeighbours>& sites) {
  int64_t sum = 0;
  for (const SiteNeighbours& site : sites) sum += site.spacing;
  return sites.empty() ? 0 : sum / static_cast<int64_t>(sites.size());
}

// Classes 0..16 (half octaves -8..8) of every site's colour step.
inline std::vector<int8_t> color_classes(const std::vector<SiteNeighbours>& sites,
                                         const std::vector<int32_t>& log_tau, const Quantizer& q,
                                         int64_t reference) {
  std::vector<int8_t> classes(sites.size());
  for (size_t i = 0; i < sites.size(); ++i) {
    const SiteNeighbours& site = sites[i];
    const int64_t excess = int64_t(log_tau[i]) * 65536 -
                           site.mean_any([&](int32_t j) { return int64_t(log_tau[j]) * 65536; });
    const int64_t sharpness = (q.tau_gain * q.step_log_tau * excess * kLog2E) >> 26;
    const int64_t distance = q.distance_gain * (site.spacing - reference);
    const int64_t k = site.any_count == 0 ? 0 : (sharpness - distance + (int64_t(1) << 21)) >> 22;
    classes[i] = static_cast<int8_t>(std::clamp<int64_t>(k, -8, 8) + 8);
  }
  return classes;
}

}  // namespace sad::coder
