// Integer coordinate descent over the symbols of a quantized diagram.
#ifndef SAD_CPU_REFINE_H_
#define SAD_CPU_REFINE_H_

#include "diagram.h"

namespace sad {

// Columns of symbols, in the order in which a sweep tries them.
enum SymbolColumn {
  kSymX = 0,
  kSymY,
  kSymLogTau,
  kSymAnisotropy,
  kSymAngle,
  kSymRadius,
  kSymColor
};

// How symbols become parameters: see docs/FORMAT.md, "Dequantization".
struct Quantizer {
  double position, log_tau, anisotropy, radius;  // steps; radius 0: no radius column
  std::vector<int32_t> angle_levels;             // levels of angle by anisotropy symbol
  std::vector<float> color_steps;                // [N, C]
  std::vector<float> axes;                       // [C, C], row j: colour axis j
};

// Approximate cost in bits of one column: bits = table[klass[i]][clamp(symbol - prediction[i])].
struct ColumnCost {
  std::vector<int32_t> prediction;  // [N]
  std::vector<uint8_t> klass;       // [N]
  std::vector<float> table;         // [classes, 2 * range + 1]
  int range = 0;                    // 0: the column costs nothing
  float bits(int site, int symbol) const;
};

constexpr int kStrips = 16;  // of the image, for sums whose order does not depend on the threads

class Refine {
 public:
  // weights [height, width] of the squared errors; null: all 1.
  Refine(const Kernels& kernels, const float* target, const float* weights, int width, int height,
         int channels, int k, int threads);

  // symbols [N, 6 + C]: x, y, log_tau, log_anisotropy, angle, radius, colours.
  void set_sites(const int32_t* symbols, int count, const Quantizer& quantizer);
  void set_cost(int column, ColumnCost cost);
  void set_color_steps(const float* steps);  // [N, C]; symbols are rounded to the new steps
  int count() const { return count_; }
  int channels() const { return channels_; }
  const std::vector<int32_t>& symbols() const { return symbols_; }
  std::vector<float> params() const;

  double build_lists();               // returns the squared error over all pixels
  void solve_colors(int iterations);  // least squares; rounds to symbols
  // One pass over all sites; returns how many symbols changed. lambda: squared error per bit.
  int64_t sweep(double lambda, bool geometry);
  void removal_deltas(double* out);  // [N]: increase of the squared error without the site

 private:
  struct Worker;
  struct ColorPixel {
    int32_t pixel;
    float weight;  // of the site there
  };
  // Pixels of the lists for a kernel: n entries, see DescentPixels.
  DescentPixels pixels_of(const int32_t* entries, size_t n);
  void dequantize(int site, const int32_t* symbols, PreparedSite* out) const;
  int visit(int site, double lambda, Worker& worker);
  int visit_color(int site, double lambda, std::vector<ColorPixel>& pixels);
  bool within_axes(int site, const int32_t* symbols) const;
  void find_slots(int site);
  void list_pixels();  // the sites of every pixel
  void list_sites();   // the pixels of every site, and which sites may be visited at once
  void weigh_pixels();
  void blend_pixels();
  void update_lists(int site, const float* logits);
  void color_of(int site, const int32_t* symbols, float* color) const;
  double bits(int site, const int32_t* symbols) const;
  // body(first pixel, pixels, strip) for strips of the image that do not depend on the threads.
  void for_strips(const std::function<void(int, int, int)>& body);

  const Kernels& kernels_;
  ThreadPool pool_;
  std::vector<std::unique_ptr<WorkerScratch>> scratch_;
  int width_, height_, channels_, k_, count_ = 0;
  std::vector<float> target_;   // [pixels][4]
  std::vector<float> weights_;  // [pixels]; empty: all 1
  std::vector<int32_t> symbols_;
  Quantizer quantizer_;
  std::vector<ColumnCost> costs_;
  PreparedSites sites_;
  std::vector<float> colors_;  // [N][4]
  std::vector<int32_t> list_ids_;
  std::vector<float> list_logits_;
  bool listed_ = false;               // the lists are those of the present geometry, slots included
  bool weighed_ = false;              // the pixels' weights are
  std::vector<float> pixel_weights_;  // [pixels][k], as the lists are sorted; they sum to 1
  std::vector<float> picture_;        // [pixels][4], not clamped; current after blend_pixels
  std::vector<uint32_t> site_offsets_;
  std::vector<int32_t> site_entries_;
  std::vector<std::vector<int32_t>> groups_[5];  // blocks by colour; the last: one after another
};

}  // namespace sad
#endif  // SAD_CPU_REFINE_H_
