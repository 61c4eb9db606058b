// Plain structs that cross from the portable part of the CPU core to its per-instruction-set part.
// No standard containers here: the per-instruction-set file must not instantiate inline functions
// that the linker could then hand to an older processor.
#ifndef SAD_CPU_TYPES_H_
#define SAD_CPU_TYPES_H_

#include <cstddef>
#include <cstdint>

#include "../bmp_core.h"
#include "../sad_core.h"

namespace sad {

constexpr int kTile = 8;      // px, side of the tile that has a candidate list
constexpr int kSquare = 32;   // px, side of the square whose tiles share a list of sites in a fit
constexpr int kUnit = 128;    // px, side of the square that one thread works on at a time
constexpr int kSuper = 1024;  // px, side of the square whose list the units start from
constexpr int kTilePixels = kTile * kTile;
constexpr int kSquareTiles = (kSquare / kTile) * (kSquare / kTile);
constexpr int kBlocks = 8;        // 4 compact 4x4 blocks, then 4 phases of one pixel in 2x2
constexpr int kDescentList = 12;  // sites a pixel keeps during the integer descent
// Per site: mass, then its error, and the error times dx, dy, dx^2, dx dy, dy^2 from the site.
constexpr int kMoments = 7;

// Radius of what pads site columns: a logit under that of any site.
constexpr float kNowhere = -1e30f;

// Site columns as separate arrays, padded to a multiple of 16. `reach` is the metric length of the
// longest corner offset of a square of half-side 1.
struct SiteColumns {
  float *x, *y, *m0, *m1, *m2, *tau, *radius, *reach;
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

// Bounds of what drawing a diagram may cost: a hostile one makes every site a candidate everywhere.
struct WorkBudget {
  // Takes evaluations (one site at one pixel, or over one square) from the budget; false once it is
  // used up.
  bool (*spend)(WorkBudget*, int64_t evaluations);
  void (*refuse)(WorkBudget*);  // uses up what is left
  int unit, square, tile;       // longest lists
};

// Where a raster of pixels lies in the picture: the centre of column i is at x0 + (i + 0.5) step_x.
// The picture's own pixels by default.
struct Raster {
  double x0 = 0.0, y0 = 0.0, step_x = 1.0, step_y = 1.0;
  float margin = 0.0f;  // px by which rounding moves a corner of a rectangle at most
};

// Part of a raster: pixels from (x0, y0) up to (x1, y1), without these.
struct Extent {
  int x0, y0, x1, y1;
};

struct FilterOptions {
  int k;                         // sites a pixel needs
  float cut;                     // logits further under a pixel's maximum may be dropped
  WorkBudget* budget = nullptr;  // null: no bounds
  Raster raster = {};
  // Tiles' lists that depend on nothing but the tile and the sites that matter there.
  bool canonical = false;
  bool cull = false;   // filter the sites for squares of kSuper also where there is only one
  bool cells = false;  // visit each pixel of a tile on its own
};

// Called for every 8x8 tile of a unit, in raster order of 32-px squares.
using TileVisitor = void (*)(void* context, int x0, int y0, const int32_t* ids, int count,
                             UnitScratch* scratch);

struct RenderTarget {
  const PreparedSite* sites;
  const float* params;  // [N, 6 + C], for the exact path
  float* out;           // [rows, columns, C] of `window`
  Extent window;
  int channels, k;
  bool exact;  // every pixel in double
  bool plain;  // the raster is the picture's
  Raster raster;
};

// Candidate lists of a square: the sites that any of its tiles needs, and for each tile (in raster
// order, including those outside the image, which have none) positions in that list.
struct SquareLists {
  const int32_t* ids;
  int count;
  const int32_t* entries;
  const int32_t* offsets;  // [kSquareTiles + 1], into entries
};

using SquareVisitor = void (*)(void* context, int x0, int y0, const SquareLists& lists);

// One square of a pass of the fit. Target values are stored tile by tile and block by block (see
// blocks.h), 16 lanes each: target[tile][block][channel][lane].
struct SquareTask {
  const PreparedSite* sites;
  SquareLists lists;
  const float* target;
  const float* weights;  // of each pixel's squared error, [tile][block][lane]; null: 1
  float* sums;           // [lists.count][columns of the pass], written whole
  int x0, y0, width, height, channels, k;
};

struct GradientTask {
  SquareTask square;
  int phase;  // -1: all pixels
  float cut, scale;
  // Per list entry, bit b: the site was near the top K in block b when the block was first seen
  // with these lists. `fresh`: that is now; otherwise other entries are passed over.
  uint8_t* masks;  // null: neither written nor read
  bool fresh;
  // Per list entry and block: the lanes whose pixels may take the site. Null: all may.
  const uint16_t* lanes;  // [entries][kBlocks]
  // Of whole pictures [height][width][C]: dL/dpicture to pull back in place of the squared error's,
  // or the picture to write in place of all gradients. Null: neither; at most one of them.
  const float* cotangent = nullptr;
  float* picture = nullptr;
};

// Lists of a pixel's best kDescentList sites, sorted by logit.
struct DescentLists {
  int32_t* ids;   // [pixels][kDescentList], -1 where fewer
  float* logits;  // [pixels][kDescentList], -1e30 where fewer; room for 4 more
};

// What one site's pixels need for trying moves of that site.
struct DescentPixels {
  const int32_t* entries;  // pixel * kDescentList + slot
  int count;
  DescentLists lists;
  const float* colors;  // [N][4]
  const float* target;  // [pixels][4]
  int width, channels, k;
  const float* weights;  // [pixels], of the squared error; null: 1
};

constexpr int kBitmapBlocks = (kBmpTile / 4) * (kBmpTile / 4);  // of 4x4 px, in raster order

// A tile of a picture of bitmap primitives.
struct BitmapTile {
  const BmpPrimitive* primitives;
  const int32_t* ids;  // those that touch the tile, front to back
  int count;
  const uint32_t* quads;
  bool blended;  // templates have colours
  float blend;
  float x0, y0;           // px, upper left corner
  uint64_t blocks;        // bit b: block b is wanted
  const uint8_t* active;  // of all primitives: whether a gradient is wanted; null: of all
};

struct Kernels {
  const char* name;
  void (*filter_super)(const SiteColumns& all, Extent square, const FilterOptions& options,
                       UnitScratch* scratch, SiteColumns* out);
  // Leaves tiles out once the budget is used up.
  void (*visit_unit)(const SiteColumns& sites, int ux, int uy, Extent of,
                     const FilterOptions& options, UnitScratch* scratch, TileVisitor visit,
                     void* context);
  void (*render_tile)(const RenderTarget& target, int x0, int y0, const int32_t* ids, int count,
                      UnitScratch* scratch);
  // The lists of every square of a unit.
  void (*visit_squares)(const SiteColumns& sites, int ux, int uy, Extent of,
                        const FilterOptions& options, UnitScratch* scratch, SquareVisitor visit,
                        void* context);
  // Sums [count][6 + C] of GradientSum; returns the squared error of the sampled pixels, 0 where a
  // cotangent is given. None of this where a picture is wanted.
  double (*gradient_square)(const GradientTask& task, Scratch* scratch);
  // Sums [count][3]: mass, responsibility-weighted squared error, removal delta.
  void (*statistics_square)(const SquareTask& task, Scratch* scratch);
  // Sums [count][kMoments]. cut: as of the lists.
  void (*moments_square)(const SquareTask& task, float cut, Scratch* scratch);
  void (*list_tile)(const PreparedSite* sites, int x0, int y0, int width, int height,
                    const int32_t* ids, int count, DescentLists lists, Scratch* scratch);
  // Weights [count][k] of the pixels first, first + 1, ...: the softmax of their k best logits.
  void (*weigh_pixels)(const DescentLists& lists, int first, int count, int k, float* weights);
  void (*descent_setup)(const DescentPixels& pixels, Scratch* groups, Scratch* scratch);
  // Squared error of the pixels with the site as given; logits (may be null) receives its logits.
  double (*descent_error)(const DescentPixels& pixels, const float* groups,
                          const PreparedSite& site, float* logits);
  // Sums for the best colour step along `direction`: (sum of w a r.d, sum of w a^2).
  void (*descent_color)(const DescentPixels& pixels, const float* groups, const PreparedSite& site,
                        const float* direction, double* out);
  // state [kBitmapBlocks][4][16], written whole where wanted: light that passes, red, green, blue.
  void (*bitmap_draw)(const BitmapTile& tile, float* state);
  // state [kBitmapBlocks][5][16]: slopes of the three colours, light (1 at first), rest (see
  // bmp_gather); overwritten. sums [count][kBmpSums], written whole.
  void (*bitmap_gather)(const BitmapTile& tile, float* state, float* sums);
};

const Kernels& kernels();                  // the best set this processor runs
const Kernels* kernels(const char* name);  // by name; null if not built or not runnable

}  // namespace sad
#endif  // SAD_CPU_TYPES_H_
