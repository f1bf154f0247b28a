#include "sep/sweep_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "sep/errors.hpp"

namespace {

using namespace std::chrono_literals;
using sep::ChosenRules;
using sep::SweepFigures;
using sep::SweepQueue;
using sep::SweepRules;

SweepFigures figures_of(std::int64_t net) {
    SweepFigures figures;
    figures.tally.net = net;
    return figures;
}

std::shared_ptr<SweepRules> rules_of(std::int32_t horizon, std::size_t count) {
    auto rules = std::make_shared<SweepRules>();
    rules->exits = {{horizon, 0, 0, sep::EntryAt::open}};
    rules->rules.resize(count);
    return rules;
}

/// Three lanes; rule i of a block has the net result 100 * horizon + i, and as many signals as ten
/// times its decision and its exit. Short horizons take long,
/// so that blocks end in another order than they begin in. Horizon 0 fails; 1,000 lasts until it is
/// stopped.
class MadeBackend final : public sep::SweepBackend {
public:
    int lanes() const override { return 3; }
    void figures(const SweepRules& rules, std::span<SweepFigures> out, const sep::StopFlag& stop,
                 int) override {
        const std::int32_t horizon = rules.exits[0].horizon;
        ++begun;
        if (horizon == 0) throw sep::InvalidArgument("of no length");
        while (horizon == 1000 && !stop.stopped()) std::this_thread::sleep_for(1ms);
        std::this_thread::sleep_for(std::chrono::microseconds(2000 / horizon));
        for (std::size_t i = 0; i < out.size(); ++i) {
            out[i] = figures_of(100 * horizon + static_cast<std::int64_t>(i));
            out[i].signals = 10 * rules.rules[i].decision + rules.rules[i].exit;
        }
    }
    void best(const SweepRules&, const sep::SurrogateSpec&, std::uint64_t, sep::Statistic,
              std::span<sep::SurrogateBest>, const sep::StopFlag&) override {}
    void best_by_days(const sep::SweepRules&, const sep::NullWorlds&, std::span<const std::int32_t>,
                      const sep::BestByDays&, const sep::StopFlag&) override {}

    std::atomic<int> begun{0};
};

TEST(SweepQueue, BlocksComeBackInTheirOrderAndWriteWhereTheyBelong) {
    MadeBackend backend;
    SweepQueue queue(backend);
    // Blocks of two decisions and five exits in a grid of twenty exits: rules 5 b .. 5 b + 4 and
    // 20 + 5 b .. 20 + 5 b + 4. Net is the fifth kind of figure.
    constexpr std::int64_t all = 40;
    std::vector<std::int64_t> columns(sep::sweep_figures * all, -1);
    std::vector<std::int64_t> rows(sep::sweep_figures * all, -1);
    for (std::int32_t b = 0; b < 4; ++b) {
        sep::SweepBlock block;
        block.rules = rules_of(b + 1, 10);
        block.sinks = {{columns.data(), all, 1, 5 * b, 5, 20},
                       {rows.data(), 1, sep::sweep_figures, 5 * b, 5, 20}};
        block.best = {2, sep::Statistic::net, 1};
        queue.put(std::move(block));
    }
    for (std::int64_t b = 0; b < 4; ++b) {
        const std::optional<ChosenRules> best = queue.take(10s);
        ASSERT_TRUE(best);
        EXPECT_EQ(best->places, (std::vector<std::int64_t>{9, 8}));
        EXPECT_EQ(best->figures[0].tally.net, 100 * (b + 1) + 9);
        EXPECT_EQ(best->figures[1].tally.net, 100 * (b + 1) + 8);
    }
    EXPECT_EQ(queue.size(), 0U);
    for (std::int64_t rule = 0; rule < all; ++rule) {
        const std::int64_t block = rule % 20 / 5;
        const std::int64_t place = rule / 20 * 5 + rule % 5;
        EXPECT_EQ(columns[static_cast<std::size_t>(4 * all + rule)], 100 * (block + 1) + place);
        EXPECT_EQ(rows[static_cast<std::size_t>(rule) * sep::sweep_figures + 4],
                  100 * (block + 1) + place);
    }
    EXPECT_THROW(queue.take(0ms), sep::InvalidArgument);
}

TEST(SweepQueue, EveryDecisionWithEveryExitIsListedByTheLane) {
    MadeBackend backend;
    SweepQueue queue(backend);
    const auto put = [&](std::size_t decisions, std::size_t exits, std::int64_t* to) {
        auto decided = std::make_shared<sep::SweepDecisions>();
        decided->decisions.resize(decisions);
        auto rules = std::make_shared<SweepRules>();
        rules->decided = std::move(decided);
        rules->exits.assign(exits, {2, 0, 0, sep::EntryAt::open});
        sep::SweepBlock block;
        block.rules = std::move(rules);
        block.every_pair = true;
        EXPECT_EQ(block.size(), decisions * exits);
        const auto width = static_cast<std::int64_t>(block.size());
        block.sinks = {{to, width, 1, 0, width, width}};
        queue.put(std::move(block));
    };
    // A lane that has swept a larger block takes a smaller one.
    std::vector<std::vector<std::int64_t>> found(8, std::vector<std::int64_t>(13 * 6));
    for (std::size_t i = 0; i < found.size(); ++i) put(i < 4 ? 2 : 1, 3, found[i].data());
    while (queue.size() > 0) ASSERT_TRUE(queue.take(10s));
    for (std::size_t i = 0; i < found.size(); ++i) {
        found[i].resize(i < 4 ? 6 : 3);
        const std::vector<std::int64_t> all{0, 1, 2, 10, 11, 12};
        EXPECT_TRUE(std::equal(found[i].begin(), found[i].end(), all.begin()));
    }
}

TEST(SweepQueue, WhatABlockThrowsComesWithItAndTheNextGoOn) {
    MadeBackend backend;
    SweepQueue queue(backend);
    for (const std::int32_t horizon : {1, 0, 2}) queue.put({rules_of(horizon, 1), {}, {}, false});
    EXPECT_TRUE(queue.take(10s));
    EXPECT_THROW(queue.take(10s), sep::InvalidArgument);
    EXPECT_TRUE(queue.take(10s));
}

TEST(SweepQueue, ClearingEndsWhatRunsAndForgetsTheRest) {
    MadeBackend backend;
    SweepQueue queue(backend);
    for (int i = 0; i < 8; ++i) queue.put({rules_of(1000, 1), {}, {}, false});
    while (backend.begun < 3) std::this_thread::sleep_for(1ms);
    EXPECT_FALSE(queue.take(1ms));
    queue.clear();
    EXPECT_EQ(queue.size(), 0U);
    EXPECT_EQ(backend.begun, 3);
    queue.put({rules_of(3, 1), {}, {}, false});
    EXPECT_TRUE(queue.take(10s));
    // One that runs does not keep the queue from going away.
    queue.put({rules_of(1000, 1), {}, {}, false});
}

TEST(SweepQueue, LanesChangeTheirDecisionsOneAfterTheOther) {
    // Three lanes take 40 blocks with decisions `a`, then 20 with `b`, at turns.
    const sep::SweepDecisions a;
    const sep::SweepDecisions b;
    std::vector<const sep::SweepDecisions*> waiting(40, &a);
    waiting.insert(waiting.end(), 20, &b);
    constexpr int lanes = 3;
    std::vector<sep::LaneDecisions> of_lanes(lanes);
    std::vector<std::size_t> left_at_change(lanes);
    std::vector<int> changes(lanes, 0);
    std::size_t taken_of_a = 0;
    for (std::size_t turn = 0; !waiting.empty(); ++turn) {
        const std::size_t lane = turn % lanes;
        const std::size_t place =
            sep::next_block(waiting, of_lanes[lane], static_cast<int>(lane), lanes);
        const sep::SweepDecisions* made = waiting[place];
        if (made != of_lanes[lane].made) {
            if (++changes[lane] == 2) left_at_change[lane] = 40 - taken_of_a;
            of_lanes[lane] = {made, 0};
        }
        ++of_lanes[lane].blocks;
        taken_of_a += made == &a;
        waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(place));
    }
    EXPECT_EQ(changes, std::vector<int>(lanes, 2));  // each has made both, and nobody went back
    EXPECT_EQ(taken_of_a, 40U);
    EXPECT_LE(left_at_change[0], 4U);
    EXPECT_GT(left_at_change[0], left_at_change[1]);
    EXPECT_GT(left_at_change[1], left_at_change[2]);
    EXPECT_EQ(left_at_change[2], 0U);
}

