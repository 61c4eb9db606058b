// Python module _coder: integer arrays in, payload bytes out, and back.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <optional>
#include <tuple>

#include "delta_coder.h"
#include "model_table.h"
#include "primitive_coder.h"
#include "site_coder.h"

namespace nb = nanobind;
using namespace sad::coder;

namespace {

using IntColumn = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using IntMatrix = nb::ndarray<const int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <class T>
nb::object to_array(std::vector<T>&& values, std::initializer_list<size_t> shape) {
  auto* holder = new std::vector<T>(std::move(values));
  nb::capsule owner(holder, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, T>(holder->data(), shape, owner));
}

template <class T>
nb::object to_array(std::vector<T>&& values) {
  const size_t n = values.size();
  return to_array(std::move(values), {n});
}

template <class Array>
std::vector<int32_t> to_vector(const Array& array) {
  return {array.data(), array.data() + array.size()};
}

nb::object bits_array(const std::array<double, kMaxColumns>& bits, int channels) {
  return to_array(std::vector<double>(bits.begin(), bits.begin() + kColor0 + channels));
}

SiteColumns to_columns(const Quantizer& q, const IntColumn& x, const IntColumn& y,
                       const IntColumn& log_tau, const IntColumn& log_anisotropy,
                       const IntColumn& angle, const std::optional<IntColumn>& radius,
                       const IntMatrix& color) {
  if (color.shape(1) != static_cast<size_t>(q.channels()))
    throw std::invalid_argument("colour column has the wrong channel count");
  SiteColumns sites;
  sites.x = to_vector(x);
  sites.y = to_vector(y);
  sites.log_tau = to_vector(log_tau);
  sites.log_anisotropy = to_vector(log_anisotropy);
  sites.angle = to_vector(angle);
  if (radius) sites.radius = to_vector(*radius);
  sites.color = to_vector(color);
  return sites;
}

void check_threads(int threads) {
  if (threads < 1 || threads > 1024) throw std::invalid_argument("threads must be 1..1024");
}

using LayerColumn = std::optional<IntColumn>;

Partition to_partition(const std::vector<int32_t>& groups, const LayerColumn& layer) {
  return {groups, layer ? to_vector(*layer) : std::vector<int32_t>()};
}

template <auto Encode>
nb::tuple encode(int64_t width, int64_t height, const std::vector<int64_t>& quantizer,
                 const IntColumn& x, const IntColumn& y, const IntColumn& log_tau,
                 const IntColumn& log_anisotropy, const IntColumn& angle,
                 const std::optional<IntColumn>& radius, const IntMatrix& color, int threads,
                 const std::vector<int32_t>& groups, const LayerColumn& layer) {
  check_threads(threads);
  const Quantizer q = Quantizer::make(width, height, quantizer);
  const SiteColumns sites = to_columns(q, x, y, log_tau, log_anisotropy, angle, radius, color);
  const Partition parts = to_partition(groups, layer);
  EncodedSites out;
  {
    nb::gil_scoped_release release;
    out = Encode(q, sites, parts, threads);
  }
  nb::list payloads;
  for (const EncodedGroup& group : out.groups) {
    const GroupFields& f = group.fields;
    payloads.append(nb::make_tuple(nb::bytes(group.bytes.data(), group.bytes.size()), group.first,
                                   group.count, f.low, f.high, f.spacing));
  }
  return nb::make_tuple(std::move(payloads), to_array(std::move(out.order)),
                        bits_array(out.bits, q.channels()), to_array(std::move(out.classes)),
                        nb::bytes(out.models.data(), out.models.size()));
}

// Read once for all groups of a file.
struct Models {
  std::unique_ptr<ResidualModels> start;
};

Models read_models(const nb::bytes& table, int64_t width, int64_t height,
                   const std::vector<int64_t>& quantizer) {
  const Quantizer q = Quantizer::make(width, height, quantizer);
  return {unpack_models(q, reinterpret_cast<const uint8_t*>(table.c_str()), table.size())};
}

using Group = std::tuple<int64_t, int64_t, int64_t>;  // low, high, spacing

template <auto Decode>
nb::tuple decode(const nb::bytes& payload, int64_t count, int channels, int64_t width,
                 int64_t height, const std::vector<int64_t>& quantizer, int threads,
                 const std::optional<Group>& group, const Models* models) {
  check_threads(threads);
  const Quantizer q = Quantizer::make(width, height, quantizer);
  if (channels != q.channels())
    throw std::invalid_argument("channel count differs from the quantizer's");
  if (count < 1 || count > kMaxSites) throw std::invalid_argument("site count out of range");
  std::optional<GroupFields> fields;
  if (group) fields = GroupFields{std::get<0>(*group), std::get<1>(*group), std::get<2>(*group)};
  DecodedSites out;
  {
    nb::gil_scoped_release release;
    out = Decode(q, static_cast<int32_t>(count), reinterpret_cast<const uint8_t*>(payload.c_str()),
                 payload.size(), fields, threads, models ? models->start.get() : nullptr);
  }
  SiteColumns& s = out.sites;
  const size_t n = s.size();
  nb::object radius = q.has_radius() ? to_array(std::move(s.radius)) : nb::none();
  nb::object bits = bits_array(out.bits, q.channels());
  return nb::make_tuple(to_array(std::move(s.x)), to_array(std::move(s.y)),
                        to_array(std::move(s.log_tau)), to_array(std::move(s.log_anisotropy)),
                        to_array(std::move(s.angle)), radius,
                        to_array(std::move(s.color), {n, static_cast<size_t>(channels)}), bits,
                        to_array(std::move(out.classes)));
}

nb::tuple analyze(int64_t width, int64_t height, const std::vector<int64_t>& quantizer,
                  const IntColumn& x, const IntColumn& y, const IntColumn& log_tau,
                  const IntColumn& log_anisotropy, const IntColumn& angle,
                  const std::optional<IntColumn>& radius, const IntMatrix& color, int threads,
                  const std::vector<int32_t>& groups, const LayerColumn& layer) {
  check_threads(threads);
  const Quantizer q = Quantizer::make(width, height, quantizer);
  const SiteColumns sites = to_columns(q, x, y, log_tau, log_anisotropy, angle, radius, color);
  const Partition parts = to_partition(groups, layer);
  RecordedSites out;
  {
    nb::gil_scoped_release release;
    out = record(q, sites, parts, threads);
  }
  const size_t n = sites.size();
  const auto columns = static_cast<size_t>(kColor0 + q.channels());
  return nb::make_tuple(to_array(std::move(out.residuals), {n, columns}),
                        to_array(std::move(out.contexts), {n, columns}));
}

nb::object classes(const IntColumn& x, const IntColumn& y, const IntColumn& log_tau, int64_t width,
                   int64_t height, const std::vector<int64_t>& quantizer, int threads,
                   const std::vector<int32_t>& groups, const LayerColumn& layer) {
  check_threads(threads);
  const Quantizer q = Quantizer::make(width, height, quantizer);
  std::vector<int8_t> out;
  const std::vector<int32_t> vx = to_vector(x);
  const std::vector<int32_t> vy = to_vector(y);
  const std::vector<int32_t> vt = to_vector(log_tau);
  const Partition parts = to_partition(groups, layer);
  {
    nb::gil_scoped_release release;
    out = classes_of(q, vx, vy, vt, parts, threads);
  }
  return to_array(std::move(out));
}

nb::object levels(int64_t count, int64_t step_log_anisotropy, int64_t step_angle) {
  if (step_log_anisotropy < 1 || step_log_anisotropy > 65535 || step_angle < 1 ||
      step_angle > 65535)
    throw std::invalid_argument("quantizer field out of range");
  if (count < 0 || count > 6 * 1024 / step_log_anisotropy + 1)
    throw std::invalid_argument("more symbols than log_anisotropy has");
  std::vector<int32_t> out(static_cast<size_t>(count));
  for (int64_t a = 0; a < count; ++a)
    out[static_cast<size_t>(a)] = angle_levels(a, step_log_anisotropy, step_angle);
  return to_array(std::move(out));
}

using ClassColumn = nb::ndarray<const int8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using FlagColumn = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

Frame to_frame(const Quantizer& q, const IntMatrix& rows, const ClassColumn& classes,
               const FlagColumn& changed) {
  if (rows.shape(1) != static_cast<size_t>(6 + q.channels()))
    throw std::invalid_argument("a row has 6 numbers and one for each channel");
  return {to_vector(rows),
          {classes.data(), classes.data() + classes.size()},
          {changed.data(), changed.data() + changed.size()}};
}

nb::bytes delta(int64_t width, int64_t height, const std::vector<int64_t>& quantizer,
                const IntMatrix& before, const ClassColumn& classes, const FlagColumn& changed,
                const IntMatrix& rows, const IntColumn& source) {
  const Quantizer q = Quantizer::make(width, height, quantizer);
  const Frame frame = to_frame(q, before, classes, changed);
  if (rows.shape(1) != before.shape(1) || rows.shape(0) != source.size())
    throw std::invalid_argument("columns differ in length");
  const std::vector<int32_t> after = to_vector(rows);
  const std::vector<int32_t> from = to_vector(source);
  std::vector<uint8_t> bytes;
  {
    nb::gil_scoped_release release;
    bytes = encode_delta(q, frame, after, from);
  }
  return nb::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

nb::tuple from_delta(const nb::bytes& payload, int64_t count, int64_t width, int64_t height,
                     const std::vector<int64_t>& quantizer, const IntMatrix& before,
                     const ClassColumn& classes, const FlagColumn& changed) {
  const Quantizer q = Quantizer::make(width, height, quantizer);
  const Frame frame = to_frame(q, before, classes, changed);
  if (count < 1 || count > kMaxSites) throw std::invalid_argument("site count out of range");
  DeltaFrame out;
  {
    nb::gil_scoped_release release;
    out = decode_delta(q, frame, static_cast<size_t>(count),
                       reinterpret_cast<const uint8_t*>(payload.c_str()), payload.size());
  }
  const size_t n = out.source.size();
  return nb::make_tuple(to_array(std::move(out.frame.rows), {n, before.shape(1)}),
                        to_array(std::move(out.frame.classes)),
                        to_array(std::move(out.frame.changed)), to_array(std::move(out.source)));
}

std::vector<PrimitiveRow> to_primitives(const IntMatrix& rows) {
  if (rows.shape(1) != size_t(kPrimitiveColumns))
    throw std::invalid_argument("a row has 8 numbers");
  std::vector<PrimitiveRow> out(rows.shape(0));
  for (size_t i = 0; i < out.size(); ++i)
    std::copy_n(rows.data() + i * kPrimitiveColumns, kPrimitiveColumns, out[i].begin());
  return out;
}

PrimitiveQuantizer to_quantizer(const std::vector<int64_t>& q) {
  if (q.size() != 6) throw std::invalid_argument("a quantizer of primitives has 6 fields");
  return {q[0], q[1], q[2], q[3], q[4], q[5]};
}

nb::object costs_array(const PrimitiveCosts& bits) {
  return to_array(std::vector<double>(bits.begin(), bits.end()));
}

nb::tuple primitives(const std::vector<int64_t>& quantizer, const IntMatrix& rows,
                     const std::optional<IntMatrix>& before) {
  const PrimitiveQuantizer q = to_quantizer(quantizer);
  const std::vector<PrimitiveRow> given = to_primitives(rows);
  const std::vector<PrimitiveRow> last =
      before ? to_primitives(*before) : std::vector<PrimitiveRow>();
  CodedPrimitives out;
  {
    nb::gil_scoped_release release;
    out = encode_primitives(q, given, before ? &last : nullptr);
  }
  return nb::make_tuple(
      nb::bytes(reinterpret_cast<const char*>(out.bytes.data()), out.bytes.size()),
      costs_array(out.bits));
}

nb::tuple from_primitives(const nb::bytes& payload, int64_t count,
                          const std::vector<int64_t>& quantizer,
                          const std::optional<IntMatrix>& before) {
  const PrimitiveQuantizer q = to_quantizer(quantizer);
  if (count < 1 || count > kMaxPrimitives)
    throw std::invalid_argument("primitive count out of range");
  const std::vector<PrimitiveRow> last =
      before ? to_primitives(*before) : std::vector<PrimitiveRow>();
  DecodedPrimitives out;
  {
    nb::gil_scoped_release release;
    out = decode_primitives(q, static_cast<size_t>(count), before ? &last : nullptr,
                            reinterpret_cast<const uint8_t*>(payload.c_str()), payload.size());
  }
  std::vector<int32_t> flat;
  flat.reserve(out.rows.size() * kPrimitiveColumns);
  for (const PrimitiveRow& row : out.rows) flat.insert(flat.end(), row.begin(), row.end());
  return nb::make_tuple(to_array(std::move(flat), {out.rows.size(), size_t(kPrimitiveColumns)}),
                        costs_array(out.bits));
}

nb::object directions(const std::vector<int64_t>& quantizer) {
  const PrimitiveQuantizer q = to_quantizer(quantizer);
  q.check();
  std::vector<int32_t> out(static_cast<size_t>(q.max_radius()) + 1);
  for (size_t r = 0; r < out.size(); ++r) out[r] = q.directions(static_cast<int64_t>(r));
  return to_array(std::move(out));
}

}  // namespace

NB_MODULE(_coder, m) {
  using namespace nb::literals;
  m.doc() = "Integer-only coder of quantized sites. Bad data raises ValueError.";
  m.def(
      "encode", &encode<encode_range>, "width"_a, "height"_a, "quantizer"_a, "x"_a, "y"_a,
      "log_tau"_a, "log_anisotropy"_a, "angle"_a, "radius"_a.none(), "color"_a, "threads"_a = 1,
      "groups"_a = std::vector<int32_t>{1}, "layer"_a.none() = nb::none(),
      "Range profile: (groups, order int32 [N], bits float64 [5 + C], classes, models). A group is "
      "(payload bytes, "
      "first site, sites, low, high, spacing); of a single one the last three are 0. `groups` has "
      "their number in each layer, `layer` the layer of each site if there are several.");
  nb::class_<Models>(m, "Models", "State that the models of a file's groups start from.");
  m.def("read_models", &read_models, "table"_a, "width"_a, "height"_a, "quantizer"_a,
        "Models of a table that encode() made.");
  m.def("decode", &decode<decode_range>, "payload"_a, "count"_a, "channels"_a, "width"_a,
        "height"_a, "quantizer"_a, "threads"_a = 1, "group"_a.none() = nb::none(),
        "models"_a.none() = nb::none(),
        "Range profile: (x, y, log_tau, log_anisotropy, angle, radius or None, color, bits, colour "
        "classes) of one group: (low, high, spacing), None if it is the only one.");
  m.def("residuals", &encode<encode_residuals>, "width"_a, "height"_a, "quantizer"_a, "x"_a, "y"_a,
        "log_tau"_a, "log_anisotropy"_a, "angle"_a, "radius"_a.none(), "color"_a, "threads"_a = 1,
        "groups"_a = std::vector<int32_t>{1}, "layer"_a.none() = nb::none(),
        "The zstd profile before compression, as encode().");
  m.def("from_residuals", &decode<decode_residuals>, "payload"_a, "count"_a, "channels"_a,
        "width"_a, "height"_a, "quantizer"_a, "threads"_a = 1, "group"_a.none() = nb::none(),
        "models"_a.none() = nb::none(), "Inverse of residuals(), as decode().");
  m.def("analyze", &analyze, "width"_a, "height"_a, "quantizer"_a, "x"_a, "y"_a, "log_tau"_a,
        "log_anisotropy"_a, "angle"_a, "radius"_a.none(), "color"_a, "threads"_a = 1,
        "groups"_a = std::vector<int32_t>{1}, "layer"_a.none() = nb::none(),
        "(residuals, classes of their expected size), int32 [N, 5 + C] each, as the input.");
  m.def("color_classes", &classes, "x"_a, "y"_a, "log_tau"_a, "width"_a, "height"_a, "quantizer"_a,
        "threads"_a = 1, "groups"_a = std::vector<int32_t>{1}, "layer"_a.none() = nb::none(),
        "Colour step classes, int8 [N], -8..8, in the order of the input.");
  m.def(
      "delta", &delta, "width"_a, "height"_a, "quantizer"_a, "before"_a, "classes"_a, "changed"_a,
      "rows"_a, "source"_a,
      "Payload of sites int32 [M, 6 + C] against those of the frame before, int32 [N, 6 + C], with "
      "their colour classes int8 [N] and what changed then uint8 [N]; source int32 [M] ascends.");
  m.def("from_delta", &from_delta, "payload"_a, "count"_a, "width"_a, "height"_a, "quantizer"_a,
        "before"_a, "classes"_a, "changed"_a,
        "Inverse of delta(): (rows, classes, changed, source) of `count` sites.");
  m.def("angle_levels", &levels, "count"_a, "step_log_anisotropy"_a, "step_angle"_a,
        "Directions of a site by its log_anisotropy symbol 0..count-1, int32 [count].");
  m.def("primitives", &primitives, "quantizer"_a, "rows"_a, "before"_a.none() = nb::none(),
        "(payload, bits float64 [8]) of primitives int32 [N, 8], front to back, against those of "
        "the frame before if given. quantizer: cells of the grid, step_log_radius, step_arc, "
        "levels of opacity and colour.");
  m.def("from_primitives", &from_primitives, "payload"_a, "count"_a, "quantizer"_a,
        "before"_a.none() = nb::none(), "Inverse of primitives(): (rows, bits).");
  m.def("primitive_directions", &directions, "quantizer"_a,
        "Directions of a primitive by its radius symbol, int32.");
}
