#pragma once

#include <cstdint>
#include <cstring>

#ifndef __CUDA_ARCH__
#include <bit>
#include <cmath>
#endif

#include "sep/window.hpp"

/// The metrics of one full window without a gap, in binary32, from words that a block shares.
///
/// A float32 result is the canonical binary64 value rounded once. The counts decide all of them but
/// the damped sums exactly. Those are summed another way, with a bound of the error: where both
/// ends of the interval round to the same float32 it is the canonical one; else the window is
/// summed again in the canonical order. So the bytes do not depend on the way.
namespace sep::cuda {

/// Terms of the damped sum that are added in binary64; the rest, which weigh e^(-30 lambda) or
/// less, come from binary32 tables of six bits.
inline constexpr int exact_terms = 30;
inline constexpr int chunk_bits = 6;
inline constexpr int chunk_values = 1 << chunk_bits;
/// Chunks that reach the end of a window of 64 bits; and those that suffice for any window, because
/// what lies beyond weighs less than the bound of the error.
inline constexpr int chunks_short = 6;
inline constexpr int chunks_long = 9;
inline constexpr int terms_long = exact_terms + chunk_bits * chunks_long;
static_assert(exact_terms + chunk_bits * chunks_short >= 64 && terms_long <= 96);
/// Below this many bits a window is too short for `exact_terms`.
inline constexpr int tile_window_min = 32;
/// Bits before the newest that are read: three words of 32, and one more for the shift.
inline constexpr int tile_reach_min = 128;

/// Word i of a tile: 32 bits of the series, the oldest lowest.
struct alignas(16) TileWord {
    std::uint32_t bits;
    std::uint32_t older;   ///< bits of word i - 1
    std::uint32_t flips;   ///< transitions into the bits that change
    std::uint32_t before;  ///< in the tile's earlier words: flips, plus 2^16 times pairs (1,1)
};

/// What the newest 20 bits decide; found by 20 * flips + n11, as Tables::row_of.
struct alignas(16) TileRow {
    double decay;        ///< e^-lambda
    float decay_chunk;   ///< e^(-6 lambda)
    std::uint32_t sums;  ///< where the row's chunk sums begin, in bytes
};
struct alignas(16) TileTail {
    double error;  ///< bound of the error of a damped sum
    float lambda;
    /// Minus the weights that the last chunk has beyond the window, e^(-lambda k) from exact_terms
    /// on, k from 0: there its bits are 0, which counts as +1.
    float beyond;
};

/// What n pairs of neighbouring bits give.
struct alignas(16) TileCount {
    double g;     ///< n log2 n
    float share;  ///< n / (window - 1)
    float rest;   ///< 1 - n / (window - 1)
};

/// Tables for one window length, in the memory of the host or of a block.
struct TileView {
    int window;
    double entropy_scale;  ///< (window - 1) log2 3
    double entropy_reciprocal;
    double transitions;  ///< window - 1
    double transitions_reciprocal;
    double g_all;             ///< g[window - 1]
    std::uint32_t kept[3];    ///< of the newest 96 bits, those in the window and in the tables
    const TileCount* counts;  ///< by n, below the window
    const double* g_changed;  ///< by flips: g[n01] + g[n10]
    const double* g_after;    ///< by ones among all bits but the newest: g[A0] + g[A1]
    const TileRow* rows;
    const TileTail* tails;
    const float* chunk_sums;  ///< sum of e^(-lambda k) over a chunk, its ones counted minus
};

/// What the counts of a window give, and the words that its damped sum needs.
struct TileCounts {
    float metric[8];          ///< in the order of WindowMetrics
    int row;                  ///< 20 * flips + n11 of the newest 20 bits
    std::uint32_t newest;     ///< the newest bit
    std::uint32_t turned[3];  ///< the newest 96 bits, 1 where a bit differs from the newest
};

/// An interval's middle and half width.
struct TileSum {
    double value;  ///< turned, so that the newest bit counts +1
    double error;
};

SEP_HOST_DEVICE inline int ones32(std::uint32_t word) {
#ifdef __CUDA_ARCH__
    return __popc(word);
#else
    return std::popcount(word);
#endif
}

/// The upper 32 bits of high:low shifted left by 0..31.
SEP_HOST_DEVICE inline std::uint32_t shifted(std::uint32_t high, std::uint32_t low, int by) {
#ifdef __CUDA_ARCH__
    return __funnelshift_l(low, high, by);
#else
    return by == 0 ? high : high << by | low >> (32 - by);
#endif
}

SEP_HOST_DEVICE inline double fused(double a, double b, double c) {
#ifdef __CUDA_ARCH__
    return __fma_rn(a, b, c);
#else
    return std::fma(a, b, c);
#endif
}

/// value / divisor rounded once, from the rounded reciprocal.
/// Source: P. W. Markstein, "Computation of elementary functions on the IBM RISC System/6000
/// processor", IBM Journal of Research and Development 34 (1990). A test tries every count.
SEP_HOST_DEVICE inline double quotient(double value, double divisor, double reciprocal) {
    const double near = value * reciprocal;
    return fused(fused(-divisor, near, value), reciprocal, near);
}

/// The value with its sign changed where the top bit of `sign` is set.
SEP_HOST_DEVICE inline double turned_by(double value, std::uint32_t sign) {
    sign &= 0x80000000U;
#ifdef __CUDA_ARCH__
    return __hiloint2double(__double2hiint(value) ^ static_cast<int>(sign), __double2loint(value));
#else
    return std::bit_cast<double>(std::bit_cast<std::uint64_t>(value) ^ std::uint64_t{sign} << 32);
#endif
}

SEP_HOST_DEVICE inline float float_of(std::uint32_t bits) {
#ifdef __CUDA_ARCH__
    return __uint_as_float(bits);
#else
    return std::bit_cast<float>(bits);
#endif
}

/// Bits first..first+5 of three words, the newest on top, as an offset of floats in bytes.
template <int First>
SEP_HOST_DEVICE std::uint32_t chunk_offset(const std::uint32_t (&turned)[3]) {
    constexpr int word = First / 32;
    constexpr int shift = First % 32;
    // The chunk comes to bits 2..7, because a float has four bytes.
    std::uint32_t value;
    if constexpr (shift <= 24) {
        value = turned[word] >> (24 - shift);
    } else {
        const std::uint32_t low = word + 1 < 3 ? turned[word + 1] : 0;
        value = shifted(turned[word], low, shift - 24);
    }
    return value & ((chunk_values - 1) << 2);
}

template <int Chunk, int Chunks>
SEP_HOST_DEVICE float tail_sum(const std::uint32_t (&turned)[3], const char* sums,
                               std::uint32_t row, float decay) {
    const std::uint32_t at = chunk_offset<exact_terms + chunk_bits * Chunk>(turned) | row;
    const float here = *reinterpret_cast<const float*>(sums + at);
    if constexpr (Chunk + 1 < Chunks) {
        const float older = tail_sum<Chunk + 1, Chunks>(turned, sums, row, decay);
#ifdef __CUDA_ARCH__
        return __fmaf_rn(decay, older, here);
#else
        return std::fma(decay, older, here);
#endif
    } else {
        return here;
    }
}

/// @param words   of the tile; the window and the 128 bits up to `newest` lie in them.
/// @param newest  the window's newest bit, counted from the first of the words.
SEP_HOST_DEVICE inline TileCounts tile_counts(const TileWord* words, int newest,
                                              const TileView& t) {
    const TileWord last = words[newest >> 5];
    const TileWord earlier = words[(newest >> 5) - 2];
    const int first_bit = newest - t.window + 1;
    const TileWord first = words[first_bit >> 5];
    const int shift = 31 - (newest & 31);
    const int shift_first = 31 - (first_bit & 31);

    // Flips, plus 2^16 times pairs (1,1), among the transitions after the first bit.
    const std::uint32_t sums =
        last.before - first.before + ones32(last.flips << shift) -
        ones32(first.flips << shift_first) +
        (static_cast<std::uint32_t>(ones32((last.bits & ~last.flips) << shift)) << 16) -
        (static_cast<std::uint32_t>(ones32((first.bits & ~first.flips) << shift_first)) << 16);
    const int flips = static_cast<int>(sums & 0xFFFF);
    const int n11 = static_cast<int>(sums >> 16);
    const int n00 = t.window - 1 - flips - n11;
    const std::uint32_t word = shifted(last.bits, last.older, shift);
    TileCounts c;
    c.newest = word >> 31;
    const int oldest = static_cast<int>(first.bits << shift_first >> 31);
    // n01 - n10 is the newest bit minus the oldest.
    const int n10 = (flips - (static_cast<int>(c.newest) - oldest)) >> 1;

    const TileCount zeros = t.counts[n00];
    const TileCount changes = t.counts[flips];
    const TileCount ones = t.counts[n11];
    const double equal = zeros.g + ones.g;
    const double entropy =
        quotient(t.g_all - (equal + changes.g), t.entropy_scale, t.entropy_reciprocal);
    const double next = quotient(t.g_after[n11 + n10] - (equal + t.g_changed[flips]), t.transitions,
                                 t.transitions_reciprocal);
    c.metric[0] = zeros.share;
    c.metric[1] = changes.share;
    c.metric[2] = ones.share;
    c.metric[3] = static_cast<float>(entropy);
    // The canonical value clamps `next` to 0..1; clamping 1 - next gives the same number.
    const float known = static_cast<float>(1.0 - next);
    c.metric[4] = known < 0.0F ? 0.0F : known > 1.0F ? 1.0F : known;
    c.metric[5] = static_cast<float>(1.0 - entropy);
    c.metric[6] = changes.rest;
    const int excess = n11 - n00;
    const float size = t.counts[excess < 0 ? -excess : excess].share;
    c.metric[7] = excess < 0 ? -size : size;

    const std::uint32_t turn = 0U - c.newest;
    c.turned[0] = word ^ turn;
    c.turned[1] = shifted(last.older, earlier.bits, shift) ^ turn;
    c.turned[2] = shifted(earlier.bits, earlier.older, shift) ^ turn;
    constexpr std::uint32_t transitions = 0xFFFFFFFFU << (32 - (lambda_bits - 1));
    const std::uint32_t before = c.turned[0] << 1;
    c.row = lambda_bits * ones32((c.turned[0] ^ before) & transitions) +
            ones32(c.turned[0] & before & transitions);
    return c;
}

template <int Chunks>
SEP_HOST_DEVICE TileSum tile_sum(const TileCounts& c, const TileView& t) {
    const TileRow row = t.rows[c.row];
    const TileTail rest = t.tails[c.row];
    const std::uint32_t kept[3] = {c.turned[0], c.turned[1] & t.kept[1], c.turned[2] & t.kept[2]};
    const float tail = tail_sum<0, Chunks>(kept, reinterpret_cast<const char*>(t.chunk_sums),
                                           row.sums, row.decay_chunk);
    // With s[k] the sign of bit k and V[k] = s[k] + r V[k+1], the product b[k] = s[k] V[k] is
    // 1 + r (s[k] s[k+1]) b[k+1]: one change of sign and one fused step a bit, and s[0] is +1.
    const std::uint32_t flips = c.turned[0] ^ c.turned[0] << 1;
    double sum = turned_by(rest.beyond + tail, c.turned[0] << (exact_terms - 1));
    sum = fused(sum, row.decay, 1.0);
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
    for (int k = exact_terms - 2; k >= 0; --k) {
        sum = fused(turned_by(sum, flips << k), row.decay, 1.0);
    }
    return {sum, rest.error};
}

}  // namespace sep::cuda
