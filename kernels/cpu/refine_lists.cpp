// The descent's view of the picture: each pixel's best sites, each site's pixels, and the groups of
// sites that may be visited at once.
#include <algorithm>
#include <cmath>

#include "quad.h"
#include "refine.h"

namespace sad {
namespace {

constexpr int kList = kDescentList;
// Blocks of this side are visited at once when they do not touch: 2 x 2 colours, so two blocks of a
// colour are a block apart, and a site whose pixels reach further than half of that goes last.
constexpr int kBlock = 128;

}  // namespace

double Refine::build_lists() {
  if (!listed_) {
    list_pixels();
    list_sites();
    listed_ = true;
    weighed_ = false;
  }
  blend_pixels();
  double strip_error[kStrips];
  for_strips([&](int first, int count, int strip) {
    double sum = 0.0;
    for (int at = first; at < first + count; ++at) {
      const size_t row = static_cast<size_t>(at) * kMaxChannels;
      const Quad e = quad_clamp(load_quad(picture_.data() + row)) - load_quad(target_.data() + row);
      sum += quad_sum(e * e) * (weights_.empty() ? 1.0 : weights_[at]);
    }
    strip_error[strip] = sum;
  });
  double error = 0.0;
  for (double e : strip_error) error += e;
  return error;
}

void Refine::list_pixels() {
  const DescentLists lists{list_ids_.data(), list_logits_.data()};
  // Nothing is cut by weight: one step of a sharp site moves its logits by more than any cut, and
  // a pixel must know who takes over where a site goes.
  visit_tiles(kernels_, sites_, Extent{0, 0, width_, height_}, FilterOptions{kList, 1e30f}, pool_,
              scratch_, [&](int, int x0, int y0, const int32_t* ids, int n, UnitScratch* memory) {
                kernels_.list_tile(sites_.data(), x0, y0, width_, height_, ids, n, lists,
                                   memory->work);
              });
}

void Refine::list_sites() {
  // By strip and site: how many pixels know it, then where they go; and how far they reach.
  struct Known {
    uint32_t count = 0;
    int x0 = INT32_MAX, x1 = -1, y0 = INT32_MAX, y1 = -1;
  };
  const size_t sites = count_;
  std::vector<Known> known(kStrips * sites);
  for_strips([&](int first, int count, int strip) {
    Known* of = known.data() + strip * sites;
    const int32_t* id = list_ids_.data() + static_cast<size_t>(first) * kList;
    for (int at = first, x = first % width_, y = first / width_; at < first + count; ++at) {
      for (int j = 0; j < kList && id[j] >= 0; ++j) {
        Known& s = of[id[j]];
        ++s.count;
        s.x0 = std::min(s.x0, x);
        s.x1 = std::max(s.x1, x);
        s.y0 = std::min(s.y0, y);
        s.y1 = y;
      }
      id += kList;
      if (++x == width_) {
        x = 0;
        ++y;
      }
    }
  });
  site_offsets_.resize(sites + 1);
  std::vector<Known> extent(sites);
  uint32_t total = 0;
  for (size_t i = 0; i < sites; ++i) {
    site_offsets_[i] = total;
    Known& e = extent[i];
    for (int strip = 0; strip < kStrips; ++strip) {
      Known& s = known[strip * sites + i];
      e.x0 = std::min(e.x0, s.x0);
      e.x1 = std::max(e.x1, s.x1);
      e.y0 = std::min(e.y0, s.y0);
      e.y1 = std::max(e.y1, s.y1);
      total += s.count;
      s.count = total - s.count;
    }
  }
  site_offsets_[sites] = total;
  site_entries_.resize(total);
  for_strips([&](int first, int count, int strip) {
    Known* of = known.data() + strip * sites;
    for (int at = first; at < first + count; ++at)
      for (int32_t entry = at * kList, end = entry + kList; entry < end; ++entry) {
        const int32_t id = list_ids_[entry];
        if (id < 0) break;
        site_entries_[of[id].count++] = entry;
      }
  });
  const int blocks_x = (width_ + kBlock - 1) / kBlock, blocks_y = (height_ + kBlock - 1) / kBlock;
  for (auto& group : groups_) group.clear();
  for (int color = 0; color < 4; ++color)
    groups_[color].resize(static_cast<size_t>((blocks_x + 1) / 2) * ((blocks_y + 1) / 2));
  groups_[4].resize(1);
  for (int i = 0; i < count_; ++i) {
    const Known& e = extent[i];
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
    const DescentPixels pixels = pixels_of(entries.data(), entries.size());
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
