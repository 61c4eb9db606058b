// Lists of squares and tiles out of a top-K map, for the passes of a fit: each pixel is blended
// from the sites of its own list alone, as in the paper.
#include <algorithm>
#include <stdexcept>

#include "blocks.h"
#include "fit.h"
#include "propagate.h"

namespace sad {
namespace {

constexpr int kSide = kSquare / kTile;

// Where each site is in the list of a square, and then of a tile: places in between are stale.
struct MapScratch {
  std::vector<int32_t> place;  // [sites] in the square's list, or -1
  std::vector<int32_t> entry;  // [sites of the square] in the tile's list, or -1
};

// Calls visit(id, column, row) for what the lists of a tile's pixels name.
template <typename Visit>
void for_tile(const TopKMap& map, int x0, int y0, const Visit& visit) {
  const int k = map.k(), x1 = std::min(x0 + kTile, map.width());
  for (int y = y0; y < std::min(y0 + kTile, map.height()); ++y) {
    for (int x = x0; x < x1; ++x) {
      const int32_t* list = map.ids().data() + (static_cast<size_t>(y) * map.width() + x) * k;
      for (int j = 0; j < k && list[j] >= 0; ++j) visit(list[j], x - x0, y - y0);
    }
  }
}

// Calls visit(column, row) for the tile's pixels with empty lists, which take what the tile has.
template <typename Visit>
void for_empty(const TopKMap& map, int x0, int y0, const Visit& visit) {
  for (int y = y0; y < std::min(y0 + kTile, map.height()); ++y)
    for (int x = x0; x < std::min(x0 + kTile, map.width()); ++x)
      if (map.ids()[(static_cast<size_t>(y) * map.width() + x) * map.k()] < 0)
        visit(x - x0, y - y0);
}

// Block and lane of a tile's pixel, among the compact blocks and among the phases.
struct PixelLanes {
  uint8_t block[2][kTile][kTile], lane[2][kTile][kTile];
  PixelLanes() {
    for (int b = 0; b < kBlocks; ++b) {
      for (int i = 0; i < 16; ++i) {
        block[b / 4][block_y(b, i)][block_x(b, i)] = static_cast<uint8_t>(b);
        lane[b / 4][block_y(b, i)][block_x(b, i)] = static_cast<uint8_t>(i);
      }
    }
  }
};

void list_square(const TopKMap& map, int x0, int y0, MapScratch* scratch, Candidates::Square* s) {
  static const PixelLanes kPixels;
  s->ids.clear();
  s->entries.clear();
  s->masks.clear();
  auto tile_x = [&](int t) { return x0 + t % kSide * kTile; };
  auto tile_y = [&](int t) { return y0 + t / kSide * kTile; };
  for (int t = 0; t < kSquareTiles; ++t) {
    for_tile(map, tile_x(t), tile_y(t), [&](int32_t id, int, int) {
      if (scratch->place[id] >= 0) return;
      scratch->place[id] = 0;
      s->ids.push_back(id);
    });
  }
  std::sort(s->ids.begin(), s->ids.end());
  for (size_t i = 0; i < s->ids.size(); ++i) scratch->place[s->ids[i]] = static_cast<int32_t>(i);
  scratch->entry.assign(s->ids.size(), -1);
  const auto mark = [&](size_t entry, int x, int y) {
    uint16_t* lanes = s->lanes.data() + kBlocks * entry;
    for (int kind = 0; kind < 2; ++kind)
      lanes[kPixels.block[kind][y][x]] |= static_cast<uint16_t>(1u << kPixels.lane[kind][y][x]);
  };
  s->offsets[0] = 0;
  for (int t = 0; t < kSquareTiles; ++t) {
    const size_t begin = s->entries.size();
    for_tile(map, tile_x(t), tile_y(t), [&](int32_t id, int, int) {
      const int32_t place = scratch->place[id];
      if (scratch->entry[place] >= 0) return;
      scratch->entry[place] = 0;
      s->entries.push_back(place);
    });
    std::sort(s->entries.begin() + begin, s->entries.end());
    s->lanes.resize(kBlocks * s->entries.size());
    std::fill(s->lanes.begin() + kBlocks * begin, s->lanes.end(), 0);
    for (size_t e = begin; e < s->entries.size(); ++e)
      scratch->entry[s->entries[e]] = static_cast<int32_t>(e);
    for_tile(map, tile_x(t), tile_y(t),
             [&](int32_t id, int x, int y) { mark(scratch->entry[scratch->place[id]], x, y); });
    for_empty(map, tile_x(t), tile_y(t), [&](int x, int y) {
      for (size_t e = begin; e < s->entries.size(); ++e) mark(e, x, y);
    });
    for (size_t e = begin; e < s->entries.size(); ++e) scratch->entry[s->entries[e]] = -1;
    s->offsets[t + 1] = static_cast<int32_t>(s->entries.size());
  }
  s->entries.resize(s->entries.size() + 16);  // vectors are read whole
  for (int32_t id : s->ids) scratch->place[id] = -1;
}

}  // namespace

void Fit::follow(const TopKMap& map, float cut) {
  if (map.width() != width_ || map.height() != height_ || map.k() != k_ || map.count() != count_)
    throw std::invalid_argument("the map is of another image, K or number of sites");
  cut_ = cut;
  std::vector<MapScratch> scratch(pool_.size());
  for (MapScratch& s : scratch) s.place.assign(count_, -1);
  pool_.run(squares_x_ * squares_y_, [&](int square, int worker) {
    list_square(map, square % squares_x_ * kSquare, square / squares_x_ * kSquare, &scratch[worker],
                &lists_.squares[square]);
  });
  finish_lists();
  mapped_ = true;
}

}  // namespace sad
