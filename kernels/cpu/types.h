// Plain structs that cross from the portable part of the CPU core to its per-instruction-set part.
// No standard containers here: the per-instruction-set file must not instantiate inline functions
// that the linker could then hand to an older processor.
#ifndef SAD_CPU_TYPES_H_
#define SAD_CPU_TYPES_H_

#include <cstddef>
#include <cstdint>

#include "../sad_core.h"

namespace sad {

constexpr int kTile = 8;     // px, side of the tile that has a candidate list
constexpr int kUnit = 128;   // px, side of the square that one thread works on at a time
constexpr int kSuper = 1024; // px, side of the square whose list the units start from
constexpr int kTilePixels = kTile * kTile;
constexpr int kBlocks = 8;   // 4 compact 4x4 blocks, then 4 phases of one pixel in 2x2
constexpr int kDescentList = 12;  // sites a pixel keeps during the integer descent

// Site columns as separate arrays, padded to a multiple of 16.
struct SiteColumns {
  float *x, *y, *m0, *m1, *m2, *tau, *radius;
  int32_t* id;
  int count;
};

// Growable memory owned by the caller; the per-instruction-set code asks for more through `grow`.
struct Scratch {
  float* data = nullptr;
  size_t capacity = 0;
  float* (*grow)(Scratch*, size_t) = nullptr;
  float* need(size_t n) { return n <= capacity ? data : grow(this, n); }
};

struct UnitScratch {
  Scratch *super, *unit, *mid, *tile;  // site columns of each level
  Scratch* work;                       // bounds of a filter, logits of a tile
};

struct FilterOptions {
  int k;      // sites a pixel needs
  float cut;  // logits further under a pixel's maximum may be dropped
};

// Called for every 8x8 tile of a unit, in raster order of 32-px squares.
using TileVisitor = void (*)(void* context, int x0, int y0, const int32_t* ids, int count,
                             UnitScratch* scratch);

struct RenderTarget {
  const PreparedSite* sites;
  const float* params;  // [N, 6 + C], for the exact path
  float* out;           // [height, width, C]
  int width, height, channels, k;
  bool exact;  // every pixel in double
};

// One tile of the gradient pass. Pixel values are stored block by block (see kBlocks), 16 lanes
// each: target[block][channel][lane].
struct GradientTile {
  const PreparedSite* sites;
  const int32_t* ids;
  int count;
  const float* target;
  float* sums;  // [count][6 + C], written whole
  int x0, y0, width, height, channels, k;
  int phase;    // -1: all pixels
  float cut, scale;
};

struct StatisticsTile {
  const PreparedSite* sites;
  const int32_t* ids;
  int count;
  const float* target;
  float* out;  // [count][3]: mass, responsibility-weighted squared error, removal delta
  int x0, y0, width, height, channels, k;
};

// Lists of a pixel's best kDescentList sites, sorted by logit.
struct DescentLists {
  int32_t* ids;   // [pixels][kDescentList], -1 where fewer
  float* logits;  // [pixels][kDescentList], -1e30 where fewer
};

// What one site's pixels need for trying moves of that site.
struct DescentPixels {
  const int32_t* entries;  // pixel * kDescentList + slot
  int count;
  DescentLists lists;
  const float* colors;  // [N][4]
  const float* target;  // [pixels][C]
  int width, channels, k;
};

struct DescentGroup;  // 16 pixels, prepared; see descent.h

struct Kernels {
  const char* name;
  void (*filter_super)(const SiteColumns& all, float x0, float y0, float x1, float y1,
                       FilterOptions options, UnitScratch* scratch, SiteColumns* out);
  void (*visit_unit)(const SiteColumns& sites, int ux, int uy, int width, int height,
                     FilterOptions options, UnitScratch* scratch, TileVisitor visit,
                     void* context);
  void (*render_tile)(const RenderTarget& target, int x0, int y0, const int32_t* ids, int count,
                      UnitScratch* scratch);
  float (*gradient_tile)(const GradientTile& tile, Scratch* scratch);
  void (*statistics_tile)(const StatisticsTile& tile, Scratch* scratch);
  void (*list_tile)(const PreparedSite* sites, int x0, int y0, int width, int height,
                    const int32_t* ids, int count, DescentLists lists, Scratch* scratch);
  void (*descent_setup)(const DescentPixels& pixels, Scratch* groups, Scratch* scratch);
  // Squared error of the pixels with the site as given; logits (may be null) receives its logits.
  double (*descent_error)(const DescentPixels& pixels, const float* groups,
                          const PreparedSite& site, float* logits);
  // Sums for the best colour step along `direction`: (sum of a r.d, sum of a^2).
  void (*descent_color)(const DescentPixels& pixels, const float* groups,
                        const PreparedSite& site, const float* direction, double* out);
};

const Kernels& kernels();               // the best set this processor runs
const Kernels* kernels(const char* name);  // by name; null if not built or not runnable

}  // namespace sad
#endif  // SAD_CPU_TYPES_H_
