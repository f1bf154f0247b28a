#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sep {

/// Words that hold `size` bits, 64 to a word.
constexpr std::size_t word_count(std::size_t size) { return (size + 63) / 64; }

/// Bit i of a packed array: bit i % 64 of word i / 64.
constexpr bool bit_at(std::span<const std::uint64_t> words, std::size_t i) {
    return (words[i / 64] >> (i % 64)) & 1;
}

/// Append one bit at position `i` of an array whose bits from i on are 0.
inline void append_bit(std::vector<std::uint64_t>& words, std::size_t i, bool bit) {
    if (i % 64 == 0) words.push_back(0);
    words[i / 64] |= std::uint64_t{bit} << (i % 64);
}

/// Pack values 0 and 1, oldest first; unused high bits of the last word are 0.
/// @throws InvalidArgument  a value is neither 0 nor 1; the message names the first such row.
std::vector<std::uint64_t> pack(std::span<const std::uint8_t> bits);

/// The inverse of pack. `out.size()` bits are written; `words` holds at least that many.
/// @throws InvalidArgument  `words` is too short for `out`.
void unpack(std::span<const std::uint64_t> words, std::span<std::uint8_t> out);

/// A series of direction bits, oldest first.
///
/// `joined` says of bit i whether the transition from bit i-1 into it is valid: it is not where the
/// price of bit i follows a gap. The flag of bit 0 has no meaning and is 0.
struct BitSeries {
    std::vector<std::uint64_t> bits;
    std::vector<std::uint64_t> joined;
    std::size_t size = 0;

    void append(bool bit, bool is_joined) {
        append_bit(bits, size, bit);
        append_bit(joined, size, is_joined && size > 0);
        ++size;
    }
};

/// A series from values 0 and 1.
/// @param gap  empty, or one value per bit; non-zero: the transition into that bit is not valid.
/// @throws InvalidArgument  a value is neither 0 nor 1, or the sizes differ.
BitSeries bit_series(std::span<const std::uint8_t> bits, std::span<const std::uint8_t> gap);

}  // namespace sep
