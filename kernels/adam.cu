// One Adam step of every site (Kingma and Ba, arXiv 1412.6980), then the clamp to the bounds.
#include "cuda_common.cuh"
#include "sad_steps.h"

using namespace sad;

constexpr int kRow = kColor + SAD_CHANNELS;

// What both kernels are given: step = 1 / (1 - beta1^t) and root = 1 / sqrt(1 - beta2^t) correct
// the moments' bias; rates [6 + C] come by value, since they change at every step. sites
// [count][16] are prepared anew, in float.
struct Step {
  float beta1, beta2, epsilon, step, root, rates[10];
};

__device__ __forceinline__ void take_step(const float* gradient, float* row, float* params,
                                          float* first, float* second, float* site, float width,
                                          float height, const Step& s) {
  SAD_UNROLL
  for (int j = 0; j < kRow; ++j)
    row[j] -= sad_adam(gradient[j], first + j, second + j, s.beta1, s.beta2, s.epsilon, s.step,
                       s.root, s.rates[j]);
  sad_clamp_parameters(row, SAD_CHANNELS, width, height);
  SAD_UNROLL
  for (int j = 0; j < kRow; ++j) params[j] = row[j];
  sad_prepare_fast(row, SAD_CHANNELS, reinterpret_cast<PreparedSite*>(site));
}

extern "C" __global__ void __launch_bounds__(128)
    adam(const float* gradients, float* params, float* first, float* second, float* sites,
         int count, float width, float height, float beta1, float beta2, float epsilon, float step,
         float root, float rate0, float rate1, float rate2, float rate3, float rate4, float rate5,
         float rate6, float rate7, float rate8, float rate9) {
  const int i = blockIdx.x * 128 + threadIdx.x;
  if (i >= count) return;
  const Step s{beta1,   beta2,
               epsilon, step,
               root,    {rate0, rate1, rate2, rate3, rate4, rate5, rate6, rate7, rate8, rate9}};
  const long long at = static_cast<long long>(i) * kRow;
  float row[kRow], gradient[kRow];
  SAD_UNROLL
  for (int j = 0; j < kRow; ++j) {
    row[j] = params[at + j];
    gradient[j] = gradients[at + j];
  }
  take_step(gradient, row, params + at, first + at, second + at, sites + 16ll * i, width, height,
            s);
}

// The same with the derivatives of the sites' bits added to the gradients, see sad_add_rate.
extern "C" __global__ void __launch_bounds__(128)
    adam_rate(const float* gradients, float* params, float* first, float* second, float* sites,
              const float* prediction, const float* scale, const float* axes, int count,
              float width, float height, float turn, float price, float beta1, float beta2,
              float epsilon, float step, float root, float rate0, float rate1, float rate2,
              float rate3, float rate4, float rate5, float rate6, float rate7, float rate8,
              float rate9) {
  const int i = blockIdx.x * 128 + threadIdx.x;
  if (i >= count) return;
  const Step s{beta1,   beta2,
               epsilon, step,
               root,    {rate0, rate1, rate2, rate3, rate4, rate5, rate6, rate7, rate8, rate9}};
  const long long at = static_cast<long long>(i) * kRow;
  float row[kRow], gradient[kRow];
  SAD_UNROLL
  for (int j = 0; j < kRow; ++j) {
    row[j] = params[at + j];
    gradient[j] = gradients[at + j];
  }
  sad_add_rate(row, prediction + at, scale + at, axes, turn, price, SAD_CHANNELS, gradient);
  take_step(gradient, row, params + at, first + at, second + at, sites + 16ll * i, width, height,
            s);
}
