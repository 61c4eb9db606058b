// The top-K map of the paper (Iinbor, Dou and Matusik, arXiv 2604.21984), without its loops: which
// sites a pixel gets to know, and which of two it prefers. Portable between NVRTC and a C++17
// compiler, as sad_core.h, so that a map is the same numbers on every backend.
//
// A pixel keeps the K best of a set of sites in a strict order, so that it does not matter in which
// order they are looked at. What is drawn at random depends on the seed, the pass and the pixel
// alone.
#ifndef SAD_PROPAGATE_H_
#define SAD_PROPAGATE_H_

#include "sad_core.h"
#include "sad_hilbert.h"

namespace sad {

constexpr int kCurveBits = 15;     // of a coordinate on the curve
constexpr int kProbeReach = 8;     // places on the curve, of the probe beside the best site
constexpr int kMapNeighbours = 5;  // lists that a pass merges: own, right, left, below, above

// Place on the curve of a point of the image, or of the image's point nearest to it.
SAD_FN unsigned sad_curve_place(float x, float y, int width, int height) {
  constexpr float kLast = (1 << kCurveBits) - 1;
  const float scale = (1 << kCurveBits) / static_cast<float>(width > height ? width : height);
  const float u = sad_min(sad_max(x * scale, 0.0f), kLast);
  const float v = sad_min(sad_max(y * scale, 0.0f), kLast);
  return hilbert_place(static_cast<unsigned>(u), static_cast<unsigned>(v), kCurveBits);
}

// Key to sort the sites by along the curve: the place above the id, so that no two are equal.
SAD_FN long long sad_curve_key(float x, float y, int width, int height, int id) {
  const long long place = sad_curve_place(x, y, width, height);
  return place << 32 | id;
}

// The first of up to 2 K sites along the curve around a place with `before` sites before it.
SAD_FN int sad_curve_begin(int before, int count, int k) {
  const int begin = before - k < count - 2 * k ? before - k : count - 2 * k;
  return begin > 0 ? begin : 0;
}

// The finalizer of splitmix64: 64 random bits of a counter, as for the noise of sad_steps.h.
SAD_FN unsigned long long sad_random_bits(unsigned long long seed, unsigned long long counter) {
  unsigned long long z = seed * 0x9e3779b97f4a7c15ull + counter * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

// 0..below - 1 from the upper half of random bits.
SAD_FN int sad_random_below(unsigned long long bits, int below) {
  return static_cast<int>(((bits >> 32) * static_cast<unsigned>(below)) >> 32);
}

// Of a pass: its key, from which a pixel draws number j (0: the probe) of 1 + injected.
SAD_FN unsigned long long sad_pass_key(unsigned long long seed, int pass) {
  return sad_random_bits(seed, static_cast<unsigned>(pass));
}
SAD_FN unsigned long long sad_pixel_bits(unsigned long long key, long long pixel, int injected,
                                         int j) {
  return sad_random_bits(key, static_cast<unsigned long long>(pixel) * (injected + 1) + j);
}

// Place along the curve of the probe beside a site at `rank`; may be outside of 0..count - 1.
SAD_FN int sad_probe_rank(unsigned long long bits, int rank) {
  const int step = sad_random_below(bits, 2 * kProbeReach) - kProbeReach;
  return rank + (step < 0 ? step : step + 1);
}

// Column and row steps of the lists that a pass merges, 0..kMapNeighbours - 1.
SAD_FN int sad_neighbour_dx(int n, int distance) {
  return n == 1 ? distance : n == 2 ? -distance : 0;
}
SAD_FN int sad_neighbour_dy(int n, int distance) {
  return n == 3 ? distance : n == 4 ? -distance : 0;
}

SAD_FN float sad_site_logit(const PreparedSite& s, float x, float y) {
  return sad_logit(sad_distance(x - s.x, y - s.y, s.m0, s.m1, s.m2), s.tau, s.radius);
}

// The order of a list: larger logits first, ties to the lower id.
SAD_FN bool sad_ahead(float logit, int id, float other, int other_id) {
  return logit > other || (logit == other && id < other_id);
}

}  // namespace sad
#endif  // SAD_PROPAGATE_H_
