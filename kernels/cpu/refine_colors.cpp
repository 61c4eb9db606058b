// Colours of the quantized diagram: least squares for a fixed geometry, and new steps.
#include <algorithm>
#include <cmath>

#include "refine.h"

namespace sad {
namespace {

constexpr int kList = kDescentList;

}  // namespace

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

// Conjugate gradients on the normal equations W^T V W c = W^T V target, preconditioned by the
// diagonal; W holds the blend weights of the current geometry, V those of the pixels' errors. Rows
// are summed in fixed strips, so that the result does not depend on the thread count.
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
  // out = W^T V (W c [- target]); also the diagonal of W^T V W on request.
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
        const float v = weights_.empty() ? 1.0f : weights_[at];
        for (int ch = 0; ch < n_channels; ++ch) y[ch] *= v;
        for (int j = 0; j < used; ++j) {
          float* to = sums.data() + static_cast<size_t>(id[j]) * stride;
          for (int ch = 0; ch < n_channels; ++ch) to[ch] += w[j] * y[ch];
          if (diagonal) to[n_channels] += v * w[j] * w[j];
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

}  // namespace sad
