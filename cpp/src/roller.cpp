#include <algorithm>
#include <atomic>
#include <string>
#include <thread>

#include "backends.hpp"
#include "parallel.hpp"
#include "sep/errors.hpp"
#include "sep/rolling.hpp"
#include "simd/kernels.hpp"

namespace sep {
namespace {

// Below this many windows a thread costs more than it saves.
constexpr std::uint64_t windows_per_thread_min = 16'384;
constexpr std::size_t words_per_thread_min = 1'024;

}  // namespace

Roller::Roller(const RollingSpec& spec, Backend backend, int threads)
    : spec_(spec), threads_(thread_count(backend, threads)) {
    check(spec.window);
    check_tick(spec.tick);
    if (spec.stride == 0) throw InvalidArgument("stride must be >= 1, was 0");
    backend_ = make_rolling(spec.window, backend);
    kernels_ = backend == Backend::scalar ? nullptr : &simd::kernels();
}

std::uint64_t Chunk::outputs() const {
    const std::uint64_t first = first_output();
    return first < prices ? (prices - first - 1) / stride + 1 : 0;
}

Chunk Chunk::part(std::uint64_t first, std::uint64_t count) const {
    Chunk chunk = *this;
    for (std::uint64_t word = 0; word < first / 64; ++word)
        chunk.bits_before += ones(emitted[word]);
    chunk.emitted += first / 64;
    chunk.prices_before += first;
    chunk.prices = count;
    return chunk;
}

RollingOutputs RollingOutputs::from(std::size_t i) const {
    RollingOutputs rest = *this;
    for (Column& column : rest.metrics) column = column.from(i);
    rest.flat_ratio = flat_ratio.from(i);
    if (complete != nullptr) rest.complete += i;
    return rest;
}

std::uint64_t Roller::outputs_of(std::uint64_t prices) const {
    Chunk chunk{};
    chunk.prices_before = flat_.size();
    chunk.prices = prices;
    chunk.stride = spec_.stride;
    return chunk.outputs();
}

void Roller::append(std::uint64_t bits, std::uint64_t joined, int count) {
    if (bits_.size() == 0) joined &= ~std::uint64_t{1};  // the first bit has none before it
    if (spec_.window.groups & group_qbsa) {
        for (int i = 0; i < count; ++i) append_predicted(bits >> i & 1, joined >> i & 1);
        return;
    }
    bits_.append(bits, count);
    joined_.append(joined, count);
}

void Roller::count_pair(std::uint64_t bit, int sign) {
    if (!joined_.at(bit)) return;
    int& n = bits_.at(bit - 1) ? (bits_.at(bit) ? pairs_.n11 : pairs_.n10)
                               : (bits_.at(bit) ? pairs_.n01 : pairs_.n00);
    n += sign;
}

void Roller::append_predicted(bool bit, bool joined) {
    const auto window = static_cast<std::uint64_t>(spec_.window.window);
    const std::uint64_t end = bits_.size();
    bool error = false;
    if (end >= window) {
        const BitsBefore before{bits_.words(), end - bits_.forgotten()};
        error = predicted_bit(spec_.window.predictor, pairs_, before(0)) != bit;
    }
    errors_.append(error);
    bits_.append(bit);
    joined_.append(joined);
    count_pair(end, 1);
    if (end >= window) count_pair(end - window + 1, -1);
}

void Roller::take_prices(std::span<const double> prices, std::span<const std::uint8_t> gap,
                         const RollingOutputs& out) {
    if (!gap.empty() && gap.size() != prices.size()) {
        throw InvalidArgument("gap must have one value per price, " +
                              std::to_string(prices.size()) + ", had " +
                              std::to_string(gap.size()));
    }
    const std::uint64_t bits_before = bits_.size();
    emitted_.assign(word_count(prices.size()), 0);
    prices_ = prices.size();
    prices_before_ = flat_.size();
    for (std::size_t first = 0; first < prices.size(); first += 64) {
        const std::size_t end = std::min(first + 64, prices.size());
        const bool whole = kernels_ != nullptr && end - first == 64;
        bool unused = false;
        const bool gaps = !gap.empty() && (!whole || kernels_->nonzero(&gap[first], unused) != 0);
        if (whole && !gaps && take_word(&prices[first])) continue;
        for (std::size_t k = first; k < end; ++k)
            take_price(prices[k], !gap.empty() && gap[k] != 0);
    }
    run(bits_before, out);
}

void Roller::take_price(double price, bool gap) {
    const std::uint64_t row = flat_.size();
    const Step step =
        advance(last_, spec_.encoding, spec_.tick, price, gap, static_cast<std::int64_t>(row));
    if (step.bit) append(std::uint64_t{*step.bit}, std::uint64_t{step.joined}, 1);
    const std::uint64_t k = row - prices_before_;
    emitted_[k / 64] |= std::uint64_t{step.bit.has_value()} << (k % 64);
    flat_.append(step.flat);
}

bool Roller::take_word(const double* prices) {
    if (!last_.seen || last_.gap_pending || spec_.encoding == Encoding::pip_trunc_carry)
        return false;
    const simd::PriceGrid grid{spec_.tick, ticks_max, off_grid_max};
    simd::EncodedPrices seen{};
    if (!kernels_->encode(prices, grid, last_.price, last_.ticks, seen)) return false;
    std::uint64_t emitted = ~std::uint64_t{0};
    std::uint64_t bits = seen.above;
    if (spec_.encoding == Encoding::moves) {
        emitted = ~seen.flat;
        bits = kernels_->compress(seen.up, emitted);
    } else if (spec_.encoding == Encoding::tick_carry) {
        if (last_.bit < 0 && (seen.flat & 1) != 0) return false;
        // Each round carries a bit over twice as many flat prices.
        std::uint64_t known = ~seen.flat | 1;
        bits = seen.up | (seen.flat & 1 & static_cast<std::uint64_t>(last_.bit));
        for (int shift = 1; shift < 64; shift *= 2) {
            bits |= bits << shift & ~known;
            known |= known << shift;
        }
    }
    const int count = ones(emitted);
    append(bits, ~std::uint64_t{0} >> (63 - (count > 0 ? count - 1 : 0)), count);
    emitted_[(flat_.size() - prices_before_) / 64] = emitted;
    flat_.append(seen.flat, 64);
    const int last = count > 0 ? static_cast<int>(bits >> (count - 1) & 1) : last_.bit;
    last_ = {prices[63], seen.ticks, last, false, true};
    return true;
}

void Roller::take_bits(std::span<const std::uint8_t> bits, std::span<const std::uint8_t> gap,
                       const RollingOutputs& out) {
    if (!gap.empty() && gap.size() != bits.size()) {
        throw InvalidArgument("gap must have one value per bit, " + std::to_string(bits.size()) +
                              ", had " + std::to_string(gap.size()));
    }
    const std::uint64_t bits_before = bits_.size();
    emitted_.assign(word_count(bits.size()), ~std::uint64_t{0});
    prices_ = bits.size();
    prices_before_ = flat_.size();
    const std::size_t packed = gap.empty() ? pack_words(bits, bits_before) : 0;
    for (std::size_t first = packed; first < bits.size(); first += 64) {
        const auto count = static_cast<int>(std::min<std::size_t>(64, bits.size() - first));
        bool bad = false;
        const bool whole = kernels_ != nullptr && count == 64;
        const std::uint64_t word =
            whole ? kernels_->nonzero(&bits[first], bad) : pack_word(&bits[first], count, bad);
        if (bad) refuse_value(bits, first, bits_before);
        std::uint64_t joined = ~std::uint64_t{0} >> (64 - count);
        if (!gap.empty() && whole) {
            bool unused = false;
            joined &= ~kernels_->nonzero(&gap[first], unused);
        } else if (!gap.empty()) {
            for (int i = 0; i < count; ++i) {
                if (gap[first + static_cast<std::size_t>(i)] != 0)
                    joined &= ~(std::uint64_t{1} << i);
            }
        }
        append(word, joined, count);
        flat_.append(0, count);
    }
    run(bits_before, out);
}

std::size_t Roller::pack_words(std::span<const std::uint8_t> bits, std::uint64_t bits_before) {
    const bool begins_words = bits_before % 64 == 0 && flat_.size() % 64 == 0;
    if (kernels_ == nullptr || !begins_words || spec_.window.groups & group_qbsa) return 0;
    const std::span<std::uint64_t> words = bits_.append_words(bits.size() / 64);
    const std::size_t pieces = words.size() / words_per_thread_min + 1;
    const std::size_t size = words.size() / pieces + 1;
    std::atomic<std::size_t> next = 0;
    std::atomic<bool> bad = false;
    in_parallel(threads_, pieces, [&] {
        for (std::size_t piece = next++; piece < pieces; piece = next++) {
            const std::size_t first = std::min(piece * size, words.size());
            const std::size_t count = std::min(size, words.size() - first);
            if (kernels_->pack(bits.data() + 64 * first, count, words.data() + first)) bad = true;
        }
    });
    if (bad) refuse_value(bits, 0, bits_before);
    const std::span<std::uint64_t> joined = joined_.append_words(words.size());
    std::ranges::fill(joined, ~std::uint64_t{0});
    if (bits_before == 0 && !joined.empty()) joined[0] -= 1;  // the first bit has none before it
    std::ranges::fill(flat_.append_words(words.size()), 0);
    return 64 * words.size();
}

void Roller::run(std::uint64_t bits_before, const RollingOutputs& out) {
    const Chunk chunk{
        {bits_.words(), bits_.forgotten()},
        {joined_.words(), joined_.forgotten()},
        {errors_.words(), errors_.forgotten()},
        {flat_.words(), flat_.forgotten()},
        emitted_.data(),
        bits_before,
        prices_before_,
        prices_,
        spec_.stride,
    };
    const std::uint64_t wanted = chunk.outputs() / windows_per_thread_min + 1;
    const auto parts = std::min<std::uint64_t>(static_cast<std::uint64_t>(threads_), wanted);
    if (parts <= 1) {
        backend_->run(chunk, out);
    } else {
        // Every part writes outputs of its own, so the result does not depend on their number.
        const std::uint64_t size = (prices_ / parts + 63) / 64 * 64;
        std::vector<std::jthread> workers;
        std::uint64_t output = 0;
        for (std::uint64_t first = 0; first < prices_; first += size) {
            const Chunk part = chunk.part(first, std::min(size, prices_ - first));
            const RollingOutputs place = out.from(output);
            output += part.outputs();
            workers.emplace_back([this, part, place] { backend_->run(part, place); });
        }
    }
    const auto window = static_cast<std::uint64_t>(spec_.window.window);
    // The vector kernels read words that begin up to 64 bits before a window.
    const std::uint64_t kept = std::max<std::uint64_t>(window, 64) + 64;
    bits_.keep(kept);
    joined_.keep(kept);
    errors_.keep(window);
    flat_.keep(window);
}

}  // namespace sep
