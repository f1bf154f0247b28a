#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sep/rolling.hpp"

namespace sep {

/// The newest bits of a series as words, the newest in the top bit of word 0.
class NewestBits {
public:
    explicit NewestBits(int capacity) : words_(word_count(static_cast<std::size_t>(capacity)), 0) {}

    void push(bool bit) {
        for (std::size_t i = words_.size() - 1; i > 0; --i) {
            words_[i] = words_[i] >> 1 | words_[i - 1] << 63;
        }
        words_[0] = words_[0] >> 1 | std::uint64_t{bit} << 63;
    }

    std::uint64_t operator()(int i) const { return words_[static_cast<std::size_t>(i)]; }

    std::span<std::uint64_t> words() { return words_; }
    std::span<const std::uint64_t> words() const { return words_; }

private:
    std::vector<std::uint64_t> words_;
};

/// What a stream knows after a price.
struct StreamMetrics {
    WindowMetrics window;
    double flat_ratio;
    bool complete;             ///< the window is full and has no gap in it
    int last_bit;              ///< 0, 1, or -1 before the first bit
    std::uint64_t run_length;  ///< newest equal bits; a gap starts a new run
    std::uint64_t bits_seen;
};

/// The rolling metrics one price at a time, equal to `rolling` to the last bit.
class Stream {
public:
    /// @throws InvalidArgument  a part of the specification is out of range. The stride must be 1.
    explicit Stream(const RollingSpec& spec);

    /// With tables that streams of one window length share.
    Stream(const RollingSpec& spec, std::shared_ptr<const WindowTables> tables);

    /// @throws InvalidArgument  as `update` would for this price.
    void check_price(double price) const;

    /// Take in the next price.
    /// @param gap  something is missing before this price.
    /// @throws InvalidArgument  the price breaks a rule of `encode`; the stream is then unchanged.
    const StreamMetrics& update(double price, bool gap);

    const StreamMetrics& metrics() const { return metrics_; }
    const RollingSpec& spec() const { return spec_; }

    /// The whole state as bytes: a magic word, the version of the layout, the state, a checksum.
    std::vector<std::byte> snapshot() const;

    /// @throws InvalidArgument  the bytes are not a snapshot, are damaged, or have another version.
    static Stream restore(std::span<const std::byte> bytes);

private:
    friend class StreamBank;

    /// @param like  nullptr, or a stream of the same specification but for the tick; its tables are
    /// shared.
    static Stream restored(std::span<const std::byte> bytes, const Stream* like);

    /// Take in the next price, and leave the metrics as they are.
    void take(double price, bool gap);
    void compute();
    double flat_share() const;
    /// The window, of 64 bits at most, is full, and neither it nor lambda's bits have a gap.
    bool whole() const;

    RollingSpec spec_;
    LastPrice last_;
    std::uint64_t prices_seen_ = 0;
    NewestBits bits_;
    NewestBits joined_;
    NewestBits errors_;
    NewestBits flat_;
    std::shared_ptr<const WindowTables> tables_;
    StreamMetrics metrics_;
};

/// Streams of many instruments, updated in one call.
class StreamBank {
public:
    /// @param ticks  one for each instrument; the tick of `spec` is not used.
    /// @throws InvalidArgument  a tick or a part of the specification is out of range.
    StreamBank(const RollingSpec& spec, std::span<const double> ticks);
    ~StreamBank();
    StreamBank(StreamBank&&) noexcept;
    StreamBank& operator=(StreamBank&&) noexcept;

    std::size_t size() const { return streams_.size(); }
    /// Of all streams; its tick is of none.
    const RollingSpec& spec() const { return spec_; }

    /// The whole state as bytes: a magic word, the version of the layout, the snapshots of the
    /// streams, a checksum.
    std::vector<std::byte> snapshot() const;

    /// @throws InvalidArgument  the bytes are not a snapshot of a bank, are damaged, or have
    /// another version.
    static StreamBank restore(std::span<const std::byte> bytes);

    /// Take in one price for each instrument and write its metrics.
    ///
    /// @param prices  NaN: this instrument has no new price; its metrics stay as they were.
    /// @param gap     empty, or one value per instrument.
    /// @throws InvalidArgument  the sizes differ, or a price breaks a rule; no stream is then
    /// changed.
    void update(std::span<const double> prices, std::span<const std::uint8_t> gap,
                const RollingOutputs& out);

private:
    struct Batch;

    /// Write what a stream knows of its newest window; the columns of the batch are left out.
    void write(std::size_t i, const RollingOutputs& out);
    void write_batch(const RollingOutputs& out);

    RollingSpec spec_;
    std::vector<Stream> streams_;
    std::unique_ptr<Batch> batch_;  ///< nullptr: every stream computes its own window
};

}  // namespace sep
