// Colours at any points, and their derivatives, in double as cpu/points.cpp has them.
//
// A thread is a point and goes through all sites, which come through shared memory in chunks. A
// bound in float says which of them cannot be among its K best; the others are compared in double,
// as the reference computes them.
#include "cuda_common.cuh"

namespace sad {

constexpr int kChannels = SAD_CHANNELS;
constexpr int kRow = kColor + kChannels;
constexpr int kPointThreads = 128;

// The bound's slack, relative to the terms of a logit: float rounds ten times, by 6e-8 each.
constexpr float kFilterSlack = 1e-6f;
constexpr double kFilterAnisotropy = 8.0;  // of a metric that the bound holds for
constexpr float kFilterReach = 1e18f;      // px; distances whose squares float has

// A site in float, as in PreparedSite.
struct PointFilter {
  float x, y, m0, m1, m2, tau, radius;
  int always;  // there is no bound
};

static __device__ __forceinline__ float magnitude(float x) { return x < 0.0f ? -x : x; }

// False only if the site's logit at (x, y), which may be rounded, is under `least`. What overflows
// is compared in double.
static __device__ __forceinline__ bool may_reach(const PointFilter& s, float x, float y,
                                                 float least) {
  const float distance = sad_distance(x - s.x, y - s.y, s.m0, s.m1, s.m2);
  const float ax = magnitude(x) + magnitude(s.x), ay = magnitude(y) + magnitude(s.y);
  const float size = s.m0 * ax + (magnitude(s.m1) + s.m2) * ay + magnitude(s.radius);
  const float slack = s.tau * (kFilterSlack * size + 1e-18f);
  const float upper = sad_logit(distance, s.tau, s.radius) + slack;
  return s.always != 0 || !(distance < kFilterReach) || !(upper < least);
}

static __device__ __forceinline__ ExactSite load_exact(const double* exact, int id) {
  const double* site = exact + 4 * static_cast<long long>(id);
  return ExactSite{site[0], site[1], site[2], site[3]};
}

// From the logits of n sites, the largest first, to their weights, in place; the blend of colours.
static __device__ __forceinline__ void blend_sites(const double* params, const int* ids, int n,
                                                   double* weights, double* color) {
  const double maximum = weights[0];
  double total = 0.0;
  for (int j = 0; j < n; ++j) total += weights[j] = sad_exp(weights[j] - maximum);
  const double inverse = 1.0 / total;
  SAD_UNROLL
  for (int c = 0; c < kChannels; ++c) color[c] = 0.0;
  for (int j = 0; j < n; ++j) {
    weights[j] *= inverse;
    const double* row = params + static_cast<long long>(ids[j]) * kRow;
    SAD_UNROLL
    for (int c = 0; c < kChannels; ++c) color[c] += weights[j] * row[kColor + c];
  }
}

// A point as a site sees it: G (x - p) = (ux, uy).
struct PointOffset {
  double dx, dy, ux, uy, distance;
};

static __device__ __forceinline__ PointOffset point_offset(const double* row, const ExactSite& s,
                                                           double x, double y) {
  PointOffset at;
  at.dx = x - row[kX];
  at.dy = y - row[kY];
  at.ux = s.g00 * at.dx + s.g01 * at.dy;
  at.uy = s.g01 * at.dx + s.g11 * at.dy;
  at.distance = sad_sqrt(sad_max(at.ux * at.dx + at.uy * at.dy, 0.0));
  return at;
}

}  // namespace sad

using namespace sad;

// params [count][6 + C]; exact [count][4] as for drawing, filters [count][8].
extern "C" __global__ void __launch_bounds__(128)
    points_prepare(const double* params, double* exact, float* filters, int count) {
  const int i = blockIdx.x * 128 + threadIdx.x;
  if (i >= count) return;
  const double* row = params + static_cast<long long>(i) * kRow;
  const ExactSite site = sad_prepare_exact(row);
  double* out = exact + 4 * static_cast<long long>(i);
  out[0] = site.g00;
  out[1] = site.g01;
  out[2] = site.g11;
  out[3] = site.tau;
  const double m0 = sad_sqrt(site.g00), p = row[kP], q = row[kQ];
  PointFilter filter;
  filter.x = static_cast<float>(row[kX]);
  filter.y = static_cast<float>(row[kY]);
  filter.m0 = static_cast<float>(m0);
  filter.m1 = static_cast<float>(site.g01 / m0);
  filter.m2 = static_cast<float>(1.0 / m0);
  filter.tau = static_cast<float>(site.tau);
  filter.radius = static_cast<float>(row[kRadius]);
  filter.always = !(p * p + q * q <= kFilterAnisotropy * kFilterAnisotropy);
  reinterpret_cast<PointFilter*>(filters)[i] = filter;
}

