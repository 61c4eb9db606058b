// Which sites a sweep may move at once: a colouring of the sites, those that share a pixel's list
// in different classes.
//
// Every site has a priority, and takes the least class that none of its neighbours of higher
// priority has: what a sequential greedy colouring in that order gives, found in rounds (M. Jones
// and P. Plassmann, SIAM J. Sci. Comput. 14, 1993). A round is two passes: pixels say which of
// their sites have to wait, then the others take their classes. Nothing depends on timing.
#include "sad_descent.h"

namespace sad {

// Sites of many pixels come first, so that those of a class take about as long; sites of a size, to
// a factor of 2, in an order without pattern (the finalizer of MurmurHash3, A. Appleby), so that
// none waits for a long row of others. No two sites are equal: the finalizer is one-to-one.
static __device__ __forceinline__ unsigned long long priority_of(const int* starts, int site) {
  const int size = starts[site + 1] - starts[site];
  unsigned h = static_cast<unsigned>(site) + 1u;
  h = (h ^ (h >> 16)) * 0x85ebca6bu;
  h = (h ^ (h >> 13)) * 0xc2b2ae35u;
  return static_cast<unsigned long long>(32 - __clz(size)) << 32 | (h ^ (h >> 16));
}

}  // namespace sad

using namespace sad;

// classes [N]: -1 for none yet. fresh [N]: the round in which a site took its class. waits [N]: the
// last round in which a site had to wait. starts: as in a sweep. taken [N][words]: bits of the
// classes of neighbours. Pixels write to waits and taken what others read meanwhile: that is
// volatile or atomic, and any outcome of a race is as good.
extern "C" __global__ void __launch_bounds__(256)
    schedule_pixels(const int* list_ids, const int* starts, const int* classes, const int* fresh,
                    int* waits, unsigned* taken, int pixels, int count, int words, int round) {
  const int pixel = blockIdx.x * 256 + threadIdx.x;
  if (pixel >= pixels) return;
  const int* ids = list_ids + static_cast<long long>(pixel) * kListLength;
  int first = -1;
  unsigned long long highest = 0;
  unsigned left = 0, news = 0;  // bits of the places in the list
  for (int j = 0; j < kListLength; ++j) {
    const int id = ids[j];
    if (id == count) break;
    if (classes[id] >= 0) {
      news |= (fresh[id] == round - 1 ? 1u : 0u) << j;
      continue;
    }
    left |= 1u << j;
    const unsigned long long priority = priority_of(starts, id);
    if (first >= 0 && priority < highest) continue;
    first = id;
    highest = priority;
  }
  for (; left; left &= left - 1) {
    const int id = ids[__ffs(left) - 1];
    volatile int* wait = waits + id;
    if (id != first && *wait != round) *wait = round;
    for (unsigned set = news; set; set &= set - 1) {
      const int c = classes[ids[__ffs(set) - 1]];
      unsigned* word = taken + static_cast<long long>(id) * words + c / 32;
      if ((*static_cast<volatile unsigned*>(word) >> c % 32 & 1u) == 0)
        atomicOr(word, 1u << c % 32);
    }
  }
}

// state [2]: the last round in which a site was left without a class; whether classes ran out.
extern "C" __global__ void __launch_bounds__(256)
    schedule_sites(int* classes, int* fresh, const int* waits, const unsigned* taken, int* state,
                   int count, int words, int round) {
  volatile int* found = state;  // the same from all threads that write
  const int site = blockIdx.x * 256 + threadIdx.x;
  if (site >= count || classes[site] != -1) return;
  if (waits[site] != round) {
    const unsigned* mine = taken + static_cast<long long>(site) * words;
    for (int w = 0; w < words; ++w) {
      if (mine[w] == 0xffffffffu) continue;
      classes[site] = 32 * w + __ffs(static_cast<int>(~mine[w])) - 1;
      fresh[site] = round;
      return;
    }
    found[1] = 1;
  }
  found[0] = round;
}
