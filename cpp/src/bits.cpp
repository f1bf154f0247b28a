#include "sep/bits.hpp"

#include <algorithm>
#include <string>

#include "sep/errors.hpp"

namespace sep {

std::vector<std::uint64_t> pack(std::span<const std::uint8_t> bits) {
    std::vector<std::uint64_t> words;
    for (std::size_t first = 0; first < bits.size(); first += 64) {
        const std::size_t count = std::min<std::size_t>(64, bits.size() - first);
        bool bad = false;
        words.push_back(pack_word(bits.data() + first, static_cast<int>(count), bad));
        if (bad) refuse_value(bits, first, 0);
    }
    return words;
}

void refuse_value(std::span<const std::uint8_t> bits, std::size_t from,
                  std::uint64_t row_of_first) {
    while (bits[from] <= 1) ++from;
    throw InvalidArgument("bits must be 0 or 1, was " + std::to_string(bits[from]) + " at row " +
                          std::to_string(row_of_first + from));
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
