#include <algorithm>

#include "sweep_parts.hpp"

namespace sep {

OutcomeTables::Stretch OutcomeTables::joined(const Stretch& a, const Stretch& b) {
    return {std::min(a.lowest, b.lowest), std::max(a.highest, b.highest),
            std::max({a.fall, b.fall, a.highest - b.lowest}), std::min(a.worst, b.worst),
            std::max(a.best, b.best)};
}

// A position that no stop or target touches holds for `horizon` bars, and what its path looks like
// is a matter of the bars from its entry on: of a window that slides. Cut into stretches of
// `horizon` bars, every such window is the end of one stretch joined to the beginning of the next,
// so that two scans give all of them.
//
// Source: M. van Herk, "A fast algorithm for local minimum and maximum filters on rectangular and
// octagonal kernels", Pattern Recognition Letters 13 (1992).
template <class Write>
void OutcomeTables::fill_side(const ExitSpec& exit, std::int32_t side, std::int32_t first,
                              std::int32_t last, bool paths, const Write& write) {
    const BarsView& bars = bars_;
    const bool at_close = exit.entry == EntryAt::close;
    const bool guarded = exit.stop > 0 || exit.target > 0;
    const std::int32_t horizon = exit.horizon;
    const std::int32_t* off = side > 0 ? bars.bid_off : bars.ask_off;
    const std::int32_t* paid = side > 0 ? bars.ask_off : bars.bid_off;
    const std::int32_t* entries = at_close ? bars.close : bars.open;
    const std::int32_t shift = at_close ? 1 : 0;  // a range is judged this much later than a close
    const std::int32_t costs = 2 * bars.per_side;

    const auto bar_alone = [&](std::int32_t bar) {
        const std::int32_t close = side * bars.close[bar] - off[bar];
        const std::int32_t judged = bar + shift;
        const std::int32_t low = side > 0 ? bars.low[judged] : -bars.high[judged];
        const std::int32_t high = side > 0 ? bars.high[judged] : -bars.low[judged];
        return Stretch{close, close, 0, low - off[judged], high - off[judged]};
    };
    const auto decide = [&](std::int32_t decided, const Stretch& path) {
        const std::int32_t entry = decided + 1;
        const std::int32_t begun = side * entries[entry] + paid[entry];
        if (guarded && ((exit.stop > 0 && path.worst <= begun - exit.stop) ||
                        (exit.target > 0 && path.best >= begun + exit.target))) {
            write(decided, outcome_of(bars, exit, decided, side));
            return;
        }
        const std::int32_t due = entry + horizon;
        const std::int32_t net = side * entries[due] - off[due] - begun - costs;
        Outcome o;
        o.exit_bar = due;
        o.net = net;
        o.gross = net + costs + off[due] + paid[entry];
        o.lowest = std::min(path.lowest - begun - costs, net);
        o.highest = std::max(path.highest - begun - costs, net);
        o.fall = std::max(path.fall, path.highest - begun - costs - net);
        o.day = bars.day[due];
        o.reason = ExitReason::horizon;
        write(decided, o);
    };

    // Decisions whose horizon ends within the bars.
    const std::int32_t whole = std::clamp(bars.size - 1 - horizon, first, last);
    if (!guarded && !paths) {
        for (std::int32_t decided = first; decided < whole; ++decided) decide(decided, Stretch{});
    } else {
        to_end_.resize(static_cast<std::size_t>(horizon));
        for (std::int32_t begin = first; begin < whole; begin += horizon) {
            // The window of decision t begins at bar t + 1; the stretch holds those of
            // begin .. begin + horizon - 1.
            Stretch run = bar_alone(begin + horizon);
            to_end_[static_cast<std::size_t>(horizon - 1)] = run;
            for (std::int32_t i = horizon - 2; i >= 0; --i) {
                run = joined(bar_alone(begin + 1 + i), run);
                to_end_[static_cast<std::size_t>(i)] = run;
            }
            const std::int32_t end = std::min(begin + horizon, whole);
            decide(begin, to_end_[0]);
            Stretch ahead{};
            for (std::int32_t decided = begin + 1; decided < end; ++decided) {
                const Stretch more = bar_alone(decided + horizon);
                ahead = decided == begin + 1 ? more : joined(ahead, more);
                decide(decided, joined(to_end_[static_cast<std::size_t>(decided - begin)], ahead));
            }
        }
    }

    // Decisions whose position the end of the data may close.
    if (whole >= last) return;
    if (guarded) {
        for (std::int32_t decided = whole; decided < last; ++decided) {
            write(decided, outcome_of(bars, exit, decided, side));
        }
        return;
    }
    const std::int32_t final_bar = bars.size - 1;
    const std::int32_t final_close = side * bars.close[final_bar] - off[final_bar];
    std::int32_t lowest = final_close;
    std::int32_t highest = final_close;
    std::int32_t fall = 0;
    std::int32_t taken = final_bar;  // closes from this bar on are in these three
    for (std::int32_t decided = bars.size - 2; decided >= whole; --decided) {
        const std::int32_t entry = decided + 1;
        while (taken > entry) {
            --taken;
            const std::int32_t close = side * bars.close[taken] - off[taken];
            fall = std::max(fall, close - lowest);
            lowest = std::min(lowest, close);
            highest = std::max(highest, close);
        }
        if (decided >= last) continue;
        const std::int32_t begun = side * entries[entry] + paid[entry];
        Outcome o;
        o.exit_bar = final_bar;
        o.net = final_close - begun - costs;
        o.gross = final_close - begun + off[final_bar] + paid[entry];
        o.lowest = lowest - begun - costs;
        o.highest = highest - begun - costs;
        o.fall = fall;
        o.day = bars.day[final_bar];
        o.reason = ExitReason::end_of_data;
        write(decided, o);
    }
}

void OutcomeTables::fill(const ExitSpec& exit, std::int32_t first, std::int32_t last,
                         std::span<Outcome> out) {
    for (const std::int32_t side : {-1, 1}) {
        Outcome* place = out.data() + (side > 0 ? 1 : 0);
        fill_side(exit, side, first, last, true, [&](std::int32_t decided, const Outcome& o) {
            place[2 * static_cast<std::ptrdiff_t>(decided - first)] = o;
        });
    }
}

void OutcomeTables::fill(const ExitSpec& exit, std::int32_t first, std::int32_t last, bool net,
                         std::span<Gain> out) {
    for (const std::int32_t side : {-1, 1}) {
        Gain* place = out.data() + (side > 0 ? 1 : 0);
        fill_side(exit, side, first, last, false, [&](std::int32_t decided, const Outcome& o) {
            place[2 * static_cast<std::ptrdiff_t>(decided - first)] = {o.exit_bar,
                                                                       net ? o.net : o.gross};
        });
    }
}

}  // namespace sep