// points [size][2]; top [size][best] are the sites of each, by falling logit, best = min(K, count);
// colors [size][C], not clamped.
extern "C" __global__ void __launch_bounds__(128)
    points_blend(const double* params, const double* exact, const float* filters,
                 const double* points, int* top, double* colors, int count, int size, int best) {
  __shared__ PointFilter staged[kPointThreads];
  const long long i = static_cast<long long>(blockIdx.x) * kPointThreads + threadIdx.x;
  const bool inside = i < size;
  const double x = inside ? points[2 * i] : 0.0, y = inside ? points[2 * i + 1] : 0.0;
  const float fx = static_cast<float>(x), fy = static_cast<float>(y);
  double logits[SAD_K];
  int ids[SAD_K], n = 0;
  float least = 0.0f;
  for (int base = 0; base < count; base += kPointThreads) {
    const int own = base + static_cast<int>(threadIdx.x);
    __syncthreads();  // nobody reads the last ones any more
    if (own < count) staged[threadIdx.x] = reinterpret_cast<const PointFilter*>(filters)[own];
    __syncthreads();
    const int here = count - base < kPointThreads ? count - base : kPointThreads;
    for (int j = 0; inside && j < here; ++j) {
      if (n == SAD_K && !may_reach(staged[j], fx, fy, least)) continue;
      const int id = base + j;
      const double* row = params + static_cast<long long>(id) * kRow;
      const double logit = sad_logit_exact(x, y, row, load_exact(exact, id));
      n = sad_insert_pair(logits, ids, n, SAD_K, logit, id);
      least = static_cast<float>(logits[n - 1]);
      least = least - (magnitude(least) * kFilterSlack + 1e-28f);
    }
  }
  if (!inside) return;
  for (int j = 0; j < n; ++j) top[i * best + j] = ids[j];
  double color[kChannels];
  blend_sites(params, ids, n, logits, color);
  SAD_UNROLL
  for (int c = 0; c < kChannels; ++c) colors[i * kChannels + c] = color[c];
}

// cotangent [size][C] is dL/dcolors. weights and logit_slopes [size][best]: of the point's sites,
// the latter dL/dlogit; point_slopes [size][2] are dL/dpoints.
extern "C" __global__ void __launch_bounds__(128)
    points_slopes(const double* params, const double* exact, const double* points, const int* top,
                  const double* cotangent, double* weights, double* logit_slopes,
                  double* point_slopes, int size, int best) {
  const long long i = static_cast<long long>(blockIdx.x) * kPointThreads + threadIdx.x;
  if (i >= size) return;
  const double x = points[2 * i], y = points[2 * i + 1];
  const int* ids = top + i * best;
  double own[SAD_K], color[kChannels], slope_x = 0.0, slope_y = 0.0;
  for (int j = 0; j < best; ++j) {
    const double* row = params + static_cast<long long>(ids[j]) * kRow;
    own[j] = sad_logit_exact(x, y, row, load_exact(exact, ids[j]));
  }
  blend_sites(params, ids, best, own, color);
  for (int j = 0; j < best; ++j) {
    const double* row = params + static_cast<long long>(ids[j]) * kRow;
    const ExactSite site = load_exact(exact, ids[j]);
    double gl = 0.0;
    SAD_UNROLL
    for (int c = 0; c < kChannels; ++c)
      gl += cotangent[i * kChannels + c] * (row[kColor + c] - color[c]);
    gl *= own[j];
    weights[i * best + j] = own[j];
    logit_slopes[i * best + j] = gl;
    const PointOffset at = point_offset(row, site, x, y);
    const double h = site.tau * gl / sad_max(at.distance, 1e-6);
    slope_x -= h * at.ux;
    slope_y -= h * at.uy;
  }
  point_slopes[2 * i] = slope_x;
  point_slopes[2 * i + 1] = slope_y;
}

// A warp is a site: `order` from starts[site] on are its places in top [size][best]. Its
// derivatives are added to gradients [count][6 + C], in an order that does not depend on the
// device.
extern "C" __global__ void __launch_bounds__(128)
    points_sites(const double* params, const double* exact, const double* points,
                 const double* cotangent, const double* weights, const double* logit_slopes,
                 const int* starts, const long long* order, double* gradients, int count,
                 int best) {
  const int lane = threadIdx.x % 32;
  const int id = static_cast<int>(blockIdx.x) * (kPointThreads / 32) + threadIdx.x / 32;
  if (id >= count) return;  // the same for all lanes
  const double* row = params + static_cast<long long>(id) * kRow;
  const ExactSite site = load_exact(exact, id);
  double sums[kRow], out[kRow];
  SAD_UNROLL
  for (int j = 0; j < kRow; ++j) sums[j] = 0.0;
  for (int e = starts[id] + lane; e < starts[id + 1]; e += 32) {
    const long long place = order[e], i = place / best;
    const PointOffset at = point_offset(row, site, points[2 * i], points[2 * i + 1]);
    sad_accumulate(sums, logit_slopes[place], at.distance, at.dx, at.dy);
    SAD_UNROLL
    for (int c = 0; c < kChannels; ++c)
      sums[kSColor + c] += weights[place] * cotangent[i * kChannels + c];
  }
  SAD_UNROLL
  for (int j = 0; j < kRow; ++j) sums[j] = warp_sum(sums[j]);
  if (lane != 0) return;
  sad_parameter_gradient<double>(row, kChannels, sums, out);
  SAD_UNROLL
  for (int j = 0; j < kRow; ++j) gradients[static_cast<long long>(id) * kRow + j] += out[j];
}
