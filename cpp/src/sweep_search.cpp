#include <algorithm>
#include <atomic>
#include <limits>
#include <string>
#include <vector>

#include "parallel.hpp"
#include "sep/errors.hpp"
#include "sep/sweep.hpp"
#include "sweep_parts.hpp"

namespace sep {
namespace {

/// Find the best rule before each cut in a panel of days x rules, and copy its days.
void choose(std::span<const std::int64_t> daily, std::span<const std::int32_t> cuts,
            std::size_t days, const BestByDays& out) {
    const std::size_t rules = daily.size() / days;
    std::vector<std::int64_t> sums(rules, 0);
    std::vector<std::int64_t> squares(rules, 0);
    for (std::size_t day = 0; day < days; ++day) {
        const std::int64_t* row = daily.data() + day * rules;
        for (std::size_t k = 0; k < rules; ++k) {
            sums[k] += row[k];
            squares[k] += row[k] * row[k];
        }
        for (std::size_t c = 0; c < cuts.size(); ++c) {
            if (static_cast<std::size_t>(cuts[c]) != day + 1) continue;
            SurrogateBest best{-std::numeric_limits<double>::infinity(), 0};
            for (std::size_t k = 0; k < rules; ++k) {
                const double t = daily_t_value(sums[k], squares[k], cuts[c]);
                if (t > best.statistic) best = {t, static_cast<std::int64_t>(k)};
            }
            out.t_values[c] = best.statistic;
            out.rules[c] = best.rule;
            for (std::size_t d = 0; d < days; ++d) {
                out.days[c * days + d] = daily[d * rules + static_cast<std::size_t>(best.rule)];
            }
        }
    }
}

}  // namespace

void check(const SweepBars& bars, const NullWorlds& worlds, std::span<const std::int32_t> cuts,
           const BestByDays& out) {
    for (const std::int32_t cut : cuts) {
        if (cut >= 1 && cut <= bars.days()) continue;
        throw InvalidArgument("cuts must be in 1.." + std::to_string(bars.days()) + ", one was " +
                              std::to_string(cut));
    }
    if (!worlds.given.empty() && worlds.given.size() != worlds.count) {
        throw InvalidArgument("there must be as many worlds as are given");
    }
    for (const SweepBars& world : worlds.given) {
        if (world.size() != bars.size()) {
            throw InvalidArgument("worlds must have as many bars as there are");
        }
        check(world);
    }
    const std::size_t cells = worlds.count * cuts.size();
    if (out.t_values.size() != cells || out.rules.size() != cells ||
        out.days.size() != cells * static_cast<std::size_t>(bars.days())) {
        throw InvalidArgument(
            "there must be a t value, a rule and its days for each cut of each world");
    }
}

void best_by_days_on_processor(const SweepBars& bars, const SweepRules& rules,
                               const NullWorlds& worlds, std::span<const std::int32_t> cuts,
                               const BestByDays& out, int threads, const StopFlag& stop) {
    const auto days = static_cast<std::size_t>(bars.days());
    std::atomic<std::size_t> next{0};
    in_parallel(threads, worlds.count, [&] {
        std::vector<std::int64_t> daily(days * rules.rules.size());
        for (std::size_t i = next++; i < worlds.count && !stop.stopped(); i = next++) {
            const SweepBars made = worlds.given.empty()
                                       ? surrogate(bars, worlds.surrogates, worlds.first + i)
                                       : worlds.given[i];
            const DayPanel panel[] = {{DaySum::net, daily, {}}};
            day_panels(made, rules, panel, 1, stop);
            if (!stop.stopped()) choose(daily, cuts, days, out.part(i, 1, worlds.count));
        }
    });
}

}  // namespace sep
