#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "backends.hpp"
#include "parallel.hpp"
#include "sep/errors.hpp"
#include "sep/rolling.hpp"
#include "simd/kernels.hpp"

namespace sep {
namespace {

// Below this many windows a thread costs more than it saves.
constexpr std::uint64_t windows_per_thread_min = 16'384;
// Pieces are small beside a call, so that threads end together, and large beside a block.
constexpr std::uint64_t pieces_per_thread = 32;
constexpr std::uint64_t prices_per_piece_min = 16'384;
// The path metrics take microseconds a window; the caller looks up between pieces.
constexpr std::uint64_t prices_per_path_piece_min = 4'096;
constexpr std::size_t words_per_thread_min = 1'024;
// Taking prices in takes some ten nanoseconds each.
constexpr std::size_t prices_between = 262'144;

}  // namespace

Roller::Roller(const RollingSpec& spec, Backend backend, int threads)
    : spec_(spec), threads_(thread_count(backend, threads)), in_pieces_(backend != Backend::cuda) {
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

Chunk Chunk::cut(std::uint64_t count) {
    Chunk first = *this;
    first.prices = count;
    for (std::uint64_t word = 0; word < count / 64; ++word) bits_before += ones(emitted[word]);
    emitted += count / 64;
    prices_before += count;
    prices -= count;
    return first;
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
                         const RollingOutputs& out, const Between& between) {
    if (!gap.empty() && gap.size() != prices.size()) {
        throw InvalidArgument("gap must have one value per price, " +
                              std::to_string(prices.size()) + ", had " +
                              std::to_string(gap.size()));
    }
    const std::uint64_t bits_before = bits_.size();
    emitted_.assign(word_count(prices.size()), 0);
    prices_ = prices.size();
    prices_before_ = flat_.size();
    const std::vector<std::optional<simd::EncodedPrices>> encoded = encode_words(prices);
    for (std::size_t first = 0; first < prices.size(); first += 64) {
        if (between && first % prices_between == 0) between();
        const std::size_t end = std::min(first + 64, prices.size());
        const std::size_t word = first / 64;
        const bool known = word < encoded.size() && encoded[word];
        const bool whole = kernels_ != nullptr && end - first == 64;
        bool unused = false;
        const bool gaps = !gap.empty() && (!whole || kernels_->nonzero(&gap[first], unused) != 0);
        if (whole && !gaps && take_word(&prices[first], known ? &*encoded[word] : nullptr))
            continue;
        for (std::size_t k = first; k < end; ++k)
            take_price(prices[k], !gap.empty() && gap[k] != 0);
    }
    run(bits_before, out, between);
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

std::vector<std::optional<simd::EncodedPrices>> Roller::encode_words(
    std::span<const double> prices) const {
    std::vector<std::optional<simd::EncodedPrices>> encoded;
    const bool by_one = threads_ == 1 || prices.size() / 64 <= words_per_thread_min;
    if (by_one || kernels_ == nullptr || spec_.encoding == Encoding::pip_trunc_carry)
        return encoded;
    encoded.resize(prices.size() / 64);
    const std::size_t pieces = (encoded.size() - 1) / words_per_thread_min + 1;
    each_in_parallel(threads_, pieces, [&](std::size_t piece) {
        const std::size_t first = piece * words_per_thread_min;
        const std::size_t end = std::min(first + words_per_thread_min, encoded.size());
        // The first word of all waits for the price before the call.
        for (std::size_t word = std::max<std::size_t>(first, 1); word < end; ++word) {
            const double before = prices[64 * word - 1];
            simd::EncodedPrices seen{};
            if (kernels_->encode(&prices[64 * word], grid(), before,
                                 std::nearbyint(before / spec_.tick), seen)) {
                encoded[word] = seen;
            }
        }
    });
    return encoded;
}

simd::PriceGrid Roller::grid() const { return {spec_.tick, ticks_max, off_grid_max}; }

bool Roller::take_word(const double* prices, const simd::EncodedPrices* encoded) {
    if (!last_.seen || last_.gap_pending || spec_.encoding == Encoding::pip_trunc_carry)
        return false;
    simd::EncodedPrices seen{};
    if (encoded != nullptr) {
        seen = *encoded;
    } else if (!kernels_->encode(prices, grid(), last_.price, last_.ticks, seen)) {
        return false;
    }
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
                       const RollingOutputs& out, const Between& between) {
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
        if (between && first % prices_between == 0) between();
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
    run(bits_before, out, between);
}

std::size_t Roller::pack_words(std::span<const std::uint8_t> bits, std::uint64_t bits_before) {
    const bool begins_words = bits_before % 64 == 0 && flat_.size() % 64 == 0;
    if (kernels_ == nullptr || !begins_words || spec_.window.groups & group_qbsa) return 0;
    const std::span<std::uint64_t> words = bits_.append_words(bits.size() / 64);
    const std::size_t pieces = words.size() / words_per_thread_min + 1;
    const std::size_t size = words.size() / pieces + 1;
    std::atomic<bool> bad = false;
    each_in_parallel(threads_, pieces, [&](std::size_t piece) {
        const std::size_t first = std::min(piece * size, words.size());
        const std::size_t count = std::min(size, words.size() - first);
        if (kernels_->pack(bits.data() + 64 * first, count, words.data() + first)) bad = true;
    });
    if (bad) refuse_value(bits, 0, bits_before);
    const std::span<std::uint64_t> joined = joined_.append_words(words.size());
    std::ranges::fill(joined, ~std::uint64_t{0});
    if (bits_before == 0 && !joined.empty()) joined[0] -= 1;  // the first bit has none before it
    std::ranges::fill(flat_.append_words(words.size()), 0);
    return 64 * words.size();
}

void Roller::run_in_pieces(Chunk chunk, const RollingOutputs& out, const Between& between) {
    // Every piece writes outputs of its own, so the result does not depend on their number.
    struct Piece {
        Chunk chunk;
        RollingOutputs out;
    };
    const std::uint64_t wanted = chunk.outputs_together / windows_per_thread_min + 1;
    const auto threads = std::min(static_cast<std::uint64_t>(threads_), wanted);
    const std::uint64_t even = chunk.prices / (pieces_per_thread * threads);
    const std::uint64_t least =
        spec_.window.groups & group_path ? prices_per_path_piece_min : prices_per_piece_min;
    const std::uint64_t size = std::max(even, least) / 64 * 64;
    std::vector<Piece> pieces;
    std::uint64_t output = 0;
    while (chunk.prices > 0) {
        pieces.push_back({chunk.cut(std::min(size, chunk.prices)), out.from(output)});
        output += pieces.back().chunk.outputs();
    }
    each_in_parallel(
        static_cast<int>(threads), pieces.size(),
        [&](std::size_t piece) { backend_->run(pieces[piece].chunk, pieces[piece].out); },
        [&] {
            if (between) between();
        });
}

void Roller::run(std::uint64_t bits_before, const RollingOutputs& out, const Between& between) {
    Chunk chunk{
        {bits_.words(), bits_.forgotten()},
        {joined_.words(), joined_.forgotten()},
        {errors_.words(), errors_.forgotten()},
        {flat_.words(), flat_.forgotten()},
        emitted_.data(),
        bits_before,
        prices_before_,
        prices_,
        spec_.stride,
        0,
    };
    chunk.outputs_together = chunk.outputs();
    if (in_pieces_) {
        run_in_pieces(chunk, out, between);
    } else {
        backend_->run(chunk, out);
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
