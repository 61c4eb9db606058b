// Colours of the quantized diagram: least squares for a fixed geometry, by conjugate gradients on
// the normal equations W^T W c = W^T target, preconditioned by the diagonal; W holds the blend
// weights, with a ridge towards the present colours. Then symbols, and colours of symbols.
#include "refine.cuh"

namespace sad {

constexpr int kOneBlock = 1024;  // threads of the block that works on all sites

// Weights of the k best sites of a pixel by their places in its list; returns how many there are.
static __device__ __forceinline__ int list_weights(const Lists& lists, int pixel, int k,
                                                   float* weights) {
  const long long base = static_cast<long long>(pixel) * kListLength;
  const float reference = lists.logits[base];
  float total = 0.0f;
  int used = 0;
  SAD_UNROLL
  for (int j = 0; j < kListLength; ++j) {
    weights[j] = 0.0f;
    if (j >= k || lists.ids[base + j] == lists.none) continue;
    weights[j] = sad_exp(lists.logits[base + j] - reference);
    total = total + weights[j];
    used = j + 1;
  }
  const float inverse = 1.0f / total;
  SAD_UNROLL
  for (int j = 0; j < kListLength; ++j) weights[j] = weights[j] * inverse;
  return used;
}

// Sum over the threads of the block, the same in all of them. `sums` [32] is shared memory.
static __device__ __forceinline__ double one_block_sum(double x, double* sums) {
  x = warp_sum(x);
  __syncthreads();
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = x;
  __syncthreads();
  double sum = 0.0;
  for (int w = 0; w < kOneBlock / 32; ++w) sum += sums[w];
  return sum;
}

}  // namespace sad

using namespace sad;

// Blend weights by site: shares [12 P], in the sites' order; diagonal [N] of W^T W. A block is a
// site.
extern "C" __global__ void __launch_bounds__(192)
    colors_shares(const long long* order, const int* starts, const int* list_ids,
                  const float* list_logits, const float* weights, float* shares, float* diagonal,
                  int count, int k, int weighted) {
  __shared__ float partial[kSiteWarps];
  const int site = blockIdx.x;
  const Lists lists{list_ids, list_logits, count};
  LongSum sum{0.0f, 0.0f};
  const int end = starts[site + 1];
  for (int e = starts[site] + static_cast<int>(threadIdx.x); e < end; e += kSiteThreads) {
    const int pixel = static_cast<int>(order[e] / kListLength);
    float of[kListLength], share = 0.0f;
    list_weights(lists, pixel, k, of);
    SAD_UNROLL
    for (int j = 0; j < kListLength; ++j)
      if (list_ids[static_cast<long long>(pixel) * kListLength + j] == site) share = of[j];
    shares[e] = share;
    sad_add(&sum, share * share * (weighted ? weights[pixel] : 1.0f));
  }
  warp_sums<1>(&sum.sum, partial);
  __syncthreads();
  if (threadIdx.x == 0) diagonal[site] = block_sum<1>(partial, 0);
}

// residual [P][4]: the blend of the colours [N][4], less the target if asked for, times the pixel's
// weight. A thread is a pixel.
extern "C" __global__ void __launch_bounds__(256)
    colors_blend(const int* list_ids, const float* list_logits, const float* target,
                 const float* weights, const float* colors, float* residual, int pixels, int count,
                 int k, int weighted, int less_target) {
  const int pixel = blockIdx.x * 256 + threadIdx.x;
  if (pixel >= pixels) return;
  float of[kListLength], value[kMaxChannels];
  const int used = list_weights(Lists{list_ids, list_logits, count}, pixel, k, of);
  SAD_UNROLL
  for (int c = 0; c < kMaxChannels; ++c) value[c] = 0.0f;
  if (less_target) {
    load4(target, pixel, value);
    SAD_UNROLL
    for (int c = 0; c < kMaxChannels; ++c) value[c] = 0.0f - value[c];
  }
  SAD_UNROLL
  for (int j = 0; j < kListLength; ++j) {
    if (j >= used) continue;
    float color[kMaxChannels];
    load4(colors, list_ids[static_cast<long long>(pixel) * kListLength + j], color);
    SAD_UNROLL
    for (int c = 0; c < kMaxChannels; ++c) value[c] = value[c] + of[j] * color[c];
  }
  SAD_UNROLL
  for (int c = 0; c < kMaxChannels; ++c) value[c] = value[c] * (weighted ? weights[pixel] : 1.0f);
  store4(residual, pixel, value);
}

