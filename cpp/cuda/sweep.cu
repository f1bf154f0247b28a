#include <cuda_pipeline.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <exception>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "../src/backends.hpp"
#include "../src/window_tables.hpp"
#include "device.cuh"
#include "sweep_worlds.cuh"

namespace sep::cuda {
namespace {

// Measured on an H100: smaller tiles wait more often for each other, larger ones and more registers
// leave fewer blocks at a time.
constexpr int tile_bars = 256;
constexpr int tile_words = tile_bars / 32;
constexpr int walk_threads = 128;
constexpr int walk_blocks = 5;  // on a multiprocessor
constexpr int tiles_between_stops = 64;
constexpr int outcome_threads = 256;
constexpr int predicate_threads = 256;
constexpr int decision_threads = 128;

// Bars times rules of one batch of worlds: some 50 ms, so that a stop is heard.
constexpr double batch_work = 1e11;
// Figures come home launch by launch; a few launches at a time keep the device busy to the end of
// each.
constexpr std::size_t launch_rules_max = std::size_t{1} << 16;
constexpr int launches = 4;

/// Tables of outcomes by world, exit, side (0 bought, 1 sold) and the bar that decides.
struct Tables {
    int4* path;  ///< net, lowest, highest, fall; nullptr: not kept
    int2* rest;  ///< gross, or net without paths; bars to the exit, with the reason on top
};

struct OutcomeArgs {
    BarsView bars;  ///< of world 0; the others follow
    const ExitSpec* exits;
    Tables out;
    std::int32_t* largest;  ///< of the sizes of all values; nullptr: not asked for
};

// Both in one word; an exit lies less than 2^29 bars ahead.
constexpr int reason_shift = 29;
__device__ ExitReason reason_of(std::int32_t ends) {
    return static_cast<ExitReason>(ends >> reason_shift);
}
__device__ std::int32_t bars_to_exit(std::int32_t ends) { return ends & ((1 << reason_shift) - 1); }

// Thread t of blocks x computes the outcome of a decision at bar t; blockIdx.y is 2 exit + side,
// blockIdx.z the world.
template <bool with_paths>
__global__ void outcome_kernel(OutcomeArgs a) {
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
    std::int32_t exit;  ///< place among the tables at hand
    std::int32_t at_close;
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
    Tables tables;
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
    double* statistics;  ///< [world][rule]
    const int* stop;     ///< not 0 ends the walk
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

/// Figures are kept in `Sum`; NetOnly walks for the statistic alone.
template <class Sum>
struct Figures {
    using Total = Sum;
    static constexpr bool with_paths = true;
};
struct NetOnly {
    using Total = std::int64_t;
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
template <bool with_paths, class Sum>
__device__ void walk_tile(const Tile<with_paths>& tile, std::int32_t first, std::int32_t last,
                          std::int32_t& free_from, Running<Sum>& running,
                          const std::int32_t* day_end) {
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
            running.take_day(rest.x, free_from, day_end);
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
    __shared__ int stopped;
    const Segment segment = a.segments[blockIdx.x];
    const bool walks = static_cast<std::int32_t>(threadIdx.x) < segment.count;
    const WalkRule rule = a.rules[segment.first + (walks ? threadIdx.x : 0)];
    const std::size_t world = blockIdx.y;
    const std::size_t table = (world * a.exit_count + segment.exit) * 2 * a.bars;
    const uint2* decisions = a.decisions + world * a.words * a.decision_count + rule.decision;
    const std::int32_t end = max(0, a.bars - (segment.at_close != 0 ? 2 : 1));

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

    Running<typename Kind::Total> running;
    std::int32_t free_from = walks ? 0 : a.bars;
    int at_hand = 0;
    if (end > 0) fetch(0, tiles[0]);
    __pipeline_commit();
    for (std::int32_t first = 0; first < end; first += tile_bars, at_hand = 1 - at_hand) {
        const std::int32_t last = min(first + tile_bars, end);
        if (threadIdx.x == 0 && first % (tiles_between_stops * tile_bars) == 0) {
            stopped = *static_cast<const volatile int*>(a.stop);
        }
        if (last < end) fetch(last, tiles[1 - at_hand]);
        __pipeline_commit();
        __pipeline_wait_prior(1);
        __syncthreads();  // the tile at hand is there, whoever fetched it
        if (stopped != 0) return;
        if (free_from < last) {
            walk_tile(tiles[at_hand], first, last, free_from, running, a.day_end);
        }
        __syncthreads();  // nobody reads it any more
    }
    if (!walks) return;
    running.finish_day();
    if (with_paths) {
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
        a.figures[segment.place + threadIdx.x] = f;
    } else {
        const std::int64_t days = a.bars > 0 ? a.day[a.bars - 1] + 1 : 0;
        a.statistics[world * a.rule_count + rule.rule] =
            a.statistic == Statistic::net ? static_cast<double>(running.net)
                                          : daily_t_value(running.net, running.squares, days);
    }
}

__device__ bool is_better(const SurrogateBest& a, const SurrogateBest& b) {
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

unsigned blocks_of(std::size_t threads, int block) {
    return static_cast<unsigned>((threads + static_cast<std::size_t>(block) - 1) /
                                 static_cast<std::size_t>(block));
}

unsigned groups_of(std::int32_t metric) {
    if (metric < 8) return group_counts;
    if (metric < 11) return group_damped;
    if (metric < 13) return group_path;
    if (metric < 16) return group_qbsa;
    return metric == window_metric_count ? 0U : unsigned{group_collapse};
}

/// What decisions are made of, each part once.
struct Plan {
    std::vector<Encoding> encodings;
    std::vector<std::pair<std::int32_t, WindowSpec>> features;  ///< place of the encoding
    std::vector<std::vector<Predicate>> predicates;             ///< by feature
    std::vector<DecisionPlan> decisions;
    std::vector<std::int32_t> gates;

    explicit Plan(const SweepRules& rules) {
        using GateKey = std::tuple<std::int32_t, std::int32_t, double, double>;
        std::map<std::pair<Encoding, std::int32_t>, std::int32_t> feature_of;
        std::map<std::tuple<std::int32_t, Test, bool>, std::int32_t> way_of;
        std::map<std::pair<std::int32_t, GateKey>, std::int32_t> gate_of;
        const auto add = [&](std::int32_t feature, const Predicate& predicate) {
            auto& list = predicates[static_cast<std::size_t>(feature)];
            list.push_back(predicate);
            return static_cast<std::int32_t>(list.size() - 1);
        };
        std::vector<std::int32_t> feature_of_decision;
        for (const DecisionSpec& decision : rules.decisions) {
            const auto [place, is_new] = feature_of.try_emplace(
                {decision.encoding, decision.window}, static_cast<std::int32_t>(features.size()));
            const std::int32_t feature = place->second;
            if (is_new) {
                auto known = std::find(encodings.begin(), encodings.end(), decision.encoding);
                if (known == encodings.end()) {
                    known = encodings.insert(encodings.end(), decision.encoding);
                }
                WindowSpec spec;
                spec.window = decision.window;
                spec.groups = 0;
                features.emplace_back(static_cast<std::int32_t>(known - encodings.begin()), spec);
                predicates.emplace_back();
            }
            unsigned& groups = features[static_cast<std::size_t>(feature)].second.groups;
            Test test = Test::bit;
            bool turned = decision.invert != 0;
            if (decision.direction == SignalDirection::last_bit_reversal) turned = !turned;
            if (decision.direction == SignalDirection::run_persistence) test = Test::run;
            if (decision.direction == SignalDirection::balance) {
                test = Test::balance;
                groups |= group_counts;
            }
            if (decision.direction == SignalDirection::damped) {
                test = Test::damped;
                groups |= group_damped;
            }
            const auto way = [&](bool rise) {
                const auto [found, missing] = way_of.try_emplace({feature, test, rise}, 0);
                if (missing) found->second = add(feature, {test, {}, rise});
                return found->second;
            };
            DecisionPlan made{way(!turned), way(turned), static_cast<std::int32_t>(gates.size()),
                              decision.gates_count};
            for (std::int32_t k = 0; k < decision.gates_count; ++k) {
                const GateSpec& gate =
                    rules.gates[static_cast<std::size_t>(decision.gates_first + k)];
                if (groups_of(gate.metric) == group_qbsa) {
                    throw BackendError("backend cuda has no gates on prediction errors in sweeps");
                }
                groups |= groups_of(gate.metric);
                const GateKey key{gate.metric, gate.complete, gate.low, gate.high};
                const auto [found, missing] = gate_of.try_emplace({feature, key}, 0);
                if (missing) found->second = add(feature, {Test::gate, gate, false});
                gates.push_back(found->second);
            }
            decisions.push_back(made);
            feature_of_decision.push_back(feature);
        }
        // Predicates are numbered through all features.
        std::vector<std::int32_t> first(predicates.size() + 1, 0);
        for (std::size_t i = 0; i < predicates.size(); ++i) {
            first[i + 1] = first[i] + static_cast<std::int32_t>(predicates[i].size());
        }
        for (std::size_t d = 0; d < decisions.size(); ++d) {
            const std::int32_t shift = first[static_cast<std::size_t>(feature_of_decision[d])];
            decisions[d].buy += shift;
            decisions[d].sell += shift;
            for (std::int32_t k = 0; k < decisions[d].gates_count; ++k) {
                gates[static_cast<std::size_t>(decisions[d].gates_first + k)] += shift;
            }
        }
    }

    std::size_t predicate_count() const {
        std::size_t count = 0;
        for (const auto& list : predicates) count += list.size();
        return count;
    }
};

template <class T>
std::span<const T> view(const std::vector<T>& values) {
    return values;
}

/// Host memory that the device copies to and from without a stop.
template <class T>
class PinnedArray {
public:
    explicit PinnedArray(std::size_t size) {
        check(cudaMallocHost(&data_, std::max<std::size_t>(1, size) * sizeof(T)), "cudaMallocHost");
    }
    ~PinnedArray() { cudaFreeHost(data_); }
    PinnedArray(const PinnedArray&) = delete;
    PinnedArray& operator=(const PinnedArray&) = delete;
    T* get() const { return data_; }

private:
    T* data_ = nullptr;
};

/// The tables of windows on the device, made when they are first asked for.
class Windows {
public:
    explicit Windows(const Stream& stream)
        : stream_(stream),
          g_(std::span<const double>(tables().g), stream),
          rows_(std::span<const DampedRow>(tables().rows), stream),
          row_of_(std::span<const std::uint8_t>(tables().row_of), stream) {}

    TableView of(const WindowSpec& spec) {
        const bool with_path = (spec.groups & group_path) != 0;
        std::unique_ptr<Window>& window = windows_[{spec.window, with_path}];
        if (!window) {
            const WindowTables host(spec.window, with_path);
            window = std::make_unique<Window>(host, stream_);
            stream_.wait();  // `host` goes away
        }
        return {g_.get(),
                tables().log2_3,
                rows_.get(),
                row_of_.get(),
                window->spans.get(),
                window->decays.get(),
                window->decays_first.get(),
                window->templates.get()};
    }

private:
    struct Window {
        Window(const WindowTables& host, const Stream& stream)
            : spans(view(host.spans), stream),
              decays(view(host.decays), stream),
              decays_first(view(host.decays_first), stream),
              templates(view(host.templates), stream) {}
        DeviceArray<DampedSpan> spans;
        DeviceArray<double> decays;
        DeviceArray<std::uint32_t> decays_first;
        DeviceArray<double> templates;
    };

    const Stream& stream_;
    DeviceArray<double> g_;
    DeviceArray<DampedRow> rows_;
    DeviceArray<std::uint8_t> row_of_;
    std::map<std::pair<int, bool>, std::unique_ptr<Window>> windows_;
};

/// The features of a plan and their predicates, as kernels take them.
struct Features {
    std::vector<Feature> features;
    std::vector<Predicate> predicates;

    Features(const Plan& plan, Windows& windows) {
        for (std::size_t i = 0; i < plan.features.size(); ++i) {
            const auto& [encoding, spec] = plan.features[i];
            features.push_back({spec, windows.of(spec), encoding,
                                static_cast<std::int32_t>(predicates.size()),
                                static_cast<std::int32_t>(plan.predicates[i].size())});
            predicates.insert(predicates.end(), plan.predicates[i].begin(),
                              plan.predicates[i].end());
        }
    }
};

/// What is freed on a device stays with it while this lives: bringing memory in costs more than
/// many a call.
class KeptMemory {
public:
    explicit KeptMemory(int device) {
        check(cudaDeviceGetDefaultMemPool(&pool_, device), "cudaDeviceGetDefaultMemPool");
        keep(UINT64_MAX);
    }
    ~KeptMemory() {
        std::uint64_t nothing = 0;
        cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &nothing);
        cudaMemPoolTrimTo(pool_, 0);
    }
    KeptMemory(const KeptMemory&) = delete;
    KeptMemory& operator=(const KeptMemory&) = delete;

    /// Bytes that can be taken on the current device.
    double free_bytes() const {
        std::size_t free = 0;
        std::size_t total = 0;
        check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
        std::uint64_t reserved = 0;
        std::uint64_t used = 0;
        check(cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrReservedMemCurrent, &reserved),
              "cudaMemPoolGetAttribute");
        check(cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrUsedMemCurrent, &used),
              "cudaMemPoolGetAttribute");
        return static_cast<double>(free) + static_cast<double>(reserved - used);
    }
    /// Give back what is not in use.
    void trim() const { check(cudaMemPoolTrimTo(pool_, 0), "cudaMemPoolTrimTo"); }

private:
    void keep(std::uint64_t bytes) const {
        check(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &bytes),
              "cudaMemPoolSetAttribute");
    }
    cudaMemPool_t pool_ = nullptr;
};

/// The device that calls on this thread go to, for the time of a scope.
class OnDevice {
public:
    explicit OnDevice(int device) {
        check(cudaGetDevice(&before_), "cudaGetDevice");
        check(cudaSetDevice(device), "cudaSetDevice");
    }
    ~OnDevice() { cudaSetDevice(before_); }
    OnDevice(const OnDevice&) = delete;
    OnDevice& operator=(const OnDevice&) = delete;

private:
    int before_ = 0;
};

/// How much of the rules a device takes at a time, and of how many worlds.
struct Shares {
    std::int32_t decisions = 0;
    std::int32_t exits = 0;
    std::int32_t worlds = 1;
};

/// Rules of all devices in the order in which they are walked.
struct Walks {
    std::vector<std::int32_t> decisions;  ///< used ones, by how often they decide, most first
    std::vector<std::int32_t> signals;    ///< of each of them
    std::vector<std::int32_t> exits;      ///< used ones
    std::vector<WalkRule> rules;
    struct Part {
        std::int32_t decisions_first;  ///< of `decisions`
        std::int32_t exits_first;
        std::vector<Segment> segments;
    };
    std::vector<Part> parts;
};

/// Where each key's part of a sorted list begins, and where the last one ends.
template <class Key>
std::vector<std::size_t> parts_by(std::size_t size, std::size_t keys, const Key& key) {
    std::vector<std::size_t> first(keys + 1, 0);
    for (std::size_t i = 0; i < size; ++i) ++first[key(i) + 1];
    std::partial_sum(first.begin(), first.end(), first.begin());
    return first;
}

/// Rules side by side in a warp take their trades together, so that those that decide about as
/// often, on the same exit, are put together.
Walks walks_of(const SweepRules& rules, const std::vector<std::int32_t>& signals, Shares shares) {
    const std::size_t size = rules.rules.size();
    const auto decision_of = [&](std::size_t rule) {
        return static_cast<std::size_t>(rules.rules[rule].decision);
    };
    const auto exit_of = [&](std::size_t rule) {
        return static_cast<std::size_t>(rules.rules[rule].exit);
    };
    const std::vector<std::size_t> rules_first =
        parts_by(size, rules.decisions.size(), decision_of);
    std::vector<std::int32_t> exit_place(rules.exits.size(), -1);
    bool grouped = true;  // by decision, as the rules of a grid are
    for (std::size_t rule = 0; rule < size; ++rule) {
        exit_place[exit_of(rule)] = 0;
        grouped = grouped && (rule == 0 || decision_of(rule - 1) <= decision_of(rule));
    }
    std::vector<std::int32_t> by_decision(size);
    std::iota(by_decision.begin(), by_decision.end(), 0);
    if (!grouped) {
        std::stable_sort(by_decision.begin(), by_decision.end(),
                         [&](std::int32_t a, std::int32_t b) {
                             return decision_of(static_cast<std::size_t>(a)) <
                                    decision_of(static_cast<std::size_t>(b));
                         });
    }
    Walks walks;
    for (std::size_t e = 0; e < exit_place.size(); ++e) {
        if (exit_place[e] == 0) walks.exits.push_back(static_cast<std::int32_t>(e));
    }
    // Many trades take long: they begin first, so that the device does not wait for them at the
    // end.
    std::stable_sort(walks.exits.begin(), walks.exits.end(), [&](std::int32_t a, std::int32_t b) {
        return rules.exits[static_cast<std::size_t>(a)].horizon <
               rules.exits[static_cast<std::size_t>(b)].horizon;
    });
    for (std::size_t i = 0; i < walks.exits.size(); ++i) {
        exit_place[static_cast<std::size_t>(walks.exits[i])] = static_cast<std::int32_t>(i);
    }
    for (std::size_t d = 0; d < rules.decisions.size(); ++d) {
        if (rules_first[d] < rules_first[d + 1]) {
            walks.decisions.push_back(static_cast<std::int32_t>(d));
        }
    }
    const auto signals_of = [&](std::int32_t decision) {
        return signals[static_cast<std::size_t>(decision)];
    };
    std::stable_sort(walks.decisions.begin(), walks.decisions.end(),
                     [&](std::int32_t a, std::int32_t b) { return signals_of(a) > signals_of(b); });
    const auto share = static_cast<std::size_t>(shares.decisions);
    const std::size_t chunks = (walks.decisions.size() - 1) / share + 1;
    std::vector<std::size_t> chunk(rules.decisions.size(), 0);
    for (std::size_t i = 0; i < walks.decisions.size(); ++i) {
        chunk[static_cast<std::size_t>(walks.decisions[i])] = i / share;
    }

    // A row for each chunk of decisions and exit, in which decisions keep their order.
    const std::size_t exits = walks.exits.size();
    const std::vector<std::size_t> rows = parts_by(size, chunks * exits, [&](std::size_t rule) {
        return chunk[decision_of(rule)] * exits +
               static_cast<std::size_t>(exit_place[exit_of(rule)]);
    });
    std::vector<std::size_t> end(rows);
    walks.rules.resize(size);
    for (std::size_t i = 0; i < walks.decisions.size(); ++i) {
        const auto d = static_cast<std::size_t>(walks.decisions[i]);
        walks.signals.push_back(signals[d]);
        const std::size_t row = i / share * exits;
        const auto place = static_cast<std::int32_t>(i % share);
        for (std::size_t k = rules_first[d]; k < rules_first[d + 1]; ++k) {
            const std::int32_t rule = by_decision[k];
            const std::int32_t exit = exit_place[exit_of(static_cast<std::size_t>(rule))];
            walks.rules[end[row + static_cast<std::size_t>(exit)]++] = {place, rule};
        }
    }

    for (std::size_t row = 0; row + 1 < rows.size(); ++row) {
        if (rows[row] == rows[row + 1]) continue;
        const auto exit = static_cast<std::int32_t>(row % exits);
        const auto decisions_first = static_cast<std::int32_t>(row / exits * share);
        const std::int32_t exits_first = exit / shares.exits * shares.exits;
        if (walks.parts.empty() || walks.parts.back().decisions_first != decisions_first ||
            walks.parts.back().exits_first != exits_first) {
            walks.parts.push_back({decisions_first, exits_first, {}});
        }
        const ExitSpec& spec =
            rules.exits[static_cast<std::size_t>(walks.exits[static_cast<std::size_t>(exit)])];
        for (std::size_t at = rows[row]; at < rows[row + 1]; at += walk_threads) {
            const std::size_t count = std::min<std::size_t>(walk_threads, rows[row + 1] - at);
            walks.parts.back().segments.push_back({exit - exits_first, spec.entry == EntryAt::close,
                                                   static_cast<std::int32_t>(at),
                                                   static_cast<std::int32_t>(count), 0});
        }
    }
    return walks;
}

/// A word on the device that walks look at: how a stop reaches kernels that run.
///
/// A word of the host that the device reads would do without a copy, but every look at it takes a
/// microsecond of the bus, one after the other: measured, a third of the walks' time.
class StopWord {
public:
    StopWord() : word_(1, stream_), host_(2) {
        host_.get()[0] = 0;
        host_.get()[1] = 1;
        write(0);
        stream_.wait();
    }

