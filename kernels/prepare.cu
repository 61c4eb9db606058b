// Parameter rows made ready for evaluation.
#include "cuda_common.cuh"
#include "sad_steps.h"

using namespace sad;

constexpr int kRow = kColor + SAD_CHANNELS;
constexpr int kTotals = 8;  // grids of a picture's lists, at most

static __device__ __forceinline__ void write_exact(const float* params, double* exact, int i) {
  const ExactSite site = sad_prepare_exact(params + static_cast<long long>(i) * kRow);
  double* out = exact + 4 * static_cast<long long>(i);
  out[0] = site.g00;
  out[1] = site.g01;
  out[2] = site.g11;
  out[3] = site.tau;
}

// sites [count][16]: a PreparedSite each.
extern "C" __global__ void __launch_bounds__(128)
    prepare_sites(const float* params, float* sites, int count) {
  const int i = blockIdx.x * 128 + threadIdx.x;
  if (i >= count) return;
  sad_prepare(params + static_cast<long long>(i) * kRow, SAD_CHANNELS,
              reinterpret_cast<PreparedSite*>(sites) + i);
}

// The same in float, for the sites of a fit.
extern "C" __global__ void __launch_bounds__(128)
    prepare_fast(const float* params, float* sites, int count) {
  const int i = blockIdx.x * 128 + threadIdx.x;
  if (i >= count) return;
  sad_prepare_fast(params + static_cast<long long>(i) * kRow, SAD_CHANNELS,
                   reinterpret_cast<PreparedSite*>(sites) + i);
}

// exact [count][4]: what the logit in double needs of each site beside its parameters.
extern "C" __global__ void __launch_bounds__(128)
    prepare_exact(const float* params, double* exact, int count) {
  const int i = blockIdx.x * 128 + threadIdx.x;
  if (i >= count) return;
  write_exact(params, exact, i);
}

// All that a picture is drawn from: both of these, the list of all sites as ids [count] and its
// offsets {0, count}, and totals of no entries.
extern "C" __global__ void __launch_bounds__(128)
    prepare_drawing(const float* params, float* sites, double* exact, int* ids, int* offsets,
                    unsigned long long* totals, int count) {
  const int i = blockIdx.x * 128 + threadIdx.x;
  if (i < kTotals) totals[i] = 0;
  if (i < 2) offsets[i] = i * count;
  if (i >= count) return;
  sad_prepare(params + static_cast<long long>(i) * kRow, SAD_CHANNELS,
              reinterpret_cast<PreparedSite*>(sites) + i);
  write_exact(params, exact, i);
  ids[i] = i;
}

// out [count][6 + C]: the parameters with `noise` times uniform numbers in [-1, 1) added; sites
// [count][16] are prepared from them, in float.
extern "C" __global__ void __launch_bounds__(128)
    disturb(const float* params, const float* noise, float* out, float* sites, int count,
            unsigned long long seed) {
  const int i = blockIdx.x * 128 + threadIdx.x;
  if (i >= count) return;
  const long long row = static_cast<long long>(i) * kRow;
  float moved[kRow];
  sad_disturb(params + row, noise + row, SAD_CHANNELS, seed, static_cast<unsigned long long>(row),
              moved);
  SAD_UNROLL
  for (int j = 0; j < kRow; ++j) out[row + j] = moved[j];
  sad_prepare_fast(moved, SAD_CHANNELS, reinterpret_cast<PreparedSite*>(sites) + i);
}
