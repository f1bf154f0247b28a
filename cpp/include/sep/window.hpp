#pragma once

#include <cstdint>
#include <cstring>

#ifndef __CUDA_ARCH__
#include <bit>
#endif

#include "sep/host_device.hpp"
#include "sep/tables.hpp"

/// The formulas of one window. Everything is +, -, * and / in binary64 in the order written here.
namespace sep {

/// Ordered pairs of neighbouring bits: n01 counts a 0 followed by a 1.
struct PairCounts {
    int n00 = 0;
    int n01 = 0;
    int n10 = 0;
    int n11 = 0;
};

/// The canonical metrics of one window, NaN where there is none.
struct WindowMetrics {
    double null_ratio;
    double flip_ratio;
    double rupture_ratio;
    double entropy;
    double coherence;
    double state_coherence;
    double stability;
    double balance;
    double lambda;
    double damped;
    double damped_anchored;
};

inline constexpr int window_metric_count = 11;

/// The same numbers in the same order, for loops over all metrics.
struct MetricValues {
    double value[window_metric_count];
};
static_assert(sizeof(WindowMetrics) == sizeof(MetricValues));

SEP_HOST_DEVICE inline MetricValues values_of(const WindowMetrics& metrics) {
    MetricValues values;
    memcpy(&values, &metrics, sizeof(values));
    return values;
}

/// The tables as a kernel gets them: pointers to host or device memory.
struct TableView {
    const double* g;
    double log2_3;
    const DampedRow* rows;
    const std::uint8_t* row_of;
    const DampedSpan* spans;  ///< of one window length
};

SEP_HOST_DEVICE inline int ones(std::uint64_t word) {
#ifdef __CUDA_ARCH__
    return __popcll(word);
#else
    return std::popcount(word);
#endif
}

/// A word whose `count` top bits are 1, 0 <= count <= 64.
SEP_HOST_DEVICE inline std::uint64_t top_bits(int count) {
    return count == 0 ? 0 : ~std::uint64_t{0} << (64 - count);
}

SEP_HOST_DEVICE inline double not_a_number() { return __builtin_nan(""); }

/// Entropy of the three states over the largest possible, log2 3.
SEP_HOST_DEVICE inline double entropy_of(PairCounts n, int total, const double* g, double log2_3) {
    const int flips = n.n01 + n.n10;
    return (g[total] - ((g[n.n00] + g[n.n11]) + g[flips])) / (total * log2_3);
}

/// 1 minus the entropy, in bits, of the next bit given this one.
SEP_HOST_DEVICE inline double coherence_of(PairCounts n, int total, const double* g) {
    const double after_known = g[n.n00 + n.n01] + g[n.n10 + n.n11];
    const double pairs = (g[n.n00] + g[n.n11]) + (g[n.n01] + g[n.n10]);
    double h = (after_known - pairs) / total;
    if (h < 0.0) h = 0.0;
    if (h > 1.0) h = 1.0;
    return 1.0 - h;
}

/// The bits before position `end` of a packed array, as words with the newest bit on top.
/// Word i holds bits [end - 64 (i + 1), end - 64 i); where there are none, 0.
struct BitsBefore {
    const std::uint64_t* words;
    std::uint64_t end;

