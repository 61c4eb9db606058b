// What density control outside of the core needs: moments of each site's error, and its neighbours.
#include <algorithm>
#include <utility>

#include "fit.h"

namespace sad {
namespace {

constexpr int kSiteChunk = 2048;  // sites a thread takes at a time

// Candidates of a block, column by column so that the compiler can take several at a time.
class NearSites {
 public:
  void clear() { count_ = 0; }

  void add(const PreparedSite* sites, int32_t id) {
    if (count_ == static_cast<int>(id_.size())) {
      const size_t size = 2 * id_.size() + 64;
      for (auto* column : {&x_, &y_, &m0_, &m1_, &m2_, &tau_, &radius_, &logit_})
        column->resize(size);
      id_.resize(size);
    }
    const PreparedSite& s = sites[id];
    x_[count_] = s.x;
    y_[count_] = s.y;
    m0_[count_] = s.m0;
    m1_[count_] = s.m1;
    m2_[count_] = s.m2;
    tau_[count_] = s.tau;
    radius_[count_] = s.radius;
    id_[count_++] = id;
  }

  // The k sites of largest logit at a point, then -1.
  void best(float px, float py, int k, int32_t* out) {
    const float *x = x_.data(), *y = y_.data(), *m0 = m0_.data(), *m1 = m1_.data();
    const float *m2 = m2_.data(), *tau = tau_.data(), *radius = radius_.data();
    float* logit = logit_.data();
    for (int j = 0; j < count_; ++j)
      logit[j] =
          sad_logit(sad_distance(px - x[j], py - y[j], m0[j], m1[j], m2[j]), tau[j], radius[j]);
    float sorted[kMaxK];
    int ids[kMaxK];
    int n = 0;
    for (int j = 0; j < count_; ++j) n = sad_insert_pair(sorted, ids, n, k, logit[j], id_[j]);
    for (int j = 0; j < k; ++j) out[j] = j < n ? ids[j] : -1;
  }

 private:
  int count_ = 0;
  std::vector<float> x_, y_, m0_, m1_, m2_, tau_, radius_, logit_;
  std::vector<int32_t> id_;
};

}  // namespace

void Fit::error_moments(double* out) {
  require_lists();
  require_target();
  prepare(params_.data());
  static_assert(kMoments <= kColor + 1, "the sums of a row have room for 6 + C numbers");
  pool_.run(squares_x_ * squares_y_, [&](int square, int worker) {
    kernels_.moments_square(task(square, kMoments), cut_, &scratch_[worker]->work);
  });
  pool_.run((count_ + kSiteChunk - 1) / kSiteChunk, [&](int chunk, int) {
    const int end = std::min(count_, (chunk + 1) * kSiteChunk);
    for (int i = chunk * kSiteChunk; i < end; ++i) {
      double* sums = out + static_cast<size_t>(i) * kMoments;
      std::fill_n(sums, kMoments, 0.0);
      for (uint32_t r = lists_.site_offsets[i]; r < lists_.site_offsets[i + 1]; ++r)
        for (int c = 0; c < kMoments; ++c)
          sums[c] += sums_[static_cast<size_t>(lists_.site_rows[r]) * kMoments + c];
    }
  });
}

void Fit::neighbours(int32_t* out) {
  require_lists();
  prepare(params_.data());
  // Sites in the order of the 4x4 px blocks they lie in, those of one block being looked for among
  // the same candidates.
  const int blocks_x = squares_x_ * (kSquare / 4);
  std::vector<std::pair<int, int>> order(count_);
  for (int i = 0; i < count_; ++i) {
    const int x = std::clamp(static_cast<int>(sites_.data()[i].x), 0, width_ - 1);
    const int y = std::clamp(static_cast<int>(sites_.data()[i].y), 0, height_ - 1);
    order[i] = {y / 4 * blocks_x + x / 4, i};
  }
  std::sort(order.begin(), order.end());
  // Once a gradient pass has seen all blocks with these lists, each knows who is near its top K.
  const bool masked = !mapped_ && (masked_ & 15u) == 15u;
  pool_.run((count_ + kSiteChunk - 1) / kSiteChunk, [&](int chunk, int) {
    NearSites near;
    int listed = -1;
    const int end = std::min(count_, (chunk + 1) * kSiteChunk);
    for (int n = chunk * kSiteChunk; n < end; ++n) {
      const auto [block, site] = order[n];
      const int bx = block % blocks_x, by = block / blocks_x;
      if (block != listed) {
        constexpr int kBlocksOfSquare = kSquare / 4, kSide = kSquare / kTile;
        const auto& square =
            lists_.squares[by / kBlocksOfSquare * squares_x_ + bx / kBlocksOfSquare];
        const int tile = by % kBlocksOfSquare / 2 * kSide + bx % kBlocksOfSquare / 2;
        const uint8_t bit = 1u << (by % 2 * 2 + bx % 2);
        near.clear();
        for (int e = square.offsets[tile]; e < square.offsets[tile + 1]; ++e)
          if (!masked || (square.masks[e] & bit))
            near.add(sites_.data(), square.ids[square.entries[e]]);
        listed = block;
      }
      const int x = std::clamp(static_cast<int>(sites_.data()[site].x), 0, width_ - 1);
      const int y = std::clamp(static_cast<int>(sites_.data()[site].y), 0, height_ - 1);
      near.best(x + 0.5f, y + 0.5f, k_, out + static_cast<size_t>(site) * k_);
    }
  });
}

}  // namespace sad
