// Where the sites of a fit start: the method of sadcodec/backends/initialize.py.
//
// The image is cut into aligned squares of 32 x 32 px. A square is 1024 cells in a row of the
// Hilbert curve, so the density is summed within squares, then along the curve of squares, and each
// square finds the sites that fall into it: no sorting of pixels, no array longer than the image.
// Which square holds a site is an integer that is computed once, from sums that cannot decrease, so
// that every site is written exactly once; rounding moves some to the next pixel along the curve.
#include "cuda_common.cuh"
#include "sad_hilbert.h"

namespace {

using namespace sad;

constexpr int kThreads = 256;
constexpr int kSide = 32;  // px, of a square
constexpr int kCells = kSide * kSide;
constexpr int kPerThread = kCells / kThreads;
constexpr int kReach = 5;                        // px, of the blur
constexpr int kPlane = kSide + 2 * kReach;       // side of what is blurred
constexpr int kLuma = kSide + 2 * (kReach + 1);  // side of what is differentiated
constexpr int kParams = kColor + SAD_CHANNELS;   // numbers of a site
constexpr int kSitesPerBlock = kThreads / 32;    // of site_rows: a warp each
constexpr int kMagnitude = 0, kXX = 1, kXY = 2, kYY = 3;

__device__ __forceinline__ int clamp(int x, int high) { return x < 0 ? 0 : x > high ? high : x; }

__device__ __forceinline__ double warp_sum_double(double x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(kFullWarp, x, offset);
  return x;
}

// Magnitude of the gradient or an entry of its outer product, by Sobel's operator over 8.
template <int WHICH>
__device__ __forceinline__ float gradient_term(const float* luma) {
  const float* above = luma - kLuma;
  const float* below = luma + kLuma;
  const float gx =
      (above[1] + 2.0f * luma[1] + below[1] - above[-1] - 2.0f * luma[-1] - below[-1]) * 0.125f;
  const float gy =
      (below[-1] + 2.0f * below[0] + below[1] - above[-1] - 2.0f * above[0] - above[1]) * 0.125f;
  if (WHICH == kXX) return gx * gx;
  if (WHICH == kXY) return gx * gy;
  if (WHICH == kYY) return gy * gy;
  return sad_sqrt(gx * gx + gy * gy);
}

// Blurs one term over a square; thread t gets the pixels t, t + 256, ... of it. What lies outside
// the image is the nearest pixel's term.
template <int WHICH>
__device__ __forceinline__ void blurred_term(const float* luma, const float* weights, int x0,
                                             int y0, int width, int height, float* plane,
                                             float* rows, float* out) {
  const int thread = threadIdx.x;
  for (int i = thread; i < kPlane * kPlane; i += kThreads) {
    const int x = clamp(x0 - kReach + i % kPlane, width - 1) - (x0 - kReach - 1);
    const int y = clamp(y0 - kReach + i / kPlane, height - 1) - (y0 - kReach - 1);
    plane[i] = gradient_term<WHICH>(luma + y * kLuma + x);
  }
  __syncthreads();
  for (int i = thread; i < kPlane * kSide; i += kThreads) {
    const float* from = plane + i / kSide * kPlane + i % kSide;
    float sum = 0.0f;
    for (int t = 0; t <= 2 * kReach; ++t) sum += weights[t] * from[t];
    rows[i] = sum;
  }
  __syncthreads();
#pragma unroll
  for (int m = 0; m < kPerThread; ++m) {
    float sum = 0.0f;
    for (int t = 0; t <= 2 * kReach; ++t)
      sum += weights[t] * rows[thread + m * kThreads + t * kSide];
    out[m] = sum;
  }
}

}  // namespace

