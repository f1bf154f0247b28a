// A bank gives the bytes of its streams, a stream those of the rolled series; both go on from their
// snapshots as if nothing had been.
#include <cmath>

#include "rolled.hpp"
#include "sep/stream.hpp"

namespace sep::fuzz {

void streams(std::span<const std::uint8_t> bytes) {
    Input input(bytes);
    choose_kernels(input);
    RollingSpec spec = rolling_spec(input);
    // Short windows and few streams mostly: an input is to take milliseconds, not a second.
    spec.window.window =
        static_cast<int>(input.in(0, 7) == 0 ? input.in(63, 130) : input.in(8, 40));
    spec.window.collapse_share = 0.6;
    spec.tick = 0.25;
    spec.stride = 1;
    const auto size = static_cast<std::size_t>(input.flag() ? input.in(16, 18) : input.in(1, 4));
    StreamBank bank(spec, std::vector<double>(size, spec.tick));
    std::vector<Stream> alone(size, Stream(spec));
    std::vector<std::vector<double>> taken(size);
    std::vector<std::vector<std::uint8_t>> gaps(size);
    std::vector<double> ticks(size, 1000);
    Rolled found(size);
    const RollingOutputs out = found.outputs(~0U, 0, true);
    const auto restored_at = input.in(0, 80);
    for (int step = 0; step < 160 && (step < 40 || input.left() > 0); ++step) {
        if (step == restored_at) {
            bank = StreamBank::restore(bank.snapshot());
            alone[0] = Stream::restore(alone[0].snapshot());
        }
        // One byte moves all instruments, each in its own way; now and then one has no price.
        const auto byte = input.take<std::uint8_t>();
        std::vector<double> prices;
        std::vector<std::uint8_t> gap;
        for (std::size_t i = 0; i < size; ++i) {
            const unsigned turned = (byte * (2 * static_cast<unsigned>(i) + 1)) >> (i % 5) & 15;
            const bool absent = turned == 15;
            ticks[i] += absent ? 0 : static_cast<double>(turned % 3) - 1;
            prices.push_back(absent ? std::nan("") : ticks[i] * spec.tick);
            gap.push_back(byte == 0x55);
            if (absent) continue;
            alone[i].update(prices[i], gap[i] != 0);
            taken[i].push_back(prices[i]);
            gaps[i].push_back(gap[i]);
        }
        bank.update(prices, gap, out);
        for (std::size_t i = 0; i < size; ++i) {
            const StreamMetrics& expected = alone[i].metrics();
            const MetricValues values = values_of(expected.window);
            for (std::size_t m = 0; m < window_metric_count; ++m) {
                require(std::memcmp(&found.columns[m][i], &values.value[m], sizeof(double)) == 0,
                        "the bytes of its streams");
            }
            require(std::memcmp(&found.columns.back()[i], &expected.flat_ratio, 8) == 0,
                    "the flat share of its streams");
            require((found.complete[i] != 0) == expected.complete, "the streams that are complete");
        }
    }
    for (std::size_t i = 0; i < size; i += 5) {
        if (taken[i].empty()) continue;
        Rolled rolled(taken[i].size());
        Roller(spec, Backend::simd, 1)
            .take_prices(taken[i], gaps[i], rolled.outputs(~0U, 0, false));
        const MetricValues values = values_of(alone[i].metrics().window);
        for (std::size_t m = 0; m < window_metric_count; ++m) {
            require(std::memcmp(&rolled.columns[m].back(), &values.value[m], sizeof(double)) == 0,
                    "the bytes of the rolled series");
        }
    }
}

}  // namespace sep::fuzz
