#include "sep/calibration.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "sep/errors.hpp"
#include "sep/rolling.hpp"

namespace sep {
namespace {

constexpr double atom_width = 0x1p-40;

constexpr std::array<std::pair<std::string_view, double WindowMetrics::*>, 13> exact_metrics{{
    {"null_ratio", &WindowMetrics::null_ratio},
    {"flip_ratio", &WindowMetrics::flip_ratio},
    {"rupture_ratio", &WindowMetrics::rupture_ratio},
    {"entropy", &WindowMetrics::entropy},
    {"coherence", &WindowMetrics::coherence},
    {"state_coherence", &WindowMetrics::state_coherence},
    {"stability", &WindowMetrics::stability},
    {"balance", &WindowMetrics::balance},
    {"lambda_", &WindowMetrics::lambda},
    {"qbsa_error", &WindowMetrics::qbsa_error},
    {"confidence", &WindowMetrics::confidence},
    {"confidence_low", &WindowMetrics::confidence_low},
    {"collapse", &WindowMetrics::collapse},
}};

double WindowMetrics::* exact_metric_named(std::string_view name) {
    std::string known;
    for (const auto& [candidate, member] : exact_metrics) {
        if (candidate == name) return member;
        known += (known.empty() ? "" : ", ") + std::string(candidate);
    }
    throw InvalidArgument("metric must be one with an exact coin percentile (" + known + "), was " +
                          std::string(name));
}

bool predicts(double WindowMetrics::* member) {
    return member == &WindowMetrics::qbsa_error || member == &WindowMetrics::confidence ||
           member == &WindowMetrics::confidence_low;
}

/// Rows of C(n, k) 2^-n, by Pascal's rule.
class ScaledBinomials {
public:
    explicit ScaledBinomials(int n_max) : values_(index(n_max + 1, 0)) {
        for (int n = 0; n <= n_max; ++n) {
            values_[index(n, 0)] = std::ldexp(1.0, -n);
            values_[index(n, n)] = std::ldexp(1.0, -n);
            for (int k = 1; k < n; ++k) {
                values_[index(n, k)] = 0.5 * (at(n - 1, k - 1) + at(n - 1, k));
            }
        }
    }