// sums [N][4]: W^T residual. A block is a site.
extern "C" __global__ void __launch_bounds__(192)
    colors_gather(const long long* order, const int* starts, const float* shares,
                  const float* residual, float* sums) {
  __shared__ float partial[kSiteWarps * kMaxChannels];
  const int site = blockIdx.x, end = starts[site + 1];
  LongSum sum[kMaxChannels];
  SAD_UNROLL
  for (int c = 0; c < kMaxChannels; ++c) sum[c].sum = sum[c].lost = 0.0f;
  for (int e = starts[site] + static_cast<int>(threadIdx.x); e < end; e += kSiteThreads) {
    float value[kMaxChannels];
    load4(residual, order[e] / kListLength, value);
    SAD_UNROLL
    for (int c = 0; c < kMaxChannels; ++c) sad_add(&sum[c], shares[e] * value[c]);
  }
  float values[kMaxChannels];
  SAD_UNROLL
  for (int c = 0; c < kMaxChannels; ++c) values[c] = sum[c].sum;
  warp_sums<kMaxChannels>(values, partial);
  __syncthreads();
  if (threadIdx.x < kMaxChannels)
    sums[4ll * site + threadIdx.x] =
        block_sum<kMaxChannels>(partial, static_cast<int>(threadIdx.x));
}

// The first direction, from sums [N][4] of the residual: rest [N][4] = -sums, direction [N][4] and
// state [1], their product in the preconditioner's metric. One block.
extern "C" __global__ void __launch_bounds__(1024)
    colors_begin(const float* sums, const float* diagonal, double* rest, float* direction,
                 double* state, int count) {
  __shared__ double parts[kOneBlock / 32];
  double product = 0.0;
  for (int i = threadIdx.x; i < kMaxChannels * count; i += kOneBlock) {
    const double r = -static_cast<double>(sums[i]);
    const double scaled = r / (diagonal[i / kMaxChannels] + kRidge);
    rest[i] = r;
    direction[i] = static_cast<float>(scaled);
    product += r * scaled;
  }
  product = one_block_sum(product, parts);
  if (threadIdx.x == 0) state[0] = product;
}

// One step, from sums [N][4] of the direction's blend: colours and rest move, a new direction. One
// block. Nothing changes once the rest is as good as none.
extern "C" __global__ void __launch_bounds__(1024)
    colors_step(const float* sums, const float* diagonal, double* rest, float* direction,
                float* colors, double* state, int count) {
  __shared__ double parts[kOneBlock / 32];
  const double product = state[0];
  if (!(product > 1e-12)) return;
  double curvature = 0.0, next = 0.0;
  for (int i = threadIdx.x; i < kMaxChannels * count; i += kOneBlock)
    curvature += (sums[i] + kRidge * direction[i]) * direction[i];
  const double step = product / one_block_sum(curvature, parts);
  for (int i = threadIdx.x; i < kMaxChannels * count; i += kOneBlock) {
    colors[i] += static_cast<float>(step * direction[i]);
    const double r = rest[i] - step * (sums[i] + kRidge * direction[i]);
    rest[i] = r;
    next += r * r / (diagonal[i / kMaxChannels] + kRidge);
  }
  next = one_block_sum(next, parts);
  for (int i = threadIdx.x; i < kMaxChannels * count; i += kOneBlock) {
    const double scaled = rest[i] / (diagonal[i / kMaxChannels] + kRidge);
    direction[i] = static_cast<float>(scaled + next / product * direction[i]);
  }
  if (threadIdx.x == 0) state[0] = next;
}

// Symbols [N][6 + C] of the colours [N][4], which are clamped. A thread is a site.
extern "C" __global__ void __launch_bounds__(128)
    colors_round(const float* colors, const float* color_steps, const float* axes, int* symbols,
                 int count, int channels) {
  const int site = blockIdx.x * 128 + threadIdx.x;
  if (site >= count) return;
  for (int j = 0; j < channels; ++j) {
    double value = 0.0;
    for (int c = 0; c < channels; ++c) {
      const float color = sad_min(sad_max(colors[4ll * site + c], kMinColor), kMaxColor);
      value += static_cast<double>(color) * axes[j * channels + c];
    }
    const double exact = value / color_steps[static_cast<long long>(site) * channels + j];
    symbols[static_cast<long long>(site) * (kRowColor + channels) + kRowColor + j] =
        sad_nearest(exact);
  }
}

// Colours of the symbols [N][6 + C], into sites [N][16] and colors [N][4]. A thread is a site.
extern "C" __global__ void __launch_bounds__(128)
    colors_set(const int* symbols, const float* color_steps, const float* axes, float* sites,
               float* colors, int count, int channels) {
  const int site = blockIdx.x * 128 + threadIdx.x;
  if (site >= count) return;
  float color[kMaxChannels];
  sad_symbol_color(symbols + static_cast<long long>(site) * (kRowColor + channels) + kRowColor,
                   color_steps + static_cast<long long>(site) * channels, axes, channels, color);
  for (int c = 0; c < kMaxChannels; ++c) sites[16ll * site + 7 + c] = color[c];
  store4(colors, site, color);
}
