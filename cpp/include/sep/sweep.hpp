#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "sep/backend.hpp"
#include "sep/encode.hpp"
#include "sep/host_device.hpp"
#include "sep/window.hpp"

/// Many rules on the same bars, exact in whole ticks. A rule is a decision with an exit.
///
/// A decision says after each bar: buy, sell or nothing. An exit says what comes of a position that
/// is entered after a bar, whoever decided it. Rules that share one of the two share its work.
/// What is inline here is the arithmetic of one trade, which all backends share.
namespace sep {

// Prices, spreads and costs stay below these, so that every sum within one trade fits 32 bits.
inline constexpr std::int32_t sweep_price_max = 1 << 29;
inline constexpr std::int32_t sweep_cost_max = 1 << 26;

enum class EntryAt : std::uint8_t {
    open = 0,   ///< of the bar after the decision; the horizon ends at an open
    close = 1,  ///< of the bar after the decision; the horizon ends at a close
};

enum class ExitReason : std::uint8_t { horizon = 0, stop = 1, target = 2, end_of_data = 3 };
inline constexpr int exit_reason_count = 4;

enum class SignalDirection : std::uint8_t {
    last_bit_reversal = 0,
    last_bit_momentum = 1,
    run_persistence = 2,
    balance = 3,
    damped = 4,
};

/// How a position ends. Distances are ticks from the entry price; 0 is none.
struct ExitSpec {
    std::int32_t horizon = 1;  ///< bars, >= 1
    std::int32_t stop = 0;
    std::int32_t target = 0;
    EntryAt entry = EntryAt::open;

    bool operator==(const ExitSpec&) const = default;
};

/// A range that a metric must lie in: low <= value <= high, which NaN never does.
/// A range of coin percentiles is one of values too, since a percentile rises with the value.
struct GateSpec {
    std::int32_t metric = 0;    ///< member of WindowMetrics; window_metric_count: flat_ratio
    std::int32_t complete = 0;  ///< 1: also the window must be full and have no gap in it
    double low = 0;
    double high = 0;

    bool operator==(const GateSpec&) const = default;
};

struct DecisionSpec {
    Encoding encoding = Encoding::moves;
    SignalDirection direction = SignalDirection::last_bit_reversal;
    std::uint8_t invert = 0;
    std::int32_t window = 64;
    std::int32_t gates_first = 0;  ///< its gates are gates[gates_first, gates_first + gates_count)
    std::int32_t gates_count = 0;

    bool operator==(const DecisionSpec&) const = default;
};

/// Places in the lists of decisions and exits.
struct RuleSpec {
    std::int32_t decision = 0;
    std::int32_t exit = 0;

