// One class of a sweep: every site of it tries its moves, a block each. No two sites of a class
// share a pixel's list, so what a block reads is written by no other.
//
// Trials that exclude one another (one up, one down) are evaluated in one pass over the site's
// pixels, and the first one that is good enough is taken: the result is that of trying them in
// turn. A pass costs a logit, an exp and a blend for each pixel and trial.
#include "refine.cuh"

namespace sad {

constexpr int kGeometryTrials = 2, kColorTrials = 3;
constexpr int kColorSums = kMaxChannels + 1;   // along each axis, and of the squared weights
constexpr unsigned kGeometryOrder = 0x510432;  // columns, a hexadecimal digit each, last first

struct Trial {
  PreparedSite site;
  double rate;  // lambda times bits
  int row[kMaxRow];
  int valid;
};

// Shared by the block.
struct Visit {
  Trial best, trials[kColorTrials];
  double cost;  // of `best`
  float partial[kSiteWarps * kColorSums];
  float along[kMaxChannels], square;
  float steps[kMaxChannels];                             // of the site's colours
  int prediction[kMaxRow], reach[kMaxRow], at[kMaxRow];  // `at`: where a difference of 0 is
  int taken, moved;
};

// What stays the same during a sweep; see the kernels.
struct Sweep {
  const long long* order;
  const float *target, *weights, *axes, *prepared, *bits;
  const int *bounds, *first_angle;
  float *sites, *others;
  double lambda, position, radius;
  int width, levels, channels, weighted;
};

struct Range {
  int begin, end;  // in `order`
};

struct Pixel {
  int number;
  float x, y;
};

static __device__ __forceinline__ Pixel pixel_at(const Sweep& s, int entry) {
  Pixel p;
  p.number = static_cast<int>(s.order[entry] / kListLength);
  const int row = p.number / s.width;
  p.x = static_cast<float>(p.number - row * s.width) + 0.5f;
  p.y = static_cast<float>(row) + 0.5f;
  return p;
}

// Others lie in memory as three vectors a pixel.
static __device__ __forceinline__ void store_others(float* to, int pixel, const Others& o) {
  const float head[4] = {o.reference, o.total, o.threshold, o.last};
  store4(to, 3ll * pixel, head);
  store4(to, 3ll * pixel + 1, o.blend);
  store4(to, 3ll * pixel + 2, o.last_blend);
}

static __device__ __forceinline__ Others load_others(const float* from, int pixel) {
  float head[4];
  Others o;
  load4(from, 3ll * pixel, head);
  load4(from, 3ll * pixel + 1, o.blend);
  load4(from, 3ll * pixel + 2, o.last_blend);
  o.reference = head[0];
  o.total = head[1];
  o.threshold = head[2];
  o.last = head[3];
  return o;
}

static __device__ __forceinline__ float error_with(const Sweep& s, const Others& others, int pixel,
                                                   float logit, const float* color) {
  float value[kMaxChannels], goal[kMaxChannels];
  sad_value_with(others, logit, color, value);
  load4(s.target, pixel, goal);
  return sad_clamped_error(value, goal) * (s.weighted ? s.weights[pixel] : 1.0f);
}

// Sum up the pixels' other sites, and the error with the site as it is.
static __device__ __forceinline__ void set_out(const Sweep& s, const Lists& lists, Range range,
                                               int site, int k, float* partial) {
  const PreparedSite own = load_site(s.sites, site);
  LongSum sum{0.0f, 0.0f};
  for (int e = range.begin + static_cast<int>(threadIdx.x); e < range.end; e += kSiteThreads) {
    const Pixel p = pixel_at(s, e);
    const Others others = others_of(lists, s.sites, p.number, site, k);
    store_others(s.others, p.number, others);
    sad_add(&sum, error_with(s, others, p.number, logit_at(own, p.x, p.y), own.color));
  }
  warp_sums<1>(&sum.sum, partial);
}

// Squared errors of TRIALS trials; those of one geometry have one logit.
template <int TRIALS, bool ONE_GEOMETRY>
static __device__ __forceinline__ void try_out(const Sweep& s, Range range, const Trial* trials,
                                               float* partial) {
  PreparedSite site[TRIALS];
  LongSum sums[TRIALS];
  SAD_UNROLL
  for (int t = 0; t < TRIALS; ++t) {
    site[t] = trials[t].site;
    sums[t].sum = sums[t].lost = 0.0f;
  }
  for (int e = range.begin + static_cast<int>(threadIdx.x); e < range.end; e += kSiteThreads) {
    const Pixel p = pixel_at(s, e);
    const Others others = load_others(s.others, p.number);
    SAD_UNROLL
    for (int t = 0; t < TRIALS; ++t) {
      const float logit = logit_at(site[ONE_GEOMETRY ? 0 : t], p.x, p.y);
      sad_add(&sums[t], error_with(s, others, p.number, logit, site[t].color));
    }
  }
  float values[TRIALS];
  SAD_UNROLL
  for (int t = 0; t < TRIALS; ++t) values[t] = sums[t].sum;
  warp_sums<TRIALS>(values, partial);
}

// Normal equations of the site's colour along every axis, of the blend before clamping. The axes
// are orthonormal, so that a change along one does not alter the equations of the others.
static __device__ __forceinline__ void color_sums(const Sweep& s, Range range,
                                                  const PreparedSite& site, float* partial) {
  LongSum sums[kColorSums];
  SAD_UNROLL
  for (int j = 0; j < kColorSums; ++j) sums[j].sum = sums[j].lost = 0.0f;
  for (int e = range.begin + static_cast<int>(threadIdx.x); e < range.end; e += kSiteThreads) {
    const Pixel p = pixel_at(s, e);
    float value[kMaxChannels], goal[kMaxChannels];
    const float a = sad_value_with(load_others(s.others, p.number), logit_at(site, p.x, p.y),
                                   site.color, value);
    load4(s.target, p.number, goal);
    const float weighted = a * (s.weighted ? s.weights[p.number] : 1.0f);
    SAD_UNROLL
    for (int c = 0; c < kMaxChannels; ++c) sad_add(&sums[c], weighted * (goal[c] - value[c]));
    sad_add(&sums[kMaxChannels], weighted * a);
  }
  float values[kColorSums];
  SAD_UNROLL
  for (int j = 0; j < kColorSums; ++j) values[j] = sums[j].sum;
  warp_sums<kColorSums>(values, partial);
}

// ---- What one thread does ------------------------------------------------------------------

static __device__ __forceinline__ double rate_of(const Sweep& s, const Visit& v, const int* row) {
  if (!(s.lambda > 0.0)) return 0.0;
  double bits = 0.0;
#pragma unroll 1
  for (int c = kRowLogTau; c < kRowColor + s.channels; ++c) {
    if (v.reach[c] == 0) continue;
    const long long difference = static_cast<long long>(row[c]) - v.prediction[c];
    const int reach = v.reach[c];
    const int at = difference < -reach  ? -reach
                   : difference > reach ? reach
                                        : static_cast<int>(difference);
    bits += s.bits[v.at[c] + at];
  }
  return s.lambda * bits;
}

// The trial of one column, up or down, from the best so far.
static __device__ __forceinline__ void set_geometry(const Sweep& s, Visit* v, int number,
                                                    int column) {
  Trial& t = v->trials[number];
  t = v->best;
  const bool moved = sad_move_symbol(t.row, column, number == 0 ? 1 : -1, s.bounds, s.first_angle);
  float color[kMaxChannels];
  t.valid = sad_symbol_color(t.row + kRowColor, v->steps, s.axes, s.channels, color) && moved;
  if (!t.valid) return;
  if (column == kRowX) {
    t.site.x = static_cast<float>((t.row[kRowX] + 0.5) * s.position);
  } else if (column == kRowY) {
    t.site.y = static_cast<float>((t.row[kRowY] + 0.5) * s.position);
  } else if (column == kRowRadius) {
    t.site.radius = static_cast<float>(t.row[kRowRadius] * s.radius);
  } else if (column == kRowLogTau) {
    const int at = s.first_angle[s.levels] + t.row[kRowLogTau] - s.bounds[2 * kRowLogTau];
    t.site.tau = s.prepared[16ll * at + 5];
  } else {
    const int at = s.first_angle[t.row[kRowAnisotropy]] + t.row[kRowAngle];
    t.site.m0 = s.prepared[16ll * at + 2];
    t.site.m1 = s.prepared[16ll * at + 3];
    t.site.m2 = s.prepared[16ll * at + 4];
  }
  t.rate = rate_of(s, *v, t.row);
}

static __device__ __forceinline__ void set_color(const Sweep& s, Visit* v, int number, int axis) {
  Trial& t = v->trials[number];
  t = v->best;
  t.valid = 0;
  const float square = v->square;
  if (!(square > kLeastSquare)) return;
  int moves[kColorTrials];
  sad_color_moves(v->along[axis] / (square * v->steps[axis]), s.lambda > 0.0, moves);
  const int move = number == 0 ? moves[0] : number == 1 ? moves[1] : moves[2];
  t.row[kRowColor + axis] += move;
  t.valid =
      move != 0 && sad_symbol_color(t.row + kRowColor, v->steps, s.axes, s.channels, t.site.color);
  t.rate = rate_of(s, *v, t.row);
}

// Take the first trial that is good enough.
template <int TRIALS>
static __device__ __forceinline__ bool take(Visit* v) {
  for (int t = 0; t < TRIALS; ++t) {
    if (!v->trials[t].valid) continue;
    const double cost = block_sum<TRIALS>(v->partial, t) + v->trials[t].rate;
    if (!(cost < v->cost * (1.0 - kLeastGain))) continue;
    v->cost = cost;
    v->best = v->trials[t];
    ++v->taken;
    return true;
  }
  return false;
}

// ---- The whole block -------------------------------------------------------------------------

static __device__ __forceinline__ void visit(const Sweep& s, Visit* v, Range range,
                                             int geometry_steps) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll 1  // one text for all columns
  for (int step = 0; step < geometry_steps; ++step) {
    const int column = kGeometryOrder >> (4 * step) & 15;
    if (warp == 0 && lane < kGeometryTrials) set_geometry(s, v, lane, column);
    __syncthreads();
    try_out<kGeometryTrials, false>(s, range, v->trials, v->partial);
    __syncthreads();
    if (warp == 0) {
      if (lane == 0 && take<kGeometryTrials>(v)) v->moved = 1;
      __syncwarp();
    }
  }
  __syncthreads();
  color_sums(s, range, v->best.site, v->partial);
  __syncthreads();
  if (warp == 0) {
    if (lane < s.channels) {
      float along = 0.0f;
      for (int c = 0; c < s.channels; ++c)
        along = along + block_sum<kColorSums>(v->partial, c) * s.axes[lane * s.channels + c];
      v->along[lane] = along;
    }
    if (lane == 0) v->square = block_sum<kColorSums>(v->partial, kMaxChannels);
    __syncwarp();
  }
#pragma unroll 1
  for (int axis = 0; axis < s.channels; ++axis) {
    if (warp == 0 && lane < kColorTrials) set_color(s, v, lane, axis);
    __syncthreads();
    try_out<kColorTrials, true>(s, range, v->trials, v->partial);
    __syncthreads();
    if (warp == 0) {
      if (lane == 0) take<kColorTrials>(v);
      __syncwarp();
    }
  }
  __syncthreads();
}

