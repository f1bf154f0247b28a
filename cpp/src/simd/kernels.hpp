#pragma once

#include <cstddef>
#include <cstdint>

// What the vector kernels and their caller share. This header holds declarations and plain data
// only: its kernels are compiled once for each instruction set, and an inline function that two of
// them instantiate could run where its instructions do not exist.
namespace sep::simd {

/// Windows that are computed together. What a block holds stays in the second-level cache.
inline constexpr int block_windows = 4096;
/// Sums that a kernel takes at once.
inline constexpr int lanes = 8;
inline constexpr int column_count = 13;
/// Metrics that the pair counts decide: the first columns.
inline constexpr int count_columns = 8;
/// Keys of the newest 20 bits, 20 * flips + n11, and how many of them exist.
inline constexpr int key_count = 400;
inline constexpr int key_count_used = 210;
/// Longer windows have no table of records.
inline constexpr int record_window_max = 512;

/// Columns of a block, in the order of the first members of WindowMetrics.
enum ColumnIndex {
    null_ratio,
    flip_ratio,
    rupture_ratio,
    entropy,
    coherence,
    state_coherence,
    stability,
    balance,
    lambda,
    damped,
    damped_anchored,
    path_confidence,
    path_similarity,
};

/// What the damped sums need of one lambda: members of DampedRow and DampedSpan.
struct DampedKey {
    double decay4;
    double decay8;
    const double* nibble_sum;
    const double* byte_sum;
    double all_ones;
    std::int64_t terms;
    const double* decays;  ///< of the terms, if the path is asked for
};

struct KernelTables {
    int window;
    const double* g;
    double entropy_scale;  ///< (window - 1) log2 3
    const double* shares;  ///< shares[n] = n / (window - 1), for n of either sign
    /// The count metrics of every window without a gap, eight to a record, or nullptr. A record
    /// lies at ((flips * window + n11) * 2 + (flips is odd and the newest bit is 1)).
    const float* records_single;
    const double* records;
    const double* lambda_of;  ///< by key
    const float* lambda_single_of;
    const DampedKey* damped_of;  ///< by key
    const double* templates;     ///< three of window - 1 values, if the path is asked for
};

/// A packed series. Every window lies at least 64 bits after its beginning.
struct Series {
    const std::uint64_t* bits;
};

/// Where results go, by ColumnIndex; nullptr: not wanted. All are of one type.
struct Columns {
    void* data[column_count];
    bool single;
    /// The results are more than the caches hold, and all columns begin equally far from a cache
    /// line: whole lines are written past the caches, without reading them first.
    bool past_caches;
};

inline constexpr int line_size = 64;

/// The windows of a block, and room for the steps on the way to their metrics.
struct Block {
    int count;
    /// `newest` is filled, which says all of windows of up to 64 bits; there is no series then.
    bool given;
    /// Window i ends before bit first_end + i, or if `scattered` before bit ends[i].
    bool scattered;
    std::int64_t first_end;
    alignas(64) std::int64_t ends[block_windows];

    alignas(64) std::uint64_t newest[block_windows];  ///< newest bits of window i, on top
    alignas(64) std::int64_t flips[block_windows];
    alignas(64) std::int64_t n11[block_windows];
    alignas(64) std::uint32_t record[block_windows];
    alignas(64) std::uint16_t key[block_windows];
    alignas(64) double sum[block_windows];
    alignas(64) std::uint64_t turned[block_windows];
    // In the order of keys; a group of `lanes` places has one key.
    static constexpr int sorted_size = block_windows + lanes * key_count_used;
    alignas(64) std::uint16_t place[block_windows];
    alignas(64) std::uint16_t window_at[sorted_size];
    alignas(64) std::uint64_t sorted[sorted_size];
    std::uint16_t group_key[sorted_size / lanes];
    alignas(64) unsigned char result[3][sorted_size * sizeof(double)];
};

/// Rules of `sep::advance` for a price.
struct PriceGrid {
    double tick;
    double ticks_max;     ///< a price has fewer ticks
    double off_grid_max;  ///< and lies no further from a whole number of them, in ticks
};

/// 64 prices beside the price before each.
struct EncodedPrices {
    std::uint64_t flat;   ///< equal in ticks
    std::uint64_t up;     ///< higher in ticks
    std::uint64_t above;  ///< higher as a number
    double ticks;         ///< the last price in ticks
};

struct Kernels {
    const char* name;
    /// Compute full windows without a gap.
    void (*compute)(const KernelTables& tables, const Series& series, const Columns& columns,
                    Block& block);
    /// Flips and pairs 11 among the pairs of the `length` bits before each of the positions end,
    /// end + 1, ...
    void (*count_pairs)(const std::uint64_t* bits, std::int64_t end, int length, int count,
                        std::int64_t* flips, std::int64_t* n11);
    /// Ones among the `length` bits before each of the positions end, end + 1, ...
    void (*count_ones)(const std::uint64_t* words, std::int64_t end, int length, int count,
                       std::int64_t* out);
    /// Which of 64 values are not 0; one above 1 sets `bad`.
    std::uint64_t (*nonzero)(const std::uint8_t* values, bool& bad);
    /// The same of 64 * `words` values; true if one is above 1.
    bool (*pack)(const std::uint8_t* values, std::size_t words, std::uint64_t* out);
    /// Compare 64 prices in ticks; `before` is the price before them, `ticks_before` its ticks.
    /// False, with `out` undefined, if one breaks a rule.
    bool (*encode)(const double* prices, const PriceGrid& grid, double before, double ticks_before,
                   EncodedPrices& out);
    /// The bits of `word` where `mask` is 1, moved together to the low end.
    std::uint64_t (*compress)(std::uint64_t word, std::uint64_t mask);
};

extern const Kernels portable;
#ifdef SEP_X86_KERNELS
extern const Kernels avx2;
extern const Kernels avx512;
#endif

}  // namespace sep::simd
