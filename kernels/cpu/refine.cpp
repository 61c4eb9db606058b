#include "refine.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace sad {
namespace {

constexpr int kList = kDescentList;
// Blocks of this side are visited at once when they do not touch: 2 x 2 colours, so two blocks of a
// colour are a block apart, and a site whose pixels reach further than half of that goes last.
constexpr int kBlock = 128;
constexpr double kMaxAxis = 4.0;  // largest colour on one axis; the bitstream allows 8
constexpr double kGain = 1e-6;    // share of the cost a move must save: less is float's rounding

}  // namespace

struct Refine::Worker {
  WorkerScratch* scratch;
  std::vector<float> logits, best_logits;
};

float ColumnCost::bits(int site, int symbol) const {
  if (range == 0) return 0.0f;
  const int r = std::min(std::max(symbol - prediction[site], -range), range);
  return table[static_cast<size_t>(klass[site]) * (2 * range + 1) + r + range];
}

Refine::Refine(const Kernels& kernels, const float* target, int width, int height, int channels,
               int k, int threads)
    : kernels_(kernels),
      pool_(threads),
      scratch_(make_scratch(pool_)),
      width_(width),
      height_(height),
      channels_(channels),
      k_(k),
      costs_(kSymColor + channels) {
  const size_t pixels = static_cast<size_t>(width) * height;
  if (pixels > INT32_MAX / kList) throw std::length_error("image too large to refine");
  // One listed site must be left to take the place of another.
  if (k >= kList) throw std::invalid_argument("k must be under the length of the descent's lists");
  target_.assign(target, target + pixels * channels);
  list_ids_.resize(pixels * kList);
  list_logits_.resize(pixels * kList);
}

void Refine::set_sites(const int32_t* symbols, int count, const Quantizer& quantizer) {
  count_ = count;
  symbols_.assign(symbols, symbols + static_cast<size_t>(count) * (kSymColor + channels_));
  quantizer_ = quantizer;
  for (ColumnCost& cost : costs_) cost = ColumnCost();
  sites_.resize(count);
  colors_.assign(static_cast<size_t>(count) * kMaxChannels, 0.0f);
  for (int i = 0; i < count; ++i) {
    dequantize(i, symbols_.data() + static_cast<size_t>(i) * (kSymColor + channels_),
               sites_.data() + i);
    std::copy_n(sites_.data()[i].color, kMaxChannels, colors_.begin() + i * kMaxChannels);
  }
  // Lists of other sites must not be used: until build_lists, no pixel knows a site.
  std::fill(list_ids_.begin(), list_ids_.end(), -1);
  std::fill(list_logits_.begin(), list_logits_.end(), -1e30f);
  site_offsets_.assign(static_cast<size_t>(count_) + 1, 0);
  for (auto& group : groups_) group.clear();
}

void Refine::set_cost(int column, ColumnCost cost) { costs_.at(column) = std::move(cost); }

void Refine::color_of(int site, const int32_t* symbols, float* color) const {
  for (int c = 0; c < kMaxChannels; ++c) color[c] = 0.0f;
  for (int j = 0; j < channels_; ++j) {
    const float value = static_cast<float>(symbols[kSymColor + j]) *
                        quantizer_.color_steps[static_cast<size_t>(site) * channels_ + j];
    for (int c = 0; c < channels_; ++c) color[c] += value * quantizer_.axes[j * channels_ + c];
  }
}

void Refine::dequantize(int site, const int32_t* s, PreparedSite* out) const {
  float row[kColor + kMaxChannels] = {};
  const double a = s[kSymAnisotropy] * quantizer_.anisotropy;
  const int32_t levels = quantizer_.angle_levels.at(s[kSymAnisotropy]);
  const double t2 = 2.0 * M_PI * s[kSymAngle] / levels;
  row[kX] = static_cast<float>((s[kSymX] + 0.5) * quantizer_.position);
  row[kY] = static_cast<float>((s[kSymY] + 0.5) * quantizer_.position);
  row[kLogTau] = static_cast<float>(s[kSymLogTau] * quantizer_.log_tau);
  row[kRadius] = static_cast<float>(s[kSymRadius] * quantizer_.radius);
  row[kP] = static_cast<float>(a * std::cos(t2));
  row[kQ] = static_cast<float>(a * std::sin(t2));
  color_of(site, s, row + kColor);
  sad_prepare(row, channels_, out);
}

