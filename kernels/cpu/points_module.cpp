// The part of the Python module `_core` that evaluates and differentiates single points.
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <tuple>

#include "binding.h"
#include "points.h"

void bind_points(nb::module_& m) {
  nb::class_<sad::Points>(m, "Points")
      .def(
          "__init__",
          [](sad::Points* self, const DoubleTable& params, const DoubleTable& points, int k,
             int threads) {
            const int channels = channels_of(params);
            require(points.shape(1) == 2 && points.shape(0) < (1u << 31), "points must be [M, 2]");
            require_size(1, 1, k, threads);
            nb::gil_scoped_release release;
            new (self) sad::Points(params.data(), static_cast<int>(params.shape(0)), channels,
                                   points.data(), static_cast<int>(points.shape(0)), k, threads);
          },
          nb::arg("params"), nb::arg("points"), nb::arg("k"), nb::arg("threads"))
      .def("blend",
           [](sad::Points& p) {
             const auto size = static_cast<size_t>(p.size());
             const auto channels = static_cast<size_t>(p.channels());
             std::vector<double> out(size * channels);
             {
               nb::gil_scoped_release release;
               p.blend(out.data());
             }
             return to_numpy(std::move(out), {size, channels});
           })
      .def("pull_back", [](sad::Points& p, const DoubleTable& cotangent) {
        const auto size = static_cast<size_t>(p.size()), count = static_cast<size_t>(p.count());
        const auto columns = static_cast<size_t>(sad::kColor + p.channels());
        require(cotangent.shape(0) == size && cotangent.shape(1) + sad::kColor == columns,
                "one row of colours a point");
        std::vector<double> params(count * columns), points(size * 2);
        {
          nb::gil_scoped_release release;
          p.pull_back(cotangent.data(), params.data(), points.data());
        }
        return std::make_tuple(to_numpy(std::move(params), {count, columns}),
                               to_numpy(std::move(points), {size, size_t{2}}));
      });
}
