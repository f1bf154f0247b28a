#include "sep/stream.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>

#include "backends.hpp"
#include "sep/errors.hpp"
#include "simd/window_kernels.hpp"

namespace sep {
namespace {

constexpr std::array<char, 8> magic{'S', 'E', 'P', 'Q', 'F', 'H', 'S', 0};
constexpr std::uint32_t layout_version = 2;
constexpr std::array<char, 8> magic_of_bank{'S', 'E', 'P', 'Q', 'F', 'H', 'B', 0};
constexpr std::uint32_t layout_version_of_bank = 1;

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

    std::span<const std::byte> take(std::size_t count) {
        if (bytes_.size() < count) throw InvalidArgument("snapshot is too short");
        const auto first = bytes_.first(count);
        bytes_ = bytes_.subspan(count);
        return first;
    }

    bool at_end() const { return bytes_.empty(); }

private:
    std::span<const std::byte> bytes_;
};

/// Take the mark and the version of a layout, and see that the checksum fits.
std::uint32_t take_head(Reader& reader, std::span<const std::byte> bytes,
                        const std::array<char, 8>& mark, std::uint32_t newest, const char* of) {
    if (reader.take<std::array<char, 8>>() != mark) {
        throw InvalidArgument(std::string("snapshot must start with the mark of a QFH ") + of);
    }
    const auto version = reader.take<std::uint32_t>();
    if (version < 1 || version > newest) {
        throw InvalidArgument("snapshot must have a layout version of 1 to " +
                              std::to_string(newest) + ", had " + std::to_string(version));
    }
    const std::size_t body = bytes.size() - std::min(bytes.size(), sizeof(std::uint64_t));
    if (Reader(bytes.subspan(body)).take<std::uint64_t>() != checksum(bytes.first(body))) {
        throw InvalidArgument("snapshot is damaged: its checksum does not fit");
    }
    return version;
}

bool same_but_tick(const RollingSpec& a, const RollingSpec& b) {
    return a.encoding == b.encoding && a.window.window == b.window.window &&
           a.window.groups == b.window.groups && a.window.predictor == b.window.predictor &&
           a.window.collapse_share == b.window.collapse_share;
}

const RollingSpec& checked(const RollingSpec& spec) {
    check(spec.window);
    check_tick(spec.tick);
    if (spec.stride != 1) throw InvalidArgument("stride of a stream must be 1");
    return spec;
}

std::shared_ptr<const WindowTables> make_tables(const WindowSpec& spec) {
    return std::make_shared<const WindowTables>(spec.window, (spec.groups & group_path) != 0);
}

}  // namespace

Stream::Stream(const RollingSpec& spec) : Stream(spec, make_tables(checked(spec).window)) {}

Stream::Stream(const RollingSpec& spec, std::shared_ptr<const WindowTables> tables)
    : spec_(checked(spec)),
      bits_(spec.window.window),
      joined_(spec.window.window),
      errors_(spec.window.window),
      flat_(spec.window.window),
      tables_(std::move(tables)),
      metrics_{no_metrics(), not_a_number(), false, -1, 0, 0} {}

void Stream::check_price(double price) const {
    LastPrice last = last_;
    advance(last, spec_.encoding, spec_.tick, price, false, -1);
}

void Stream::compute() {
    metrics_.window = window_metrics(bits_, joined_, errors_, metrics_.bits_seen, spec_.window,
                                     view_of(tables(), *tables_), metrics_.complete);
    if (prices_seen_ > 0) metrics_.flat_ratio = flat_share();
}

double Stream::flat_share() const {
    return flat_ratio(flat_, prices_seen_ - 1, spec_.window.window);
}

bool Stream::whole() const {
    const std::uint64_t valid = top_bits(std::max(spec_.window.window, lambda_bits) - 1);
    return (joined_(0) & valid) == valid;
}

const StreamMetrics& Stream::update(double price, bool gap) {
    take(price, gap);
    compute();
    return metrics_;
}

void Stream::take(double price, bool gap) {
    const Step step = advance(last_, spec_.encoding, spec_.tick, price, gap, -1);
    ++prices_seen_;
    flat_.push(step.flat);
    if (step.bit) {
        if (spec_.window.groups & group_qbsa) {
            const bool full = metrics_.bits_seen >= static_cast<std::uint64_t>(spec_.window.window);
            const PairCounts pairs = count_pairs(bits_, joined_, spec_.window.window);
            errors_.push(full &&
                         predicted_bit(spec_.window.predictor, pairs, bits_(0)) != *step.bit);
        }
        const bool same_run = step.joined && metrics_.last_bit == int{*step.bit};
        bits_.push(*step.bit);
        joined_.push(step.joined && metrics_.bits_seen > 0);
        metrics_.run_length = same_run ? metrics_.run_length + 1 : 1;
        metrics_.last_bit = *step.bit;
        ++metrics_.bits_seen;
    }
}

