// Sixteen float lanes: AVX-512, AVX2 or plain C++, chosen by the flags this file is compiled with.
// Every operation is IEEE and the order of reduce() is fixed, so all three give the same bits.
#ifndef SAD_CPU_SIMD_H_
#define SAD_CPU_SIMD_H_

#include "../sad_core.h"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#define SAD_INLINE static inline __attribute__((always_inline, unused))

namespace sad {
namespace SAD_ISA {

constexpr int kLanes = 16;

// The scalar forms beside the vector ones below.
using sad::sad_max;
using sad::sad_min;
using sad::sad_pow2;
using sad::sad_round;
using sad::sad_sqrt;

#if defined(__AVX512F__)

struct M {
  __mmask16 v;
};
struct F {
  __m512 v;
  F() = default;
  __attribute__((always_inline)) F(float x) : v(_mm512_set1_ps(x)) {}
  __attribute__((always_inline)) F(__m512 x) : v(x) {}
};
SAD_INLINE F load(const float* p) { return F(_mm512_loadu_ps(p)); }
SAD_INLINE void store(float* p, F a) { _mm512_storeu_ps(p, a.v); }
SAD_INLINE F operator+(F a, F b) { return F(_mm512_add_ps(a.v, b.v)); }
SAD_INLINE F operator-(F a, F b) { return F(_mm512_sub_ps(a.v, b.v)); }
SAD_INLINE F operator*(F a, F b) { return F(_mm512_mul_ps(a.v, b.v)); }
SAD_INLINE F operator/(F a, F b) { return F(_mm512_div_ps(a.v, b.v)); }
SAD_INLINE F sad_sqrt(F a) { return F(_mm512_sqrt_ps(a.v)); }
SAD_INLINE F sad_min(F a, F b) { return F(_mm512_min_ps(a.v, b.v)); }
SAD_INLINE F sad_max(F a, F b) { return F(_mm512_max_ps(a.v, b.v)); }
SAD_INLINE F sad_abs(F a) { return F(_mm512_abs_ps(a.v)); }
SAD_INLINE F sad_pow2(F n) {
  const __m512i e = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
  return F(_mm512_castsi512_ps(_mm512_slli_epi32(e, 23)));
}
SAD_INLINE M operator>(F a, F b) { return M{_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)}; }
SAD_INLINE M operator>=(F a, F b) { return M{_mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ)}; }
SAD_INLINE M operator&(M a, M b) { return M{static_cast<__mmask16>(a.v & b.v)}; }
SAD_INLINE M operator|(M a, M b) { return M{static_cast<__mmask16>(a.v | b.v)}; }
SAD_INLINE unsigned bits(M m) { return m.v; }
SAD_INLINE F select(M m, F a, F b) { return F(_mm512_mask_blend_ps(m.v, b.v, a.v)); }
SAD_INLINE F gather(const float* base, const int32_t* index) {
  return F(_mm512_i32gather_ps(_mm512_loadu_si512(index), base, 4));
}
SAD_INLINE float reduce(F a) {
  const __m256 h =
      _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps(d, d, 1)));
}

#elif defined(__AVX2__)

struct M {
  __m256 a, b;
};
struct F {
  __m256 a, b;
  F() = default;
  __attribute__((always_inline)) F(float x) : a(_mm256_set1_ps(x)), b(_mm256_set1_ps(x)) {}
  __attribute__((always_inline)) F(__m256 x, __m256 y) : a(x), b(y) {}
};
SAD_INLINE F load(const float* p) { return F(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)); }
SAD_INLINE void store(float* p, F x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
SAD_INLINE F operator+(F x, F y) { return F(_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)); }
SAD_INLINE F operator-(F x, F y) { return F(_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)); }
SAD_INLINE F operator*(F x, F y) { return F(_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)); }
SAD_INLINE F operator/(F x, F y) { return F(_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)); }
SAD_INLINE F sad_sqrt(F x) { return F(_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)); }
SAD_INLINE F sad_min(F x, F y) { return F(_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)); }
SAD_INLINE F sad_max(F x, F y) { return F(_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)); }
SAD_INLINE F sad_abs(F x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return F(_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b));
}
SAD_INLINE __m256 pow2_half(__m256 n) {
  const __m256i e = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(e, 23));
}
SAD_INLINE F sad_pow2(F n) { return F(pow2_half(n.a), pow2_half(n.b)); }
SAD_INLINE M operator>(F x, F y) {
  return M{_mm256_cmp_ps(x.a, y.a, _CMP_GT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_GT_OQ)};
}
SAD_INLINE M operator>=(F x, F y) {
  return M{_mm256_cmp_ps(x.a, y.a, _CMP_GE_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_GE_OQ)};
}
SAD_INLINE M operator&(M x, M y) { return M{_mm256_and_ps(x.a, y.a), _mm256_and_ps(x.b, y.b)}; }
SAD_INLINE M operator|(M x, M y) { return M{_mm256_or_ps(x.a, y.a), _mm256_or_ps(x.b, y.b)}; }
SAD_INLINE unsigned bits(M m) {
  return static_cast<unsigned>(_mm256_movemask_ps(m.a)) |
         (static_cast<unsigned>(_mm256_movemask_ps(m.b)) << 8);
}
SAD_INLINE F select(M m, F x, F y) {
  return F(_mm256_blendv_ps(y.a, x.a, m.a), _mm256_blendv_ps(y.b, x.b, m.b));
}
SAD_INLINE F gather(const float* base, const int32_t* index) {
  const __m256i i = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(index));
  const __m256i j = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(index + 8));
  return F(_mm256_i32gather_ps(base, i, 4), _mm256_i32gather_ps(base, j, 4));
}
SAD_INLINE float reduce(F x) {
  const __m256 h = _mm256_add_ps(x.a, x.b);
  const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps(d, d, 1)));
}

