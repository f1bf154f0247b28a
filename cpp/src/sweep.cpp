#include "sep/sweep.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "backends.hpp"
#include "parallel.hpp"
#include "sep/errors.hpp"
#include "sweep_parts.hpp"

namespace sep {
namespace {

// Bars whose outcomes are made at a time: their table stays in the second-level cache while all
// rules with the exit go over it.
constexpr std::int32_t block_bars = 2048;
// Rules that go over a table before it is given up; their sums stay in the cache too.
constexpr std::size_t rules_per_task = 512;

/// Ask for the decisions of these bars, which a walk will need soon.
inline void fetch(const DecisionBits& bits, std::int32_t first, std::int32_t last) {
#if defined(__GNUC__)
    constexpr std::int32_t bars_a_line = 64 * 64 / sizeof(DecisionWord);
    for (std::int32_t bar = first; bar < last; bar += bars_a_line) {
        __builtin_prefetch(&bits.words[static_cast<std::size_t>(bar) / 64]);
    }
#endif
}

/// Follow the trades of all `accounts` from bar `first` to before `last`.
///
/// @param bits_of  the decisions of account i.
/// @param trade    takes an account, the deciding bar and the side, 1 bought, and returns the first
///                 bar whose decision counts again; account.free_from is that of the block before.
template <class Account, class Bits, class Trade>
void walk(std::span<Account> accounts, std::int32_t first, std::int32_t last, const Bits& bits_of,
          const Trade& trade) {
    const auto end = static_cast<std::uint32_t>(last);
    for (std::size_t i = 0; i < accounts.size(); ++i) {
        if (i + 1 < accounts.size()) fetch(bits_of(i + 1), first, last);
        Account& account = accounts[i];
        const DecisionWord* words = bits_of(i).words.data();
        auto at = static_cast<std::uint32_t>(std::max(first, account.free_from));
        while (at < end) {
            // The 64 decisions from `at` on: a jump over an end of a word would be mispredicted.
            const unsigned skipped = at % 64;
            const DecisionWord* word = words + at / 64;
            const std::uint64_t bits = word[0].decided >> skipped | word[1].decided
                                                                        << 1 << (63 - skipped);
            if (bits == 0) {
                at += 64;
                continue;
            }
            at += static_cast<unsigned>(std::countr_zero(bits));
            if (at >= end) break;
            const std::uint64_t side = words[at / 64].bought >> (at % 64) & 1;
            at = static_cast<std::uint32_t>(trade(account, static_cast<std::int32_t>(at), side));
        }
    }
}

/// Rules with the same exit, a task for one thread.
struct Task {
    std::int32_t exit;
    std::span<const std::uint32_t> rules;
};

/// The rules ordered by exit and decision.
std::vector<std::uint32_t> by_exit(const SweepRules& rules) {
    std::vector<std::uint32_t> order(rules.rules.size());
    std::iota(order.begin(), order.end(), 0U);
    std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
        return rules.rules[b].exit > rules.rules[a].exit;
    });
    return order;
}

std::vector<Task> tasks_of(const SweepRules& rules, std::span<const std::uint32_t> order,
                           std::size_t size) {
    std::vector<Task> tasks;
    for (std::size_t first = 0; first < order.size();) {
        const std::int32_t exit = rules.rules[order[first]].exit;
        std::size_t last = first;
        while (last < order.size() && last - first < size &&
               rules.rules[order[last]].exit == exit) {
            ++last;
        }
        tasks.push_back({exit, order.subspan(first, last - first)});
        first = last;
    }
    return tasks;
}

/// The decisions of a task's rules.
struct BitsOf {
    const SweepRules& rules;
    const std::vector<DecisionBits>& decisions;
    const Task& task;

    const DecisionBits& operator()(std::size_t i) const {
        return decisions[static_cast<std::size_t>(rules.rules[task.rules[i]].decision)];
    }
};

