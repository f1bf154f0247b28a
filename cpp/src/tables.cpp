#include "sep/tables.hpp"

#include <cmath>
#include <mutex>

#include "double_double.hpp"
#include "sep/window.hpp"

namespace sep {
namespace {

DampedRow damped_row(double lambda) {
    DampedRow row{};
    row.lambda = lambda;
    std::array<DoubleDouble, 4> decay;
    for (int i = 0; i < 4; ++i) decay[i] = exp_minus(DoubleDouble(lambda) * DoubleDouble(i));
    row.decay4 = exp_minus(DoubleDouble(lambda) * DoubleDouble(4.0)).hi;
    row.decay8 = exp_minus(DoubleDouble(lambda) * DoubleDouble(8.0)).hi;
    for (unsigned nibble = 0; nibble < 16; ++nibble) {
        DoubleDouble sum = 0.0;
        for (unsigned i = 0; i < 4; ++i) {
            if ((nibble >> (3 - i)) & 1) sum = sum + decay[i];
        }
        row.nibble_sum[nibble] = sum.hi;
    }
    for (unsigned byte = 0; byte < 256; ++byte) {
        row.byte_sum[byte] = row.nibble_sum[byte >> 4] + row.decay4 * row.nibble_sum[byte & 15];
    }
    return row;
}

Tables make_tables() {
    Tables made{};
    for (int n = 1; n < window_max; ++n) {
        made.g[n] = (DoubleDouble(static_cast<double>(n)) * log2_of(n)).hi;
    }
    made.log2_3 = log2_of(3).hi;

    const int transitions = lambda_bits - 1;
    for (int flips = 0; flips <= transitions; ++flips) {
        for (int n11 = 0; n11 <= transitions - flips; ++n11) {
            // Without a flip every bit equals the newest, which is 0.
            if (flips == 0 && n11 > 0) continue;
            const PairCounts pairs{transitions - flips - n11, flips / 2, flips - flips / 2, n11};
            const double h = entropy_of(pairs, transitions, made.g.data(), made.log2_3);
            const double c = coherence_of(pairs, transitions, made.g.data());
            double lambda = 0.30 * h + 0.20 * (1.0 - c);
            if (lambda < 0.01) lambda = 0.01;
            if (lambda > 1.0) lambda = 1.0;
            made.row_of[lambda_bits * flips + n11] = static_cast<std::uint8_t>(made.rows.size());
            made.rows.push_back(damped_row(lambda));
        }
    }
    return made;
}

std::vector<double> path_templates(int points) {
    const DoubleDouble step = DoubleDouble(1.0) / DoubleDouble(10.0);
    const DoubleDouble turn = two_pi() / DoubleDouble(static_cast<double>(points));
    std::vector<double> templates;
    for (int which = 0; which < template_count; ++which) {
        std::vector<DoubleDouble> values;
        DoubleDouble sum = 0.0;
        for (int j = 0; j < points; ++j) {
            const DoubleDouble at = static_cast<double>(j);
            values.push_back(which == 0 ? exp_minus(step * at) : which == 1 ? at : sine(turn * at));
            sum = sum + values.back();
        }
        const DoubleDouble mean = sum / DoubleDouble(static_cast<double>(points));
        DoubleDouble squares = 0.0;
        for (DoubleDouble& value : values) {
            value = value - mean;
            squares = squares + value * value;
        }
        const DoubleDouble norm = square_root(squares);
        for (const DoubleDouble& value : values) templates.push_back((value / norm).hi);
    }
    return templates;
}

std::vector<DampedSpan> make_spans(int window) {
    std::vector<DampedSpan> spans;
    for (const DampedRow& row : tables().rows) {
        int terms = window;
        while (row.lambda * (terms - 1) > 40.0) --terms;
        // A geometric series: (1 - r^terms) / (1 - r).
        const DoubleDouble lambda = row.lambda;
        const DoubleDouble ratio = exp_minus(lambda);
        const DoubleDouble last = exp_minus(lambda * DoubleDouble(static_cast<double>(terms)));
        const DoubleDouble sum = (DoubleDouble(1.0) - last) / (DoubleDouble(1.0) - ratio);
        spans.push_back({sum.hi, terms, 0});
    }
    return spans;
}

/// Kept for each length, 3 KB: they take a millisecond, a call for few windows some microseconds.
const std::vector<DampedSpan>& spans_of(int window) {
    static std::array<std::once_flag, window_max + 1> made;
    static std::array<std::vector<DampedSpan>, window_max + 1> spans;
    const auto length = static_cast<std::size_t>(window);
    std::call_once(made[length], [&] { spans[length] = make_spans(window); });
    return spans[length];
}

}  // namespace

const Tables& tables() {
    static const Tables made = make_tables();
    return made;
}

WindowTables::WindowTables(int window, bool with_path) : spans(spans_of(window)) {
    if (!with_path) return;
    for (std::size_t i = 0; i < spans.size(); ++i) {
        const DoubleDouble ratio = exp_minus(DoubleDouble(tables().rows[i].lambda));
        decays_first.push_back(static_cast<std::uint32_t>(decays.size()));
        DoubleDouble decay = 1.0;
        for (int k = 0; k < spans[i].terms; ++k) {
            decays.push_back(decay.hi);
            decay = decay * ratio;
        }
    }
    templates = path_templates(window - 1);
}

}  // namespace sep