    bool operator==(const RuleSpec&) const = default;
};

/// Bars as a kernel gets them, `size` values each, in host or device memory.
///
/// A bid is own - bid_off and an ask is own + ask_off, bar by bar.
struct BarsView {
    const std::int32_t* open;
    const std::int32_t* high;
    const std::int32_t* low;
    const std::int32_t* close;
    const std::int32_t* bid_off;
    const std::int32_t* ask_off;
    const std::int32_t* day;  ///< number of the bar's trading day: 0, 1, ... never falling
    std::int32_t per_side;    ///< cost of one fill
    std::int32_t size;
};

/// What a position comes to. Gains are ticks. `lowest`, `highest` and `fall` are of the net profit
/// at the end of each bar from the entry's to the exit's, the last being `net`.
struct Outcome {
    std::int32_t exit_bar;
    std::int32_t net;
    std::int32_t gross;
    std::int32_t lowest;
    std::int32_t highest;
    std::int32_t fall;  ///< largest from an earlier to a later of them, >= 0
    std::int32_t day;   ///< of the exit bar
    ExitReason reason;
};
static_assert(sizeof(Outcome) == 32);

/// Bars that decisions can enter after: those before this one.
SEP_HOST_DEVICE inline std::int32_t decisions_end(const BarsView& bars, EntryAt entry) {
    return bars.size - (entry == EntryAt::open ? 1 : 2);
}

/// The position that a decision at the end of bar `decided` < decisions_end opens, bar by bar.
///
/// A short position is a long one at negated prices. `side` is 1 or -1.
SEP_HOST_DEVICE inline Outcome outcome_of(const BarsView& bars, const ExitSpec& exit,
                                          std::int32_t decided, std::int32_t side) {
    const bool at_close = exit.entry == EntryAt::close;
    const std::int32_t entry = decided + 1;
    const std::int32_t* off = side > 0 ? bars.bid_off : bars.ask_off;  // own to the closing side
    const std::int32_t entry_own = at_close ? bars.close[entry] : bars.open[entry];
    const std::int32_t entry_paid = side > 0 ? bars.ask_off[entry] : bars.bid_off[entry];
    const std::int32_t begun = side * entry_own + entry_paid;
    const std::int32_t costs = 2 * bars.per_side;
    // A position entered at a close is not in the market during its own bar.
    const std::int32_t first = entry + (at_close ? 1 : 0);
    const std::int32_t due = entry + exit.horizon;
    const std::int32_t judged_end =
        first + exit.horizon < bars.size ? first + exit.horizon : bars.size;

    Outcome o{};
    std::int32_t highest = 0;
    std::int32_t lowest = 0;
    std::int32_t fall = 0;
    bool marked = false;
    const auto mark = [&](std::int32_t profit) {
        if (!marked) {
            highest = lowest = profit;
            marked = true;
            return;
        }
        if (profit > highest) highest = profit;
        if (profit < lowest) lowest = profit;
        if (highest - profit > fall) fall = highest - profit;
    };
    const auto leave = [&](std::int32_t bar, std::int32_t price, ExitReason reason) {
        const std::int32_t moved = price - begun;
        o.exit_bar = bar;
        o.net = moved - costs;
        o.gross = moved + off[bar] + entry_paid;
        mark(o.net);
        o.lowest = lowest;
        o.highest = highest;
        o.fall = fall;
        o.day = bars.day[bar];
        o.reason = reason;
    };
    if (at_close) mark(side * bars.close[entry] - off[entry] - begun - costs);
    for (std::int32_t bar = first; bar < judged_end; ++bar) {
        const std::int32_t worst = (side > 0 ? bars.low[bar] : -bars.high[bar]) - off[bar];
        const std::int32_t best = (side > 0 ? bars.high[bar] : -bars.low[bar]) - off[bar];
        if (exit.stop > 0 && worst <= begun - exit.stop) {
            const std::int32_t opened = side * bars.open[bar] - off[bar];
            const std::int32_t stop = begun - exit.stop;
            leave(bar, opened < stop ? opened : stop, ExitReason::stop);
            return o;
        }
        if (exit.target > 0 && best >= begun + exit.target) {
            leave(bar, begun + exit.target, ExitReason::target);
            return o;
        }
        if (bar < due && bar + 1 < bars.size) {
            mark(side * bars.close[bar] - off[bar] - begun - costs);
        }
    }
    if (due < bars.size) {
        const std::int32_t own = at_close ? bars.close[due] : bars.open[due];
        leave(due, side * own - off[due], ExitReason::horizon);
    } else {
        const std::int32_t last = bars.size - 1;
        leave(last, side * bars.close[last] - off[last], ExitReason::end_of_data);
    }
    return o;
}

/// The sums of one rule while its trades come in, in order of time.
struct Tally {
    std::int64_t net = 0;
    std::int64_t gross = 0;
    std::int64_t peak = 0;         ///< highest equity so far, 0 at the start
    std::int64_t drawdown = 0;     ///< largest fall from it
    std::int64_t day_net = 0;      ///< of the exits on `day`
    std::int64_t day_squares = 0;  ///< sum over finished days of the square of day_net
    std::int64_t held = 0;         ///< bars at whose end a position was open
    std::int32_t day = 0;
    std::int32_t free_from = 0;  ///< first bar whose decision counts again
    std::int32_t trades = 0;
    std::int32_t wins = 0;
    std::int32_t losing_run = 0;
    std::int32_t longest_losing_run = 0;
    std::int32_t exits[exit_reason_count] = {};  ///< trades by reason
};

/// Take in the trade that was decided at the end of bar `decided`.
SEP_HOST_DEVICE inline void take(Tally& t, const Outcome& o, std::int32_t decided) {
    if (o.day != t.day) {
        t.day_squares += t.day_net * t.day_net;
        t.day_net = 0;
        t.day = o.day;
    }
    t.day_net += o.net;
    const std::int64_t low = t.peak - (t.net + o.lowest);
    if (low > t.drawdown) t.drawdown = low;
    if (o.fall > t.drawdown) t.drawdown = o.fall;
    const std::int64_t high = t.net + o.highest;
    if (high > t.peak) t.peak = high;
    t.net += o.net;
    t.gross += o.gross;
    t.held += o.exit_bar - (decided + 1);
    ++t.trades;
    ++t.exits[static_cast<int>(o.reason)];
    // Without a branch: whether a trade won is as good as random, and would be mispredicted.
    const std::int32_t won = o.net > 0;
    t.wins += won;
    t.losing_run = (t.losing_run + 1) & (won - 1);
    if (t.losing_run > t.longest_losing_run) t.longest_losing_run = t.losing_run;
    t.free_from = o.exit_bar;
}

/// Close the last day.
SEP_HOST_DEVICE inline void finish(Tally& t) {
    t.day_squares += t.day_net * t.day_net;
    t.day_net = 0;
}

/// What a search compares rules by.
enum class Statistic : std::uint8_t { net = 0, sharpe = 1 };

/// 128 bits as two words; enough for the one difference below.
struct Wide {
    std::uint64_t high;
    std::uint64_t low;
};

SEP_HOST_DEVICE inline Wide product(std::uint64_t a, std::uint64_t b) {
    const std::uint64_t a0 = a & 0xFFFFFFFF, a1 = a >> 32, b0 = b & 0xFFFFFFFF, b1 = b >> 32;
    const std::uint64_t low = a0 * b0;
    const std::uint64_t mid = a1 * b0 + (low >> 32);
    const std::uint64_t mid2 = a0 * b1 + (mid & 0xFFFFFFFF);
    return {a1 * b1 + (mid >> 32) + (mid2 >> 32), mid2 << 32 | (low & 0xFFFFFFFF)};
}

/// The t value of the daily net results over `days` trading days, idle days included:
/// S sqrt(T - 1) / sqrt(T Q - S^2) with S the sum and Q the sum of squares, T Q - S^2 exact and
/// the rest in this order in binary64. Without spread it is -infinity, as it is for T < 2.
SEP_HOST_DEVICE inline double daily_t_value(std::int64_t sum, std::int64_t squares,
                                            std::int64_t days) {
    const std::uint64_t size = static_cast<std::uint64_t>(sum < 0 ? -sum : sum);
    const Wide whole =
        product(static_cast<std::uint64_t>(squares), static_cast<std::uint64_t>(days));
    const Wide mean = product(size, size);
    const std::uint64_t low = whole.low - mean.low;
    const std::uint64_t high = whole.high - mean.high - (whole.low < mean.low ? 1 : 0);
    if (days < 2 || (high == 0 && low == 0)) return -HUGE_VAL;
    const double spread =
        static_cast<double>(high) * 18446744073709551616.0 + static_cast<double>(low);
    return static_cast<double>(sum) * sqrt(static_cast<double>(days - 1)) / sqrt(spread);
}

/// Null worlds: which of them, see python/sep_engine/evidence/surrogates.py.
enum class SurrogateKind : std::uint8_t {
    sign = 0,        ///< each bar as it is, or mirrored in the close before it
    stationary = 1,  ///< blocks of geometric length, wrapping around
    circular = 2,    ///< blocks of a fixed length, wrapping around
};

struct SurrogateSpec {
    SurrogateKind kind = SurrogateKind::sign;
    std::uint64_t seed = 0;
    double block = 1.0;  ///< mean length, or the length rounded to even, >= 1
};

/// Four words of Philox4x64-10 for a key and the block's counter, from 1.
/// Source: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3"
/// (2011).
struct PhiloxWords {
    std::uint64_t word[4];
};

SEP_HOST_DEVICE inline PhiloxWords philox(std::uint64_t seed, std::uint64_t index,
                                          std::uint64_t counter) {
    std::uint64_t c0 = counter, c1 = 0, c2 = 0, c3 = 0;
    std::uint64_t k0 = seed, k1 = index;
    for (int round = 0; round < 10; ++round) {
        const Wide a = product(0xD2E7470EE14C6C93, c0);
        const Wide b = product(0xCA5A826395121157, c2);
        c0 = b.high ^ c1 ^ k0;
        c1 = b.low;
        c2 = a.high ^ c3 ^ k1;
        c3 = a.low;
        k0 += 0x9E3779B97F4A7C15;
        k1 += 0xBB67AE8584CAA73B;
    }
    return {{c0, c1, c2, c3}};
}

/// Word `i`, from 0, of surrogate `index` of `seed`.
SEP_HOST_DEVICE inline std::uint64_t surrogate_word(std::uint64_t seed, std::uint64_t index,
                                                    std::uint64_t i) {
    return philox(seed, index, i / 4 + 1).word[i % 4];
}

/// What all rules are tried on, checked by `Sweep`.
struct SweepBars {
    std::vector<std::int32_t> open, high, low, close;
    std::vector<std::int32_t> bid_off, ask_off;
    std::vector<std::int32_t> day;
    std::vector<double> price;         ///< closes as decisions see them
    std::vector<std::uint8_t> gap;     ///< empty, or one value a bar: bars are missing before it
    std::vector<std::uint8_t> counts;  ///< empty, or one value a bar: 0 ignores its decision
    std::int32_t per_side = 0;
    double tick = 0;

