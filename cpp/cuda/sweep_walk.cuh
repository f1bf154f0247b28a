#pragma once

#include <cuda_pipeline.h>

#include <cstdint>
#include <type_traits>

#include "sep/sweep.hpp"

/// The walks of rules over their decisions, and the outcomes that they collect.
namespace sep::cuda {

// Measured on an H100: smaller tiles wait more often for each other, larger ones and more registers
// leave fewer blocks at a time.
constexpr int tile_bars = 256;
constexpr int tile_words = tile_bars / 32;
constexpr int walk_threads = 128;
constexpr int walk_blocks = 5;  // on a multiprocessor
constexpr int tiles_between_stops = 64;
constexpr unsigned long long ns_between_looks = 500'000;

/// What a device knows of a stop.
struct StopHeard {
    unsigned long long looked_ns;  ///< when a block last looked at the host's word
    int stopped;
};

/// How kernels hear of a stop: a word of the host, and what the device knows of it.
struct StopSignal {
    const int* asked;  ///< by the host, in its memory
    StopHeard* heard;
};

// One block at a time looks at the host's word, and tells the others: each look takes a microsecond
// of the bus, one after the other. With a look by every block a reality check took twice as long.
__device__ inline bool is_stopped(StopSignal signal) {
    volatile StopHeard* heard = signal.heard;
    if (heard->stopped != 0) return true;
    unsigned long long now = 0;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    const unsigned long long looked = heard->looked_ns;
    if (now < looked + ns_between_looks) return false;
    if (atomicCAS(&signal.heard->looked_ns, looked, now) != looked) return false;
    if (*static_cast<const volatile int*>(signal.asked) == 0) return false;
    heard->stopped = 1;
    return true;
}

/// Tables of outcomes by world, exit, side (0 bought, 1 sold) and the bar that decides.
struct OutcomeTables {
    int4* path;  ///< net, lowest, highest, fall; nullptr: not kept
    int2* rest;  ///< gross, or net without paths; bars to the exit, with the reason on top
};

struct OutcomeArgs {
    BarsView bars;  ///< of world 0; the others follow
    const ExitSpec* exits;
    OutcomeTables out;
    std::int32_t* largest;  ///< of the sizes of all values; nullptr: not asked for
    StopSignal stop;        ///< what has not begun is left out
};

// Both in one word; an exit lies less than 2^29 bars ahead.
constexpr int reason_shift = 29;
__device__ inline ExitReason reason_of(std::int32_t ends) {
    return static_cast<ExitReason>(ends >> reason_shift);
}
__device__ inline std::int32_t bars_to_exit(std::int32_t ends) {
    return ends & ((1 << reason_shift) - 1);
}

// Thread t of blocks x computes the outcome of a decision at bar t; blockIdx.y is 2 exit + side,
// blockIdx.z the world.
template <bool with_paths>
__global__ void outcome_kernel(OutcomeArgs a) {
    __shared__ bool stopped;
    if (threadIdx.x == 0) stopped = is_stopped(a.stop);
    __syncthreads();
    if (stopped) return;
    const std::int32_t t = static_cast<std::int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
    BarsView bars = a.bars;
    const std::size_t part = static_cast<std::size_t>(blockIdx.z) * bars.size;
    bars.open += part;
    bars.high += part;
    bars.low += part;
    bars.close += part;
    const ExitSpec exit = a.exits[blockIdx.y / 2];
    const std::int32_t side = blockIdx.y % 2 == 0 ? 1 : -1;
    Outcome o{};
    o.exit_bar = t;
    if (t < decisions_end(bars, exit.entry)) {
        if (!with_paths && exit.stop == 0 && exit.target == 0) {
            // Nothing between entry and exit matters: the compiler drops the loop.
            const ExitSpec plain{exit.horizon, 0, 0, exit.entry};
            o = outcome_of(bars, plain, t, side);
        } else {
            o = outcome_of(bars, exit, t, side);
        }
    }
    if (t < bars.size) {
        const std::size_t row = static_cast<std::size_t>(blockIdx.z) * gridDim.y + blockIdx.y;
        const std::size_t place = row * bars.size + t;
        const std::int32_t ends = (o.exit_bar - t) | static_cast<std::int32_t>(o.reason)
                                                         << reason_shift;
        if (with_paths) a.out.path[place] = {o.net, o.lowest, o.highest, o.fall};
        a.out.rest[place] = {with_paths ? o.gross : o.net, ends};
    }
    if (with_paths) {
        // The path ends at net.
        std::int32_t size = max(max(abs(o.lowest), abs(o.highest)), max(o.fall, abs(o.gross)));
        for (int step = 16; step > 0; step /= 2) size = max(size, __shfl_xor_sync(~0U, size, step));
        if (threadIdx.x % 32 == 0) atomicMax(a.largest, size);
    }
}

/// Rules of one exit, as many as a block walks.
struct Segment {
    std::int32_t exit;   ///< place among the tables at hand
    std::int32_t first;  ///< of its rules
    std::int32_t count;
    std::int32_t place;  ///< of the first one's figures
};

struct WalkRule {
    std::int32_t decision;  ///< place among the decisions at hand
    std::int32_t rule;      ///< place in the caller's list
};

struct WalkArgs {
    const uint2* decisions;  ///< [world][word][decision]
    OutcomeTables tables;
    const ExitSpec* exits;        ///< of the tables
    const std::int32_t* day;      ///< of each bar
    const std::int32_t* day_end;  ///< of each bar: the first one of the next trading day
    const Segment* segments;
    const WalkRule* rules;
    const std::int32_t* signals;  ///< of each decision at hand
    std::int32_t bars;
    std::int32_t words;
    std::int32_t decision_count;
    std::int32_t exit_count;
    std::int32_t rule_count;  ///< of the caller's list
    Statistic statistic;
    SweepFigures* figures;
    bool by_rule;            ///< `figures` by rules of the caller's list, else by segments
    double* statistics;      ///< [world][rule]
    std::int64_t* day_nets;  ///< [world][day][place of the rule in `rules`], zeros before
    StopSignal stop;         ///< ends the walk
};

/// What `take` of sep/sweep.hpp keeps, with sums of type Sum where they are known to fit.
///
/// The equity is kept as its distance below the peak; the net result enters the sum when its
/// trading day is over.
template <class Sum>
struct Running {
    std::int64_t net = 0;
    std::int64_t squares = 0;
    Sum day_net = 0;
    Sum gross = 0;
    Sum below = 0;
    Sum drawdown = 0;
    std::int32_t day_end = 0;
    std::int32_t held = 0;
    std::int32_t trades = 0;
    std::int32_t wins = 0;
    std::int32_t losing_run = 0;
    std::int32_t longest_losing_run = 0;
    std::int32_t stops = 0;
    std::int32_t targets = 0;
    std::int32_t ends = 0;

