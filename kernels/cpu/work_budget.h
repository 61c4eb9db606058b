// How much drawing a diagram may cost.
#ifndef SAD_CPU_WORK_BUDGET_H_
#define SAD_CPU_WORK_BUDGET_H_

#include <algorithm>
#include <atomic>

#include "types.h"

namespace sad {

// Each square of kSuper px has max_work (pixels + 16 sites + 2^15) evaluations, with the sites that
// matter in it. Photographs take some 30 evaluations a pixel, and where sites are denser than
// pixels more for each site. The lists of smaller squares may be longer than the mean, but what
// memory they take is bounded: at a max_work of 128, 2^21, 2^19 and 2^16 sites.
class PictureBudget : public WorkBudget {
 public:
  explicit PictureBudget(int max_work) : max_work_(max_work) {
    spend = [](WorkBudget* self, int64_t n) { return static_cast<PictureBudget*>(self)->take(n); };
    refuse = [](WorkBudget* self) { static_cast<PictureBudget*>(self)->exceeded_ = true; };
    unit = longest(1 << 14);
    square = longest(1 << 12);
    tile = longest(1 << 9);
  }

  // At the start of a square; no thread may be at work. At most 2^14 (2^20 + 2^28 + 2^15).
  void start(int64_t pixels, int64_t sites) {
    total_ = max_work_ * (pixels + 16 * sites + (int64_t(1) << 15));
    used_ = 0;
  }
  // Whether any square did: the same for any number of threads.
  bool exceeded() const { return exceeded_; }

 private:
  int longest(int64_t factor) const {
    return static_cast<int>(std::min<int64_t>(factor * max_work_, INT32_MAX));
  }
  // No thread asks for more than 2^30 at once, and none after the first refusal: no overflow.
  bool take(int64_t n) {
    if (exceeded_) return false;
    if (used_.fetch_add(n) + n <= total_) return true;
    exceeded_ = true;
    return false;
  }

  const int64_t max_work_;
  int64_t total_ = 0;
  std::atomic<int64_t> used_{0};
  std::atomic<bool> exceeded_{false};
};

}  // namespace sad
#endif  // SAD_CPU_WORK_BUDGET_H_