    const int* on_device() const { return word_.get(); }

    /// Let the walks to come begin.
    void clear() {
        write(0);
        stream_.wait();
    }

    /// Wait for a stream; when `stop` says so its walks end early.
    void wait(const Stream& stream, const StopFlag& stop) {
        constexpr std::chrono::microseconds between_questions{100};
        for (;;) {
            const cudaError_t status = cudaStreamQuery(stream.get());
            if (status != cudaErrorNotReady) {
                check(status, "cudaStreamQuery");
                return;
            }
            if (stop.stopped()) write(1);
            std::this_thread::sleep_for(between_questions);
        }
    }

private:
    void write(int value) {
        check(cudaMemcpyAsync(word_.get(), host_.get() + value, sizeof(int), cudaMemcpyHostToDevice,
                              stream_.get()),
              "cudaMemcpyAsync to the device");
    }

    Stream stream_;
    DeviceArray<int> word_;
    PinnedArray<int> host_;
};

/// Launches in flight, and the way of their figures to the caller's list.
class Returns {
public:
    explicit Returns(std::size_t size) : size_(size) {
        for (int i = 0; i < launches; ++i) slots_.push_back(std::make_unique<Slot>(size));
    }

    /// Figures of one launch, at the most.
    std::size_t size() const { return size_; }

