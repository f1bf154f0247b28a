#pragma once

#include <cmath>
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

/// How the next bit is guessed from the window before it. A tie repeats the last bit.
enum class Predictor : std::uint8_t {
    markov = 0,       ///< what followed the last bit more often
    persistence = 1,  ///< the last bit again
    majority8 = 2,    ///< the more frequent of the newest eight bits
};

/// Metrics that are computed together.
enum MetricGroup : unsigned {
    group_counts = 1,  ///< ratios, entropy, coherences, stability, balance
    group_damped = 2,  ///< lambda and the damped sums
    group_path = 4,    ///< of the partial sums; O(window)
    group_qbsa = 8,    ///< prediction errors
    group_collapse = 16,
};

/// What is computed of a window.
struct WindowSpec {
    int window = 64;
    unsigned groups = group_counts | group_damped;
    Predictor predictor = Predictor::markov;
    /// Share of equal pairs of one kind that makes a part of the window one-sided, in (0, 1].
    double collapse_share = 0.6;
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
    double path_confidence;
    double path_similarity;
    double qbsa_error;
    double confidence;
    double confidence_low;
    double collapse;  ///< 1 or 0
};

inline constexpr int window_metric_count = 17;

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
    // Of one window length:
    const DampedSpan* spans;
    const double* decays;               ///< e^(-lambda k) of every row, one after the other
    const std::uint32_t* decays_first;  ///< where the decays of a row begin
    const double* templates;            ///< three of window - 1 values, centred, of unit norm
};

inline constexpr int template_count = 3;

