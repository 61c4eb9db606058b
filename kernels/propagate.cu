// The top-K map of the paper (Iinbor, Dou and Matusik, arXiv 2604.21984): each pixel keeps a list
// of K sites, and gets to know others from its neighbours, by chance, and along a Hilbert curve of
// the sites.
//
// A list is int32 [K], sorted by logit, largest first, ties to the lower id; -1 where there are
// fewer sites. A pass reads one map and writes another. What a pass looks at is in sad_propagate.h,
// which the CPU backend has in common.
#include "cuda_common.cuh"
#include "sad_propagate.h"

namespace {

using namespace sad;

constexpr int kThreads = 256;
constexpr float kWorst = -3e38f;  // logit of no site
constexpr int kNone = 0x7fffffff;
constexpr int kWarps = 4;  // of a block that collects: a tile each

// The K best sites so far, in registers: every index below is known when compiling.
struct Best {
  float logits[SAD_K];
  int ids[SAD_K];
};

__device__ __forceinline__ void clear(Best& best) {
#pragma unroll
  for (int j = 0; j < SAD_K; ++j) best.logits[j] = kWorst, best.ids[j] = kNone;
}

// Takes up a site of the diagram if it is among the K best and not known yet; other ids are none.
__device__ __forceinline__ void consider(Best& best, const float* sites, int count, int id, float x,
                                         float y) {
  if (id < 0 || id >= count) return;
  bool known = false;
#pragma unroll
  for (int j = 0; j < SAD_K; ++j) known |= best.ids[j] == id;
  if (known) return;
  const PreparedSite s = load_site(sites, id);
  float logit = sad_site_logit(s, x, y);
  if (logit < best.logits[SAD_K - 1]) return;
#pragma unroll
  for (int j = 0; j < SAD_K; ++j) {
    const float other = best.logits[j];
    const int other_id = best.ids[j];
    const bool ahead = sad_ahead(logit, id, other, other_id);
    best.logits[j] = ahead ? logit : other;
    best.ids[j] = ahead ? id : other_id;
    logit = ahead ? other : logit;
    id = ahead ? other_id : id;
  }
}

__device__ __forceinline__ void store(const Best& best, int* list) {
#pragma unroll
  for (int j = 0; j < SAD_K; ++j) list[j] = best.ids[j] == kNone ? -1 : best.ids[j];
}

}  // namespace

// Keys to sort the sites by along the curve: the place above the id, so that no two are equal.
extern "C" __global__ void __launch_bounds__(256)
    curve_keys(const float* sites, long long* keys, int count, int width, int height) {
  const int site = static_cast<int>(blockIdx.x) * kThreads + threadIdx.x;
  if (site >= count) return;
  const float* s = sites + 16ll * site;
  keys[site] = sad_curve_key(s[0], s[1], width, height, site);
}

// From the sorting permutation: the places, the sites along the curve, and where each site is.
extern "C" __global__ void __launch_bounds__(256)
    curve_ranks(const long long* keys, const long long* sorted, int* places, int* order, int* ranks,
                int count) {
  const int rank = static_cast<int>(blockIdx.x) * kThreads + threadIdx.x;
  if (rank >= count) return;
  const int site = static_cast<int>(sorted[rank]);
  places[rank] = static_cast<int>(keys[site] >> 32);
  order[rank] = site;
  ranks[site] = rank;
}