/// The decisions that rules of one exit make, and their sums, block by block.
class Books {
public:
    explicit Books(const BarsView& bars)
        : bars_(bars),
          tables_(bars),
          outcomes_(2 * static_cast<std::size_t>(block_bars)),
          gains_(2 * static_cast<std::size_t>(block_bars)) {}

    void figures(const SweepRules& rules, const std::vector<DecisionBits>& decisions,
                 const Task& task, std::span<SweepFigures> out, const StopFlag& stop) {
        const ExitSpec& exit = rules.exits[static_cast<std::size_t>(task.exit)];
        tallies_.assign(task.rules.size(), Tally{});
        each_block(exit, stop, [&](std::int32_t first, std::int32_t last) {
            tables_.fill(exit, first, last, outcomes_);
            follow(exit, std::span(tallies_), first, last, BitsOf{rules, decisions, task},
                   [&](Tally& tally, std::int32_t decided, std::uint64_t side) {
                       take(tally, outcomes_[2 * static_cast<std::size_t>(decided - first) + side],
                            decided);
                       return tally.free_from;
                   });
        });
        for (std::size_t i = 0; i < task.rules.size(); ++i) {
            const std::uint32_t rule = task.rules[i];
            finish(tallies_[i]);
            const auto decision = static_cast<std::size_t>(rules.rules[rule].decision);
            out[rule] = {tallies_[i], decisions[decision].signals};
        }
    }

    /// Sums by day of the exit, and the statistic that they give.
    void statistics(const SweepRules& rules, const std::vector<DecisionBits>& decisions,
                    const Task& task, std::span<const std::int32_t> day_ends, Statistic statistic,
                    std::span<double> out, const StopFlag& stop) {
        const ExitSpec& exit = rules.exits[static_cast<std::size_t>(task.exit)];
        days_.assign(task.rules.size(), DaySums{});
        each_block(exit, stop, [&](std::int32_t first, std::int32_t last) {
            tables_.fill(exit, first, last, true, gains_);
            follow(exit, std::span(days_), first, last, BitsOf{rules, decisions, task},
                   [&](DaySums& sums, std::int32_t decided, std::uint64_t side) {
                       const Gain& gain =
                           gains_[2 * static_cast<std::size_t>(decided - first) + side];
                       if (gain.exit_bar >= sums.day_end) {
                           sums.close_day();
                           const auto day = static_cast<std::size_t>(bars_.day[gain.exit_bar]);
                           sums.day_end = day_ends[day];
                       }
                       sums.day_net += gain.gain;
                       sums.free_from = gain.exit_bar;
                       return gain.exit_bar;
                   });
        });
        for (std::size_t i = 0; i < task.rules.size(); ++i) {
            days_[i].close_day();
            out[task.rules[i]] = statistic == Statistic::net
                                     ? static_cast<double>(days_[i].net)
                                     : daily_t_value(days_[i].net, days_[i].squares,
                                                     static_cast<std::int64_t>(day_ends.size()));
        }
    }

