#include "sep/tables.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "sep/window.hpp"

namespace sep {
namespace {

// long double has 64 bits: its results, rounded, are at most one unit in the last place away.
void expect_within_an_ulp(double value, long double reference) {
    const auto rounded = static_cast<double>(reference);
    EXPECT_LE(value, std::nextafter(rounded, 1e300));
    EXPECT_GE(value, std::nextafter(rounded, -1e300));
}

TEST(Tables, HoldsNLog2N) {
    const Tables& t = tables();
    EXPECT_EQ(t.g[0], 0.0);
    EXPECT_EQ(t.g[1], 0.0);
    EXPECT_EQ(t.g[8], 24.0);      // 8 * 3
    EXPECT_EQ(t.g[512], 4608.0);  // 512 * 9
    for (int n = 2; n < window_max; ++n) expect_within_an_ulp(t.g[n], n * std::log2l(n));
    expect_within_an_ulp(t.log2_3, std::log2l(3));
}

TEST(Tables, HasARowForEveryWayToSpread19Transitions) {
    // One row without a flip; with F flips, n11 is 0..19-F: 20 - F rows each, 190 in all.
    EXPECT_EQ(tables().rows.size(), 191);
}

TEST(Tables, KeepsLambdaBetweenAHundredthAndAHalf) {
    // H and 1 - C are at most 1, so lambda is at most 0.30 + 0.20.
    for (const DampedRow& row : tables().rows) {
        EXPECT_GE(row.lambda, 0.01);
        EXPECT_LE(row.lambda, 0.5);
        expect_within_an_ulp(row.decay4, std::exp(-4.0L * row.lambda));
        expect_within_an_ulp(row.decay8, std::exp(-8.0L * row.lambda));
    }
}

TEST(Tables, SumsTheDecaysOfAByteNewestFirst) {
    for (const DampedRow& row : tables().rows) {
        EXPECT_EQ(row.byte_sum[0x80], 1.0);  // only k = 0
        EXPECT_EQ(row.byte_sum[0], 0.0);
        // k = 0, 2, 5
        const double expected = 1 + std::exp(-2 * row.lambda) + std::exp(-5 * row.lambda);
        EXPECT_NEAR(row.byte_sum[0b10100100], expected, 1e-15);
    }
}

TEST(Tables, LeavesOutTermsBeyondLambdaKOf40) {
    for (const int window : {8, 64, 100, 1024}) {
        const WindowTables w(window, true);
        const auto& spans = w.spans;
        ASSERT_EQ(spans.size(), tables().rows.size());
        for (std::size_t i = 0; i < spans.size(); ++i) {
            const double lambda = tables().rows[i].lambda;
            int terms = 0;
            double sum = 0;
            while (terms < window && lambda * terms <= 40) sum += std::exp(-lambda * terms++);
            EXPECT_EQ(spans[i].terms, terms);
            EXPECT_NEAR(spans[i].all_ones, sum, 1e-12);
            for (int k = 0; k < terms; ++k) {
                expect_within_an_ulp(w.decays[w.decays_first[i] + k], std::exp(-1.0L * lambda * k));
            }
        }
    }
}

TEST(Tables, HoldsCentredTemplatesOfUnitNorm) {
    const int points = 63;
    const WindowTables w(points + 1, true);
    ASSERT_EQ(w.templates.size(), template_count * points);
    for (int i = 0; i < template_count; ++i) {
        double sum = 0;
        double squares = 0;
        for (int j = 0; j < points; ++j) {
            const double value = w.templates[i * points + j];
            sum += value;
            squares += value * value;
        }
        EXPECT_NEAR(sum, 0, 1e-14);
        EXPECT_NEAR(squares, 1, 1e-14);
    }
    // A full period of a sine has mean 0 and sum of squares n / 2.
    for (int j = 0; j < points; ++j) {
        const double sine = std::sin(2 * std::acos(-1.0) * j / points) / std::sqrt(points / 2.0);
        EXPECT_NEAR(w.templates[2 * points + j], sine, 1e-15);
    }
}

TEST(Tables, FindsTheRowOfTheNewestTwentyBits) {
    // All equal: H = 0 and C = 1, so lambda is its floor. The same for alternating bits.
    const Tables& t = tables();
    const auto lambda = [&](std::uint64_t word) {
        return t.rows[lambda_row(word, t.row_of.data())].lambda;
    };
    EXPECT_EQ(lambda(0), 0.01);
    EXPECT_EQ(lambda(~std::uint64_t{0}), 0.01);
    EXPECT_EQ(lambda(0xAAAAAAAAAAAAAAAA), 0.01);
    EXPECT_EQ(lambda(0x5555555555555555), 0.01);
    // Ten 1 then ten 0, newest first: n00 = n11 = 9, one flip 0 to 1 in time.
    // H = (g19 - (2 g9 + g1)) / (19 log2 3) = (80.710623 - 57.058650) / 30.114288 = 0.785407
    // C = 1 - ((g10 + g9) - (2 g9 + 0 + 0)) / 19 = 1 - (33.219281 - 28.529325) / 19 = 0.753160
    // lambda = 0.30 * 0.785407 + 0.20 * 0.246840 = 0.284990
    EXPECT_NEAR(lambda(0xFFC0000000000000), 0.284990, 1e-6);
}

}  // namespace
}  // namespace sep
