// The K-th largest of many values, lane by lane, with networks of min and max.
#ifndef SAD_CPU_TOP_K_H_
#define SAD_CPU_TOP_K_H_

#include "simd.h"

namespace sad {
namespace SAD_ISA {

SAD_INLINE void sort_pair(F& a, F& b) {
  const F high = sad_max(a, b);
  b = sad_min(a, b);
  a = high;
}

// Eight values, descending: the network of 19 comparators (Knuth, TAOCP 3, 5.3.4).
SAD_INLINE void sort_eight(F* v) {
  constexpr int kPairs[19][2] = {{0, 2}, {1, 3}, {4, 6}, {5, 7}, {0, 4}, {1, 5}, {2, 6},
                                 {3, 7}, {0, 1}, {2, 3}, {4, 5}, {6, 7}, {2, 4}, {3, 5},
                                 {1, 4}, {3, 6}, {1, 2}, {3, 4}, {5, 6}};
#pragma GCC unroll 19
  for (int i = 0; i < 19; ++i) sort_pair(v[kPairs[i][0]], v[kPairs[i][1]]);
}

// The largest eight of two descending lists of eight: in `a`, bitonic.
SAD_INLINE void keep_largest(F* a, const F* b) {
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) a[i] = sad_max(a[i], b[7 - i]);
}

SAD_INLINE void sort_bitonic(F* v) {
#pragma GCC unroll 3
  for (int step = 4; step > 0; step /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i)
      if (!(i & step)) sort_pair(v[i], v[i + step]);
  }
}

// The largest and the eighth largest of value(0), ..., value(count - 1), count > 8. Eight at a time
// are sorted and merged, which takes half the comparisons of inserting one after another.
template <typename Value>
SAD_INLINE void top_eight(int count, const Value& value, F* largest, F* eighth) {
  F top[8], next[8];
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) top[j] = value(j);
  sort_eight(top);
  F maximum = top[0];
  int i = 8;
  for (; i + 8 < count; i += 8) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) next[j] = value(i + j);
    sort_eight(next);
    keep_largest(top, next);
    sort_bitonic(top);
  }
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) next[j] = F(-3e38f);
  switch (count - i) {
    case 8:
      next[7] = value(i + 7);
      [[fallthrough]];
    case 7:
      next[6] = value(i + 6);
      [[fallthrough]];
    case 6:
      next[5] = value(i + 5);
      [[fallthrough]];
    case 5:
      next[4] = value(i + 4);
      [[fallthrough]];
    case 4:
      next[3] = value(i + 3);
      [[fallthrough]];
    case 3:
      next[2] = value(i + 2);
      [[fallthrough]];
    case 2:
      next[1] = value(i + 1);
      [[fallthrough]];
    default:
      next[0] = value(i);
  }
  sort_eight(next);
  maximum = sad_max(top[0], next[0]);
  keep_largest(top, next);
  for (int j = 4; j > 0; j /= 2)
    for (int l = 0; l < j; ++l) top[l] = sad_min(top[l], top[l + j]);
  *largest = maximum;
  *eighth = top[0];
}

}  // namespace SAD_ISA
}  // namespace sad
#endif  // SAD_CPU_TOP_K_H_