    /// Sums and trades by day of the decision.
    void panel(const SweepRules& rules, const std::vector<DecisionBits>& decisions,
               const Task& task, std::span<const std::int32_t> day_ends, const DayPanel& out,
               const StopFlag& stop) {
        const DaySum what = out.what;
        const ExitSpec& exit = rules.exits[static_cast<std::size_t>(task.exit)];
        const std::size_t width = rules.rules.size();
        cells_.assign(task.rules.size(), DayCell{});
        for (std::size_t i = 0; i < task.rules.size(); ++i) cells_[i].cell = task.rules[i];
        const auto flush = [&](const DayCell& cell) {
            if (cell.trades == 0) return;
            out.sums[cell.cell] = cell.sum;
            if (!out.trades.empty()) out.trades[cell.cell] = cell.trades;
        };
        each_block(exit, stop, [&](std::int32_t first, std::int32_t last) {
            tables_.fill(exit, first, last, what == DaySum::net, gains_);
            if (what == DaySum::won || what == DaySum::lost) {
                const std::int32_t side = what == DaySum::won ? 1 : -1;
                for (Gain& gain : gains_) gain.gain = side * gain.gain > 0;
            }
            follow(exit, std::span(cells_), first, last, BitsOf{rules, decisions, task},
                   [&](DayCell& cell, std::int32_t decided, std::uint64_t side) {
                       const Gain& gain =
                           gains_[2 * static_cast<std::size_t>(decided - first) + side];
                       if (decided >= cell.day_end) {
                           flush(cell);
                           const auto day = static_cast<std::size_t>(bars_.day[decided]);
                           cell.cell = day * width + cell.cell % width;
                           cell.day_end = day_ends[day];
                           cell.sum = cell.trades = 0;
                       }
                       cell.sum += gain.gain;
                       ++cell.trades;
                       cell.free_from = gain.exit_bar;
                       return gain.exit_bar;
                   });
        });
        for (const DayCell& cell : cells_) flush(cell);
    }

private:
    struct DaySums {
        std::int64_t net = 0;
        std::int64_t day_net = 0;
        std::int64_t squares = 0;
        std::int32_t day_end = 0;  ///< first bar after the day in hand
        std::int32_t free_from = 0;

        void close_day() {
            net += day_net;
            squares += day_net * day_net;
            day_net = 0;
        }
    };

    struct DayCell {
        std::int64_t sum = 0;
        std::int64_t trades = 0;
        std::size_t cell = 0;  ///< of the panel, where the sums of the day in hand belong
        std::int32_t day_end = 0;
        std::int32_t free_from = 0;
    };

    /// `walk`, with what is known of every exit before it is looked up: without stop and target,
    /// and away from the end, a position is held for the horizon. The next decision need not wait
    /// then.
    template <class Account, class Trade>
    void follow(const ExitSpec& exit, std::span<Account> accounts, std::int32_t first,
                std::int32_t last, const BitsOf& bits_of, const Trade& trade) const {
        if (exit.stop == 0 && exit.target == 0 && last <= bars_.size - 1 - exit.horizon) {
            walk(accounts, first, last, bits_of,
                 [&](Account& account, std::int32_t decided, std::uint64_t side) {
                     trade(account, decided, side);
                     return decided + 1 + exit.horizon;
                 });
        } else {
            walk(accounts, first, last, bits_of, trade);
        }
    }

    template <class Block>
    void each_block(const ExitSpec& exit, const StopFlag& stop, const Block& block) const {
        const std::int32_t end = decisions_end(bars_, exit.entry);
        for (std::int32_t first = 0; first < end && !stop.stopped(); first += block_bars) {
            block(first, std::min(first + block_bars, end));
        }
    }

    BarsView bars_;
    OutcomeTables tables_;
    std::vector<Outcome> outcomes_;
    std::vector<Gain> gains_;
    std::vector<Tally> tallies_;
    std::vector<DaySums> days_;
    std::vector<DayCell> cells_;
};

/// First bar after each day.
std::vector<std::int32_t> day_ends_of(const SweepBars& bars) {
    std::vector<std::int32_t> ends(static_cast<std::size_t>(bars.days()));
    for (std::int32_t k = 0; k < bars.size(); ++k) {
        ends[static_cast<std::size_t>(bars.day[static_cast<std::size_t>(k)])] = k + 1;
    }
    return ends;
}

/// Small enough that every thread has some, large enough that a table pays.
std::size_t task_size(const SweepRules& rules, int threads) {
    const auto shares = 4 * static_cast<std::size_t>(threads);
    return std::clamp(rules.rules.size() / shares + 1, std::size_t{64}, rules_per_task);
}

SurrogateBest best_of(std::span<const double> statistics) {
    SurrogateBest best{-std::numeric_limits<double>::infinity(), 0};
    for (std::size_t i = 0; i < statistics.size(); ++i) {
        if (statistics[i] > best.statistic) {
            best = {statistics[i], static_cast<std::int64_t>(i)};
        }
    }
    return best;
}

