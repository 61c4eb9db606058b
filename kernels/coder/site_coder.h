// Whole payloads: range profile, zstd profile (before zstd) and the checks of both.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sites.h"

namespace sad::coder {

struct EncodedSites {
  std::vector<uint8_t> bytes;
  std::vector<int32_t> order;  // order[k] is the input index of the k-th stored site
  std::array<double, kMaxColumns> bits{};
};

struct DecodedSites {
  SiteColumns sites;
  std::vector<int8_t> classes;  // colour step classes -8..8
  std::array<double, kMaxColumns> bits{};
};

// Throw std::invalid_argument for columns out of range, or payloads that no encoder writes.
EncodedSites encode_range(const Quantizer& q, const SiteColumns& sites, int threads = 1);
DecodedSites decode_range(const Quantizer& q, int32_t count, const uint8_t* data, size_t size,
                          int threads = 1);
EncodedSites encode_residuals(const Quantizer& q, const SiteColumns& sites, int threads = 1);
DecodedSites decode_residuals(const Quantizer& q, int32_t count, const uint8_t* data, size_t size,
                              int threads = 1);

// Residuals and classes of their expected size (0..23), row-major [n, 5 + channels], in the order
// of the input; zero for positions and angles. What an encoder needs to estimate the cost of a
// symbol.
struct RecordedSites {
  std::vector<int32_t> residuals, contexts;
};
RecordedSites record(const Quantizer& q, const SiteColumns& sites, int threads = 1);

// Colour step classes -8..8 in the order of the input.
std::vector<int8_t> classes_of(const Quantizer& q, const std::vector<int32_t>& x,
                               const std::vector<int32_t>& y, const std::vector<int32_t>& log_tau,
                               int threads = 1);

}  // namespace sad::coder
