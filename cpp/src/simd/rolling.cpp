#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "../backends.hpp"
#include "sep/errors.hpp"
#include "window_kernels.hpp"

namespace sep::simd {
namespace {

std::vector<const Kernels*> kernels_that_run() {
    std::vector<const Kernels*> found;
#ifdef SEP_X86_KERNELS
    __builtin_cpu_init();
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
                          __builtin_cpu_supports("popcnt");
    const bool has_avx512 =
        has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vpopcntdq");
    if (has_avx512) found.push_back(&avx512);
    if (has_avx2) found.push_back(&avx2);
#endif
    found.push_back(&portable);
    return found;
}

/// The bits up to which every output of a block sees, and results on their way to outputs that
/// share a window.
struct Outputs {
    int count;
    /// Every output sees one bit more than the one before; `bits` holds the first only.
    bool consecutive;
    std::uint64_t first_price;
    std::array<std::uint64_t, block_windows> bits;

    std::uint64_t seen(int i) const {
        return consecutive ? bits[0] + static_cast<std::uint64_t>(i)
                           : bits[static_cast<std::size_t>(i)];
    }

    /// The first output from `begin` on that sees more than `last` bits.
    int after(int begin, std::uint64_t last) const {
        if (seen(count - 1) <= last) return count;
        if (consecutive) return begin + static_cast<int>(last + 1 - seen(begin));
        const auto* const first = bits.data();
        return static_cast<int>(std::upper_bound(first + begin, first + count, last) - first);
    }
    alignas(64) std::array<std::array<double, block_windows>, column_count> scratch;
    alignas(64) std::array<std::int64_t, block_windows> flat;
    // Of the newest part of every window, or its wrong predictions:
    alignas(64) std::array<std::int64_t, block_windows> part_flips;
    alignas(64) std::array<std::int64_t, block_windows> part_n11;
};

/// Windows in which every transition is valid: those that end at first_end..last_end bits.
class PlainWindows {
public:
    /// @param before  bits of the series before the first window that is asked about.
    PlainWindows(const Chunk::Series& joined, std::uint64_t before, std::uint64_t end,
                 std::uint64_t first_end, int transitions)
        : joined_(joined),
          end_(end),
          transitions_(static_cast<std::uint64_t>(transitions)),
          first_end_(first_end),
          last_end_(
              next_break(std::max(joined.forgotten, before - std::min(before, transitions_)))) {}

    /// Whether the window that ends at `bits` is one of them; `bits` never falls from one call to
    /// the next.
    bool hold(std::uint64_t bits) {
        while (last_end_ < bits) {
            first_end_ = std::max(first_end_, last_end_ + 1 + transitions_);
            last_end_ = next_break(last_end_ + 1);
        }
        return bits >= first_end_;
    }

    /// The last window of the stretch that the newest call of `hold` was about.
    std::uint64_t last_of_stretch(std::uint64_t bits) const {
        return bits >= first_end_ ? last_end_ : std::min(first_end_ - 1, last_end_);
    }

private:
    /// The first bit from `from` on that is not joined to the one before; `end_` when there is
    /// none.
    std::uint64_t next_break(std::uint64_t from) const {
        while (from < end_) {
            const std::uint64_t at = from - joined_.forgotten;
            const std::uint64_t broken = ~joined_.words[at / 64] >> (at % 64);
            if (broken != 0) {
                return std::min(end_, from + static_cast<std::uint64_t>(std::countr_zero(broken)));
            }
            from += 64 - at % 64;
        }
        return end_;
    }

    Chunk::Series joined_;
    std::uint64_t end_;
    std::uint64_t transitions_;
    std::uint64_t first_end_;
    std::uint64_t last_end_;
};

/// Metrics after the columns of the kernels, in the order of WindowMetrics.
enum MetricIndex { qbsa_error = column_count, confidence, confidence_low, collapse };

/// From so many outputs on they are written past the caches: ten columns of them are 2.6 MB.
constexpr std::uint64_t past_caches_min = 65'536;

class Rolling final : public RollingBackend {
public:
    Rolling(const WindowSpec& spec, const Kernels& kernels)
        : spec_(spec),
          rest_(spec),
          tables_(spec.window, spec.groups & group_path),
          vector_(spec, kernels, tables_) {
        rest_.groups &= unsigned{group_qbsa | group_collapse};
        for (int errors = 0; rest_.groups & group_qbsa && errors <= spec.window; ++errors) {
            WindowMetrics m = no_metrics();
            set_qbsa_metrics(m, errors, spec.window);
            predicted_.push_back({m.qbsa_error, m.confidence, m.confidence_low});
        }
    }

