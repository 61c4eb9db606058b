#include "fit.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "../sad_steps.h"
#include "blocks.h"
#include "quad.h"

namespace sad {
namespace {

constexpr int kSiteChunk = 512;  // sites a thread takes at a time
constexpr int kAhead = 32;       // rows of sums that are asked for before they are needed

}  // namespace

void Candidates::set(int square, const SquareLists& lists) {
  Square& s = squares[square];
  const int32_t entries = lists.offsets[kSquareTiles];
  s.ids.assign(lists.ids, lists.ids + lists.count);
  s.entries.assign(lists.entries, lists.entries + entries);
  s.entries.resize(entries + 16);  // vectors are read whole
  s.masks.assign(entries + 16, 0);
  s.lanes.clear();
  std::copy_n(lists.offsets, kSquareTiles + 1, s.offsets);
}

void Candidates::index_sites(int sites) {
  rows.assign(squares.size() + 1, 0);
  site_offsets.assign(sites + 1, 0);
  size_t total = 0;
  for (size_t s = 0; s < squares.size(); ++s) {
    total += squares[s].ids.size();
    if (total >> 32) throw std::length_error("too many candidates");
    rows[s + 1] = static_cast<uint32_t>(total);
    for (int32_t id : squares[s].ids) ++site_offsets[id + 1];
  }
  for (int i = 0; i < sites; ++i) site_offsets[i + 1] += site_offsets[i];
  site_rows.resize(total + kAhead);
  std::vector<uint32_t> next(site_offsets.begin(), site_offsets.end() - 1);
  uint32_t row = 0;
  for (const Square& s : squares)
    for (int32_t id : s.ids) site_rows[next[id]++] = row++;
}

Fit::Fit(const Kernels& kernels, const float* target, const float* weights, int width, int height,
         int channels, const float* params, int count, int k, int threads)
    : kernels_(kernels),
      pool_(threads),
      scratch_(make_scratch(pool_)),
      width_(width),
      height_(height),
      channels_(channels),
      k_(k),
      squares_x_((width + kSquare - 1) / kSquare),
      squares_y_((height + kSquare - 1) / kSquare),
      count_(count) {
  const size_t squares = static_cast<size_t>(squares_x_) * squares_y_;
  if (target) fill_target(target, weights);
  const size_t size = static_cast<size_t>(count) * columns();
  params_.assign(params, params + size);
  first_.assign(size, 0.0f);
  second_.assign(size, 0.0f);
  gradients_.assign(size, 0.0f);
  square_loss_.resize(squares);
  lists_.squares.resize(squares);
}

void Fit::fill_target(const float* target, const float* weights) {
  const size_t squares = static_cast<size_t>(squares_x_) * squares_y_;
  constexpr int kSide = kSquare / kTile;
  target_.assign(squares * kSquareTiles * kBlocks * channels_ * 16, 0.0f);
  if (weights) weights_.assign(squares * kSquareTiles * kBlocks * 16, 0.0f);
  float* out = target_.data();
  size_t weight = 0;
  for (size_t tile = 0; tile < squares * kSquareTiles; ++tile) {
    const int square = static_cast<int>(tile / kSquareTiles), t = tile % kSquareTiles;
    const int x0 = square % squares_x_ * kSquare + t % kSide * kTile;
    const int y0 = square / squares_x_ * kSquare + t / kSide * kTile;
    for (int block = 0; block < kBlocks; ++block, out += channels_ * 16, weight += 16) {
      for (int lane = 0; lane < 16; ++lane) {
        const int x = x0 + block_x(block, lane), y = y0 + block_y(block, lane);
        if (x >= width_ || y >= height_) continue;
        for (int c = 0; c < channels_; ++c)
          out[c * 16 + lane] = target[(static_cast<size_t>(y) * width_ + x) * channels_ + c];
        if (weights) weights_[weight + lane] = weights[static_cast<size_t>(y) * width_ + x];
      }
    }
  }
}

void Fit::set_target(const float* target) { fill_target(target, nullptr); }

void Fit::move(const float* params) {
  std::copy_n(params, params_.size(), params_.begin());
  prepared_ = false;
}

void Fit::prepare(const float* params) {
  const bool own = params == params_.data();
  if (own && prepared_) return;
  prepare_sites(params, count_, channels_, pool_, &sites_);
  prepared_ = own;
}

void Fit::refresh(float cut) {
  cut_ = cut;
  prepare(params_.data());
  visit_squares(kernels_, sites_, width_, height_, FilterOptions{k_, cut}, pool_, scratch_,
                [&](int square, const SquareLists& lists) { lists_.set(square, lists); });
  finish_lists();
  mapped_ = false;
}

void Fit::finish_lists() {
  lists_.index_sites(count_);
  sums_.resize(static_cast<size_t>(lists_.rows.back()) * columns() + 12);  // quads are read whole
  masked_ = 0;
  lists_current_ = true;
}

void Fit::require_lists() const {
  if (!lists_current_) throw std::logic_error("refresh() must follow a change of the sites");
}

void Fit::require_target() const {
  if (target_.empty()) throw std::logic_error("the session has no target");
}

// params_ with `noise` times uniform numbers in [-1, 1) added.
const float* Fit::disturb(const float* noise, uint64_t seed) {
  const int n_columns = columns();
  disturbed_.resize(params_.size());
  pool_.run((count_ + kSiteChunk - 1) / kSiteChunk, [&](int chunk, int) {
    const int end = std::min(count_, (chunk + 1) * kSiteChunk);
    for (int i = chunk * kSiteChunk; i < end; ++i) {
      const size_t row = static_cast<size_t>(i) * n_columns;
      sad_disturb(params_.data() + row, noise + row, channels_, seed, row, disturbed_.data() + row);
    }
  });
  return disturbed_.data();
}

SquareTask Fit::task(int square, int sums_columns) {
  const Candidates::Square& lists = lists_.squares[square];
  SquareTask t;
  t.sites = sites_.data();
  t.lists = SquareLists{lists.ids.data(), static_cast<int>(lists.ids.size()), lists.entries.data(),
                        lists.offsets};
  t.target = target_.empty() ? nullptr
                             : target_.data() + static_cast<size_t>(square) * kSquareTiles *
                                                    kBlocks * channels_ * 16;
  t.weights = weights_.empty()
                  ? nullptr
                  : weights_.data() + static_cast<size_t>(square) * kSquareTiles * kBlocks * 16;
  t.sums = sums_.data() + static_cast<size_t>(lists_.rows[square]) * sums_columns;
  t.x0 = square % squares_x_ * kSquare;
  t.y0 = square / squares_x_ * kSquare;
  t.width = width_;
  t.height = height_;
  t.channels = channels_;
  t.k = k_;
  return t;
}

// phase, scale, cotangent and picture: see GradientTask. moved: sites_ are not those of params_.
void Fit::run_pass(int phase, float scale, bool moved, const float* cotangent, float* picture) {
  const unsigned blocks = phase < 0 ? 15u : 16u << phase;
  const bool fresh = !(masked_ & blocks);
  pool_.run(squares_x_ * squares_y_, [&](int square, int worker) {
    // A disturbance moves sites for this call only, so that what is near then says nothing.
    Candidates::Square& lists = lists_.squares[square];
    uint8_t* masks = moved || mapped_ ? nullptr : lists.masks.data();
    const uint16_t* lanes = mapped_ ? lists.lanes.data() : nullptr;
    const GradientTask t{
        task(square, columns()), phase, cut_, scale, masks, fresh, lanes, cotangent, picture};
    square_loss_[square] = kernels_.gradient_square(t, &scratch_[worker]->work);
  });
  if (!moved) masked_ |= blocks;
}

// Each site adds up its rows in the order of the squares: no atomics, and one order for any number
// of threads.
void Fit::add_up(const float* at) {
  const int n_columns = columns();
  pool_.run((count_ + kSiteChunk - 1) / kSiteChunk, [&](int chunk, int) {
    const int end = std::min(count_, (chunk + 1) * kSiteChunk);
    for (int i = chunk * kSiteChunk; i < end; ++i) {
      // Rows as three quads: what lies behind a row is added up too, and not read.
      Quad part[3] = {quad(0.0f), quad(0.0f), quad(0.0f)};
      for (uint32_t r = lists_.site_offsets[i]; r < lists_.site_offsets[i + 1]; ++r) {
        const float* row = sums_.data() + static_cast<size_t>(lists_.site_rows[r]) * n_columns;
        for (int j = 0; j < 3; ++j) part[j] += load_quad(row + 4 * j);
        __builtin_prefetch(sums_.data() +
                           static_cast<size_t>(lists_.site_rows[r + kAhead]) * n_columns);
      }
      float sums[12];
      for (int j = 0; j < 3; ++j) store_quad(sums + 4 * j, part[j]);
      sad_parameter_gradient<float>(at + static_cast<size_t>(i) * n_columns, channels_, sums,
                                    gradients_.data() + static_cast<size_t>(i) * n_columns);
    }
  });
}

double Fit::gradient(int phase, const float* noise, uint64_t seed) {
  require_lists();
  require_target();
  const float* at = noise ? disturb(noise, seed) : params_.data();
  prepare(at);
  // Pixels that are in the image at this phase.
  const double sampled = phase < 0 ? static_cast<double>(width_) * height_
                                   : static_cast<double>((width_ + 1 - (phase & 1)) / 2) *
                                         ((height_ + 1 - ((phase >> 1) & 1)) / 2);
  const float scale = static_cast<float>(2.0 / (std::max(sampled, 1.0) * channels_));
  run_pass(phase, scale, noise != nullptr, nullptr, nullptr);
  add_up(at);
  double loss = 0.0;
  for (double x : square_loss_) loss += x;
  return sampled > 0 ? loss / (sampled * channels_) : 0.0;
}

void Fit::picture(float* out) {
  require_lists();
  prepare(params_.data());
  run_pass(-1, 0.0f, false, nullptr, out);
}

void Fit::pull_back(const float* cotangent) {
  require_lists();
  prepare(params_.data());
  run_pass(-1, 0.0f, false, cotangent, nullptr);
  add_up(params_.data());
}

void Fit::set_rate(const float* prediction, const float* scale, const float* axes, float turn,
                   float price) {
  prediction_.assign(prediction, prediction + params_.size());
  scale_.assign(scale, scale + params_.size());
  axes_.assign(axes, axes + channels_ * channels_);
  turn_ = turn;
  price_ = price;
}

void Fit::adam(const float* rates, float beta1, float beta2, float epsilon) {
  ++steps_;
  const double c1 = 1.0 - std::pow(static_cast<double>(beta1), steps_);
  const double c2 = 1.0 - std::pow(static_cast<double>(beta2), steps_);
  const float step = static_cast<float>(1.0 / c1), root = static_cast<float>(1.0 / std::sqrt(c2));
  const int n_columns = columns();
  // Several sites at a time, whose parameters the compiler takes as one array.
  constexpr int kSites = 16;
  float rate[kSites * (kColor + kMaxChannels)];
  for (int j = 0; j < kSites * n_columns; ++j) rate[j] = rates[j % n_columns];
  pool_.run((count_ + kSiteChunk - 1) / kSiteChunk, [&](int chunk, int) {
    const int end = std::min(count_, (chunk + 1) * kSiteChunk);
    for (int first = chunk * kSiteChunk; first < end; first += kSites) {
      const int sites = std::min(kSites, end - first);
      const size_t begin = static_cast<size_t>(first) * n_columns;
      float gradient[kSites * (kColor + kMaxChannels)];
      std::copy_n(gradients_.data() + begin, sites * n_columns, gradient);
      float* params = params_.data() + begin;
      if (price_ > 0.0f)
        for (int at = 0; at < sites * n_columns; at += n_columns)
          sad_add_rate(params + at, prediction_.data() + begin + at, scale_.data() + begin + at,
                       axes_.data(), turn_, price_, channels_, gradient + at);
      float *m = first_.data() + begin, *v = second_.data() + begin;
#pragma GCC ivdep
      for (int j = 0; j < sites * n_columns; ++j)
        params[j] -=
            sad_adam(gradient[j], m + j, v + j, beta1, beta2, epsilon, step, root, rate[j]);
      for (int at = 0; at < sites * n_columns; at += n_columns)
        sad_clamp_parameters(params + at, channels_, static_cast<float>(width_),
                             static_cast<float>(height_));
    }
  });
  prepared_ = false;
}

void Fit::statistics(float* out) {
  require_lists();
  require_target();
  if (mapped_) throw std::logic_error("statistics need exact lists");
  prepare(params_.data());
  pool_.run(squares_x_ * squares_y_, [&](int square, int worker) {
    kernels_.statistics_square(task(square, 3), &scratch_[worker]->work);
  });
  pool_.run((count_ + kSiteChunk - 1) / kSiteChunk, [&](int chunk, int) {
    const int end = std::min(count_, (chunk + 1) * kSiteChunk);
    for (int i = chunk * kSiteChunk; i < end; ++i) {
      double sums[3] = {0.0, 0.0, 0.0};
      for (uint32_t r = lists_.site_offsets[i]; r < lists_.site_offsets[i + 1]; ++r)
        for (int c = 0; c < 3; ++c)
          sums[c] += sums_[static_cast<size_t>(lists_.site_rows[r]) * 3 + c];
      for (int c = 0; c < 3; ++c) out[3 * static_cast<size_t>(i) + c] = static_cast<float>(sums[c]);
    }
  });
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
  lists_current_ = prepared_ = false;
  price_ = 0.0f;
}

void Fit::append(const float* params, int count) {
  params_.insert(params_.end(), params, params + static_cast<size_t>(count) * columns());
  first_.resize(params_.size(), 0.0f);
  second_.resize(params_.size(), 0.0f);
  count_ += count;
  gradients_.assign(params_.size(), 0.0f);
  lists_current_ = prepared_ = false;
  price_ = 0.0f;
}

}  // namespace sad
