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
#include "fit.h"
#include "propagate.h"
#include "refine.h"
#include "render.h"

namespace nb = nanobind;

namespace {

// Per-pixel weights of the squared error; null without.
const float* weights_of(const std::optional<FloatTable>& weights, const FloatImage& target) {
  if (!weights) return nullptr;
  require(weights->shape(0) == target.shape(0) && weights->shape(1) == target.shape(1),
          "target and weights differ in size");
  return weights->data();
}

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

void require_picture(const FloatImage& picture, const sad::Fit& fit) {
  require(picture.shape(0) == static_cast<size_t>(fit.height()) &&
              picture.shape(1) == static_cast<size_t>(fit.width()) &&
              picture.shape(2) == static_cast<size_t>(fit.channels()),
          "the picture must have the session's size and channels");
}

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
      .def("set_params",
           [](sad::Fit& f, const FloatTable& params) {
             require(params.shape(0) == static_cast<size_t>(f.count()) &&
                         params.shape(1) == static_cast<size_t>(f.columns()),
                     "params must keep their shape");
             f.set_params(params.data());
           })
      .def("move",
           [](sad::Fit& f, const FloatTable& params) {
             require(params.shape(0) == static_cast<size_t>(f.count()) &&
                         params.shape(1) == static_cast<size_t>(f.columns()),
                     "params must keep their shape");
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
            if (noise)
              require(noise->shape(0) == static_cast<size_t>(f.count()) &&
                          noise->shape(1) == static_cast<size_t>(f.columns()),
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
             const auto rows = static_cast<size_t>(f.count());
             const auto columns = static_cast<size_t>(f.columns());
             const auto channels = static_cast<size_t>(f.channels());
             require(prediction.shape(0) == rows && prediction.shape(1) == columns &&
                         scale.shape(0) == rows && scale.shape(1) == columns,
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

  bind_points(m);
  bind_bitmaps(m);

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
