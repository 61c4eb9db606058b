#include "fit.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "blocks.h"

namespace sad {
namespace {

constexpr int kSiteChunk = 2048;  // sites a thread takes at a time

// Uniform in [-1, 1) from a counter (the finalizer of splitmix64): the same for any thread count.
inline float counter_noise(uint64_t seed, uint64_t counter) {
  uint64_t z = seed * 0x9e3779b97f4a7c15ull + counter * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  z ^= z >> 31;
  return static_cast<float>(static_cast<int32_t>(z >> 32)) * (1.0f / 2147483648.0f);
}

}  // namespace

void Candidates::assemble(std::vector<std::vector<int32_t>>& per_tile, int sites) {
  offsets.resize(per_tile.size() + 1);
  size_t total = 0;
  for (size_t t = 0; t < per_tile.size(); ++t) {
    offsets[t] = static_cast<uint32_t>(total);
    total += per_tile[t].size();
  }
  if (total >> 32) throw std::length_error("too many candidates");
  offsets[per_tile.size()] = static_cast<uint32_t>(total);
  ids.resize(total);
  site_offsets.assign(sites + 1, 0);
  for (size_t t = 0; t < per_tile.size(); ++t) {
    int32_t* out = ids.data() + offsets[t];
    for (int32_t id : per_tile[t]) {
      *out++ = id;
      ++site_offsets[id + 1];
    }
  }
  for (int i = 0; i < sites; ++i) site_offsets[i + 1] += site_offsets[i];
  site_entries.resize(total);
  std::vector<uint32_t> next(site_offsets.begin(), site_offsets.end() - 1);
  for (uint32_t e = 0; e < total; ++e) site_entries[next[ids[e]]++] = e;
}

Fit::Fit(const Kernels& kernels, const float* target, int width, int height, int channels,
         const float* params, int count, int k, int threads)
    : kernels_(kernels),
      pool_(threads),
      scratch_(make_scratch(pool_)),
      width_(width),
      height_(height),
      channels_(channels),
      k_(k),
      tiles_x_((width + kTile - 1) / kTile),
      tiles_y_((height + kTile - 1) / kTile),
      count_(count) {
  const size_t tiles = static_cast<size_t>(tiles_x_) * tiles_y_;
  target_.assign(tiles * kBlocks * channels * 16, 0.0f);
  for (size_t t = 0; t < tiles; ++t) {
    const int x0 = static_cast<int>(t % tiles_x_) * kTile;
    const int y0 = static_cast<int>(t / tiles_x_) * kTile;
    float* out = target_.data() + t * kBlocks * channels * 16;
    for (int block = 0; block < kBlocks; ++block) {
      for (int lane = 0; lane < 16; ++lane) {
        const int x = x0 + block_x(block, lane), y = y0 + block_y(block, lane);
        if (x >= width || y >= height) continue;
        for (int c = 0; c < channels; ++c)
          out[(block * channels + c) * 16 + lane] =
              target[(static_cast<size_t>(y) * width + x) * channels + c];
      }
    }
  }
  const size_t size = static_cast<size_t>(count) * columns();
  params_.assign(params, params + size);
  first_.assign(size, 0.0f);
  second_.assign(size, 0.0f);
  gradients_.assign(size, 0.0f);
  tile_loss_.resize(tiles);
}

void Fit::set_params(const float* params) {
  std::copy(params, params + params_.size(), params_.begin());
}

void Fit::prepare(const float* params) {
  prepare_sites(params, count_, channels_, pool_, &sites_);
}

void Fit::refresh(float cut) {
  cut_ = cut;
  prepare(params_.data());
  std::vector<std::vector<int32_t>> per_tile(tile_loss_.size());
  visit_tiles(kernels_, sites_, width_, height_, FilterOptions{k_, cut}, pool_, scratch_,
              [&](int, int x0, int y0, const int32_t* ids, int n, UnitScratch*) {
                per_tile[static_cast<size_t>(y0 / kTile) * tiles_x_ + x0 / kTile].assign(ids,
                                                                                         ids + n);
              });
  lists_.assemble(per_tile, count_);
  sums_.resize(lists_.ids.size() * columns());
  lists_current_ = true;
}

void Fit::require_lists() const {
  if (!lists_current_) throw std::logic_error("refresh() must follow a change of the sites");
}

double Fit::gradient(int phase, const float* noise, uint64_t seed) {
  require_lists();
  const int n_columns = columns();
  const float* at = params_.data();
  if (noise) {
    disturbed_.resize(params_.size());
    pool_.run((count_ + kSiteChunk - 1) / kSiteChunk, [&](int chunk, int) {
      const int end = std::min(count_, (chunk + 1) * kSiteChunk);
      for (int i = chunk * kSiteChunk; i < end; ++i) {
        const size_t row = static_cast<size_t>(i) * n_columns;
        float delta[kColor + kMaxChannels];
        for (int j = 0; j < n_columns; ++j) {
          delta[j] = noise[row + j] * counter_noise(seed, row + j);
          disturbed_[row + j] = params_[row + j] + delta[j];
        }
        // Columns p and q of the noise are along and across the vector (p, q).
        const float p = params_[row + kP], q = params_[row + kQ], a = sqrtf(p * p + q * q);
        const float ux = a > 1e-6f ? p / a : 1.0f, uy = a > 1e-6f ? q / a : 0.0f;
        disturbed_[row + kP] = p + ux * delta[kP] - uy * delta[kQ];
        disturbed_[row + kQ] = q + uy * delta[kP] + ux * delta[kQ];
      }
    });
    at = disturbed_.data();
  }
  prepare(at);
  // Pixels that are in the image at this phase.
  const double sampled =
      phase < 0 ? static_cast<double>(width_) * height_
                : static_cast<double>((width_ + 1 - (phase & 1)) / 2) *
                      ((height_ + 1 - ((phase >> 1) & 1)) / 2);
  const float scale = static_cast<float>(2.0 / (std::max(sampled, 1.0) * channels_));
  constexpr int kTileChunk = 16;
  const int tiles = tiles_x_ * tiles_y_;
  pool_.run((tiles + kTileChunk - 1) / kTileChunk, [&](int chunk, int worker) {
    const int end = std::min(tiles, (chunk + 1) * kTileChunk);
    for (int t = chunk * kTileChunk; t < end; ++t) {
      GradientTile tile;
      tile.sites = sites_.data();
      tile.ids = lists_.ids.data() + lists_.offsets[t];
      tile.count = static_cast<int>(lists_.offsets[t + 1] - lists_.offsets[t]);
      tile.target = target_.data() + static_cast<size_t>(t) * kBlocks * channels_ * 16;
      tile.sums = sums_.data() + static_cast<size_t>(lists_.offsets[t]) * n_columns;
      tile.x0 = t % tiles_x_ * kTile;
      tile.y0 = t / tiles_x_ * kTile;
      tile.width = width_;
      tile.height = height_;
      tile.channels = channels_;
      tile.k = k_;
      tile.phase = phase;
      tile.cut = cut_;
      tile.scale = scale;
      tile_loss_[t] = kernels_.gradient_tile(tile, &scratch_[worker]->work);
    }
  });
  // Each site adds up its entries in tile order: no atomics, one order for any thread count.
  pool_.run((count_ + kSiteChunk - 1) / kSiteChunk, [&](int chunk, int) {
    const int end = std::min(count_, (chunk + 1) * kSiteChunk);
    for (int i = chunk * kSiteChunk; i < end; ++i) {
      float sums[kColor + kMaxChannels] = {};
      for (uint32_t j = lists_.site_offsets[i]; j < lists_.site_offsets[i + 1]; ++j) {
        const float* entry = sums_.data() + static_cast<size_t>(lists_.site_entries[j]) * n_columns;
        for (int c = 0; c < n_columns; ++c) sums[c] += entry[c];
      }
      sad_parameter_gradient<float>(at + static_cast<size_t>(i) * n_columns, channels_, sums,
                                    gradients_.data() + static_cast<size_t>(i) * n_columns);
    }
  });
  double loss = 0.0;
  for (float x : tile_loss_) loss += x;
  return sampled > 0 ? loss / (sampled * channels_) : 0.0;
}

void Fit::adam(const float* rates, float beta1, float beta2, float epsilon) {
  ++steps_;
  const double c1 = 1.0 - std::pow(static_cast<double>(beta1), steps_);
  const double c2 = 1.0 - std::pow(static_cast<double>(beta2), steps_);
  const float step = static_cast<float>(1.0 / c1), root = static_cast<float>(1.0 / std::sqrt(c2));
  const int n_columns = columns();
  pool_.run((count_ + kSiteChunk - 1) / kSiteChunk, [&](int chunk, int) {
    const int end = std::min(count_, (chunk + 1) * kSiteChunk);
    for (int i = chunk * kSiteChunk; i < end; ++i) {
      const size_t row = static_cast<size_t>(i) * n_columns;
      for (int j = 0; j < n_columns; ++j) {
        const float g = gradients_[row + j];
        float& m = first_[row + j];
        float& v = second_[row + j];
        m = beta1 * m + (1.0f - beta1) * g;
        v = beta2 * v + (1.0f - beta2) * g * g;
        params_[row + j] -= rates[j] * (m * step) / (sqrtf(v) * root + epsilon);
      }
      sad_clamp_parameters(params_.data() + row, channels_, static_cast<float>(width_),
                           static_cast<float>(height_));
    }
  });
}

void Fit::statistics(float* out) {
  require_lists();
  prepare(params_.data());
  std::vector<float> entries(lists_.ids.size() * 3);
  const int tiles = tiles_x_ * tiles_y_;
  pool_.run(tiles, [&](int t, int worker) {
    StatisticsTile tile;
    tile.sites = sites_.data();
    tile.ids = lists_.ids.data() + lists_.offsets[t];
    tile.count = static_cast<int>(lists_.offsets[t + 1] - lists_.offsets[t]);
    tile.target = target_.data() + static_cast<size_t>(t) * kBlocks * channels_ * 16;
    tile.out = entries.data() + static_cast<size_t>(lists_.offsets[t]) * 3;
    tile.x0 = t % tiles_x_ * kTile;
    tile.y0 = t / tiles_x_ * kTile;
    tile.width = width_;
    tile.height = height_;
    tile.channels = channels_;
    tile.k = k_;
    kernels_.statistics_tile(tile, &scratch_[worker]->work);
  });
  for (int i = 0; i < count_; ++i) {
    double sums[3] = {0.0, 0.0, 0.0};
    for (uint32_t j = lists_.site_offsets[i]; j < lists_.site_offsets[i + 1]; ++j)
      for (int c = 0; c < 3; ++c)
        sums[c] += entries[static_cast<size_t>(lists_.site_entries[j]) * 3 + c];
    for (int c = 0; c < 3; ++c) out[3 * static_cast<size_t>(i) + c] = static_cast<float>(sums[c]);
  }
}

void Fit::keep(const int32_t* index, int count) {
  const size_t n_columns = columns();
  auto pick = [&](std::vector<float>& from) {
    std::vector<float> to(static_cast<size_t>(count) * n_columns);
    for (int i = 0; i < count; ++i)
      std::copy_n(from.begin() + index[i] * n_columns, n_columns, to.begin() + i * n_columns);
    from.swap(to);
  };
  for (int i = 0; i < count; ++i)
    if (index[i] < 0 || index[i] >= count_) throw std::out_of_range("site index out of range");
  pick(params_);
  pick(first_);
  pick(second_);
  count_ = count;
  gradients_.assign(params_.size(), 0.0f);
  lists_current_ = false;
}

void Fit::append(const float* params, int count) {
  params_.insert(params_.end(), params, params + static_cast<size_t>(count) * columns());
  first_.resize(params_.size(), 0.0f);
  second_.resize(params_.size(), 0.0f);
  count_ += count;
  gradients_.assign(params_.size(), 0.0f);
  lists_current_ = false;
}

}  // namespace sad
