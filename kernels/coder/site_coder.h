// Whole payloads: range profile, zstd profile (before zstd) and the checks of both.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "residual_models.h"
#include "runs.h"

namespace sad::coder {

struct EncodedGroup {
  int32_t first = 0, count = 0;
  GroupFields fields;  // of the only group all 0
  std::vector<uint8_t> bytes;
};

struct EncodedSites {
  std::vector<EncodedGroup> groups;
  std::vector<int32_t> order;  // order[k] is the input index of the k-th stored site
  std::array<double, kMaxColumns> bits{};
  std::vector<int8_t> classes;  // as of DecodedSites
  std::vector<uint8_t> models;  // what the groups' models start from; empty: as ever
};

struct DecodedSites {
  SiteColumns sites;
  std::vector<int8_t> classes;  // colour step classes -8..8, in stored order
  std::array<double, kMaxColumns> bits{};
};

// Throw std::invalid_argument for columns out of range, or payloads that no encoder writes.
// A payload is coded for each group; a decoder takes one, with the fields of its group unless it is
// the only one. Groups cut by keys have models that start from a table of the file.
EncodedSites encode_range(const Quantizer& q, const SiteColumns& sites, const Partition& parts,
                          int threads);
DecodedSites decode_range(const Quantizer& q, int32_t count, const uint8_t* data, size_t size,
                          const std::optional<GroupFields>& group, int threads,
                          const ResidualModels* start);
EncodedSites encode_residuals(const Quantizer& q, const SiteColumns& sites, const Partition& parts,
                              int threads);
DecodedSites decode_residuals(const Quantizer& q, int32_t count, const uint8_t* data, size_t size,
                              const std::optional<GroupFields>& group, int threads,
                              const ResidualModels* start);

// Residuals and classes of their expected size (0..23), row-major [n, 5 + channels], in the order
// of the input; zero for positions and angles. What an encoder needs to estimate the cost of a
// symbol.
struct RecordedSites {
  std::vector<int32_t> residuals, contexts;
};
RecordedSites record(const Quantizer& q, const SiteColumns& sites, const Partition& parts,
                     int threads);

// Colour step classes -8..8 in the order of the input.
std::vector<int8_t> classes_of(const Quantizer& q, const std::vector<int32_t>& x,
                               const std::vector<int32_t>& y, const std::vector<int32_t>& log_tau,
                               const Partition& parts, int threads);

}  // namespace sad::coder
