#include "site_coder.h"

#include "column_coder.h"
#include "model_table.h"
#include "range_sink.h"
#include "runs.h"
#include "tau_fit.h"
#include "tau_predictor.h"
#include "varint.h"

namespace sad::coder {
namespace {

void require_range(const std::vector<int32_t>& values, int64_t low, int64_t high,
                   const char* message) {
  for (const int32_t v : values) require(v >= low && v <= high, message);
}

void require_positions(const Quantizer& q, const std::vector<int32_t>& x,
                       const std::vector<int32_t>& y) {
  require(!x.empty() && x.size() <= size_t(kMaxSites), "site count out of range");
  require(y.size() == x.size(), "columns differ in length");
  require_range(x, 0, q.grid_width - 1, "x outside the grid");
  require_range(y, 0, q.grid_height - 1, "y outside the grid");
}

void require_valid(const Quantizer& q, const SiteColumns& sites) {
  const size_t n = sites.size();
  require_positions(q, sites.x, sites.y);
  require(sites.log_tau.size() == n && sites.log_anisotropy.size() == n &&
              sites.angle.size() == n && sites.radius.size() == (q.has_radius() ? n : 0) &&
              sites.color.size() == n * q.channels(),
          "columns differ in length");
  require_range(sites.log_tau, -q.max_log_tau(), q.max_log_tau(), "log_tau out of range");
  require_range(sites.log_anisotropy, 0, q.max_log_anisotropy(), "log_anisotropy out of range");
  require_range(sites.radius, -q.max_radius(), q.max_radius(), "radius out of range");
  for (size_t i = 0; i < n; ++i)
    require(sites.angle[i] >= 0 &&
                sites.angle[i] <
                    angle_levels(sites.log_anisotropy[i], q.step_log_anisotropy, q.step_angle),
            "angle out of range");
  // Colours depend on the classes and are checked while they are coded.
}

void require_partition(const Partition& parts, size_t sites) {
  const size_t layers = parts.groups.size();
  require(layers >= 1 && parts.layer.size() == (layers > 1 ? sites : 0),
          "layers and groups do not fit together");
  std::vector<size_t> counts(layers);
  require_range(parts.layer, 0, static_cast<int64_t>(layers) - 1, "layer out of range");
  for (const int32_t layer : parts.layer) ++counts[layer];
  if (layers == 1) counts[0] = sites;
  for (size_t l = 0; l < layers; ++l)
    require(parts.groups[l] < 0 || (parts.groups[l] >= 1 && size_t(parts.groups[l]) <= counts[l]),
            "more groups than sites");
}

// Colour step classes -8..8 in the order of the sites.
std::vector<int8_t> signed_classes(const std::vector<SiteNeighbours>& near,
                                   const std::vector<int32_t>& log_tau, const Quantizer& q,
                                   int64_t reference) {
  std::vector<int8_t> classes = color_classes(near, log_tau, q, reference);
  for (int8_t& k : classes) k = static_cast<int8_t>(k - 8);
  return classes;
}

// What a decoder knows of a run once it has the positions.
struct Known {
  KeyInterval interval;
  std::vector<SiteNeighbours> near;
  int64_t reference = 0;

  Known(const Quantizer& q, const std::optional<GroupFields>& group)
      : interval(all_keys(SplitOrder(q))) {
    if (!group) return;
    require(group->low >= 0 && group->low <= group->high && group->high <= 65535 &&
                group->spacing >= 0 && group->spacing <= 65535,
            "group fields out of range");
    const int64_t end = interval.end;
    interval = interval_of(SplitOrder(q), *group);
    require(interval.end <= end, "group fields out of range");
  }
  void look(const SiteColumns& sites, const std::optional<GroupFields>& group, int threads) {
    near = find_neighbours(sites.x, sites.y, threads);
    reference = group ? group->spacing << kSpacingShift : mean_spacing(near);
  }
};

// The position coder reads a single site's bits without regard to the interval.
void require_inside(const Quantizer& q, const KeyInterval& interval, const SiteColumns& sites) {
  const SplitOrder order(q);
  const size_t last = sites.size() - 1;
  require(interval.contains(morton_key(order, sites.x[0], sites.y[0])) &&
              interval.contains(morton_key(order, sites.x[last], sites.y[last])),
          "positions outside the group's interval");
}

void resize_columns(const Quantizer& q, SiteColumns& sites, size_t n) {
  sites.log_tau.resize(n);
  sites.log_anisotropy.resize(n);
  sites.angle.resize(n);
  if (q.has_radius()) sites.radius.resize(n);
  sites.color.resize(n * q.channels());
}

void put_predictor(std::vector<uint8_t>& out, const TauPredictor& p) {
  for (const int32_t v : {p.alpha, p.beta, p.delta, p.gamma}) put_varint(out, v);
}

TauPredictor get_predictor(VarintReader& reader) {
  int32_t v[4];
  for (int32_t& item : v)
    item = checked(reader.next(), -kMaxCoefficient, kMaxCoefficient,
                   "prediction coefficient out of range");
  return {v[0], v[1], v[2], v[3]};
}

// Residuals of the zstd profile; directions as the nearest residual, -levels/2..levels/2.
struct VarintWriteSink {
  std::vector<uint8_t>& out;
  std::array<double, kMaxColumns>& bits;

