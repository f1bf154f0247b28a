#pragma once

#include <cstddef>
#include <cstdint>

// Declarations only, as in kernels.hpp.
namespace sep::simd {

/// Element by element; `out` is an input or apart from all of them.
struct StretchKernels {
    void (*join_lowest)(const std::int32_t* a, const std::int32_t* b, std::int32_t* out,
                        std::size_t size);
    void (*join_highest)(const std::int32_t* a, const std::int32_t* b, std::int32_t* out,
                         std::size_t size);
    /// The largest fall in a, in b, and from a's highest to b's lowest.
    void (*join_fall)(const std::int32_t* fall_a, const std::int32_t* highest_a,
                      const std::int32_t* fall_b, const std::int32_t* lowest_b, std::int32_t* out,
                      std::size_t size);
};

extern const StretchKernels stretches_portable;
extern const StretchKernels stretches_avx2;

/// Those of the instruction set that `kernels` gives.
const StretchKernels& stretch_kernels();

}  // namespace sep::simd