    /// Where the next launch may write, on `stream()`; `out` gets what was there.
    SweepFigures* next(std::span<SweepFigures> out, StopWord& word, const StopFlag& stop) {
        current_ = (current_ + 1) % slots_.size();
        slots_[current_]->empty(out, word, stop);
        return slots_[current_]->device.get();
    }
    const Stream& stream() const { return slots_[current_]->stream; }
    /// The launch writes, next, the figures of `rule`.
    void expect(std::int32_t rule) { slots_[current_]->rules.push_back(rule); }
    void fetch() {
        Slot& slot = *slots_[current_];
        copy_to_host(slot.host.get(), slot.device.get(), slot.rules.size() * sizeof(SweepFigures),
                     slot.stream);
    }
    void finish(std::span<SweepFigures> out, StopWord& word, const StopFlag& stop) {
        for (const auto& slot : slots_) slot->empty(out, word, stop);
    }
    /// Forget what a call that failed left.
    void clear() {
        for (const auto& slot : slots_) {
            cudaStreamSynchronize(slot->stream.get());
            slot->rules.clear();
        }
    }

private:
    struct Slot {
        explicit Slot(std::size_t size) : device(size, stream), host(size) { rules.reserve(size); }
        void empty(std::span<SweepFigures> out, StopWord& word, const StopFlag& stop) {
            if (rules.empty()) return;
            word.wait(stream, stop);
            for (std::size_t i = 0; i < rules.size(); ++i) {
                out[static_cast<std::size_t>(rules[i])] = host.get()[i];
            }
            rules.clear();
        }
        Stream stream;
        DeviceArray<SweepFigures> device;
        PinnedArray<SweepFigures> host;
        std::vector<std::int32_t> rules;
    };

