#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "../backends.hpp"
#include "../window_tables.hpp"
#include "kernels.hpp"
#include "sep/errors.hpp"

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

/// The transitions of a packed series, and how many lie before each word.
struct Transitions {
    std::vector<std::uint64_t> flips;
    std::vector<std::uint64_t> elevens;
    std::vector<std::uint32_t> flips_before;
    std::vector<std::uint32_t> elevens_before;

    Transitions(const std::uint64_t* bits, std::size_t words)
        : flips(words + 1), elevens(words + 1), flips_before(words + 1), elevens_before(words + 1) {
        std::uint32_t flips_sum = 0;
        std::uint32_t elevens_sum = 0;
        for (std::size_t i = 0; i < words; ++i) {
            const std::uint64_t before = bits[i] << 1 | (i == 0 ? 0 : bits[i - 1] >> 63);
            flips[i] = bits[i] ^ before;
            elevens[i] = bits[i] & before;
            flips_before[i] = flips_sum;
            elevens_before[i] = elevens_sum;
            flips_sum += static_cast<std::uint32_t>(ones(flips[i]));
            elevens_sum += static_cast<std::uint32_t>(ones(elevens[i]));
        }
        flips_before[words] = flips_sum;
        elevens_before[words] = elevens_sum;
    }
};

class Rolling final : public RollingBackend {
public:
    Rolling(const WindowSpec& spec, const Kernels& kernels)
        : spec_(spec), kernels_(kernels), tables_(spec.window, spec.groups & group_path) {
        const int total = spec.window - 1;
        for (int n = -total; n <= total; ++n) shares_.push_back(n / static_cast<double>(total));
        for (const std::uint8_t row : tables().row_of) row_of_.push_back(row);
        for (const DampedSpan& span : tables_.spans) {
            all_ones_.push_back(span.all_ones);
            terms_.push_back(span.terms);
        }
    }

