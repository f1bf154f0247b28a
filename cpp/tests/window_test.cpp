#include <gtest/gtest.h>

#include "sep/errors.hpp"
#include "series.hpp"

namespace sep {
namespace {

using tests::random_bits;
using tests::Rolled;

Encoded bits_only(const std::vector<std::uint8_t>& bits,
                  const std::vector<std::uint8_t>& gap = {}) {
    return one_price_per_bit(bit_series(bits, gap));
}

TEST(Window, GivesTheMetricsWorkedOutByHand) {
    // Pairs of 0 0 1 1 1 0 1 1: 00 01 11 11 10 01 11, so n00 = 1, n01 = 2, n10 = 1, n11 = 3.
    const Rolled rolled(bits_only({0, 0, 1, 1, 1, 0, 1, 1}), 8, Backend::scalar);
    const WindowMetrics m = rolled.at(7);
    EXPECT_DOUBLE_EQ(m.null_ratio, 1.0 / 7);
    EXPECT_DOUBLE_EQ(m.flip_ratio, 3.0 / 7);
    EXPECT_DOUBLE_EQ(m.rupture_ratio, 3.0 / 7);
    // (7 log2 7 - 2 * 3 log2 3) / (7 log2 3) = (19.651484 - 9.509775) / 11.094738 = 0.914101
    EXPECT_NEAR(m.entropy, 0.914101, 1e-6);
    // h = (3 log2 3 + 4 * 2 - 3 log2 3 - 2) / 7 = 6 / 7
    EXPECT_NEAR(m.coherence, 1.0 / 7, 1e-15);
    EXPECT_DOUBLE_EQ(m.state_coherence, 1 - m.entropy);
    EXPECT_DOUBLE_EQ(m.stability, 4.0 / 7);
    EXPECT_DOUBLE_EQ(m.balance, 2.0 / 7);
    EXPECT_TRUE(std::isnan(m.lambda)) << "fewer than 20 bits";
}

TEST(Window, HasNoValueBeforeItIsFull) {
    const Rolled rolled(bits_only(random_bits(100, 1)), 64, Backend::scalar);
    EXPECT_TRUE(std::isnan(rolled.at(62).entropy));
    EXPECT_FALSE(std::isnan(rolled.at(63).entropy));
    EXPECT_EQ(rolled.complete[62], 0);
    EXPECT_EQ(rolled.complete[63], 1);
}

TEST(Window, SumsADampedValueOfAllOnes) {
    // lambda = 0.01: (1 - e^-0.64) / (1 - e^-0.01) = 0.472707576 / 0.009950166 = 47.507507
    const Rolled ups(bits_only(std::vector<std::uint8_t>(64, 1)), 64, Backend::scalar);
    EXPECT_NEAR(ups.at(63).damped, 47.507507, 1e-5);
    EXPECT_EQ(ups.at(63).damped_anchored, 0.0);
    const Rolled downs(bits_only(std::vector<std::uint8_t>(64, 0)), 64, Backend::scalar);
    EXPECT_EQ(downs.at(63).damped, -ups.at(63).damped);
}

TEST(Window, AgreesWithTheSumsTermByTerm) {
    for (const int window : {8, 31, 32, 33, 63, 64, 65, 127, 128, 129, 500, 1024}) {
        const auto bits = random_bits(1100, static_cast<std::uint64_t>(window), 0.6);
        const Rolled rolled(bits_only(bits), window, Backend::scalar);
        for (std::size_t k = 1024; k < bits.size(); ++k) {
            const WindowMetrics m = rolled.at(k);
            double damped = 0;
            double anchored = 0;
            for (int i = 0; i < window && m.lambda * i <= 40; ++i) {
                const double decay = std::exp(-m.lambda * i);
                damped += (2.0 * bits[k - i] - 1.0) * decay;
                anchored += (1.0 * bits[k - i] - 1.0 * bits[k]) * decay;
            }
            ASSERT_NEAR(m.damped, damped, 1e-12) << "window " << window << ", bit " << k;
            ASSERT_NEAR(m.damped_anchored, anchored, 1e-12);
        }
    }
}

TEST(Window, LeavesOutTransitionsAcrossAGap) {
    const auto bits = random_bits(200, 5);
    std::vector<std::uint8_t> gap(200, 0);
    gap[100] = 1;
    const Rolled whole(bits_only(bits), 64, Backend::scalar);
    const Rolled broken(bits_only(bits, gap), 64, Backend::scalar);
    // Bit 99 is before the gap; bit 163 has it at the window's first bit, where no transition is.
    for (const std::size_t k : {std::size_t{99}, std::size_t{163}}) {
        EXPECT_EQ(broken.at(k).entropy, whole.at(k).entropy);
        EXPECT_EQ(broken.complete[k], 1);
    }
    EXPECT_EQ(broken.complete[100], 0);
    EXPECT_EQ(broken.complete[162], 0);
    EXPECT_FALSE(std::isnan(broken.at(110).entropy));
    EXPECT_TRUE(std::isnan(broken.at(118).lambda));  // 19 transitions reach back to bit 100
    EXPECT_FALSE(std::isnan(broken.at(119).lambda));
    EXPECT_TRUE(std::isnan(broken.at(162).damped));
    EXPECT_FALSE(std::isnan(broken.at(163).damped));
}

TEST(Window, HasNoValueBelowThreeQuartersOfItsTransitions) {
    // Of 63 transitions 47.25 are needed: 48 give a value, 47 none.
    const auto bits = random_bits(64, 9);
    for (const int missing : {15, 16}) {
        std::vector<std::uint8_t> gap(64, 0);
        std::fill_n(gap.begin() + 1, missing, 1);
        const Rolled rolled(bits_only(bits, gap), 64, Backend::scalar);
        EXPECT_EQ(std::isnan(rolled.at(63).entropy), missing == 16) << missing;
    }
}

TEST(Window, MirrorsWhenUpAndDownAreExchanged) {
    const auto bits = random_bits(3000, 11, 0.4);
    auto mirrored = bits;
    for (auto& bit : mirrored) bit = 1 - bit;
    const Rolled a(bits_only(bits), 64, Backend::scalar);
    const Rolled b(bits_only(mirrored), 64, Backend::scalar);
    for (std::size_t k = 63; k < bits.size(); ++k) {
        const WindowMetrics x = a.at(k);
        const WindowMetrics y = b.at(k);
        ASSERT_EQ(x.entropy, y.entropy);
        ASSERT_EQ(x.coherence, y.coherence);
        ASSERT_EQ(x.lambda, y.lambda);
        ASSERT_EQ(x.null_ratio, y.rupture_ratio);
        ASSERT_EQ(x.balance, -y.balance);
        ASSERT_EQ(x.damped, -y.damped);
        ASSERT_EQ(x.damped_anchored, -y.damped_anchored);
    }
}

TEST(Window, TakesLengthsFrom8To1024) {
    const Encoded encoded = bits_only(random_bits(10, 1));
    for (const int window : {-1, 0, 7, 1025}) {
        EXPECT_THROW(rolling(encoded, window, {}, Backend::scalar), InvalidArgument) << window;
    }
}

}  // namespace
}  // namespace sep
