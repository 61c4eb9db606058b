// The part of the Python module `_core` that finds the top K of every pixel: exactly, or by
// propagation.
#include <nanobind/stl/string.h>

#include "binding.h"
#include "propagate.h"

namespace {

nb::ndarray<nb::numpy, int32_t> exact_lists(const FloatTable& params, int width, int height, int k,
                                            int threads, const std::string& isa) {
  const int channels = channels_of(params);
  require_size(width, height, k, threads);
  const sad::Kernels& kernels = pick(isa);
  std::vector<int32_t> out;
  {
    nb::gil_scoped_release release;
    out = sad::exact_lists(kernels, params.data(), static_cast<int>(params.shape(0)), channels,
                           width, height, k, threads);
  }
  const size_t pixels = static_cast<size_t>(width) * static_cast<size_t>(height);
  return to_numpy(std::move(out), {pixels, static_cast<size_t>(k)});
}

}  // namespace

void bind_propagation(nb::module_& m) {
  m.def("exact_lists", &exact_lists, nb::arg("params"), nb::arg("width"), nb::arg("height"),
        nb::arg("k"), nb::arg("threads"), nb::arg("isa") = "");

  nb::class_<sad::TopKMap>(m, "TopKMap")
      .def(
          "__init__",
          [](sad::TopKMap* self, int width, int height, int k, int threads) {
            require_size(width, height, k, threads);
            new (self) sad::TopKMap(width, height, k, threads);
          },
          nb::arg("width"), nb::arg("height"), nb::arg("k"), nb::arg("threads"))
      .def_prop_ro("count", &sad::TopKMap::count)
      .def_prop_ro(
          "ids",
          [](const sad::TopKMap& map) {
            return to_numpy(map.ids(),
                            {static_cast<size_t>(map.width()) * static_cast<size_t>(map.height()),
                             static_cast<size_t>(map.k())});
          },
          nb::rv_policy::automatic)
      .def("set_sites",
           [](sad::TopKMap& map, const FloatTable& params) {
             const int channels = channels_of(params);
             nb::gil_scoped_release release;
             map.set_sites(params.data(), static_cast<int>(params.shape(0)), channels);
           })
      .def("sort_sites", &sad::TopKMap::sort_sites)
      .def("first_lists", &sad::TopKMap::first_lists, nb::call_guard<nb::gil_scoped_release>())
      .def(
          "run_pass",
          [](sad::TopKMap& map, int distance, int injected, uint64_t seed, int pass) {
            require(distance >= 1 && injected >= 0 && pass >= 0,
                    "distance, injected and pass must not be negative");
            nb::gil_scoped_release release;
            map.pass(distance, injected, seed, pass);
          },
          nb::arg("distance"), nb::arg("injected"), nb::arg("seed"), nb::arg("number"))
      .def("remap", [](sad::TopKMap& map, const IntRow& index, int left) {
        require(left >= 1, "at least one site must stay");
        map.remap(index.data(), static_cast<int>(index.shape(0)), left);
      });
}