    std::int32_t size() const { return static_cast<std::int32_t>(open.size()); }
    /// Trading days, idle ones between bars not counted.
    std::int32_t days() const { return day.empty() ? 0 : day.back() + 1; }
    BarsView view() const {
        return {open.data(),    high.data(), low.data(), close.data(), bid_off.data(),
                ask_off.data(), day.data(),  per_side,   size()};
    }
};

struct SweepDecisions {
    std::vector<GateSpec> gates;
    std::vector<DecisionSpec> decisions;

    bool operator==(const SweepDecisions&) const = default;
};

struct SweepRules {
    /// What blocks of a grid have in common, never nullptr.
    std::shared_ptr<const SweepDecisions> decided = std::make_shared<SweepDecisions>();
    std::vector<ExitSpec> exits;
    std::vector<RuleSpec> rules;

    const std::vector<GateSpec>& gates() const { return decided->gates; }
    const std::vector<DecisionSpec>& decisions() const { return decided->decisions; }
};

/// Let the rules be every decision with every exit, the exit turning faster.
void combine(SweepRules& rules);

/// A finished rule.
struct SweepFigures {
    Tally tally;
    std::int64_t signals = 0;  ///< decisions to buy or sell
};

/// What of every trade is summed by day: its ticks before or after costs, or 1 for one that gained
/// or lost before costs.
enum class DaySum : std::uint8_t { gross = 0, net = 1, won = 2, lost = 3 };

/// Sums and trades by the day of the bar that decided, as days x rules, row by row. `trades` may be
/// empty.
struct DayPanel {
    DaySum what;
    std::span<std::int64_t> sums;
    std::span<std::int64_t> trades;
};

/// The best rule of one null world; the first of several that are as good.
struct SurrogateBest {
    double statistic;
    std::int64_t rule;
};

/// Null worlds that are searched: surrogates of the bars, or bars that were made elsewhere.
struct NullWorlds {
    std::size_t count = 0;
    SurrogateSpec surrogates;
    std::uint64_t first = 0;           ///< number of the first surrogate
    std::span<const SweepBars> given;  ///< if not empty: `count` of them, and no surrogates

