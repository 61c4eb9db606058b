// The sixteen lanes of simd.h as four quarters in the vector extensions of GCC and Clang, for
// processors that simd.h has no instructions for. Included by simd.h inside its namespace.

typedef float Floats4 __attribute__((vector_size(16)));
typedef int32_t Ints4 __attribute__((vector_size(16)));

struct M {
  Ints4 v[4];  // -1 or 0
};
struct F {
  Floats4 v[4];
  F() = default;
  __attribute__((always_inline)) F(float x) {
    for (int i = 0; i < 4; ++i) v[i] = Floats4{x, x, x, x};
  }
};
#define SAD_QUARTERS(type, expression)                                       \
  do {                                                                       \
    type r;                                                                  \
    _Pragma("GCC unroll 4") for (int i = 0; i < 4; ++i) r.v[i] = expression; \
    return r;                                                                \
  } while (0)
SAD_INLINE Floats4 select4(Ints4 m, Floats4 x, Floats4 y) {
  return (Floats4)((m & (Ints4)x) | (~m & (Ints4)y));
}
SAD_INLINE Floats4 sqrt4(Floats4 x) {
#if defined(__SSE2__)
  return _mm_sqrt_ps(x);
#else
  return Floats4{sqrtf(x[0]), sqrtf(x[1]), sqrtf(x[2]), sqrtf(x[3])};
#endif
}
SAD_INLINE F load(const float* p) {
  F r;
  memcpy(r.v, p, sizeof(r.v));
  return r;
}
SAD_INLINE void store(float* p, F x) { memcpy(p, x.v, sizeof(x.v)); }
SAD_INLINE F operator+(F x, F y) { SAD_QUARTERS(F, x.v[i] + y.v[i]); }
SAD_INLINE F operator-(F x, F y) { SAD_QUARTERS(F, x.v[i] - y.v[i]); }
SAD_INLINE F operator*(F x, F y) { SAD_QUARTERS(F, x.v[i] * y.v[i]); }
SAD_INLINE F operator/(F x, F y) { SAD_QUARTERS(F, x.v[i] / y.v[i]); }
SAD_INLINE F sad_sqrt(F x) { SAD_QUARTERS(F, sqrt4(x.v[i])); }
SAD_INLINE F sad_min(F x, F y) { SAD_QUARTERS(F, select4(x.v[i] < y.v[i], x.v[i], y.v[i])); }
SAD_INLINE F sad_max(F x, F y) { SAD_QUARTERS(F, select4(x.v[i] > y.v[i], x.v[i], y.v[i])); }
SAD_INLINE F sad_abs(F x) { SAD_QUARTERS(F, (Floats4)((Ints4)x.v[i] & 0x7fffffff)); }
// The addition leaves n in the lowest bits, as in sad_scale.
SAD_INLINE F sad_pow2(F n) {
  SAD_QUARTERS(F, (Floats4)(((Ints4)(n.v[i] + 12582912.0f) + 127) << 23));
}
SAD_INLINE F sad_scale(F y, F t) {
  SAD_QUARTERS(F, (Floats4)((Ints4)y.v[i] + ((Ints4)t.v[i] << 23)));
}
SAD_INLINE M operator>(F x, F y) { SAD_QUARTERS(M, x.v[i] > y.v[i]); }
SAD_INLINE M operator>=(F x, F y) { SAD_QUARTERS(M, x.v[i] >= y.v[i]); }
SAD_INLINE M operator&(M x, M y) { SAD_QUARTERS(M, x.v[i] & y.v[i]); }
SAD_INLINE M operator|(M x, M y) { SAD_QUARTERS(M, x.v[i] | y.v[i]); }
SAD_INLINE F select(M m, F x, F y) { SAD_QUARTERS(F, select4(m.v[i], x.v[i], y.v[i])); }
SAD_INLINE unsigned bits(M m) {
  unsigned out = 0;
  for (int i = 0; i < kLanes; ++i) out |= (static_cast<unsigned>(m.v[i / 4][i % 4]) & 1u) << i;
  return out;
}
SAD_INLINE bool any(M m) {
  const Ints4 all = (m.v[0] | m.v[1]) | (m.v[2] | m.v[3]);
  int64_t halves[2];
  memcpy(halves, &all, sizeof(all));
  return (halves[0] | halves[1]) != 0;
}
SAD_INLINE F gather(const float* base, const int32_t* index) {
  float x[kLanes];
  for (int i = 0; i < kLanes; ++i) x[i] = base[index[i]];
  return load(x);
}
SAD_INLINE F sad_truncate(F x) {
  SAD_QUARTERS(F, __builtin_convertvector(__builtin_convertvector(x.v[i], Ints4), Floats4));
}
SAD_INLINE void gather_bytes(const uint32_t* base, F index, F* out) {
  for (int i = 0; i < 4; ++i) {
    const Ints4 at = __builtin_convertvector(index.v[i], Ints4);
    const Ints4 quads{static_cast<int32_t>(base[at[0]]), static_cast<int32_t>(base[at[1]]),
                      static_cast<int32_t>(base[at[2]]), static_cast<int32_t>(base[at[3]])};
    for (int j = 0; j < 4; ++j)
      out[j].v[i] = __builtin_convertvector((quads >> (8 * j)) & 255, Floats4);
  }
}
SAD_INLINE float reduce(F a) {
  const Floats4 q = (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]);
  return (q[0] + q[2]) + (q[1] + q[3]);
}
SAD_INLINE M lane_mask(unsigned lanes) {
  const Ints4 bit{1, 2, 4, 8};
  SAD_QUARTERS(M, ((Ints4{} + static_cast<int32_t>(lanes >> (4 * i))) & bit) == bit);
}
#undef SAD_QUARTERS
