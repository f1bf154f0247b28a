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
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = words[i / 64] >> (i % 64) & 1;
}

}  // namespace sep
