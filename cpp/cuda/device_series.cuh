#pragma once

#include <cstdint>
#include <optional>

#include "device.cuh"
#include "sep/rolling.hpp"

namespace sep::cuda {

/// A series of bits in device memory, as `Roller` keeps it on the host: packed, 64 to a word.
struct DeviceSeries {
    using Words = DeviceArray<std::uint64_t>;

    std::uint64_t prices;
    std::uint64_t bits_size = 0;
    Words bits;
    Words joined;
    std::optional<Words> flat;     ///< by price; none for bits
    std::optional<Words> errors;   ///< only if predictions are asked for
    std::optional<Words> emitted;  ///< by price; none: every price gave a bit
    std::optional<Words> before;   ///< bits before each 64 prices

    DeviceSeries(std::uint64_t size, const Stream& stream);
};

/// Pack bits and check them. `gap` may be nullptr.
/// @throws InvalidArgument  a value is neither 0 nor 1; the message names the first such row.
DeviceSeries packed_series(const std::uint8_t* bits, const std::uint8_t* gap, std::uint64_t size,
                           const RollingSpec& spec, const Stream& stream);

/// Turn prices into bits by the rules of `advance`.
/// @throws InvalidArgument  a price breaks one of them.
DeviceSeries encoded_series(const double* prices, const std::uint8_t* gap, std::uint64_t size,
                            const RollingSpec& spec, const Stream& stream);

}  // namespace sep::cuda