class BlockSweep final : public SweepBackend {
public:
    BlockSweep(const SweepBars& bars, Backend backend, int threads)
        : bars_(bars), backend_(backend), threads_(threads) {}

    void figures(const SweepRules& rules, std::span<SweepFigures> out, const StopFlag& stop,
                 int) override {
        // A grid comes in blocks that have their decisions in common.
        if (!decided_ || (decided_ != rules.decided && *decided_ != *rules.decided)) {
            decided_.reset();
            decisions_ = decide(bars_, rules, backend_, threads_, stop);
            if (stop.stopped()) return;
            decided_ = rules.decided;
        }
        const std::vector<DecisionBits>& decisions = decisions_;
        const std::vector<std::uint32_t> order = by_exit(rules);
        const std::vector<Task> tasks = tasks_of(rules, order, task_size(rules, threads_));
        std::atomic<std::size_t> next{0};
        in_parallel(threads_, tasks.size(), [&] {
            Books books(bars_.view());
            for (std::size_t i = next++; i < tasks.size() && !stop.stopped(); i = next++) {
                books.figures(rules, decisions, tasks[i], out, stop);
            }
        });
    }

    void best(const SweepRules& rules, const SurrogateSpec& surrogates, std::uint64_t first,
              Statistic statistic, std::span<SurrogateBest> out, const StopFlag& stop) override {
        const std::vector<std::uint32_t> order = by_exit(rules);
        const std::vector<Task> tasks = tasks_of(rules, order, rules_per_task);
        const std::vector<std::int32_t> day_ends = day_ends_of(bars_);
        std::atomic<std::size_t> next{0};
        in_parallel(threads_, out.size(), [&] {
            std::vector<double> values(rules.rules.size());
            for (std::size_t i = next++; i < out.size() && !stop.stopped(); i = next++) {
                const SweepBars bars = surrogate(bars_, surrogates, first + i);
                const std::vector<DecisionBits> decisions = decide(bars, rules, backend_, 1, stop);
                if (stop.stopped()) return;
                Books books(bars.view());
                for (const Task& task : tasks) {
                    books.statistics(rules, decisions, task, day_ends, statistic, values, stop);
                }
                out[i] = best_of(values);
            }
        });
    }

    void best_by_days(const SweepRules& rules, const NullWorlds& worlds,
                      std::span<const std::int32_t> cuts, const BestByDays& out,
                      const StopFlag& stop) override {
        best_by_days_on_processor(bars_, rules, worlds, cuts, out, threads_, stop);
    }

private:
    SweepBars bars_;
    Backend backend_;
    int threads_;
    std::vector<DecisionBits> decisions_;  ///< of the call before, of these decisions and gates
    std::shared_ptr<const SweepDecisions> decided_;
};

/// One rule after another and one trade after another, without tables.
class ReferenceSweep final : public SweepBackend {
public:
    explicit ReferenceSweep(const SweepBars& bars) : bars_(bars) {}

    void figures(const SweepRules& rules, std::span<SweepFigures> out, const StopFlag& stop,
                 int) override {
        figures_on(bars_, rules, out, stop);
    }

    void best(const SweepRules& rules, const SurrogateSpec& surrogates, std::uint64_t first,
              Statistic statistic, std::span<SurrogateBest> out, const StopFlag& stop) override {
        std::vector<SweepFigures> all(rules.rules.size());
        std::vector<double> values(rules.rules.size());
        for (std::size_t i = 0; i < out.size() && !stop.stopped(); ++i) {
            figures_on(surrogate(bars_, surrogates, first + i), rules, all, stop);
            for (std::size_t k = 0; k < all.size(); ++k) {
                const Tally& tally = all[k].tally;
                values[k] = statistic == Statistic::net
                                ? static_cast<double>(tally.net)
                                : daily_t_value(tally.net, tally.day_squares, bars_.days());
            }
            out[i] = best_of(values);
        }
    }

