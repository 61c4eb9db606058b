// The top-K map of the paper on the CPU: each pixel's list of K sites, brought up to date by passes
// (kernels/sad_propagate.h). The same map as kernels/propagate.cu makes of the same sites.
#ifndef SAD_CPU_PROPAGATE_H_
#define SAD_CPU_PROPAGATE_H_

#include "diagram.h"

namespace sad {

class TopKMap {
 public:
  TopKMap(int width, int height, int k, int threads);

  int width() const { return width_; }
  int height() const { return height_; }
  int k() const { return k_; }
  int count() const { return sites_.size(); }
  // int32 [height * width, k]: logits descending, ties to the lower id; -1 where there are fewer.
  const std::vector<int32_t>& ids() const { return maps_[0]; }

  // Takes the sites of parameter rows [count, 6 + C], as they are now. The lists keep their ids,
  // so that there must not be fewer sites than before but after `remap`.
  void set_sites(const float* params, int count, int channels);
  // Sorts the sites along the Hilbert curve, as later passes use it.
  void sort_sites();
  // The K best of the 2 K sites around each pixel's place on the curve.
  void first_lists();
  // One pass, number `pass`: lists of the pixels at `distance`, a probe, `injected` random sites.
  void pass(int distance, int injected, uint64_t seed, int pass);
  // index [old_count]: the new id of each site, or -1. Lists keep their order. `left` sites remain.
  void remap(const int32_t* index, int old_count, int left);

 private:
  // Sites seen by the present pixel: seen[id + 1] is the pixel's stamp.
  struct Worker {
    std::vector<uint32_t> seen;
    uint32_t stamp = 0;
  };
  template <typename Pixel>
  void for_pixels(const Pixel& pixel);

  const int width_, height_, k_;
  ThreadPool pool_;
  std::vector<Worker> workers_;
  std::vector<int32_t> maps_[2];
  PreparedSites sites_;
  int known_ = 0;                                // sites that the lists may name
  std::vector<int32_t> places_, order_, ranks_;  // along the curve; rank of each site
};

// Exact lists: the K best of all sites, by logits in float, in the order of a TopKMap's lists.
std::vector<int32_t> exact_lists(const Kernels& kernels, const float* params, int count,
                                 int channels, int width, int height, int k, int threads);

}  // namespace sad
#endif  // SAD_CPU_PROPAGATE_H_