// First lists: the K best of the 2 K sites around the pixel's own place on the curve.
extern "C" __global__ void __launch_bounds__(256)
    first_lists(const float* sites, const int* places, const int* order, int* ids, int count,
                int width, int height) {
  const long long pixel = static_cast<long long>(blockIdx.x) * kThreads + threadIdx.x;
  if (pixel >= static_cast<long long>(width) * height) return;
  const float x = static_cast<float>(static_cast<int>(pixel % width)) + 0.5f;
  const float y = static_cast<float>(static_cast<int>(pixel / width)) + 0.5f;
  const int own = static_cast<int>(sad_curve_place(x, y, width, height));
  int low = 0, high = count;  // the first site at or behind the pixel's place
  while (low < high) {
    const int middle = (low + high) / 2;
    if (places[middle] < own)
      low = middle + 1;
    else
      high = middle;
  }
  Best best;
  clear(best);
  const int begin = sad_curve_begin(low, count, SAD_K);
  const int end = min(begin + 2 * SAD_K, count);
#pragma unroll 1
  for (int rank = begin; rank < end; ++rank) consider(best, sites, count, order[rank], x, y);
  store(best, ids + pixel * SAD_K);
}

// One pass. A pixel merges its list with those of the four pixels at `distance`, one site near its
// best along the curve, and `injected` sites drawn from all of them.
extern "C" __global__ void __launch_bounds__(256)
    propagate(const float* sites, const int* order, const int* ranks, const int* old, int* ids,
              int count, int width, int height, int distance, int injected, unsigned long long seed,
              int pass) {
  const long long pixel = static_cast<long long>(blockIdx.x) * kThreads + threadIdx.x;
  if (pixel >= static_cast<long long>(width) * height) return;
  const int column = static_cast<int>(pixel % width), row = static_cast<int>(pixel / width);
  const float x = static_cast<float>(column) + 0.5f, y = static_cast<float>(row) + 0.5f;
  Best best;
  clear(best);
#pragma unroll 1
  for (int n = 0; n < kMapNeighbours; ++n) {
    const int dx = sad_neighbour_dx(n, distance), dy = sad_neighbour_dy(n, distance);
    if (column + dx < 0 || column + dx >= width || row + dy < 0 || row + dy >= height) continue;
    const int* list = old + (pixel + static_cast<long long>(dy) * width + dx) * SAD_K;
#pragma unroll 1
    for (int j = 0; j < SAD_K; ++j) consider(best, sites, count, list[j], x, y);
  }
  const unsigned long long key = sad_pass_key(seed, pass);
  if (best.ids[0] != kNone) {
    const unsigned long long bits = sad_pixel_bits(key, pixel, injected, 0);
    const int rank = sad_probe_rank(bits, ranks[best.ids[0]]);
    if (rank >= 0 && rank < count) consider(best, sites, count, order[rank], x, y);
  }
#pragma unroll 1
  for (int j = 1; j <= injected; ++j) {
    const unsigned long long bits = sad_pixel_bits(key, pixel, injected, j);
    consider(best, sites, count, sad_random_below(bits, count), x, y);
  }
  store(best, ids + pixel * SAD_K);
}

// After sites were dropped or renumbered: index[old id] is the new id, or -1. What is left of a
// list keeps its order and moves to the front.
extern "C" __global__ void __launch_bounds__(256)
    remap_lists(const int* index, int* ids, int old_count, long long pixels) {
  const long long pixel = static_cast<long long>(blockIdx.x) * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
  int* list = ids + pixel * SAD_K;
  int kept = 0;
  for (int j = 0; j < SAD_K; ++j) {
    const int old = list[j];
    const int id = old >= 0 && old < old_count ? index[old] : -1;
    if (id >= 0) list[kept++] = id;
  }
  for (; kept < SAD_K; ++kept) list[kept] = -1;
}

// ---- Tile lists out of the map --------------------------------------------------------------

