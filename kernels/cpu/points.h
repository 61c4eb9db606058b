// Colours at any points, and their gradients, in double.
#ifndef SAD_CPU_POINTS_H_
#define SAD_CPU_POINTS_H_

#include <atomic>
#include <vector>

#include "diagram.h"

namespace sad {

// A diagram and points, with the sites that can matter at each. Points are halved along the longer
// side of their box until a box has few; a box keeps, of the sites of the box it is a part of,
// those whose upper bound in it reaches the K-th largest lower bound (see candidates.h). Sums have
// one order for any number of threads.
class Points {
 public:
  // params [count, 6 + channels], points [size, 2], copied. Throws std::length_error where the
  // boxes would keep more than 1024 sites each as a mean, and 16 for each site: hostile sites would
  // take all memory.
  Points(const double* params, int count, int channels, const double* points, int size, int k,
         int threads);

  int count() const { return count_; }
  int channels() const { return channels_; }
  int size() const { return size_; }

  // The colours [size, channels], as the reference has them.
  void blend(double* out);
  // With dL/dcolour [size, channels], the derivatives with respect to the parameters [count, 6 +
  // channels] and the points [size, 2].
  void pull_back(const double* cotangent, double* params, double* points);

 private:
  struct Box {
    int begin, end;  // into order_
    std::vector<int32_t> sites;
  };
  void split(Box box, int most, std::vector<Box>* out);
  std::vector<int32_t> near(const double* low, const double* high,
                            const std::vector<int32_t>& sites) const;
  int weigh(const Box& box, const double* point, double* weights, int* top) const;
  void mix(const Box& box, const double* weights, const int* top, int n, double* out) const;

  ThreadPool pool_;
  int count_, channels_, size_, k_;
  std::vector<double> params_, points_;
  std::vector<ExactSite> exact_;
  std::vector<int32_t> order_;  // of the points, box by box
  std::vector<Box> boxes_;
  std::atomic<int64_t> left_;  // sites that boxes may still keep
};

}  // namespace sad
#endif  // SAD_CPU_POINTS_H_
