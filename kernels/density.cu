// Sites kept and dropped: rows of the session's tables, gathered.
#include "cuda_common.cuh"

// out [kept][columns]: rows index [kept] of in [count][columns].
extern "C" __global__ void __launch_bounds__(256)
    gather_rows(const float* in, const int* index, float* out, int kept, int columns) {
  const long long e = static_cast<long long>(blockIdx.x) * 256 + threadIdx.x;
  if (e >= static_cast<long long>(kept) * columns) return;
  const int row = static_cast<int>(e / columns), column = static_cast<int>(e % columns);
  out[e] = in[static_cast<long long>(index[row]) * columns + column];
}
