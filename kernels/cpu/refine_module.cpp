// The part of the Python module `_core` that refines symbols by integer descent.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>

#include "binding.h"
#include "refine.h"

namespace {

sad::Quantizer make_quantizer(double position, double log_tau, double anisotropy, double radius,
                              const IntRow& angle_levels, const FloatTable& color_steps,
                              const FloatTable& axes) {
  sad::Quantizer q;
  require(position > 0 && log_tau > 0 && anisotropy > 0 && radius >= 0, "steps must be positive");
  require(angle_levels.shape(0) >= 1, "angle_levels must not be empty");
  q.position = position;
  q.log_tau = log_tau;
  q.anisotropy = anisotropy;
  q.radius = radius;
  q.angle_levels.assign(angle_levels.data(), angle_levels.data() + angle_levels.size());
  q.color_steps.assign(color_steps.data(), color_steps.data() + color_steps.size());
  q.axes.assign(axes.data(), axes.data() + axes.size());
  return q;
}

}  // namespace

void bind_refine(nb::module_& m) {
  nb::class_<sad::Refine>(m, "Refine")
      .def(
          "__init__",
          [](sad::Refine* self, const FloatImage& target, int k, int threads,
             const std::string& isa, std::optional<FloatTable> weights) {
            require(target.shape(0) <= (1 << 24) && target.shape(1) <= (1 << 24),
                    "target too large");
            const int height = static_cast<int>(target.shape(0));
            const int width = static_cast<int>(target.shape(1));
            require_size(width, height, k, threads);
            require(target.shape(2) >= 1 && target.shape(2) <= 4, "1 to 4 channels");
            new (self) sad::Refine(pick(isa), target.data(), weights_of(weights, target), width,
                                   height, static_cast<int>(target.shape(2)), k, threads);
          },
          nb::arg("target"), nb::arg("k"), nb::arg("threads"), nb::arg("isa") = "",
          nb::arg("weights").none() = nb::none())
      .def(
          "set_sites",
          [](sad::Refine& r, const IntTable& symbols, double position, double log_tau,
             double anisotropy, double radius, const IntRow& angle_levels,
             const FloatTable& color_steps, const FloatTable& axes) {
            require(color_steps.shape(0) == symbols.shape(0), "one row of colour steps a site");
            require(symbols.shape(1) == 6 + axes.shape(0) && axes.shape(0) == axes.shape(1) &&
                        color_steps.shape(1) == axes.shape(0),
                    "symbols, colour steps and axes differ in channels");
            require(axes.shape(0) == static_cast<size_t>(r.channels()),
                    "axes and target differ in channels");
            require(symbols.shape(0) >= 1 && symbols.shape(0) <= (1u << 24), "1 to 2^24 sites");
            for (size_t i = 0; i < angle_levels.shape(0); ++i)
              require(angle_levels.data()[i] >= 1, "angle_levels must be positive");
            for (size_t i = 0; i < symbols.shape(0); ++i) {
              const int32_t* s = symbols.data() + i * symbols.shape(1);
              require(s[sad::kSymAnisotropy] >= 0 &&
                          static_cast<size_t>(s[sad::kSymAnisotropy]) < angle_levels.shape(0),
                      "log_anisotropy symbol outside angle_levels");
            }
            const auto quantizer = make_quantizer(position, log_tau, anisotropy, radius,
                                                  angle_levels, color_steps, axes);
            r.set_sites(symbols.data(), static_cast<int>(symbols.shape(0)), quantizer);
          },
          nb::arg("symbols"), nb::arg("position"), nb::arg("log_tau"), nb::arg("anisotropy"),
          nb::arg("radius"), nb::arg("angle_levels"), nb::arg("color_steps"), nb::arg("axes"))
      .def("set_cost",
           [](sad::Refine& r, int column, const IntRow& prediction, const ByteRow& klass,
              const FloatTable& table) {
             sad::ColumnCost cost;
             const size_t n = static_cast<size_t>(r.count());
             require(column >= 0 && column < sad::kSymColor + r.channels(), "no such column");
             require(prediction.shape(0) == n && klass.shape(0) == n,
                     "prediction and klass must have one value a site");
             require(table.shape(1) % 2 == 1, "the cost table must have 2 R + 1 columns");
             cost.prediction.assign(prediction.data(), prediction.data() + prediction.size());
             cost.klass.assign(klass.data(), klass.data() + klass.size());
             cost.table.assign(table.data(), table.data() + table.size());
             cost.range = static_cast<int>(table.shape(1) / 2);
             for (uint8_t c : cost.klass) require(c < table.shape(0), "class outside the table");
             r.set_cost(column, std::move(cost));
           })
      .def("set_color_steps",
           [](sad::Refine& r, const FloatTable& steps) {
             require(steps.shape(0) == static_cast<size_t>(r.count()) &&
                         steps.shape(1) == static_cast<size_t>(r.channels()),
                     "one row of colour steps a site");
             r.set_color_steps(steps.data());
           })
      .def_prop_ro(
          "symbols",
          [](const sad::Refine& r) {
            const auto& s = r.symbols();
            return to_numpy(s, {static_cast<size_t>(r.count()),
                                static_cast<size_t>(sad::kSymColor + r.channels())});
          },
          nb::rv_policy::automatic)
      .def_prop_ro(
          "params",
          [](const sad::Refine& r) {
            return to_numpy(r.params(), {static_cast<size_t>(r.count()),
                                         static_cast<size_t>(sad::kColor + r.channels())});
          },
          nb::rv_policy::automatic)
      .def("build_lists", &sad::Refine::build_lists, nb::call_guard<nb::gil_scoped_release>())
      .def("solve_colors", &sad::Refine::solve_colors, nb::arg("iterations"),
           nb::call_guard<nb::gil_scoped_release>())
      .def("sweep", &sad::Refine::sweep, nb::arg("lambda_"), nb::arg("geometry"),
           nb::call_guard<nb::gil_scoped_release>())
      .def("removal_deltas", [](sad::Refine& r) {
        std::vector<double> out(static_cast<size_t>(r.count()));
        {
          nb::gil_scoped_release release;
          r.removal_deltas(out.data());
        }
        const size_t n = out.size();
        return to_numpy(std::move(out), {n});
      });
}
