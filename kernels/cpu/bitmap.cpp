#include "bitmap.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <utility>

#include "render.h"

namespace sad {
namespace {

constexpr int kUnitTiles = 2;  // the square of tiles that one thread works on at a time
constexpr int kBlock = 4;      // px, side of the blocks of bitmap_passes.h
constexpr int kLanes = kBlock * kBlock;

// What a test of one primitive against a tile costs, in pixels drawn, as the budget counts.
constexpr int64_t kTestsPerPixel = 8;

int first_tile(int x) { return x / kBmpTile; }
int end_tile(int x) { return (x + kBmpTile - 1) / kBmpTile; }

}  // namespace

Bitmaps::Bitmaps(const Kernels& kernels, const uint32_t* quads, std::vector<BmpLevel> levels,
                 bool blended, int threads)
    : kernels_(kernels),
      templates_(static_cast<int>(levels.size() / kTemplateLevels)),
      blended_(blended),
      levels_(std::move(levels)),
      quads_(quads),
      pool_(threads),
      memory_(static_cast<size_t>(pool_.size())) {}

void Bitmaps::set_params(const float* params, int count, float opacity, float blend) {
  params_.assign(params, params + static_cast<size_t>(count) * kBmpColumns);
  primitives_.resize(static_cast<size_t>(count));
  places_.resize(static_cast<size_t>(count));
  blend_ = blend;
  for (int i = 0; i < count; ++i) {
    const float* row = params + static_cast<size_t>(i) * kBmpColumns;
    const BmpLevel* levels = &levels_[static_cast<size_t>(i % templates_) * kTemplateLevels];
    primitives_[i] = bmp_prepare(row, opacity, blend, levels);
    const BmpPrimitive& p = primitives_[i];
    // The box around what is not 0, from the turned rectangle's corners.
    double low_x = INFINITY, high_x = -INFINITY, low_y = INFINITY, high_y = -INFINITY;
    const double ax = p.ax, ay = p.ay, square = ax * ax + ay * ay;
    for (int corner = 0; corner < 4; ++corner) {
      const double u = (corner & 1 ? p.high_s : p.low_s) - p.middle;
      const double v = (corner & 2 ? p.high_t : p.low_t) - p.middle;
      const double x = p.x + (ax * u - ay * v) / square, y = p.y + (ay * u + ax * v) / square;
      low_x = std::min(low_x, x);
      high_x = std::max(high_x, x);
      low_y = std::min(low_y, y);
      high_y = std::max(high_y, y);
    }
    const bool empty = p.low_s > p.high_s;
    places_[i] = BitmapPlace{static_cast<float>(empty ? INFINITY : low_x),
                             static_cast<float>(empty ? -INFINITY : high_x),
                             static_cast<float>(empty ? INFINITY : low_y),
                             static_cast<float>(empty ? -INFINITY : high_y)};
  }
}

void Bitmaps::set_active(const uint8_t* active) {
  if (active)
    active_.assign(active, active + count());
  else
    active_.clear();
}

bool Bitmaps::any_active(const std::vector<int32_t>& ids) const {
  if (active_.empty()) return true;
  return std::any_of(ids.begin(), ids.end(), [this](int32_t id) { return active_[id] != 0; });
}

// The blocks of a tile that have a pixel in the window.
uint64_t Bitmaps::wanted(Extent window, int x0, int y0) const {
  uint64_t out = 0;
  for (int b = 0; b < kBitmapBlocks; ++b) {
    const int x = x0 + kBlock * (b & 7), y = y0 + kBlock * (b >> 3);
    const bool in =
        x < window.x1 && y < window.y1 && x + kBlock > window.x0 && y + kBlock > window.y0;
    out |= static_cast<uint64_t>(in) << b;
  }
  return out;
}

// visit(worker, tile's number in the window, x0, y0) with memory_[worker].ids the primitives that
// touch the tile; it returns false to end the loop. A tile's list depends on nothing but the tile.
template <typename Visit>
void Bitmaps::visit_tiles(Extent window, Visit visit) {
  const int left = first_tile(window.x0), right = end_tile(window.x1);
  const int top = first_tile(window.y0), bottom = end_tile(window.y1);
  const int across = (right - left + kUnitTiles - 1) / kUnitTiles;
  const int down = (bottom - top + kUnitTiles - 1) / kUnitTiles;
  std::atomic<bool> go{true};
  pool_.run(across * down, [&](int unit, int worker) {
    if (!go) return;
    Memory& memory = memory_[worker];
    const int tx0 = left + unit % across * kUnitTiles, tx1 = std::min(tx0 + kUnitTiles, right);
    const int ty0 = top + unit / across * kUnitTiles, ty1 = std::min(ty0 + kUnitTiles, bottom);
    const auto in = [](const BitmapPlace& p, int x0, int y0, int x1, int y1) {
      return p.low_x < static_cast<float>(x1) && p.high_x > static_cast<float>(x0) &&
             p.low_y < static_cast<float>(y1) && p.high_y > static_cast<float>(y0);
    };
    memory.near.clear();
    for (int i = 0; i < count(); ++i) {
      if (in(places_[i], tx0 * kBmpTile, ty0 * kBmpTile, tx1 * kBmpTile, ty1 * kBmpTile))
        memory.near.push_back(i);
    }
    for (int ty = ty0; ty < ty1; ++ty) {
      for (int tx = tx0; tx < tx1; ++tx) {
        const int x0 = tx * kBmpTile, y0 = ty * kBmpTile;
        memory.ids.clear();
        for (const int32_t i : memory.near) {
          const BmpPrimitive& p = primitives_[i];
          constexpr float kHalf = 0.5f * kBmpTile;
          const float dx = static_cast<float>(x0) - p.x + kHalf;
          const float dy = static_cast<float>(y0) - p.y + kHalf;
          if (in(places_[i], x0, y0, x0 + kBmpTile, y0 + kBmpTile) &&
              bmp_touches<float, bool>(p, dx, dy, kHalf - 0.5f))
            memory.ids.push_back(i);
        }
        if (!visit(worker, (ty - top) * (right - left) + tx - left, x0, y0)) {
          go = false;
          return;
        }
      }
    }
  });
}

BitmapTile Bitmaps::tile_of(const Memory& memory, int x0, int y0, Extent window) const {
  return BitmapTile{primitives_.data(),
                    memory.ids.data(),
                    static_cast<int>(memory.ids.size()),
                    quads_,
                    blended_,
                    blend_,
                    static_cast<float>(x0),
                    static_cast<float>(y0),
                    wanted(window, x0, y0),
                    active_.empty() ? nullptr : active_.data()};
}

namespace {

// Calls visit(pixel of the window, number of block, lane) for the pixels of a tile.
template <typename Visit>
void each_pixel(Extent window, int x0, int y0, Visit visit) {
  const size_t columns = static_cast<size_t>(window.x1 - window.x0);
  for (int y = std::max(y0, window.y0); y < std::min(y0 + kBmpTile, window.y1); ++y) {
    for (int x = std::max(x0, window.x0); x < std::min(x0 + kBmpTile, window.x1); ++x) {
      const int j = y - y0, i = x - x0;
      visit((y - window.y0) * columns + static_cast<size_t>(x - window.x0),
            j / kBlock * (kBmpTile / kBlock) + i / kBlock, j % kBlock * kBlock + i % kBlock);
    }
  }
}

size_t pixels_of(Extent window) {
  return static_cast<size_t>(window.x1 - window.x0) * static_cast<size_t>(window.y1 - window.y0);
}

size_t tiles_of(Extent window) {
  return static_cast<size_t>(end_tile(window.x1) - first_tile(window.x0)) *
         static_cast<size_t>(end_tile(window.y1) - first_tile(window.y0));
}

}  // namespace

void Bitmaps::draw(Extent window, int max_work, float* out) {
  const size_t tiles = tiles_of(window), plane = pixels_of(window);
  const bool all = active_.empty() || touched_.size() != tiles;
  touched_.resize(tiles);
  std::atomic<int64_t> used{0};
  const int64_t most = static_cast<int64_t>(tiles) * kBmpTile * kBmpTile * max_work;
  visit_tiles(window, [&](int worker, int number, int x0, int y0) {
    Memory& memory = memory_[worker];
    const bool active = any_active(memory.ids);
    if (!all && !active && !touched_[number]) return true;
    touched_[number] = active;
    if (max_work > 0) {
      const int64_t cost =
          static_cast<int64_t>(memory.ids.size()) * kBmpTile * kBmpTile +
          (static_cast<int64_t>(memory.near.size()) + count() / (kUnitTiles * kUnitTiles)) /
              kTestsPerPixel;
      if (used.fetch_add(cost) + cost > most) return false;
    }
    memory.state.resize(kBitmapBlocks * 4 * kLanes);
    kernels_.bitmap_draw(tile_of(memory, x0, y0, window), memory.state.data());
    each_pixel(window, x0, y0, [&](size_t pixel, int block, int lane) {
      const float* at = memory.state.data() + block * 4 * kLanes + lane;
      for (int c = 0; c < 3; ++c) out[c * plane + pixel] = at[(1 + c) * kLanes];
      out[3 * plane + pixel] = 1.0f - at[0];
    });
    return true;
  });
  if (max_work > 0 && used > most) throw TooMuchWork("too many primitives cover the picture");
}

void Bitmaps::gradient(Extent window, const float* image, const float* slopes, float* out) {
  const size_t plane = pixels_of(window);
  sums_.resize(tiles_of(window));
  visit_tiles(window, [&](int worker, int number, int x0, int y0) {
    Memory& memory = memory_[worker];
    TileSums& to = sums_[number];
    to.ids.clear();
    if (!any_active(memory.ids)) return true;
    to.ids = memory.ids;
    to.sums.resize(to.ids.size() * kBmpSums);
    memory.state.assign(kBitmapBlocks * 5 * kLanes, 0.0f);
    each_pixel(window, x0, y0, [&](size_t pixel, int block, int lane) {
      float* at = memory.state.data() + block * 5 * kLanes + lane;
      float rest = -slopes[3 * plane + pixel] * (1.0f - image[3 * plane + pixel]);
      for (int c = 0; c < 3; ++c) {
        const float slope = slopes[c * plane + pixel];
        at[c * kLanes] = slope;
        rest += slope * image[c * plane + pixel];
      }
      at[3 * kLanes] = 1.0f;
      at[4 * kLanes] = rest;
    });
    kernels_.bitmap_gather(tile_of(memory, x0, y0, window), memory.state.data(), to.sums.data());
    return true;
  });
  // In the order of the tiles, whatever thread did them.
  std::vector<double> total(static_cast<size_t>(count()) * kBmpSums, 0.0);
  for (const TileSums& from : sums_) {
    for (size_t e = 0; e < from.ids.size(); ++e) {
      for (int j = 0; j < kBmpSums; ++j)
        total[static_cast<size_t>(from.ids[e]) * kBmpSums + j] += from.sums[e * kBmpSums + j];
    }
  }
  for (size_t i = 0; i < primitives_.size(); ++i) {
    bmp_parameter_gradient(&params_[i * kBmpColumns], primitives_[i], blend_, &total[i * kBmpSums],
                           out + i * kBmpColumns);
  }
}

}  // namespace sad
