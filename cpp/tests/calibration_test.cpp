#include "sep/calibration.hpp"

#include <gtest/gtest.h>

#include "sep/errors.hpp"
#include "series.hpp"

namespace sep {
namespace {

TEST(Calibration, CountsEverySequenceOfEightTosses) {
    // 2^8 = 256 sequences: each is one window; 100 P(X <= x) is their share in hundredths.
    std::vector<double> entropies;
    for (int sequence = 0; sequence < 256; ++sequence) {
        std::vector<std::uint8_t> bits(8);
        for (int i = 0; i < 8; ++i) bits[i] = sequence >> i & 1;
        entropies.push_back(tests::roll_bits(bits, 8).at(7).entropy);
    }
    const CoinDistribution coin("entropy", 8);
    for (const double x : entropies) {
        const auto below = std::count_if(entropies.begin(), entropies.end(),
                                         [x](double y) { return y < x + 0x1p-40; });
        EXPECT_NEAR(coin.percentile(x), 100.0 * static_cast<double>(below) / 256, 1e-12);
    }
}

TEST(Calibration, KnowsTheMeansOfAFairCoin) {
    EXPECT_NEAR(CoinDistribution("entropy", 64).mean(), 0.925, 5e-4);
    // A pair is 00 one time in four, and 01 or 10 one time in two.
    for (const int window : {8, 64, 1024}) {
        EXPECT_NEAR(CoinDistribution("null_ratio", window).mean(), 0.25, 1e-12);
        EXPECT_NEAR(CoinDistribution("flip_ratio", window).mean(), 0.5, 1e-12);
        EXPECT_NEAR(CoinDistribution("balance", window).mean(), 0.0, 1e-12);
    }
}

TEST(Calibration, KnowsThatPredictionsOfACoinAreRightHalfTheTime) {
    // 2^-8 of all sequences have eight wrong guesses, 8 2^-8 have seven.
    const CoinDistribution coin("qbsa_error", 8);
    EXPECT_EQ(coin.percentile(0.0), 100.0 / 256);
    EXPECT_EQ(coin.percentile(1.0 / 8), 900.0 / 256);
    EXPECT_EQ(CoinDistribution("confidence", 8).percentile(7.0 / 8), 100.0 - 100.0 / 256);
}

TEST(Calibration, RisesTo100) {
    const CoinDistribution coin("coherence", 1024);
    EXPECT_EQ(coin.percentile(1.0), 100.0);
    EXPECT_EQ(coin.percentile(-0.5), 0.0);
    EXPECT_TRUE(std::isnan(coin.percentile(std::nan(""))));
    EXPECT_TRUE(std::is_sorted(coin.cumulative().begin(), coin.cumulative().end()));
}

TEST(Calibration, HasNoneForAMetricThatIsNoCount) {
    EXPECT_THROW(CoinDistribution("damped", 64), InvalidArgument);
    EXPECT_THROW(CoinDistribution("entropy", 7), InvalidArgument);
    EXPECT_THROW(CoinDistribution("collapse", 31), InvalidArgument);
}

}  // namespace
}  // namespace sep
