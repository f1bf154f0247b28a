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

inline constexpr unsigned all_groups =
    group_counts | group_damped | group_path | group_qbsa | group_collapse;

inline RollingSpec spec_of(int window, Encoding encoding = Encoding::moves,
                           unsigned groups = all_groups) {
    RollingSpec spec;
    spec.window.window = window;
    spec.window.groups = groups;
    spec.tick = Walk::tick;
    spec.encoding = encoding;
    return spec;
}

/// All results of a series.
struct Rolled {
    std::vector<std::vector<double>> metrics;
    std::vector<double> flat_ratio;
    std::vector<std::uint8_t> complete;

    WindowMetrics at(std::size_t k) const {
        MetricValues values;
        for (int i = 0; i < window_metric_count; ++i) values.value[i] = metrics[i][k];
        WindowMetrics m;
        std::memcpy(&m, &values, sizeof(m));
        return m;
    }

    RollingOutputs outputs() {
        RollingOutputs out;
        for (int i = 0; i < window_metric_count; ++i) out.metrics[i] = {metrics[i].data(), false};
        out.flat_ratio = {flat_ratio.data(), false};
        out.complete = complete.data();
        return out;
    }

    explicit Rolled(std::size_t size)
        : metrics(window_metric_count, std::vector<double>(size)),
          flat_ratio(size),
          complete(size) {}
};

inline Rolled roll(const Walk& walk, const RollingSpec& spec, Backend backend = Backend::scalar,
                   int threads = 0) {
    Roller roller(spec, backend, threads);
    Rolled rolled(roller.outputs_of(walk.prices.size()));
    roller.take_prices(walk.prices, walk.gap, rolled.outputs());
    return rolled;
}

inline Rolled roll_bits(const std::vector<std::uint8_t>& bits, int window,
                        const std::vector<std::uint8_t>& gap = {},
                        Backend backend = Backend::scalar) {
    Roller roller(spec_of(window), backend, 0);
    Rolled rolled(bits.size());
    roller.take_bits(bits, gap, rolled.outputs());
    return rolled;
}

inline bool same_bytes(const std::vector<double>& a, const std::vector<double>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

inline bool same_bytes(const Rolled& a, const Rolled& b) {
    for (int i = 0; i < window_metric_count; ++i) {
        if (!same_bytes(a.metrics[i], b.metrics[i])) return false;
    }
    return same_bytes(a.flat_ratio, b.flat_ratio) && a.complete == b.complete;
}

}  // namespace sep::tests