    std::size_t size_;
    std::vector<std::unique_ptr<Slot>> slots_;
    std::size_t current_ = 0;
};

/// One device with the bars on it. One call at a time, made while it is the current device.
class Device {
public:
    Device(int ordinal, const SweepBars& bars)
        : ordinal_(ordinal),
          size_(bars.size()),
          words_((bars.size() + 31) / 32),
          tick_(bars.tick),
          per_side_(bars.per_side) {
        const OnDevice here(ordinal);
        memory_ = std::make_unique<KeptMemory>(ordinal);
        stream_ = std::make_unique<Stream>();
        windows_ = std::make_unique<Windows>(*stream_);
        stop_word_ = std::make_unique<StopWord>();
        const std::size_t size = bars.open.size();
        std::vector<std::int32_t> gaps_until(size, 0);
        std::vector<std::int32_t> day_end(size, 0);
        std::int32_t gaps = 0;
        for (std::size_t i = 0; i < size; ++i) {
            gaps += !bars.gap.empty() && bars.gap[i] != 0;
            gaps_until[i] = gaps;
        }
        for (std::size_t i = size; i-- > 0;) {
            const bool last = i + 1 == size || bars.day[i + 1] != bars.day[i];
            day_end[i] = last ? static_cast<std::int32_t>(i + 1) : day_end[i + 1];
        }
        const std::initializer_list<const std::vector<std::int32_t>*> columns{
            &bars.open,    &bars.high, &bars.low,   &bars.close, &bars.bid_off,
            &bars.ask_off, &bars.day,  &gaps_until, &day_end};
        for (const auto* column : columns) {
            columns_.push_back(
                std::make_unique<DeviceArray<std::int32_t>>(view(*column), *stream_));
        }
        price_ = std::make_unique<DeviceArray<double>>(view(bars.price), *stream_);
        stream_->wait();
    }
    ~Device() {
        int before = 0;
        cudaGetDevice(&before);
        cudaSetDevice(ordinal_);
        returns_.reset();
        price_.reset();
        columns_.clear();
        windows_.reset();
        stop_word_.reset();
        cudaStreamSynchronize(stream_->get());
        stream_.reset();
        memory_.reset();
        cudaSetDevice(before);
    }
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    int ordinal() const { return ordinal_; }
    void trim() const { memory_->trim(); }
    std::int32_t size() const { return size_; }

