// The vector backend, in chunks of any size, gives the bytes or the refusal of the reference.
#include "rolled.hpp"

namespace sep::fuzz {

void prices(std::span<const std::uint8_t> bytes) {
    Input input(bytes);
    choose_kernels(input);
    const RollingSpec spec = rolling_spec(input);
    const auto wanted = static_cast<unsigned>(input.take<std::uint32_t>());
    const auto single = static_cast<unsigned>(input.take<std::uint32_t>());
    const bool flat = input.flag();
    const bool with_gap = input.flag();
    const auto chunk = static_cast<std::size_t>(input.in(1, 400));
    const bool raw = input.in(0, 7) == 0;
    std::vector<double> series;
    std::vector<std::uint8_t> gap;
    double ticks = 1000;
    while (input.left() > 0 && series.size() < 700) {
        // One byte is four moves of -1..2 ticks, so that short inputs fill long windows.
        if (raw && input.in(0, 63) == 0) {
            series.push_back(input.take<double>());
            gap.push_back(0);
        }
        const auto moves = input.take<std::uint8_t>();
        for (int i = 0; i < 4; ++i) {
            ticks += (moves >> (2 * i) & 3) - 1;
            series.push_back(ticks * spec.tick);
            gap.push_back(moves == 0x55);
        }
    }
    if (!with_gap) gap.clear();

    std::size_t size = 0;
    const auto roll = [&](Backend backend, std::size_t step) {
        Roller roller(spec, backend, 1);
        size = roller.outputs_of(series.size());
        Rolled rolled(size);
        RollingOutputs out = rolled.outputs(wanted, single, flat);
        for (std::size_t first = 0; first < series.size(); first += step) {
            const std::size_t count = std::min(step, series.size() - first);
            const std::size_t more = roller.outputs_of(count);
            const auto part = gap.empty() ? gap : std::vector(&gap[first], &gap[first] + count);
            roller.take_prices(std::span(series).subspan(first, count), part, out);
            out = out.from(more);
        }
        return rolled;
    };
    Rolled expected(0);
    Rolled found(0);
    const std::string refused =
        refusal_of([&] { expected = roll(Backend::scalar, series.size() + 1); });
    const std::string refused_in_chunks = refusal_of([&] { found = roll(Backend::simd, chunk); });
    require(refused == refused_in_chunks, "the same refusal: " + refused_in_chunks);
    if (refused.empty()) require(found == expected, "the bytes of the reference");
}

}  // namespace sep::fuzz
