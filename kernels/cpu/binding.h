// What the files of the Python module share: types of arrays, and the checks of arguments.
#ifndef SAD_CPU_BINDING_H_
#define SAD_CPU_BINDING_H_

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "types.h"

namespace nb = nanobind;

using FloatImage = nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using FloatTable = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using FloatRow = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using DoubleTable = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using IntTable = nb::ndarray<const int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using IntRow = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using ByteRow = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// Hands the values over to an array of that shape.
template <typename T>
nb::ndarray<nb::numpy, T> to_numpy(std::vector<T> values, std::vector<size_t> shape) {
  auto* owned = new std::vector<T>(std::move(values));
  nb::capsule owner(owned, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return nb::ndarray<nb::numpy, T>(owned->data(), shape.size(), shape.data(), owner);
}

inline const sad::Kernels& pick(const std::string& isa) {
  if (isa.empty()) return sad::kernels();
  const sad::Kernels* found = sad::kernels(isa.c_str());
  if (!found) throw std::invalid_argument("instruction set not available: " + isa);
  return *found;
}

inline void require(bool ok, const char* message) {
  if (!ok) throw std::invalid_argument(message);
}

template <typename Table>
inline int channels_of(const Table& params) {
  const size_t columns = params.shape(1);
  require(columns >= 7 && columns <= 10, "params must have 7 to 10 columns");
  require(params.shape(0) >= 1 && params.shape(0) <= (1u << 24), "1 to 2^24 sites");
  return static_cast<int>(columns) - sad::kColor;
}

inline void require_size(int width, int height, int k, int threads) {
  require(width >= 1 && height >= 1 && width <= (1 << 24) && height <= (1 << 24),
          "width and height must be in [1, 2^24]");
  require(k >= 1 && k <= sad::kMaxK, "k must be in [1, 16]");
  require(threads >= 1 && threads <= 1024, "threads must be in [1, 1024]");
}

// Per-pixel weights of the squared error; null without.
inline const float* weights_of(const std::optional<FloatTable>& weights, const FloatImage& target) {
  if (!weights) return nullptr;
  require(weights->shape(0) == target.shape(0) && weights->shape(1) == target.shape(1),
          "target and weights differ in size");
  return weights->data();
}

// The parts of the module, a file each.
void bind_bitmaps(nb::module_& m);
void bind_fit(nb::module_& m);
void bind_points(nb::module_& m);
void bind_propagation(nb::module_& m);
void bind_refine(nb::module_& m);

#endif  // SAD_CPU_BINDING_H_
