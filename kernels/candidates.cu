// Candidate lists: the sites that can be among the top K of some pixel of a rectangle.
//
// Over a rectangle with centre c and half-extents h, the distance to site i lies within
// d_i(c) +- R_i, with R_i the largest metric length of a corner offset (triangle inequality), so
// its logit lies in [tau (r - d - R), tau (r - max(d - R, 0))]. The K-th largest lower bound is a
// threshold: a site whose upper bound is under it is in no pixel's top K there (as in
// cpu/candidates.h). Squares refine one another: each child of a grid filters its parent's list.
// One block a child; first the counts, then, once they are summed up, the ids in ascending order.
// There are few large squares, and their parents' lists are long: those take blocks of 1024
// threads (_wide), the tiles, of which there are many with short ones, blocks of 128.
#include "cuda_common.cuh"

namespace sad {

constexpr int kNarrow = 128, kWide = 1024;               // threads of a block
constexpr int kNarrowLength = 1024, kWideLength = 8192;  // sites of a list in shared memory
constexpr float kLeast = -3e38f;

struct Rectangle {
  float cx, cy, hx, hy;  // of pixel centres
};

// Where the raster of pixels lies in the picture, and what rounding moves a corner at most, in px.
struct Place {
  float x, y, step_x, step_y, margin;
};

// Child `child` of the grid of squares of `side` px over the region, cut off at the region's end.
static __device__ __forceinline__ Rectangle child_rectangle(int child, int children_x, int side,
                                                            int x0, int y0, int width, int height,
                                                            const Place& place) {
  const int x = child % children_x * side, y = child / children_x * side;
  const int x1 = x + side < width ? x + side : width, y1 = y + side < height ? y + side : height;
  Rectangle r;
  const float cx = 0.5f * (static_cast<float>(x0 + x) + static_cast<float>(x0 + x1));
  const float cy = 0.5f * (static_cast<float>(y0 + y) + static_cast<float>(y0 + y1));
  r.cx = place.x + place.step_x * cx;
  r.cy = place.y + place.step_y * cy;
  r.hx = place.step_x * (0.5f * static_cast<float>(x1 - x - 1)) + place.margin;
  r.hy = place.step_y * (0.5f * static_cast<float>(y1 - y - 1)) + place.margin;
  return r;
}

struct Bounds {
  float low, up;
};

static __device__ __forceinline__ Bounds logit_bounds(const float* sites, int id,
                                                      const Rectangle& at) {
  const float4* row = reinterpret_cast<const float4*>(sites) + 4 * static_cast<long long>(id);
  const float4 a = row[0], b = row[1];  // x, y, m0, m1; m2, tau, radius
  const float d = approximate_distance(at.cx - a.x, at.cy - a.y, a.z, a.w, b.x);
  const float m1 = a.w < 0.0f ? -a.w : a.w, r = b.z < 0.0f ? -b.z : b.z;
  const float reach = approximate_distance(at.hx, at.hy, a.z, m1, b.x);
  // Wider than rounding: 1e-5 relative, for the float logits of the pixels too.
  const float slack = b.y * (d + reach + r) * 1e-5f + 1e-6f;
  Bounds out;
  out.up = b.y * (b.z - sad_max(d - reach, 0.0f)) + slack;
  out.low = b.y * (b.z - (d + reach)) - slack;
  return out;
}

// The k largest of all lanes' pairs, first >= second, by popping the largest k times. Lane 0 holds
// the j-th in what it stores to found[j].
static __device__ __forceinline__ void pop_largest(float first, float second, int k, int lane,
                                                   float* found) {
  for (int j = 0; j < k; ++j) {
    const float largest = warp_max(first);
    const int owner = __ffs(__ballot_sync(kFullWarp, first == largest)) - 1;
    if (lane == owner) {
      first = second;
      second = kLeast;
    }
    if (lane == 0) found[j] = largest;
  }
}

// The k largest of all lanes' lists [k], which are descending.
static __device__ __forceinline__ void merge_largest(const float* list, int k, int lane,
                                                     float* found) {
  int at = 0;
  for (int j = 0; j < k; ++j) {
    const float first = list && at < k ? list[at] : kLeast;
    const float largest = warp_max(first);
    if (lane == __ffs(__ballot_sync(kFullWarp, first == largest)) - 1) ++at;
    if (lane == 0) found[j] = largest;
  }
}

// Which part of the parents' ids is of this block's child.
struct Candidates {
  int begin, end;
};

static __device__ __forceinline__ Candidates candidates_of(int child, const int* parent_offsets,
                                                           int parent_ends, int parents_x,
                                                           int parent_side, int children_x,
                                                           int side) {
  const int parent =
      child / children_x * side / parent_side * parents_x + child % children_x * side / parent_side;
  return Candidates{parent_offsets[parent], parent_offsets[parent_ends + parent]};
}

// What a site's upper bound must reach: the k-th largest lower bound, or the largest less the cut.
// found [warps][k] and best [k] are shared memory.
template <int THREADS>
static __device__ __forceinline__ float threshold_of(const float* sites, const int* parent_ids,
                                                     Candidates of, Rectangle at, int k, float cut,
                                                     float* found, float* best) {
  constexpr int kWarps = THREADS / 32;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  // The two largest lower bounds of each thread: enough to find a threshold that k sites reach,
  // seldom under the k-th largest itself.
  float first = kLeast, second = kLeast;
  for (int i = of.begin + static_cast<int>(threadIdx.x); i < of.end; i += THREADS) {
    const float low = logit_bounds(sites, parent_ids[i], at).low;
    second = sad_max(second, sad_min(first, low));
    first = sad_max(first, low);
  }
  pop_largest(first, second, k, lane, found + warp * k);
  __syncthreads();
  if (warp == 0) merge_largest(lane < kWarps ? found + lane * k : nullptr, k, lane, best);
  __syncthreads();
  return sad_max(best[k - 1], best[0] - cut);
}

// kept [warps] is shared memory.
template <int THREADS>
static __device__ __forceinline__ void count_kept(const float* sites, const int* parent_ids,
                                                  Candidates of, Rectangle at, int k, float cut,
                                                  float* threshold_out, int* count_out,
                                                  float* found, float* best, int* kept) {
  constexpr int kWarps = THREADS / 32;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const float threshold = threshold_of<THREADS>(sites, parent_ids, of, at, k, cut, found, best);
  int count = 0;
  for (int i = of.begin + static_cast<int>(threadIdx.x); i < of.end; i += THREADS)
    count += logit_bounds(sites, parent_ids[i], at).up >= threshold;
  count = warp_sum(count);
  if (lane == 0) kept[warp] = count;
  __syncthreads();
  if (warp == 0) {
    count = warp_sum(lane < kWarps ? kept[lane] : 0);
    if (lane == 0) {
      *threshold_out = threshold;
      *count_out = count;
    }
  }
}

// Returns where the list ends, be there room for it or not. kept [warps] is shared memory.
template <int THREADS>
static __device__ __forceinline__ int fill_kept(const float* sites, const int* parent_ids,
                                                Candidates of, Rectangle at, float threshold,
                                                int at_id, int last, int* ids, int* kept) {
  constexpr int kWarps = THREADS / 32;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int i = of.begin; i < of.end; i += THREADS) {
    const int j = i + static_cast<int>(threadIdx.x);
    const int id = j < of.end ? parent_ids[j] : 0;
    const bool keep = j < of.end && logit_bounds(sites, id, at).up >= threshold;
    const unsigned mask = __ballot_sync(kFullWarp, keep);
    if (lane == 0) kept[warp] = __popc(mask);
    __syncthreads();
    const int own = lane < kWarps ? kept[lane] : 0;
    int up_to = own;  // of the warps up to the lane's number
    SAD_UNROLL
    for (int offset = 1; offset < kWarps; offset *= 2) {
      const int lower = __shfl_up_sync(kFullWarp, up_to, offset);
      if (lane >= offset) up_to += lower;
    }
    const int place =
        at_id + __shfl_sync(kFullWarp, up_to - own, warp) + __popc(mask & ((1u << lane) - 1u));
    at_id += __shfl_sync(kFullWarp, up_to, kWarps - 1);
    if (keep && place < last) ids[place] = id;
    __syncthreads();
  }
  return at_id;
}

