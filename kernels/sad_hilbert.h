// The Hilbert curve of sadcodec/backends/initialize.py. Portable, as sad_core.h.
#ifndef SAD_HILBERT_H_
#define SAD_HILBERT_H_

#include "sad_core.h"

namespace sad {

// Place of the cell (x, y) on the curve of a square of 2^bits x 2^bits cells; of more than 16 bits,
// the lowest 32 bits of the place. An aligned square of 2^n x 2^n cells is 4^n cells in a row, so
// the lowest 2n bits are the place within it and the others that of the square.
SAD_FN unsigned hilbert_place(unsigned x, unsigned y, int bits) {
  unsigned place = 0;
  for (int level = bits - 1; level >= 0; --level) {
    const unsigned rx = (x >> level) & 1u, ry = (y >> level) & 1u;
    place = (place << 2) | ((3u * rx) ^ ry);
    const unsigned mask = (1u << level) - 1u;
    x &= mask;
    y &= mask;
    if (ry == 0u) {
      const unsigned flip = rx ? mask : 0u, old = x ^ flip;  // mask - x, as x <= mask
      x = y ^ flip;
      y = old;
    }
  }
  return place;
}

}  // namespace sad
#endif  // SAD_HILBERT_H_
