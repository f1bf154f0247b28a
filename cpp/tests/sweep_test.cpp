#include "sep/sweep.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "sep/errors.hpp"
#include "sweep_parts.hpp"

namespace {

using sep::EntryAt;
using sep::ExitReason;
using sep::ExitSpec;
using sep::Outcome;
using sep::SweepBars;

class NeverStopped final : public sep::StopFlag {
public:
    bool stopped() const override { return false; }
};

SweepBars random_bars(std::int32_t size, unsigned seed) {
    std::mt19937 numbers(seed);
    const auto up_to = [&](int limit) { return static_cast<std::int32_t>(numbers() % limit); };
    SweepBars bars;
    std::int32_t close = 1000;
    for (std::int32_t k = 0; k < size; ++k) {
        const std::int32_t open = close + up_to(5) - 2;
        close = open + up_to(9) - 4;
        bars.open.push_back(open);
        bars.close.push_back(close);
        bars.high.push_back(std::max(open, close) + up_to(4));
        bars.low.push_back(std::min(open, close) - up_to(4));
        bars.bid_off.push_back(up_to(2));
        bars.ask_off.push_back(up_to(4));
        bars.day.push_back(k / 20);
        bars.price.push_back(close);
    }
    bars.per_side = 1;
    bars.tick = 1;
    return bars;
}

void expect_equal(const Outcome& a, const Outcome& b) {
    EXPECT_EQ(a.exit_bar, b.exit_bar);
    EXPECT_EQ(a.net, b.net);
    EXPECT_EQ(a.gross, b.gross);
    EXPECT_EQ(a.lowest, b.lowest);
    EXPECT_EQ(a.highest, b.highest);
    EXPECT_EQ(a.fall, b.fall);
    EXPECT_EQ(a.day, b.day);
    EXPECT_EQ(a.reason, b.reason);
}

TEST(Sweep, APositionHasTheProfitsOfItsBars) {
    // Asks, ten above the bids. Bought at bar 1's ask 1000; bids close at 1010 and 990 while it is
    // held; sold at bar 3's opening bid 1050 - 10 = 1040, with 2 for each fill.
    SweepBars bars;
    bars.open = {1000, 1000, 1020, 1050};
    bars.high = {1010, 1030, 1060, 1055};
    bars.low = {990, 995, 995, 1000};
    bars.close = {1000, 1020, 1000, 1010};
    bars.bid_off = {10, 10, 10, 10};
    bars.ask_off = {0, 0, 0, 0};
    bars.day = {0, 0, 0, 1};
    bars.price = {1000, 1020, 1000, 1010};
    bars.per_side = 2;
    bars.tick = 1;
    expect_equal(sep::outcome_of(bars.view(), {2, 0, 0, EntryAt::open}, 0, 1),
                 {3, 36, 50, -14, 36, 20, 1, ExitReason::horizon});
    // A stop at 985 is touched by bar 1's lowest bid, 985.
    expect_equal(sep::outcome_of(bars.view(), {2, 15, 0, EntryAt::open}, 0, 1),
                 {1, -19, -5, -19, -19, 0, 0, ExitReason::stop});
}

TEST(Sweep, TablesHoldWhatAPositionComesTo) {
    for (const std::int32_t size : {1, 2, 3, 64, 300}) {
        const SweepBars bars = random_bars(size, 7U + static_cast<unsigned>(size));
        sep::OutcomeTables tables(bars.view());
        for (const EntryAt entry : {EntryAt::open, EntryAt::close}) {
            const std::int32_t end = sep::decisions_end(bars.view(), entry);
            if (end <= 0) continue;
            for (const std::int32_t horizon : {1, 2, 3, 4, 7, 8, 63, 64, 65, 299, 1000}) {
                for (const auto& [stop, target] :
                     {std::pair{0, 0}, {3, 0}, {0, 5}, {6, 9}, {60, 90}}) {
                    const ExitSpec exit{horizon, stop, target, entry};
                    const std::int32_t first = end / 3;
                    const auto count = static_cast<std::size_t>(end - first);
                    std::vector<Outcome> all(2 * count);
                    std::vector<sep::Gain> gains(2 * count);
                    tables.fill(exit, first, end, all);
                    tables.fill(exit, first, end, true, gains);
                    for (std::int32_t t = first; t < end; ++t) {
                        for (const std::int32_t side : {-1, 1}) {
                            const auto place = 2 * static_cast<std::size_t>(t - first) +
                                               static_cast<std::size_t>(side > 0);
                            const Outcome expected = sep::outcome_of(bars.view(), exit, t, side);
                            expect_equal(all[place], expected);
                            EXPECT_EQ(gains[place].exit_bar, expected.exit_bar);
                            EXPECT_EQ(gains[place].gain, expected.net);
                        }
                    }
                }
            }
        }
    }
}

TEST(Sweep, WordsAreThoseOfTheirSource) {
    // Known answers of the authors' own library for a counter and a key of zeros, and of ones.
    const sep::PhiloxWords zeros = sep::philox(0, 0, 0);
    EXPECT_EQ(zeros.word[0], 0x16554d9eca36314cU);
    EXPECT_EQ(zeros.word[1], 0xdb20fe9d672d0fdcU);
    EXPECT_EQ(zeros.word[2], 0xd7e772cee186176bU);
    EXPECT_EQ(zeros.word[3], 0x7e68b68aec7ba23bU);
}

TEST(Sweep, ProductsKeepAllTheirBits) {
    // (2^64 - 1)^2 = 2^128 - 2^65 + 1.
    const sep::Wide wide = sep::product(~std::uint64_t{0}, ~std::uint64_t{0});
    EXPECT_EQ(wide.high, ~std::uint64_t{0} - 1);
    EXPECT_EQ(wide.low, 1U);
}

TEST(Sweep, TheTValueIsThatOfTheDays) {
    // Days of 3, 1, 2 and 0: mean 1.5, variance 5/3, so t = 1.5 / sqrt(5/12).
    EXPECT_DOUBLE_EQ(sep::daily_t_value(6, 14, 4), 1.5 / std::sqrt(5.0 / 12.0));
    EXPECT_DOUBLE_EQ(sep::daily_t_value(-6, 14, 4), -1.5 / std::sqrt(5.0 / 12.0));
    EXPECT_EQ(sep::daily_t_value(8, 16, 4), -HUGE_VAL);  // 2 on each day: nothing varies
    EXPECT_EQ(sep::daily_t_value(5, 25, 1), -HUGE_VAL);
}

TEST(Sweep, ItRefusesWhatIsOutOfRange) {
    SweepBars bars = random_bars(10, 1);
    bars.high[4] = sep::sweep_price_max;
    EXPECT_THROW(sep::make_sweep(bars, sep::Backend::automatic, 1), sep::InvalidArgument);
    bars = random_bars(10, 1);
    bars.day[5] = 9;
    EXPECT_THROW(sep::check(bars), sep::InvalidArgument);
    bars = random_bars(10, 1);
    bars.close.pop_back();
    EXPECT_THROW(sep::check(bars), sep::InvalidArgument);
    sep::SweepRules rules;
    rules.exits = {{0, 0, 0, EntryAt::open}};
    EXPECT_THROW(sep::check(rules), sep::InvalidArgument);
    rules = {};
    rules.rules = {{0, 0}};
    EXPECT_THROW(sep::check(rules), sep::InvalidArgument);
    sep::SweepDecisions decided;
    decided.decisions.emplace_back();
    EXPECT_NO_THROW(sep::check(decided));
    decided.decisions.back().gates_count = 1;
    EXPECT_THROW(sep::check(decided), sep::InvalidArgument);
}

TEST(Sweep, ThreadsGiveTheSameFigures) {
    const SweepBars bars = random_bars(5000, 3);
    sep::SweepRules rules;
    sep::SweepDecisions made;
    for (int d = 0; d < 5; ++d) {
        sep::DecisionSpec decision;
        decision.direction = static_cast<sep::SignalDirection>(d);
        decision.window = 8 + d;
        made.decisions.push_back(decision);
    }
    rules.decided = std::make_shared<sep::SweepDecisions>(std::move(made));
    for (std::int32_t e = 0; e < 20; ++e) {
        rules.exits.push_back({e + 1, e % 3 == 0 ? 9 : 0, e % 4 == 0 ? 7 : 0,
                               e % 2 == 0 ? EntryAt::open : EntryAt::close});
        for (std::int32_t d = 0; d < 5; ++d) rules.rules.push_back({d, e});
    }
    const NeverStopped stop;
    std::vector<sep::SweepFigures> expected(rules.rules.size());
    sep::make_sweep(bars, sep::Backend::scalar, 1)->figures(rules, expected, stop, 0);
    for (const int threads : {1, 2, 7, 64}) {
        std::vector<sep::SweepFigures> found(rules.rules.size());
        sep::make_sweep(bars, sep::Backend::simd, threads)->figures(rules, found, stop, 0);
        for (std::size_t i = 0; i < found.size(); ++i) {
            EXPECT_EQ(found[i].signals, expected[i].signals);
            EXPECT_EQ(found[i].tally.net, expected[i].tally.net);
            EXPECT_EQ(found[i].tally.drawdown, expected[i].tally.drawdown);
            EXPECT_EQ(found[i].tally.day_squares, expected[i].tally.day_squares);
            EXPECT_EQ(found[i].tally.trades, expected[i].tally.trades);
        }
    }
}

}  // namespace
