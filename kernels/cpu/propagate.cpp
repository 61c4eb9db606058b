#include "propagate.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "../sad_propagate.h"

namespace sad {
namespace {

constexpr int kRows = 4;  // of pixels that a thread takes at a time

// The K best sites so far.
struct Best {
  float logits[kMaxK];
  int32_t ids[kMaxK];
  int count = 0;

  void insert(float logit, int32_t id, int k) {
    int j = count;
    if (j == k) {
      if (!sad_ahead(logit, id, logits[k - 1], ids[k - 1])) return;
      --j;
    } else {
      ++count;
    }
    for (; j > 0 && sad_ahead(logit, id, logits[j - 1], ids[j - 1]); --j) {
      logits[j] = logits[j - 1];
      ids[j] = ids[j - 1];
    }
    logits[j] = logit;
    ids[j] = id;
  }
  void store(int32_t* list, int k) const {
    std::copy_n(ids, count, list);
    std::fill(list + count, list + k, -1);
  }
};

}  // namespace

TopKMap::TopKMap(int width, int height, int k, int threads)
    : width_(width), height_(height), k_(k), pool_(threads), workers_(pool_.size()) {
  for (auto& map : maps_) map.assign(static_cast<size_t>(width) * height * k, -1);
}

void TopKMap::set_sites(const float* params, int count, int channels) {
  if (count < known_) throw std::logic_error("remap() must follow a removal of sites");
  prepare_sites(params, count, channels, pool_, &sites_);
  known_ = count;
}

void TopKMap::sort_sites() {
  const int n = count();
  std::vector<long long> keys(n);
  for (int i = 0; i < n; ++i)
    keys[i] = sad_curve_key(sites_.data()[i].x, sites_.data()[i].y, width_, height_, i);
  std::sort(keys.begin(), keys.end());
  places_.resize(n);
  order_.resize(n);
  ranks_.resize(n);
  for (int rank = 0; rank < n; ++rank) {
    const int32_t site = static_cast<int32_t>(keys[rank] & 0xffffffff);
    places_[rank] = static_cast<int32_t>(keys[rank] >> 32);
    order_[rank] = site;
    ranks_[site] = rank;
  }
}

// pixel(number, column, row, worker) for every pixel; rows in parallel.
template <typename Pixel>
void TopKMap::for_pixels(const Pixel& pixel) {
  if (order_.size() != static_cast<size_t>(count()))
    throw std::logic_error("sort_sites() must follow a change of the number of sites");
  const size_t room = static_cast<size_t>(count()) + 1;
  for (Worker& w : workers_) {
    // Stamps count on from pass to pass; they begin anew long before they come round.
    if (w.seen.size() == room && w.stamp < 1u << 31) continue;
    w.seen.assign(room, 0);
    w.stamp = 0;
  }
  pool_.run((height_ + kRows - 1) / kRows, [&](int chunk, int worker) {
    const int end = std::min(height_, (chunk + 1) * kRows);
    for (int row = chunk * kRows; row < end; ++row)
      for (int column = 0; column < width_; ++column)
        pixel(static_cast<long long>(row) * width_ + column, column, row, workers_[worker]);
  });
}

void TopKMap::first_lists() {
  const int n = count();
  for_pixels([&](long long pixel, int column, int row, Worker&) {
    const float x = column + 0.5f, y = row + 0.5f;
    const auto own = static_cast<int32_t>(sad_curve_place(x, y, width_, height_));
    const auto before = std::lower_bound(places_.begin(), places_.end(), own) - places_.begin();
    const int begin = sad_curve_begin(static_cast<int>(before), n, k_);
    const int end = std::min(begin + 2 * k_, n);
    Best best;
    for (int rank = begin; rank < end; ++rank) {
      const int32_t id = order_[rank];
      best.insert(sad_site_logit(sites_.data()[id], x, y), id, k_);
    }
    best.store(maps_[0].data() + pixel * k_, k_);
  });
}

void TopKMap::pass(int distance, int injected, uint64_t seed, int pass) {
  const int n = count();
  const PreparedSite* sites = sites_.data();
  const unsigned long long key = sad_pass_key(seed, pass);
  const int32_t* old = maps_[0].data();
  int32_t* ids = maps_[1].data();
  for_pixels([&](long long pixel, int column, int row, Worker& worker) {
    const float x = column + 0.5f, y = row + 0.5f;
    uint32_t* seen = worker.seen.data() + 1;
    const uint32_t stamp = ++worker.stamp;
    seen[-1] = stamp;  // no site
    int32_t fresh[kMapNeighbours * kMaxK];
    int m = 0;
    const int32_t* own = old + pixel * k_;
    for (int i = 0; i < kMapNeighbours; ++i) {
      const int dx = sad_neighbour_dx(i, distance), dy = sad_neighbour_dy(i, distance);
      if (column + dx < 0 || column + dx >= width_ || row + dy < 0 || row + dy >= height_) continue;
      const int32_t* list = own + (static_cast<long long>(dy) * width_ + dx) * k_;
      if (i > 0 && !memcmp(list, own, sizeof(int32_t) * k_)) continue;
      for (int j = 0; j < k_; ++j) {
        const int32_t id = list[j];
        fresh[m] = id;
        m += seen[id] != stamp;
        seen[id] = stamp;
      }
    }
    float logits[kMapNeighbours * kMaxK];
    for (int i = 0; i < m; ++i) logits[i] = sad_site_logit(sites[fresh[i]], x, y);
    Best best;
    for (int i = 0; i < m; ++i) best.insert(logits[i], fresh[i], k_);
    const auto consider = [&](int32_t id) {
      if (seen[id] == stamp) return;
      seen[id] = stamp;
      best.insert(sad_site_logit(sites[id], x, y), id, k_);
    };
    if (best.count > 0) {
      const int rank = sad_probe_rank(sad_pixel_bits(key, pixel, injected, 0), ranks_[best.ids[0]]);
      if (rank >= 0 && rank < n) consider(order_[rank]);
    }
    for (int j = 1; j <= injected; ++j)
      consider(sad_random_below(sad_pixel_bits(key, pixel, injected, j), n));
    best.store(ids + pixel * k_, k_);
  });
  maps_[0].swap(maps_[1]);
}

void TopKMap::remap(const int32_t* index, int old_count, int left) {
  if (old_count < known_) throw std::out_of_range("an index of fewer sites than the lists name");
  for (int i = 0; i < old_count; ++i)
    if (index[i] >= left) throw std::out_of_range("site index out of range");
  const size_t pixels = static_cast<size_t>(width_) * height_;
  for (size_t pixel = 0; pixel < pixels; ++pixel) {
    int32_t* list = maps_[0].data() + pixel * k_;
    int kept = 0;
    for (int j = 0; j < k_; ++j) {
      const int32_t id = list[j] >= 0 ? index[list[j]] : -1;
      if (id >= 0) list[kept++] = id;
    }
    std::fill(list + kept, list + k_, -1);
  }
  known_ = left;
}

std::vector<int32_t> exact_lists(const Kernels& kernels, const float* params, int count,
                                 int channels, int width, int height, int k, int threads) {
  ThreadPool pool(threads);
  auto scratch = make_scratch(pool);
  PreparedSites sites;
  prepare_sites(params, count, channels, pool, &sites);
  std::vector<int32_t> out(static_cast<size_t>(width) * height * k, -1);
  visit_tiles(kernels, sites, Extent{0, 0, width, height}, FilterOptions{k, 1e30f}, pool, scratch,
              [&](int, int x0, int y0, const int32_t* ids, int listed, UnitScratch*) {
                for (int y = y0; y < std::min(y0 + kTile, height); ++y) {
                  for (int x = x0; x < std::min(x0 + kTile, width); ++x) {
                    Best best;
                    for (int i = 0; i < listed; ++i)
                      best.insert(sad_site_logit(sites.data()[ids[i]], x + 0.5f, y + 0.5f), ids[i],
                                  k);
                    best.store(out.data() + (static_cast<size_t>(y) * width + x) * k, k);
                  }
                }
              });
  return out;
}

}  // namespace sad
