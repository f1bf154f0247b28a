#include "sep/rolling.hpp"

#include "backends.hpp"

namespace sep {

Encoded one_price_per_bit(BitSeries series) {
    Encoded encoded;
    encoded.prices = series.size;
    encoded.emitted.assign(word_count(series.size), ~std::uint64_t{0});
    encoded.flat.assign(word_count(series.size), 0);
    encoded.series = std::move(series);
    return encoded;
}

}  // namespace sep

namespace sep::scalar {

void rolling(const Encoded& encoded, int window, const RollingOutputs& out) {
    const Tables& t = tables();
    const std::vector<DampedSpan> spans = damped_spans(window);
    const TableView view{t.g.data(), t.log2_3, t.rows.data(), t.row_of.data(), spans.data()};

    std::uint64_t bits = 0;  // in the series up to price k
    WindowMetrics metrics = no_metrics();
    bool complete = false;
    for (std::size_t k = 0; k < encoded.prices; ++k) {
        if (bit_at(encoded.emitted, k)) {
            ++bits;
            metrics = window_metrics(BitsBefore{encoded.series.bits.data(), bits},
                                     BitsBefore{encoded.series.joined.data(), bits}, bits, window,
                                     view, complete);
        }
        const MetricValues values = values_of(metrics);
        for (int i = 0; i < window_metric_count; ++i) {
            if (out.metrics[i] != nullptr) out.metrics[i][k] = values.value[i];
        }
        if (out.flat_ratio != nullptr) {
            const BitsBefore flat{encoded.flat.data(), k + 1};
            const bool full = k >= static_cast<std::size_t>(window);
            out.flat_ratio[k] =
                full ? count_ones(flat, window) / static_cast<double>(window) : not_a_number();
        }
        if (out.complete != nullptr) out.complete[k] = complete;
    }
}

}  // namespace sep::scalar
