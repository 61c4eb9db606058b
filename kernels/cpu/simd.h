// Sixteen float lanes: AVX-512, AVX2 or the compiler's own vectors (simd_portable.h), chosen by the
// flags this file is compiled with. Every operation is IEEE and the order of reduce() is fixed, so
// all three give the same bits.
#ifndef SAD_CPU_SIMD_H_
#define SAD_CPU_SIMD_H_

#include "../sad_core.h"

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
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
using sad::sad_scale;
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
SAD_INLINE F sad_scale(F y, F t) {
  const __m512i n = _mm512_slli_epi32(_mm512_castps_si512(t.v), 23);
  return F(_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(y.v), n)));
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
SAD_INLINE bool any(M m) { return m.v != 0; }
SAD_INLINE M lane_mask(unsigned lanes) { return M{static_cast<__mmask16>(lanes)}; }
SAD_INLINE F sad_truncate(F x) { return F(_mm512_cvtepi32_ps(_mm512_cvttps_epi32(x.v))); }
// The four bytes of base[index], from the lowest; index is integer-valued.
SAD_INLINE void gather_bytes(const uint32_t* base, F index, F* out) {
  const __m512i quads = _mm512_i32gather_epi32(_mm512_cvttps_epi32(index.v), base, 4);
  const __m512i byte = _mm512_set1_epi32(255);
  out[0] = F(_mm512_cvtepi32_ps(_mm512_and_si512(quads, byte)));
  out[1] = F(_mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(quads, 8), byte)));
  out[2] = F(_mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(quads, 16), byte)));
  out[3] = F(_mm512_cvtepi32_ps(_mm512_srli_epi32(quads, 24)));
}
// Lane i is a[i] + a[i + 4] + ..., added as ((0 + 8) + (4 + 12)).
SAD_INLINE __m128 quarter(F a) {
  const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  return _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
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
SAD_INLINE __m256 scale_half(__m256 y, __m256 t) {
  const __m256i n = _mm256_slli_epi32(_mm256_castps_si256(t), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(y), n));
}
SAD_INLINE F sad_scale(F y, F t) { return F(scale_half(y.a, t.a), scale_half(y.b, t.b)); }
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
SAD_INLINE bool any(M m) { return _mm256_movemask_ps(_mm256_or_ps(m.a, m.b)) != 0; }
SAD_INLINE F sad_truncate(F x) {
  return F(_mm256_cvtepi32_ps(_mm256_cvttps_epi32(x.a)),
           _mm256_cvtepi32_ps(_mm256_cvttps_epi32(x.b)));
}
SAD_INLINE void gather_bytes(const uint32_t* base, F index, F* out) {
  const int* words = reinterpret_cast<const int*>(base);
  const __m256i a = _mm256_i32gather_epi32(words, _mm256_cvttps_epi32(index.a), 4);
  const __m256i b = _mm256_i32gather_epi32(words, _mm256_cvttps_epi32(index.b), 4);
  const __m256i byte = _mm256_set1_epi32(255);
  for (int i = 0; i < 4; ++i) {
    const __m256i c = _mm256_and_si256(_mm256_srli_epi32(a, 8 * i), byte);
    const __m256i d = _mm256_and_si256(_mm256_srli_epi32(b, 8 * i), byte);
    out[i] = F(_mm256_cvtepi32_ps(c), _mm256_cvtepi32_ps(d));
  }
}
SAD_INLINE __m256 half_mask(int lanes) {
  const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i set = _mm256_and_si256(_mm256_set1_epi32(lanes), bit);
  return _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, bit));
}
SAD_INLINE M lane_mask(unsigned lanes) {
  return M{half_mask(static_cast<int>(lanes)), half_mask(static_cast<int>(lanes >> 8))};
}
SAD_INLINE __m128 quarter(F x) {
  const __m256 h = _mm256_add_ps(x.a, x.b);
  return _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
}

#else

#include "simd_portable.h"

#endif

SAD_INLINE F sad_round(F x) { return (x + F(12582912.0f)) - F(12582912.0f); }

#if defined(__AVX2__)

SAD_INLINE float reduce(F a) {
  const __m128 q = quarter(a), d = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps(d, d, 1)));
}