std::vector<std::byte> Stream::snapshot() const {
    std::vector<std::byte> out;
    put(out, magic);
    put(out, layout_version);
    put(out, static_cast<std::uint32_t>(spec_.window.window));
    put(out, static_cast<std::uint8_t>(spec_.encoding));
    put(out, static_cast<std::uint8_t>(last_.gap_pending));
    put(out, static_cast<std::uint8_t>(last_.seen));
    put(out, static_cast<std::int8_t>(metrics_.last_bit));
    put(out, spec_.tick);
    put(out, last_.price);
    put(out, last_.ticks);
    put(out, prices_seen_);
    put(out, metrics_.bits_seen);
    put(out, metrics_.run_length);
    put(out, bits_);
    put(out, joined_);
    put(out, flat_);
    // Since version 2:
    put(out, static_cast<std::uint32_t>(spec_.window.groups));
    put(out, static_cast<std::uint32_t>(spec_.window.predictor));
    put(out, spec_.window.collapse_share);
    put(out, errors_);
    put(out, checksum(out));
    return out;
}

Stream Stream::restore(std::span<const std::byte> bytes) { return restored(bytes, nullptr); }

Stream Stream::restored(std::span<const std::byte> bytes, const Stream* like) {
    Reader reader(bytes);
    const std::uint32_t version = take_head(reader, bytes, magic, layout_version, "stream");
    RollingSpec spec;
    const auto window = reader.take<std::uint32_t>();
    spec.window.window = static_cast<int>(std::min<std::uint32_t>(window, window_max + 1));
    spec.encoding = static_cast<Encoding>(reader.take<std::uint8_t>());
    if (name_of(spec.encoding) == "unknown") {
        throw InvalidArgument("snapshot holds an unknown encoding");
    }
    check(spec.window);

    LastPrice last;
    last.gap_pending = reader.take<std::uint8_t>() != 0;
    last.seen = reader.take<std::uint8_t>() != 0;
    last.bit = reader.take<std::int8_t>();
    spec.tick = reader.take<double>();
    last.price = reader.take<double>();
    last.ticks = reader.take<double>();
    StreamMetrics metrics{no_metrics(), not_a_number(), false, last.bit, 0, 0};
    const auto prices_seen = reader.take<std::uint64_t>();
    metrics.bits_seen = reader.take<std::uint64_t>();
    metrics.run_length = reader.take<std::uint64_t>();
    NewestBits bits(spec.window.window);
    NewestBits joined(spec.window.window);
    NewestBits flat(spec.window.window);
    NewestBits errors(spec.window.window);
    reader.take(bits);
    reader.take(joined);
    reader.take(flat);
    if (version >= 2) {
        spec.window.groups = reader.take<std::uint32_t>();
        const auto predictor = reader.take<std::uint32_t>();
        if (predictor > static_cast<std::uint32_t>(Predictor::majority8)) {
            throw InvalidArgument("snapshot holds an unknown predictor");
        }
        spec.window.predictor = static_cast<Predictor>(predictor);
        spec.window.collapse_share = reader.take<double>();
        reader.take(errors);
    }
    reader.take<std::uint64_t>();
    if (!reader.at_end()) throw InvalidArgument("snapshot is too long");

    if (like != nullptr && !same_but_tick(spec, like->spec_)) {
        throw InvalidArgument("snapshot holds streams that differ in more than their tick");
    }
    Stream stream(spec, like != nullptr ? like->tables_ : make_tables(checked(spec).window));
    stream.last_ = last;
    stream.prices_seen_ = prices_seen;
    stream.bits_ = std::move(bits);
    stream.joined_ = std::move(joined);
    stream.flat_ = std::move(flat);
    stream.errors_ = std::move(errors);
    stream.metrics_ = metrics;
    stream.compute();
    return stream;
}

/// What streams of up to 64 bits compute together.
struct StreamBank::Batch {
    Batch(const WindowSpec& spec, std::shared_ptr<const WindowTables> shared)
        : tables(std::move(shared)), kernels(spec, simd::kernels(), *tables) {}

    std::shared_ptr<const WindowTables> tables;
    simd::WindowKernels kernels;
    simd::Block block;
    std::array<std::array<double, simd::block_windows>, simd::column_count> column;
    std::array<std::size_t, simd::block_windows> stream;  ///< of each window
};

namespace {

// A batch must have so many streams to be faster than they are alone.
constexpr std::size_t batch_min = 16;

}  // namespace

StreamBank::StreamBank(const RollingSpec& spec, std::span<const double> ticks) : spec_(spec) {
    check(spec.window);
    const auto shared = make_tables(spec.window);
    RollingSpec own = spec;
    for (const double tick : ticks) {
        own.tick = tick;
        streams_.emplace_back(own, shared);
    }
    const unsigned others = spec.window.groups & ~unsigned{group_counts | group_damped};
    if (ticks.size() >= batch_min && spec.window.window <= 64 && others == 0) {
        batch_ = std::make_unique<Batch>(spec.window, shared);
    }
}

StreamBank::~StreamBank() = default;
StreamBank::StreamBank(StreamBank&&) noexcept = default;
StreamBank& StreamBank::operator=(StreamBank&&) noexcept = default;

