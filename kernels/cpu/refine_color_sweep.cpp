// The descent over colours alone. The geometry stands, so that each pixel's weights do as well: the
// picture is kept, and a site's colour moves it by the site's weight there.
#include <algorithm>
#include <cmath>

#include "quad.h"
#include "refine.h"

namespace sad {
namespace {

constexpr int kList = kDescentList;
constexpr double kGain = 1e-6;  // share of the cost a move must save: less is float's rounding

}  // namespace

void Refine::for_strips(const std::function<void(int, int, int)>& body) {
  const int64_t pixels = static_cast<int64_t>(width_) * height_;
  pool_.run(kStrips, [&](int strip, int) {
    const int begin = static_cast<int>(pixels * strip / kStrips);
    const int end = static_cast<int>(pixels * (strip + 1) / kStrips);
    body(begin, end - begin, strip);
  });
}

void Refine::weigh_pixels() {
  if (weighed_) return;
  pixel_weights_.resize(static_cast<size_t>(width_) * height_ * k_);
  const DescentLists lists{list_ids_.data(), list_logits_.data()};
  for_strips([&](int first, int count, int) {
    kernels_.weigh_pixels(lists, first, count, k_,
                          pixel_weights_.data() + static_cast<size_t>(first) * k_);
  });
  weighed_ = true;
}

void Refine::blend_pixels() {
  weigh_pixels();
  picture_.resize(static_cast<size_t>(width_) * height_ * kMaxChannels);
  for_strips([&](int first, int count, int) {
    for (int at = first; at < first + count; ++at) {
      const int32_t* id = list_ids_.data() + static_cast<size_t>(at) * kList;
      const float* w = pixel_weights_.data() + static_cast<size_t>(at) * k_;
      Quad blend = quad(0.0f);
      for (int j = 0; j < k_ && id[j] >= 0; ++j)
        blend += quad(w[j]) * load_quad(colors_.data() + static_cast<size_t>(id[j]) * kMaxChannels);
      store_quad(picture_.data() + static_cast<size_t>(at) * kMaxChannels, blend);
    }
  });
}

int Refine::visit_color(int site, double lambda, std::vector<ColorPixel>& pixels) {
  const uint32_t begin = site_offsets_[site], end = site_offsets_[site + 1];
  if (begin == end) return 0;
  if (!listed_) find_slots(site);
  pixels.resize(end - begin);
  // Over the pixels, weighted as their errors are: sum of weight x residual by channel, of
  // weight^2, of the squared error; the range of the picture and the largest weight.
  Quad along = quad(0.0f), error = quad(0.0f), low = quad(3e38f), high = quad(-3e38f);
  float square = 0.0f, most = 0.0f;
  size_t n = 0;
  for (uint32_t i = begin; i < end; ++i) {
    const int32_t pixel = site_entries_[i] / kList, slot = site_entries_[i] - pixel * kList;
    if (slot >= k_) continue;
    const float a = pixel_weights_[static_cast<size_t>(pixel) * k_ + slot];
    const Quad y = load_quad(picture_.data() + static_cast<size_t>(pixel) * kMaxChannels);
    const Quad t = load_quad(target_.data() + static_cast<size_t>(pixel) * kMaxChannels);
    const Quad e = quad_clamp(y) - t;
    const float v = weights_.empty() ? 1.0f : weights_[pixel];
    along += quad(v * a) * (t - y);
    square += v * a * a;
    error += quad(v) * (e * e);
    low = quad_min(low, y);
    high = quad_max(high, y);
    most = std::max(most, a);
    pixels[n++] = ColorPixel{pixel, a};
  }
  pixels.resize(n);
  if (!(square > 1e-12f)) return 0;

  const int columns = kSymColor + channels_;
  int32_t* symbols = symbols_.data() + static_cast<size_t>(site) * columns;
  const Quad start = load_quad(colors_.data() + static_cast<size_t>(site) * kMaxChannels);
  Quad color = start;
  double cost = quad_sum(error) + (lambda > 0.0 ? lambda * bits(site, symbols) : 0.0);
  int changed = 0;
  int32_t trial[kSymColor + kMaxChannels];
  // The squared error of colour start + to, less that of start + from.
  const auto difference = [&](Quad from, Quad to) {
    const Quad ends[2] = {quad_min(from, to) * quad(most), quad_max(from, to) * quad(most)};
    const Quad least = low + quad_min(ends[0], quad(0.0f));
    const Quad largest = high + quad_max(ends[1], quad(0.0f));
    bool clamped = false;
    for (int c = 0; c < channels_; ++c) clamped |= !(least[c] >= 0.0f && largest[c] <= 1.0f);
    if (!clamped)  // the error is a parabola
      return quad_sum((from - to) * (quad(2.0f) * along - quad(square) * (from + to)));
    double sum = 0.0;
    for (size_t i = 0; i < n;) {
      Quad part = quad(0.0f);
      for (const size_t stop = std::min(n, i + 64); i < stop; ++i) {
        const size_t at = static_cast<size_t>(pixels[i].pixel) * kMaxChannels;
        const Quad y = load_quad(picture_.data() + at), t = load_quad(target_.data() + at);
        const Quad a = quad(pixels[i].weight);
        const Quad before = quad_clamp(y + a * from), after = quad_clamp(y + a * to);
        const float v = weights_.empty() ? 1.0f : weights_[pixels[i].pixel];
        part += quad(v) * ((after - before) * (after + before - t - t));
      }
      sum += quad_sum(part);
    }
    return sum;
  };
  const auto attempt = [&](int column, int delta) {
    std::copy_n(symbols, columns, trial);
    trial[column] += delta;
    if (!within_axes(site, trial)) return false;
    float row[kMaxChannels];
    color_of(site, trial, row);
    const Quad to = load_quad(row);
    double gain = -difference(color - start, to - start);
    if (lambda > 0.0)
      gain += lambda * (static_cast<double>(costs_[column].bits(site, symbols[column])) -
                        costs_[column].bits(site, trial[column]));
    if (!(gain > cost * kGain)) return false;
    cost -= gain;
    color = to;
    std::copy_n(trial, columns, symbols);
    ++changed;
    return true;
  };
  for (int j = 0; j < channels_; ++j) {
    const float* axis = quantizer_.axes.data() + j * channels_;
    const double unit = quantizer_.color_steps[static_cast<size_t>(site) * channels_ + j];
    if (!(unit > 0.0)) continue;
    double residual = 0.0;
    for (int c = 0; c < channels_; ++c)
      residual += axis[c] * (along[c] - static_cast<double>(square) * (color[c] - start[c]));
    const double ideal = residual / (square * unit);
    const int nearest = static_cast<int>(std::lround(std::min(std::max(ideal, -64.0), 64.0)));
    const int side = ideal > 0.0 ? 1 : -1;
    if (nearest != 0 && attempt(kSymColor + j, nearest)) continue;
    // A cheaper symbol beside it may be worth its error.
    if (lambda == 0.0 && nearest != 0) continue;
    if (attempt(kSymColor + j, side) || lambda == 0.0) continue;
    attempt(kSymColor + j, -side);
  }
  if (changed) {
    PreparedSite& prepared = sites_.data()[site];
    store_quad(prepared.color, color);
    store_quad(colors_.data() + static_cast<size_t>(site) * kMaxChannels, color);
    for (const ColorPixel& p : pixels) {
      float* y = picture_.data() + static_cast<size_t>(p.pixel) * kMaxChannels;
      store_quad(y, load_quad(y) + quad(p.weight) * (color - start));
    }
  }
  return changed;
}

}  // namespace sad
