#pragma once

#include <cstring>
#include <vector>

#include "input.hpp"
#include "sep/rolling.hpp"

namespace sep::fuzz {

/// Results of a series in arrays that hold a mark where nothing was written.
struct Rolled {
    std::vector<std::vector<double>> columns;
    std::vector<std::uint8_t> complete;

    explicit Rolled(std::size_t size)
        : columns(window_metric_count + 1, std::vector<double>(size, -7.0)), complete(size, 9) {}

    /// Bit m of `wanted` asks for column m, of `single` for binary32.
    RollingOutputs outputs(unsigned wanted, unsigned single, bool flat) {
        RollingOutputs out;
        for (std::size_t m = 0; m < window_metric_count; ++m) {
            if (wanted >> m & 1) out.metrics[m] = {columns[m].data(), (single >> m & 1) != 0};
        }
        if (flat) out.flat_ratio = {columns.back().data(), false};
        out.complete = complete.data();
        return out;
    }

    bool operator==(const Rolled& other) const {
        for (std::size_t m = 0; m < columns.size(); ++m) {
            const std::size_t size = columns[m].size() * sizeof(double);
            if (size != 0 && std::memcmp(columns[m].data(), other.columns[m].data(), size) != 0) {
                return false;
            }
        }
        return complete == other.complete;
    }
};

inline RollingSpec rolling_spec(Input& input) {
    RollingSpec spec;
    spec.window.window = static_cast<int>(input.flag() ? input.in(8, 130) : input.in(7, 1025));
    spec.window.groups = static_cast<unsigned>(input.in(0, 31));
    // Its cost grows with the window.
    if (spec.window.window > 130 && input.in(0, 7) != 0) spec.window.groups &= ~0U ^ group_path;
    spec.window.predictor = static_cast<Predictor>(input.in(0, 2));
    spec.window.collapse_share = input.flag() ? 0.6 : input.take<double>();
    spec.tick = input.flag() ? 0.25 : input.take<double>();
    spec.encoding = static_cast<Encoding>(input.in(0, 3));
    spec.stride = input.flag() ? 1 : static_cast<std::uint64_t>(input.in(0, 70));
    return spec;
}

}  // namespace sep::fuzz