    void run(const Chunk& chunk, const RollingOutputs& out) override {
        const KernelTables t = kernel_tables();
        const std::uint64_t bits_end = chunk.bits_before + bits_in(chunk);
        const std::size_t words = word_count(bits_end - chunk.bits.forgotten);
        const bool needs_ranks = spec_.window > 64;
        const Transitions transitions(chunk.bits.words, needs_ranks ? words : 0);
        const Series series{chunk.bits.words, transitions.flips.data(), transitions.elevens.data(),
                            transitions.flips_before.data(), transitions.elevens_before.data()};
        unsigned wanted = 0;
        for (int i = 0; i < column_count; ++i) wanted |= unsigned{bool{out.metrics[i]}} << i;

        Block block;
        std::array<std::uint64_t, block_windows> bits{};
        std::array<std::uint64_t, block_windows> prices{};
        std::uint64_t seen = chunk.bits_before;
        std::uint64_t k = 0;
        std::size_t output = 0;
        while (k < chunk.prices) {
            block.count = 0;
            while (k < chunk.prices && block.count < block_windows) {
                const bool word_of_bits =
                    chunk.stride == 1 && k % 64 == 0 && k + 64 <= chunk.prices &&
                    block.count + 64 <= block_windows && chunk.emitted[k / 64] == ~std::uint64_t{0};
                if (word_of_bits) {
                    for (int i = 0; i < 64; ++i) {
                        bits[block.count + i] = seen + 1 + i;
                        prices[block.count + i] = chunk.prices_before + k + i;
                    }
                    block.count += 64;
                    seen += 64;
                    k += 64;
                    continue;
                }
                seen += chunk.emitted[k / 64] >> (k % 64) & 1;
                const std::uint64_t price = chunk.prices_before + k++;
                if (chunk.stride != 1 && price % chunk.stride != 0) continue;
                bits[block.count] = seen;
                prices[block.count] = price;
                ++block.count;
            }
            if (block.count == 0) break;
            compute(chunk, t, series, wanted, bits.data(), block, out, output);
            write(block, out, output);
            if (out.flat_ratio) {
                for (int i = 0; i < block.count; ++i) {
                    const BitsBefore flat = chunk.flat.before(prices[i] + 1);
                    out.flat_ratio.store(output + i, flat_ratio(flat, prices[i], spec_.window));
                }
            }
            output += block.count;
        }
    }

private:
    KernelTables kernel_tables() const {
        const Tables& t = tables();
        static_assert(sizeof(DampedRow) % sizeof(double) == 0);
        return {
            spec_.window,
            t.g.data(),
            (spec_.window - 1) * t.log2_3,
            shares_.data() + (spec_.window - 1),
            reinterpret_cast<const double*>(t.rows.data()),
            sizeof(DampedRow) / sizeof(double),
            offsetof(DampedRow, lambda) / sizeof(double),
            offsetof(DampedRow, decay8) / sizeof(double),
            offsetof(DampedRow, byte_sum) / sizeof(double),
            row_of_.data(),
            all_ones_.data(),
            terms_.data(),
        };
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

    /// Fill the block's columns and `complete`. Windows that are not full, too near the beginning
    /// of the words, or have a gap are left to the reference; so are the metrics without a kernel.
    void compute(const Chunk& chunk, const KernelTables& t, const Series& series, unsigned wanted,
                 const std::uint64_t* bits, Block& block, const RollingOutputs& out,
                 std::size_t output) const {
        const auto needed = static_cast<std::uint64_t>(std::max(spec_.window, 64) + 64);
        const std::uint64_t first = bits[0];
        const std::uint64_t last = bits[block.count - 1];
        const bool far_enough = first >= chunk.bits.forgotten + needed;
        const bool plain = far_enough && all_have_kernels(out);
        const bool whole = far_enough && joined_throughout(chunk, first, last);
        if (plain) {
            for (int i = 0; i < block.count; ++i) {
                block.ends[i] = static_cast<std::int64_t>(bits[i] - chunk.bits.forgotten);
            }
            if (wanted != 0) kernels_.compute(t, series, wanted, block);
        }
        if (plain && whole) {
            if (out.complete != nullptr) std::fill_n(out.complete + output, block.count, 1);
            return;
        }
        std::uint64_t computed = ~std::uint64_t{0};
        WindowMetrics metrics = no_metrics();
        bool complete = false;
        for (int i = 0; i < block.count; ++i) {
            const BitsBefore joined = chunk.joined.before(bits[i]);
            if (plain && count_ones(joined, transitions()) == transitions()) {
                if (out.complete != nullptr) out.complete[output + i] = 1;
                continue;
            }
            if (bits[i] != computed) {
                metrics = reference(chunk, bits[i], complete);
                computed = bits[i];
            }
            const MetricValues values = values_of(metrics);
            for (int m = 0; m < column_count; ++m) block.column[m][i] = values.value[m];
            for (int m = column_count; m < window_metric_count; ++m) {
                if (out.metrics[m]) out.metrics[m].store(output + i, values.value[m]);
            }
            if (out.complete != nullptr) out.complete[output + i] = complete;
        }
    }

    /// Whether every transition inside the windows that end at bits first..last is valid.
    bool joined_throughout(const Chunk& chunk, std::uint64_t first, std::uint64_t last) const {
        const BitsBefore joined = chunk.joined.before(last);
        const int reach = static_cast<int>(last - first) + transitions();
        return count_ones(joined, reach) == reach;
    }

    /// Transitions that must be valid for the kernels: of the window, and of lambda's 20 bits.
    int transitions() const { return std::max(spec_.window, lambda_bits) - 1; }

    /// Whether every result that is wanted is computed by a kernel.
    bool all_have_kernels(const RollingOutputs& out) const {
        for (int m = 0; m < window_metric_count; ++m) {
            const unsigned group = m < lambda ? group_counts : group_damped;
            const bool has_kernel = m < column_count && (spec_.groups & group) != 0;
            if (out.metrics[m] && !has_kernel) return false;
        }
        return true;
    }

    WindowMetrics reference(const Chunk& chunk, std::uint64_t bits, bool& complete) const {
        return window_metrics(chunk.bits.before(bits), chunk.joined.before(bits),
                              chunk.errors.before(bits), bits, spec_, view_of(tables(), tables_),
                              complete);
    }

    void write(const Block& block, const RollingOutputs& out, std::size_t output) const {
        for (int m = 0; m < column_count; ++m) {
            const Column column = out.metrics[m].from(output);
            if (!column) continue;
            if (column.single) {
                kernels_.to_single(block.column[m], static_cast<float*>(column.data), block.count);
            } else {
                std::copy_n(block.column[m], block.count, static_cast<double*>(column.data));
            }
        }
    }

    WindowSpec spec_;
    const Kernels& kernels_;
    WindowTables tables_;
    std::vector<double> shares_;
    std::vector<std::int32_t> row_of_;
    std::vector<double> all_ones_;
    std::vector<std::int64_t> terms_;
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
