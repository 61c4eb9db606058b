// Groups: runs of the traversal order that are coded without regard to each other.
#pragma once

#include <algorithm>
#include <cstdint>
#include <future>
#include <vector>

#include "geometry.h"
#include "position_coder.h"
#include "sites.h"

namespace sad::coder {

// What a group's chunk states beside the number of its sites.
struct GroupFields {
  int64_t low = 0, high = 0;  // upper 16 bits of the keys of its first and its last site
  int64_t spacing = 0;        // of step class 0, Q11
};
constexpr int kSpacingShift = 5;  // from Q16 to Q11

// One run, in traversal order, and what its coding needs.
struct Run {
  int32_t first = 0;
  SiteColumns sites;
  std::vector<uint64_t> keys;
  std::vector<SiteNeighbours> near;
  KeyInterval interval{};
  int64_t reference = 0;  // spacing of step class 0, Q16
  GroupFields fields;
};

struct Runs {
  std::vector<int32_t> order;  // order[k] is the input index of the k-th stored site
  std::vector<Run> list;
};

inline KeyInterval interval_of(const SplitOrder& order, const GroupFields& fields) {
  const int shift = slot_shift(order);
  return {fields.low << shift, (fields.high + 1) << shift};
}

// Calls work(0), ..., work(count - 1) on up to `threads` threads.
template <class Work>
void for_each_run(size_t count, int threads, Work&& work) {
  const size_t parts = std::clamp<size_t>(static_cast<size_t>(threads), 1, count);
  const auto share = [&](size_t part) {
    for (size_t i = part; i < count; i += parts) work(i);
  };
  std::vector<std::future<void>> others;
  for (size_t part = 1; part < parts; ++part)
    others.push_back(std::async(std::launch::async, share, part));
  share(0);
  for (std::future<void>& other : others) other.get();
}

inline std::vector<int32_t> permuted(const std::vector<int32_t>& values,
                                     const std::vector<int32_t>& order, size_t width = 1) {
  if (values.empty()) return {};
  std::vector<int32_t> out(order.size() * width);
  for (size_t i = 0; i < order.size(); ++i)
    for (size_t c = 0; c < width; ++c) out[i * width + c] = values[order[i] * width + c];
  return out;
}

inline SiteColumns permuted(const SiteColumns& sites, const std::vector<int32_t>& order,
                            int channels) {
  SiteColumns out;
  out.x = permuted(sites.x, order);
  out.y = permuted(sites.y, order);
  out.log_tau = permuted(sites.log_tau, order);
  out.log_anisotropy = permuted(sites.log_anisotropy, order);
  out.angle = permuted(sites.angle, order);
  out.radius = permuted(sites.radius, order);
  out.color = permuted(sites.color, order, static_cast<size_t>(channels));
  return out;
}

// Shares the sites out to `groups` runs of equal length; columns may be missing but x and y. A
// single run has all keys as its interval; several have one reference, as exact as it is stored.
inline Runs make_runs(const Quantizer& q, const SiteColumns& sites, int32_t groups, int threads) {
  const SplitOrder split(q);
  Runs runs;
  std::vector<uint64_t> keys;
  runs.order = traversal_order(q, sites.x, sites.y, &keys);
  const size_t n = runs.order.size();
  const auto count = static_cast<size_t>(groups);
  runs.list.resize(count);
  const int inner = count == 1 ? threads : 1;
  for_each_run(count, threads, [&](size_t g) {
    Run& run = runs.list[g];
    const size_t begin = n * g / count;
    const size_t end = n * (g + 1) / count;
    run.first = static_cast<int32_t>(begin);
    run.keys.assign(keys.begin() + begin, keys.begin() + end);
    const std::vector<int32_t> part(runs.order.begin() + begin, runs.order.begin() + end);
    run.sites = permuted(sites, part, q.channels());
    run.near = find_neighbours(run.sites.x, run.sites.y, inner);
  });
  if (count == 1) {
    runs.list[0].interval = all_keys(split);
    runs.list[0].reference = mean_spacing(runs.list[0].near);
    return runs;
  }
  int64_t sum = 0;
  for (const Run& run : runs.list)
    for (const SiteNeighbours& site : run.near) sum += site.spacing;
  const int shift = slot_shift(split);
  for (Run& run : runs.list) {
    run.fields.low = static_cast<int64_t>(run.keys.front() >> shift);
    run.fields.high = static_cast<int64_t>(run.keys.back() >> shift);
    run.fields.spacing = (sum / static_cast<int64_t>(n)) >> kSpacingShift;
    run.interval = interval_of(split, run.fields);
    run.reference = run.fields.spacing << kSpacingShift;
  }
  return runs;
}

}  // namespace sad::coder
