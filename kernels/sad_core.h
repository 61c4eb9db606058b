// The mathematics of a Soft Anisotropic Diagram, defined once.
//
// Portable between NVRTC (CUDA) and a C++17 compiler. Functions are templates over the number
// type T: float, double, or a SIMD vector that supplies the same operators (cpu/simd.h), so that
// the GPU kernels, the vectorized CPU tiles and the scalar double path share one text.
//
// Model (Iinbor, Dou, Matusik, "Soft Anisotropic Diagrams", arXiv 2604.21984): site i has a
// position p_i (px), a metric G_i = e^a u u^T + e^-a (I - u u^T) with det 1, a radius r_i (px), an
// inverse temperature tau_i (1/px) and a colour c_i. Its logit at x is
//     l_i(x) = tau_i * (r_i - sqrt((x - p_i)^T G_i (x - p_i)))
// and a pixel is the softmax blend of the K sites of largest logit, ties to the lower index.
//
// Nothing here is contracted to fused multiply-adds (-ffp-contract=off, --fmad=false), so float
// results are the same bits wherever IEEE 754 holds.
#ifndef SAD_CORE_H_
#define SAD_CORE_H_

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define SAD_FN static __host__ __device__ __forceinline__
#define SAD_UNROLL _Pragma("unroll")
#else
#include <cmath>
#include <cstdint>
#include <cstring>
#define SAD_FN static inline __attribute__((always_inline, unused))
#define SAD_UNROLL _Pragma("GCC unroll 16")
#endif

