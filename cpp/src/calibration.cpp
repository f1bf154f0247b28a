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

constexpr std::array<std::pair<std::string_view, double WindowMetrics::*>, 8> count_metrics{{
    {"null_ratio", &WindowMetrics::null_ratio},
    {"flip_ratio", &WindowMetrics::flip_ratio},
    {"rupture_ratio", &WindowMetrics::rupture_ratio},
    {"entropy", &WindowMetrics::entropy},
    {"coherence", &WindowMetrics::coherence},
    {"state_coherence", &WindowMetrics::state_coherence},
    {"stability", &WindowMetrics::stability},
    {"balance", &WindowMetrics::balance},
}};

double WindowMetrics::* count_metric_named(std::string_view name) {
    std::string known;
    for (const auto& [candidate, member] : count_metrics) {
        if (candidate == name) return member;
        known += (known.empty() ? "" : ", ") + std::string(candidate);
    }
    throw InvalidArgument("metric must be one with a coin percentile (" + known + "), was " +
                          std::string(name));
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

}  // namespace

CoinDistribution::CoinDistribution(std::string_view metric, int window) {
    const auto member = count_metric_named(metric);
    WindowSpec spec;
    spec.window = window;
    check(spec);
    const Tables& t = tables();
    const TableView view{t.g.data(), t.log2_3, nullptr, nullptr,
                         nullptr,    nullptr,  nullptr, nullptr};
    const ScaledBinomials binomials(window - 1);
    const int total = window - 1;

    std::vector<std::pair<double, double>> values;  // metric, probability
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
                    std::ldexp(zeros.share * ones_.share, zeros.length + ones_.length - window);
                if (p == 0) continue;
                const int up = first == 0 ? flips - flips / 2 : flips / 2;
                WindowMetrics m = no_metrics();
                set_count_metrics(m, {n00, up, flips - up, n11}, total, view);
                values.emplace_back(m.*member, p);
            }
        }
    }
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