// out[j] = reduce(rows[j]) for four rows, in the same order of additions.
SAD_INLINE void reduce_four(const F* rows, float* out) {
  const __m128 a = quarter(rows[0]), b = quarter(rows[1]);
  const __m128 c = quarter(rows[2]), d = quarter(rows[3]);
  const __m128 ab = _mm_add_ps(_mm_shuffle_ps(a, b, 0x44), _mm_shuffle_ps(a, b, 0xee));
  const __m128 cd = _mm_add_ps(_mm_shuffle_ps(c, d, 0x44), _mm_shuffle_ps(c, d, 0xee));
  _mm_storeu_ps(out, _mm_add_ps(_mm_shuffle_ps(ab, cd, 0x88), _mm_shuffle_ps(ab, cd, 0xdd)));
}

#else

SAD_INLINE void reduce_four(const F* rows, float* out) {
  for (int j = 0; j < 4; ++j) out[j] = reduce(rows[j]);
}

#endif

// out[j] = reduce(rows[j]) for count rows.
static inline __attribute__((unused)) void reduce_rows(const F* rows, int count, float* out) {
  int j = 0;
#if defined(__AVX2__)
  for (; j + 8 <= count; j += 8) {  // eight rows fill a vector at every step
    const float* at = reinterpret_cast<const float*>(rows + j);
    __m256 pair[4];  // quarters of two rows
    for (int i = 0; i < 4; ++i, at += 2 * kLanes) {
      const __m256 a = _mm256_add_ps(_mm256_loadu_ps(at), _mm256_loadu_ps(at + 8));
      const __m256 b = _mm256_add_ps(_mm256_loadu_ps(at + 16), _mm256_loadu_ps(at + 24));
      pair[i] =
          _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
    }
    const __m256 low = _mm256_add_ps(_mm256_shuffle_ps(pair[0], pair[1], 0x44),
                                     _mm256_shuffle_ps(pair[0], pair[1], 0xee));
    const __m256 high = _mm256_add_ps(_mm256_shuffle_ps(pair[2], pair[3], 0x44),
                                      _mm256_shuffle_ps(pair[2], pair[3], 0xee));
    const __m256 sums =
        _mm256_add_ps(_mm256_shuffle_ps(low, high, 0x88), _mm256_shuffle_ps(low, high, 0xdd));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_ps(out + j, _mm256_permutevar8x32_ps(sums, order));
  }
#endif
  for (; j + 4 <= count; j += 4) reduce_four(rows + j, out + j);
  for (; j < count; ++j) out[j] = reduce(rows[j]);
}

// Writes base + lane for every lane of m, in order, and returns how many; the rest of 16 places
// behind `out` may be overwritten.
SAD_INLINE int append_lanes(int32_t* out, int base, M m) {
  unsigned set = bits(m);
#if defined(__AVX512F__)
  const __m512i lanes =
      _mm512_add_epi32(_mm512_set1_epi32(base),
                       _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(m.v, lanes));
  return __builtin_popcount(set);
#else
  int n = 0;
  for (; set; set &= set - 1) out[n++] = base + __builtin_ctz(set);
  return n;
#endif
}

// Writes the values whose mark has a bit of `which`, in order, and returns how many. All three
// arrays have room for `count` rounded up to 16.
SAD_INLINE int append_marked(int32_t* out, const int32_t* values, const uint8_t* marks,
                             uint8_t which, int count) {
  int n = 0;
#if defined(__AVX512F__)
  for (int i = 0; i < count; i += kLanes) {
    __mmask16 set = _mm_test_epi8_mask(_mm_loadu_si128(reinterpret_cast<const __m128i*>(marks + i)),
                                       _mm_set1_epi8(static_cast<char>(which)));
    if (count - i < kLanes) set &= static_cast<__mmask16>((1u << (count - i)) - 1u);
    _mm512_storeu_si512(out + n, _mm512_maskz_compress_epi32(set, _mm512_loadu_si512(values + i)));
    n += __builtin_popcount(set);
  }
#else
  for (int i = 0; i < count; ++i) {
    out[n] = values[i];
    n += (marks[i] & which) != 0;
  }
#endif
  return n;
}

}  // namespace SAD_ISA
}  // namespace sad
#endif  // SAD_CPU_SIMD_H_
