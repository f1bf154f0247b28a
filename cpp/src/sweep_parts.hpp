#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sep/bits.hpp"
#include "sep/sweep.hpp"

/// The parts of a sweep on the processor: decisions as bits, outcomes as tables.
namespace sep {

/// The decisions after 64 bars, side by side because whoever needs one needs the other.
struct DecisionWord {
    std::uint64_t decided = 0;
    std::uint64_t bought = 0;  ///< among them, those to buy
};

/// The decisions after all bars, bit i of word k for bar 64 k + i, and an empty word after them.
/// Bars that nothing can be entered after count.
struct DecisionBits {
    std::vector<DecisionWord> words;
    std::int64_t signals = 0;
};

/// One for each of `rules.decisions()`; metrics are computed once for each encoding and window.
std::vector<DecisionBits> decide(const SweepBars& bars, const SweepRules& rules, Backend backend,
                                 int threads, const StopFlag& stop);

/// What SweepBackend::best_by_days says, one world after another on each of `threads` threads.
void best_by_days_on_processor(const SweepBars& bars, const SweepRules& rules,
                               const NullWorlds& worlds, std::span<const std::int32_t> cuts,
                               const BestByDays& out, int threads, const StopFlag& stop);

/// Exit bar and gain of a position; the gain is net or gross, as asked for.
struct Gain {
    std::int32_t exit_bar;
    std::int32_t gain;
};

/// Makes tables of outcomes: element 2 (t - first) + side of `out` belongs to the decision at the
/// end of bar t, side 1 bought, 0 sold. first <= t < last <= decisions_end.
class OutcomeTables {
public:
    explicit OutcomeTables(const BarsView& bars) : bars_(bars) {}

    void fill(const ExitSpec& exit, std::int32_t first, std::int32_t last, std::span<Outcome> out);
    void fill(const ExitSpec& exit, std::int32_t first, std::int32_t last, bool net,
              std::span<Gain> out);

private:
    /// Columns over stretches of 2^k bars from each bar of a block on, at prices of the closing
    /// side, negated for a short position.
    struct Level {
        std::vector<std::int32_t> lowest;  ///< of closes
        std::vector<std::int32_t> highest;
        std::vector<std::int32_t> fall;   ///< from an earlier to a later of them
        std::vector<std::int32_t> worst;  ///< lowest of the bars' ranges
        std::vector<std::int32_t> best;
    };

    void measure(const ExitSpec& exit, std::int32_t side, std::int32_t first, std::int32_t last,
                 bool paths, bool guarded);

    template <bool paths, bool guarded, class Write>
    void fill_whole(const ExitSpec& exit, std::int32_t side, std::int32_t first, std::int32_t last,
                    const Write& write);
    template <class Write>
    void fill_tail(const ExitSpec& exit, std::int32_t side, std::int32_t first, std::int32_t last,
                   const Write& write);
    template <bool paths, class Write>
    void fill_side(const ExitSpec& exit, std::int32_t side, std::int32_t first, std::int32_t last,
                   const Write& write);

    BarsView bars_;
    std::vector<Level> levels_;  ///< levels_[k]: stretches of 2^k bars
    Level window_;               ///< stretches of the horizon
};

}  // namespace sep
