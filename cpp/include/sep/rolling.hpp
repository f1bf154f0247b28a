#pragma once

#include <array>
#include <cstdint>

#include "sep/backend.hpp"
#include "sep/encode.hpp"
#include "sep/window.hpp"

namespace sep {

/// Where the results go: one value per price, or nullptr for a result that is not wanted.
struct RollingOutputs {
    /// In the order of the members of WindowMetrics.
    std::array<double*, window_metric_count> metrics{};
    /// Share of the newest `window` prices that did not move; NaN for the first `window` prices.
    double* flat_ratio = nullptr;
    /// 1 where the window is full and has no gap in it, else 0.
    std::uint8_t* complete = nullptr;
};

/// The metrics of the newest `window` bits at every price.
///
/// At a price that gave no bit the metrics stay as they were. NaN until the window is full.
///
/// @param window  bits, 8 to 1024.
/// @throws InvalidArgument  the window is out of range.
/// @throws BackendError     `backend` cannot run here. There is no silent fallback.
void rolling(const Encoded& encoded, int window, const RollingOutputs& out, Backend backend);

/// A bit series as if every bit came from a price of its own.
Encoded one_price_per_bit(BitSeries series);

/// @throws InvalidArgument  the window is not in 8..1024.
void check_window(int window);

}  // namespace sep