    __device__ void take_day(Sum result, std::int32_t exit_bar, const std::int32_t* day_ends) {
        if (exit_bar >= day_end) {
            finish_day();
            day_end = day_ends[exit_bar];
        }
        day_net += result;
    }
    __device__ void take_net(std::int32_t result, std::int32_t, std::int32_t exit_bar,
                             const std::int32_t* day_ends) {
        take_day(result, exit_bar, day_ends);
    }
    __device__ void finish_day() {
        squares += static_cast<std::int64_t>(day_net) * day_net;
        net += day_net;
        day_net = 0;
    }
    __device__ void take_path(int4 path, int2 rest) {
        ++trades;
        gross += rest.x;
        held += bars_to_exit(rest.y) - 1;
        const ExitReason reason = reason_of(rest.y);
        stops += reason == ExitReason::stop;
        targets += reason == ExitReason::target;
        ends += reason == ExitReason::end_of_data;
        const std::int32_t result = path.x;
        wins += result > 0;
        losing_run = result > 0 ? 0 : losing_run + 1;
        longest_losing_run = max(longest_losing_run, losing_run);
        drawdown = max(drawdown, max(below - path.y, static_cast<Sum>(path.w)));
        below = max(below, static_cast<Sum>(path.z)) - result;
    }
};

/// The net results of one rule by the day of the bar that decided.
struct DayNets {
    std::int64_t* of_days = nullptr;  ///< the rule's place in the row of day 0
    std::size_t row = 0;              ///< values of a day
    const std::int32_t* day = nullptr;
    std::int64_t* place = nullptr;  ///< of the day in hand
    std::int64_t net = 0;
    std::int32_t day_end = 0;