    void run(const Chunk& chunk, const RollingOutputs& out) override {
        const std::uint64_t bits_end = chunk.bits_before + bits_in(chunk);
        const auto needed = static_cast<std::uint64_t>(std::max(spec_.window, 64) + 64);
        const bool with_kernels = kernels_give_what_is_wanted(out);
        PlainWindows plain(chunk.joined, chunk.bits_before, bits_end,
                           with_kernels ? chunk.bits.forgotten + needed : ~std::uint64_t{0},
                           transitions());
        const KernelTables t = vector_.tables_for(chunk.outputs(), are_single(out));
        const bool past_caches =
            chunk.outputs_together >= past_caches_min && lines_begin_together(out);
        std::unique_ptr<Workspace> work = take_workspace();
        Block* const block = &work->block;
        Outputs* const outputs = &work->outputs;
        std::uint64_t seen = chunk.bits_before;
        std::uint64_t k = 0;
        std::size_t output = 0;
        while (take_outputs(chunk, k, seen, *outputs)) {
            const int count = outputs->count;
            for (int first = 0; first < count;) {
                const bool by_kernels = plain.hold(outputs->seen(first));
                const std::uint64_t last = plain.last_of_stretch(outputs->seen(first));
                const int end = outputs->after(first, last);
                const RollingOutputs place = out.from(output + static_cast<std::size_t>(first));
                if (by_kernels) {
                    compute(chunk, t, *outputs, first, end, place, past_caches, *block);
                } else {
                    refer(chunk, *outputs, first, end, place);
                }
                first = end;
            }
            if (out.flat_ratio) {
                set_flat_ratio(chunk, *outputs, out.flat_ratio.from(output));
            }
            output += static_cast<std::size_t>(count);
        }
        const std::lock_guard lock(free_guard_);
        free_.push_back(std::move(work));
    }

private:
    struct Workspace {
        Block block;
        Outputs outputs;
    };

    /// One that an earlier call has left, so that small chunks do not pay for fresh memory.
    std::unique_ptr<Workspace> take_workspace() {
        const std::lock_guard lock(free_guard_);
        if (free_.empty()) return std::make_unique_for_overwrite<Workspace>();
        std::unique_ptr<Workspace> work = std::move(free_.back());
        free_.pop_back();
        return work;
    }

    /// Fill `outputs` with the next ones of the chunk; false when there are none left.
    static bool take_outputs(const Chunk& chunk, std::uint64_t& k, std::uint64_t& seen,
                             Outputs& outputs) {
        int count = 0;
        const auto word_of_bits = [&](std::uint64_t from) {
            return chunk.stride == 1 && from % 64 == 0 && from + 64 <= chunk.prices &&
                   chunk.emitted[from / 64] == ~std::uint64_t{0};
        };
        outputs.consecutive = false;
        outputs.first_price = chunk.prices_before + k;
        int words = 0;
        while (64 * words < block_windows && word_of_bits(k + 64 * static_cast<unsigned>(words))) {
            ++words;
        }
        if (64 * words == block_windows) {
            outputs.consecutive = true;
            outputs.bits[0] = seen + 1;
            outputs.count = block_windows;
            seen += block_windows;
            k += block_windows;
            return true;
        }
        while (k < chunk.prices && count < block_windows) {
            if (count + 64 <= block_windows && word_of_bits(k)) {
                if (count == 0) outputs.first_price = chunk.prices_before + k;
                for (std::uint64_t i = 0; i < 64; ++i) {
                    outputs.bits[static_cast<std::size_t>(count) + i] = seen + 1 + i;
                }
                count += 64;
                seen += 64;
                k += 64;
                continue;
            }
            seen += chunk.emitted[k / 64] >> (k % 64) & 1;
            const std::uint64_t price = chunk.prices_before + k++;
            if (chunk.stride != 1 && price % chunk.stride != 0) continue;
            if (count == 0) outputs.first_price = price;
            outputs.bits[static_cast<std::size_t>(count++)] = seen;
        }
        outputs.count = count;
        return count > 0;
    }

