// The state of a fit: target, parameters, Adam moments, candidate lists.
#ifndef SAD_CPU_FIT_H_
#define SAD_CPU_FIT_H_

#include "diagram.h"

namespace sad {

// Candidate lists of all squares, and for each site the rows of the squares' sums that are its own.
struct Candidates {
  struct Square {
    std::vector<int32_t> ids, entries;
    std::vector<uint8_t> masks;   // [entries], see GradientTask
    std::vector<uint16_t> lanes;  // [entries][kBlocks], see GradientTask; empty: none
    int32_t offsets[kSquareTiles + 1] = {0};
  };
  std::vector<Square> squares;
  std::vector<uint32_t> rows;                     // [squares + 1], into the sums
  std::vector<uint32_t> site_offsets, site_rows;  // rows of each site, ascending

  void set(int square, const SquareLists& lists);
  void index_sites(int sites);
};

class TopKMap;

class Fit {
 public:
  // target [height, width, channels]; null: none, and nothing that measures an error until
  // set_target. weights [height, width] of the squared errors; null: all 1.
  Fit(const Kernels& kernels, const float* target, const float* weights, int width, int height,
      int channels, const float* params, int count, int k, int threads);

  int count() const { return count_; }
  int channels() const { return channels_; }
  int width() const { return width_; }
  int height() const { return height_; }
  int columns() const { return kColor + channels_; }
  int k() const { return k_; }
  const std::vector<float>& params() const { return params_; }
  const std::vector<float>& gradients() const { return gradients_; }

  // Other parameters, a step away: what the lists say of them holds, as after adam.
  void move(const float* params);
  // Exact lists of the present parameters.
  void refresh(float cut);
  // Lists out of a map of these sites: a pixel is blended from those of its own list.
  void follow(const TopKMap& map, float cut);
  // phase -1: all pixels; 0..3: one pixel of every 2x2. noise: half-widths per site and column of
  // a uniform disturbance at which the gradient is taken (null: none).
  double gradient(int phase, const float* noise, uint64_t seed);
  // The blend of all pixels, [height, width, channels].
  void picture(float* out);
  // As gradient, of a function of the picture whose derivatives are the cotangent [height, width,
  // channels].
  void pull_back(const float* cotangent);
  // Another target; the weights stay.
  void set_target(const float* target);
  // What adam adds to the gradients (sad_add_rate) until the sites change: prediction and scale
  // [count, 6 + C], axes [C, C], turn > 0, price > 0, or 0 for nothing.
  void set_rate(const float* prediction, const float* scale, const float* axes, float turn,
                float price);
  void adam(const float* rates, float beta1, float beta2, float epsilon);
  // out [count, 3]: mass, responsibility-weighted squared error, removal delta; by exact lists.
  void statistics(float* out);
  // out [count, kMoments]: mass, and the moments of the error about the site.
  void error_moments(double* out);
  // out [count, k]: the sites of largest logit at the pixel that a site lies in, -1 where fewer.
  void neighbours(int32_t* out);
  void keep(const int32_t* index, int count);
  void append(const float* params, int count);

 private:
  void require_lists() const;
  void require_target() const;
  void fill_target(const float* target, const float* weights);
  void run_pass(int phase, float scale, bool moved, const float* cotangent, float* picture);
  void add_up(const float* at);
  void finish_lists();
  void prepare(const float* params);
  const float* disturb(const float* noise, uint64_t seed);
  SquareTask task(int square, int sums_columns);

  const Kernels& kernels_;
  ThreadPool pool_;
  std::vector<std::unique_ptr<WorkerScratch>> scratch_;
  int width_, height_, channels_, k_, squares_x_, squares_y_, count_;
  float cut_ = 7.0f;
  int steps_ = 0;
  bool lists_current_ = false;
  bool prepared_ = false;       // sites_ are those of params_
  bool mapped_ = false;         // the lists are those of a map
  unsigned masked_ = 0;         // bit b: the lists' masks are known for block b
  std::vector<float> target_;   // [squares][kSquareTiles][kBlocks][C][16]
  std::vector<float> weights_;  // [squares][kSquareTiles][kBlocks][16]; empty: all 1
  std::vector<float> params_, first_, second_, gradients_, disturbed_;
  std::vector<float> prediction_, scale_, axes_;  // see set_rate
  float turn_ = 1.0f, price_ = 0.0f;
  std::vector<float> sums_;  // [rows][6 + C], or [rows][3] for the statistics
  std::vector<double> square_loss_;
  PreparedSites sites_;
  Candidates lists_;
};

}  // namespace sad
#endif  // SAD_CPU_FIT_H_