    __device__ void take_net(std::int32_t result, std::int32_t decided, std::int32_t,
                             const std::int32_t* day_ends) {
        if (decided >= day_end) {
            finish_day();
            place = of_days + static_cast<std::size_t>(day[decided]) * row;
            day_end = day_ends[decided];
        }
        net += result;
    }
    __device__ void finish_day() {
        if (place != nullptr) *place = net;
        net = 0;
    }
};

/// Figures are kept in `Sum`; NetOnly walks for the statistic alone, DaysOnly for daily results.
template <class Sum>
struct Figures {
    using Account = Running<Sum>;
    static constexpr bool with_paths = true;
};
struct NetOnly {
    using Account = Running<std::int64_t>;
    static constexpr bool with_paths = false;
};
struct DaysOnly {
    using Account = DayNets;
    static constexpr bool with_paths = false;
};

/// What a block has of the bars that it is at.
template <bool with_paths>
struct Tile {
    int4 paths[2][with_paths ? tile_bars : 1];
    int2 rests[2][tile_bars];
    uint2 decided[tile_words][walk_threads];
};

/// Take the trades that are decided at bars first .. last - 1.
template <bool with_paths, class Account>
__device__ void walk_tile(const Tile<with_paths>& tile, std::int32_t first, std::int32_t last,
                          std::int32_t& free_from, Account& running, const std::int32_t* day_end) {
    const std::int32_t words = (last - first + 31) / 32;
    const std::int32_t from = max(free_from - first, 0);
    std::int32_t word = from / 32;
    uint2 now = tile.decided[word][threadIdx.x];
    std::uint32_t left = (now.x | now.y) & ~0U << (from % 32);
    for (;;) {
        while (left == 0 && ++word < words) {
            now = tile.decided[word][threadIdx.x];
            left = now.x | now.y;
        }
        if (word >= words) return;
        const int bit = __ffs(static_cast<int>(left)) - 1;
        const std::int32_t at = word * 32 + bit;
        if (first + at >= last) return;
        const int side = now.y >> bit & 1;
        const int2 rest = tile.rests[side][at];
        const std::int32_t next = at + bars_to_exit(rest.y);
        free_from = first + next;
        if constexpr (with_paths) {
            const int4 path = tile.paths[side][at];
            running.take_day(path.x, free_from, day_end);
            running.take_path(path, rest);
        } else {
            running.take_net(rest.x, first + at, free_from, day_end);
        }
        if (free_from >= last) return;
        if (next / 32 != word) {
            word = next / 32;
            now = tile.decided[word][threadIdx.x];
            left = now.x | now.y;
        }
        left &= ~0U << (next % 32);
    }
}

// Thread i of block (x, w) walks rule i of segment x in world w. The block takes the outcomes of
// its exit and the decisions of its rules tile by tile into shared memory, the next tile on its way
// while it is at one.
template <class Kind>
__global__ void __launch_bounds__(walk_threads, walk_blocks) walk_kernel(WalkArgs a) {
    constexpr bool with_paths = Kind::with_paths;
    __shared__ Tile<with_paths> tiles[2];
    __shared__ bool stopped;
    const Segment segment = a.segments[blockIdx.x];
    const bool walks = static_cast<std::int32_t>(threadIdx.x) < segment.count;
    const WalkRule rule = a.rules[segment.first + (walks ? threadIdx.x : 0)];
    const std::size_t world = blockIdx.y;
    const std::size_t table = (world * a.exit_count + segment.exit) * 2 * a.bars;
    const uint2* decisions = a.decisions + world * a.words * a.decision_count + rule.decision;
    const bool at_close = a.exits[segment.exit].entry == EntryAt::close;
    const std::int32_t end = max(0, a.bars - (at_close ? 2 : 1));

    const auto fetch = [&](std::int32_t first, Tile<with_paths>& tile) {
        const std::int32_t last = min(first + tile_bars, end);
#pragma unroll
        for (std::int32_t k = 0; k < tile_words; ++k) {
            if (first + 32 * k >= last) break;
            const std::size_t word = static_cast<std::size_t>(first / 32 + k);
            __pipeline_memcpy_async(&tile.decided[k][threadIdx.x],
                                    &decisions[word * a.decision_count], sizeof(uint2));
        }
        for (std::int32_t i = threadIdx.x; i < last - first; i += walk_threads) {
#pragma unroll
            for (int side = 0; side < 2; ++side) {
                const std::size_t place =
                    table + static_cast<std::size_t>(side) * a.bars + first + i;
                if constexpr (with_paths) {
                    __pipeline_memcpy_async(&tile.paths[side][i], &a.tables.path[place],
                                            sizeof(int4));
                }
                __pipeline_memcpy_async(&tile.rests[side][i], &a.tables.rest[place], sizeof(int2));
            }
        }
    };

    typename Kind::Account running;
    if constexpr (std::is_same_v<Kind, DaysOnly>) {
        const std::size_t days = static_cast<std::size_t>(a.day[a.bars - 1]) + 1;
        running.row = static_cast<std::size_t>(a.rule_count);
        running.of_days =
            a.day_nets + world * days * running.row + segment.first + (walks ? threadIdx.x : 0);
        running.day = a.day;
    }
    std::int32_t free_from = walks ? 0 : a.bars;
    int at_hand = 0;
    if (end > 0) fetch(0, tiles[0]);
    __pipeline_commit();
    for (std::int32_t first = 0; first < end; first += tile_bars, at_hand = 1 - at_hand) {
        const std::int32_t last = min(first + tile_bars, end);
        if (threadIdx.x == 0 && first % (tiles_between_stops * tile_bars) == 0) {
            stopped = is_stopped(a.stop);
        }
        if (last < end) fetch(last, tiles[1 - at_hand]);
        __pipeline_commit();
        __pipeline_wait_prior(1);
        __syncthreads();  // the tile at hand is there, whoever fetched it
        if (stopped) return;
        if (free_from < last) {
            walk_tile(tiles[at_hand], first, last, free_from, running, a.day_end);
        }
        __syncthreads();  // nobody reads it any more
    }
    if (!walks) return;
    running.finish_day();
    if constexpr (std::is_same_v<Kind, DaysOnly>) {
        return;
    } else if constexpr (with_paths) {
        SweepFigures f;
        f.tally.net = running.net;
        f.tally.gross = running.gross;
        f.tally.peak = running.net + running.below;
        f.tally.drawdown = running.drawdown;
        f.tally.day_squares = running.squares;
        f.tally.held = running.held;
        f.tally.day = running.trades > 0 ? a.day[free_from] : 0;
        f.tally.free_from = free_from;
        f.tally.trades = running.trades;
        f.tally.wins = running.wins;
        f.tally.losing_run = running.losing_run;
        f.tally.longest_losing_run = running.longest_losing_run;
        f.tally.exits[0] = running.trades - running.stops - running.targets - running.ends;
        f.tally.exits[1] = running.stops;
        f.tally.exits[2] = running.targets;
        f.tally.exits[3] = running.ends;
        f.signals = a.signals[rule.decision];
        a.figures[a.by_rule ? rule.rule : segment.place + static_cast<int>(threadIdx.x)] = f;
    } else {
        const std::int64_t days = a.bars > 0 ? a.day[a.bars - 1] + 1 : 0;
        a.statistics[world * a.rule_count + rule.rule] =
            a.statistic == Statistic::net ? static_cast<double>(running.net)
                                          : daily_t_value(running.net, running.squares, days);
    }
}

__device__ inline bool is_better(const SurrogateBest& a, const SurrogateBest& b) {
    return a.statistic > b.statistic || (a.statistic == b.statistic && a.rule < b.rule);
}

// Block w finds the best rule of world w.
__global__ void best_kernel(const double* statistics, std::int32_t rules, SurrogateBest* out) {
    __shared__ SurrogateBest found[32];
    const double* of_world = statistics + static_cast<std::size_t>(blockIdx.x) * rules;
    SurrogateBest best{of_world[0], 0};
    for (std::int32_t rule = threadIdx.x; rule < rules; rule += blockDim.x) {
        const SurrogateBest other{of_world[rule], rule};
        if (is_better(other, best)) best = other;
    }
    for (int step = 16; step > 0; step /= 2) {
        const SurrogateBest other{__shfl_down_sync(~0U, best.statistic, step),
                                  __shfl_down_sync(~0U, best.rule, step)};
        if (is_better(other, best)) best = other;
    }
    if (threadIdx.x % 32 == 0) found[threadIdx.x / 32] = best;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (unsigned warp = 1; warp < blockDim.x / 32; ++warp) {
        if (is_better(found[warp], best)) best = found[warp];
    }
    out[blockIdx.x] = best;
}

// Thread i says how good rule i is.
__global__ void statistic_kernel(const SweepFigures* figures, std::int32_t count, Choice choice,
                                 double* out) {
    const std::int32_t i = static_cast<std::int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < count) out[i] = choice.statistic(figures[i].tally);
}

// Thread k takes the figures of the k-th of `places`.
__global__ void chosen_kernel(const SweepFigures* figures, const std::int64_t* places,
                              std::int32_t count, SweepFigures* out) {
    const std::int32_t k = static_cast<std::int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
    if (k < count) out[k] = figures[places[k]];
}

}  // namespace sep::cuda
