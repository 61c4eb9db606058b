// Python module `_core`. Arguments are checked here; the global interpreter lock is released while
// the core works.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "binding.h"
#include "render.h"

namespace nb = nanobind;

namespace {

// Four numbers: columns and rows, first and number, of the part of the raster to draw.
using Window = std::tuple<int, int, int, int>;
// Four numbers: left and upper end of the raster, and its steps, in px.
using Place = std::tuple<double, double, double, double>;

nb::ndarray<nb::numpy, float> render(const FloatTable& params, int width, int height, int k,
                                     bool exact, int threads, const std::string& isa, int max_work,
                                     std::optional<Window> window, const Place& place) {
  const int channels = channels_of(params);
  require_size(width, height, k, threads);
  require(max_work >= 0 && max_work <= 1 << 14, "max_work must be in [0, 2^14]");
  const auto [left, top, columns, rows] = window.value_or(Window{0, 0, width, height});
  require(left >= 0 && top >= 0 && columns >= 1 && rows >= 1 && columns <= width - left &&
              rows <= height - top,
          "the window must lie in the raster");
  const auto [x0, y0, step_x, step_y] = place;
  require(std::abs(x0) <= 1e9 && std::abs(y0) <= 1e9, "the raster must begin within 1e9 px");
  require(step_x > 0 && step_x <= 1e9 && step_y > 0 && step_y <= 1e9, "steps must be in (0, 1e9]");
  const sad::Kernels& kernels = pick(isa);
  const sad::Drawing drawing{width,
                             height,
                             sad::Extent{left, top, left + columns, top + rows},
                             sad::Raster{x0, y0, step_x, step_y},
                             k,
                             exact,
                             max_work};
  const size_t w = static_cast<size_t>(columns), h = static_cast<size_t>(rows);
  std::vector<float> out(w * h * channels);
  {
    nb::gil_scoped_release release;
    sad::render(kernels, params.data(), static_cast<int>(params.shape(0)), channels, drawing,
                threads, out.data());
  }
  return to_numpy(std::move(out), {h, w, static_cast<size_t>(channels)});
}

nb::ndarray<nb::numpy, int32_t> reaches(const FloatTable& params, int width, int height, int k,
                                        const std::vector<int32_t>& starts, int threads) {
  const int channels = channels_of(params);
  require_size(width, height, k, threads);
  require(!starts.empty() && starts.size() <= (1u << 16), "1 to 2^16 groups");
  std::vector<int32_t> out(starts.size() * 4);
  {
    nb::gil_scoped_release release;
    sad::reaches(sad::kernels(), params.data(), static_cast<int>(params.shape(0)), channels, width,
                 height, k, starts, threads, out.data());
  }
  return to_numpy(std::move(out), {starts.size(), size_t{4}});
}

}  // namespace

NB_MODULE(_core, m) {
  // A graph of PyTorch that is alive at exit holds what its backward pass needs: no leak to report.
  nb::set_leak_warnings(false);
  m.doc() = "Render, gradients and integer descent of Soft Anisotropic Diagrams on the CPU.";

  m.def(
      "isa", [] { return std::string(sad::kernels().name); },
      "Name of the instruction set in use.");
  m.def(
      "isas",
      [] {
        std::vector<std::string> out;
        for (const char* name : {"baseline", "avx2", "avx512"})
          if (sad::kernels(name)) out.emplace_back(name);
        return out;
      },
      "Names of the instruction sets this processor can run.");
  m.def("render", &render, nb::arg("params"), nb::arg("width"), nb::arg("height"), nb::arg("k"),
        nb::arg("exact"), nb::arg("threads"), nb::arg("isa") = "", nb::arg("max_work") = 0,
        nb::arg("window").none() = nb::none(), nb::arg("place") = Place{0.0, 0.0, 1.0, 1.0});
  nb::exception<sad::TooMuchWork>(m, "TooMuchWork");

  m.def("reaches", &reaches, nb::arg("params"), nb::arg("width"), nb::arg("height"), nb::arg("k"),
        nb::arg("starts"), nb::arg("threads"));

  bind_propagation(m);
  bind_fit(m);
  bind_refine(m);
  bind_points(m);
  bind_bitmaps(m);
}
