// One Adam step of every site (Kingma and Ba, arXiv 1412.6980), then the clamp to the bounds.
#include "cuda_common.cuh"

using namespace sad;

constexpr int kRow = kColor + SAD_CHANNELS;

// step = 1 / (1 - beta1^t) and root = 1 / sqrt(1 - beta2^t) correct the moments' bias; rates [6 +
// C] come by value, since they change at every step. sites [count][16] are prepared anew, in float.
extern "C" __global__ void __launch_bounds__(128)
    adam(const float* gradients, float* params, float* first, float* second, float* sites,
         int count, float width, float height, float beta1, float beta2, float epsilon, float step,
         float root, float rate0, float rate1, float rate2, float rate3, float rate4, float rate5,
         float rate6, float rate7, float rate8, float rate9) {
  const int i = blockIdx.x * 128 + threadIdx.x;
  if (i >= count) return;
  const float rates[] = {rate0, rate1, rate2, rate3, rate4, rate5, rate6, rate7, rate8, rate9};
  const long long at = static_cast<long long>(i) * kRow;
  float row[kRow];
  SAD_UNROLL
  for (int j = 0; j < kRow; ++j) {
    row[j] = params[at + j];
    row[j] -= sad_adam(gradients[at + j], first + at + j, second + at + j, beta1, beta2, epsilon,
                       step, root, rates[j]);
  }
  sad_clamp_parameters(row, SAD_CHANNELS, width, height);
  SAD_UNROLL
  for (int j = 0; j < kRow; ++j) params[at + j] = row[j];
  sad_prepare_fast(row, SAD_CHANNELS, reinterpret_cast<PreparedSite*>(sites) + i);
}
