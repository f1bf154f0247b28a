#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "sep/rolling.hpp"

namespace sep::tests {

inline std::vector<std::uint8_t> random_bits(std::size_t size, std::uint64_t seed,
                                             double ones_share = 0.5) {
    std::mt19937_64 engine(seed);
    std::bernoulli_distribution coin(ones_share);
    std::vector<std::uint8_t> bits(size);
    for (auto& bit : bits) bit = coin(engine);
    return bits;
}

/// A walk in steps of -2..2 ticks around 1.10000, with gaps where asked for.
struct Walk {
    std::vector<double> prices;
    std::vector<std::uint8_t> gap;
    static constexpr double tick = 1e-5;

    Walk(std::size_t size, std::uint64_t seed, double gap_share = 0) {
        std::mt19937_64 engine(seed);
        std::uniform_int_distribution<int> step(-2, 2);
        std::bernoulli_distribution has_gap(gap_share);
        std::int64_t ticks = 110'000;
        for (std::size_t i = 0; i < size; ++i) {
            ticks += step(engine);
            prices.push_back(static_cast<double>(ticks) * tick);
            gap.push_back(has_gap(engine));
        }
    }
};

/// All results of one rolling call.
struct Rolled {
    std::vector<std::vector<double>> metrics;
    std::vector<double> flat_ratio;
    std::vector<std::uint8_t> complete;

    Rolled(const Encoded& encoded, int window, Backend backend)
        : metrics(window_metric_count, std::vector<double>(encoded.prices)),
          flat_ratio(encoded.prices),
          complete(encoded.prices) {
        RollingOutputs out;
        for (int i = 0; i < window_metric_count; ++i) out.metrics[i] = metrics[i].data();
        out.flat_ratio = flat_ratio.data();
        out.complete = complete.data();
        rolling(encoded, window, out, backend);
    }

    WindowMetrics at(std::size_t k) const {
        MetricValues values;
        for (int i = 0; i < window_metric_count; ++i) values.value[i] = metrics[i][k];
        WindowMetrics m;
        std::memcpy(&m, &values, sizeof(m));
        return m;
    }
};

inline bool same_bytes(const std::vector<double>& a, const std::vector<double>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

}  // namespace sep::tests