SEP_HOST_DEVICE inline int ones(std::uint64_t word) {
#if defined(__CUDA_ARCH__)
    return __popcll(word);
#elif defined(__x86_64__) && !defined(__POPCNT__)
    // Without the instruction std::popcount is a call. By halves: pairs, nibbles, bytes, their sum.
    word -= word >> 1 & 0x5555555555555555;
    word = (word & 0x3333333333333333) + (word >> 2 & 0x3333333333333333);
    word = (word + (word >> 4)) & 0x0F0F0F0F0F0F0F0F;
    return static_cast<int>(word * 0x0101010101010101 >> 56);
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

/// Share of the newest `window` prices that did not move. `price` counts from 0: the first has no
/// price before it, so that the first value comes after `window` more.
template <class Bits>
SEP_HOST_DEVICE double flat_ratio(const Bits& flat, std::uint64_t price, int window) {
    if (price < static_cast<std::uint64_t>(window)) return not_a_number();
    return count_ones(flat, window) / static_cast<double>(window);
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
    return {nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan};
}

/// Pair counts of the newest `window` bits, over valid transitions.
///
/// `bits(i)` and `joined(i)` give the i-th newest 64 bits, the newest in the top bit.
template <class Bits>
SEP_HOST_DEVICE PairCounts count_pairs(const Bits& bits, const Bits& joined, int window) {
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

/// The damped sums of a window whose newest bits have this row of the tables.
///
/// The newest bit has the sign of the sum of all terms; each differing bit takes away twice its
/// term. Written so, exchanging up and down changes the sign and nothing else.
template <class Bits>
SEP_HOST_DEVICE void set_damped(WindowMetrics& m, const Bits& bits, int row, const TableView& t) {
    const DampedSpan span = t.spans[row];
    const double sign = bits(0) >> 63 ? 1.0 : -1.0;
    const double differing = differing_sum(bits, t.rows[row], span.terms);
    m.damped = sign * (span.all_ones - (differing + differing));
    m.damped_anchored = 0.0 - sign * differing;
}

/// Confidence and similarity of the partial sums of the damped value, k = 1 .. window-1.
template <class Bits>
SEP_HOST_DEVICE void set_path_metrics(WindowMetrics& m, const Bits& bits, int window, int row,
                                      const TableView& t) {
    const double* decay = t.decays + t.decays_first[row];
    const int terms = t.spans[row].terms;
    const int points = window - 1;
    const auto sign = [&](int k) { return bits(k / 64) >> (63 - k % 64) & 1 ? 1.0 : -1.0; };

    double sum = sign(0) * decay[0];
    double total = 0.0;
    for (int k = 1; k < window; ++k) {
        if (k < terms) sum += sign(k) * decay[k];
        total += sum;
    }
    const double mean = total / points;

    double squares = 0.0;
    double products[template_count] = {};
    sum = sign(0) * decay[0];
    for (int k = 1; k < window; ++k) {
        if (k < terms) sum += sign(k) * decay[k];
        const double centred = sum - mean;
        squares += centred * centred;
        for (int i = 0; i < template_count; ++i) {
            products[i] += centred * t.templates[i * points + k - 1];
        }
    }
    m.path_confidence = 1.0 / (1.0 + squares / points);
    m.path_similarity = 0.0;
    if (squares == 0.0) return;
    const double norm = sqrt(squares);
    for (const double product : products) {
        double cosine = product / norm;
        if (cosine < 0.0) cosine = -cosine;
        if (cosine > 1.0) cosine = 1.0;
        if (cosine > m.path_similarity) m.path_similarity = cosine;
    }
}

/// The bit that a predictor expects after the window whose pair counts and newest bits are given.
SEP_HOST_DEVICE inline bool predicted_bit(Predictor predictor, PairCounts n, std::uint64_t newest) {
    const bool last = newest >> 63 != 0;
    int ups = 0;
    int downs = 0;
    if (predictor == Predictor::markov) {
        ups = last ? n.n11 : n.n01;
        downs = last ? n.n10 : n.n00;
    } else if (predictor == Predictor::majority8) {
        ups = ones(newest >> 56);
        downs = 8 - ups;
    }
    return ups == downs ? last : ups > downs;
}

/// Error share of the newest `window` predictions, and the Wilson 95 % lower bound of the rest.
/// Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
/// Journal of the American Statistical Association 22 (1927).
SEP_HOST_DEVICE inline void set_qbsa_metrics(WindowMetrics& m, int errors, int window) {
    constexpr double z = 1.959963984540054;  // 97.5th percentile of the normal distribution
    const double n = window;
    const double p = (window - errors) / n;
    const double spread = z * sqrt(p * (1.0 - p) / n + z * z / (4.0 * n * n));
    m.qbsa_error = errors / n;
    m.confidence = 1.0 - m.qbsa_error;
    m.confidence_low = (p + z * z / (2.0 * n) - spread) / (1.0 + z * z / n);
}

/// Shorter windows cannot collapse.
inline constexpr int collapse_window_min = 32;

/// Whether equal pairs of one kind are at least `share` of the transitions.
SEP_HOST_DEVICE inline bool one_sided(int n00, int n11, int transitions, double share) {
    const int larger = n00 > n11 ? n00 : n11;
    return larger / static_cast<double>(transitions) >= share;
}

/// Whether equal pairs of one kind fill the newest quarter of the valid transitions, but not the
/// rest.
template <class Bits>
SEP_HOST_DEVICE bool collapsed(const Bits& bits, const Bits& joined, PairCounts all, double share) {
    const int total = all.n00 + all.n01 + all.n10 + all.n11;
    const int newest = total / 4;
    int length = newest + 1;  // bits that hold the newest valid transitions
    while (count_ones(joined, length - 1) < newest) ++length;
    const PairCounts part = count_pairs(bits, joined, length);
    return one_sided(part.n00, part.n11, newest, share) &&
           !one_sided(all.n00 - part.n00, all.n11 - part.n11, total - newest, share);
}

/// The asked metrics of the window that ends at the newest bit.
///
/// @param errors     flags of wrong predictions, by bit.
/// @param available  bits in the series up to the newest; fewer than the window gives NaN.
/// @param complete   set to whether the window is full and has no gap in it.
template <class Bits>
SEP_HOST_DEVICE WindowMetrics window_metrics(const Bits& bits, const Bits& joined,
                                             const Bits& errors, std::uint64_t available,
                                             const WindowSpec& spec, const TableView& t,
                                             bool& complete) {
    const int window = spec.window;
    WindowMetrics m = no_metrics();
    complete = false;
    if (available < static_cast<std::uint64_t>(window)) return m;

    const PairCounts n = count_pairs(bits, joined, window);
    const int total = n.n00 + n.n01 + n.n10 + n.n11;
    complete = total == window - 1;
    if (4 * total >= 3 * (window - 1)) {
        if (spec.groups & group_counts) set_count_metrics(m, n, total, t);
        if (spec.groups & group_collapse && window >= collapse_window_min) {
            m.collapse = collapsed(bits, joined, n, spec.collapse_share);
        }
    }
    if (spec.groups & group_qbsa && complete &&
        available >= 2 * static_cast<std::uint64_t>(window)) {
        set_qbsa_metrics(m, count_ones(errors, window), window);
    }

    const std::uint64_t newest = top_bits(lambda_bits - 1);
    if (available < lambda_bits || (joined(0) & newest) != newest) return m;
    if (!(spec.groups & (group_damped | group_path))) return m;
    const int row = lambda_row(bits(0), t.row_of);
    m.lambda = t.rows[row].lambda;
    if (!complete) return m;

    if (spec.groups & group_path) set_path_metrics(m, bits, window, row, t);
    set_damped(m, bits, row, t);
    return m;
}

}  // namespace sep