    static std::uint64_t bits_in(const Chunk& chunk) {
        std::uint64_t sum = 0;
        for (std::uint64_t word = 0; word < chunk.prices / 64; ++word) {
            sum += ones(chunk.emitted[word]);
        }
        if (chunk.prices % 64 != 0) {
            sum += ones(chunk.emitted[chunk.prices / 64] << (64 - chunk.prices % 64));
        }
        return sum;
    }

    /// Results of windows without a gap, into outputs first..end, which begin at `out`.
    void compute(const Chunk& chunk, const KernelTables& t, Outputs& outputs, int first, int end,
                 const RollingOutputs& out, bool past_caches, Block& block) const {
        const int count = end - first;
        const std::uint64_t begin = outputs.seen(first);
        block.given = false;
        block.scattered = chunk.stride != 1;
        block.first_end = static_cast<std::int64_t>(begin - chunk.bits.forgotten);
        block.count = block.scattered ? count : static_cast<int>(outputs.seen(end - 1) - begin) + 1;
        if (block.scattered) {
            for (int i = 0; i < count; ++i) {
                block.ends[i] =
                    static_cast<std::int64_t>(outputs.seen(first + i) - chunk.bits.forgotten);
            }
        }
        const bool straight = block.count == count && are_of_one_type(out);
        Columns columns{{}, are_single(out), past_caches && straight};
        for (int m = 0; m < column_count; ++m) {
            if (!out.metrics[m]) continue;
            columns.data[m] = straight ? out.metrics[m].data : outputs.scratch[m].data();
        }
        vector_.kernels().compute(t, {chunk.bits.words}, columns, block);
        if (!straight) {
            for (int m = 0; m < column_count; ++m) {
                if (!out.metrics[m]) continue;
                const auto repeated = [&](const auto* from, auto* to) {
                    repeat(from, outputs, first, count, block, to);
                };
                if (columns.single) {
                    repeated(static_cast<const float*>(columns.data[m]),
                             static_cast<float*>(out.metrics[m].data));
                } else if (out.metrics[m].single) {
                    repeated(static_cast<const double*>(columns.data[m]),
                             static_cast<float*>(out.metrics[m].data));
                } else {
                    repeated(static_cast<const double*>(columns.data[m]),
                             static_cast<double*>(out.metrics[m].data));
                }
            }
        }
        if (out.complete != nullptr) std::fill_n(out.complete, count, std::uint8_t{1});
        if (std::none_of(out.metrics.begin() + column_count, out.metrics.end(),
                         [](const Column& column) { return static_cast<bool>(column); })) {
            return;
        }
        if (block.scattered) {
            refer_rest(chunk, outputs, first, count, out);
            return;
        }
        if (out.metrics[collapse]) set_collapse(chunk, outputs, first, count, out, block);
        set_predicted(chunk, outputs, first, count, out, block);
    }

    /// The shares of wrong predictions, which their number decides.
    void set_predicted(const Chunk& chunk, Outputs& outputs, int first, int count,
                       const RollingOutputs& out, const Block& block) const {
        const std::array<Column, 3> columns{out.metrics[qbsa_error], out.metrics[confidence],
                                            out.metrics[confidence_low]};
        if (!columns[0] && !columns[1] && !columns[2]) return;
        const std::uint64_t begin = outputs.seen(first);
        if (!predicted_.empty()) {
            vector_.kernels().count_ones(chunk.errors.words,
                                         static_cast<std::int64_t>(begin - chunk.errors.forgotten),
                                         spec_.window, block.count, outputs.part_flips.data());
        }
        for (int i = 0; i < count; ++i) {
            const std::uint64_t bits = outputs.seen(first + i);
            const bool known =
                !predicted_.empty() && bits >= 2 * static_cast<std::uint64_t>(spec_.window);
            for (std::size_t m = 0; m < columns.size(); ++m) {
                if (!columns[m]) continue;
                const auto at = static_cast<std::size_t>(bits - begin);
                columns[m].store(
                    static_cast<std::size_t>(i),
                    known ? predicted_[static_cast<std::size_t>(outputs.part_flips[at])][m]
                          : not_a_number());
            }
        }
    }