    /// How many decisions and exits, and worlds of all of them, fit into `fraction` of the memory
    /// that is free.
    Shares shares(const Plan& plan, const SweepRules& rules, std::size_t worlds, bool with_paths,
                  double fraction) const {
        stream_->wait();  // so that what was freed counts as free
        const double free = memory_->free_bytes();
        const double room = fraction * free;
        const double bars = size_;
        const auto decisions = static_cast<double>(rules.decisions.size());
        const auto exits = static_cast<double>(rules.exits.size());
        const auto encodings = static_cast<double>(plan.encodings.size());
        const auto predicates = static_cast<double>(plan.predicate_count());
        const double world = with_paths ? 0.0 : 24.0 * bars + 8.0 * rules.rules.size();
        const double fixed = world + bars / 8 * (5 * encodings + predicates) + 4096;
        const double decision = 8.0 * words_;
        const double exit = 2.0 * bars * (with_paths ? sizeof(int4) + sizeof(int2) : sizeof(int2));
        Shares shares;
        const double whole = fixed + decisions * decision + exits * exit;
        if (whole <= room) {
            shares.decisions = static_cast<std::int32_t>(decisions);
            shares.exits = static_cast<std::int32_t>(std::min(exits, exits_max));
            shares.worlds = static_cast<std::int32_t>(
                std::clamp(room / whole, 1.0, std::min<double>(worlds, worlds_max)));
            return shares;
        }
        const double left = room - fixed;
        shares.exits =
            static_cast<std::int32_t>(std::clamp(left / 2 / exit, 1.0, std::min(exits, exits_max)));
        const double rest = (left - shares.exits * exit) / decision;
        if (rest < 1) {
            throw BackendError("backend cuda: " + std::to_string(size_) +
                               " bars are too many for the " +
                               std::to_string(std::llround(free / 0x1p20)) +
                               " MiB of device memory that are free");
        }
        shares.decisions = static_cast<std::int32_t>(std::min(rest, decisions));
        return shares;
    }

    /// What both kinds of calls hold on the device.
    class Work {
    public:
        Work(Device& device, const Plan& plan, const SweepRules& rules, Shares shares,
             bool with_paths)
            : Work(device, plan, Features(plan, *device.windows_), rules, shares, with_paths) {}

        Work(Device& device, const Plan& plan, const Features& features, const SweepRules& rules,
             Shares shares, bool with_paths)
            : device_(device),
              shares_(shares),
              words_(device.words_ + device.words_ % 2 + 2),
              features_(view(features.features), *device.stream_),
              questions_(view(features.predicates), *device.stream_),
              encodings_(view(plan.encodings), *device.stream_),
              gates_(view(plan.gates), *device.stream_),
              exits_(rules.exits.size(), *device.stream_),
              plans_(plan.decisions.size(), *device.stream_),
              predicate_count_(static_cast<std::int32_t>(plan.predicate_count())),
              feature_count_(static_cast<unsigned>(plan.features.size())),
              bits_(parts(plan) / 2, *device.stream_),
              joined_(parts(plan) / 2, *device.stream_),
              flat_(parts(plan) / 2, *device.stream_),
              emitted_(parts(plan), *device.stream_),
              bits_before_(parts(plan), *device.stream_),
              predicates_(
                  worlds() * static_cast<std::size_t>(device.words_) * plan.predicate_count(),
                  *device.stream_),
              decided_(worlds() * static_cast<std::size_t>(device.words_) *
                           static_cast<std::size_t>(shares.decisions),
                       *device.stream_),
              paths_(with_paths ? table_size() : 0, *device.stream_),
              rests_(table_size(), *device.stream_),
              encoding_count_(static_cast<unsigned>(plan.encodings.size())) {
            device.stream_->wait();
        }

        /// Answer all questions at all bars of `count` worlds.
        void answer(const double* price, std::int32_t count) {
            const Device& d = device_;
            const cudaStream_t stream = d.stream_->get();
            const std::size_t bytes =
                static_cast<std::size_t>(count) * encoding_count_ * words_ * sizeof(std::uint32_t);
            check(cudaMemsetAsync(bits_.get(), 0, bytes, stream), "cudaMemsetAsync");
            check(cudaMemsetAsync(joined_.get(), 0, bytes, stream), "cudaMemsetAsync");
            const WorldBits bits{bits_.get(),    joined_.get(),      flat_.get(),
                                 emitted_.get(), bits_before_.get(), words_};
            const auto worlds = static_cast<unsigned>(count);
            encode_kernel<<<dim3(worlds, encoding_count_), scan_threads, 0, stream>>>(
                {price, d.gaps_until(), encodings_.get(), d.tick_, d.size_, bits});
            check(cudaGetLastError(), "encode_kernel");
            const unsigned blocks = blocks_of(static_cast<std::size_t>(d.size_), predicate_threads);
            predicate_kernel<<<dim3(blocks, feature_count_, worlds), predicate_threads, 0,
                               stream>>>({bits, features_.get(), questions_.get(),
                                          static_cast<std::int32_t>(encoding_count_), d.size_,
                                          predicate_count_, predicates_.get()});
            check(cudaGetLastError(), "predicate_kernel");
        }

        /// How often each decision of `plan` decides in the first world.
        std::vector<std::int32_t> signals(const Plan& plan) {
            const Stream& stream = *device_.stream_;
            const DeviceArray<std::int32_t> counts(plan.decisions.size(), stream);
            check(cudaMemsetAsync(counts.get(), 0, plan.decisions.size() * sizeof(std::int32_t),
                                  stream.get()),
                  "cudaMemsetAsync");
            take_plans(plan.decisions);
            const DecisionArgs args =
                decision_args(static_cast<std::int32_t>(plan.decisions.size()));
            signal_kernel<<<decision_grid(args, 1), decision_threads, 0, stream.get()>>>(
                args, counts.get());
            check(cudaGetLastError(), "signal_kernel");
            std::vector<std::int32_t> host(plan.decisions.size());
            copy_to_host(host.data(), counts.get(), host.size() * sizeof(std::int32_t), stream);
            stream.wait();
            return host;
        }

        /// Make the decisions of a part of `walks`, from number `first` on.
        void decide(const Plan& plan, const Walks& walks, std::int32_t first, std::int32_t count) {
            const auto end = std::min(static_cast<std::size_t>(first + shares_.decisions),
                                      walks.decisions.size());
            std::vector<DecisionPlan> plans;
            for (auto i = static_cast<std::size_t>(first); i < end; ++i) {
                plans.push_back(plan.decisions[static_cast<std::size_t>(walks.decisions[i])]);
            }
            take_plans(plans);
            const DecisionArgs args = decision_args(static_cast<std::int32_t>(plans.size()));
            decision_kernel<<<decision_grid(args, count), decision_threads, 0,
                              device_.stream_->get()>>>(args, decided_.get());
            check(cudaGetLastError(), "decision_kernel");
            decision_count_ = args.decisions;
        }

