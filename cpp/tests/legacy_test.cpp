#include "sep/legacy.hpp"

#include <gtest/gtest.h>

// The golden file is checked from Python (python/tests/qfh/test_legacy.py); these are its corners.
namespace sep::legacy {
namespace {

TEST(Legacy, GivesThePublishedFiguresOf0011) {
    const std::vector<std::uint8_t> bits{0, 0, 1, 1};
    const Analysis a = analyze(bits);
    EXPECT_EQ(a.null_count, 1);
    EXPECT_EQ(a.flip_count, 1);
    EXPECT_EQ(a.rupture_count, 1);
    EXPECT_EQ(a.flip_ratio, 0.3333333432674408f);
    EXPECT_EQ(a.entropy, 0.9999763837753829);
    EXPECT_EQ(a.coherence, 0.14257122576236725);
    EXPECT_EQ(a.trajectory.value, 0.5910261768146454);
    EXPECT_EQ(a.trajectory.confidence, 0.9401203386374357);
    EXPECT_NEAR(a.trajectory.similarity, 0.9631541008232751, 1e-15);
    EXPECT_TRUE(a.collapse(0.3f));
    EXPECT_FALSE(a.collapse(0.5f));
}

TEST(Legacy, LeavesTheCountsEmptyForAValueThatIsNoBit) {
    const std::vector<std::uint8_t> bits{2, 0};
    const Analysis a = analyze(bits);
    EXPECT_EQ(a.flip_count, 0);
    EXPECT_TRUE(a.runs.empty());
    EXPECT_EQ(a.trajectory.value, -1.5576015661428098);  // -2 e^-0.25
}

TEST(Legacy, HasNoTrajectoryPastTheLastBit) {
    const std::vector<std::uint8_t> bits{1, 0};
    EXPECT_FALSE(trajectory(bits, 2).lambda.has_value());
    EXPECT_TRUE(trajectory(bits, 2).path.empty());
}

}  // namespace
}  // namespace sep::legacy
