// Binarization of residuals and directions for the range profile.
#pragma once

#include <cstdint>
#include <cstdlib>

#include "range_coder.h"
#include "sites.h"

namespace sad::coder {

constexpr int kResidualContexts = 32;
constexpr int kUnaryBins = 14;
constexpr int kEscapeBins = 24;

struct ResidualModel {
    AdaptiveBit nonzero[3], negative[3], unary[kUnaryBins], escape[kEscapeBins];
};

template <class Coder>
class ResidualCoder {
public:
    explicit ResidualCoder(Coder& coder) : coder_(coder) {}

    // zero flag, sign, magnitude - 1 in unary, from 14 on Elias gamma of the rest
    int64_t residual(int column, int context, int third, int64_t value) {
        ResidualModel& model = models_[column][context];
        if (!coder_.bit(model.nonzero[third], value != 0)) return 0;
        const bool negative = coder_.bit(model.negative[third], value < 0);
        const auto rest = static_cast<uint32_t>(std::llabs(value)) - 1;
        uint32_t magnitude = 0;
        while (magnitude < kUnaryBins && coder_.bit(model.unary[magnitude], rest > magnitude)) ++magnitude;
        if (magnitude == kUnaryBins) {
            const uint32_t excess = rest - kUnaryBins + 1;
            const int length = bit_length(excess) - 1;
            int bits = 0;
            while (coder_.bit(model.escape[bits], length > bits))
                if (++bits >= kEscapeBins) throw CorruptPayload("residual out of range");
            magnitude = kUnaryBins - 1 + ((1u << bits) | coder_.bits(excess & ((1u << bits) - 1), bits));
        }
        const int64_t result = int64_t(magnitude) + 1;
        return negative ? -result : result;
    }

    int64_t direction(int64_t value, int32_t levels) {
        return coder_.uniform(static_cast<uint32_t>(value), static_cast<uint32_t>(levels));
    }

private:
    Coder& coder_;
    ResidualModel models_[kMaxColumns][kResidualContexts];
};

}  // namespace sad::coder