        /// Make the outcomes of a part of `walks`, from exit `first` on.
        template <bool with_paths>
        void settle(const SweepRules& rules, const Walks& walks, std::int32_t first, BarsView bars,
                    std::int32_t count, std::int32_t* largest) {
            const auto end =
                std::min(static_cast<std::size_t>(first + shares_.exits), walks.exits.size());
            host_exits_.clear();
            for (auto i = static_cast<std::size_t>(first); i < end; ++i) {
                host_exits_.push_back(rules.exits[static_cast<std::size_t>(walks.exits[i])]);
            }
            exit_count_ = static_cast<std::int32_t>(host_exits_.size());
            const Stream& stream = *device_.stream_;
            check(cudaMemcpyAsync(exits_.get(), host_exits_.data(),
                                  host_exits_.size() * sizeof(ExitSpec), cudaMemcpyHostToDevice,
                                  stream.get()),
                  "cudaMemcpyAsync to the device");
            const dim3 grid(blocks_of(static_cast<std::size_t>(device_.size_), outcome_threads),
                            static_cast<unsigned>(2 * exit_count_), static_cast<unsigned>(count));
            outcome_kernel<with_paths><<<grid, outcome_threads, 0, stream.get()>>>(
                {bars, exits_.get(), {paths_.get(), rests_.get()}, largest});
            check(cudaGetLastError(), "outcome_kernel");
        }

        WalkArgs walk_args(const Segment* segments, const WalkRule* rules) const {
            WalkArgs args{};
            args.decisions = decided_.get();
            args.tables = {paths_.get(), rests_.get()};
            args.day = device_.day();
            args.day_end = device_.day_end();
            args.segments = segments;
            args.rules = rules;
            args.bars = device_.size_;
            args.words = device_.words_;
            args.decision_count = decision_count_;
            args.exit_count = exit_count_;
            args.stop = device_.stop_word_->on_device();
            return args;
        }

