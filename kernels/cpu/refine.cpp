// Integer coordinate descent: what a move of one site is worth, and the sweep over all of them.
#include "refine.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace sad {
namespace {

constexpr int kList = kDescentList;
constexpr double kMaxAxis = 4.0;  // largest colour on one axis; the bitstream allows 8
constexpr double kGain = 1e-6;    // share of the cost a move must save: less is float's rounding

}  // namespace

struct Refine::Worker {
  WorkerScratch* scratch;
  std::vector<float> logits, best_logits;
  std::vector<ColorPixel> color;
};

float ColumnCost::bits(int site, int symbol) const {
  if (range == 0) return 0.0f;
  const int r = std::min(std::max(symbol - prediction[site], -range), range);
  return table[static_cast<size_t>(klass[site]) * (2 * range + 1) + r + range];
}

Refine::Refine(const Kernels& kernels, const float* target, const float* weights, int width,
               int height, int channels, int k, int threads)
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
  target_.assign(pixels * kMaxChannels, 0.0f);
  for (size_t i = 0; i < pixels; ++i)
    std::copy_n(target + i * channels, channels, target_.begin() + i * kMaxChannels);
  if (weights) weights_.assign(weights, weights + pixels);
  list_ids_.resize(pixels * kList);
  list_logits_.resize(pixels * kList + 16);  // vectors are read whole
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
  listed_ = weighed_ = false;
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

double Refine::bits(int site, const int32_t* symbols) const {
  double out = 0.0;
  for (int c = kSymLogTau; c < kSymColor + channels_; ++c) out += costs_[c].bits(site, symbols[c]);
  return out;
}

bool Refine::within_axes(int site, const int32_t* symbols) const {
  for (int j = 0; j < channels_; ++j)
    if (std::abs(static_cast<double>(symbols[kSymColor + j]) *
                 quantizer_.color_steps[static_cast<size_t>(site) * channels_ + j]) > kMaxAxis)
      return false;
  return true;
}

// Slots move when lists are resorted, so they are looked up before use.
void Refine::find_slots(int site) {
  const uint32_t begin = site_offsets_[site], end = site_offsets_[site + 1];
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
}

DescentPixels Refine::pixels_of(const int32_t* entries, size_t n) {
  return {entries,
          static_cast<int>(n),
          DescentLists{list_ids_.data(), list_logits_.data()},
          colors_.data(),
          target_.data(),
          width_,
          channels_,
          k_,
          weights_.empty() ? nullptr : weights_.data()};
}

int Refine::visit(int site, double lambda, Worker& worker) {
  const uint32_t begin = site_offsets_[site], end = site_offsets_[site + 1];
  const int n = static_cast<int>(end - begin);
  if (n == 0) return 0;
  find_slots(site);
  const DescentPixels pixels = pixels_of(site_entries_.data() + begin, end - begin);
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
  const auto rate = [&](const int32_t* s) { return lambda > 0.0 ? lambda * bits(site, s) : 0.0; };
  double cost = kernels_.descent_error(pixels, groups, best, worker.best_logits.data());
  cost += rate(symbols);
  const auto attempt = [&](const int32_t* trial) {
    if (!within_axes(site, trial)) return false;
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
      default:
        break;
    }
    const bool better = attempt(trial);
    moved |= better;
    return better;
  };
  for (int column : {kSymLogTau, kSymAnisotropy, kSymAngle, kSymX, kSymY, kSymRadius})
    if (!step(column, 1)) step(column, -1);
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
    std::copy_n(best.color, kMaxChannels,
                colors_.begin() + static_cast<size_t>(site) * kMaxChannels);
    if (moved) update_lists(site, worker.best_logits.data());
  }
  return changed;
}

int64_t Refine::sweep(double lambda, bool geometry) {
  std::vector<Worker> workers(pool_.size());
  for (int i = 0; i < pool_.size(); ++i) workers[i].scratch = scratch_[i].get();
  std::vector<int64_t> changed(pool_.size(), 0);
  if (geometry) {
    listed_ = weighed_ = false;
  } else {
    blend_pixels();
  }
  for (const auto& group : groups_)
    pool_.run(static_cast<int>(group.size()), [&](int block, int worker) {
      for (int32_t site : group[block])
        changed[worker] += geometry ? visit(site, lambda, workers[worker])
                                    : visit_color(site, lambda, workers[worker].color);
    });
  int64_t total = 0;
  for (int64_t c : changed) total += c;
  return total;
}

}  // namespace sad
