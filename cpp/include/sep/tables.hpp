#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace sep {

/// Bits that decide lambda: the newest 20, with 19 transitions.
inline constexpr int lambda_bits = 20;
/// Ranges of a window.
inline constexpr int window_min = 8;
inline constexpr int window_max = 1024;

/// What the damped sum needs for one lambda.
///
/// The sum over k of x[k] e^(-lambda k), x being 0 or 1, is taken byte by byte with Horner's rule.
/// One byte holds eight k, the newest in its top bit. byte_sum of a byte is
/// nibble_sum[high] + decay4 * nibble_sum[low]; nibble_sum is the exact sum rounded once.
struct DampedRow {
    double lambda;
    double decay4;  ///< e^(-4 lambda)
    double decay8;  ///< e^(-8 lambda)
    double nibble_sum[16];
    double byte_sum[256];
};

/// Every value of log2 and exp that the metrics use.
///
/// They are made in double-double arithmetic from IEEE basic operations, so that they do not depend
/// on a libm; each is rounded once. Tests compare their sha256.
struct Tables {
    /// g[n] = n log2 n, g[0] = 0.
    std::array<double, window_max> g;
    double log2_3;
    /// One row per lambda: index it by row_of.
    std::vector<DampedRow> rows;
    /// Row for the newest 20 bits, turned so that the newest is 0: row_of[20 * flips + n11], where
    /// n11 counts the pairs (1,1) after the turn. These two fix all four pair counts: with a newest
    /// bit 0, n10 = n01 when flips is even and n10 = n01 + 1 when it is odd.
    std::array<std::uint8_t, lambda_bits * lambda_bits> row_of;
};

/// The tables; made at the first call, which takes about a millisecond, never changed after.
const Tables& tables();

/// What the damped sum needs for one lambda and one window length.
struct DampedSpan {
    double all_ones;      ///< sum of e^(-lambda k) over the terms, rounded once
    std::int32_t terms;   ///< k = 0 .. terms-1: fewer than the window where lambda k > 40
    std::int32_t unused;  ///< keeps the layout the same on the host and on a device
};

/// The tables of one window length.
struct WindowTables {
    /// One span per row of tables().
    std::vector<DampedSpan> spans;
    /// e^(-lambda k) of every row, for its terms; where each row begins.
    std::vector<double> decays;
    std::vector<std::uint32_t> decays_first;
    /// e^(-0.1 k), a line and one period of a sine over window - 1 points, centred, of unit norm.
    std::vector<double> templates;

    /// @param with_path  also make decays and templates, which only the path metrics need.
    WindowTables(int window, bool with_path);
};

}  // namespace sep
