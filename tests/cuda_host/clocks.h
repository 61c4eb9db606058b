// What happens before what: the barriers that the threads of a block have passed.
//
// Two accesses of one block are in order if all threads passed a barrier between them, or if
// __syncwarp, once or in a row, leads from one lane to the other. Shuffles and votes order nothing,
// and neither do atomics and fences, which no kernel here relies on for that. Two blocks are never
// in order.
#ifndef SAD_CUDA_HOST_CLOCKS_H_
#define SAD_CUDA_HOST_CLOCKS_H_

#include "block.h"

namespace sad_host {

struct Clocks {
  uint32_t block;  // number of the block that runs, counted over all launches, from 1
  uint32_t epoch;  // barriers that it has passed
  // A lane's own time is how often it has passed __syncwarp since the last barrier, plus 1.
  // seen[w][m][l]: up to which time of lane l lane m of warp w has everything.
  uint32_t seen[kMaxWarps][kLanes][kLanes];
  bool changed[kMaxWarps];

  uint32_t time(int warp, int lane) const { return seen[warp][lane][lane] + 1; }

  void begin_block() {
    ++block;
    epoch = 0;
    forget();
  }
  void pass_barrier() {
    ++epoch;
    forget();
  }
  void pass_syncwarp(int warp, unsigned lanes) {
    uint32_t joined[kLanes] = {};
    for (unsigned set = lanes; set; set &= set - 1) {
      const int lane = __builtin_ctz(set);
      const uint32_t* known = seen[warp][lane];
      for (int l = 0; l < kLanes; ++l) joined[l] = known[l] > joined[l] ? known[l] : joined[l];
    }
    for (unsigned set = lanes; set; set &= set - 1) {
      const int lane = __builtin_ctz(set);
      joined[lane] = time(warp, lane);
    }
    for (unsigned set = lanes; set; set &= set - 1)
      memcpy(seen[warp][__builtin_ctz(set)], joined, sizeof(joined));
    changed[warp] = true;
  }

 private:
  void forget() {
    for (int w = 0; w < kMaxWarps; ++w) {
      if (changed[w]) memset(seen[w], 0, sizeof(seen[w]));
      changed[w] = false;
    }
  }
};

inline Clocks clocks;

}  // namespace sad_host
#endif  // SAD_CUDA_HOST_CLOCKS_H_