// Bring a moved site to its place in its pixels' lists.
static __device__ __forceinline__ void move_in_lists(const Sweep& s, const PreparedSite& moved,
                                                     Range range, int site, int none, int* ids,
                                                     float* logits) {
  for (int e = range.begin + static_cast<int>(threadIdx.x); e < range.end; e += kSiteThreads) {
    const Pixel p = pixel_at(s, e);
    const float value = logit_at(moved, p.x, p.y);
    int* id = ids + static_cast<long long>(p.number) * kListLength;
    float* logit = logits + static_cast<long long>(p.number) * kListLength;
    int slot = 0;
    while (id[slot] != site) ++slot;
    for (; slot > 0 && logit[slot - 1] < value; --slot) {
      logit[slot] = logit[slot - 1];
      id[slot] = id[slot - 1];
    }
    for (; slot + 1 < kListLength && id[slot + 1] != none && logit[slot + 1] > value; ++slot) {
      logit[slot] = logit[slot + 1];
      id[slot] = id[slot + 1];
    }
    logit[slot] = value;
    id[slot] = site;
  }
}

}  // namespace sad

using namespace sad;

// The sites visits [first + block], block < size; blocks behind them have nothing to do. Symbols
// [N][6 + C] and sites [N][16] of these are changed, and their pixels' lists; taken [1] grows by
// the number of moves.
//
// order, starts: the lists' places by site. others [P][12]: memory for one class. target [P][4];
// weights [P], read if `weighted`. color_steps [N][C], axes [C][C]. bounds [6][2] and first_angle
// [L + 1] as in sad_move_symbol. prepared [first_angle[L] + ...][16]: sites of every direction,
// then of every log_tau symbol from the least on. Costs: predictions and places [6 + C][N], the
// place of the difference 0 in `bits`; reaches [6 + C], 0 for a column without a cost.
extern "C" __global__ void __launch_bounds__(192, 3)
    refine_sweep(const long long* order, const int* starts, const int* visits, float* sites,
                 int* symbols, int* list_ids, float* list_logits, float* others,
                 const float* target, const float* weights, const float* color_steps,
                 const float* axes, const int* bounds, const int* first_angle,
                 const float* prepared, const int* predictions, const int* places,
                 const int* reaches, const float* bits, int* taken, double lambda, double position,
                 double radius, int first, int size, int width, int count, int k, int levels,
                 int channels, int weighted, int geometry) {
  __shared__ Visit v;
  if (static_cast<int>(blockIdx.x) >= size) return;
  const int site = visits[first + blockIdx.x], columns = kRowColor + channels;
  const Sweep s{order,  target, weights,  axes,   prepared, bits,   bounds,   first_angle, sites,
                others, lambda, position, radius, width,    levels, channels, weighted};
  const Range range{starts[site], starts[site + 1]};
  const int i = static_cast<int>(threadIdx.x);
  if (i < columns) {
    v.best.row[i] = symbols[static_cast<long long>(site) * columns + i];
    v.prediction[i] = predictions[static_cast<long long>(i) * count + site];
    v.at[i] = places[static_cast<long long>(i) * count + site];
    v.reach[i] = reaches[i];
  }
  if (i < channels) v.steps[i] = color_steps[static_cast<long long>(site) * channels + i];
  set_out(s, Lists{list_ids, list_logits, count}, range, site, k, v.partial);
  __syncthreads();
  if (i == 0) {
    v.best.site = load_site(sites, site);
    v.best.rate = rate_of(s, v, v.best.row);
    v.cost = block_sum<1>(v.partial, 0) + v.best.rate;
    v.taken = v.moved = 0;
  }
  if (i < 32) __syncwarp();
  // The radius is tried last, where there is a column of it.
  const int steps = bounds[2 * kRowRadius] < bounds[2 * kRowRadius + 1] ? 6 : 5;
  visit(s, &v, range, geometry ? steps : 0);
  if (v.taken == 0) return;
  if (i < columns) symbols[static_cast<long long>(site) * columns + i] = v.best.row[i];
  if (i == 0) {
    store_site(sites, site, v.best.site);
    atomicAdd(taken, v.taken);
  }
  if (v.moved) move_in_lists(s, v.best.site, range, site, count, list_ids, list_logits);
}