TEST(SweepQueue, LanesTakeTheOldestBlockWhereDecisionsAreOfFew) {
    const std::vector<sep::SweepDecisions> each(6);
    std::vector<const sep::SweepDecisions*> waiting;
    for (const sep::SweepDecisions& one : each) waiting.insert(waiting.end(), 2, &one);
    // The lane's own first, whatever waits behind it; then the oldest.
    EXPECT_EQ(sep::next_block(waiting, {&each[2], 1}, 0, 6), 4U);
    EXPECT_EQ(sep::next_block(waiting, {nullptr, 0}, 0, 6), 0U);
    const sep::SweepDecisions gone;
    EXPECT_EQ(sep::next_block(waiting, {&gone, 50}, 0, 6), 0U);
    // After many blocks a lane changes, but for the last one.
    EXPECT_EQ(sep::next_block(waiting, {&each[0], 8}, 0, 6), 2U);
    EXPECT_EQ(sep::next_block(waiting, {&each[0], 8}, 5, 6), 0U);
}

TEST(SweepQueue, OfEqualRulesTheFirstIsBetter) {
    std::vector<SweepFigures> figures;
    for (const std::int64_t net : {3, 7, 7, 1, 7, 5, 3}) figures.push_back(figures_of(net));
    const auto best = [&](std::size_t count) {
        return sep::best_rules(figures, {count, sep::Statistic::net, 1}).places;
    };
    EXPECT_EQ(best(0), (std::vector<std::int64_t>{}));
    EXPECT_EQ(best(2), (std::vector<std::int64_t>{1, 2}));
    EXPECT_EQ(best(5), (std::vector<std::int64_t>{1, 2, 4, 5, 0}));
    EXPECT_EQ(best(9), (std::vector<std::int64_t>{1, 2, 4, 5, 0, 6, 3}));
}

TEST(SweepQueue, TheBestOfManyAreThoseOfSorting) {
    std::vector<SweepFigures> figures;
    std::vector<std::int64_t> order;
    std::uint64_t state = 1;
    for (std::int64_t i = 0; i < 5'000; ++i) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        figures.push_back(figures_of(static_cast<std::int64_t>(state >> 54)));
        order.push_back(i);
    }
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
        return figures[static_cast<std::size_t>(a)].tally.net >
               figures[static_cast<std::size_t>(b)].tally.net;
    });
    for (const std::size_t count : {1, 10, 64, 1'000, 4'999, 5'000}) {
        const auto first = order.begin() + static_cast<std::ptrdiff_t>(count);
        EXPECT_EQ(sep::best_rules(figures, {count, sep::Statistic::net, 1}).places,
                  std::vector<std::int64_t>(order.begin(), first));
    }
}

}  // namespace