  int64_t residual(int column, const ResidualContext&, int64_t value) { return put(column, value); }
  int32_t direction(const DirectionContext&, int32_t value, int32_t levels) {
    put(kAngle, value > levels / 2 ? value - levels : value);
    return value;
  }
  int64_t put(int column, int64_t value) {
    const size_t before = out.size();
    put_varint(out, value);
    bits[column] += 8.0 * static_cast<double>(out.size() - before);
    return value;
  }
};

struct VarintReadSink {
  VarintReader& in;
  std::array<double, kMaxColumns>& bits;

  int64_t residual(int column, const ResidualContext&, int64_t) { return get(column); }
  int32_t direction(const DirectionContext&, int32_t, int32_t levels) {
    const int32_t value =
        checked(get(kAngle), -((levels - 1) / 2), levels / 2, "angle out of range");
    return value < 0 ? value + levels : value;
  }
  int64_t get(int column) {
    const size_t before = in.position();
    const int64_t value = in.next();
    bits[column] += 8.0 * static_cast<double>(in.position() - before);
    return value;
  }
};

// Notes every residual and its expected size; codes nothing.
struct RecordSink {
  size_t columns;
  RecordedSites& out;
  std::array<size_t, kMaxColumns> next{};

  int64_t residual(int column, const ResidualContext& context, int64_t value) {
    const size_t at = next[column]++ * columns + column;
    out.residuals[at] = static_cast<int32_t>(value);
    out.contexts[at] = context.scale;
    return value;
  }
  int32_t direction(const DirectionContext&, int32_t value, int32_t) { return value; }
};

}  // namespace

namespace {

// Codes every run with `code_run(run, bytes, bits)`.
template <class CodeRun>
EncodedSites encode_runs(const Quantizer& q, Runs&& runs, size_t sites, int threads,
                         CodeRun&& code_run) {
  EncodedSites out;
  out.groups.resize(runs.list.size());
  out.classes.resize(sites);
  std::vector<std::array<double, kMaxColumns>> bits(runs.list.size());
  for_each_run(runs.list.size(), threads, [&](size_t g) {
    Run& run = runs.list[g];
    EncodedGroup& group = out.groups[g];
    group.first = run.first;
    group.count = static_cast<int32_t>(run.sites.size());
    group.fields = run.fields;
    code_run(run, group.bytes, bits[g]);
    const std::vector<int8_t> classes =
        signed_classes(run.near, run.sites.log_tau, q, run.reference);
    std::copy(classes.begin(), classes.end(), out.classes.begin() + run.first);
  });
  for (const auto& part : bits)
    for (int c = 0; c < kMaxColumns; ++c) out.bits[c] += part[c];
  out.order = std::move(runs.order);
  return out;
}

Runs checked_runs(const Quantizer& q, const SiteColumns& input, const Partition& parts,
                  int threads) {
  require_valid(q, input);
  require_partition(parts, input.size());
  return make_runs(q, input, parts, threads);
}

// A table of the models that meet these runs, or a part of them from all over the picture: the
// share of ones that each model has met, and the mean of each weight at the ends of the runs.
std::vector<uint8_t> train(const Quantizer& q, std::vector<Run>& runs) {
  constexpr size_t kMostRuns = 128;
  const size_t step = (runs.size() + kMostRuns - 1) / kMostRuns;
  TrainingEncoder coder;
  std::array<double, kMaxColumns> bits{};
  auto models = std::make_unique<ResidualModels>();
  std::vector<int64_t> weights;
  int64_t count = 0;
  const auto nothing = [](const AdaptiveBit&) {};
  for (size_t g = step / 2; g < runs.size(); g += step, ++count) {
    Run& run = runs[g];
    RangeSink<TrainingEncoder> sink(coder, bits, *models);
    coder.count(sink.models());
    const TauPredictor predictor = fit_tau_predictor(run.near, run.sites.log_tau);
    ColumnCoder<RangeSink<TrainingEncoder>>(sink, q, predictor, run.near, run.reference, run.sites)
        .run();
    *models = sink.models();
    size_t next = 0;
    for_each_model(q, *models, nothing, [&](int32_t weight) {
      if (next == weights.size()) weights.push_back(0);
      weights[next++] += weight;
    });
  }
  for (int64_t& weight : weights) weight = floor_div(weight, count);
  return pack_models(
      q, *models, [&](const AdaptiveBit& m) -> const auto& { return coder.seen(*models, m); },
      weights);
}

}  // namespace

EncodedSites encode_range(const Quantizer& q, const SiteColumns& input, const Partition& parts,
                          int threads) {
  Runs runs = checked_runs(q, input, parts, threads);
  std::vector<uint8_t> table;
  std::unique_ptr<ResidualModels> start;
  const bool by_keys = *std::min_element(parts.groups.begin(), parts.groups.end()) < 0;
  if (by_keys && runs.list.size() > 1) {
    table = train(q, runs.list);
    start = unpack_models(q, table.data(), table.size());
  }
  const auto code_run = [&](Run& run, auto& bytes, auto& bits) {
    const TauPredictor predictor = fit_tau_predictor(run.near, run.sites.log_tau);
    put_predictor(bytes, predictor);
    RangeEncoder coder;
    PositionCoder<RangeEncoder>(coder, q, run.interval)
        .run(static_cast<int32_t>(run.sites.size()), run.keys, run.sites.x, run.sites.y);
    bits[kPosition] = coder.cost();
    RangeSink<RangeEncoder> sink(coder, bits, start ? *start : kFreshModels());
    ColumnCoder<RangeSink<RangeEncoder>>(sink, q, predictor, run.near, run.reference, run.sites)
        .run();
    const std::vector<uint8_t> coded = coder.finish();
    bytes.insert(bytes.end(), coded.begin(), coded.end());
  };
  EncodedSites out = encode_runs(q, std::move(runs), input.size(), threads, code_run);
  out.models = std::move(table);
  return out;
}

DecodedSites decode_range(const Quantizer& q, int32_t count, const uint8_t* data, size_t size,
                          const std::optional<GroupFields>& group, int threads,
                          const ResidualModels* start) {
  require(count >= 1 && count <= kMaxSites, "site count out of range");
  Known known(q, group);
  DecodedSites out;
  VarintReader reader(data, size);
  const TauPredictor predictor = get_predictor(reader);
  RangeDecoder coder(data + reader.position(), size - reader.position());
  SiteColumns& sites = out.sites;
  PositionCoder<RangeDecoder>(coder, q, known.interval).run(count, {}, sites.x, sites.y);
  require_inside(q, known.interval, sites);
  out.bits[kPosition] = coder.cost();
  known.look(sites, group, threads);
  resize_columns(q, sites, count);
  RangeSink<RangeDecoder> sink(coder, out.bits, start ? *start : kFreshModels());
  ColumnCoder<RangeSink<RangeDecoder>>(sink, q, predictor, known.near, known.reference, sites)
      .run();
  coder.finish();
  out.classes = signed_classes(known.near, sites.log_tau, q, known.reference);
  return out;
}

EncodedSites encode_residuals(const Quantizer& q, const SiteColumns& input, const Partition& parts,
                              int threads) {
  Runs runs = checked_runs(q, input, parts, threads);
  const size_t sites = input.size();
  return encode_runs(q, std::move(runs), sites, threads, [&](Run& run, auto& bytes, auto& bits) {
    const TauPredictor predictor = fit_tau_predictor(run.near, run.sites.log_tau);
    put_predictor(bytes, predictor);
    VarintWriteSink sink{bytes, bits};
    for (const std::vector<int32_t>* axis : {&run.sites.x, &run.sites.y}) {
      int32_t previous = 0;
      for (const int32_t value : *axis) {
        sink.put(kPosition, value - previous);
        previous = value;
      }
    }
    ColumnCoder<VarintWriteSink>(sink, q, predictor, run.near, run.reference, run.sites).run();
  });
}

DecodedSites decode_residuals(const Quantizer& q, int32_t count, const uint8_t* data, size_t size,
                              const std::optional<GroupFields>& group, int threads,
                              const ResidualModels*) {
  require(count >= 1 && count <= kMaxSites, "site count out of range");
  require(size_t(count) * (5 + q.channels()) <= size, "payload ends too early");
  Known known(q, group);
  DecodedSites out;
  SiteColumns& sites = out.sites;
  VarintReader reader(data, size);
  const TauPredictor predictor = get_predictor(reader);
  VarintReadSink sink{reader, out.bits};
  for (auto [axis, limit] :
       {std::pair{&sites.x, q.grid_width}, std::pair{&sites.y, q.grid_height}}) {
    int64_t value = 0;
    axis->resize(count);
    for (int32_t& item : *axis) {
      value += sink.get(kPosition);
      item = checked(value, 0, limit - 1, "position outside the grid");
    }
  }
  const SplitOrder order(q);
  for (int32_t i = 1; i < count; ++i)
    require(morton_key(order, sites.x[i - 1], sites.y[i - 1]) <=
                morton_key(order, sites.x[i], sites.y[i]),
            "positions not in traversal order");
  require_inside(q, known.interval, sites);
  known.look(sites, group, threads);
  resize_columns(q, sites, count);
  ColumnCoder<VarintReadSink>(sink, q, predictor, known.near, known.reference, sites).run();
  require(reader.position() == size, "payload length does not match its content");
  out.classes = signed_classes(known.near, sites.log_tau, q, known.reference);
  return out;
}

RecordedSites record(const Quantizer& q, const SiteColumns& input, const Partition& parts,
                     int threads) {
  require_valid(q, input);
  require_partition(parts, input.size());
  Runs runs = make_runs(q, input, parts, threads);
  const auto columns = static_cast<size_t>(kColor0 + q.channels());
  RecordedSites out;
  out.residuals.resize(input.size() * columns);
  out.contexts.resize(input.size() * columns);
  for_each_run(runs.list.size(), threads, [&](size_t g) {
    Run& run = runs.list[g];
    const TauPredictor predictor = fit_tau_predictor(run.near, run.sites.log_tau);
    RecordedSites sorted;
    sorted.residuals.resize(run.sites.size() * columns);
    sorted.contexts.resize(run.sites.size() * columns);
    RecordSink sink{columns, sorted};
    ColumnCoder<RecordSink>(sink, q, predictor, run.near, run.reference, run.sites).run();
    for (size_t i = 0; i < run.sites.size(); ++i)
      for (size_t c = 0; c < columns; ++c) {
        const size_t at = runs.order[run.first + i] * columns + c;
        out.residuals[at] = sorted.residuals[i * columns + c];
        out.contexts[at] = sorted.contexts[i * columns + c];
      }
  });
  return out;
}

std::vector<int8_t> classes_of(const Quantizer& q, const std::vector<int32_t>& x,
                               const std::vector<int32_t>& y, const std::vector<int32_t>& log_tau,
                               const Partition& parts, int threads) {
  require_positions(q, x, y);
  require_partition(parts, x.size());
  require(log_tau.size() == x.size(), "columns differ in length");
  require_range(log_tau, -q.max_log_tau(), q.max_log_tau(), "log_tau out of range");
  SiteColumns input;
  input.x = x;
  input.y = y;
  input.log_tau = log_tau;
  const Runs runs = make_runs(q, input, parts, threads);
  std::vector<int8_t> out(x.size());
  for (const Run& run : runs.list) {
    const std::vector<int8_t> sorted =
        signed_classes(run.near, run.sites.log_tau, q, run.reference);
    for (size_t i = 0; i < sorted.size(); ++i) out[runs.order[run.first + i]] = sorted[i];
  }
  return out;
}

}  // namespace sad::coder
