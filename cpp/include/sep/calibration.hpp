#pragma once

#include <span>
#include <string_view>
#include <vector>

namespace sep {

/// The exact distribution of a metric of `window` fair coin tosses.
///
/// A sequence that starts with bit a and has F flips has F + 1 runs, so r0 and r1 of them are runs
/// of zeros and ones; C(n00 + r0 - 1, r0 - 1) C(n11 + r1 - 1, r1 - 1) sequences of the 2^window
/// share the pair counts. Binomials are scaled by powers of two, which is exact.
class CoinDistribution {
public:
    /// @param metric  null_ratio, flip_ratio, rupture_ratio, entropy, coherence, state_coherence,
    ///                stability, balance; lambda_ (of the newest 20 tosses); qbsa_error,
    ///                confidence, confidence_low (of any predictor); collapse (with its usual
    ///                share).
    /// @throws InvalidArgument  another metric, or the window is not in 8..1024, of collapse 32.
    CoinDistribution(std::string_view metric, int window);

    /// 100 P(X <= value), in 0..100; NaN for NaN. Values less than 2^-40 apart are one atom.
    double percentile(double value) const;

    /// Mean of the metric over all sequences.
    double mean() const { return mean_; }

    /// Smallest value of each atom, rising, and P(X <= atom).
    std::span<const double> atoms() const { return atoms_; }
    std::span<const double> cumulative() const { return cumulative_; }

private:
    std::vector<double> atoms_;
    std::vector<double> cumulative_;
    double mean_ = 0;
};

}  // namespace sep