    void best_by_days(const SweepRules& rules, const NullWorlds& worlds,
                      std::span<const std::int32_t> cuts, const BestByDays& out,
                      const StopFlag& stop) override {
        best_by_days_on_processor(bars_, rules, worlds, cuts, out, 1, stop);
    }

private:
    static void figures_on(const SweepBars& bars, const SweepRules& rules,
                           std::span<SweepFigures> out, const StopFlag& stop) {
        const std::vector<DecisionBits> decisions = decide(bars, rules, Backend::scalar, 1, stop);
        const BarsView view = bars.view();
        for (std::size_t k = 0; k < rules.rules.size() && !stop.stopped(); ++k) {
            const DecisionBits& bits = decisions[static_cast<std::size_t>(rules.rules[k].decision)];
            const ExitSpec& exit = rules.exits[static_cast<std::size_t>(rules.rules[k].exit)];
            Tally tally;
            for (std::int32_t t = 0; t < decisions_end(view, exit.entry); ++t) {
                const std::size_t word = static_cast<std::size_t>(t) / 64;
                if (t < tally.free_from || (bits.words[word].decided >> (t % 64) & 1) == 0)
                    continue;
                const std::int32_t side = (bits.words[word].bought >> (t % 64) & 1) != 0 ? 1 : -1;
                take(tally, outcome_of(view, exit, t, side), t);
            }
            finish(tally);
            out[k] = {tally, bits.signals};
        }
    }

    SweepBars bars_;
};

void refuse(const std::string& what) { throw InvalidArgument(what); }

void check_range(const char* name, std::int32_t value, std::int32_t low, std::int32_t high) {
    if (value >= low && value <= high) return;
    refuse(std::string(name) + " must be in " + std::to_string(low) + ".." + std::to_string(high) +
           ", was " + std::to_string(value));
}

}  // namespace

void combine(SweepRules& rules) {
    const auto decisions = static_cast<std::int32_t>(rules.decisions().size());
    const auto exits = static_cast<std::int32_t>(rules.exits.size());
    rules.rules.clear();
    rules.rules.reserve(rules.decisions().size() * rules.exits.size());
    for (std::int32_t decision = 0; decision < decisions; ++decision) {
        for (std::int32_t way = 0; way < exits; ++way) rules.rules.push_back({decision, way});
    }
}

void check(const SweepBars& bars) {
    const std::size_t size = bars.open.size();
    if (size > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max() / 2)) {
        refuse("bars must be fewer than 2^30, were " + std::to_string(size));
    }
    for (const auto* column :
         {&bars.high, &bars.low, &bars.close, &bars.bid_off, &bars.ask_off, &bars.day}) {
        if (column->size() != size) refuse("all columns of bars must have the same length");
    }
    if (bars.price.size() != size || (!bars.gap.empty() && bars.gap.size() != size) ||
        (!bars.counts.empty() && bars.counts.size() != size)) {
        refuse("all columns of bars must have the same length");
    }
    check_tick(bars.tick);
    check_range("per_side", bars.per_side, 0, sweep_cost_max - 1);
    // No sum of trades can exceed the path that prices went and the costs of a trade at every bar.
    double path = 0;
    for (std::size_t k = 0; k < size; ++k) {
        for (const std::int32_t price : {bars.open[k], bars.high[k], bars.low[k], bars.close[k]}) {
            check_range("prices in ticks", price, -sweep_price_max + 1, sweep_price_max - 1);
        }
        check_range("bid_off", bars.bid_off[k], 0, sweep_cost_max - 1);
        check_range("ask_off", bars.ask_off[k], 0, sweep_cost_max - 1);
        const std::int32_t day_before = k == 0 ? 0 : bars.day[k - 1];
        if (bars.day[k] != day_before && bars.day[k] != day_before + 1) {
            refuse("day must begin with 0 and rise by 0 or 1");
        }
        const std::int32_t before = k == 0 ? bars.open[0] : bars.close[k - 1];
        path += std::abs(static_cast<double>(bars.open[k]) - before) +
                2.0 * std::abs(static_cast<double>(bars.high[k]) - bars.low[k]) + bars.bid_off[k] +
                bars.ask_off[k] + 2.0 * bars.per_side;
    }
    if (!(path < 3.0e9)) {
        refuse(
            "the path of prices and costs must be below 3e9 ticks, so that squares of daily "
            "sums fit 63 bits; use a coarser tick or fewer bars");
    }
}