std::vector<float> Refine::params() const {
  const int columns = kColor + channels_;
  std::vector<float> out(static_cast<size_t>(count_) * columns);
  for (int i = 0; i < count_; ++i) {
    const int32_t* s = symbols_.data() + static_cast<size_t>(i) * (kSymColor + channels_);
    float* row = out.data() + static_cast<size_t>(i) * columns;
    const double a = s[kSymAnisotropy] * quantizer_.anisotropy;
    const double t2 = 2.0 * M_PI * s[kSymAngle] / quantizer_.angle_levels.at(s[kSymAnisotropy]);
    row[kX] = sites_.data()[i].x;
    row[kY] = sites_.data()[i].y;
    row[kLogTau] = static_cast<float>(s[kSymLogTau] * quantizer_.log_tau);
    row[kRadius] = sites_.data()[i].radius;
    row[kP] = static_cast<float>(a * std::cos(t2));
    row[kQ] = static_cast<float>(a * std::sin(t2));
    std::copy_n(sites_.data()[i].color, channels_, row + kColor);
  }
  return out;
}

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
      for (int c = 0; c < channels_; ++c) {
        const float y_c = sad_min(sad_max(blend[c] / total, 0.0f), 1.0f);
        const float e = y_c - target_[at * channels_ + c];
        sum += static_cast<double>(e) * e;
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
    const int bx = std::min(std::max(static_cast<int>(sites_.data()[i].x) / kBlock, 0), blocks_x - 1);
    const int by = std::min(std::max(static_cast<int>(sites_.data()[i].y) / kBlock, 0), blocks_y - 1);
    const bool fits = e.x0 >= bx * kBlock - kBlock / 2 && e.x1 < bx * kBlock + kBlock + kBlock / 2 &&
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

int Refine::visit(int site, double lambda, bool geometry, Worker& worker) {
  const uint32_t begin = site_offsets_[site], end = site_offsets_[site + 1];
  const int n = static_cast<int>(end - begin);
  if (n == 0) return 0;
  // Slots move when lists are resorted, so they are looked up before use.
  for (uint32_t i = begin; i < end; ++i) {
    const int32_t pixel = site_entries_[i] / kList;
    const int32_t* id = list_ids_.data() + static_cast<size_t>(pixel) * kList;
    int32_t entry = site_entries_[i];
    if (id[entry - pixel * kList] != site) {
      int slot = 0;
      while (id[slot] != site) ++slot;
      site_entries_[i] = pixel * kList + slot;
    }
  }
  const DescentPixels pixels{site_entries_.data() + begin,
                             n,
                             DescentLists{list_ids_.data(), list_logits_.data()},
                             colors_.data(),
                             target_.data(),
                             width_,
                             channels_,
                             k_};
  Scratch& memory = worker.scratch->groups;
  kernels_.descent_setup(pixels, &memory, &worker.scratch->work);
  const float* groups = memory.data;
  worker.logits.resize(static_cast<size_t>(n) + 16);
  worker.best_logits.resize(static_cast<size_t>(n) + 16);

  const int columns = kSymColor + channels_;
  int32_t* symbols = symbols_.data() + static_cast<size_t>(site) * columns;
  PreparedSite best = sites_.data()[site];
  int changed = 0;
  bool moved = false;
  const auto rate = [&](const int32_t* s) {
    double bits = 0.0;
    if (lambda > 0.0)
      for (int c = kSymLogTau; c < columns; ++c) bits += costs_[c].bits(site, s[c]);
    return lambda * bits;
  };
  double cost = kernels_.descent_error(pixels, groups, best, worker.best_logits.data());
  cost += rate(symbols);
  const auto attempt = [&](const int32_t* trial) {
    for (int j = 0; j < channels_; ++j)
      if (std::abs(static_cast<double>(trial[kSymColor + j]) *
                   quantizer_.color_steps[static_cast<size_t>(site) * channels_ + j]) > kMaxAxis)
        return false;
    PreparedSite candidate;
    dequantize(site, trial, &candidate);
    const double c =
        kernels_.descent_error(pixels, groups, candidate, worker.logits.data()) + rate(trial);
    if (!(c < cost * (1.0 - kGain))) return false;
    cost = c;
    best = candidate;
    worker.best_logits.swap(worker.logits);
    std::copy_n(trial, columns, symbols);
    ++changed;
    return true;
  };
  int32_t trial[kSymColor + kMaxChannels];
  if (geometry) {
    const int32_t cells_x = static_cast<int32_t>(std::ceil(width_ / quantizer_.position));
    const int32_t cells_y = static_cast<int32_t>(std::ceil(height_ / quantizer_.position));
    const auto step = [&](int column, int delta) {
      std::copy_n(symbols, columns, trial);
      trial[column] += delta;
      switch (column) {
        case kSymX:
          if (trial[kSymX] < 0 || trial[kSymX] >= cells_x) return false;
          break;
        case kSymY:
          if (trial[kSymY] < 0 || trial[kSymY] >= cells_y) return false;
          break;
        case kSymLogTau:
          if (std::abs(trial[kSymLogTau] * quantizer_.log_tau) > kMaxLogTau) return false;
          break;
        case kSymAnisotropy: {
          const int top = static_cast<int>(quantizer_.angle_levels.size());
          if (trial[kSymAnisotropy] < 0 || trial[kSymAnisotropy] >= top) return false;
          const int32_t from = quantizer_.angle_levels[symbols[kSymAnisotropy]];
          const int32_t to = quantizer_.angle_levels[trial[kSymAnisotropy]];
          trial[kSymAngle] = static_cast<int32_t>(
              (static_cast<int64_t>(2) * symbols[kSymAngle] * to + from) / (2 * from) % to);
          break;
        }
        case kSymAngle: {
          const int32_t levels = quantizer_.angle_levels[symbols[kSymAnisotropy]];
          if (levels < 2) return false;
          trial[kSymAngle] = (trial[kSymAngle] + levels) % levels;
          break;
        }
        case kSymRadius:
          if (quantizer_.radius == 0.0) return false;
          if (std::abs(trial[kSymRadius] * quantizer_.radius) > kMaxRadius) return false;
          break;
        default: break;
      }
      const bool better = attempt(trial);
      moved |= better;
      return better;
    };
    for (int column : {kSymLogTau, kSymAnisotropy, kSymAngle, kSymX, kSymY, kSymRadius})
      if (!step(column, 1)) step(column, -1);
  }
  for (int j = 0; j < channels_; ++j) {
    double sums[2];
    const float* axis = quantizer_.axes.data() + j * channels_;
    kernels_.descent_color(pixels, groups, best, axis, sums);
    const double unit = quantizer_.color_steps[static_cast<size_t>(site) * channels_ + j];
    if (!(sums[1] > 1e-12) || !(unit > 0.0)) continue;
    const double ideal = sums[0] / (sums[1] * unit);
    const int nearest = static_cast<int>(std::lround(std::min(std::max(ideal, -64.0), 64.0)));
    std::copy_n(symbols, columns, trial);
    trial[kSymColor + j] += nearest;
    if (nearest != 0 && attempt(trial)) continue;
    if (lambda > 0.0 || nearest == 0) {  // a cheaper symbol beside it may be worth its error
      std::copy_n(symbols, columns, trial);
      trial[kSymColor + j] += ideal > 0.0 ? 1 : -1;
      if (attempt(trial) || lambda == 0.0) continue;
      std::copy_n(symbols, columns, trial);
      trial[kSymColor + j] += ideal > 0.0 ? -1 : 1;
      attempt(trial);
    }
  }
  if (changed) {
    sites_.data()[site] = best;
    std::copy_n(best.color, kMaxChannels, colors_.begin() + static_cast<size_t>(site) * kMaxChannels);
    if (moved) update_lists(site, worker.best_logits.data());
  }
  return changed;
}

int64_t Refine::sweep(double lambda, bool geometry) {
  std::vector<Worker> workers(pool_.size());
  for (int i = 0; i < pool_.size(); ++i) workers[i].scratch = scratch_[i].get();
  std::vector<int64_t> changed(pool_.size(), 0);
  for (const auto& group : groups_)
    pool_.run(static_cast<int>(group.size()), [&](int block, int worker) {
      for (int32_t site : group[block])
        changed[worker] += visit(site, lambda, geometry, workers[worker]);
    });
  int64_t total = 0;
  for (int64_t c : changed) total += c;
  return total;
}

void Refine::set_color_steps(const float* steps) {
  const int columns = kSymColor + channels_;
  for (int i = 0; i < count_; ++i) {
    int32_t* s = symbols_.data() + static_cast<size_t>(i) * columns;
    for (int j = 0; j < channels_; ++j) {
      const size_t at = static_cast<size_t>(i) * channels_ + j;
      const double value = static_cast<double>(s[kSymColor + j]) * quantizer_.color_steps[at];
      s[kSymColor + j] = static_cast<int32_t>(std::lround(value / steps[at]));
    }
  }
  quantizer_.color_steps.assign(steps, steps + static_cast<size_t>(count_) * channels_);
  for (int i = 0; i < count_; ++i) {
    color_of(i, symbols_.data() + static_cast<size_t>(i) * columns, sites_.data()[i].color);
    std::copy_n(sites_.data()[i].color, kMaxChannels, colors_.begin() + i * kMaxChannels);
  }
}

// Conjugate gradients on the normal equations W^T W c = W^T target, preconditioned by the
// diagonal; W holds the blend weights of the current geometry. Rows are summed in fixed strips, so
// that the result does not depend on the thread count.
void Refine::solve_colors(int iterations) {
  constexpr int kStrips = 16;
  const int pixels = width_ * height_, n_channels = channels_;
  std::vector<float> weights(static_cast<size_t>(pixels) * k_);
  pool_.run(kStrips, [&](int strip, int) {
    const int begin = static_cast<int>(static_cast<int64_t>(pixels) * strip / kStrips);
    const int end = static_cast<int>(static_cast<int64_t>(pixels) * (strip + 1) / kStrips);
    for (int at = begin; at < end; ++at) {
      const float* l = list_logits_.data() + static_cast<size_t>(at) * kList;
      const int32_t* id = list_ids_.data() + static_cast<size_t>(at) * kList;
      float* w = weights.data() + static_cast<size_t>(at) * k_;
      float total = 0.0f;
      for (int j = 0; j < k_; ++j) {
        w[j] = id[j] >= 0 && l[j] > l[0] - 12.0f ? sad_exp(l[j] - l[0]) : 0.0f;
        total += w[j];
      }
      for (int j = 0; j < k_; ++j) w[j] /= total;
    }
  });
  const size_t size = static_cast<size_t>(count_) * n_channels;
  std::vector<std::vector<float>> partial(kStrips);
  // out = W^T (W c [- target]); also the diagonal of W^T W on request.
  const auto apply = [&](const std::vector<float>& c, bool minus_target, std::vector<double>* out,
                         std::vector<double>* diagonal) {
    const size_t stride = n_channels + (diagonal ? 1 : 0);
    pool_.run(kStrips, [&](int strip, int) {
      auto& sums = partial[strip];
      sums.assign(static_cast<size_t>(count_) * stride, 0.0f);
      const int begin = static_cast<int>(static_cast<int64_t>(pixels) * strip / kStrips);
      const int end = static_cast<int>(static_cast<int64_t>(pixels) * (strip + 1) / kStrips);
      for (int at = begin; at < end; ++at) {
        const int32_t* id = list_ids_.data() + static_cast<size_t>(at) * kList;
        const float* w = weights.data() + static_cast<size_t>(at) * k_;
        float y[kMaxChannels] = {};
        int used = 0;
        for (; used < k_ && w[used] > 0.0f; ++used)
          for (int ch = 0; ch < n_channels; ++ch)
            y[ch] += w[used] * c[static_cast<size_t>(id[used]) * n_channels + ch];
        if (minus_target)
          for (int ch = 0; ch < n_channels; ++ch)
            y[ch] -= target_[static_cast<size_t>(at) * n_channels + ch];
        for (int j = 0; j < used; ++j) {
          float* to = sums.data() + static_cast<size_t>(id[j]) * stride;
          for (int ch = 0; ch < n_channels; ++ch) to[ch] += w[j] * y[ch];
          if (diagonal) to[n_channels] += w[j] * w[j];
        }
      }
    });
    for (int i = 0; i < count_; ++i) {
      for (int ch = 0; ch < n_channels; ++ch) {
        double sum = 0.0;
        for (int s = 0; s < kStrips; ++s) sum += partial[s][static_cast<size_t>(i) * stride + ch];
        (*out)[static_cast<size_t>(i) * n_channels + ch] = sum;
      }
      if (diagonal) {
        double sum = 0.0;
        for (int s = 0; s < kStrips; ++s)
          sum += partial[s][static_cast<size_t>(i) * stride + n_channels];
        (*diagonal)[i] = sum;
      }
    }
  };
  std::vector<float> x(size), p(size);
  for (int i = 0; i < count_; ++i)
    for (int c = 0; c < n_channels; ++c)
      x[static_cast<size_t>(i) * n_channels + c] = colors_[i * kMaxChannels + c];
  std::vector<double> r(size), ap(size), diagonal(count_);
  apply(x, true, &r, &diagonal);
  // A little ridge towards the present colours keeps sites that no pixel sees where they are.
  for (double& d : diagonal) d += 1e-4;
  double rho = 0.0;
  for (size_t i = 0; i < size; ++i) {
    r[i] = -r[i];
    p[i] = static_cast<float>(r[i] / diagonal[i / n_channels]);
    rho += r[i] * p[i];
  }
  for (int it = 0; it < iterations && rho > 1e-12; ++it) {
    apply(p, false, &ap, nullptr);
    double curvature = 0.0;
    for (size_t i = 0; i < size; ++i) {
      ap[i] += 1e-4 * p[i];
      curvature += ap[i] * p[i];
    }
    const double alpha = rho / curvature;
    double next = 0.0;
    for (size_t i = 0; i < size; ++i) {
      x[i] += static_cast<float>(alpha * p[i]);
      r[i] -= alpha * ap[i];
      next += r[i] * r[i] / diagonal[i / n_channels];
    }
    const double beta = next / rho;
    rho = next;
    for (size_t i = 0; i < size; ++i)
      p[i] = static_cast<float>(r[i] / diagonal[i / n_channels] + beta * p[i]);
  }
  const int columns = kSymColor + channels_;
  for (int i = 0; i < count_; ++i) {
    int32_t* s = symbols_.data() + static_cast<size_t>(i) * columns;
    for (int j = 0; j < n_channels; ++j) {
      double value = 0.0;
      for (int c = 0; c < n_channels; ++c) {
        const float clamped =
            std::min(std::max(x[static_cast<size_t>(i) * n_channels + c], kMinColor), kMaxColor);
        value += static_cast<double>(clamped) * quantizer_.axes[j * n_channels + c];
      }
      s[kSymColor + j] = static_cast<int32_t>(
          std::lround(value / quantizer_.color_steps[static_cast<size_t>(i) * n_channels + j]));
    }
    color_of(i, s, sites_.data()[i].color);
    std::copy_n(sites_.data()[i].color, kMaxChannels, colors_.begin() + i * kMaxChannels);
  }
}

// Increase of the squared error if one site went and its pixels fell to their other sites.
void Refine::removal_deltas(double* out) {
  std::vector<Worker> workers(pool_.size());
  for (int i = 0; i < pool_.size(); ++i) workers[i].scratch = scratch_[i].get();
  pool_.run(count_, [&](int site, int index) {
    const uint32_t begin = site_offsets_[site], end = site_offsets_[site + 1];
    out[site] = 0.0;
    if (begin == end) return;
    Worker& worker = workers[index];
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
                               k_};
    Scratch& memory = worker.scratch->groups;
    kernels_.descent_setup(pixels, &memory, &worker.scratch->work);
    PreparedSite gone = sites_.data()[site];
    const double with_site = kernels_.descent_error(pixels, memory.data, gone, nullptr);
    if (count_ == 1) {  // nobody takes over: an error of 1 everywhere
      out[site] = static_cast<double>(pixels.count) * channels_ - with_site;
      return;
    }
    gone.radius = -1e30f;  // a logit under every threshold
    gone.tau = 1.0f;
    out[site] = kernels_.descent_error(pixels, memory.data, gone, nullptr) - with_site;
  });
}

}  // namespace sad