// One block a square, in raster order. Planes: density before it is scaled, then p and q of the
// structure tensor. Sums: density of a square.
extern "C" __global__ void __launch_bounds__(256)
    density_planes(const float* target, const float* weights, float* planes, double* sums,
                   int width, int height, float floor, float power) {
  __shared__ float luma[kLuma * kLuma];
  __shared__ float plane[kPlane * kPlane];
  __shared__ float rows[kPlane * kSide];
  __shared__ float taps[2 * kReach + 1];
  __shared__ double partial[kThreads / 32];
  const int thread = threadIdx.x, across = (width + kSide - 1) / kSide;
  const int x0 = static_cast<int>(blockIdx.x) % across * kSide;
  const int y0 = static_cast<int>(blockIdx.x) / across * kSide;
  if (thread <= 2 * kReach) taps[thread] = weights[thread];
  for (int i = thread; i < kLuma * kLuma; i += kThreads) {
    const int x = clamp(x0 - kReach - 1 + i % kLuma, width - 1);
    const int y = clamp(y0 - kReach - 1 + i / kLuma, height - 1);
    const float* pixel = target + (static_cast<long long>(y) * width + x) * SAD_CHANNELS;
    float sum = pixel[0];
#pragma unroll
    for (int c = 1; c < SAD_CHANNELS; ++c) sum += pixel[c];
    luma[i] = sum / static_cast<float>(SAD_CHANNELS);
  }
  __syncthreads();

  // The barriers within also keep a term's rows from being written while the last one's are read.
  float magnitude[kPerThread], xx[kPerThread], xy[kPerThread], yy[kPerThread];
  blurred_term<kMagnitude>(luma, taps, x0, y0, width, height, plane, rows, magnitude);
  blurred_term<kXX>(luma, taps, x0, y0, width, height, plane, rows, xx);
  blurred_term<kXY>(luma, taps, x0, y0, width, height, plane, rows, xy);
  blurred_term<kYY>(luma, taps, x0, y0, width, height, plane, rows, yy);

  const long long size = static_cast<long long>(width) * height;
  double sum = 0.0;
#pragma unroll
  for (int m = 0; m < kPerThread; ++m) {
    const int cell = thread + m * kThreads;
    const int x = x0 + cell % kSide, y = y0 + cell / kSide;
    if (x >= width || y >= height) continue;
    const long long at = static_cast<long long>(y) * width + x;
    const float base = magnitude[m] + floor;
    const float density = power == 1.0f ? base : powf(base, power);
    const float trace = xx[m] + yy[m] + 1e-6f;
    planes[at] = density;
    planes[size + at] = (xx[m] - yy[m]) / trace;
    planes[2 * size + at] = 2.0f * xy[m] / trace;
    sum += density;
  }
  sum = warp_sum_double(sum);
  if (thread % 32 == 0) partial[thread / 32] = sum;
  __syncthreads();
  if (thread == 0) {
    for (int w = 1; w < kThreads / 32; ++w) sum += partial[w];
    sums[blockIdx.x] = sum;
  }
}

// One block. With the squares in the order of the curve: before[j] is the density of those before
// square j, first[j] the first site in it; before[squares] is all density, first[squares] is count.
extern "C" __global__ void __launch_bounds__(256)
    scan_squares(const double* sums, const int* order, double* before, int* first, int squares,
                 int count, double start) {
  __shared__ double base[kThreads + 1];
  const int thread = threadIdx.x;
  const int share = (squares + kThreads - 1) / kThreads;
  const int begin = min(thread * share, squares), end = min(begin + share, squares);
  double sum = 0.0;
  for (int j = begin; j < end; ++j) sum += sums[order[j]];
  base[thread + 1] = sum;
  __syncthreads();
  if (thread == 0) {  // one after the other, so that rounding cannot make a later sum the smaller
    base[0] = 0.0;
    for (int t = 1; t <= kThreads; ++t) base[t] += base[t - 1];
    before[squares] = base[kThreads];
    first[squares] = count;
  }
  __syncthreads();
  const double per_density = count / base[kThreads];
  sum = 0.0;
  for (int j = begin; j < end; ++j) {
    const double mass = base[thread] + sum;
    before[j] = mass;
    // Site i lies where the sum reaches i + start: those up to here are in squares before.
    const double passed = ::floor(mass * per_density - start) + 1.0;
    first[j] = static_cast<int>(sad_min(sad_max(passed, 0.0), static_cast<double>(count)));
    sum += sums[order[j]];
  }
}