// One grid in one launch, for a picture, which does not care for the order of the lists: a list
// lies where the ones before it happened to end. List i is ids[offsets[i]] up to
// ids[offsets[children + i]], those of the parents with parent_ends for the children. totals[grid]
// counts the entries, also those that have no place in ids [capacity].
//
// found [warps][k], best [k], kept [warps], staged [LENGTH] and place [2] are shared memory. A list
// of more than LENGTH sites is found once more, when its place is known.
template <int THREADS, int LENGTH>
static __device__ __forceinline__ void list_kept(const float* sites, const int* parent_ids,
                                                 Candidates of, Rectangle at, int k, float cut,
                                                 int capacity, int* offsets, int* ids,
                                                 unsigned long long* total, float* found,
                                                 float* best, int* kept, int* staged, int* place) {
  const float threshold = threshold_of<THREADS>(sites, parent_ids, of, at, k, cut, found, best);
  const int count =
      fill_kept<THREADS>(sites, parent_ids, of, at, threshold, 0, LENGTH, staged, kept);
  if (threadIdx.x == 0) {
    const unsigned long long most = static_cast<unsigned long long>(capacity);
    const unsigned long long length = static_cast<unsigned long long>(count);
    const unsigned long long begin = atomicAdd(total, length), end = begin + length;
    offsets[blockIdx.x] = place[0] = static_cast<int>(begin < most ? begin : most);
    offsets[gridDim.x + blockIdx.x] = place[1] = static_cast<int>(end < most ? end : most);
  }
  __syncthreads();
  const int begin = place[0], end = place[1];
  if (count > LENGTH) {
    fill_kept<THREADS>(sites, parent_ids, of, at, threshold, begin, end, ids, kept);
  } else {
    for (int i = begin + static_cast<int>(threadIdx.x); i < end; i += THREADS)
      ids[i] = staged[i - begin];
  }
}

}  // namespace sad

