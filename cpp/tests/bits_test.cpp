#include "sep/bits.hpp"

#include <gtest/gtest.h>

#include "sep/errors.hpp"
#include "sep/window.hpp"
#include "series.hpp"

namespace sep {
namespace {

TEST(Bits, PacksTheOldestBitLowest) {
    // 1 + 4 + 8 = 13
    const std::vector<std::uint8_t> bits{1, 0, 1, 1};
    EXPECT_EQ(pack(bits), std::vector<std::uint64_t>{13});
}

TEST(Bits, UnpackGivesBackWhatWasPacked) {
    for (const std::size_t size : {0, 1, 31, 32, 33, 63, 64, 65, 127, 128, 129, 1000}) {
        const auto bits = tests::random_bits(size, size);
        std::vector<std::uint8_t> back(size);
        unpack(pack(bits), back);
        EXPECT_EQ(back, bits) << size;
    }
}

TEST(Bits, RefusesATwoAndNamesItsRow) {
    const std::vector<std::uint8_t> bits{0, 1, 2, 2};
    try {
        pack(bits);
        FAIL() << "a 2 was packed";
    } catch (const InvalidArgument& error) {
        EXPECT_STREQ(error.what(), "bits must be 0 or 1, was 2 at row 2");
    }
}

TEST(Bits, BitsBeforeTurnsTheNewestToTheTop) {
    const auto bits = tests::random_bits(200, 7);
    const auto words = pack(bits);
    for (std::uint64_t end = 0; end <= 200; ++end) {
        const BitsBefore before{words.data(), end};
        for (std::uint64_t k = 0; k < 256; ++k) {
            const bool expected = k < end && bits[end - 1 - k] == 1;
            const bool found = before(static_cast<int>(k / 64)) >> (63 - k % 64) & 1;
            ASSERT_EQ(found, expected) << "end " << end << ", k " << k;
        }
    }
}

}  // namespace
}  // namespace sep