    SEP_HOST_DEVICE std::uint64_t operator()(int i) const {
        const std::uint64_t skipped = 64 * static_cast<std::uint64_t>(i);
        if (skipped >= end) return 0;
        const std::uint64_t newest = end - skipped - 1;
        const std::uint64_t word = newest / 64;
        const int unused = 63 - static_cast<int>(newest % 64);
        if (unused == 0) return words[word];
        const std::uint64_t older = word == 0 ? 0 : words[word - 1];
        return words[word] << unused | older >> (64 - unused);
    }
};

/// Ones among the newest `count` bits.
template <class Bits>
SEP_HOST_DEVICE int count_ones(const Bits& bits, int count) {
    int sum = 0;
    for (int i = 0; 64 * i < count; ++i) {
        const int left = count - 64 * i;
        sum += ones(bits(i) & top_bits(left < 64 ? left : 64));
    }
    return sum;
}

/// The metrics that the pair counts decide. `total` is their sum, > 0.
SEP_HOST_DEVICE inline void set_count_metrics(WindowMetrics& m, PairCounts n, int total,
                                              const TableView& t) {
    const int flips = n.n01 + n.n10;
    const double transitions = total;
    m.null_ratio = n.n00 / transitions;
    m.flip_ratio = flips / transitions;
    m.rupture_ratio = n.n11 / transitions;
    m.entropy = entropy_of(n, total, t.g, t.log2_3);
    m.coherence = coherence_of(n, total, t.g);
    m.state_coherence = 1.0 - m.entropy;
    m.stability = 1.0 - m.flip_ratio;
    m.balance = (n.n11 - n.n00) / transitions;
}

SEP_HOST_DEVICE inline WindowMetrics no_metrics() {
    const double nan = not_a_number();
    return {nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan};
}

/// Pair counts of the newest `window` bits, over valid transitions.
///
/// `bits(i)` and `joined(i)` give the i-th newest 64 bits, the newest in the top bit.
template <class Bits, class Joined>
SEP_HOST_DEVICE PairCounts count_pairs(const Bits& bits, const Joined& joined, int window) {
    PairCounts n;
    const int words = (window + 63) / 64;
    for (int i = 0; i < words; ++i) {
        const std::uint64_t now = bits(i);
        const std::uint64_t older = i + 1 < words ? bits(i + 1) : 0;
        const std::uint64_t before = now << 1 | older >> 63;
        const int left = window - 1 - 64 * i;
        const std::uint64_t valid = joined(i) & top_bits(left < 64 ? left : 64);
        n.n00 += ones(~before & ~now & valid);
        n.n01 += ones(~before & now & valid);
        n.n10 += ones(before & ~now & valid);
        n.n11 += ones(before & now & valid);
    }
    return n;
}

/// Row of the tables for the newest 20 bits; `word` holds the newest bits, the newest on top.
SEP_HOST_DEVICE inline int lambda_row(std::uint64_t word, const std::uint8_t* row_of) {
    const std::uint64_t transitions = top_bits(lambda_bits - 1);
    const std::uint64_t turned = word >> 63 ? ~word : word;
    const int flips = ones((turned ^ turned << 1) & transitions);
    const int n11 = ones(turned & turned << 1 & transitions);
    return row_of[lambda_bits * flips + n11];
}

/// Sum of e^(-lambda k) over the terms k whose bit differs from the newest.
template <class Bits>
SEP_HOST_DEVICE double differing_sum(const Bits& bits, const DampedRow& row, int terms) {
    const std::uint64_t turn = bits(0) >> 63 ? ~std::uint64_t{0} : 0;
    const int last = (terms - 1) / 8;
    double sum = 0.0;
    std::uint64_t word = 0;
    for (int j = last; j >= 0; --j) {
        if (j == last || j % 8 == 7) {
            word = bits(j / 8) ^ turn;
            const int left = terms - 64 * (j / 8);
            word &= top_bits(left < 64 ? left : 64);
        }
        const unsigned byte = word >> (56 - 8 * (j % 8)) & 255;
        sum = row.byte_sum[byte] + row.decay8 * sum;
    }
    return sum;
}

/// Every metric of the window that ends at the newest bit.
///
/// @param available  bits in the series up to the newest; fewer than `window` gives NaN.
/// @param complete   set to whether the window is full and has no gap in it.
template <class Bits, class Joined>
SEP_HOST_DEVICE WindowMetrics window_metrics(const Bits& bits, const Joined& joined,
                                             std::uint64_t available, int window,
                                             const TableView& t, bool& complete) {
    WindowMetrics m = no_metrics();
    complete = false;
    if (available < static_cast<std::uint64_t>(window)) return m;

    const PairCounts n = count_pairs(bits, joined, window);
    const int total = n.n00 + n.n01 + n.n10 + n.n11;
    complete = total == window - 1;
    if (4 * total >= 3 * (window - 1)) set_count_metrics(m, n, total, t);

    const std::uint64_t newest = top_bits(lambda_bits - 1);
    if (available < lambda_bits || (joined(0) & newest) != newest) return m;
    const int row = lambda_row(bits(0), t.row_of);
    m.lambda = t.rows[row].lambda;
    if (!complete) return m;

    // The newest bit has the sign of the sum of all terms; each differing bit takes away twice its
    // term. Written so, exchanging up and down changes the sign and nothing else.
    const DampedSpan span = t.spans[row];
    const double sign = bits(0) >> 63 ? 1.0 : -1.0;
    const double differing = differing_sum(bits, t.rows[row], span.terms);
    m.damped = sign * (span.all_ones - (differing + differing));
    m.damped_anchored = 0.0 - sign * differing;
    return m;
}

}  // namespace sep