void check(const SweepDecisions& decided) {
    for (const GateSpec& gate : decided.gates) {
        check_range("metric of a gate", gate.metric, 0, window_metric_count);
    }
    for (const DecisionSpec& decision : decided.decisions) {
        WindowSpec window;
        window.window = decision.window;
        check(window);
        check_range("encoding", static_cast<int>(decision.encoding), 0, 3);
        check_range("direction", static_cast<int>(decision.direction), 0, 4);
        const auto gates = static_cast<std::int32_t>(decided.gates.size());
        check_range("gates_count", decision.gates_count, 0, gates);
        check_range("gates_first", decision.gates_first, 0, gates - decision.gates_count);
    }
}

void check(const SweepRules& rules) {
    for (const ExitSpec& exit : rules.exits) {
        check_range("horizon", exit.horizon, 1, 1'000'000);
        check_range("stop", exit.stop, 0, sweep_cost_max);
        check_range("target", exit.target, 0, sweep_cost_max);
        check_range("entry", static_cast<int>(exit.entry), 0, 1);
    }
    for (const RuleSpec& rule : rules.rules) {
        check_range("decision of a rule", rule.decision, 0,
                    static_cast<std::int32_t>(rules.decisions().size()) - 1);
        check_range("exit of a rule", rule.exit, 0,
                    static_cast<std::int32_t>(rules.exits.size()) - 1);
    }
}

std::unique_ptr<SweepBackend> make_sweep(const SweepBars& bars, Backend backend, int threads) {
    check(bars);
    const int count = thread_count(backend, threads);
    if (backend == Backend::scalar) return std::make_unique<ReferenceSweep>(bars);
    if (backend != Backend::cuda) return std::make_unique<BlockSweep>(bars, backend, count);
    const cuda::Status gpu = cuda::status();
    if (!gpu.available) throw BackendError("backend cuda cannot run here: " + gpu.detail);
    return cuda::make_sweep(bars);
}

void day_panels(const SweepBars& bars, const SweepRules& rules, std::span<const DayPanel> out,
                int threads, const StopFlag& stop) {
    check(rules);
    check(bars);
    const std::size_t cells = static_cast<std::size_t>(bars.days()) * rules.rules.size();
    for (const DayPanel& panel : out) {
        if (panel.sums.size() != cells || (!panel.trades.empty() && panel.trades.size() != cells)) {
            refuse("a panel must have " + std::to_string(cells) + " cells");
        }
        std::fill(panel.sums.begin(), panel.sums.end(), 0);
        std::fill(panel.trades.begin(), panel.trades.end(), 0);
    }
    const int count = thread_count(Backend::automatic, threads);
    const std::vector<DecisionBits> decisions =
        decide(bars, rules, Backend::automatic, count, stop);
    if (stop.stopped()) return;
    const std::vector<std::int32_t> day_ends = day_ends_of(bars);
    const std::vector<std::uint32_t> order = by_exit(rules);
    const std::vector<Task> tasks = tasks_of(rules, order, task_size(rules, count));
    std::atomic<std::size_t> next{0};
    in_parallel(count, out.size() * tasks.size(), [&] {
        Books books(bars.view());
        for (std::size_t i = next++; i < out.size() * tasks.size() && !stop.stopped(); i = next++) {
            books.panel(rules, decisions, tasks[i % tasks.size()], day_ends, out[i / tasks.size()],
                        stop);
        }
    });
}

}  // namespace sep
