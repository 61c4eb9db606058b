// Groups: runs of the stored order that are coded without regard to each other. Within a layer that
// is the traversal order, which starts again with the next layer.
#pragma once

#include <algorithm>
#include <cstddef>
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

// How an encoder shares sites out.
struct Partition {
  // Of each layer; negative: as many as there are with at most that many sites, between round keys.
  std::vector<int32_t> groups{1};
  std::vector<int32_t> layer;  // of each site; of a single layer, empty
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

// Traversal order within each layer; where the layers begin, and the end.
inline std::vector<size_t> sort_by_layer(const Partition& parts, std::vector<int32_t>& order,
                                         std::vector<uint64_t>& keys) {
  std::vector<size_t> begins(parts.groups.size() + 1);
  if (parts.layer.empty()) {
    begins[1] = order.size();
    return begins;
  }
  for (const int32_t layer : parts.layer) ++begins[layer + 1];
  for (size_t l = 1; l < begins.size(); ++l) begins[l] += begins[l - 1];
  std::vector<size_t> next(begins);
  const std::vector<int32_t> by_key(order);
  const std::vector<uint64_t> all(keys);
  for (size_t k = 0; k < by_key.size(); ++k) {
    const size_t at = next[parts.layer[by_key[k]]]++;
    order[at] = by_key[k];
    keys[at] = all[k];
  }
  return begins;
}

// Spacing of step class 0, as it is stored: the mean of these runs.
inline void set_reference(std::vector<Run>& runs, size_t begin, size_t end) {
  int64_t sum = 0;
  int64_t count = 0;
  for (size_t g = begin; g < end; ++g) {
    for (const SiteNeighbours& site : runs[g].near) sum += site.spacing;
    count += static_cast<int64_t>(runs[g].near.size());
  }
  for (size_t g = begin; g < end; ++g) {
    runs[g].fields.spacing = (sum / count) >> kSpacingShift;
    runs[g].reference = runs[g].fields.spacing << kSpacingShift;
  }
}

// Appends where runs of at most `most` sites of begin..end - 1 begin. The keys are halved until
// they have as few, so that a run lies in a compact part of the picture; then small ones are
// joined.
inline void cut_by_keys(const std::vector<uint64_t>& keys, size_t begin, size_t end, size_t most,
                        int bits, std::vector<size_t>& cuts) {
  struct Node {
    size_t begin, end;
    int bits;  // of the keys that differ in it
  };
  std::vector<Node> open{{begin, end, bits}};
  size_t start = begin;  // of the run that is being joined
  cuts.push_back(begin);
  while (!open.empty()) {
    const Node node = open.back();
    open.pop_back();
    if (node.end - node.begin > most && node.bits > 0) {
      const int bit = node.bits - 1;
      const auto first = keys.begin() + static_cast<std::ptrdiff_t>(node.begin);
      const auto last = keys.begin() + static_cast<std::ptrdiff_t>(node.end);
      const auto middle = static_cast<size_t>(
          std::partition_point(first, last, [bit](uint64_t key) { return !((key >> bit) & 1); }) -
          keys.begin());
      open.push_back({middle, node.end, bit});
      open.push_back({node.begin, middle, bit});
    } else if (node.end > node.begin && node.begin > start && node.end - start > most) {
      start = node.begin;
      cuts.push_back(start);
    }
  }
}

// find_neighbours, which keeps its last answer on this thread: an encoder asks for the step
// classes, the costs and the code of the same positions in turn.
inline std::vector<SiteNeighbours> neighbours_again(const std::vector<int32_t>& x,
                                                    const std::vector<int32_t>& y, int threads) {
  constexpr size_t kMostKept = 1 << 16;  // sites, of 140 bytes each
  if (x.size() > kMostKept) return find_neighbours(x, y, threads);
  struct Answer {
    std::vector<int32_t> x, y;
    std::vector<SiteNeighbours> near;
  };
  thread_local Answer last;
  if (last.x != x || last.y != y) last = Answer{x, y, find_neighbours(x, y, threads)};
  return last.near;
}

// Shares the sites of each layer out to its runs, of equal length or by keys; columns may be
// missing but x and y. A single run has all keys as its interval; those of a layer have one
// reference, as exact as it is stored.
inline Runs make_runs(const Quantizer& q, const SiteColumns& sites, const Partition& parts,
                      int threads) {
  const SplitOrder split(q);
  Runs runs;
  std::vector<uint64_t> keys;
  runs.order = traversal_order(q, sites.x, sites.y, &keys);
  const std::vector<size_t> begins = sort_by_layer(parts, runs.order, keys);
  std::vector<size_t> cuts;  // where the runs begin, and the end
  std::vector<size_t> first_run;
  for (size_t l = 0; l < parts.groups.size(); ++l) {
    const size_t n = begins[l + 1] - begins[l];
    first_run.push_back(cuts.size());
    if (parts.groups[l] < 0) {
      cut_by_keys(keys, begins[l], begins[l + 1], static_cast<size_t>(-int64_t(parts.groups[l])),
                  split.bits_x + split.bits_y, cuts);
      continue;
    }
    const auto count = static_cast<size_t>(parts.groups[l]);
    for (size_t g = 0; g < count; ++g) cuts.push_back(begins[l] + n * g / count);
  }
  const size_t count = cuts.size();
  first_run.push_back(count);
  cuts.push_back(runs.order.size());
  runs.list.resize(count);
  for_each_run(count, threads, [&](size_t g) {
    Run& run = runs.list[g];
    run.first = static_cast<int32_t>(cuts[g]);
    run.keys.assign(keys.begin() + cuts[g], keys.begin() + cuts[g + 1]);
    const std::vector<int32_t> part(runs.order.begin() + cuts[g], runs.order.begin() + cuts[g + 1]);
    run.sites = permuted(sites, part, q.channels());
    run.near = count == 1 ? neighbours_again(run.sites.x, run.sites.y, threads)
                          : find_neighbours(run.sites.x, run.sites.y, 1);
  });
  if (count == 1) {
    runs.list[0].interval = all_keys(split);
    runs.list[0].reference = mean_spacing(runs.list[0].near);
    return runs;
  }
  const int shift = slot_shift(split);
  for (Run& run : runs.list) {
    run.fields.low = static_cast<int64_t>(run.keys.front() >> shift);
    run.fields.high = static_cast<int64_t>(run.keys.back() >> shift);
    run.interval = interval_of(split, run.fields);
  }
  for (size_t l = 0; l < parts.groups.size(); ++l)
    set_reference(runs.list, first_run[l], first_run[l + 1]);
  return runs;
}

}  // namespace sad::coder
