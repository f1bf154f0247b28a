#pragma once

#include <cstdint>

// What the vector kernels and their caller share. This header holds declarations and plain data
// only: its kernels are compiled once for each instruction set, and an inline function that two of
// them instantiate could run where its instructions do not exist.
namespace sep::simd {

/// Windows that are computed together. Their columns stay in the first-level cache.
inline constexpr int block_windows = 128;
inline constexpr int column_count = 11;

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
};

struct KernelTables {
    int window;
    const double* g;
    double entropy_scale;  ///< (window - 1) log2 3
    const double* shares;  ///< shares[n] = n / (window - 1), for n of either sign
    const double* rows;    ///< the members of DampedRow as numbers, row after row
    int row_size;          ///< numbers in a row
    int row_lambda;        ///< where they lie in a row
    int row_decay8;
    int row_byte_sum;
    const std::int32_t* row_of;
    const double* all_ones;     ///< by row
    const std::int64_t* terms;  ///< by row
};

/// A packed series. Every window lies at least 64 bits after its beginning.
struct Series {
    const std::uint64_t* bits;
    // For windows of more than 64 bits: transitions into a bit, and how many lie before each word.
    const std::uint64_t* flips;
    const std::uint64_t* elevens;
    const std::uint32_t* flips_before;
    const std::uint32_t* elevens_before;
};

struct Block {
    int count;
    /// Window i holds the bits before position ends[i].
    alignas(64) std::int64_t ends[block_windows];
    alignas(64) double column[column_count][block_windows];
};

struct Kernels {
    const char* name;
    /// Compute full windows without a gap. Bit i of `wanted` asks for column i.
    void (*compute)(const KernelTables& tables, const Series& series, unsigned wanted,
                    Block& block);
    void (*to_single)(const double* values, float* out, int count);
    /// The bits of `word` where `mask` is 1, moved together to the low end.
    std::uint64_t (*compress)(std::uint64_t word, std::uint64_t mask);
};

extern const Kernels portable;
#ifdef SEP_X86_KERNELS
extern const Kernels avx2;
extern const Kernels avx512;
#endif

}  // namespace sep::simd
