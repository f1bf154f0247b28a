#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sep {

/// Words that hold `size` bits, 64 to a word.
constexpr std::size_t word_count(std::size_t size) { return (size + 63) / 64; }

/// Pack values 0 and 1, oldest first: bit i is bit i % 64 of word i / 64. Unused high bits of the
/// last word are 0.
/// @throws InvalidArgument  a value is neither 0 nor 1; the message names the first such row.
std::vector<std::uint64_t> pack(std::span<const std::uint8_t> bits);

/// The inverse of pack. `out.size()` bits are written; `words` holds at least that many.
/// @throws InvalidArgument  `words` is too short for `out`.
void unpack(std::span<const std::uint64_t> words, std::span<std::uint8_t> out);

/// A growing packed array that forgets its oldest words.
class BitHistory {
public:
    /// Bits ever appended.
    std::uint64_t size() const { return size_; }

    void append(bool bit) {
        if (size_ % 64 == 0) words_.push_back(0);
        words_.back() |= std::uint64_t{bit} << (size_ % 64);
        ++size_;
    }

    /// Forget what is older than the newest `count` bits, as far as whole words go.
    void keep(std::uint64_t count) {
        if (size_ < count + forgotten_ + 64) return;
        const std::uint64_t words = (size_ - count - forgotten_) / 64;
        words_.erase(words_.begin(), words_.begin() + static_cast<std::ptrdiff_t>(words));
        forgotten_ += 64 * words;
    }

    const std::uint64_t* words() const { return words_.data(); }
    std::size_t word_total() const { return words_.size(); }

    /// Bits before the first word that is kept; a multiple of 64.
    std::uint64_t forgotten() const { return forgotten_; }

    bool operator[](std::uint64_t i) const { return words_[(i - forgotten_) / 64] >> (i % 64) & 1; }

private:
    std::vector<std::uint64_t> words_;
    std::uint64_t size_ = 0;
    std::uint64_t forgotten_ = 0;
};

}  // namespace sep
