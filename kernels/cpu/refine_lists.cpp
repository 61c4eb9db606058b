// The descent's view of the picture: each pixel's best sites, each site's pixels, and the groups of
// sites that may be visited at once.
#include <algorithm>
#include <cmath>

#include "refine.h"

namespace sad {
namespace {

constexpr int kList = kDescentList;
// Blocks of this side are visited at once when they do not touch: 2 x 2 colours, so two blocks of a
// colour are a block apart, and a site whose pixels reach further than half of that goes last.
constexpr int kBlock = 128;

}  // namespace

double Refine::build_lists() {
  const DescentLists lists{list_ids_.data(), list_logits_.data()};
  // Nothing is cut by weight: one step of a sharp site moves its logits by more than any cut, and
  // a pixel must know who takes over where a site goes.
  visit_tiles(kernels_, sites_, width_, height_, FilterOptions{kList, 1e30f}, pool_, scratch_,
              [&](int, int x0, int y0, const int32_t* ids, int n, UnitScratch* memory) {
                kernels_.list_tile(sites_.data(), x0, y0, width_, height_, ids, n, lists,
                                   memory->work);
              });
  // Entries by site, the extent of each site's pixels, and the error of the picture.
  const int pixels = width_ * height_;
  std::vector<double> row_error(height_);
  pool_.run(height_, [&](int y, int) {
    double sum = 0.0;
    for (int x = 0; x < width_; ++x) {
      const size_t at = static_cast<size_t>(y) * width_ + x;
      const float* l = list_logits_.data() + at * kList;
      const int32_t* id = list_ids_.data() + at * kList;
      float total = 0.0f, blend[kMaxChannels] = {};
      for (int j = 0; j < k_ && id[j] >= 0; ++j) {
        if (l[j] < l[0] - 20.0f) break;
        const float w = sad_exp(l[j] - l[0]);
        total += w;
        for (int c = 0; c < channels_; ++c) blend[c] += w * colors_[id[j] * kMaxChannels + c];
      }
      const double weight = weights_.empty() ? 1.0 : weights_[at];
      for (int c = 0; c < channels_; ++c) {
        const float y_c = sad_min(sad_max(blend[c] / total, 0.0f), 1.0f);
        const float e = y_c - target_[at * channels_ + c];
        sum += static_cast<double>(e) * e * weight;
      }
    }
    row_error[y] = sum;
  });
  site_offsets_.assign(count_ + 1, 0);
  struct Extent {
    int x0 = INT32_MAX, y0 = INT32_MAX, x1 = -1, y1 = -1;
  };
  std::vector<Extent> extent(count_);
  for (int at = 0; at < pixels; ++at) {
    const int x = at % width_, y = at / width_;
    for (int j = 0; j < kList; ++j) {
      const int32_t id = list_ids_[static_cast<size_t>(at) * kList + j];
      if (id < 0) break;
      ++site_offsets_[id + 1];
      Extent& e = extent[id];
      e.x0 = std::min(e.x0, x);
      e.x1 = std::max(e.x1, x);
      e.y0 = std::min(e.y0, y);
      e.y1 = std::max(e.y1, y);
    }
  }
  for (int i = 0; i < count_; ++i) site_offsets_[i + 1] += site_offsets_[i];
  site_entries_.resize(site_offsets_[count_]);
  std::vector<uint32_t> next(site_offsets_.begin(), site_offsets_.end() - 1);
  for (int at = 0; at < pixels; ++at)
    for (int j = 0; j < kList; ++j) {
      const int32_t entry = at * kList + j, id = list_ids_[entry];
      if (id < 0) break;
      site_entries_[next[id]++] = entry;
    }
  const int blocks_x = (width_ + kBlock - 1) / kBlock, blocks_y = (height_ + kBlock - 1) / kBlock;
  for (auto& group : groups_) group.clear();
  for (int color = 0; color < 4; ++color)
    groups_[color].resize(static_cast<size_t>((blocks_x + 1) / 2) * ((blocks_y + 1) / 2));
  groups_[4].resize(1);
  for (int i = 0; i < count_; ++i) {
    const Extent& e = extent[i];
    if (e.x1 < 0) continue;  // in no pixel's list
    const int bx =
        std::min(std::max(static_cast<int>(sites_.data()[i].x) / kBlock, 0), blocks_x - 1);
    const int by =
        std::min(std::max(static_cast<int>(sites_.data()[i].y) / kBlock, 0), blocks_y - 1);
    const bool fits = e.x0 >= bx * kBlock - kBlock / 2 &&
                      e.x1 < bx * kBlock + kBlock + kBlock / 2 &&
                      e.y0 >= by * kBlock - kBlock / 2 && e.y1 < by * kBlock + kBlock + kBlock / 2;
    if (fits) {
      groups_[(by & 1) * 2 + (bx & 1)][(by / 2) * ((blocks_x + 1) / 2) + bx / 2].push_back(i);
    } else {
      groups_[4][0].push_back(i);
    }
  }
  double error = 0.0;
  for (double e : row_error) error += e;
  return error;
}

void Refine::update_lists(int site, const float* logits) {
  const uint32_t begin = site_offsets_[site], end = site_offsets_[site + 1];
  for (uint32_t i = begin; i < end; ++i) {
    const int32_t entry = site_entries_[i];
    const int32_t pixel = entry / kList;
    int slot = entry - pixel * kList;
    float* l = list_logits_.data() + static_cast<size_t>(pixel) * kList;
    int32_t* id = list_ids_.data() + static_cast<size_t>(pixel) * kList;
    const float value = logits[i - begin];
    // Another site's entry may have taken this slot: then find where the site went.
    if (id[slot] != site) {
      slot = 0;
      while (id[slot] != site) ++slot;
    }
    while (slot > 0 && l[slot - 1] < value) {
      l[slot] = l[slot - 1];
      id[slot] = id[slot - 1];
      --slot;
    }
    while (slot + 1 < kList && id[slot + 1] >= 0 && l[slot + 1] > value) {
      l[slot] = l[slot + 1];
      id[slot] = id[slot + 1];
      ++slot;
    }
    l[slot] = value;
    id[slot] = site;
  }
}

// Increase of the squared error if one site went and its pixels fell to their other sites.
void Refine::removal_deltas(double* out) {
  pool_.run(count_, [&](int site, int index) {
    const uint32_t begin = site_offsets_[site], end = site_offsets_[site + 1];
    out[site] = 0.0;
    if (begin == end) return;
    WorkerScratch& scratch = *scratch_[index];
    std::vector<int32_t> entries(site_entries_.begin() + begin, site_entries_.begin() + end);
    for (int32_t& entry : entries) {
      const int32_t pixel = entry / kList;
      const int32_t* id = list_ids_.data() + static_cast<size_t>(pixel) * kList;
      int slot = 0;
      while (id[slot] != site) ++slot;
      entry = pixel * kList + slot;
    }
    const DescentPixels pixels{entries.data(),
                               static_cast<int>(entries.size()),
                               DescentLists{list_ids_.data(), list_logits_.data()},
                               colors_.data(),
                               target_.data(),
                               width_,
                               channels_,
                               k_,
                               weights()};
    Scratch& memory = scratch.groups;
    kernels_.descent_setup(pixels, &memory, &scratch.work);
    PreparedSite gone = sites_.data()[site];
    const double with_site = kernels_.descent_error(pixels, memory.data, gone, nullptr);
    if (count_ == 1) {  // nobody takes over: an error of 1 everywhere
      double total = 0.0;
      for (int32_t entry : entries) total += weights_.empty() ? 1.0 : weights_[entry / kList];
      out[site] = total * channels_ - with_site;
      return;
    }
    gone.radius = -1e30f;  // a logit under every threshold
    gone.tau = 1.0f;
    out[site] = kernels_.descent_error(pixels, memory.data, gone, nullptr) - with_site;
  });
}

}  // namespace sad
