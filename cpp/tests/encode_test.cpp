#include "sep/encode.hpp"

#include <gtest/gtest.h>

#include "sep/errors.hpp"
#include "series.hpp"

namespace sep {
namespace {

std::vector<std::uint8_t> bits_of(const Encoded& encoded) {
    std::vector<std::uint8_t> bits(encoded.series.size);
    unpack(encoded.series.bits, bits);
    return bits;
}

const std::vector<double> prices{1.10, 1.11, 1.11, 1.10, 1.10, 1.12};

TEST(Encode, MovesGivesNoBitForAnEqualPrice) {
    const Encoded encoded = encode(prices, 0.01, Encoding::moves, {});
    EXPECT_EQ(bits_of(encoded), (std::vector<std::uint8_t>{1, 0, 1}));
    EXPECT_EQ(encoded.emitted, std::vector<std::uint64_t>{0b101010});
    EXPECT_EQ(encoded.flat, std::vector<std::uint64_t>{0b010100});
}

TEST(Encode, StrictUpCountsAnEqualPriceAsDown) {
    const Encoded encoded = encode(prices, 0.01, Encoding::strict_up, {});
    EXPECT_EQ(bits_of(encoded), (std::vector<std::uint8_t>{1, 0, 0, 0, 1}));
}

TEST(Encode, AGapBeforeAFlatPriceCountsForTheNextBit) {
    const std::vector<std::uint8_t> gap{0, 0, 0, 0, 1, 0};
    const Encoded encoded = encode(prices, 0.01, Encoding::moves, gap);
    // Bits 0 and 1 come from prices 1 and 3; bit 2, from price 5, is the one after the gap.
    EXPECT_EQ(encoded.series.joined, std::vector<std::uint64_t>{0b010});
}

TEST(Encode, NamesTheFirstRowThatIsOffTheTick) {
    const std::vector<double> off{1.10, 1.11, 1.115, 1.117};
    try {
        encode(off, 0.01, Encoding::moves, {});
        FAIL() << "an off-tick price was taken";
    } catch (const InvalidArgument& error) {
        EXPECT_NE(std::string(error.what()).find("at row 2"), std::string::npos) << error.what();
    }
}

TEST(Encode, RefusesWhatIsNoPrice) {
    for (const double bad : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
        EXPECT_THROW(encode(std::vector<double>{1.0, bad}, 0.01, Encoding::moves, {}),
                     InvalidArgument);
    }
    EXPECT_THROW(encode(prices, 0.0, Encoding::moves, {}), InvalidArgument);
    EXPECT_THROW(encode(std::vector<double>{1e300}, 0.01, Encoding::moves, {}), InvalidArgument);
}

TEST(Encode, KnowsItsEncodingsByName) {
    EXPECT_EQ(encoding_named("moves"), Encoding::moves);
    EXPECT_EQ(name_of(Encoding::strict_up), "strict_up");
    EXPECT_THROW(encoding_named("up"), InvalidArgument);
}

}  // namespace
}  // namespace sep