    /// Whether the newest quarter of the pairs is one-sided and the rest is not.
    void set_collapse(const Chunk& chunk, Outputs& outputs, int first, int count,
                      const RollingOutputs& out, Block& block) const {
        const Column& column = out.metrics[collapse];
        if ((rest_.groups & group_collapse) == 0 || spec_.window < 32) {
            for (int i = 0; i < count; ++i) {
                column.store(static_cast<std::size_t>(i), not_a_number());
            }
            return;
        }
        const int pairs = spec_.window - 1;
        const int newest = pairs / 4;
        const int rest = pairs - newest;
        const auto least_of = [&](int transitions) {
            int least = 0;
            while (!(least / static_cast<double>(transitions) >= spec_.collapse_share)) ++least;
            return least;
        };
        const int least_newest = least_of(newest);
        const int least_rest = least_of(rest);
        const Kernels& kernels = vector_.kernels();
        const std::uint64_t* const words = chunk.bits.words;
        kernels.count_pairs(words, block.first_end, spec_.window, block.count, block.flips,
                            block.n11);
        kernels.count_pairs(words, block.first_end, newest + 1, block.count,
                            outputs.part_flips.data(), outputs.part_n11.data());
        const std::uint64_t begin = outputs.seen(first);
        for (int i = 0; i < count; ++i) {
            const auto at = static_cast<std::size_t>(outputs.seen(first + i) - begin);
            const auto n11 = static_cast<int>(block.n11[at]);
            const int n00 = pairs - static_cast<int>(block.flips[at]) - n11;
            const auto part_n11 = static_cast<int>(outputs.part_n11[at]);
            const int part_n00 = newest - static_cast<int>(outputs.part_flips[at]) - part_n11;
            const bool event = std::max(part_n00, part_n11) >= least_newest &&
                               std::max(n00 - part_n00, n11 - part_n11) < least_rest;
            column.store(static_cast<std::size_t>(i), event ? 1.0 : 0.0);
        }
    }

    /// Every output gets the value of the newest window that it sees.
    template <class From, class To>
    static void repeat(const From* from, const Outputs& outputs, int first, int count,
                       const Block& block, To* to) {
        if (block.scattered || outputs.consecutive) {
            for (int i = 0; i < count; ++i) to[i] = static_cast<To>(from[i]);
            return;
        }
        const std::uint64_t* const bits = outputs.bits.data() + first;
        for (int i = 0; i < count; ++i) to[i] = static_cast<To>(from[bits[i] - bits[0]]);
    }

    /// The metrics without a kernel, of windows without a gap that lie apart.
    void refer_rest(const Chunk& chunk, const Outputs& outputs, int first, int count,
                    const RollingOutputs& out) const {
        MetricValues values{};
        for (int i = 0; i < count; ++i) {
            const std::uint64_t bits = outputs.seen(first + i);
            if (i == 0 || bits != outputs.seen(first + i - 1)) {
                bool complete = false;
                values = values_of(reference(chunk, bits, rest_, complete));
            }
            for (int m = column_count; m < window_metric_count; ++m) {
                if (out.metrics[m])
                    out.metrics[m].store(static_cast<std::size_t>(i), values.value[m]);
            }
        }
    }

    /// Everything of windows that the kernels do not take, into outputs first..end.
    void refer(const Chunk& chunk, const Outputs& outputs, int first, int end,
               const RollingOutputs& out) const {
        MetricValues values{};
        bool complete = false;
        for (int i = first; i < end; ++i) {
            const std::uint64_t bits = outputs.seen(i);
            if (i == first || bits != outputs.seen(i - 1)) {
                values = values_of(reference(chunk, bits, spec_, complete));
            }
            const auto at = static_cast<std::size_t>(i - first);
            for (int m = 0; m < window_metric_count; ++m) {
                if (out.metrics[m]) out.metrics[m].store(at, values.value[m]);
            }
            if (out.complete != nullptr) out.complete[at] = complete;
        }
    }