    double at(int n, int k) const { return values_[index(n, k)]; }

private:
    static std::size_t index(int n, int k) {
        return static_cast<std::size_t>(n) * static_cast<std::size_t>(n + 1) / 2 +
               static_cast<std::size_t>(k);
    }
    std::vector<double> values_;
};

struct Part {
    int length;  ///< exponent of 2 taken out
    double share;
};

/// Ways to spread `pairs` equal-bit pairs over `runs` runs, as share * 2^length.
Part spread(const ScaledBinomials& binomials, int pairs, int runs) {
    if (runs == 0) return {0, pairs == 0 ? 1.0 : 0.0};
    return {pairs + runs - 1, binomials.at(pairs + runs - 1, runs - 1)};
}

/// Sequences of coin tosses that have these in common, and how likely they are.
struct Tosses {
    bool newest;
    PairCounts pairs;
    double share;
};

/// Call `take` with all kinds of sequences of `length` tosses.
template <class Take>
void each_kind(int length, const Take& take) {
    const ScaledBinomials binomials(length - 1);
    const int total = length - 1;
    for (int first = 0; first <= 1; ++first) {
        for (int flips = 0; flips <= total; ++flips) {
            const int runs_first = flips / 2 + 1;
            const int runs_other = flips + 1 - runs_first;
            const int runs0 = first == 0 ? runs_first : runs_other;
            const int runs1 = first == 0 ? runs_other : runs_first;
            for (int n00 = 0; n00 <= total - flips; ++n00) {
                const int n11 = total - flips - n00;
                const Part zeros = spread(binomials, n00, runs0);
                const Part ones_ = spread(binomials, n11, runs1);
                const double p =
                    std::ldexp(zeros.share * ones_.share, zeros.length + ones_.length - length);
                if (p == 0) continue;
                const int up = first == 0 ? flips - flips / 2 : flips / 2;
                take(Tosses{(first == 1) != (flips % 2 == 1), {n00, up, flips - up, n11}, p});
            }
        }
    }
}

using Values = std::vector<std::pair<double, double>>;  // metric, probability

Values count_values(double WindowMetrics::* member, int window) {
    const Tables& t = tables();
    const TableView view{t.g.data(), t.log2_3, nullptr, nullptr,
                         nullptr,    nullptr,  nullptr, nullptr};
    Values values;
    each_kind(window, [&](const Tosses& tosses) {
        WindowMetrics m = no_metrics();
        set_count_metrics(m, tosses.pairs, window - 1, view);
        values.emplace_back(m.*member, tosses.share);
    });
    return values;
}

/// Lambda looks at the newest bits, however long the window is.
Values lambda_values() {
    const Tables& t = tables();
    Values values;
    each_kind(lambda_bits, [&](const Tosses& tosses) {
        const PairCounts& n = tosses.pairs;
        const int flips = n.n01 + n.n10;
        const int n11_turned = tosses.newest ? n.n00 : n.n11;
        const std::uint8_t row =
            t.row_of[static_cast<std::size_t>(lambda_bits * flips + n11_turned)];
        values.emplace_back(t.rows[row].lambda, tosses.share);
    });
    return values;
}

/// Whatever is predicted from the tosses before, the next one is right or wrong with the same
/// probability: the errors of a window are binomial, for every predictor.
Values prediction_values(double WindowMetrics::* member, int window) {
    const ScaledBinomials binomials(window);
    Values values;
    for (int errors = 0; errors <= window; ++errors) {
        WindowMetrics m = no_metrics();
        set_qbsa_metrics(m, errors, window);
        values.emplace_back(m.*member, binomials.at(window, errors));
    }
    return values;
}

/// The newest part and the rest share one bit, and exchanging up and down changes neither's being
/// one-sided, so that the two are independent.
Values collapse_values(int window) {
    if (window < collapse_window_min) {
        throw InvalidArgument("window must be in " + std::to_string(collapse_window_min) +
                              "..1024 for collapse, was " + std::to_string(window));
    }
    const auto one_sided_share = [](int transitions) {
        double share = 0;
        each_kind(transitions + 1, [&](const Tosses& tosses) {
            if (one_sided(tosses.pairs.n00, tosses.pairs.n11, transitions,
                          WindowSpec{}.collapse_share)) {
                share += tosses.share;
            }
        });
        return share;
    };
    const int newest = (window - 1) / 4;
    const double p = one_sided_share(newest) * (1.0 - one_sided_share(window - 1 - newest));
    return {{0.0, 1.0 - p}, {1.0, p}};
}

Values values_under_a_coin(std::string_view metric, int window) {
    const auto member = exact_metric_named(metric);
    WindowSpec spec;
    spec.window = window;
    check(spec);
    if (member == &WindowMetrics::lambda) return lambda_values();
    if (member == &WindowMetrics::collapse) return collapse_values(window);
    return predicts(member) ? prediction_values(member, window) : count_values(member, window);
}

}  // namespace

CoinDistribution::CoinDistribution(std::string_view metric, int window) {
    Values values = values_under_a_coin(metric, window);
    std::sort(values.begin(), values.end());

    double sum = 0;
    double previous = 0;
    for (const auto& [value, p] : values) {
        if (atoms_.empty() || !(value - previous < atom_width)) {
            atoms_.push_back(value);
            cumulative_.push_back(0);
        }
        previous = value;
        sum += p;
        mean_ += p * value;
        cumulative_.back() = std::min(sum, 1.0);
    }
    cumulative_.back() = 1.0;
}

double CoinDistribution::percentile(double value) const {
    if (std::isnan(value)) return value;
    const auto above = std::upper_bound(atoms_.begin(), atoms_.end(), value);
    if (above == atoms_.begin()) return 0.0;
    return 100.0 * cumulative_[static_cast<std::size_t>(above - atoms_.begin()) - 1];
}

}  // namespace sep
