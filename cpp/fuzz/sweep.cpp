// All backends and numbers of threads give the figures of the reference, or refuse as it does.
#include "sep/sweep.hpp"

#include "input.hpp"

namespace sep::fuzz {
namespace {

struct Never final : StopFlag {
    bool stopped() const override { return false; }
};

SweepBars bars_of(Input& input) {
    SweepBars bars;
    bars.tick = 0.25;
    bars.per_side = static_cast<std::int32_t>(input.in(-1, 5));
    const bool wild = input.in(0, 15) == 0;
    const auto size = static_cast<int>(input.in(0, 400));
    const auto value = [&](std::int64_t low, std::int64_t high) {
        return wild ? input.take<std::int32_t>() : static_cast<std::int32_t>(input.in(low, high));
    };
    std::int32_t close = 4'000;
    std::int32_t day = 0;
    for (int k = 0; k < size; ++k) {
        const auto noise = input.take<std::uint32_t>();
        const std::int32_t open = close + static_cast<std::int32_t>(noise & 3) - 1;
        close = open + static_cast<std::int32_t>(noise >> 2 & 15) - 7;
        const std::int32_t up = static_cast<std::int32_t>(noise >> 6 & 7);
        const std::int32_t down = static_cast<std::int32_t>(noise >> 9 & 7);
        bars.open.push_back(wild ? value(0, 0) : open);
        bars.high.push_back(std::max(open, close) + up);
        bars.low.push_back(std::min(open, close) - down);
        bars.close.push_back(close);
        bars.bid_off.push_back(static_cast<std::int32_t>(noise >> 12 & 3));
        bars.ask_off.push_back(wild ? value(0, 0) : static_cast<std::int32_t>(noise >> 14 & 3));
        day += k > 0 && (noise >> 16 & 15) == 0;
        bars.day.push_back(day);
        bars.price.push_back(close * bars.tick);
        bars.gap.push_back((noise >> 20 & 63) == 0);
    }
    if (input.flag()) bars.gap.clear();
    if (input.in(0, 63) == 0 && !bars.low.empty()) bars.low.pop_back();
    return bars;
}

SweepRules rules_of(Input& input) {
    SweepRules rules;
    SweepDecisions made;
    const bool wild = input.in(0, 15) == 0;
    const int most = wild ? 9 : 3;
    for (auto n = input.in(0, 3); n > 0; --n) {
        const double low = input.flag() ? 0.0 : input.take<double>();
        made.gates.push_back({static_cast<std::int32_t>(input.in(0, wild ? 40 : 17)),
                              static_cast<std::int32_t>(input.in(0, 1)), low, 0.9});
    }
    const auto gates = static_cast<std::int64_t>(made.gates.size());
    for (auto n = input.in(1, 4); n > 0; --n) {
        DecisionSpec decision;
        decision.encoding = static_cast<Encoding>(input.in(0, most));
        decision.direction = static_cast<SignalDirection>(input.in(0, wild ? 9 : 4));
        decision.invert = input.flag();
        decision.window = static_cast<std::int32_t>(input.in(8, wild ? 2'000 : 70));
        decision.gates_first = static_cast<std::int32_t>(input.in(0, gates));
        decision.gates_count =
            static_cast<std::int32_t>(input.in(0, wild ? 9 : gates - decision.gates_first));
        made.decisions.push_back(decision);
    }
    for (auto n = input.in(1, 4); n > 0; --n) {
        ExitSpec exit;
        exit.horizon = static_cast<std::int32_t>(input.in(wild ? -1 : 1, 80));
        exit.stop = static_cast<std::int32_t>(input.in(0, 12));
        exit.target = static_cast<std::int32_t>(input.in(0, 12));
        exit.entry = static_cast<EntryAt>(input.in(0, wild ? 2 : 1));
        rules.exits.push_back(exit);
    }
    const auto decisions = static_cast<std::int64_t>(made.decisions.size());
    const auto exits = static_cast<std::int64_t>(rules.exits.size());
    for (auto n = input.in(0, 20); n > 0; --n) {
        rules.rules.push_back({static_cast<std::int32_t>(input.in(wild ? -1 : 0, decisions - 1)),
                               static_cast<std::int32_t>(input.in(0, wild ? 9 : exits - 1))});
    }
    rules.decided = std::make_shared<const SweepDecisions>(std::move(made));
    return rules;
}

bool same(const SweepFigures& a, const SweepFigures& b) {
    return a.signals == b.signals && std::memcmp(&a.tally, &b.tally, sizeof(Tally)) == 0;
}

}  // namespace

void sweep(std::span<const std::uint8_t> bytes) {
    Input input(bytes);
    choose_kernels(input);
    const int threads = static_cast<int>(input.in(1, 2));
    const SweepRules rules = rules_of(input);
    const SweepBars bars = bars_of(input);
    // Rules are checked where they come in; a backend trusts them.
    const auto checked = [&] {
        check(*rules.decided);
        check(rules);
    };
    if (!refusal_of(checked).empty()) return;
    const auto figures = [&](Backend backend, int count) {
        std::vector<SweepFigures> out(rules.rules.size());
        make_sweep(bars, backend, count)->figures(rules, out, Never{}, 0);
        return out;
    };
    std::vector<SweepFigures> expected;
    std::vector<SweepFigures> found;
    const std::string refused = refusal_of([&] { expected = figures(Backend::scalar, 1); });
    const std::string refused_too = refusal_of([&] { found = figures(Backend::simd, threads); });
    require(refused == refused_too, "the same refusal: " + refused_too);
    require(std::equal(expected.begin(), expected.end(), found.begin(), found.end(), same),
            "the figures of the reference");
}

}  // namespace sep::fuzz
