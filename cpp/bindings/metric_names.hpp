#pragma once

#include <array>
#include <string_view>

#include "sep/window.hpp"

namespace sep::bindings {

/// The members of WindowMetrics, in their order, as Python spells them.
inline constexpr std::array<std::string_view, window_metric_count> metric_names{
    "null_ratio",      "flip_ratio",      "rupture_ratio",   "entropy",    "coherence",
    "state_coherence", "stability",       "balance",         "lambda_",    "damped",
    "damped_anchored", "path_confidence", "path_similarity", "qbsa_error", "confidence",
    "confidence_low",  "collapse",
};

/// The group that computes a metric.
constexpr unsigned group_of(int metric) {
    if (metric < 8) return group_counts;
    if (metric < 11) return group_damped;
    if (metric < 13) return group_path;
    if (metric < 16) return group_qbsa;
    return group_collapse;
}

}  // namespace sep::bindings