namespace sad {

// Bounds that fitting keeps and that the bitstream assumes.
constexpr float kMaxLogTau = 8.0f;      // ln(1/px)
constexpr float kMinLogTau = -8.0f;     // ln(1/px)
constexpr float kMaxRadius = 512.0f;    // px
constexpr float kMaxAnisotropy = 4.0f;  // |(p, q)|
constexpr float kMinColor = -1.0f;
constexpr float kMaxColor = 2.0f;
constexpr int kMaxK = 16;
constexpr int kMaxChannels = 4;

// Columns of a parameter row: x, y, log_tau, radius, p, q, then the colour channels.
constexpr int kX = 0, kY = 1, kLogTau = 2, kRadius = 3, kP = 4, kQ = 5, kColor = 6;

// ---- Scalar forms of the operations that SIMD types overload -------------------------------

SAD_FN float sad_sqrt(float x) {
#if defined(__CUDA_ARCH__)
  return __fsqrt_rn(x);
#else
  return sqrtf(x);
#endif
}
SAD_FN double sad_sqrt(double x) { return sqrt(x); }
#if defined(__CUDA_ARCH__)
// One instruction each, where the choice takes two. They differ only for NaN, and in the sign of 0.
SAD_FN float sad_min(float a, float b) { return fminf(a, b); }
SAD_FN float sad_max(float a, float b) { return fmaxf(a, b); }
#else
SAD_FN float sad_min(float a, float b) { return a < b ? a : b; }
SAD_FN float sad_max(float a, float b) { return a > b ? a : b; }
#endif
SAD_FN double sad_min(double a, double b) { return a < b ? a : b; }
SAD_FN double sad_max(double a, double b) { return a > b ? a : b; }

// Round to the nearest integer, |x| < 2^22. The added constant leaves no fraction bits, which
// needs no rounding instruction (SSE2 has none) and gives the same result everywhere.
SAD_FN float sad_round(float x) { return (x + 12582912.0f) - 12582912.0f; }

// 2^n for an integer-valued n in [-126, 127].
SAD_FN float sad_pow2(float n) {
#if defined(__CUDA_ARCH__)
  return __int_as_float((static_cast<int>(n) + 127) << 23);
#else
  const int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
  float out;
  memcpy(&out, &bits, sizeof(out));
  return out;
#endif
}

// ---- exp ------------------------------------------------------------------------------------

// e^x for x in [-87, 88], float accuracy (relative error under 3e-7); smaller x gives about e^-87.
// Range reduction by ln 2 in two parts, then a degree-6 polynomial (coefficients of the Cephes
// library's expf, S. Moshier).
template <typename T>
SAD_FN T sad_exp(T x) {
  x = sad_max(x, T(-87.0f));
  x = sad_min(x, T(88.0f));
  const T n = sad_round(x * T(1.44269504088896341f));
  T r = x - n * T(0.693359375f);
  r = r - n * T(-2.12194440e-4f);
  T y = T(1.9875691500e-4f);
  y = y * r + T(1.3981999507e-3f);
  y = y * r + T(8.3334519073e-3f);
  y = y * r + T(4.1665795894e-2f);
  y = y * r + T(1.6666665459e-1f);
  y = y * r + T(5.0000001201e-1f);
  y = y * (r * r) + r + T(1.0f);
  return y * sad_pow2(n);
}

// y * 2^n for 2^n y a normal number, n given as t = n + 12582912: n is then in t's lowest bits.
SAD_FN float sad_scale(float y, float t) {
#if defined(__CUDA_ARCH__)
  return __int_as_float(__float_as_int(y) + (__float_as_int(t) << 23));
#else
  uint32_t a, b;
  memcpy(&a, &y, sizeof(a));
  memcpy(&b, &t, sizeof(b));
  a += b << 23;
  memcpy(&y, &a, sizeof(y));
  return y;
#endif
}

// 2^x for x <= 0, relative error under 3e-7; x under -120 gives 2^-120. Half the operations of
// sad_exp: fitting takes its logits in units of ln 2. Minimax polynomial on [-1/2, 1/2].
template <typename T>
SAD_FN T sad_exp2(T x) {
  x = sad_max(x, T(-120.0f));
  const T t = x + T(12582912.0f);
  const T f = x - (t - T(12582912.0f));
  T y = T(1.3276471993e-3f);
  y = y * f + T(9.6755413345e-3f);
  y = y * f + T(5.5507132735e-2f);
  y = y * f + T(2.4022119724e-1f);
  y = y * f + T(6.9314696706e-1f);
  y = y * f + T(1.0f);
  return sad_scale(y, t);
}

// sad_exp for double, relative error about 1e-15, x in [-700, 700].
SAD_FN double sad_exp(double x) {
  x = sad_min(sad_max(x, -700.0), 700.0);
  const double n = (x * 1.4426950408889634074 + 6755399441055744.0) - 6755399441055744.0;
  const double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
  double y = 1.0 / 87178291200.0;  // 1/14!
  const double inverse_factorial[] = {1.0 / 6227020800.0,
                                      1.0 / 479001600.0,
                                      1.0 / 39916800.0,
                                      1.0 / 3628800.0,
                                      1.0 / 362880.0,
                                      1.0 / 40320.0,
                                      1.0 / 5040.0,
                                      1.0 / 720.0,
                                      1.0 / 120.0,
                                      1.0 / 24.0,
                                      1.0 / 6.0,
                                      0.5,
                                      1.0,
                                      1.0};
  for (int i = 0; i < 14; ++i) y = y * r + inverse_factorial[i];
  double scale = 1.0;  // 2^n in two steps so that neither overflows
  const int half = static_cast<int>(n) / 2, rest = static_cast<int>(n) - half;
  const long long b0 = static_cast<long long>(half + 1023) << 52;
  const long long b1 = static_cast<long long>(rest + 1023) << 52;
  double s0, s1;
#if defined(__CUDA_ARCH__)
  s0 = __longlong_as_double(b0);
  s1 = __longlong_as_double(b1);
#else
  memcpy(&s0, &b0, sizeof(s0));
  memcpy(&s1, &b1, sizeof(s1));
#endif
  scale = s0 * s1;
  return y * scale;
}

// ---- Metric ---------------------------------------------------------------------------------

// G = cosh(a) I + s [[p, q], [q, -p]] with a = |(p, q)| and s = sinh(a)/a.
template <typename T>
struct Metric {
  T g00, g01, g11;
  T s, k;  // sinh(a)/a and its derivative factor (cosh(a) - s)/a^2, kept for the gradient
};

template <typename T>
SAD_FN Metric<T> sad_metric(T p, T q) {
  const T a2 = p * p + q * q;
  const T a = sad_sqrt(a2);
  T ch, s, k;
  if (a < T(0.5)) {  // series without cancellation at a = 0; the next term is under 1e-18
    ch = s = k = T(0);
    double even = 1307674368000.0 * 1.0 / 15.0;  // (2n)! for n = 7
    for (int n = 7; n >= 0; --n) {
      const double odd = even * (2 * n + 1);  // (2n + 1)!
      ch = ch * a2 + T(1.0 / even);
      s = s * a2 + T(1.0 / odd);
      k = k * a2 + T((2 * n + 2) / (odd * (2 * n + 2) * (2 * n + 3)));
      if (n > 0) even = even / (2 * n) / (2 * n - 1);
    }
  } else {
    const T e = sad_exp(a), i = T(1) / e;
    ch = T(0.5) * (e + i);
    s = T(0.5) * (e - i) / a;
    k = (ch - s) / a2;
  }
  return Metric<T>{ch + s * p, s * q, ch - s * p, s, k};
}

// A site made ready for evaluation. The metric is factored, G = M^T M with
// M = [[m0, m1], [0, 1/m0]] (det G = 1), because u^2 + v^2 does not cancel where g00 dx^2 +
// 2 g01 dx dy + g11 dy^2 does: at a = 4 the difference is a factor of 50 in the logit's error.
struct PreparedSite {
  float x, y, m0, m1, m2, tau, radius;
  float color[kMaxChannels];
  float pad[5];  // 64 bytes: one cache line a site
};

template <typename T>
SAD_FN void sad_prepare_from(const float* params, int channels, T g00, T g01, PreparedSite* out) {
  const T m0 = sad_sqrt(g00);
  out->x = params[kX];
  out->y = params[kY];
  out->m0 = static_cast<float>(m0);
  out->m1 = static_cast<float>(g01 / m0);
  out->m2 = static_cast<float>(T(1) / m0);
  out->tau = static_cast<float>(sad_exp(static_cast<T>(params[kLogTau])));
  out->radius = params[kRadius];
  for (int c = 0; c < kMaxChannels; ++c) out->color[c] = c < channels ? params[kColor + c] : 0.0f;
}

SAD_FN void sad_prepare(const float* params, int channels, PreparedSite* out) {
  const Metric<double> g = sad_metric<double>(params[kP], params[kQ]);
  sad_prepare_from<double>(params, channels, g.g00, g.g01, out);
}

// The same in float, within a few roundings, for devices that are slow in double: a fit prepares
// its sites at every step. det G = 1 gives g00 where its own terms cancel.
SAD_FN void sad_prepare_fast(const float* params, int channels, PreparedSite* out) {
  const Metric<float> g = sad_metric<float>(params[kP], params[kQ]);
  const float g00 = params[kP] < 0.0f ? (1.0f + g.g01 * g.g01) / g.g11 : g.g00;
  sad_prepare_from<float>(params, channels, g00, g.g01, out);
}

// Distance in the site's metric, from the factored form.
template <typename T>
SAD_FN T sad_distance(T dx, T dy, T m0, T m1, T m2) {
  const T u = m0 * dx + m1 * dy;
  const T v = m2 * dy;
  return sad_sqrt(u * u + v * v);
}

template <typename T>
SAD_FN T sad_logit(T distance, T tau, T radius) {
  return tau * (radius - distance);
}

// What the logit in double takes from a parameter row by more than a conversion.
struct ExactSite {
  double g00, g01, g11, tau;
};

template <typename P>
SAD_FN ExactSite sad_prepare_exact(const P* params) {
  const Metric<double> g = sad_metric<double>(params[kP], params[kQ]);
  return ExactSite{g.g00, g.g01, g.g11, sad_exp(static_cast<double>(params[kLogTau]))};
}

// The logit in double, operation by operation as the reference computes it, so that equal logits
// are equal in both. Used where float cannot tell which sites are the top K.
template <typename P>
SAD_FN double sad_logit_exact(double px, double py, const P* params, const ExactSite& site) {
  const double dx = px - static_cast<double>(params[kX]);
  const double dy = py - static_cast<double>(params[kY]);
  const double q = ((site.g00 * dx) * dx + ((2.0 * site.g01) * dx) * dy) + (site.g11 * dy) * dy;
  const double d = sad_sqrt(sad_max(q, 0.0));
  return site.tau * (static_cast<double>(params[kRadius]) - d);
}

// ---- Top-K ----------------------------------------------------------------------------------

// Insert x into a descending list of K values; the smallest falls out and is returned. A sorting
// network of min and max: the same for a scalar and for every lane of a vector.
template <int K, typename T>
SAD_FN T sad_insert(T* sorted, T x) {
  SAD_UNROLL
  for (int j = 0; j < K; ++j) {
    const T high = sad_max(sorted[j], x);
    x = sad_min(sorted[j], x);
    sorted[j] = high;
  }
  return x;
}

// Insert (logit, id) into a descending list of length count <= k; ties keep the lower id first
// when ids arrive in ascending order. Returns the new length.
template <typename T>
SAD_FN int sad_insert_pair(T* logits, int* ids, int count, int k, T logit, int id) {
  if (count == k && !(logit > logits[k - 1])) return count;
  int j = count < k ? count : k - 1;
  while (j > 0 && logits[j - 1] < logit) {
    logits[j] = logits[j - 1];
    ids[j] = ids[j - 1];
    --j;
  }
  logits[j] = logit;
  ids[j] = id;
  return count < k ? count + 1 : k;
}

// ---- Gradient -------------------------------------------------------------------------------

// What one site gathers over pixels from g_l = dL/dl, with h = g_l / d and (dx, dy) = x - p.
// Everything the parameters need is linear in these six sums and the colour sums.
enum GradientSum { kS0 = 0, kSx, kSy, kSxx, kSxy, kSyy, kSColor };

// A quotient that is summed up; on a GPU within two units in the last place.
template <typename T>
SAD_FN T sad_quotient(T a, T b) {
  return a / b;
}
#if defined(__CUDA_ARCH__)
SAD_FN float sad_quotient(float a, float b) { return __fdividef(a, b); }
#endif

// Softmax backward for one site at one pixel: dL/dl = w * g . (c - y), summed by the caller.
template <typename T>
SAD_FN void sad_accumulate(T* sums, T gl, T distance, T dx, T dy) {
  const T h = sad_quotient(gl, sad_max(distance, T(1e-6f)));
  const T hx = h * dx, hy = h * dy;
  sums[kS0] = sums[kS0] + gl;
  sums[kSx] = sums[kSx] + hx;
  sums[kSy] = sums[kSy] + hy;
  sums[kSxx] = sums[kSxx] + hx * dx;
  sums[kSxy] = sums[kSxy] + hx * dy;
  sums[kSyy] = sums[kSyy] + hy * dy;
}

// Chain rule from the sums to the parameter row. l = tau (r - d), d^2 = g00 dx^2 + 2 g01 dx dy +
// g11 dy^2, and G from (p, q) as in sad_metric.
template <typename T, typename P>
SAD_FN void sad_parameter_gradient(const P* params, int channels, const T* sums, T* out) {
  const Metric<T> g = sad_metric<T>(T(params[kP]), T(params[kQ]));
  const T p = T(params[kP]), q = T(params[kQ]);
  const T tau = sad_exp(T(params[kLogTau]));
  const T s_d = g.g00 * sums[kSxx] + T(2) * g.g01 * sums[kSxy] + g.g11 * sums[kSyy];
  out[kX] = tau * (g.g00 * sums[kSx] + g.g01 * sums[kSy]);
  out[kY] = tau * (g.g01 * sums[kSx] + g.g11 * sums[kSy]);
  out[kLogTau] = tau * (T(params[kRadius]) * sums[kS0] - s_d);
  out[kRadius] = tau * sums[kS0];
  const T d00 = T(-0.5) * tau * sums[kSxx];
  const T d01 = -tau * sums[kSxy];
  const T d11 = T(-0.5) * tau * sums[kSyy];
  out[kP] = d00 * (g.s * p + g.s + g.k * p * p) + d01 * (g.k * p * q) +
            d11 * (g.s * p - g.s - g.k * p * p);
  out[kQ] =
      d00 * (g.s * q + g.k * p * q) + d01 * (g.s + g.k * q * q) + d11 * (g.s * q - g.k * p * q);
  for (int c = 0; c < channels; ++c) out[kColor + c] = sums[kSColor + c];
}

}  // namespace sad
#endif  // SAD_CORE_H_