    private:
        std::size_t worlds() const { return static_cast<std::size_t>(shares_.worlds); }
        std::size_t parts(const Plan& plan) const {
            return worlds() * plan.encodings.size() * static_cast<std::size_t>(words_);
        }
        std::size_t table_size() const {
            return worlds() * static_cast<std::size_t>(shares_.exits) * 2 *
                   static_cast<std::size_t>(device_.size_);
        }
        void take_plans(const std::vector<DecisionPlan>& plans) {
            check(cudaMemcpyAsync(plans_.get(), plans.data(), plans.size() * sizeof(DecisionPlan),
                                  cudaMemcpyHostToDevice, device_.stream_->get()),
                  "cudaMemcpyAsync to the device");
            device_.stream_->wait();  // `plans` may go away
        }
        DecisionArgs decision_args(std::int32_t count) const {
            const std::int32_t words = device_.words_;
            return {predicates_.get(),
                    plans_.get(),
                    gates_.get(),
                    words,
                    predicate_count_,
                    count,
                    std::max(16, words / 60'000 + 1)};
        }
        static dim3 decision_grid(const DecisionArgs& args, std::int32_t worlds) {
            return dim3(blocks_of(static_cast<std::size_t>(args.decisions), decision_threads),
                        blocks_of(static_cast<std::size_t>(args.words), args.words_per_thread),
                        static_cast<unsigned>(worlds));
        }

        Device& device_;
        Shares shares_;
        std::int32_t words_;  ///< of a part of the bits
        DeviceArray<Feature> features_;
        DeviceArray<Predicate> questions_;
        DeviceArray<Encoding> encodings_;
        DeviceArray<std::int32_t> gates_;
        DeviceArray<ExitSpec> exits_;
        DeviceArray<DecisionPlan> plans_;
        std::int32_t predicate_count_;
        unsigned feature_count_;
        DeviceArray<std::uint64_t> bits_;
        DeviceArray<std::uint64_t> joined_;
        DeviceArray<std::uint64_t> flat_;
        DeviceArray<std::uint32_t> emitted_;
        DeviceArray<std::uint32_t> bits_before_;
        DeviceArray<std::uint32_t> predicates_;
        DeviceArray<uint2> decided_;
        DeviceArray<int4> paths_;
        DeviceArray<int2> rests_;
        unsigned encoding_count_;
        std::vector<ExitSpec> host_exits_;
        std::int32_t decision_count_ = 0;
        std::int32_t exit_count_ = 0;
    };

    /// The work of a call, with all questions answered on the bars themselves.
    std::unique_ptr<Work> begin(const Plan& plan, const SweepRules& rules, Shares shares,
                                bool with_paths) {
        auto work = std::make_unique<Work>(*this, plan, rules, shares, with_paths);
        work->answer(price_->get(), 1);
        return work;
    }

    /// The figures of every `step`-th segment of `walks`, from segment `first` on.
    void figures(Work& work, const Plan& plan, const SweepRules& rules, const Walks& walks,
                 std::size_t first, std::size_t step, std::span<SweepFigures> out,
                 const StopFlag& stop) {
        const Stream& stream = *stream_;
        const DeviceArray<WalkRule> walk_rules(view(walks.rules), stream);
        const DeviceArray<std::int32_t> signals(view(walks.signals), stream);
        const DeviceArray<std::int32_t> largest(1, stream);
        const std::size_t launch_rules =
            std::min(launch_rules_max, walks.rules.size() + walk_threads);
        if (!returns_ || returns_->size() < launch_rules) {
            returns_.reset();
            returns_ = std::make_unique<Returns>(launch_rules);
        }
        Returns& returns = *returns_;
        returns.clear();
        stop_word_->clear();
        std::int32_t decided = -1;
        std::size_t number = 0;
        for (const Walks::Part& part : walks.parts) {
            std::vector<Segment> mine;
            for (const Segment& segment : part.segments) {
                if (number++ % step == first) mine.push_back(segment);
            }
            if (mine.empty()) continue;
            if (decided != part.decisions_first) {
                work.decide(plan, walks, part.decisions_first, 1);
                decided = part.decisions_first;
            }
            check(cudaMemsetAsync(largest.get(), 0, sizeof(std::int32_t), stream.get()),
                  "cudaMemsetAsync");
            work.settle<true>(rules, walks, part.exits_first, bars(), 1, largest.get());
            std::int32_t size = 0;
            copy_to_host(&size, largest.get(), sizeof(size), stream);
            stream.wait();
            // Every sum is one of at most as many parts as there are bars.
            const bool narrow = static_cast<double>(size) * size_ < 0x1p31;
            std::vector<std::size_t> begins{0};
            std::int32_t place = 0;
            for (std::size_t i = 0; i < mine.size(); ++i) {
                if (static_cast<std::size_t>(place + mine[i].count) > launch_rules) {
                    begins.push_back(i);
                    place = 0;
                }
                mine[i].place = place;
                place += mine[i].count;
            }
            begins.push_back(mine.size());
            const DeviceArray<Segment> segments(view(mine), stream);
            stream.wait();
            for (std::size_t i = 0; i + 1 < begins.size() && !stop.stopped(); ++i) {
                WalkArgs args = work.walk_args(segments.get() + begins[i], walk_rules.get());
                args.signals = signals.get() + part.decisions_first;
                args.figures = returns.next(out, *stop_word_, stop);
                const auto grid = static_cast<unsigned>(begins[i + 1] - begins[i]);
                const cudaStream_t on = returns.stream().get();
                if (narrow) {
                    walk_kernel<Figures<std::int32_t>><<<grid, walk_threads, 0, on>>>(args);
                } else {
                    walk_kernel<Figures<std::int64_t>><<<grid, walk_threads, 0, on>>>(args);
                }
                check(cudaGetLastError(), "walk_kernel");
                for (std::size_t k = begins[i]; k < begins[i + 1]; ++k) {
                    for (std::int32_t rule = 0; rule < mine[k].count; ++rule) {
                        returns.expect(
                            walks.rules[static_cast<std::size_t>(mine[k].first + rule)].rule);
                    }
                }
                returns.fetch();
            }
            // What the walks read is made anew, or goes away.
            returns.finish(out, *stop_word_, stop);
            if (stop.stopped()) return;
        }
    }

    /// The best rule of surrogates `first` and on.
    void best(Work& work, const Plan& plan, const SweepRules& rules, const Walks& walks,
              Shares shares, const SurrogateSpec& surrogates, std::uint64_t first,
              Statistic statistic, std::span<SurrogateBest> out, const StopFlag& stop) {
        const Stream& stream = *stream_;
        const auto size = static_cast<std::size_t>(size_);
        const auto worlds = static_cast<std::size_t>(shares.worlds);
        const DeviceArray<std::int32_t> open(worlds * size, stream);
        const DeviceArray<std::int32_t> high(worlds * size, stream);
        const DeviceArray<std::int32_t> low(worlds * size, stream);
        const DeviceArray<std::int32_t> close(worlds * size, stream);
        const DeviceArray<double> price(worlds * size, stream);
        const DeviceArray<double> statistics(worlds * rules.rules.size(), stream);
        const DeviceArray<SurrogateBest> found(worlds, stream);
        const DeviceArray<WalkRule> walk_rules(view(walks.rules), stream);
        const DeviceArray<std::int32_t> refused(1, stream);
        check(cudaMemsetAsync(refused.get(), 0, sizeof(std::int32_t), stream.get()),
              "cudaMemsetAsync");
        std::vector<std::unique_ptr<DeviceArray<Segment>>> segments;
        for (const Walks::Part& part : walks.parts) {
            segments.push_back(std::make_unique<DeviceArray<Segment>>(view(part.segments), stream));
        }
        BarsView of_worlds = bars();
        of_worlds.open = open.get();
        of_worlds.high = high.get();
        of_worlds.low = low.get();
        of_worlds.close = close.get();
        stop_word_->clear();
        std::int32_t decided = -1;
        for (std::size_t at = 0; at < out.size() && !stop.stopped(); at += worlds) {
            const auto count = static_cast<std::int32_t>(std::min(worlds, out.size() - at));
            const SurrogateArgs args{bars(),
                                     surrogates,
                                     static_cast<std::int64_t>(std::nearbyint(surrogates.block)),
                                     first + at,
                                     tick_,
                                     {open.get(), high.get(), low.get(), close.get(), price.get()},
                                     refused.get()};
            surrogate_kernel<<<static_cast<unsigned>(count), scan_threads, 0, stream.get()>>>(args);
            check(cudaGetLastError(), "surrogate_kernel");
            work.answer(price.get(), count);
            decided = -1;
            for (std::size_t i = 0; i < walks.parts.size(); ++i) {
                const Walks::Part& part = walks.parts[i];
                if (decided != part.decisions_first) {
                    work.decide(plan, walks, part.decisions_first, count);
                    decided = part.decisions_first;
                }
                work.settle<false>(rules, walks, part.exits_first, of_worlds, count, nullptr);
                WalkArgs walk = work.walk_args(segments[i]->get(), walk_rules.get());
                walk.statistic = statistic;
                walk.statistics = statistics.get();
                walk.rule_count = static_cast<std::int32_t>(rules.rules.size());
                const dim3 grid(static_cast<unsigned>(part.segments.size()),
                                static_cast<unsigned>(count));
                walk_kernel<NetOnly><<<grid, walk_threads, 0, stream.get()>>>(walk);
                check(cudaGetLastError(), "walk_kernel");
            }
            best_kernel<<<static_cast<unsigned>(count), 256, 0, stream.get()>>>(
                statistics.get(), static_cast<std::int32_t>(rules.rules.size()), found.get());
            check(cudaGetLastError(), "best_kernel");
            copy_to_host(out.data() + at, found.get(),
                         static_cast<std::size_t>(count) * sizeof(SurrogateBest), stream);
            std::int32_t why = 0;
            copy_to_host(&why, refused.get(), sizeof(why), stream);
            stop_word_->wait(stream, stop);
            if (why == 1) {
                throw InvalidArgument(
                    "a surrogate of these bars leaves the range of prices below " +
                    std::to_string(sweep_price_max) + " ticks; use a coarser tick");
            }
            if (why == 2) {
                throw InvalidArgument(
                    "the path of prices and costs must be below 3e9 ticks, so that squares of "
                    "daily sums fit 63 bits; use a coarser tick or fewer bars");
            }
        }
    }

private:
    static constexpr double exits_max = 30'000;   // two rows each in the second dimension of a grid
    static constexpr double worlds_max = 60'000;  // a row each in its third

    BarsView bars() const {
        return {column(0), column(1), column(2), column(3), column(4),
                column(5), column(6), per_side_, size_};
    }
    const std::int32_t* day() const { return column(6); }
    const std::int32_t* gaps_until() const { return column(7); }
    const std::int32_t* day_end() const { return column(8); }
    const std::int32_t* column(std::size_t place) const { return columns_[place]->get(); }

    int ordinal_;
    std::int32_t size_;
    std::int32_t words_;
    double tick_;
    std::int32_t per_side_;
    std::unique_ptr<KeptMemory> memory_;
    std::unique_ptr<Stream> stream_;
    std::unique_ptr<Windows> windows_;
    std::unique_ptr<StopWord> stop_word_;
    std::vector<std::unique_ptr<DeviceArray<std::int32_t>>> columns_;
    std::unique_ptr<DeviceArray<double>> price_;
    std::unique_ptr<Returns> returns_;
};

/// Asks on behalf of one device: a failure on another stops it too.
class SharedStop final : public StopFlag {
public:
    SharedStop(const StopFlag& caller, const std::atomic<bool>& failed)
        : caller_(caller), failed_(failed) {}
    bool stopped() const override { return failed_.load() || caller_.stopped(); }

private:
    const StopFlag& caller_;
    const std::atomic<bool>& failed_;
};

class Sweep final : public SweepBackend {
public:
    explicit Sweep(const SweepBars& bars) {
        int count = 0;
        check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
        for (int i = 0; i < count; ++i) devices_.push_back(std::make_unique<Device>(i, bars));
    }