    /// Worlds `from` and on, `size` of them.
    NullWorlds part(std::size_t from, std::size_t size) const {
        return {size, surrogates, first + from, given.empty() ? given : given.subspan(from, size)};
    }
};

/// The best rule of each world by the t value of its daily net results, day by day.
///
/// A result belongs to the day of the bar that decided. Of C cuts and T days each span holds, world
/// by world and cut by cut: the largest t value over the days before the cut, the first rule that
/// has it, and what that rule gained on each of all T days.
struct BestByDays {
    std::span<double> t_values;     ///< worlds x C
    std::span<std::int64_t> rules;  ///< worlds x C
    std::span<std::int64_t> days;   ///< worlds x C x T

    /// Those of worlds `from` and on, `size` of all `count`.
    BestByDays part(std::size_t from, std::size_t size, std::size_t count) const {
        const auto some = [&](auto all) {
            const std::size_t each = all.size() / count;
            return all.subspan(from * each, size * each);
        };
        return {some(t_values), some(rules), some(days)};
    }
};

/// Asked now and then by what runs long; true ends it.
class StopFlag {
public:
    virtual ~StopFlag() = default;
    virtual bool stopped() const = 0;
};

/// Computes sweeps on bars that are checked and kept. One call at a time on each lane.
/// What the best rules are wanted by, and how many.
struct Choice {
    std::size_t count = 0;
    Statistic by = Statistic::sharpe;
    std::int64_t days = 0;  ///< trading days of the bars

