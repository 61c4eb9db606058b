// Colours of the quantized diagram: least squares for a fixed geometry, and new steps.
#include <algorithm>
#include <cmath>

#include "quad.h"
#include "refine.h"

namespace sad {
namespace {

constexpr int kList = kDescentList;
constexpr float kLeastWeight = 6e-6f;  // e^-12: what a pixel's colour is solved from

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
  const int n_channels = channels_;
  weigh_pixels();
  const size_t sites = count_, size = sites * kMaxChannels;
  // By strip: a row a site of sums, and its part of the diagonal.
  std::vector<float> partial(kStrips * size), squares(kStrips * sites);
  // out = W^T V (W c [- target]); also the diagonal of W^T V W on request.
  const auto apply = [&](const std::vector<float>& c, bool minus_target, std::vector<double>* out,
                         std::vector<double>* diagonal) {
    for_strips([&](int first, int count, int strip) {
      float* sums = partial.data() + strip * size;
      float* square = squares.data() + strip * sites;
      std::fill_n(sums, size, 0.0f);
      if (diagonal) std::fill_n(square, sites, 0.0f);
      for (int at = first; at < first + count; ++at) {
        const int32_t* id = list_ids_.data() + static_cast<size_t>(at) * kList;
        const float* w = pixel_weights_.data() + static_cast<size_t>(at) * k_;
        Quad y = quad(0.0f);
        int used = 0;
        for (; used < k_ && w[used] > kLeastWeight; ++used)
          y += quad(w[used]) * load_quad(c.data() + static_cast<size_t>(id[used]) * kMaxChannels);
        if (minus_target) y -= load_quad(target_.data() + static_cast<size_t>(at) * kMaxChannels);
        const float v = weights_.empty() ? 1.0f : weights_[at];
        y *= quad(v);
        for (int j = 0; j < used; ++j) {
          float* to = sums + static_cast<size_t>(id[j]) * kMaxChannels;
          store_quad(to, load_quad(to) + quad(w[j]) * y);
          if (diagonal) square[id[j]] += v * w[j] * w[j];
        }
      }
    });
    constexpr int kChunk = 1024;
    pool_.run((count_ + kChunk - 1) / kChunk, [&](int chunk, int) {
      const size_t end = std::min<size_t>(sites, (chunk + 1) * static_cast<size_t>(kChunk));
      for (size_t i = chunk * static_cast<size_t>(kChunk); i < end; ++i) {
        for (int ch = 0; ch < kMaxChannels; ++ch) {
          double sum = 0.0;
          for (int s = 0; s < kStrips; ++s) sum += partial[s * size + i * kMaxChannels + ch];
          (*out)[i * kMaxChannels + ch] = sum;
        }
        if (diagonal) {
          double sum = 0.0;
          for (int s = 0; s < kStrips; ++s) sum += squares[s * sites + i];
          (*diagonal)[i] = sum;
        }
      }
    });
  };
  std::vector<float> x(colors_), p(size);
  std::vector<double> r(size), ap(size), diagonal(sites);
  apply(x, true, &r, &diagonal);
  // A little ridge towards the present colours keeps sites that no pixel sees where they are.
  for (double& d : diagonal) d += 1e-4;
  double rho = 0.0;
  for (size_t i = 0; i < size; ++i) {
    r[i] = -r[i];
    p[i] = static_cast<float>(r[i] / diagonal[i / kMaxChannels]);
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
      next += r[i] * r[i] / diagonal[i / kMaxChannels];
    }
    const double beta = next / rho;
    rho = next;
    for (size_t i = 0; i < size; ++i)
      p[i] = static_cast<float>(r[i] / diagonal[i / kMaxChannels] + beta * p[i]);
  }
  const int columns = kSymColor + channels_;
  for (int i = 0; i < count_; ++i) {
    int32_t* s = symbols_.data() + static_cast<size_t>(i) * columns;
    for (int j = 0; j < n_channels; ++j) {
      double value = 0.0;
      for (int c = 0; c < n_channels; ++c) {
        const float clamped =
            std::min(std::max(x[static_cast<size_t>(i) * kMaxChannels + c], kMinColor), kMaxColor);
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
