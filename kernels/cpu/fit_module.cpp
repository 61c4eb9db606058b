// The part of the Python module `_core` that fits: gradients, Adam, statistics of each site.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>

#include "binding.h"
#include "fit.h"
#include "propagate.h"

namespace {

bool has_shape_of_params(const FloatTable& table, const sad::Fit& fit) {
  return table.shape(0) == static_cast<size_t>(fit.count()) &&
         table.shape(1) == static_cast<size_t>(fit.columns());
}

void require_picture(const FloatImage& picture, const sad::Fit& fit) {
  require(picture.shape(0) == static_cast<size_t>(fit.height()) &&
              picture.shape(1) == static_cast<size_t>(fit.width()) &&
              picture.shape(2) == static_cast<size_t>(fit.channels()),
          "the picture must have the session's size and channels");
}

}  // namespace

void bind_fit(nb::module_& m) {
  nb::class_<sad::Fit>(m, "Fit")
      .def(
          "__init__",
          [](sad::Fit* self, const FloatImage& target, const FloatTable& params, int k, int threads,
             const std::string& isa, std::optional<FloatTable> weights) {
            const int channels = channels_of(params);
            require(static_cast<size_t>(channels) == target.shape(2),
                    "target and params differ in channels");
            require(target.shape(0) <= (1 << 24) && target.shape(1) <= (1 << 24),
                    "target too large");
            const int height = static_cast<int>(target.shape(0));
            const int width = static_cast<int>(target.shape(1));
            require_size(width, height, k, threads);
            new (self)
                sad::Fit(pick(isa), target.data(), weights_of(weights, target), width, height,
                         channels, params.data(), static_cast<int>(params.shape(0)), k, threads);
          },
          nb::arg("target"), nb::arg("params"), nb::arg("k"), nb::arg("threads"),
          nb::arg("isa") = "", nb::arg("weights").none() = nb::none())
      .def(
          "__init__",
          [](sad::Fit* self, int width, int height, const FloatTable& params, int k, int threads,
             const std::string& isa) {
            const int channels = channels_of(params);
            require_size(width, height, k, threads);
            new (self) sad::Fit(pick(isa), nullptr, nullptr, width, height, channels, params.data(),
                                static_cast<int>(params.shape(0)), k, threads);
          },
          nb::arg("width"), nb::arg("height"), nb::arg("params"), nb::arg("k"), nb::arg("threads"),
          nb::arg("isa") = "")
      .def_prop_ro("count", &sad::Fit::count)
      .def_prop_ro(
          "params",
          [](const sad::Fit& f) {
            return to_numpy(f.params(),
                            {static_cast<size_t>(f.count()), static_cast<size_t>(f.columns())});
          },
          nb::rv_policy::automatic)
      .def_prop_ro(
          "gradients",
          [](const sad::Fit& f) {
            return to_numpy(f.gradients(),
                            {static_cast<size_t>(f.count()), static_cast<size_t>(f.columns())});
          },
          nb::rv_policy::automatic)
      .def("move",
           [](sad::Fit& f, const FloatTable& params) {
             require(has_shape_of_params(params, f), "params must keep their shape");
             f.move(params.data());
           })
      .def("error_moments",
           [](sad::Fit& f) {
             const auto rows = static_cast<size_t>(f.count());
             std::vector<double> out(rows * sad::kMoments);
             {
               nb::gil_scoped_release release;
               f.error_moments(out.data());
             }
             return to_numpy(std::move(out), {rows, size_t{sad::kMoments}});
           })
      .def("neighbours",
           [](sad::Fit& f) {
             const auto rows = static_cast<size_t>(f.count()), k = static_cast<size_t>(f.k());
             std::vector<int32_t> out(rows * k);
             {
               nb::gil_scoped_release release;
               f.neighbours(out.data());
             }
             return to_numpy(std::move(out), {rows, k});
           })
      .def("refresh", &sad::Fit::refresh, nb::arg("cut"), nb::call_guard<nb::gil_scoped_release>())
      .def("follow", &sad::Fit::follow, nb::arg("lists"), nb::arg("cut"),
           nb::call_guard<nb::gil_scoped_release>())
      .def(
          "gradient",
          [](sad::Fit& f, int phase, std::optional<FloatTable> noise, uint64_t seed) {
            require(phase >= -1 && phase <= 3, "phase must be in [-1, 3]");
            require(!noise || has_shape_of_params(*noise, f),
                    "noise must have the shape of params");
            const float* data = noise ? noise->data() : nullptr;
            nb::gil_scoped_release release;
            return f.gradient(phase, data, seed);
          },
          nb::arg("phase") = -1, nb::arg("noise").none() = nb::none(), nb::arg("seed") = 0)
      .def("picture",
           [](sad::Fit& f) {
             const auto h = static_cast<size_t>(f.height()), w = static_cast<size_t>(f.width());
             const auto c = static_cast<size_t>(f.channels());
             std::vector<float> out(h * w * c);
             {
               nb::gil_scoped_release release;
               f.picture(out.data());
             }
             return to_numpy(std::move(out), {h, w, c});
           })
      .def("pull_back",
           [](sad::Fit& f, const FloatImage& cotangent) {
             require_picture(cotangent, f);
             nb::gil_scoped_release release;
             f.pull_back(cotangent.data());
           })
      .def("set_target",
           [](sad::Fit& f, const FloatImage& target) {
             require_picture(target, f);
             f.set_target(target.data());
           })
      .def("set_rate",
           [](sad::Fit& f, const FloatTable& prediction, const FloatTable& scale,
              const FloatTable& axes, float turn, float price) {
             const auto channels = static_cast<size_t>(f.channels());
             require(has_shape_of_params(prediction, f) && has_shape_of_params(scale, f),
                     "prediction and scale must have the shape of params");
             require(axes.shape(0) == channels && axes.shape(1) == channels,
                     "axes must have a row and a column a channel");
             f.set_rate(prediction.data(), scale.data(), axes.data(), turn, price);
           })
      .def(
          "adam",
          [](sad::Fit& f, const FloatRow& rates, float beta1, float beta2, float epsilon) {
            require(rates.shape(0) == static_cast<size_t>(f.columns()),
                    "rates must have one value a column");
            nb::gil_scoped_release release;
            f.adam(rates.data(), beta1, beta2, epsilon);
          },
          nb::arg("rates"), nb::arg("beta1"), nb::arg("beta2"), nb::arg("epsilon") = 1e-8f)
      .def("statistics",
           [](sad::Fit& f) {
             std::vector<float> out(static_cast<size_t>(f.count()) * 3);
             {
               nb::gil_scoped_release release;
               f.statistics(out.data());
             }
             return to_numpy(std::move(out), {static_cast<size_t>(f.count()), size_t{3}});
           })
      .def("keep",
           [](sad::Fit& f, const IntRow& index) {
             require(index.shape(0) >= 1, "at least one site must stay");
             f.keep(index.data(), static_cast<int>(index.shape(0)));
           })
      .def("append", [](sad::Fit& f, const FloatTable& params) {
        require(params.shape(1) == static_cast<size_t>(f.columns()),
                "params must have the session's columns");
        f.append(params.data(), static_cast<int>(params.shape(0)));
      });
}
