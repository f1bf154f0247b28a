#include <algorithm>
#include <bit>

#include "simd/stretches.hpp"
#include "sweep_parts.hpp"

namespace sep {
namespace {

/// A position in the making: the profits that its path has seen.
struct Path {
    std::int32_t lowest;
    std::int32_t highest;
    std::int32_t fall;

    void join(std::int32_t more_lowest, std::int32_t more_highest, std::int32_t more_fall) {
        fall = std::max({fall, more_fall, highest - more_lowest});
        lowest = std::min(lowest, more_lowest);
        highest = std::max(highest, more_highest);
    }
};

}  // namespace

// A position that no stop or target touches holds for `horizon` bars, and what its path looks like
// is a matter of the bars from its entry on: of a window that slides. Stretches of 1, 2, 4, ...
// bars from every bar on come from joining two of half the length; the window is joined from those
// that the binary digits of the horizon name. Where something is touched, the same stretches lead
// to the first such bar: one is passed over when nothing in it touches.
void OutcomeTables::measure(const ExitSpec& exit, std::int32_t side, std::int32_t first,
                            std::int32_t last, bool paths, bool guarded) {
    const BarsView& bars = bars_;
    const auto horizon = static_cast<std::size_t>(exit.horizon);
    const auto count = static_cast<std::size_t>(last - first);
    const std::size_t size = count + horizon - 1;
    const std::int32_t shift = exit.entry == EntryAt::close ? 1 : 0;
    const std::int32_t* off = side > 0 ? bars.bid_off : bars.ask_off;
    const int level_count = std::bit_width(horizon);
    if (levels_.size() < static_cast<std::size_t>(level_count)) {
        levels_.resize(static_cast<std::size_t>(level_count));
    }
    const auto room = [&](Level& level, std::size_t wanted) {
        if (paths && level.lowest.size() < wanted) {
            level.lowest.resize(wanted);
            level.highest.resize(wanted);
            level.fall.resize(wanted);
        }
        if (guarded && level.worst.size() < wanted) {
            level.worst.resize(wanted);
            level.best.resize(wanted);
        }
    };
    for (int k = 0; k < level_count; ++k) room(levels_[static_cast<std::size_t>(k)], size);
    room(window_, count);

    const std::int32_t begin = first + 1;  // the bar of element 0
    Level& alone = levels_[0];
    if (paths) {
        for (std::size_t i = 0; i < size; ++i) {
            const std::size_t bar = static_cast<std::size_t>(begin) + i;
            alone.lowest[i] = alone.highest[i] = side * bars.close[bar] - off[bar];
            alone.fall[i] = 0;
        }
    }
    if (guarded) {
        const std::int32_t* low = side > 0 ? bars.low : bars.high;
        const std::int32_t* high = side > 0 ? bars.high : bars.low;
        for (std::size_t i = 0; i < size; ++i) {
            const std::size_t bar = static_cast<std::size_t>(begin + shift) + i;
            alone.worst[i] = side * low[bar] - off[bar];
            alone.best[i] = side * high[bar] - off[bar];
        }
    }
    const simd::StretchKernels& kernels = simd::stretch_kernels();
    std::size_t joined = 0;  // bars of the window so far
    for (int k = 0; k < level_count; ++k) {
        const Level& level = levels_[static_cast<std::size_t>(k)];
        const std::size_t length = std::size_t{1} << k;
        if (horizon & length) {
            if (joined == 0) {
                if (paths) {
                    std::copy_n(level.lowest.data(), count, window_.lowest.data());
                    std::copy_n(level.highest.data(), count, window_.highest.data());
                    std::copy_n(level.fall.data(), count, window_.fall.data());
                }
                if (guarded) {
                    std::copy_n(level.worst.data(), count, window_.worst.data());
                    std::copy_n(level.best.data(), count, window_.best.data());
                }
            } else {
                Level& w = window_;
                if (paths) {
                    kernels.join_fall(w.fall.data(), w.highest.data(), level.fall.data() + joined,
                                      level.lowest.data() + joined, w.fall.data(), count);
                    kernels.join_lowest(w.lowest.data(), level.lowest.data() + joined,
                                        w.lowest.data(), count);
                    kernels.join_highest(w.highest.data(), level.highest.data() + joined,
                                         w.highest.data(), count);
                }
                if (guarded) {
                    kernels.join_lowest(w.worst.data(), level.worst.data() + joined, w.worst.data(),
                                        count);
                    kernels.join_highest(w.best.data(), level.best.data() + joined, w.best.data(),
                                         count);
                }
            }
            joined += length;
        }
        if (k + 1 == level_count) break;
        Level& next = levels_[static_cast<std::size_t>(k) + 1];
        const std::size_t n = size + 1 - 2 * length;
        if (paths) {
            kernels.join_lowest(level.lowest.data(), level.lowest.data() + length,
                                next.lowest.data(), n);
            kernels.join_highest(level.highest.data(), level.highest.data() + length,
                                 next.highest.data(), n);
            kernels.join_fall(level.fall.data(), level.highest.data(), level.fall.data() + length,
                              level.lowest.data() + length, next.fall.data(), n);
        }
        if (guarded) {
            kernels.join_lowest(level.worst.data(), level.worst.data() + length, next.worst.data(),
                                n);
            kernels.join_highest(level.best.data(), level.best.data() + length, next.best.data(),
                                 n);
        }
    }
}

/// Decisions whose horizon ends within the bars.
template <bool paths, bool guarded, class Write>
void OutcomeTables::fill_whole(const ExitSpec& exit, std::int32_t side, std::int32_t first,
                               std::int32_t last, const Write& write) {
    if (first >= last) return;
    if constexpr (paths || guarded) measure(exit, side, first, last, paths, guarded);
    const BarsView& bars = bars_;
    const bool at_close = exit.entry == EntryAt::close;
    const std::int32_t horizon = exit.horizon;
    const std::int32_t* off = side > 0 ? bars.bid_off : bars.ask_off;
    const std::int32_t* paid = side > 0 ? bars.ask_off : bars.bid_off;
    const std::int32_t* entries = at_close ? bars.close : bars.open;
    const std::int32_t costs = 2 * bars.per_side;
    const int top = std::bit_width(static_cast<unsigned>(horizon)) - 1;

    for (std::int32_t decided = first; decided < last; ++decided) {
        const auto i = static_cast<std::size_t>(decided - first);
        const std::int32_t entry = decided + 1;
        const std::int32_t begun = side * entries[entry] + paid[entry];
        Outcome o;
        Path path{0, 0, 0};
        bool walked = true;  // some profit is in `path`
        std::int32_t price;
        bool touched = false;
        std::int32_t stop = 0;
        std::int32_t target = 0;
        if constexpr (guarded) {
            // No price is as low, or as high, as where there is no stop, or no target.
            stop = exit.stop > 0 ? begun - exit.stop : -2 * sweep_price_max;
            target = exit.target > 0 ? begun + exit.target : 2 * (sweep_price_max - 1);
            touched = window_.worst[i] <= stop || window_.best[i] >= target;
        }
        if (guarded && touched) {
            std::size_t at = i;
            const std::size_t limit = i + static_cast<std::size_t>(horizon);
            walked = false;
            for (int k = top; k >= 0; --k) {
                const Level& level = levels_[static_cast<std::size_t>(k)];
                const std::size_t length = std::size_t{1} << k;
                if (at + length > limit || level.worst[at] <= stop || level.best[at] >= target) {
                    continue;
                }
                if constexpr (paths) {
                    if (walked) {
                        path.join(level.lowest[at], level.highest[at], level.fall[at]);
                    } else {
                        path = {level.lowest[at], level.highest[at], level.fall[at]};
                    }
                    walked = true;
                }
                at += length;
            }
            const Level& alone = levels_[0];
            if constexpr (paths) {
                // Entered at a close, the position saw the close before the bar that touched.
                if (at_close) {
                    if (walked) {
                        path.join(alone.lowest[at], alone.highest[at], 0);
                    } else {
                        path = {alone.lowest[at], alone.highest[at], 0};
                    }
                    walked = true;
                }
            }
            o.exit_bar = first + 1 + static_cast<std::int32_t>(at) + (at_close ? 1 : 0);
            if (alone.worst[at] <= stop) {
                o.reason = ExitReason::stop;
                price = std::min(stop, side * bars.open[o.exit_bar] - off[o.exit_bar]);
            } else {
                o.reason = ExitReason::target;
                price = target;
            }
        } else {
            o.exit_bar = entry + horizon;
            o.reason = ExitReason::horizon;
            price = side * entries[o.exit_bar] - off[o.exit_bar];
            if constexpr (paths) path = {window_.lowest[i], window_.highest[i], window_.fall[i]};
        }
        o.net = price - begun - costs;
        o.gross = price - begun + off[o.exit_bar] + paid[entry];
        if constexpr (paths) {
            o.day = bars.day[o.exit_bar];
            if (walked) {
                // The exit is the last point of the path.
                path.join(price, price, 0);
                o.lowest = path.lowest - begun - costs;
                o.highest = path.highest - begun - costs;
                o.fall = path.fall;
            } else {
                o.lowest = o.highest = o.net;
                o.fall = 0;
            }
        }
        write(decided, o);
    }
}

/// Decisions whose position the end of the data may close.
template <class Write>
void OutcomeTables::fill_tail(const ExitSpec& exit, std::int32_t side, std::int32_t first,
                              std::int32_t last, const Write& write) {
    if (first >= last) return;
    const BarsView& bars = bars_;
    if (exit.stop > 0 || exit.target > 0) {
        for (std::int32_t decided = first; decided < last; ++decided) {
            write(decided, outcome_of(bars, exit, decided, side));
        }
        return;
    }
    const std::int32_t* off = side > 0 ? bars.bid_off : bars.ask_off;
    const std::int32_t* paid = side > 0 ? bars.ask_off : bars.bid_off;
    const std::int32_t* entries = exit.entry == EntryAt::close ? bars.close : bars.open;
    const std::int32_t costs = 2 * bars.per_side;
    const std::int32_t final_bar = bars.size - 1;
    const std::int32_t final_close = side * bars.close[final_bar] - off[final_bar];
    Path path{final_close, final_close, 0};
    std::int32_t from = final_bar;  // closes from this bar on are in the path
    for (std::int32_t decided = last - 1; decided >= first; --decided) {
        const std::int32_t entry = decided + 1;
        while (from > entry) {
            --from;
            const std::int32_t close = side * bars.close[from] - off[from];
            Path longer{close, close, 0};
            longer.join(path.lowest, path.highest, path.fall);
            path = longer;
        }
        const std::int32_t begun = side * entries[entry] + paid[entry];
        Outcome o;
        o.exit_bar = final_bar;
        o.net = final_close - begun - costs;
        o.gross = final_close - begun + off[final_bar] + paid[entry];
        o.lowest = path.lowest - begun - costs;
        o.highest = path.highest - begun - costs;
        o.fall = path.fall;
        o.day = bars.day[final_bar];
        o.reason = ExitReason::end_of_data;
        write(decided, o);
    }
}

template <bool paths, class Write>
void OutcomeTables::fill_side(const ExitSpec& exit, std::int32_t side, std::int32_t first,
                              std::int32_t last, const Write& write) {
    const std::int32_t whole = std::clamp(bars_.size - 1 - exit.horizon, first, last);
    if (exit.stop > 0 || exit.target > 0) {
        fill_whole<paths, true>(exit, side, first, whole, write);
    } else {
        fill_whole<paths, false>(exit, side, first, whole, write);
    }
    fill_tail(exit, side, whole, last, write);
}

void OutcomeTables::fill(const ExitSpec& exit, std::int32_t first, std::int32_t last,
                         std::span<Outcome> out) {
    for (const std::int32_t side : {-1, 1}) {
        Outcome* place = out.data() + (side > 0 ? 1 : 0);
        fill_side<true>(exit, side, first, last, [&](std::int32_t decided, const Outcome& o) {
            place[2 * static_cast<std::ptrdiff_t>(decided - first)] = o;
        });
    }
}

void OutcomeTables::fill(const ExitSpec& exit, std::int32_t first, std::int32_t last, bool net,
                         std::span<Gain> out) {
    for (const std::int32_t side : {-1, 1}) {
        Gain* place = out.data() + (side > 0 ? 1 : 0);
        fill_side<false>(exit, side, first, last, [&](std::int32_t decided, const Outcome& o) {
            place[2 * static_cast<std::ptrdiff_t>(decided - first)] = {o.exit_bar,
                                                                       net ? o.net : o.gross};
        });
    }
}

}  // namespace sep
