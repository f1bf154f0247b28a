#include <algorithm>
#include <array>

#include "device_series.cuh"
#include "sep/bits.hpp"
#include "sep/encode.hpp"

namespace sep::cuda {
namespace {

constexpr int block_size = 256;
constexpr int scan_size = 1024;

unsigned blocks_for(std::uint64_t threads) {
    return static_cast<unsigned>((threads + block_size - 1) / block_size);
}

__device__ std::uint64_t thread_index() {
    return blockIdx.x * static_cast<std::uint64_t>(blockDim.x) + threadIdx.x;
}

/// Four bytes 0 or 1 as four bits: the product brings bit 0 of byte i to bit 28 + i.
__device__ std::uint32_t nibble(std::uint32_t bytes) {
    return (bytes & 0x01010101U) * 0x10204080U >> 28;
}

/// Sixteen bytes 0 or 1 as bits; `seen` gathers all of their bits.
__device__ std::uint32_t packed16(uint4 v, std::uint32_t& seen) {
    seen |= v.x | v.y | v.z | v.w;
    return nibble(v.x) | nibble(v.y) << 4 | nibble(v.z) << 8 | nibble(v.w) << 12;
}

/// The values 64 i .. 64 i + 63 as bits, 0 beyond the last; `seen` gathers all of their bits.
__device__ std::uint64_t packed(const std::uint8_t* values, std::uint64_t size, std::uint64_t i,
                                std::uint32_t& seen) {
    const std::uint8_t* const from = values + 64 * i;
    std::uint64_t word = 0;
    if (64 * (i + 1) <= size && reinterpret_cast<std::uintptr_t>(from) % 16 == 0) {
        const auto* const sixteen = reinterpret_cast<const uint4*>(from);
        const uint4 v[] = {sixteen[0], sixteen[1], sixteen[2], sixteen[3]};
        const std::uint32_t low = packed16(v[0], seen) | packed16(v[1], seen) << 16;
        const std::uint32_t high = packed16(v[2], seen) | packed16(v[3], seen) << 16;
        return std::uint64_t{high} << 32 | low;
    }
    for (int bit = 0; bit < 64 && 64 * i + bit < size; ++bit) {
        seen |= from[bit];
        word |= std::uint64_t{from[bit] & 1U} << bit;
    }
    return word;
}

// Thread i packs 64 bits, which it reads as whole sectors; one more word than there are is 0.
__global__ void pack_kernel(const std::uint8_t* bits, const std::uint8_t* gap, std::uint64_t size,
                            std::uint64_t* packed_bits, std::uint64_t* joined,
                            unsigned long long* first_bad) {
    const std::uint64_t i = thread_index();
    if (64 * i >= size + 64) return;
    std::uint32_t seen = 0;
    packed_bits[i] = packed(bits, size, i, seen);
    if (seen & 0xFEFEFEFEU) {
        std::uint64_t row = 64 * i;
        while (bits[row] <= 1) ++row;
        atomicMin(first_bad, row);
    }
    std::uint64_t gaps = 0;
    if (gap != nullptr) {
        seen = 0;
        gaps = packed(gap, size, i, seen);
        // Any value but 0 is a gap.
        for (int bit = 0; seen & 0xFEFEFEFEU && bit < 64 && 64 * i + bit < size; ++bit) {
            gaps |= std::uint64_t{gap[64 * i + bit] != 0} << bit;
        }
    }
    if (i == 0) gaps |= 1;  // the first bit has none before it
    joined[i] = ~gaps;
}

/// Whether `advance` takes a price of so many ticks.
__device__ bool is_valid(double price, double ratio, double ticks, Encoding encoding) {
    return isfinite(price) && price > 0 && ratio < 9007199254740992.0 &&
           (encoding == Encoding::pip_trunc_carry || !(fabs(ratio - ticks) > 1e-3));
}

/// What each price does, 32 to a word.
struct Moves {
    std::uint32_t* moved;
    std::uint32_t* up;
    std::uint32_t* flat;
    std::uint32_t* gap;
};

// Thread k looks at price k and the one before it; whole warps run.
__global__ void move_kernel(const double* prices, const std::uint8_t* gap, std::uint64_t size,
                            double tick, Encoding encoding, Moves out,
                            unsigned long long* first_bad) {
    const std::uint64_t k = thread_index();
    bool moved = false;
    bool up = false;
    bool flat = false;
    if (k < size) {
        const double price = prices[k];
        const double ratio = price / tick;
        const double ticks = rint(ratio);
        if (!is_valid(price, ratio, ticks, encoding)) atomicMin(first_bad, k);
        if (k > 0) {
            const double last = prices[k - 1];
            const double last_ticks = rint(last / tick);
            flat = ticks == last_ticks;
            moved = !flat;
            up = ticks > last_ticks;
            if (encoding == Encoding::strict_up) {
                moved = true;
                up = price > last;
            } else if (encoding == Encoding::pip_trunc_carry) {
                const double whole = trunc((price - last) / tick);
                flat = price == last;
                moved = whole != 0;
                up = whole > 0;
            }
        }
    }
    const std::uint32_t moved_word = __ballot_sync(~0U, moved);
    const std::uint32_t up_word = __ballot_sync(~0U, up);
    const std::uint32_t flat_word = __ballot_sync(~0U, flat);
    const std::uint32_t gap_word = __ballot_sync(~0U, gap != nullptr && k < size && gap[k] != 0);
    if (k % 32 == 0 && k < size) {
        out.moved[k / 32] = moved_word;
        out.up[k / 32] = up_word;
        out.flat[k / 32] = flat_word;
        out.gap[k / 32] = gap_word;
    }
}

struct Sum {
    __device__ std::uint64_t operator()(std::uint64_t a, std::uint64_t b) const { return a + b; }
};
struct Larger {
    __device__ std::uint64_t operator()(std::uint64_t a, std::uint64_t b) const {
        return a > b ? a : b;
    }
};

/// What lies before each thread of the block, by `op`; `total` of the block.
template <class Op>
__device__ std::uint64_t scanned(std::uint64_t value, Op op, std::uint64_t& total) {
    __shared__ std::uint64_t of_warp[scan_size / 32];
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    std::uint64_t up_to = value;
    for (int step = 1; step < 32; step *= 2) {
        const std::uint64_t other = __shfl_up_sync(~0U, up_to, step);
        if (lane >= step) up_to = op(up_to, other);
    }
    std::uint64_t before = __shfl_up_sync(~0U, up_to, 1);
    if (lane == 0) before = 0;
    __syncthreads();
    if (lane == 31) of_warp[warp] = up_to;
    __syncthreads();
    total = 0;
    for (int i = 0; i < scan_size / 32; ++i) {
        if (i < warp) before = op(before, of_warp[i]);
        total = op(total, of_warp[i]);
    }
    return before;
}

// A block scans scan_size values in place and tells their total.
template <class Op>
__global__ void scan_kernel(std::uint64_t* values, std::uint64_t size, std::uint64_t* totals,
                            Op op) {
    const std::uint64_t i = blockIdx.x * std::uint64_t{scan_size} + threadIdx.x;
    std::uint64_t total = 0;
    const std::uint64_t before = scanned(i < size ? values[i] : 0, op, total);
    if (i < size) values[i] = before;
    if (threadIdx.x == 0) totals[blockIdx.x] = total;
}

// One block scans all the totals; the last place gets the total of all.
template <class Op>
__global__ void scan_totals_kernel(std::uint64_t* totals, std::uint64_t size, Op op) {
    std::uint64_t carried = 0;
    for (std::uint64_t first = 0; first < size; first += scan_size) {
        const std::uint64_t i = first + threadIdx.x;
        std::uint64_t total = 0;
        const std::uint64_t before = scanned(i < size ? totals[i] : 0, op, total);
        if (i < size) totals[i] = op(carried, before);
        carried = op(carried, total);
    }
    if (threadIdx.x == 0) totals[size] = carried;
}

template <class Op>
__global__ void add_totals_kernel(std::uint64_t* values, std::uint64_t size,
                                  const std::uint64_t* totals, Op op) {
    const std::uint64_t i = blockIdx.x * std::uint64_t{scan_size} + threadIdx.x;
    if (i < size) values[i] = op(totals[blockIdx.x], values[i]);
}

/// Replace each value by what lies before it, by `op`. 0 is the neutral element.
/// @return where the total of all values will be, in device memory.
template <class Op>
const std::uint64_t* scan(std::uint64_t* values, std::uint64_t size,
                          DeviceArray<std::uint64_t>& totals, Op op, const Stream& stream) {
    const auto blocks = static_cast<unsigned>((size + scan_size - 1) / scan_size);
    scan_kernel<<<blocks, scan_size, 0, stream.get()>>>(values, size, totals.get(), op);
    scan_totals_kernel<<<1, scan_size, 0, stream.get()>>>(totals.get(), blocks, op);
    add_totals_kernel<<<blocks, scan_size, 0, stream.get()>>>(values, size, totals.get(), op);
    check(cudaGetLastError(), "scan_kernel");
    return totals.get() + blocks;
}

// Thread i: one more than its own index where its 64 prices hold a move.
__global__ void mark_kernel(const std::uint64_t* moved, std::uint64_t words, std::uint64_t* marks) {
    const std::uint64_t i = thread_index();
    if (i < words) marks[i] = moved[i] != 0 ? i + 1 : 0;
}

// Thread i gives 64 prices that did not move the direction of the last move. `moved_before`: one
// more than the last word with a move before word i, 0 for none. A price before the first move has
// no bit, or, where `from_second`, a 0 from the second price on.
__global__ void carry_kernel(std::uint64_t* moved, std::uint64_t* up, std::uint64_t words,
                             std::uint64_t size, const std::uint64_t* moved_before,
                             const std::uint64_t* moved_in, const std::uint64_t* up_in,
                             bool from_second) {
    const std::uint64_t i = thread_index();
    if (i >= words) return;
    bool known = moved_before[i] != 0;
    bool direction = false;
    if (known) {
        const std::uint64_t j = moved_before[i] - 1;
        direction = up_in[j] >> (63 - __clzll(static_cast<long long>(moved_in[j]))) & 1;
    }
    std::uint64_t bits = 0;
    std::uint64_t has = 0;
    for (int k = 0; k < 64 && 64 * i + k < size; ++k) {
        if (moved_in[i] >> k & 1) {
            known = true;
            direction = up_in[i] >> k & 1;
        }
        bits |= std::uint64_t{direction} << k;
        has |= std::uint64_t{known || (from_second && 64 * i + k > 0)} << k;
    }
    moved[i] = has;
    up[i] = bits;
}

// Thread i counts the bits that 64 prices gave.
__global__ void count_kernel(const std::uint64_t* emitted, std::uint64_t words,
                             std::uint64_t* counts) {
    const std::uint64_t i = thread_index();
    if (i < words) counts[i] = __popcll(emitted[i]);
}

__device__ void place(std::uint64_t* words, std::uint64_t at, std::uint64_t value, int count) {
    if (count == 0) return;
    const int used = static_cast<int>(at % 64);
    auto* const to = reinterpret_cast<unsigned long long*>(words + at / 64);
    atomicOr(to, value << used);
    if (used + count > 64) atomicOr(to + 1, value >> (64 - used));
}

// Thread i moves the bits of 64 prices together. A gap counts for the next price with a bit.
__global__ void compact_kernel(const std::uint64_t* emitted, const std::uint64_t* up,
                               const std::uint64_t* gap, const std::uint64_t* before,
                               std::uint64_t words, std::uint64_t* bits, std::uint64_t* joined) {
    const std::uint64_t i = thread_index();
    if (i >= words || emitted[i] == 0) return;
    bool pending = false;
    for (std::uint64_t j = i; j-- > 0 && !pending;) {
        const std::uint64_t since = emitted[j] == 0
                                        ? ~std::uint64_t{0}
                                        : ~std::uint64_t{1}
                                              << (63 - __clzll(static_cast<long long>(emitted[j])));
        pending = (gap[j] & since) != 0;
        if (emitted[j] != 0) break;
    }
    std::uint64_t value = 0;
    std::uint64_t valid = 0;
    int count = 0;
    for (int k = 0; k < 64; ++k) {
        pending |= gap[i] >> k & 1;
        if (!(emitted[i] >> k & 1)) continue;
        value |= (up[i] >> k & 1) << count;
        valid |= std::uint64_t{!pending} << count;
        pending = false;
        ++count;
    }
    if (before[i] == 0) valid &= ~std::uint64_t{1};  // the first bit has none before it
    place(bits, before[i], value, count);
    place(joined, before[i], valid, count);
}

// Thread i compares bit i with the one that the window before it predicts; whole warps run.
__global__ void error_kernel(const std::uint64_t* bits, const std::uint64_t* joined,
                             std::uint64_t size, WindowSpec spec, std::uint32_t* errors) {
    const std::uint64_t i = thread_index();
    bool error = false;
    if (i < size && i >= static_cast<std::uint64_t>(spec.window)) {
        const BitsBefore before{bits, i};
        const PairCounts pairs = count_pairs(before, BitsBefore{joined, i}, spec.window);
        const bool bit = bits[i / 64] >> (i % 64) & 1;
        error = predicted_bit(spec.predictor, pairs, before(0)) != bit;
    }
    const std::uint32_t word = __ballot_sync(~0U, error);
    if (i % 32 == 0 && i < size) errors[i / 32] = word;
}

std::uint32_t* halves(const DeviceSeries::Words& words) {
    return reinterpret_cast<std::uint32_t*>(words.get());
}

void clear(const DeviceSeries::Words& words, std::uint64_t count, const Stream& stream) {
    check(cudaMemsetAsync(words.get(), 0, count * sizeof(std::uint64_t), stream.get()),
          "cudaMemsetAsync");
}

void copy_words(const DeviceSeries::Words& to, const DeviceSeries::Words& from, std::uint64_t count,
                const Stream& stream) {
    check(cudaMemcpyAsync(to.get(), from.get(), count * sizeof(std::uint64_t),
                          cudaMemcpyDeviceToDevice, stream.get()),
          "cudaMemcpyAsync on the device");
}

/// A row that has no fault is larger than any.
class FirstBad {
public:
    explicit FirstBad(const Stream& stream) : row_(1, stream) {
        check(cudaMemsetAsync(row_.get(), 0xFF, sizeof(std::uint64_t), stream.get()),
              "cudaMemsetAsync");
    }
    unsigned long long* get() const { return reinterpret_cast<unsigned long long*>(row_.get()); }
    std::uint64_t row(const Stream& stream) const {
        std::uint64_t row = 0;
        copy_to_host(&row, row_.get(), sizeof(row), stream);
        stream.wait();
        return row;
    }

private:
    DeviceArray<std::uint64_t> row_;
};

void add_errors(DeviceSeries& series, const RollingSpec& spec, const Stream& stream) {
    if (!(spec.window.groups & group_qbsa)) return;
    series.errors.emplace(word_count(series.bits_size) + 1, stream);
    clear(*series.errors, word_count(series.bits_size) + 1, stream);
    if (series.bits_size == 0) return;
    error_kernel<<<blocks_for(series.bits_size), block_size, 0, stream.get()>>>(
        series.bits.get(), series.joined.get(), series.bits_size, spec.window,
        halves(*series.errors));
    check(cudaGetLastError(), "error_kernel");
}

}  // namespace

DeviceSeries::DeviceSeries(std::uint64_t size, const Stream& stream)
    : prices(size), bits(word_count(size) + 1, stream), joined(word_count(size) + 1, stream) {}

DeviceSeries packed_series(const std::uint8_t* bits, const std::uint8_t* gap, std::uint64_t size,
                           const RollingSpec& spec, const Stream& stream) {
    DeviceSeries series(size, stream);
    series.bits_size = size;
    const FirstBad bad(stream);
    pack_kernel<<<blocks_for(word_count(size) + 1), block_size, 0, stream.get()>>>(
        bits, gap, size, series.bits.get(), series.joined.get(), bad.get());
    check(cudaGetLastError(), "pack_kernel");
    const std::uint64_t row = bad.row(stream);
    if (row < size) {
        std::uint8_t value = 0;
        copy_to_host(&value, bits + row, 1, stream);
        stream.wait();
        refuse_value({&value, 1}, 0, row);
    }
    add_errors(series, spec, stream);
    return series;
}

DeviceSeries encoded_series(const double* prices, const std::uint8_t* gap, std::uint64_t size,
                            const RollingSpec& spec, const Stream& stream) {
    using Words = DeviceSeries::Words;
    DeviceSeries series(size, stream);
    const std::uint64_t words = word_count(size);
    clear(series.bits, words + 1, stream);
    clear(series.joined, words + 1, stream);
    const Words up(words, stream);
    const Words gaps(words, stream);
    clear(up, words, stream);
    clear(gaps, words, stream);
    series.flat.emplace(words, stream);
    clear(*series.flat, words, stream);
    series.emitted.emplace(words, stream);
    series.before.emplace(words, stream);
    clear(*series.emitted, words, stream);
    const FirstBad bad(stream);
    move_kernel<<<blocks_for(size), block_size, 0, stream.get()>>>(
        prices, gap, size, spec.tick, spec.encoding,
        {halves(*series.emitted), halves(up), halves(*series.flat), halves(gaps)}, bad.get());
    check(cudaGetLastError(), "move_kernel");
    const std::uint64_t row = bad.row(stream);
    if (row < size) {
        double price = 0;
        copy_to_host(&price, prices + row, sizeof(price), stream);
        stream.wait();
        LastPrice none;
        advance(none, spec.encoding, spec.tick, price, false, static_cast<std::int64_t>(row));
    }

    Words totals(words / scan_size + 2, stream);
    const unsigned blocks = blocks_for(words);
    if (spec.encoding == Encoding::tick_carry || spec.encoding == Encoding::pip_trunc_carry) {
        const Words marks(words, stream);
        const Words moved_in(words, stream);
        const Words up_in(words, stream);
        mark_kernel<<<blocks, block_size, 0, stream.get()>>>(series.emitted->get(), words,
                                                             marks.get());
        scan(marks.get(), words, totals, Larger{}, stream);
        copy_words(moved_in, *series.emitted, words, stream);
        copy_words(up_in, up, words, stream);
        carry_kernel<<<blocks, block_size, 0, stream.get()>>>(
            series.emitted->get(), up.get(), words, size, marks.get(), moved_in.get(), up_in.get(),
            spec.encoding == Encoding::pip_trunc_carry);
        check(cudaGetLastError(), "carry_kernel");
    }
    count_kernel<<<blocks, block_size, 0, stream.get()>>>(series.emitted->get(), words,
                                                          series.before->get());
    const std::uint64_t* const total = scan(series.before->get(), words, totals, Sum{}, stream);
    compact_kernel<<<blocks, block_size, 0, stream.get()>>>(series.emitted->get(), up.get(),
                                                            gaps.get(), series.before->get(), words,
                                                            series.bits.get(), series.joined.get());
    check(cudaGetLastError(), "compact_kernel");
    copy_to_host(&series.bits_size, total, sizeof(std::uint64_t), stream);
    stream.wait();
    add_errors(series, spec, stream);
    return series;
}

}  // namespace sep::cuda
