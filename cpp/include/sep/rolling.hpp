#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "sep/backend.hpp"
#include "sep/bits.hpp"
#include "sep/encode.hpp"
#include "sep/window.hpp"

namespace sep {

namespace simd {
struct EncodedPrices;
struct Kernels;
struct PriceGrid;
}  // namespace simd

/// Where one result goes, one value per output; nullptr: the result is not wanted.
struct Column {
    void* data = nullptr;
    bool single = false;  ///< binary32, rounded once from binary64

    SEP_HOST_DEVICE explicit operator bool() const { return data != nullptr; }

    SEP_HOST_DEVICE void store(std::size_t i, double value) const {
        if (single) {
            static_cast<float*>(data)[i] = static_cast<float>(value);
        } else {
            static_cast<double*>(data)[i] = value;
        }
    }

    Column from(std::size_t i) const {
        if (data == nullptr) return *this;
        return {static_cast<char*>(data) + i * (single ? sizeof(float) : sizeof(double)), single};
    }
};

struct RollingOutputs {
    /// In the order of the members of WindowMetrics.
    std::array<Column, window_metric_count> metrics{};
    /// Share of the newest `window` prices that did not move; NaN for the first `window` prices.
    Column flat_ratio;
    /// 1 where the window is full and has no gap in it, else 0.
    std::uint8_t* complete = nullptr;

    RollingOutputs from(std::size_t i) const;
};

struct RollingSpec {
    WindowSpec window;
    double tick = 0;
    Encoding encoding = Encoding::moves;
    /// Results are given for prices 0, stride, 2 stride, and so on.
    std::uint64_t stride = 1;
};

/// A stretch of prices as the backends see it.
///
/// Bit i of a series lies at i - forgotten of its words. The words reach far enough back for every
/// window of the chunk.
struct Chunk {
    struct Series {
        const std::uint64_t* words;
        std::uint64_t forgotten;

        SEP_HOST_DEVICE BitsBefore before(std::uint64_t end) const {
            return {words, end - forgotten};
        }
    };
    Series bits;
    Series joined;
    Series errors;
    Series flat;                   ///< by price
    const std::uint64_t* emitted;  ///< packed, by price of the chunk: it gave a bit
    std::uint64_t bits_before;     ///< bits that earlier prices gave
    std::uint64_t prices_before;
    std::uint64_t prices;
    std::uint64_t stride;
    std::uint64_t outputs_together;  ///< of this chunk and those that were cut off with it

    /// Cut the first `count` prices off, a multiple of 64 or all there are.
    Chunk cut(std::uint64_t count);
    /// Outputs of this chunk's prices.
    std::uint64_t outputs() const;
    /// The first price of the chunk that has an output.
    SEP_HOST_DEVICE std::uint64_t first_output() const {
        return (stride - prices_before % stride) % stride;
    }
};

/// Computes chunks; holds the tables that its window needs.
class RollingBackend {
public:
    virtual ~RollingBackend() = default;
    virtual void run(const Chunk& chunk, const RollingOutputs& out) = 0;
};

/// Called by the thread that makes a call, some milliseconds apart, while others may be at work.
/// What it throws ends the call.
using Between = std::function<void()>;

/// The rolling metrics of one series, taken in chunks of any size.
///
/// At a price that gives no bit the metrics stay as they were. NaN until the window is full.
class Roller {
public:
    /// @param threads  0: as many as the machine has; only CPU backends use more than one.
    /// @throws InvalidArgument  a part of the specification is out of range.
    /// @throws BackendError     `backend` cannot run here. There is no silent fallback.
    Roller(const RollingSpec& spec, Backend backend, int threads);

    /// Take in prices and write the results of those among them that have an output.
    ///
    /// @param gap  empty, or one value per price; non-zero: something is missing before that price.
    /// @param between  empty, or called now and then: between pieces of the windows only where
    ///                 `in_pieces()`.
    /// @throws InvalidArgument  a price breaks a rule of `advance`.
    /// The roller cannot be used after a throw.
    void take_prices(std::span<const double> prices, std::span<const std::uint8_t> gap,
                     const RollingOutputs& out, const Between& between = {});

    /// The same for bits, 0 or 1, each as if it came from a price of its own.
    void take_bits(std::span<const std::uint8_t> bits, std::span<const std::uint8_t> gap,
                   const RollingOutputs& out, const Between& between = {});

    /// Outputs that the next `prices` prices give.
    std::uint64_t outputs_of(std::uint64_t prices) const;

    const RollingSpec& spec() const { return spec_; }
    int threads() const { return threads_; }
    /// Whether windows are computed piece by piece, by this processor.
    bool in_pieces() const { return in_pieces_; }

private:
    /// Pack as many whole words as can be taken at once; returns how many bits they hold.
    std::size_t pack_words(std::span<const std::uint8_t> bits, std::uint64_t bits_before);
    /// Append the low `count` bits of a word, with the flags that join each to the one before.
    void append(std::uint64_t bits, std::uint64_t joined, int count);
    void append_predicted(bool bit, bool joined);
    /// Count the pair that ends with a bit, if it is joined to the one before; -1 takes it away.
    void count_pair(std::uint64_t bit, int sign);
    void take_price(double price, bool gap);
    /// What several threads make of whole words of prices; empty if one thread is as fast.
    std::vector<std::optional<simd::EncodedPrices>> encode_words(
        std::span<const double> prices) const;
    simd::PriceGrid grid() const;
    /// Take 64 prices without a gap at once; false: they are left to `take_price`.
    /// @param encoded  what `encode_words` has made of them, or nullptr.
    bool take_word(const double* prices, const simd::EncodedPrices* encoded);
    void run(std::uint64_t bits_before, const RollingOutputs& out, const Between& between);
    void run_in_pieces(Chunk chunk, const RollingOutputs& out, const Between& between);

    RollingSpec spec_;
    int threads_;
    bool in_pieces_;
    std::unique_ptr<RollingBackend> backend_;
    const simd::Kernels* kernels_;  ///< nullptr for the reference
    LastPrice last_;
    BitHistory bits_;
    BitHistory joined_;
    BitHistory errors_;
    BitHistory flat_;
    PairCounts pairs_;  ///< of the newest window, if predictions are asked for
    std::vector<std::uint64_t> emitted_;
    std::uint64_t prices_ = 0;  ///< of the chunk in hand
    std::uint64_t prices_before_ = 0;
};

/// @throws InvalidArgument  a part of the specification is out of range.
void check(const WindowSpec& spec);

}  // namespace sep
