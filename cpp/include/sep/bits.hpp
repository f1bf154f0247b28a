#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace sep {

/// Words that hold `size` bits, 64 to a word.
constexpr std::size_t word_count(std::size_t size) { return (size + 63) / 64; }

/// Pack values 0 and 1, oldest first: bit i is bit i % 64 of word i / 64. Unused high bits of the
/// last word are 0.
/// @throws InvalidArgument  a value is neither 0 nor 1; the message names the first such row.
std::vector<std::uint64_t> pack(std::span<const std::uint8_t> bits);

/// The first `count` values as a word, count in 0..64; any value above 1 sets `bad`.
inline std::uint64_t pack_word(const std::uint8_t* values, int count, bool& bad) {
    std::uint64_t word = 0;
    std::uint64_t seen = 0;
    int i = 0;
    if constexpr (std::endian::native == std::endian::little) {
        for (; i + 8 <= count; i += 8) {
            std::uint64_t eight;
            std::memcpy(&eight, values + i, sizeof(eight));
            seen |= eight;
            // The product brings bit 0 of byte k to bit 56 + k.
            word |= ((eight & 0x0101010101010101) * 0x0102040810204080 >> 56) << i;
        }
    }
    for (; i < count; ++i) {
        seen |= values[i];
        word |= std::uint64_t{values[i] & 1U} << i;
    }
    bad |= (seen & 0xFEFEFEFEFEFEFEFE) != 0;
    return word;
}

/// The inverse of pack. `out.size()` bits are written; `words` holds at least that many.
/// @throws InvalidArgument  `words` is too short for `out`.
void unpack(std::span<const std::uint64_t> words, std::span<std::uint8_t> out);

/// Refuse the first value above 1 at or after `from`; `row_of_first` is the row of bits[0].
/// @throws InvalidArgument  always.
[[noreturn]] void refuse_value(std::span<const std::uint8_t> bits, std::size_t from,
                               std::uint64_t row_of_first);

/// A growing packed array that forgets its oldest words.
class BitHistory {
public:
    /// Bits ever appended.
    std::uint64_t size() const { return size_; }

    void append(bool bit) { append(std::uint64_t{bit}, 1); }

    /// Append the low `count` bits of a word whose other bits are 0; count in 0..64.
    void append(std::uint64_t word, int count) {
        if (count == 0) return;
        const int used = static_cast<int>(size_ % 64);
        if (used == 0) {
            words_.push_back(word);
        } else {
            words_.back() |= word << used;
            if (used + count > 64) words_.push_back(word >> (64 - used));
        }
        size_ += static_cast<std::uint64_t>(count);
    }

    /// Append so many whole words, to be written by the caller; the size is a multiple of 64.
    std::span<std::uint64_t> append_words(std::size_t count) {
        words_.resize(words_.size() + count);
        size_ += 64 * count;
        return std::span(words_).last(count);
    }

    /// Forget what is older than the newest `count` bits, as far as whole words go.
    void keep(std::uint64_t count) {
        if (size_ < count + forgotten_ + 64) return;
        const std::uint64_t words = (size_ - count - forgotten_) / 64;
        words_.erase(words_.begin(), words_.begin() + static_cast<std::ptrdiff_t>(words));
        forgotten_ += 64 * words;
    }

    /// A bit that is kept.
    bool at(std::uint64_t i) const {
        const std::uint64_t kept = i - forgotten_;
        return (words_[kept / 64] >> (kept % 64) & 1) != 0;
    }

    const std::uint64_t* words() const { return words_.data(); }
    /// Bits before the first word that is kept; a multiple of 64.
    std::uint64_t forgotten() const { return forgotten_; }

private:
    std::vector<std::uint64_t> words_;
    std::uint64_t size_ = 0;
    std::uint64_t forgotten_ = 0;
};

}  // namespace sep