// One block a square, in the order of the curve. Writes the pixel of each site of the square: the
// first one, along the curve, at which the summed density reaches what the site stands for.
extern "C" __global__ void __launch_bounds__(256)
    place_sites(const float* planes, const int* order, const double* before, const int* first,
                int* places, int width, int height, int bits, int squares, int count,
                double start) {
  __shared__ float cells[kCells];
  __shared__ double mass[kCells];    // up to and with the n-th cell that is in the image
  __shared__ short cell_of[kCells];  // y * 32 + x of the n-th cell that is in the image
  __shared__ short pixel_of[kCells];
  __shared__ double warp_mass[kThreads / 32];
  __shared__ int warp_inside[kThreads / 32];
  const int square = blockIdx.x, thread = threadIdx.x;
  const int begin = first[square], end = first[square + 1];
  if (begin == end) return;
  const int across = (width + kSide - 1) / kSide;
  const int x0 = order[square] % across * kSide, y0 = order[square] / across * kSide;
#pragma unroll
  for (int m = 0; m < kPerThread; ++m) cells[thread + m * kThreads] = -1.0f;  // not in the image
  __syncthreads();
#pragma unroll
  for (int m = 0; m < kPerThread; ++m) {
    const int pixel = thread + m * kThreads, x = x0 + pixel % kSide, y = y0 + pixel / kSide;
    if (x >= width || y >= height) continue;
    const int cell = hilbert_place(x, y, bits) % kCells;
    cells[cell] = planes[static_cast<long long>(y) * width + x];
    pixel_of[cell] = static_cast<short>(pixel);
  }
  __syncthreads();

  // Prefix sums of the density and of how many cells are in the image.
  double own = 0.0;
  int inside = 0;
#pragma unroll
  for (int m = 0; m < kPerThread; ++m) {
    const float density = cells[thread * kPerThread + m];
    if (density >= 0.0f) own += density, ++inside;
  }
  double sum = own;
  int rank = inside;
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const double other = __shfl_up_sync(kFullWarp, sum, offset);
    const int others = __shfl_up_sync(kFullWarp, rank, offset);
    if (thread % 32 >= offset) sum += other, rank += others;
  }
  if (thread % 32 == 31) warp_mass[thread / 32] = sum, warp_inside[thread / 32] = rank;
  __syncthreads();
  double carry = before[square];
  int cells_before = 0, inside_all = 0;
  for (int w = 0; w < kThreads / 32; ++w) {
    if (w < thread / 32) carry += warp_mass[w], cells_before += warp_inside[w];
    inside_all += warp_inside[w];
  }
  sum = carry + (sum - own);
  rank = cells_before + rank - inside;
#pragma unroll
  for (int m = 0; m < kPerThread; ++m) {
    const int cell = thread * kPerThread + m;
    if (cells[cell] < 0.0f) continue;
    sum += cells[cell];
    mass[rank] = sum;
    cell_of[rank++] = pixel_of[cell];
  }
  __syncthreads();

  const double per_site = before[squares] / count;
  for (int site = begin + thread; site < end; site += kThreads) {
    const double wanted = (site + start) * per_site;
    int low = 0, high = inside_all - 1;  // the last cell takes what rounding leaves over
    while (low < high) {
      const int middle = (low + high) / 2;
      if (mass[middle] < wanted)
        low = middle + 1;
      else
        high = middle;
    }
    const int pixel = cell_of[low];
    places[site] = (y0 + pixel / kSide) * width + x0 + pixel % kSide;
  }
}

// One warp a site: its row of parameters.
extern "C" __global__ void __launch_bounds__(256)
    site_rows(const float* target, const float* planes, const double* before, const int* places,
              const float* jitter, float* params, int width, int height, int squares, int count,
              int with_radius) {
  const int lane = threadIdx.x % 32;
  const int site = static_cast<int>(blockIdx.x) * kSitesPerBlock + threadIdx.x / 32;
  if (site >= count) return;
  const int place = places[site], x = place % width, y = place / width;
  const double density = planes[place] * (count / before[squares]);
  const double spacing = 1.0 / sad_sqrt(density);

  // Mean colour of a square. Sums are in double: a site of an empty image may cover millions.
  const int reach = static_cast<int>(spacing / 4.0);
  const int left = max(x - reach, 0), right = min(x + reach + 1, width);
  const int top = max(y - reach, 0), bottom = min(y + reach + 1, height);
  double sums[SAD_CHANNELS] = {};
  for (int row = top; row < bottom; ++row) {
    for (int column = left + lane; column < right; column += 32) {
      const float* pixel = target + (static_cast<long long>(row) * width + column) * SAD_CHANNELS;
#pragma unroll
      for (int c = 0; c < SAD_CHANNELS; ++c) sums[c] += pixel[c];
    }
  }
#pragma unroll
  for (int c = 0; c < SAD_CHANNELS; ++c) sums[c] = warp_sum_double(sums[c]);
  if (lane != 0) return;

  float* row = params + static_cast<long long>(site) * kParams;
  const long long size = static_cast<long long>(width) * height;
  const float px = x + 0.5f + jitter[2 * site], py = y + 0.5f + jitter[2 * site + 1];
  row[kX] = sad_min(sad_max(px, 0.0f), static_cast<float>(width));
  row[kY] = sad_min(sad_max(py, 0.0f), static_cast<float>(height));
  row[kLogTau] = logf(static_cast<float>(3.0 / spacing));
  row[kRadius] = with_radius ? static_cast<float>(0.5 * spacing) : 0.0f;
  row[kP] = planes[size + place];
  row[kQ] = planes[2 * size + place];
  const double pixels = static_cast<double>(right - left) * (bottom - top);
#pragma unroll
  for (int c = 0; c < SAD_CHANNELS; ++c) row[kColor + c] = static_cast<float>(sums[c] / pixels);
}
