#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "metric_names.hpp"
#include "sep/errors.hpp"
#include "sep/rolling.hpp"

namespace sep::bindings {

inline constexpr std::array<std::string_view, 3> predictor_names{"markov", "persistence",
                                                                 "majority8"};

inline std::string_view name_of(Predictor predictor) {
    return predictor_names[static_cast<std::size_t>(predictor)];
}

inline Predictor predictor_named(std::string_view name) {
    for (const auto predictor : {Predictor::markov, Predictor::persistence, Predictor::majority8}) {
        if (name == name_of(predictor)) return predictor;
    }
    throw InvalidArgument("predictor must be one of markov, persistence, majority8, was " +
                          std::string(name));
}

/// The metrics that cost a look at the counts and a byte table each.
inline std::vector<std::string> default_metrics() {
    std::vector<std::string> names{"flat_ratio"};
    for (int i = 0; i < window_metric_count; ++i) {
        if (group_of(i) & (group_counts | group_damped)) names.emplace_back(metric_names[i]);
    }
    return names;
}

/// The groups that compute these metrics.
inline unsigned groups_of(const std::vector<std::string>& metrics) {
    unsigned groups = 0;
    for (const std::string& name : metrics) {
        if (name == "flat_ratio") continue;
        const auto found = std::find(metric_names.begin(), metric_names.end(), name);
        if (found == metric_names.end()) {
            std::string known = "flat_ratio";
            for (const std::string_view metric : metric_names) known += ", " + std::string(metric);
            throw InvalidArgument("metrics must be among " + known + ", was " + name);
        }
        groups |= group_of(static_cast<int>(found - metric_names.begin()));
    }
    return groups;
}

inline RollingSpec specification(double tick, int window, std::uint64_t stride,
                                 std::string_view encoding, const std::vector<std::string>& metrics,
                                 std::string_view predictor, double collapse_share) {
    RollingSpec spec;
    spec.window.window = window;
    spec.window.groups = groups_of(metrics);
    spec.window.predictor = predictor_named(predictor);
    spec.window.collapse_share = collapse_share;
    spec.tick = tick;
    spec.encoding = encoding_named(encoding);
    spec.stride = stride;
    return spec;
}

}  // namespace sep::bindings
