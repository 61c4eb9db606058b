// The state of a fit: target, parameters, Adam moments, candidate lists.
#ifndef SAD_CPU_FIT_H_
#define SAD_CPU_FIT_H_

#include "diagram.h"

namespace sad {

// Candidate lists of all 8x8 tiles, and for each site the list entries that hold it.
struct Candidates {
  std::vector<uint32_t> offsets;  // [tiles + 1]
  std::vector<int32_t> ids;       // [entries]
  std::vector<uint32_t> site_offsets, site_entries;

  void assemble(std::vector<std::vector<int32_t>>& per_tile, int sites);
};

class Fit {
 public:
  Fit(const Kernels& kernels, const float* target, int width, int height, int channels,
      const float* params, int count, int k, int threads);

  int count() const { return count_; }
  int channels() const { return channels_; }
  int columns() const { return kColor + channels_; }
  const std::vector<float>& params() const { return params_; }
  const std::vector<float>& gradients() const { return gradients_; }

  void set_params(const float* params);
  void refresh(float cut);
  // phase -1: all pixels; 0..3: one pixel of every 2x2. noise: half-widths per site and column of
  // a uniform disturbance at which the gradient is taken (null: none).
  double gradient(int phase, const float* noise, uint64_t seed);
  void adam(const float* rates, float beta1, float beta2, float epsilon);
  // out [count, 3]: mass, responsibility-weighted squared error, removal delta.
  void statistics(float* out);
  void keep(const int32_t* index, int count);
  void append(const float* params, int count);

 private:
  void require_lists() const;
  void prepare(const float* params);

  const Kernels& kernels_;
  ThreadPool pool_;
  std::vector<std::unique_ptr<WorkerScratch>> scratch_;
  int width_, height_, channels_, k_, tiles_x_, tiles_y_, count_;
  float cut_ = 7.0f;
  int steps_ = 0;
  bool lists_current_ = false;
  std::vector<float> target_;  // [tiles][kBlocks][C][16]
  std::vector<float> params_, first_, second_, gradients_, disturbed_;
  std::vector<float> sums_;  // [entries][6 + C]
  std::vector<float> tile_loss_;
  PreparedSites sites_;
  Candidates lists_;
};

}  // namespace sad
#endif  // SAD_CPU_FIT_H_