using namespace sad;

// thresholds [children]: upper bounds under it do not matter. counts [children]: how many do.
extern "C" __global__ void __launch_bounds__(128, 8)
    filter_count(const float* sites, const int* parent_offsets, const int* parent_ids,
                 float* thresholds, int* counts, int parents_x, int parent_side, int children_x,
                 int side, int x0, int y0, int width, int height, float place_x, float place_y,
                 float step_x, float step_y, float margin, int k, float cut) {
  __shared__ float found[kNarrow / 32 * kMaxK], best[kMaxK];
  __shared__ int kept[kNarrow / 32];
  const int child = blockIdx.x;
  const Place place{place_x, place_y, step_x, step_y, margin};
  const Rectangle at = child_rectangle(child, children_x, side, x0, y0, width, height, place);
  const Candidates of =
      candidates_of(child, parent_offsets, 1, parents_x, parent_side, children_x, side);
  count_kept<kNarrow>(sites, parent_ids, of, at, k, cut, thresholds + child, counts + child, found,
                      best, kept);
}

// Where it can, the compiler makes do with the registers of two blocks at once on a multiprocessor;
// on compute capability 10 it would spill.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ / 100 == 10
#define SAD_WIDE_BOUNDS 1024, 1
#else
#define SAD_WIDE_BOUNDS 1024
#endif

extern "C" __global__ void __launch_bounds__(SAD_WIDE_BOUNDS)
    filter_count_wide(const float* sites, const int* parent_offsets, const int* parent_ids,
                      float* thresholds, int* counts, int parents_x, int parent_side,
                      int children_x, int side, int x0, int y0, int width, int height,
                      float place_x, float place_y, float step_x, float step_y, float margin, int k,
                      float cut) {
  __shared__ float found[kWide / 32 * kMaxK], best[kMaxK];
  __shared__ int kept[kWide / 32];
  const int child = blockIdx.x;
  const Place place{place_x, place_y, step_x, step_y, margin};
  const Rectangle at = child_rectangle(child, children_x, side, x0, y0, width, height, place);
  const Candidates of =
      candidates_of(child, parent_offsets, 1, parents_x, parent_side, children_x, side);
  count_kept<kWide>(sites, parent_ids, of, at, k, cut, thresholds + child, counts + child, found,
                    best, kept);
}

// ids [capacity]: the sites of each child from offsets[child] on, ascending; none behind the list,
// nor behind the end of the memory.
extern "C" __global__ void __launch_bounds__(128)
    filter_fill(const float* sites, const int* parent_offsets, const int* parent_ids,
                const float* thresholds, const int* offsets, int* ids, int parents_x,
                int parent_side, int children_x, int side, int x0, int y0, int width, int height,
                float place_x, float place_y, float step_x, float step_y, float margin) {
  __shared__ int kept[kNarrow / 32];
  const int child = blockIdx.x;
  const Place place{place_x, place_y, step_x, step_y, margin};
  const Rectangle at = child_rectangle(child, children_x, side, x0, y0, width, height, place);
  const Candidates of =
      candidates_of(child, parent_offsets, 1, parents_x, parent_side, children_x, side);
  fill_kept<kNarrow>(sites, parent_ids, of, at, thresholds[child], offsets[child],
                     offsets[child + 1], ids, kept);
}

extern "C" __global__ void __launch_bounds__(1024)
    filter_fill_wide(const float* sites, const int* parent_offsets, const int* parent_ids,
                     const float* thresholds, const int* offsets, int* ids, int parents_x,
                     int parent_side, int children_x, int side, int x0, int y0, int width,
                     int height, float place_x, float place_y, float step_x, float step_y,
                     float margin) {
  __shared__ int kept[kWide / 32];
  const int child = blockIdx.x;
  const Place place{place_x, place_y, step_x, step_y, margin};
  const Rectangle at = child_rectangle(child, children_x, side, x0, y0, width, height, place);
  const Candidates of =
      candidates_of(child, parent_offsets, 1, parents_x, parent_side, children_x, side);
  fill_kept<kWide>(sites, parent_ids, of, at, thresholds[child], offsets[child], offsets[child + 1],
                   ids, kept);
}

