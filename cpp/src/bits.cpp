#include "sep/bits.hpp"

#include <string>

#include "sep/errors.hpp"

namespace sep {

std::vector<std::uint64_t> pack(std::span<const std::uint8_t> bits) {
    std::vector<std::uint64_t> words(word_count(bits.size()), 0);
    for (std::size_t i = 0; i < bits.size(); ++i) {
        if (bits[i] > 1) {
            throw InvalidArgument("bits must be 0 or 1, was " + std::to_string(bits[i]) +
                                  " at row " + std::to_string(i));
        }
        words[i / 64] |= std::uint64_t{bits[i]} << (i % 64);
    }
    return words;
}

void unpack(std::span<const std::uint64_t> words, std::span<std::uint8_t> out) {
    if (words.size() < word_count(out.size())) {
        throw InvalidArgument(
            "size must be at most 64 * len(words) = " + std::to_string(64 * words.size()) +
            ", was " + std::to_string(out.size()));
    }
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = bit_at(words, i);
}

BitSeries bit_series(std::span<const std::uint8_t> bits, std::span<const std::uint8_t> gap) {
    if (!gap.empty() && gap.size() != bits.size()) {
        throw InvalidArgument("gap must have one value per bit, " + std::to_string(bits.size()) +
                              ", had " + std::to_string(gap.size()));
    }
    BitSeries series{pack(bits), std::vector<std::uint64_t>(word_count(bits.size()), 0),
                     bits.size()};
    for (std::size_t i = 1; i < bits.size(); ++i) {
        const bool is_joined = gap.empty() || gap[i] == 0;
        series.joined[i / 64] |= std::uint64_t{is_joined} << (i % 64);
    }
    return series;
}

}  // namespace sep
