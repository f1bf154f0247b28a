#include "kernels.hpp"
#include "sep/bits.hpp"

namespace sep::simd {
namespace {

// By halves: pairs, nibbles, bytes, then their sum by one product.
inline std::int64_t population(std::uint64_t x) {
    x -= x >> 1 & 0x5555555555555555;
    x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
    x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0F;
    return static_cast<std::int64_t>(x * 0x0101010101010101 >> 56);
}

std::uint64_t compress(std::uint64_t word, std::uint64_t mask) {
    std::uint64_t out = 0;
    for (int count = 0; mask != 0; mask &= mask - 1, ++count) {
        const std::uint64_t lowest = mask & (~mask + 1);
        out |= std::uint64_t{(word & lowest) != 0} << count;
    }
    return out;
}

std::uint64_t nonzero(const std::uint8_t* values, bool& bad) {
    std::uint8_t one[64];
    for (int i = 0; i < 64; ++i) {
        one[i] = values[i] != 0;
        bad |= values[i] > 1;
    }
    bool unused = false;
    return pack_word(one, 64, unused);
}

inline void lines_end() {}

template <class T>
int put_lines(const T*, int begin, int, T*) {
    return begin;
}

template <bool past_caches, class T>
int spread(const T*, const std::uint32_t*, int begin, int, T* const*) {
    return begin;
}

}  // namespace
}  // namespace sep::simd

#define SEP_KERNELS portable
#define SEP_KERNELS_NAME "portable"
#include "bytes.inc"
#include "kernels.inc"