extern "C" __global__ void __launch_bounds__(128, 8)
    filter_lists(const float* sites, const int* parent_offsets, const int* parent_ids, int* offsets,
                 int* ids, unsigned long long* totals, int parents_x, int parent_side,
                 int children_x, int side, int x0, int y0, int width, int height, float place_x,
                 float place_y, float step_x, float step_y, float margin, int k, float cut,
                 int parent_ends, int grid, int capacity) {
  __shared__ float found[kNarrow / 32 * kMaxK], best[kMaxK];
  __shared__ int kept[kNarrow / 32];
  __shared__ int staged[kNarrowLength], place_of[2];
  const Place place{place_x, place_y, step_x, step_y, margin};
  const Rectangle at = child_rectangle(blockIdx.x, children_x, side, x0, y0, width, height, place);
  const Candidates of = candidates_of(blockIdx.x, parent_offsets, parent_ends, parents_x,
                                      parent_side, children_x, side);
  list_kept<kNarrow, kNarrowLength>(sites, parent_ids, of, at, k, cut, capacity, offsets, ids,
                                    totals + grid, found, best, kept, staged, place_of);
}

extern "C" __global__ void __launch_bounds__(SAD_WIDE_BOUNDS)
    filter_lists_wide(const float* sites, const int* parent_offsets, const int* parent_ids,
                      int* offsets, int* ids, unsigned long long* totals, int parents_x,
                      int parent_side, int children_x, int side, int x0, int y0, int width,
                      int height, float place_x, float place_y, float step_x, float step_y,
                      float margin, int k, float cut, int parent_ends, int grid, int capacity) {
  __shared__ float found[kWide / 32 * kMaxK], best[kMaxK];
  __shared__ int kept[kWide / 32];
  __shared__ int staged[kWideLength], place_of[2];
  const Place place{place_x, place_y, step_x, step_y, margin};
  const Rectangle at = child_rectangle(blockIdx.x, children_x, side, x0, y0, width, height, place);
  const Candidates of = candidates_of(blockIdx.x, parent_offsets, parent_ends, parents_x,
                                      parent_side, children_x, side);
  list_kept<kWide, kWideLength>(sites, parent_ids, of, at, k, cut, capacity, offsets, ids,
                                totals + grid, found, best, kept, staged, place_of);
}

// Exclusive sums of counts [n] into offsets [n + 1], none above `capacity`; total [1] is the sum
// itself. One block.
extern "C" __global__ void __launch_bounds__(1024)
    scan_counts(const int* counts, int* offsets, long long* total, int n, int capacity) {
  constexpr int kEach = 4;
  __shared__ long long sums[32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  long long before = 0;
  for (int base = 0; base < n; base += 1024 * kEach) {
    const int start = base + static_cast<int>(threadIdx.x) * kEach;
    long long mine = 0;
    for (int i = start; i < start + kEach && i < n; ++i) mine += counts[i];
    long long up_to = mine;  // including this lane
    for (int offset = 1; offset < 32; offset *= 2) {
      const long long lower = __shfl_up_sync(kFullWarp, up_to, offset);
      if (lane >= offset) up_to += lower;
    }
    if (lane == 31) sums[warp] = up_to;
    __syncthreads();
    long long sum = before + up_to - mine;
    for (int w = 0; w < 32; ++w) {
      if (w < warp) sum += sums[w];
      before += sums[w];
    }
    for (int i = start; i < start + kEach && i < n; ++i) {
      offsets[i] = static_cast<int>(sum < capacity ? sum : capacity);
      sum += counts[i];
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) {
    offsets[n] = static_cast<int>(before < capacity ? before : capacity);
    total[0] = before;
  }
}

// Where each site's entries begin in `order`, which sorts the entries by site: starts [sites + 1].
// Entries without a site hold the number of sites.
extern "C" __global__ void __launch_bounds__(256)
    site_starts(const int* ids, const long long* order, int* starts, int entries, int count) {
  const long long e = static_cast<long long>(blockIdx.x) * 256 + threadIdx.x;
  if (e > entries) return;
  const int site = e < entries ? ids[order[e]] : count;
  const int before = e > 0 ? ids[order[e - 1]] : -1;
  for (int s = before + 1; s <= site && s <= count; ++s) starts[s] = static_cast<int>(e);
}