    void figures(const SweepRules& rules, std::span<SweepFigures> out,
                 const StopFlag& stop) override {
        if (rules.rules.empty()) return;
        if (devices_[0]->size() == 0) {
            std::fill(out.begin(), out.end(), SweepFigures{});
            return;
        }
        const Plan plan(rules);
        in_less_and_less_memory([&](double fraction) {
            const Shares taken = shares(plan, rules, 1, true, fraction);
            Works works = begin(devices_.size(), plan, rules, taken, true, stop);
            const Walks walks = walks_of(rules, signals(plan, works), taken);
            on_all(devices_.size(), stop, [&](std::size_t i, const StopFlag& flag) {
                const std::unique_ptr<Device::Work> work = std::move(works[i]);
                devices_[i]->figures(*work, plan, rules, walks, i, devices_.size(), out, flag);
            });
        });
    }

    void best(const SweepRules& rules, const SurrogateSpec& surrogates, std::uint64_t first,
              Statistic statistic, std::span<SurrogateBest> out, const StopFlag& stop) override {
        if (out.empty()) return;
        if (!(surrogates.block >= 1)) {
            throw InvalidArgument("block must be >= 1, was " + std::to_string(surrogates.block));
        }
        if (rules.rules.empty() || devices_[0]->size() == 0) {
            const double nothing = statistic == Statistic::net && !rules.rules.empty()
                                       ? 0.0
                                       : -std::numeric_limits<double>::infinity();
            std::fill(out.begin(), out.end(), SurrogateBest{nothing, 0});
            return;
        }
        const Plan plan(rules);
        const std::size_t devices = std::min(devices_.size(), out.size());
        const std::size_t share = (out.size() + devices - 1) / devices;
        const double work =
            static_cast<double>(devices_[0]->size()) * static_cast<double>(rules.rules.size());
        const auto worlds = static_cast<std::size_t>(
            std::clamp(batch_work / work, 1.0, static_cast<double>(share)));
        in_less_and_less_memory([&](double fraction) {
            const Shares taken = shares(plan, rules, worlds, false, fraction);
            Works works = begin(devices, plan, rules, taken, false, stop);
            const Walks walks = walks_of(rules, signals(plan, works), taken);
            on_all(devices, stop, [&](std::size_t i, const StopFlag& flag) {
                const std::unique_ptr<Device::Work> work = std::move(works[i]);
                const std::size_t from = std::min(i * share, out.size());
                const std::size_t count = std::min(share, out.size() - from);
                devices_[i]->best(*work, plan, rules, walks, taken, surrogates, first + from,
                                  statistic, out.subspan(from, count), flag);
            });
        });
    }

private:
    using Works = std::vector<std::unique_ptr<Device::Work>>;

    Works begin(std::size_t devices, const Plan& plan, const SweepRules& rules, Shares shares,
                bool with_paths, const StopFlag& stop) const {
        Works works(devices);
        on_all(devices, stop, [&](std::size_t i, const StopFlag&) {
            works[i] = devices_[i]->begin(plan, rules, shares, with_paths);
        });
        return works;
    }

    std::vector<std::int32_t> signals(const Plan& plan, const Works& works) const {
        const OnDevice here(devices_[0]->ordinal());
        return works[0]->signals(plan);
    }

    /// What fits on every device.
    Shares shares(const Plan& plan, const SweepRules& rules, std::size_t worlds, bool with_paths,
                  double fraction) const {
        Shares least;
        for (const auto& device : devices_) {
            const OnDevice here(device->ordinal());
            const Shares fit = device->shares(plan, rules, worlds, with_paths, fraction);
            const bool first = least.decisions == 0;
            least.decisions = first ? fit.decisions : std::min(least.decisions, fit.decisions);
            least.exits = first ? fit.exits : std::min(least.exits, fit.exits);
            least.worlds = first ? fit.worlds : std::min(least.worlds, fit.worlds);
        }
        return least;
    }

    /// Others may take memory between the question how much is free and its use: ask for less, a
    /// few times.
    template <class Call>
    void in_less_and_less_memory(const Call& call) const {
        constexpr double least = 0.1;
        for (double fraction = 0.8;; fraction /= 2) {
            try {
                call(fraction);
                return;
            } catch (const OutOfMemory&) {
                if (fraction / 2 < least) throw;
                for (const auto& device : devices_) device->trim();
            }
        }
    }

    /// Call `work` for every device on a thread of its own, and throw what the first to fail threw.
    template <class Call>
    void on_all(std::size_t devices, const StopFlag& stop, const Call& work) const {
        std::atomic<bool> failed{false};
        const SharedStop flag(stop, failed);
        std::vector<std::exception_ptr> thrown(devices);
        const auto run = [&](std::size_t i) {
            try {
                const OnDevice here(devices_[i]->ordinal());
                work(i, flag);
            } catch (...) {  // handed over, not swallowed
                thrown[i] = std::current_exception();
                failed = true;
            }
        };
        {
            std::vector<std::jthread> others;
            for (std::size_t i = 1; i < devices; ++i) others.emplace_back(run, i);
            run(0);
        }
        for (const std::exception_ptr& error : thrown) {
            if (error) std::rethrow_exception(error);
        }
    }

    std::vector<std::unique_ptr<Device>> devices_;
};

}  // namespace

std::unique_ptr<SweepBackend> make_sweep(const SweepBars& bars) {
    return std::make_unique<Sweep>(bars);
}

}  // namespace sep::cuda
