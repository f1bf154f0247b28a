#pragma once

#include <array>
#include <string_view>

#include "sep/window.hpp"

namespace sep::bindings {

/// The members of WindowMetrics, in their order, as Python spells them.
inline constexpr std::array<std::string_view, window_metric_count> metric_names{
    "null_ratio", "flip_ratio", "rupture_ratio", "entropy", "coherence",       "state_coherence",
    "stability",  "balance",    "lambda_",       "damped",  "damped_anchored",
};

}  // namespace sep::bindings
