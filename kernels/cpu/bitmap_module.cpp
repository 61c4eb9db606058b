// The part of the Python module `_core` that draws and differentiates bitmap primitives.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>

#include "binding.h"
#include "bitmap.h"

namespace {

using QuadRow = nb::ndarray<const uint32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using LevelTable = nb::ndarray<const int32_t, nb::shape<-1, sad::kTemplateLevels, 6>, nb::c_contig,
                               nb::device::cpu>;
using Canvas = nb::ndarray<float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

void make(sad::Bitmaps* self, const QuadRow& quads, const LevelTable& levels, bool blended,
          int threads, const std::string& isa) {
  require(threads >= 1 && threads <= 1024, "threads must be in [1, 1024]");
  require(levels.shape(0) >= 1 && levels.shape(0) <= 1024, "1 to 1024 templates");
  std::vector<sad::BmpLevel> table;
  const int64_t size = static_cast<int64_t>(quads.shape(0));
  for (size_t i = 0; i < levels.shape(0) * sad::kTemplateLevels; ++i) {
    const int32_t* row = levels.data() + 6 * i;
    // Within 1024 the index of a quad in its plane is exact in float.
    require(row[0] >= 0 && row[1] >= 1 && row[1] <= 1024 &&
                row[0] + int64_t{blended ? 4 : 1} * row[1] * row[1] <= size,
            "a level's planes must lie within the quads");
    table.push_back(sad::BmpLevel{row[0], row[1], row[2], row[3], row[4], row[5]});
  }
  new (self) sad::Bitmaps(pick(isa), quads.data(), std::move(table), blended, threads);
}

template <typename Array>
sad::Extent window_of(const Array& array, int x0, int y0) {
  constexpr int kMost = 1 << 24;
  require(array.shape(0) == 4, "images must have 4 planes");
  require(x0 >= 0 && y0 >= 0 && x0 <= kMost && y0 <= kMost && array.shape(1) >= 1 &&
              array.shape(2) >= 1 && array.shape(1) <= static_cast<size_t>(kMost - y0) &&
              array.shape(2) <= static_cast<size_t>(kMost - x0),
          "the window must lie within 2^24 px");
  return sad::Extent{x0, y0, x0 + static_cast<int>(array.shape(2)),
                     y0 + static_cast<int>(array.shape(1))};
}

}  // namespace

void bind_bitmaps(nb::module_& m) {
  nb::class_<sad::Bitmaps>(m, "Bitmaps")
      .def("__init__", &make, nb::arg("quads").noconvert(), nb::arg("levels"), nb::arg("blended"),
           nb::arg("threads"), nb::arg("isa") = "", nb::keep_alive<1, 2>())
      .def(
          "set_params",
          [](sad::Bitmaps& b, const FloatTable& params, float opacity, float blend) {
            require(params.shape(0) >= 1 && params.shape(0) <= (1u << 20), "1 to 2^20 primitives");
            require(params.shape(1) == sad::kBmpColumns, "params must have 8 columns");
            for (size_t i = 0; i < params.shape(0); ++i)
              require(params.data()[i * sad::kBmpColumns + sad::kBmpR] > 0.0f,
                      "r must be positive");
            b.set_params(params.data(), static_cast<int>(params.shape(0)), opacity, blend);
          },
          nb::arg("params"), nb::arg("opacity"), nb::arg("blend"))
      .def(
          "set_active",
          [](sad::Bitmaps& b, std::optional<ByteRow> active) {
            require(!active || active->shape(0) == static_cast<size_t>(b.count()),
                    "active must have one value a primitive");
            b.set_active(active ? active->data() : nullptr);
          },
          nb::arg("active").none())
      .def(
          "draw",
          [](sad::Bitmaps& b, const Canvas& out, int x0, int y0, int max_work) {
            require(max_work >= 0 && max_work <= 1 << 20, "max_work must be in [0, 2^20]");
            const sad::Extent window = window_of(out, x0, y0);
            nb::gil_scoped_release release;
            b.draw(window, max_work, out.data());
          },
          nb::arg("out"), nb::arg("x0") = 0, nb::arg("y0") = 0, nb::arg("max_work") = 0)
      .def(
          "gradient",
          [](sad::Bitmaps& b, const FloatImage& image, const FloatImage& slopes) {
            const sad::Extent window = window_of(image, 0, 0);
            require(slopes.shape(0) == 4 && slopes.shape(1) == image.shape(1) &&
                        slopes.shape(2) == image.shape(2),
                    "image and slopes differ in shape");
            std::vector<float> out(static_cast<size_t>(b.count()) * sad::kBmpColumns);
            {
              nb::gil_scoped_release release;
              b.gradient(window, image.data(), slopes.data(), out.data());
            }
            return to_numpy(std::move(out),
                            {static_cast<size_t>(b.count()), size_t{sad::kBmpColumns}});
          },
          nb::arg("image"), nb::arg("slopes"));
}