namespace {

constexpr int kRoom = kTilePixels * SAD_K <= 64    ? 64
                      : kTilePixels * SAD_K <= 128 ? 128
                      : kTilePixels * SAD_K <= 256 ? 256
                      : kTilePixels * SAD_K <= 512 ? 512
                                                   : 1024;

// Bitonic sort of `room` numbers, a power of two of 64 or more, by one warp.
__device__ __forceinline__ void sort_ids(int* ids, int room, int lane) {
  for (int size = 2; size <= room; size *= 2) {
    for (int stride = size / 2; stride > 0; stride /= 2) {
      for (int i = lane; i < room / 2; i += 32) {
        const int a = 2 * i - (i & (stride - 1)), b = a + stride;
        const int first = ids[a], second = ids[b];
        if ((first > second) == ((a & size) == 0)) ids[a] = second, ids[b] = first;
      }
      __syncwarp();
    }
  }
}

// Gathers the distinct ids of the lists of a tile's pixels, ascending, by one warp.
__device__ __forceinline__ int distinct_ids(const int* map, int tile, int width, int height,
                                            int* ids) {
  const int lane = threadIdx.x % 32, across = (width + kTile - 1) / kTile;
  const int x0 = tile % across * kTile, y0 = tile / across * kTile;
  const unsigned before = (1u << lane) - 1u;
  // Neighbours have nearly the same lists: an id that the pixel to the left has too (in the first
  // column, the pixel above) was taken there.
  int taken = 0;
  for (int part = 0; part < kTilePixels; part += 32) {
    const int x = x0 + lane % kTile, y = y0 + (part + lane) / kTile;
    const bool inside = x < width && y < height;
    const int* list = map + (static_cast<long long>(y) * width + x) * SAD_K;
    const bool first = x == x0 && y == y0;
    const int* other = x > x0 ? list - SAD_K : list - static_cast<long long>(width) * SAD_K;
    for (int j = 0; j < SAD_K; ++j) {
      const int id = inside ? list[j] : -1;
      bool fresh = id >= 0;
      if (fresh && !first) {
        for (int i = 0; i < SAD_K; ++i) fresh &= other[i] != id;
      }
      const unsigned voices = __ballot_sync(kFullWarp, fresh);
      if (fresh) ids[taken + __popc(voices & before)] = id;
      taken += __popc(voices);
    }
  }
  int room = 64;
  while (room < taken) room *= 2;
  for (int i = taken + lane; i < room; i += 32) ids[i] = kNone;
  __syncwarp();
  sort_ids(ids, room, lane);

  int count = 0;
  for (int i = lane; i < room; i += 32) {
    const int id = ids[i], previous = i > 0 ? ids[i - 1] : -1;
    const bool distinct = id != kNone && id != previous;
    const unsigned voices = __ballot_sync(kFullWarp, distinct);
    // All have read before one writes, which a vote alone does not ensure. Writes reach no further
    // than what was read, and the last of it, which the next turn reads, only if nothing was left
    // out and it stays as it is.
    __syncwarp();
    if (distinct) ids[count + __popc(voices & before)] = id;
    count += __popc(voices);
    __syncwarp();
  }
  return count;
}

}  // namespace

// Number of sites in the lists of each tile's pixels; a warp a tile, in raster order.
extern "C" __global__ void __launch_bounds__(128)
    collect_count(const int* map, int* counts, int width, int height, int tiles) {
  __shared__ int ids[kWarps][kRoom];
  const int warp = threadIdx.x / 32, tile = static_cast<int>(blockIdx.x) * kWarps + warp;
  if (tile >= tiles) return;
  const int count = distinct_ids(map, tile, width, height, ids[warp]);
  if (threadIdx.x % 32 == 0) counts[tile] = count;
}

// The ids themselves, ascending, from entries[offsets[tile]] on, up to where the next list begins:
// offsets [tiles + 1] that end early, because the memory does, cut lists short.
extern "C" __global__ void __launch_bounds__(128)
    collect_fill(const int* map, const int* offsets, int* entries, int width, int height,
                 int tiles) {
  __shared__ int ids[kWarps][kRoom];
  const int warp = threadIdx.x / 32, tile = static_cast<int>(blockIdx.x) * kWarps + warp;
  if (tile >= tiles) return;
  const int count = distinct_ids(map, tile, width, height, ids[warp]);
  const int begin = offsets[tile], end = min(begin + count, offsets[tile + 1]);
  for (int i = begin + threadIdx.x % 32; i < end; i += 32) entries[i] = ids[warp][i - begin];
}
