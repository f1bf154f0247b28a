#include <immintrin.h>

#include <cstdint>

namespace sep::simd {
namespace {

inline std::int64_t population(std::uint64_t x) { return __builtin_popcountll(x); }

std::uint64_t compress(std::uint64_t word, std::uint64_t mask) { return _pext_u64(word, mask); }

}  // namespace
}  // namespace sep::simd

#define SEP_KERNELS avx2
#define SEP_KERNELS_NAME "AVX2"
#include "kernels.inc"
