#include "sep/stream.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "sep/errors.hpp"
#include "sep/rolling.hpp"

namespace sep {
namespace {

constexpr std::array<char, 8> magic{'S', 'E', 'P', 'Q', 'F', 'H', 'S', 0};
constexpr std::uint32_t layout_version = 1;

// FNV-1a, 64 bit: finds a damaged file, is no defence against a made one.
std::uint64_t checksum(std::span<const std::byte> bytes) {
    std::uint64_t hash = 14695981039346656037ULL;
    for (const std::byte b : bytes) {
        hash = (hash ^ std::to_integer<std::uint64_t>(b)) * 1099511628211ULL;
    }
    return hash;
}

template <class T>
void put(std::vector<std::byte>& out, const T& value) {
    const std::size_t size = out.size();
    out.resize(size + sizeof(T));
    std::memcpy(out.data() + size, &value, sizeof(T));
}

void put(std::vector<std::byte>& out, const NewestBits& bits) {
    for (const std::uint64_t word : bits.words()) put(out, word);
}

class Reader {
public:
    explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

    template <class T>
    T take() {
        T value{};
        if (bytes_.size() < sizeof(T)) throw InvalidArgument("snapshot is too short");
        std::memcpy(&value, bytes_.data(), sizeof(T));
        bytes_ = bytes_.subspan(sizeof(T));
        return value;
    }

    void take(NewestBits& bits) {
        for (std::uint64_t& word : bits.words()) word = take<std::uint64_t>();
    }

    bool at_end() const { return bytes_.empty(); }

private:
    std::span<const std::byte> bytes_;
};

int checked(int window) {
    check_window(window);
    return window;
}

}  // namespace

Stream::Stream(double tick, int window, Encoding encoding)
    : tick_(tick),
      window_(checked(window)),
      encoding_(encoding),
      bits_(window),
      joined_(window),
      flat_(window),
      spans_(damped_spans(window)),
      metrics_{no_metrics(), not_a_number(), false, -1, 0, 0} {
    check_tick(tick);
}

void Stream::compute() {
    const Tables& t = tables();
    const TableView view{t.g.data(), t.log2_3, t.rows.data(), t.row_of.data(), spans_.data()};
    metrics_.window =
        window_metrics(bits_, joined_, metrics_.bits_seen, window_, view, metrics_.complete);
    if (prices_seen_ > static_cast<std::uint64_t>(window_)) {
        metrics_.flat_ratio = count_ones(flat_, window_) / static_cast<double>(window_);
    }
}

const StreamMetrics& Stream::update(double price, bool gap) {
    const double ticks = to_ticks(price, tick_, -1);
    const Step step = advance(last_, encoding_, price, ticks, gap);
    ++prices_seen_;
    flat_.push(step.flat);
    if (step.bit) {
        bits_.push(*step.bit);
        joined_.push(step.joined && metrics_.bits_seen > 0);
        const bool same_run = step.joined && metrics_.last_bit == int{*step.bit};
        metrics_.run_length = same_run ? metrics_.run_length + 1 : 1;
        metrics_.last_bit = *step.bit;
        ++metrics_.bits_seen;
    }
    compute();
    return metrics_;
}

std::vector<std::byte> Stream::snapshot() const {
    std::vector<std::byte> out;
    put(out, magic);
    put(out, layout_version);
    put(out, static_cast<std::uint32_t>(window_));
    put(out, static_cast<std::uint8_t>(encoding_));
    put(out, static_cast<std::uint8_t>(last_.gap_pending));
    put(out, static_cast<std::uint8_t>(last_.seen));
    put(out, static_cast<std::int8_t>(metrics_.last_bit));
    put(out, tick_);
    put(out, last_.price);
    put(out, last_.ticks);
    put(out, prices_seen_);
    put(out, metrics_.bits_seen);
    put(out, metrics_.run_length);
    put(out, bits_);
    put(out, joined_);
    put(out, flat_);
    put(out, checksum(out));
    return out;
}

Stream Stream::restore(std::span<const std::byte> bytes) {
    Reader reader(bytes);
    if (reader.take<std::array<char, 8>>() != magic) {
        throw InvalidArgument("snapshot must start with the mark of a QFH stream");
    }
    const auto version = reader.take<std::uint32_t>();
    if (version != layout_version) {
        throw InvalidArgument("snapshot must have layout version " +
                              std::to_string(layout_version) + ", had " + std::to_string(version));
    }
    const std::size_t body = bytes.size() - std::min(bytes.size(), sizeof(std::uint64_t));
    if (Reader(bytes.subspan(body)).take<std::uint64_t>() != checksum(bytes.first(body))) {
        throw InvalidArgument("snapshot is damaged: its checksum does not fit");
    }
    const auto window = reader.take<std::uint32_t>();
    const auto encoding = reader.take<std::uint8_t>();
    if (name_of(static_cast<Encoding>(encoding)) == "unknown" || window > window_max) {
        throw InvalidArgument("snapshot holds an unknown encoding or window");
    }
    LastPrice last;
    last.gap_pending = reader.take<std::uint8_t>() != 0;
    last.seen = reader.take<std::uint8_t>() != 0;
    const int last_bit = reader.take<std::int8_t>();
    const double tick = reader.take<double>();
    last.price = reader.take<double>();
    last.ticks = reader.take<double>();

    Stream stream(tick, static_cast<int>(window), static_cast<Encoding>(encoding));
    stream.last_ = last;
    stream.prices_seen_ = reader.take<std::uint64_t>();
    stream.metrics_.last_bit = last_bit;
    stream.metrics_.bits_seen = reader.take<std::uint64_t>();
    stream.metrics_.run_length = reader.take<std::uint64_t>();
    reader.take(stream.bits_);
    reader.take(stream.joined_);
    reader.take(stream.flat_);
    reader.take<std::uint64_t>();
    if (!reader.at_end()) throw InvalidArgument("snapshot is too long");
    stream.compute();
    return stream;
}

}  // namespace sep
