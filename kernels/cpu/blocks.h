// The 16 pixels of a tile that one vector holds: blocks 0..3 are the compact 4x4 quarters, used
// when every pixel counts (few sites are active in so small a square); blocks 4..7 are the four
// phases of one pixel in every 2x2, spread over the whole tile.
#ifndef SAD_CPU_BLOCKS_H_
#define SAD_CPU_BLOCKS_H_

namespace sad {

constexpr int block_x(int block, int lane) {
  return block < 4 ? (block & 1) * 4 + (lane & 3) : (lane & 3) * 2 + (block & 1);
}
constexpr int block_y(int block, int lane) {
  return block < 4 ? (block >> 1) * 4 + (lane >> 2) : (lane >> 2) * 2 + ((block >> 1) & 1);
}

}  // namespace sad
#endif  // SAD_CPU_BLOCKS_H_
