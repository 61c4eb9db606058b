// Four floats, one a channel, in the vector extensions of GCC and Clang: for passes over a site's
// pixels, which lie too scattered for wider vectors. The same bits on every machine.
#ifndef SAD_CPU_QUAD_H_
#define SAD_CPU_QUAD_H_

#include <cstring>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace sad {

typedef float Quad __attribute__((vector_size(16)));

static inline Quad quad(float x) { return Quad{x, x, x, x}; }
static inline Quad load_quad(const float* p) {
  Quad x;
  memcpy(&x, p, sizeof(x));
  return x;
}
static inline void store_quad(float* p, Quad x) { memcpy(p, &x, sizeof(x)); }
// x < y ? x : y, which is what the instruction does; compilers do not find it in the general form.
#if defined(__SSE2__)
static inline Quad quad_min(Quad x, Quad y) { return (Quad)_mm_min_ps((__m128)x, (__m128)y); }
static inline Quad quad_max(Quad x, Quad y) { return (Quad)_mm_max_ps((__m128)x, (__m128)y); }
#else
typedef int QuadMask __attribute__((vector_size(16)));
static inline Quad quad_select(QuadMask m, Quad x, Quad y) {
  return (Quad)((m & (QuadMask)x) | (~m & (QuadMask)y));
}
static inline Quad quad_min(Quad x, Quad y) { return quad_select(x < y, x, y); }
static inline Quad quad_max(Quad x, Quad y) { return quad_select(x > y, x, y); }
#endif
// To 0..1, as the decoded picture is.
static inline Quad quad_clamp(Quad x) { return quad_min(quad_max(x, quad(0.0f)), quad(1.0f)); }
static inline double quad_sum(Quad x) {
  return (static_cast<double>(x[0]) + x[2]) + (static_cast<double>(x[1]) + x[3]);
}

}  // namespace sad
#endif  // SAD_CPU_QUAD_H_
