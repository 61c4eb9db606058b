// What the files of the Python module share: types of arrays, and the checks of arguments.
#ifndef SAD_CPU_BINDING_H_
#define SAD_CPU_BINDING_H_

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

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

void bind_bitmaps(nb::module_& m);

#endif  // SAD_CPU_BINDING_H_