std::vector<std::byte> StreamBank::snapshot() const {
    std::vector<std::byte> out;
    put(out, magic_of_bank);
    put(out, layout_version_of_bank);
    put(out, std::uint64_t{size()});
    // A stream that has seen nothing tells the specification, which a bank without streams has too.
    RollingSpec spec = spec_;
    spec.tick = 1;
    const std::vector<std::byte> unused = Stream(spec).snapshot();
    put(out, std::uint64_t{unused.size()});
    out.reserve(out.size() + (size() + 1) * unused.size() + sizeof(std::uint64_t));
    out.insert(out.end(), unused.begin(), unused.end());
    for (const Stream& stream : streams_) {
        const std::vector<std::byte> one = stream.snapshot();
        out.insert(out.end(), one.begin(), one.end());
    }
    put(out, checksum(out));
    return out;
}

StreamBank StreamBank::restore(std::span<const std::byte> bytes) {
    Reader reader(bytes);
    take_head(reader, bytes, magic_of_bank, layout_version_of_bank, "bank of streams");
    const auto count = reader.take<std::uint64_t>();
    const auto size_each = reader.take<std::uint64_t>();
    const Stream first = Stream::restore(reader.take(size_each));
    std::vector<Stream> streams;
    std::vector<double> ticks;
    for (std::uint64_t i = 0; i < count; ++i) {
        streams.push_back(Stream::restored(reader.take(size_each), &first));
        ticks.push_back(streams.back().spec().tick);
    }
    reader.take<std::uint64_t>();
    if (!reader.at_end()) throw InvalidArgument("snapshot is too long");
    StreamBank bank(first.spec(), ticks);
    bank.streams_ = std::move(streams);
    return bank;
}

void StreamBank::update(std::span<const double> prices, std::span<const std::uint8_t> gap,
                        const RollingOutputs& out) {
    if (prices.size() != size() || (!gap.empty() && gap.size() != size())) {
        throw InvalidArgument("prices and gap must have one value per instrument, " +
                              std::to_string(size()) + ", had " + std::to_string(prices.size()) +
                              " and " + std::to_string(gap.size()));
    }
    for (std::size_t i = 0; i < size(); ++i) {
        if (std::isnan(prices[i])) continue;
        try {
            streams_[i].check_price(prices[i]);
        } catch (const InvalidArgument& error) {
            throw InvalidArgument(std::string(error.what()) + " for instrument " +
                                  std::to_string(i));
        }
    }
    for (std::size_t i = 0; i < size(); ++i) {
        Stream& stream = streams_[i];
        if (!std::isnan(prices[i])) stream.take(prices[i], !gap.empty() && gap[i] != 0);
        if (batch_ == nullptr || !stream.whole()) {
            stream.compute();
            write(i, out);
        }
        if (out.flat_ratio) {
            out.flat_ratio.store(i,
                                 stream.prices_seen_ == 0 ? not_a_number() : stream.flat_share());
        }
    }
    if (batch_ != nullptr) write_batch(out);
}

void StreamBank::write(std::size_t i, const RollingOutputs& out) {
    const StreamMetrics& metrics = streams_[i].metrics();
    const MetricValues values = values_of(metrics.window);
    for (int m = 0; m < window_metric_count; ++m) {
        if (out.metrics[m]) out.metrics[m].store(i, values.value[m]);
    }
    if (out.complete != nullptr) out.complete[i] = metrics.complete;
}

void StreamBank::write_batch(const RollingOutputs& out) {
    simd::Block& block = batch_->block;
    simd::Columns columns{{}, false, false};
    for (int m = 0; m < simd::path_confidence; ++m) {
        const unsigned group = m < simd::lambda ? group_counts : group_damped;
        const bool computed = (streams_[0].spec().window.groups & group) != 0;
        if (out.metrics[m] && computed) columns.data[m] = batch_->column[m].data();
    }
    const simd::KernelTables tables = batch_->kernels.tables_for(size(), false);
    block.given = true;
    for (std::size_t first = 0; first < size();) {
        block.count = 0;
        for (; first < size() && block.count < simd::block_windows; ++first) {
            if (!streams_[first].whole()) continue;
            block.newest[block.count] = streams_[first].bits_(0);
            batch_->stream[block.count++] = first;
        }
        if (block.count == 0) return;
        batch_->kernels.kernels().compute(tables, {nullptr}, columns, block);
        for (int m = 0; m < window_metric_count; ++m) {
            if (!out.metrics[m]) continue;
            const bool computed = m < simd::column_count && columns.data[m] != nullptr;
            for (int i = 0; i < block.count; ++i) {
                out.metrics[m].store(batch_->stream[i],
                                     computed ? batch_->column[m][i] : not_a_number());
            }
        }
        if (out.complete == nullptr) continue;
        for (int i = 0; i < block.count; ++i) out.complete[batch_->stream[i]] = 1;
    }
}

}  // namespace sep