    SEP_HOST_DEVICE double statistic(const Tally& tally) const {
        return by == Statistic::net ? static_cast<double>(tally.net)
                                    : daily_t_value(tally.net, tally.day_squares, days);
    }
};

/// The best of some rules, the best first; of equals the first of the list.
struct ChosenRules {
    std::vector<std::int64_t> places;  ///< in the list
    std::vector<SweepFigures> figures;
};

class SweepBackend {
public:
    virtual ~SweepBackend() = default;

    /// Calls of `figures` that may run at a time, each on a lane of its own.
    virtual int lanes() const { return 1; }

    /// The figures of all rules. What is written when it was stopped is of no use.
    virtual void figures(const SweepRules& rules, std::span<SweepFigures> out, const StopFlag& stop,
                         int lane) = 0;

    /// The best of the rules; nothing: this backend has no faster way to them than all figures.
    virtual std::optional<ChosenRules> choose(const SweepRules&, const Choice&, const StopFlag&,
                                              int /*lane*/) {
        return std::nullopt;
    }

    /// The best of all rules in surrogates first .. first + out.size() - 1. It takes all lanes.
    virtual void best(const SweepRules& rules, const SurrogateSpec& surrogates, std::uint64_t first,
                      Statistic statistic, std::span<SurrogateBest> out, const StopFlag& stop) = 0;

    /// The best rules of null worlds for cuts and outputs that `check` has passed.
    virtual void best_by_days(const SweepRules& rules, const NullWorlds& worlds,
                              std::span<const std::int32_t> cuts, const BestByDays& out,
                              const StopFlag& stop) = 0;
};

/// Surrogate `index` of the bars: other prices at the same times, costs and gaps.
/// @throws InvalidArgument  its prices do not stay below sweep_price_max.
SweepBars surrogate(const SweepBars& bars, const SurrogateSpec& spec, std::uint64_t index);

/// @throws InvalidArgument  a column has another length than the others, a price or cost is out of
///     range, or the path is so long that a sum of squares might not fit 63 bits.
void check(const SweepBars& bars);

/// @throws InvalidArgument  a part of a specification is out of range.
void check(const SweepDecisions& decided);

/// Check exits and rules: decisions are checked once, however many blocks have them.
/// @throws InvalidArgument  one is out of range.
void check(const SweepRules& rules);

/// @throws InvalidArgument  a cut is not in 1..T, an output has another size than it needs, or a
///     world that is given is not like `bars` but for its prices.
void check(const SweepBars& bars, const NullWorlds& worlds, std::span<const std::int32_t> cuts,
           const BestByDays& out);

/// A backend for bars, which it copies.
///
/// All backends and numbers of threads give the same figures: everything is whole numbers.
///
/// @throws InvalidArgument  see `check`.
/// @throws BackendError     the backend cannot run here. There is no silent fallback.
std::unique_ptr<SweepBackend> make_sweep(const SweepBars& bars, Backend backend, int threads);

/// Write the daily sums of every rule, of several kinds.
/// @throws InvalidArgument  see `check`, or a panel has another size than days x rules.
void day_panels(const SweepBars& bars, const SweepRules& rules, std::span<const DayPanel> out,
                int threads, const StopFlag& stop);

}  // namespace sep
