// CUDA's functions of one thread: atomics, bits, and operations with a stated rounding.
#ifndef SAD_CUDA_HOST_INTRINSICS_H_
#define SAD_CUDA_HOST_INTRINSICS_H_

// ---- Atomics: no thread is interrupted in one -------------------------------------------------

#define SAD_HOST_CHECK_ATOMIC(address) \
  sad_host::check_atomic(address, sizeof(*address), __builtin_return_address(0))

#define SAD_HOST_ATOMIC(function, type, operand, result)                                        \
  __attribute__((noinline)) SAD_HOST_UNSEEN inline type function(type* address, type operand) { \
    SAD_HOST_CHECK_ATOMIC(address);                                                             \
    const type old = *address;                                                                  \
    *address = result;                                                                          \
    return old;                                                                                 \
  }
#define SAD_HOST_ATOMICS(type)                                                                 \
  SAD_HOST_ATOMIC(atomicAdd, type, x, old + x)                                                 \
  SAD_HOST_ATOMIC(atomicMin, type, x, x < old ? x : old)                                       \
  SAD_HOST_ATOMIC(atomicMax, type, x, x > old ? x : old)                                       \
  SAD_HOST_ATOMIC(atomicAnd, type, x, old& x)                                                  \
  SAD_HOST_ATOMIC(atomicOr, type, x, old | x)                                                  \
  SAD_HOST_ATOMIC(atomicXor, type, x, old ^ x)                                                 \
  SAD_HOST_ATOMIC(atomicExch, type, x, x)                                                      \
  __attribute__((noinline)) SAD_HOST_UNSEEN inline type atomicCAS(type* address, type compare, \
                                                                  type value) {                \
    SAD_HOST_CHECK_ATOMIC(address);                                                            \
    const type old = *address;                                                                 \
    if (old == compare) *address = value;                                                      \
    return old;                                                                                \
  }
SAD_HOST_ATOMICS(int)
SAD_HOST_ATOMICS(unsigned)
SAD_HOST_ATOMICS(unsigned long long)
SAD_HOST_ATOMIC(atomicAdd, float, x, old + x)
SAD_HOST_ATOMIC(atomicAdd, double, x, old + x)
SAD_HOST_ATOMIC(atomicExch, float, x, x)
SAD_HOST_ATOMIC(atomicSub, int, x, old - x)
SAD_HOST_ATOMIC(atomicSub, unsigned, x, old - x)

// ---- Loads and stores with a cache hint -----------------------------------------------------

template <typename T>
inline T __ldg(const T* address) {
  return *address;
}
template <typename T>
inline T __ldcg(const T* address) {
  return *address;
}
template <typename T>
inline T __ldcs(const T* address) {
  return *address;
}
template <typename T>
inline void __stcg(T* address, T value) {
  *address = value;
}
template <typename T>
inline void __stcs(T* address, T value) {
  *address = value;
}

// ---- Bits -----------------------------------------------------------------------------------

#define SAD_HOST_CAST(function, To, From)      \
  inline To function(From x) {                 \
    static_assert(sizeof(To) == sizeof(From)); \
    To out;                                    \
    memcpy(&out, &x, sizeof(out));             \
    return out;                                \
  }
SAD_HOST_CAST(__int_as_float, float, int)
SAD_HOST_CAST(__float_as_int, int, float)
SAD_HOST_CAST(__uint_as_float, float, unsigned)
SAD_HOST_CAST(__float_as_uint, unsigned, float)
SAD_HOST_CAST(__longlong_as_double, double, long long)
SAD_HOST_CAST(__double_as_longlong, long long, double)

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __clzll(long long x) {
  return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64;
}
inline unsigned __brev(unsigned x) {
  unsigned out = 0;
  for (int i = 0; i < 32; ++i) out |= (x >> i & 1) << (31 - i);
  return out;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
  return static_cast<unsigned>(((uint64_t{high} << 32 | low) << (by & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
  return static_cast<unsigned>((uint64_t{high} << 32 | low) >> (by & 31));
}
inline int __mul24(int a, int b) { return a * b; }
inline unsigned __umul24(unsigned a, unsigned b) { return a * b; }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(uint64_t{a} * b >> 32);
}
inline int __mulhi(int a, int b) { return static_cast<int>(int64_t{a} * b >> 32); }

// ---- Arithmetic -----------------------------------------------------------------------------

inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double a) { return sqrt(a); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline float __saturatef(float a) { return a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f; }

// Conversions saturate, and NaN becomes 0.
inline int sad_host_to_int(float a) {
  if (!(a == a)) return 0;
  if (a >= 2147483648.0f) return 2147483647;
  return a <= -2147483648.0f ? -2147483647 - 1 : static_cast<int>(a);
}
inline int __float2int_rn(float a) { return sad_host_to_int(rintf(a)); }
inline int __float2int_rz(float a) { return sad_host_to_int(truncf(a)); }
inline int __float2int_rd(float a) { return sad_host_to_int(floorf(a)); }
inline int __float2int_ru(float a) { return sad_host_to_int(ceilf(a)); }
inline float __int2float_rn(int a) { return static_cast<float>(a); }
inline float __uint2float_rn(unsigned a) { return static_cast<float>(a); }
inline float __double2float_rn(double a) { return static_cast<float>(a); }

// min and max as CUDA overloads them: a mixture of int and unsigned is unsigned, and of two
// floating-point numbers a NaN is not chosen.
#define SAD_HOST_MIN_MAX(type)                              \
  inline type min(type a, type b) { return b < a ? b : a; } \
  inline type max(type a, type b) { return a < b ? b : a; }
#define SAD_HOST_MIN_MAX_MIXED(A, B, type)                                              \
  inline type min(A a, B b) { return min(static_cast<type>(a), static_cast<type>(b)); } \
  inline type max(A a, B b) { return max(static_cast<type>(a), static_cast<type>(b)); }
SAD_HOST_MIN_MAX(int)
SAD_HOST_MIN_MAX(unsigned)
SAD_HOST_MIN_MAX(long)
SAD_HOST_MIN_MAX(unsigned long)
SAD_HOST_MIN_MAX(long long)
SAD_HOST_MIN_MAX(unsigned long long)
SAD_HOST_MIN_MAX_MIXED(int, unsigned, unsigned)
SAD_HOST_MIN_MAX_MIXED(unsigned, int, unsigned)
SAD_HOST_MIN_MAX_MIXED(long long, unsigned long long, unsigned long long)
SAD_HOST_MIN_MAX_MIXED(unsigned long long, long long, unsigned long long)
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
SAD_HOST_MIN_MAX_MIXED(float, double, double)
SAD_HOST_MIN_MAX_MIXED(double, float, double)

#endif  // SAD_CUDA_HOST_INTRINSICS_H_
