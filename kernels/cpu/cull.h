// The sites that can matter in a part of a picture, before any of them is prepared.
#ifndef SAD_CPU_CULL_H_
#define SAD_CPU_CULL_H_

#include <vector>

namespace sad {

// Ascending indices of the sites of params [count, 6 + channels] that can be among the k of a point
// of the rectangle, and some more: all that the filters would put into a list. tile: half the
// diagonal of a tile, px.
std::vector<int> cull_sites(const float* params, int count, int channels, int k, double x0,
                            double y0, double x1, double y1, double tile);

}  // namespace sad
#endif  // SAD_CPU_CULL_H_
