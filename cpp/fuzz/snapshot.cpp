// Bytes are restored to a stream that works, or refused; a snapshot goes there and back.
#include <cmath>

#include "input.hpp"
#include "sep/stream.hpp"

namespace sep::fuzz {
namespace {

// The checksum of a snapshot keeps almost all bytes out; this one lets them in.
void repair(std::span<std::byte> bytes) {
    if (bytes.size() < 8) return;
    std::uint64_t hash = 14695981039346656037ULL;
    for (std::size_t i = 0; i + 8 < bytes.size(); ++i) {
        hash = (hash ^ std::to_integer<std::uint64_t>(bytes[i])) * 1099511628211ULL;
    }
    std::memcpy(&bytes[bytes.size() - 8], &hash, 8);
}

void use(Stream& stream, Input& input) {
    double ticks = 1000;
    for (int i = 0; i < 200; ++i) {
        ticks += static_cast<double>(input.in(0, 2)) - 1;
        try {
            stream.update(ticks * stream.spec().tick, input.flag());
        } catch (const InvalidArgument&) {
            return;  // a tick of any size may take a price out of range
        }
    }
    const std::vector<std::byte> bytes = stream.snapshot();
    Stream again = Stream::restore(bytes);
    require(again.snapshot() == bytes, "a snapshot goes there and back");
    const WindowMetrics a = stream.metrics().window;
    const WindowMetrics b = again.metrics().window;
    require(std::memcmp(&a, &b, sizeof(a)) == 0, "a restored stream has the same metrics");
}

// A bank's bytes: a mark, a version, how many streams, the bytes of each, one stream more, a
// checksum.
void repair_bank(std::vector<std::byte>& bytes) {
    constexpr std::size_t head = 28;
    if (bytes.size() < head) return;
    std::uint64_t size_each = 0;
    std::memcpy(&size_each, &bytes[20], sizeof(size_each));
    if (size_each > 0) {
        for (std::size_t at = head; size_each <= bytes.size() - at; at += size_each) {
            repair(std::span(bytes).subspan(at, size_each));
        }
    }
    repair(bytes);
}

void use(StreamBank& bank, Input& input) {
    const RollingOutputs nothing;
    for (int i = 0; i < 40; ++i) {
        std::vector<double> prices(bank.size(), std::nan(""));
        for (double& price : prices) price = input.flag() ? 0.25 * (1 + (i & 3)) : price;
        try {
            bank.update(prices, {}, nothing);
        } catch (const InvalidArgument&) {
            return;
        }
    }
    const std::vector<std::byte> bytes = bank.snapshot();
    require(StreamBank::restore(bytes).snapshot() == bytes, "a bank goes there and back");
}

void bank(Input& input, const RollingSpec& spec) {
    StreamBank made(spec, std::vector<double>(static_cast<std::size_t>(input.in(0, 20)), 0.25));
    std::vector<std::byte> image = made.snapshot();
    for (auto count = input.in(0, 6); count > 0; --count) {
        const auto last = static_cast<std::int64_t>(image.size()) - 1;
        image[static_cast<std::size_t>(input.in(0, last))] = input.take<std::byte>();
    }
    if (input.flag()) repair_bank(image);
    try {
        StreamBank restored = StreamBank::restore(image);
        use(restored, input);
    } catch (const InvalidArgument&) {
        return;
    }
}

}  // namespace

void snapshot(std::span<const std::uint8_t> bytes) {
    Input input(bytes);
    std::vector<std::byte> image;
    if (input.flag()) {
        const auto all = std::as_bytes(input.rest());
        image.assign(all.begin(), all.end());
    } else {
        RollingSpec spec;
        spec.tick = 0.25;
        spec.window.window = static_cast<int>(input.in(8, 1024));
        spec.window.groups = static_cast<unsigned>(input.in(0, 31));
        if (input.in(0, 2) == 0) {
            bank(input, spec);
            return;
        }
        Stream stream(spec);
        for (int i = 0; i < 100; ++i) {
            stream.update(0.25 * static_cast<double>(input.in(1, 8)), input.flag());
        }
        image = stream.snapshot();
        for (auto count = input.in(0, 6); count > 0; --count) {
            const auto last = static_cast<std::int64_t>(image.size()) - 1;
            image[static_cast<std::size_t>(input.in(0, last))] = input.take<std::byte>();
        }
        if (input.in(0, 7) == 0) image.resize(static_cast<std::size_t>(input.in(0, 2'000)));
    }
    if (input.flag()) repair(image);
    try {
        Stream stream = Stream::restore(image);
        use(stream, input);
    } catch (const InvalidArgument&) {
        return;
    }
}

}  // namespace sep::fuzz
