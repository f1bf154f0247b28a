#pragma once

#include <cstdint>

#include "sep/sweep.hpp"

/// Worlds on a device: surrogates of the bars, their bits, and what decisions are made of.
///
/// A row of 32 bars is a word of 32 bits, the lowest of the first bar; a warp makes it.
namespace sep::cuda {

constexpr int scan_threads = 1024;
constexpr int scan_warps = scan_threads / 32;
// Of the path of prices and costs, as `check` has it: squares of its sums fit 63 bits.
constexpr std::int64_t sweep_path_end = 3'000'000'000;

/// Prices of several worlds, world by world, `size` values each.
struct WorldPrices {
    std::int32_t* open;
    std::int32_t* high;
    std::int32_t* low;
    std::int32_t* close;
    double* price;  ///< closes as decisions see them
};

/// Bits of several worlds in several encodings: part `world * encodings + place`.
struct WorldBits {
    std::uint64_t* bits;
    std::uint64_t* joined;
    std::uint64_t* flat;         ///< by price
    std::uint32_t* emitted;      ///< by price
    std::uint32_t* bits_before;  ///< bits before each word of `emitted`
    std::int32_t words;          ///< of 32 bars or bits, even, in a part
    /// Flags of wrong predictions by bit: part `world * windows with predictions + place`.
    std::uint64_t* errors;
};

/// Sum of the values of the lanes before this one; `sum` becomes that of all.
__device__ inline std::int64_t warp_scan(std::int64_t value, int lane, std::int64_t& sum) {
    std::int64_t scanned = value;
    for (int step = 1; step < 32; step *= 2) {
        const std::int64_t other = __shfl_up_sync(~0U, scanned, step);
        if (lane >= step) scanned += other;
    }
    sum = __shfl_sync(~0U, scanned, 31);
    return scanned - value;
}

/// The values of all lanes, put together.
__device__ inline std::uint32_t warp_or(std::uint32_t value) {
    for (int step = 16; step > 0; step /= 2) value |= __shfl_xor_sync(~0U, value, step);
    return value;
}

/// Largest of the values of the lanes up to this one.
__device__ inline std::int32_t warp_largest(std::int32_t value, int lane) {
    for (int step = 1; step < 32; step *= 2) {
        const std::int32_t other = __shfl_up_sync(~0U, value, step);
        if (lane >= step) value = max(value, other);
    }
    return value;
}

/// The same over the threads of a block. `before` is the largest so far and becomes that up to the
/// end of the block; `exclusive` is the largest of the threads before and `before`.
__device__ inline std::int32_t block_largest(std::int32_t value, std::int32_t (&shared)[scan_warps],
                                             std::int32_t& before, std::int32_t& exclusive) {
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    std::int32_t inclusive = warp_largest(value, lane);
    if (lane == 31) shared[warp] = inclusive;
    __syncthreads();
    std::int32_t all = lane < scan_warps ? shared[lane] : INT32_MIN;
    all = warp_largest(all, lane);
    std::int32_t earlier = __shfl_sync(~0U, all, warp == 0 ? 0 : warp - 1);
    earlier = warp == 0 ? before : max(earlier, before);
    std::int32_t left = __shfl_up_sync(~0U, inclusive, 1);
    exclusive = lane == 0 ? earlier : max(left, earlier);
    before = max(before, __shfl_sync(~0U, all, 31));
    __syncthreads();
    return max(inclusive, earlier);
}

/// Sum of the values of the threads before this one, and of all in `total`.
__device__ inline std::int64_t block_scan(std::int64_t value, std::int64_t (&shared)[scan_warps],
                                          std::int64_t& total) {
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    std::int64_t sum = 0;
    const std::int64_t in_warp = warp_scan(value, lane, sum);
    if (lane == 0) shared[warp] = sum;
    __syncthreads();
    const std::int64_t of_warp = lane < scan_warps ? shared[lane] : 0;
    const std::int64_t scanned = warp_scan(of_warp, lane, total);
    const std::int64_t earlier = __shfl_sync(~0U, scanned, warp);
    __syncthreads();
    return earlier + in_warp;
}

struct SurrogateArgs {
    BarsView bars;  ///< of the world that the surrogates are of
    SurrogateSpec spec;
    std::int64_t block;  ///< fixed length, of kind circular
    std::uint64_t first;
    double tick;
    WorldPrices out;
    std::int32_t* refused;  ///< set to 1: a price leaves its range, 2: the path is too long
};

/// The bar, of the bars themselves, that surrogate bar `i` is made of; -1 - bar: mirrored.
/// `start` is where its block starts, of the kinds with blocks.
__device__ inline std::int32_t source_of(const SurrogateArgs& a, std::uint64_t index,
                                         std::int32_t i, std::int32_t start) {
    if (a.spec.kind == SurrogateKind::sign) {
        const std::uint64_t word =
            surrogate_word(a.spec.seed, index, static_cast<std::uint64_t>(i) / 64);
        return word >> (i % 64) & 1 ? i : -1 - i;
    }
    const auto count = static_cast<std::uint64_t>(a.bars.size);
    const std::uint64_t word =
        surrogate_word(a.spec.seed, index, static_cast<std::uint64_t>(start));
    const std::uint64_t from = (word >> 32) * count >> 32;
    return static_cast<std::int32_t>((from + static_cast<std::uint64_t>(i - start)) % count);
}

// Block w makes surrogate first + w, thread by thread a bar, 1,024 bars at a time.
__global__ void __launch_bounds__(scan_threads) surrogate_kernel(SurrogateArgs a) {
    __shared__ std::int64_t sums[scan_warps];
    __shared__ std::int32_t largest[scan_warps];
    __shared__ std::int64_t extremes[3][scan_warps];
    const std::uint64_t index = a.first + blockIdx.x;
    const std::size_t part = static_cast<std::size_t>(blockIdx.x) * a.bars.size;
    const BarsView& bars = a.bars;
    const std::int32_t size = bars.size;
    std::int32_t start_before = 0;
    std::int64_t close_before = bars.open[0];
    std::int64_t lowest = INT64_MAX;
    std::int64_t highest = INT64_MIN;
    std::int64_t path = 0;
    for (std::int32_t base = 0; base < size; base += scan_threads) {
        const std::int32_t i = base + static_cast<std::int32_t>(threadIdx.x);
        std::int32_t start = 0;
        if (a.spec.kind == SurrogateKind::stationary) {
            std::int32_t begin = 0;
            if (i < size) {
                const std::uint64_t word =
                    surrogate_word(a.spec.seed, index, static_cast<std::uint64_t>(size) + i);
                const double uniform = static_cast<double>(word >> 11) * 0x1p-53;
                if (uniform < 1.0 / a.spec.block) begin = i;
            }
            std::int32_t earlier = 0;
            start = block_largest(begin, largest, start_before, earlier);
        } else if (a.spec.kind == SurrogateKind::circular) {
            start = static_cast<std::int32_t>(i - i % a.block);
        }
        std::int32_t row[4] = {};
        if (i < size) {
            const std::int32_t source = source_of(a, index, i, start);
            const std::int32_t bar = source < 0 ? -1 - source : source;
            const std::int32_t before = bar == 0 ? bars.open[0] : bars.close[bar - 1];
            row[0] = bars.open[bar] - before;
            row[1] = bars.high[bar] - before;
            row[2] = bars.low[bar] - before;
            row[3] = bars.close[bar] - before;
            if (source < 0) {
                const std::int32_t high = row[1];
                row[0] = -row[0];
                row[1] = -row[2];
                row[2] = -high;
                row[3] = -row[3];
            }
        }
        std::int64_t total = 0;
        const std::int64_t before = close_before + block_scan(row[3], sums, total);
        close_before += total;
        if (i >= size) continue;
        path += (i == 0 ? 0 : abs(static_cast<std::int64_t>(row[0]))) +
                2 * abs(static_cast<std::int64_t>(row[1]) - row[2]) + bars.bid_off[i] +
                bars.ask_off[i] + 2 * static_cast<std::int64_t>(bars.per_side);
        std::int32_t* const out[4] = {a.out.open, a.out.high, a.out.low, a.out.close};
        for (int k = 0; k < 4; ++k) {
            const std::int64_t price = before + row[k];
            lowest = min(lowest, price);
            highest = max(highest, price);
            out[k][part + i] = static_cast<std::int32_t>(price);
        }
    }
    for (int step = 16; step > 0; step /= 2) {
        lowest = min(lowest, __shfl_down_sync(~0U, lowest, step));
        highest = max(highest, __shfl_down_sync(~0U, highest, step));
        path += __shfl_down_sync(~0U, path, step);
    }
    if (threadIdx.x % 32 == 0) {
        extremes[0][threadIdx.x / 32] = lowest;
        extremes[1][threadIdx.x / 32] = highest;
        extremes[2][threadIdx.x / 32] = path;
    }
    __syncthreads();
    path = 0;
    for (int warp = 0; warp < scan_warps; ++warp) {
        lowest = min(lowest, extremes[0][warp]);
        highest = max(highest, extremes[1][warp]);
        path += extremes[2][warp];
    }
    // Prices that would come below one tick are lifted, all of them.
    const std::int64_t lift = lowest < 1 ? 1 - lowest : 0;
    if (highest + lift >= sweep_price_max || path >= sweep_path_end) {
        if (threadIdx.x == 0) *a.refused = highest + lift >= sweep_price_max ? 1 : 2;
        return;
    }
    for (std::int32_t i = threadIdx.x; i < size; i += scan_threads) {
        if (lift > 0) {
            const auto up = static_cast<std::int32_t>(lift);
            a.out.open[part + i] += up;
            a.out.high[part + i] += up;
            a.out.low[part + i] += up;
            a.out.close[part + i] += up;
        }
        a.out.price[part + i] = static_cast<double>(a.out.close[part + i]) * a.tick;
    }
}

struct EncodeArgs {
    const double* price;             ///< of all worlds
    const std::int32_t* gaps_until;  ///< gaps before this bar or an earlier one
    const Encoding* encodings;
    double tick;
    std::int32_t size;
    WorldBits out;
};

/// Put the bits of the lanes that have one side by side into `words`, from bit `position` on.
__device__ inline void append_bits(std::uint32_t* words, std::uint32_t position, bool has, bool bit,
                                   int lane) {
    const std::uint32_t first = __shfl_sync(~0U, position, 0) / 32;
    const std::uint32_t value = has && bit ? 1U << (position % 32) : 0;
    const bool in_first = position / 32 == first;
    const std::uint32_t low = warp_or(in_first ? value : 0);
    const std::uint32_t high = warp_or(in_first ? 0 : value);
    if (lane == 0 && low != 0) atomicOr(&words[first], low);
    if (lane == 1 && high != 0) atomicOr(&words[first + 1], high);
}

// Block (w, e) encodes world w with encoding e, thread by thread a bar; `advance` in
// cpp/src/encode.cpp says what a bar adds. `out` holds zeros before.
__global__ void __launch_bounds__(scan_threads) encode_kernel(EncodeArgs a) {
    __shared__ std::int64_t sums[scan_warps];
    __shared__ std::int32_t largest[scan_warps];
    const Encoding encoding = a.encodings[blockIdx.y];
    const double* price = a.price + static_cast<std::size_t>(blockIdx.x) * a.size;
    const std::size_t part = static_cast<std::size_t>(blockIdx.x) * gridDim.y + blockIdx.y;
    const std::size_t words = static_cast<std::size_t>(a.out.words);
    auto* const bits = reinterpret_cast<std::uint32_t*>(a.out.bits) + part * words;
    auto* const joined = reinterpret_cast<std::uint32_t*>(a.out.joined) + part * words;
    auto* const flats = reinterpret_cast<std::uint32_t*>(a.out.flat) + part * words;
    std::uint32_t* const emitted = a.out.emitted + part * words;
    std::uint32_t* const bits_before = a.out.bits_before + part * words;
    const int lane = threadIdx.x % 32;
    std::int32_t event_before = -1;  // twice the newest bar with an event, plus 1 if it was a rise
    std::int64_t count = 0;
    for (std::int32_t base = 0; base < a.size; base += scan_threads) {
        const std::int32_t i = base + static_cast<std::int32_t>(threadIdx.x);
        bool flat = false;
        bool event = false;
        bool up = false;
        if (i > 0 && i < a.size) {
            const double now = price[i];
            const double before = price[i - 1];
            const double ticks = rint(now / a.tick);
            const double ticks_before = rint(before / a.tick);
            flat = ticks == ticks_before;
            event = !flat;
            up = ticks > ticks_before;
            if (encoding == Encoding::strict_up) {
                event = true;
                up = now > before;
            } else if (encoding == Encoding::pip_trunc_carry) {
                const double whole = trunc((now - before) / a.tick);
                flat = now == before;
                event = whole != 0;
                up = whole > 0;
            }
        }
        std::int32_t earlier = 0;
        const std::int32_t newest =
            block_largest(event ? 2 * i + (up ? 1 : 0) : -1, largest, event_before, earlier);
        bool has = event;
        if (encoding == Encoding::tick_carry) has = newest >= 0 && i < a.size;
        if (encoding == Encoding::pip_trunc_carry) has = i > 0 && i < a.size;
        const bool bit = newest >= 0 && newest % 2 == 1;
        std::int32_t last = -1;  // the bar of the bit before
        if (encoding == Encoding::moves) {
            last = earlier < 0 ? -1 : earlier / 2;
        } else if (encoding == Encoding::tick_carry) {
            last = earlier < 0 ? -1 : i - 1;
        } else {
            last = i > 1 ? i - 1 : -1;
        }
        const bool join = has && last >= 0 && a.gaps_until[i] == a.gaps_until[last];
        std::int64_t total = 0;
        const auto position =
            static_cast<std::uint32_t>(count + block_scan(has ? 1 : 0, sums, total));
        count += total;
        const std::uint32_t all = __ballot_sync(~0U, has);
        const std::uint32_t flat_word = __ballot_sync(~0U, flat);
        append_bits(bits, position, has, bit, lane);
        append_bits(joined, position, has, join, lane);
        if (lane == 0 && i < a.size) {
            emitted[i / 32] = all;
            bits_before[i / 32] = position;
            flats[i / 32] = flat_word;
        }
    }
}

enum class Test : std::int32_t {
    bit,      ///< the bit of the bar is `high`
    run,      ///< it is, and equals the bit before, joined to it
    balance,  ///< above 0 if `high` is 1, else below
    damped,   ///< likewise
    gate,
};

/// A question that has a yes or no at every bar.
struct Predicate {
    Test test;
    GateSpec gate;
    bool rise;  ///< of all but gates
};

/// An encoding and window, with the predicates on it.
struct Feature {
    WindowSpec spec;
    TableView tables;
    std::int32_t encoding;  ///< place in the list of encodings
    std::int32_t first;     ///< of its predicates
    std::int32_t count;
    std::int32_t errors;  ///< place among the windows with predictions; -1: none are asked for
};

struct ErrorArgs {
    WorldBits bits;
    const Feature* features;
    std::int32_t encodings;
    std::int32_t size;         ///< bars
    std::int32_t error_count;  ///< windows with predictions
};

// Thread i of blocks x compares bit i with the one that the window before it predicts; blockIdx.y
// is the feature, blockIdx.z the world. Whole warps run.
__global__ void world_error_kernel(ErrorArgs a) {
    const std::int32_t i = static_cast<std::int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
    const Feature& feature = a.features[blockIdx.y];
    const std::int32_t words = a.bits.words;
    if (feature.errors < 0 || i - i % 32 >= 32 * words) return;
    const auto world = static_cast<std::size_t>(blockIdx.z);
    const std::size_t part = (world * a.encodings + feature.encoding) * words;
    const std::int32_t last = (a.size - 1) / 32;
    const std::int64_t count =
        a.bits.bits_before[part + last] + __popc(a.bits.emitted[part + last]);
    bool error = false;
    if (i < count && i >= feature.spec.window) {
        const std::uint64_t* bits = a.bits.bits + part / 2;
        const auto before = static_cast<std::uint64_t>(i);
        const PairCounts pairs =
            count_pairs(BitsBefore{bits, before}, BitsBefore{a.bits.joined + part / 2, before},
                        feature.spec.window);
        const bool bit = bits[i / 64] >> (i % 64) & 1;
        error = predicted_bit(feature.spec.predictor, pairs, BitsBefore{bits, before}(0)) != bit;
    }
    const std::uint32_t word = __ballot_sync(~0U, error);
    auto* const out = reinterpret_cast<std::uint32_t*>(a.bits.errors) +
                      (world * a.error_count + feature.errors) * words;
    if (i % 32 == 0) out[i / 32] = word;
}

struct PredicateArgs {
    WorldBits bits;
    const Feature* features;
    const Predicate* predicates;
    std::int32_t encodings;
    std::int32_t size;
    std::int32_t predicate_count;  ///< of all features
    std::int32_t error_count;      ///< windows with predictions
    std::uint32_t* out;            ///< [world][word of 32 bars][predicate]
};

// Thread t of blocks x answers for bar t; blockIdx.y is the feature, blockIdx.z the world.
__global__ void predicate_kernel(PredicateArgs a) {
    const std::int32_t bar = static_cast<std::int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
    const int lane = threadIdx.x % 32;
    if (bar - lane >= a.size) return;
    const Feature& feature = a.features[blockIdx.y];
    const std::size_t words = static_cast<std::size_t>(a.bits.words);
    const std::size_t part =
        (static_cast<std::size_t>(blockIdx.z) * a.encodings + feature.encoding) * words;
    const std::uint32_t emitted = bar < a.size ? a.bits.emitted[part + bar / 32] : 0;
    const std::uint64_t count =
        a.bits.bits_before[part + (bar - lane) / 32] + __popc(emitted & ~0U >> (31 - lane));
    const bool decides =
        (emitted >> lane & 1) != 0 && count >= static_cast<std::uint64_t>(feature.spec.window);
    const BitsBefore bits{a.bits.bits + part / 2, count};
    const BitsBefore joined{a.bits.joined + part / 2, count};
    bool complete = false;
    MetricValues values{};
    double flat = 0;
    if (decides) {
        const std::size_t of_errors =
            (static_cast<std::size_t>(blockIdx.z) * a.error_count + feature.errors) * words;
        // Where no prediction is asked for nothing reads the flags.
        const BitsBefore errors{feature.errors < 0 ? bits.words : a.bits.errors + of_errors / 2,
                                count};
        values = values_of(
            window_metrics(bits, joined, errors, count, feature.spec, feature.tables, complete));
        flat = flat_ratio(BitsBefore{a.bits.flat + part / 2, static_cast<std::uint64_t>(bar) + 1},
                          static_cast<std::uint64_t>(bar), feature.spec.window);
    }
    const std::uint64_t newest = decides ? bits(0) : 0;
    const bool up = newest >> 63 != 0;
    const bool in_run = decides && up == (newest >> 62 & 1) && joined(0) >> 63 != 0;
    std::uint32_t* const out =
        a.out + (static_cast<std::size_t>(blockIdx.z) * ((a.size + 31) / 32) + bar / 32) *
                    a.predicate_count;
    std::uint32_t kept = 0;
    for (std::int32_t k = 0; k < feature.count; ++k) {
        const Predicate& p = a.predicates[feature.first + k];
        bool yes = decides;
        switch (p.test) {
            case Test::bit:
                yes = yes && up == p.rise;
                break;
            case Test::run:
                yes = in_run && up == p.rise;
                break;
            case Test::balance:
            case Test::damped: {
                const double value = values.value[p.test == Test::balance ? 7 : 9];
                yes = yes && (p.rise ? value > 0 : value < 0);
                break;
            }
            case Test::gate: {
                const double value =
                    p.gate.metric == window_metric_count ? flat : values.value[p.gate.metric];
                yes = yes && value >= p.gate.low && value <= p.gate.high &&
                      (complete || p.gate.complete == 0);
                break;
            }
        }
        const std::uint32_t word = __ballot_sync(~0U, yes);
        if (k % 32 == lane) kept = word;
        if (k % 32 == 31 || k + 1 == feature.count) {
            const std::int32_t place = k - k % 32 + lane;
            if (place <= k) out[feature.first + place] = kept;
        }
    }
}

/// A decision as predicates: those to buy and to sell on, and gates[first, first + count).
struct DecisionPlan {
    std::int32_t buy;
    std::int32_t sell;
    std::int32_t gates_first;
    std::int32_t gates_count;
};

struct DecisionArgs {
    const std::uint32_t* predicates;  ///< [world][word][predicate]
    const std::uint32_t* counts;      ///< [word]: bars whose decisions count
    const DecisionPlan* plans;
    const std::int32_t* gates;
    std::int32_t words;
    std::int32_t predicate_count;
    std::int32_t decisions;
    std::int32_t words_per_thread;
};

__device__ inline uint2 decided_word(const DecisionArgs& a, const DecisionPlan& plan,
                                     std::int32_t world, std::int32_t word) {
    const std::uint32_t* row =
        a.predicates + (static_cast<std::size_t>(world) * a.words + word) * a.predicate_count;
    std::uint32_t passed = a.counts[word];
    for (std::int32_t k = 0; k < plan.gates_count; ++k)
        passed &= row[a.gates[plan.gates_first + k]];
    return {row[plan.buy] & passed, row[plan.sell] & passed};
}

// Thread d of blocks x makes words of decision d, which of them is up to blockIdx.y; blockIdx.z is
// the world. `out` is [world][word][decision]: bought, sold.
__global__ void decision_kernel(DecisionArgs a, uint2* out) {
    const std::int32_t d = static_cast<std::int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
    if (d >= a.decisions) return;
    const DecisionPlan plan = a.plans[d];
    const std::int32_t first = static_cast<std::int32_t>(blockIdx.y) * a.words_per_thread;
    const std::int32_t end = min(first + a.words_per_thread, a.words);
    uint2* const row = out + static_cast<std::size_t>(blockIdx.z) * a.words * a.decisions + d;
    for (std::int32_t word = first; word < end; ++word) {
        row[static_cast<std::size_t>(word) * a.decisions] =
            decided_word(a, plan, static_cast<std::int32_t>(blockIdx.z), word);
    }
}

// The same of world 0, counted only; `counts` holds zeros before.
__global__ void signal_kernel(DecisionArgs a, std::int32_t* counts) {
    const std::int32_t d = static_cast<std::int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
    if (d >= a.decisions) return;
    const DecisionPlan plan = a.plans[d];
    const std::int32_t first = static_cast<std::int32_t>(blockIdx.y) * a.words_per_thread;
    const std::int32_t end = min(first + a.words_per_thread, a.words);
    std::int32_t count = 0;
    for (std::int32_t word = first; word < end; ++word) {
        const uint2 decided = decided_word(a, plan, 0, word);
        count += __popc(decided.x | decided.y);
    }
    atomicAdd(&counts[d], count);
}

}  // namespace sep::cuda