#else  // plain C++; the compiler vectorizes these loops with whatever the target has

struct M {
  int32_t v[kLanes];
};
struct F {
  float v[kLanes];
  F() = default;
  __attribute__((always_inline)) F(float x) {
    for (int i = 0; i < kLanes; ++i) v[i] = x;
  }
};
#define SAD_LANES(expression)                            \
  do {                                                   \
    for (int i = 0; i < kLanes; ++i) r.v[i] = expression; \
    return r;                                            \
  } while (0)
SAD_INLINE F load(const float* p) {
  F r;
  SAD_LANES(p[i]);
}
SAD_INLINE void store(float* p, F a) {
  for (int i = 0; i < kLanes; ++i) p[i] = a.v[i];
}
SAD_INLINE F operator+(F a, F b) {
  F r;
  SAD_LANES(a.v[i] + b.v[i]);
}
SAD_INLINE F operator-(F a, F b) {
  F r;
  SAD_LANES(a.v[i] - b.v[i]);
}
SAD_INLINE F operator*(F a, F b) {
  F r;
  SAD_LANES(a.v[i] * b.v[i]);
}
SAD_INLINE F operator/(F a, F b) {
  F r;
  SAD_LANES(a.v[i] / b.v[i]);
}
SAD_INLINE F sad_sqrt(F a) {
  F r;
  SAD_LANES(sqrtf(a.v[i]));
}
SAD_INLINE F sad_min(F a, F b) {
  F r;
  SAD_LANES(a.v[i] < b.v[i] ? a.v[i] : b.v[i]);
}
SAD_INLINE F sad_max(F a, F b) {
  F r;
  SAD_LANES(a.v[i] > b.v[i] ? a.v[i] : b.v[i]);
}
SAD_INLINE F sad_abs(F a) {
  F r;
  SAD_LANES(a.v[i] < 0.0f ? -a.v[i] : a.v[i]);
}
SAD_INLINE F sad_pow2(F n) {
  int32_t e[kLanes];
  for (int i = 0; i < kLanes; ++i) e[i] = (static_cast<int32_t>(n.v[i]) + 127) << 23;
  F r;
  memcpy(r.v, e, sizeof(e));
  return r;
}
SAD_INLINE M operator>(F a, F b) {
  M r;
  SAD_LANES(a.v[i] > b.v[i] ? -1 : 0);
}
SAD_INLINE M operator>=(F a, F b) {
  M r;
  SAD_LANES(a.v[i] >= b.v[i] ? -1 : 0);
}
SAD_INLINE M operator&(M a, M b) {
  M r;
  SAD_LANES(a.v[i] & b.v[i]);
}
SAD_INLINE M operator|(M a, M b) {
  M r;
  SAD_LANES(a.v[i] | b.v[i]);
}
SAD_INLINE unsigned bits(M m) {
  unsigned out = 0;
  for (int i = 0; i < kLanes; ++i) out |= (static_cast<unsigned>(m.v[i]) & 1u) << i;
  return out;
}
SAD_INLINE F select(M m, F a, F b) {
  F r;
  SAD_LANES(m.v[i] ? a.v[i] : b.v[i]);
}
SAD_INLINE F gather(const float* base, const int32_t* index) {
  F r;
  SAD_LANES(base[index[i]]);
}
SAD_INLINE float reduce(F a) {
  float h[8], q[4];
  for (int i = 0; i < 8; ++i) h[i] = a.v[i] + a.v[i + 8];
  for (int i = 0; i < 4; ++i) q[i] = h[i] + h[i + 4];
  return (q[0] + q[2]) + (q[1] + q[3]);
}
#undef SAD_LANES

#endif

SAD_INLINE F sad_round(F x) { return (x + F(12582912.0f)) - F(12582912.0f); }
SAD_INLINE bool any(M m) { return bits(m) != 0; }

}  // namespace SAD_ISA
}  // namespace sad
#endif  // SAD_CPU_SIMD_H_
