#include "sep/encode.hpp"

#include <gtest/gtest.h>

#include "sep/errors.hpp"
#include "series.hpp"

namespace sep {
namespace {

const std::vector<double> prices{1.10, 1.11, 1.11, 1.10, 1.10, 1.12};

/// One character per price: the bit or '.', followed by '|' before a bit that is not joined.
std::string encoded(Encoding encoding, const std::vector<double>& series, double tick,
                    const std::vector<bool>& gap = {}) {
    std::string text;
    LastPrice last;
    for (std::size_t k = 0; k < series.size(); ++k) {
        const Step step = advance(last, encoding, tick, series[k], !gap.empty() && gap[k], k);
        if (step.bit && !step.joined) text += '|';
        text += step.bit ? (*step.bit ? '1' : '0') : '.';
    }
    return text;
}

TEST(Encode, MovesGivesNoBitForAnEqualPrice) {
    EXPECT_EQ(encoded(Encoding::moves, prices, 0.01), ".1.0.1");
}

TEST(Encode, StrictUpCountsAnEqualPriceAsDown) {
    EXPECT_EQ(encoded(Encoding::strict_up, prices, 0.01), ".10001");
}

TEST(Encode, TickCarryRepeatsTheBitBefore) {
    EXPECT_EQ(encoded(Encoding::tick_carry, prices, 0.01), ".11001");
    EXPECT_EQ(encoded(Encoding::tick_carry, {1.1, 1.1, 1.2}, 0.1), "..1");
}

TEST(Encode, PipTruncCarryCutsTheChangeToWholePips) {
    // Changes in pips: 0.95 cut to 0 (first: 0), 1.2 up, -0.4 cut to 0 repeats, -1.5 down.
    EXPECT_EQ(
        encoded(Encoding::pip_trunc_carry, {1.17, 1.170095, 1.170215, 1.170175, 1.170025}, 1e-4),
        ".0110");
}

TEST(Encode, AGapBeforeAFlatPriceCountsForTheNextBit) {
    EXPECT_EQ(encoded(Encoding::moves, prices, 0.01, {false, false, false, false, true, false}),
              ".1.0.|1");
}

TEST(Encode, NamesTheFirstRowThatIsOffTheTick) {
    const std::vector<double> off{1.10, 1.11, 1.115, 1.117};
    try {
        encoded(Encoding::moves, off, 0.01);
        FAIL() << "an off-tick price was taken";
    } catch (const InvalidArgument& error) {
        EXPECT_NE(std::string(error.what()).find("at row 2"), std::string::npos) << error.what();
    }
}

TEST(Encode, RefusesWhatIsNoPrice) {
    for (const double bad :
         {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity(), 1e300}) {
        EXPECT_THROW(encoded(Encoding::moves, {1.0, bad}, 0.01), InvalidArgument) << bad;
    }
    for (const double tick : {0.0, -1.0, std::nan("")}) {
        EXPECT_THROW(check_tick(tick), InvalidArgument) << tick;
    }
}

TEST(Encode, KnowsItsEncodingsByName) {
    EXPECT_EQ(encoding_named("moves"), Encoding::moves);
    EXPECT_EQ(name_of(Encoding::strict_up), "strict_up");
    EXPECT_THROW(encoding_named("up"), InvalidArgument);
}

}  // namespace
}  // namespace sep
