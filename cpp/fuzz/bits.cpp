// As prices.cpp, for bits; and the published analysis takes any bits.
#include "rolled.hpp"
#include "sep/legacy.hpp"

namespace sep::fuzz {

void bits(std::span<const std::uint8_t> bytes) {
    Input input(bytes);
    choose_kernels(input);
    RollingSpec spec = rolling_spec(input);
    spec.tick = 1.0;
    const auto wanted = static_cast<unsigned>(input.take<std::uint32_t>());
    const auto single = static_cast<unsigned>(input.take<std::uint32_t>());
    const auto chunk = static_cast<std::size_t>(input.in(1, 700));
    const int threads = static_cast<int>(input.in(1, 3));
    const bool with_gap = input.flag();
    const bool raw = input.in(0, 15) == 0;
    const auto repeats = static_cast<int>(input.in(1, 40));
    // Long enough now and then for the tables that long series get.
    const std::size_t most = input.in(0, 15) == 0 ? 4'500 : 700;
    if (most > 700) spec.window.groups &= group_counts | group_damped;
    std::vector<std::uint8_t> series;
    std::vector<std::uint8_t> gap;
    while (input.left() > 0 && series.size() < most) {
        const auto byte = input.take<std::uint8_t>();
        if (raw) {
            series.push_back(byte);
            gap.push_back(byte == 0x55);
            continue;
        }
        for (int i = 0; i < 8 * repeats; ++i) {
            series.push_back(byte >> (i % 8) & 1);
            gap.push_back(byte == 0x55 && i == 0);
        }
    }
    if (!with_gap) gap.clear();

    const auto roll = [&](Backend backend, std::size_t step, int count_of_threads) {
        Roller roller(spec, backend, count_of_threads);
        Rolled rolled(roller.outputs_of(series.size()));
        RollingOutputs out = rolled.outputs(wanted, single, false);
        for (std::size_t first = 0; first < series.size(); first += step) {
            const std::size_t count = std::min(step, series.size() - first);
            const std::size_t more = roller.outputs_of(count);
            const auto part = gap.empty() ? gap : std::vector(&gap[first], &gap[first] + count);
            roller.take_bits(std::span(series).subspan(first, count), part, out);
            out = out.from(more);
        }
        return rolled;
    };
    Rolled expected(0);
    Rolled found(0);
    const std::size_t all = series.size() + 1;
    const std::string refused = refusal_of([&] { expected = roll(Backend::scalar, all, 1); });
    const std::string refused_too =
        refusal_of([&] { found = roll(Backend::simd, chunk, threads); });
    require(refused == refused_too, "the same refusal: " + refused_too);
    if (refused.empty()) require(found == expected, "the bytes of the reference");
    legacy::analyze(std::span(series).first(std::min<std::size_t>(series.size(), 300)));
}

}  // namespace sep::fuzz