    void set_flat_ratio(const Chunk& chunk, Outputs& outputs, Column out) const {
        const auto window = static_cast<std::uint64_t>(spec_.window);
        const std::uint64_t first = outputs.first_price;
        if (chunk.stride != 1 || first < window) {
            for (int i = 0; i < outputs.count; ++i) {
                const std::uint64_t price = first + static_cast<std::uint64_t>(i) * chunk.stride;
                const BitsBefore flat = chunk.flat.before(price + 1);
                out.store(static_cast<std::size_t>(i), flat_ratio(flat, price, spec_.window));
            }
            return;
        }
        vector_.kernels().count_ones(chunk.flat.words,
                                     static_cast<std::int64_t>(first + 1 - chunk.flat.forgotten),
                                     spec_.window, outputs.count, outputs.flat.data());
        for (int i = 0; i < outputs.count; ++i) {
            out.store(static_cast<std::size_t>(i),
                      static_cast<double>(outputs.flat[static_cast<std::size_t>(i)]) /
                          static_cast<double>(spec_.window));
        }
    }

    /// Transitions that must be valid for the kernels: of the window, and of lambda's 20 bits.
    int transitions() const { return std::max(spec_.window, lambda_bits) - 1; }

    /// Whether the columns with a kernel belong to a group that is asked for.
    bool kernels_give_what_is_wanted(const RollingOutputs& out) const {
        for (int m = 0; m < column_count; ++m) {
            const unsigned groups = m < lambda            ? unsigned{group_counts}
                                    : m < path_confidence ? group_damped | group_path
                                                          : unsigned{group_path};
            if (out.metrics[m] && (spec_.groups & groups) == 0) return false;
        }
        return true;
    }

    static bool are_single(const RollingOutputs& out) {
        return std::all_of(out.metrics.begin(), out.metrics.begin() + column_count,
                           [](const Column& column) { return !column || column.single; });
    }

    /// Whether the columns with a kernel begin at values, and equally far from a cache line.
    static bool lines_begin_together(const RollingOutputs& out) {
        const Column* seen = nullptr;
        for (int m = 0; m < column_count; ++m) {
            const Column& column = out.metrics[m];
            if (!column) continue;
            if (seen == nullptr) seen = &column;
            const auto at = reinterpret_cast<std::uintptr_t>(column.data);
            if (at % (column.single ? sizeof(float) : sizeof(double)) != 0) return false;
            const auto other = reinterpret_cast<std::uintptr_t>(seen->data);
            if (at % line_size != other % line_size) return false;
        }
        return seen != nullptr;
    }

    static bool are_of_one_type(const RollingOutputs& out) {
        return are_single(out) ||
               std::none_of(out.metrics.begin(), out.metrics.begin() + column_count,
                            [](const Column& column) { return column && column.single; });
    }

    WindowMetrics reference(const Chunk& chunk, std::uint64_t bits, const WindowSpec& spec,
                            bool& complete) const {
        return window_metrics(chunk.bits.before(bits), chunk.joined.before(bits),
                              chunk.errors.before(bits), bits, spec, view_of(tables(), tables_),
                              complete);
    }

    WindowSpec spec_;
    WindowSpec rest_;                               ///< what the kernels leave to their caller
    std::vector<std::array<double, 3>> predicted_;  ///< by wrong predictions in the window
    WindowTables tables_;
    WindowKernels vector_;
    std::mutex free_guard_;
    std::vector<std::unique_ptr<Workspace>> free_;
};

}  // namespace

const Kernels& kernels() {
    const std::vector<const Kernels*> found = kernels_that_run();
    const char* const asked = std::getenv("SEP_SIMD");
    if (asked == nullptr) return *found.front();
    std::string known;
    for (const Kernels* candidate : found) {
        if (std::string_view(candidate->name) == asked) return *candidate;
        known += (known.empty() ? "" : ", ") + std::string(candidate->name);
    }
    throw BackendError("SEP_SIMD must be one of " + known + " on this machine, was " + asked);
}

std::string_view name_of(const Kernels& kernels) { return kernels.name; }

std::unique_ptr<RollingBackend> make_rolling(const WindowSpec& spec) {
    return std::make_unique<Rolling>(spec, kernels());
}

}  // namespace sep::simd
