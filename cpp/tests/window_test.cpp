#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "backends.hpp"
#include "sep/errors.hpp"
#include "series.hpp"
#include "simd/kernels.hpp"

namespace sep {
namespace {

using tests::random_bits;
using tests::roll;
using tests::roll_bits;
using tests::Rolled;
using tests::spec_of;
using tests::Walk;

TEST(Window, GivesTheMetricsWorkedOutByHand) {
    // Pairs of 0 0 1 1 1 0 1 1: 00 01 11 11 10 01 11, so n00 = 1, n01 = 2, n10 = 1, n11 = 3.
    const Rolled rolled = roll_bits({0, 0, 1, 1, 1, 0, 1, 1}, 8);
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
    const Rolled rolled = roll_bits(random_bits(100, 1), 64);
    EXPECT_TRUE(std::isnan(rolled.at(62).entropy));
    EXPECT_FALSE(std::isnan(rolled.at(63).entropy));
    EXPECT_EQ(rolled.complete[62], 0);
    EXPECT_EQ(rolled.complete[63], 1);
}

TEST(Window, SumsADampedValueOfAllOnes) {
    // lambda = 0.01: (1 - e^-0.64) / (1 - e^-0.01) = 0.472707576 / 0.009950166 = 47.507507
    const Rolled ups = roll_bits(std::vector<std::uint8_t>(64, 1), 64);
    EXPECT_NEAR(ups.at(63).damped, 47.507507, 1e-5);
    EXPECT_EQ(ups.at(63).damped_anchored, 0.0);
    const Rolled downs = roll_bits(std::vector<std::uint8_t>(64, 0), 64);
    EXPECT_EQ(downs.at(63).damped, -ups.at(63).damped);
}

TEST(Window, AgreesWithTheSumsTermByTerm) {
    for (const int window : {8, 31, 32, 33, 63, 64, 65, 127, 128, 129, 500, 1024}) {
        const auto bits = random_bits(1100, static_cast<std::uint64_t>(window), 0.6);
        const Rolled rolled = roll_bits(bits, window);
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
    const Rolled whole = roll_bits(bits, 64);
    const Rolled broken = roll_bits(bits, 64, gap);
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
        const Rolled rolled = roll_bits(bits, 64, gap);
        EXPECT_EQ(std::isnan(rolled.at(63).entropy), missing == 16) << missing;
    }
}

TEST(Window, MirrorsWhenUpAndDownAreExchanged) {
    const auto bits = random_bits(3000, 11, 0.4);
    auto mirrored = bits;
    for (auto& bit : mirrored) bit = 1 - bit;
    const Rolled a = roll_bits(bits, 64);
    const Rolled b = roll_bits(mirrored, 64);
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
    for (const int window : {-1, 0, 7, 1025}) {
        EXPECT_THROW(Roller(spec_of(window), Backend::scalar, 0), InvalidArgument) << window;
    }
}

TEST(Window, MeasuresThePathOfAllOnes) {
    // lambda = 0.01, W = 8: the partial sums for k = 1..7 are S_k = (1 - r^(k+1)) / (1 - r) with
    // r = e^-0.01: 1.990050, 2.970249, 3.940694, 4.901484, 5.852713, 6.794477, 7.726872.
    // Their mean is 4.882363 and their population variance 3.656880.
    const Rolled rolled = roll_bits(std::vector<std::uint8_t>(20, 1), 8);
    const WindowMetrics m = rolled.at(19);
    EXPECT_NEAR(m.path_confidence, 1 / (1 + 3.656880), 1e-5);
    // Nearly a line.
    EXPECT_GT(m.path_similarity, 0.9999);
    EXPECT_LE(m.path_similarity, 1.0);
}

TEST(Window, CountsEachWrongPredictionOnce) {
    // Alternating bits: from the ninth bit on, Markov knows that the other bit follows.
    std::vector<std::uint8_t> bits(40);
    for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = i % 2;
    const WindowMetrics markov = roll_bits(bits, 8).at(39);
    EXPECT_EQ(markov.qbsa_error, 0.0);
    EXPECT_EQ(markov.confidence, 1.0);
    // Wilson, p = 1, n = 8, z^2 = 3.841459: (1 + 0.240091 - 0.240091) / (1 + 0.480182) = 0.675592
    EXPECT_NEAR(markov.confidence_low, 0.675592, 1e-6);
    EXPECT_TRUE(std::isnan(roll_bits(bits, 8).at(14).qbsa_error));
    EXPECT_FALSE(std::isnan(roll_bits(bits, 8).at(15).qbsa_error));
}

TEST(Window, KnowsThreePredictors) {
    const PairCounts pairs{1, 2, 4, 3};
    const std::uint64_t up = std::uint64_t{0b10000011} << 56;    // newest 1, three of eight up
    const std::uint64_t down = std::uint64_t{0b01111000} << 56;  // newest 0, four of eight up
    EXPECT_FALSE(predicted_bit(Predictor::markov, pairs, up));   // 4 times 10, 3 times 11
    EXPECT_TRUE(predicted_bit(Predictor::markov, pairs, down));  // 2 times 01, 1 time 00
    EXPECT_TRUE(predicted_bit(Predictor::persistence, pairs, up));
    EXPECT_FALSE(predicted_bit(Predictor::persistence, pairs, down));
    EXPECT_FALSE(predicted_bit(Predictor::majority8, pairs, up));
    EXPECT_FALSE(predicted_bit(Predictor::majority8, pairs, down));  // a tie repeats the last bit
}

TEST(Window, TellsACollapseFromALevel) {
    // W = 33: 32 transitions, the newest 8 apart. Alternating bits, then ups: 6 of the newest 8
    // transitions are 11 where the last 7 bits are 1.
    std::vector<std::uint8_t> bits(33);
    for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = i < 26 ? i % 2 : 1;
    EXPECT_EQ(roll_bits(bits, 33).at(32).collapse, 1.0);
    std::vector<std::uint8_t> level(33, 1);
    EXPECT_EQ(roll_bits(level, 33).at(32).collapse, 0.0);
    EXPECT_TRUE(std::isnan(roll_bits(level, 31).at(32).collapse));
}

TEST(Roller, GivesTheSameBytesInChunksOfAnySizeAndWithAnyThreads) {
    const Walk walk(70'000, 8, 0.001);
    const RollingSpec spec = spec_of(100);
    const Rolled whole = roll(walk, spec);
    for (const std::size_t size : {1, 63, 64, 65, 4096, 50'000}) {
        Roller roller(spec, Backend::automatic, 3);
        Rolled parts(walk.prices.size());
        for (std::size_t first = 0; first < walk.prices.size(); first += size) {
            const std::size_t count = std::min(size, walk.prices.size() - first);
            roller.take_prices(std::span(walk.prices).subspan(first, count),
                               std::span(walk.gap).subspan(first, count),
                               parts.outputs().from(first));
        }
        ASSERT_TRUE(same_bytes(parts, whole)) << "chunks of " << size;
    }
    for (const int threads : {1, 2, 3, 64}) {
        ASSERT_TRUE(same_bytes(roll(walk, spec, Backend::automatic, threads), whole)) << threads;
    }
}

TEST(Simd, GivesTheBytesOfTheReference) {
    for (const char* const kernels : {"portable", "AVX2", "AVX-512"}) {
        setenv("SEP_SIMD", kernels, 1);
        try {
            simd::kernels();
        } catch (const BackendError&) {
            continue;
        }
        for (const int window :
             {8, 19, 20, 21, 31, 32, 33, 63, 64, 65, 80, 81, 127, 128, 500, 1024}) {
            for (const double gap_share : {0.0, 0.002}) {
                const Walk walk(4'000, static_cast<std::uint64_t>(window), gap_share);
                const unsigned cheap = group_counts | group_damped;
                for (const unsigned groups : {cheap, tests::all_groups}) {
                    RollingSpec spec = spec_of(window, Encoding::moves, groups);
                    for (const std::uint64_t stride : {1, 3}) {
                        spec.stride = stride;
                        ASSERT_TRUE(same_bytes(roll(walk, spec, Backend::simd, 1),
                                               roll(walk, spec, Backend::scalar)))
                            << kernels << ", window " << window << ", stride " << stride;
                    }
                }
            }
        }
        for (const int share : {0, 1, 2}) {  // all down, all up, alternating
            std::vector<std::uint8_t> bits(3000);
            for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = share == 2 ? i % 2 : share;
            for (const int window : {8, 64, 300, 1024}) {
                ASSERT_TRUE(same_bytes(roll_bits(bits, window, {}, Backend::simd),
                                       roll_bits(bits, window, {}, Backend::scalar)));
            }
        }
    }
    unsetenv("SEP_SIMD");
}

// Long enough for the tables that long series get, with few enough gaps that most of it is whole.
TEST(Simd, GivesTheBytesOfTheReferenceInEveryType) {
    constexpr std::size_t size = 100'000;
    std::vector<std::uint8_t> bits = random_bits(size, 17);
    for (std::size_t i = 10'000; i < 10'300; ++i) bits[i] = i % 2;
    for (std::size_t i = 12'000; i < 12'300; ++i) bits[i] = 1;
    for (std::size_t i = 13'000; i < 13'300; ++i) bits[i] = 0;
    std::vector<std::uint8_t> gap(size, 0);
    for (const std::size_t k : {9'000, 9'001, 9'500, 15'000}) gap[k] = 1;

    using Columns = std::vector<std::vector<double>>;
    const auto roll_into = [&](Columns& columns, unsigned single, Backend backend, int window) {
        RollingOutputs out;
        for (std::size_t m = 0; m < columns.size(); ++m) {
            if (columns[m].empty()) continue;
            out.metrics[m] = {columns[m].data(), (single >> m & 1) != 0};
        }
        const RollingSpec spec = spec_of(window, Encoding::moves, group_counts | group_damped);
        // Odd windows have too few outputs to write whole cache lines past the caches.
        const std::size_t taken = window % 2 == 0 ? size : 60'000;
        Roller(spec, backend, 2)
            .take_bits(std::span(bits).first(taken), std::span(gap).first(taken), out);
    };
    for (const int window : {8, 20, 63, 64, 65, 127, 128, 129, 200, 1024}) {
        Columns wide(11, std::vector<double>(size));
        roll_into(wide, 0, Backend::scalar, window);
        Columns rounded(11, std::vector<double>(size));
        for (std::size_t m = 0; m < wide.size(); ++m) {
            auto* const to = reinterpret_cast<float*>(rounded[m].data());
            for (std::size_t i = 0; i < size; ++i) to[i] = static_cast<float>(wide[m][i]);
        }
        for (const char* const kernels : {"portable", "AVX2", "AVX-512"}) {
            setenv("SEP_SIMD", kernels, 1);
            try {
                simd::kernels();
            } catch (const BackendError&) {
                continue;
            }
            for (const unsigned single : {0U, 0x7FFU, 0x2A5U}) {  // which columns are binary32
                Columns found(11, std::vector<double>(size));
                found[4].clear();  // not every column is wanted
                roll_into(found, single, Backend::simd, window);
                for (std::size_t m = 0; m < found.size(); ++m) {
                    if (found[m].empty()) continue;
                    const Columns& expected = single >> m & 1 ? rounded : wide;
                    ASSERT_TRUE(tests::same_bytes(found[m], expected[m]))
                        << kernels << ", window " << window << ", metric " << m;
                }
            }
        }
    }
    unsetenv("SEP_SIMD");
}

TEST(Simd, TakesManyBitsInPiecesAsTheReferenceOneByOne) {
    constexpr std::size_t size = 200'000;  // three pieces of 1,024 words, and a rest
    std::vector<std::uint8_t> bits = random_bits(size + 7, 23);
    const RollingSpec spec = spec_of(64, Encoding::moves, group_counts | group_damped);
    const auto roll_with = [&](Backend backend, int threads) {
        Rolled rolled(bits.size());
        RollingOutputs out = rolled.outputs();
        Roller roller(spec, backend, threads);
        roller.take_bits(std::span(bits).first(size), {}, out);
        roller.take_bits(std::span(bits).subspan(size), {}, out.from(size));
        return rolled;
    };
    const Rolled expected = roll_with(Backend::scalar, 1);
    for (const int threads : {1, 3}) {
        ASSERT_TRUE(same_bytes(roll_with(Backend::simd, threads), expected)) << threads;
    }
    bits[150'001] = 2;
    bits[190'000] = 7;
    try {
        roll_with(Backend::simd, 3);
        FAIL() << "a 2 was taken";
    } catch (const InvalidArgument& error) {
        EXPECT_STREQ(error.what(), "bits must be 0 or 1, was 2 at row 150001");
    }
}

TEST(Roller, IsInterruptedBetweenPiecesByTheThreadThatCalls) {
    struct GivenUp {};
    constexpr int size = 1'000'000;
    constexpr int piece = 31'232;  // size / 32 in whole words, on one thread
    const std::vector<std::uint8_t> bits = random_bits(size, 29);
    for (const Backend backend : {Backend::scalar, Backend::simd}) {
        // The reference takes bits in one by one and looks up every 262,144: four times.
        const int second_piece = backend == Backend::scalar ? 6 : 2;
        for (const int threads : {1, 4}) {
            std::vector<double> entropy(size, -1.0);
            RollingOutputs out;
            out.metrics[simd::entropy] = {entropy.data(), false};
            const auto caller = std::this_thread::get_id();
            int calls = 0;
            const Between between = [&] {
                EXPECT_EQ(std::this_thread::get_id(), caller);
                if (++calls == second_piece) throw GivenUp{};
            };
            Roller roller(spec_of(64, Encoding::moves, group_counts), backend, threads);
            bool gave_up = false;
            try {
                roller.take_bits(bits, {}, out, between);
            } catch (const GivenUp&) {
                gave_up = true;
            }
            const auto left = std::count(entropy.begin(), entropy.end(), -1.0);
            EXPECT_EQ(gave_up, calls == second_piece);
            if (threads == 1) {
                EXPECT_EQ(left, size - piece) << "the second piece was computed";
            } else if (!gave_up) {
                EXPECT_EQ(left, 0) << "others were faster than the caller and did it all";
            }
        }
    }
}

TEST(Simd, EncodesManyPricesByThreadsAsTheReference) {
    Walk walk(170'000, 22, 0.0005);
    for (std::size_t i = 70'000; i < 70'300; ++i) walk.prices[i] = walk.prices[69'999];
    const auto roll_with = [&](const RollingSpec& spec, Backend backend, int threads) {
        Rolled rolled(walk.prices.size());
        Roller roller(spec, backend, threads);
        constexpr std::size_t first = 100'001;  // the second call begins inside a word of bits
        roller.take_prices(std::span(walk.prices).first(first), std::span(walk.gap).first(first),
                           rolled.outputs());
        roller.take_prices(std::span(walk.prices).subspan(first),
                           std::span(walk.gap).subspan(first), rolled.outputs().from(first));
        return rolled;
    };
    for (const Encoding encoding :
         {Encoding::moves, Encoding::strict_up, Encoding::tick_carry, Encoding::pip_trunc_carry}) {
        const RollingSpec spec = spec_of(16, encoding, group_counts);
        ASSERT_TRUE(
            same_bytes(roll_with(spec, Backend::simd, 3), roll_with(spec, Backend::scalar, 1)))
            << name_of(encoding);
    }
    walk.prices[160'001] = -1.5;
    walk.prices[160'100] = 0;
    try {
        roll_with(spec_of(16), Backend::simd, 3);
        FAIL() << "a negative price was taken";
    } catch (const InvalidArgument& error) {
        EXPECT_STREQ(error.what(), "prices must be > 0, was -1.5 at row 160001");
    }
}

TEST(Simd, EncodesAsTheReference) {
    Walk walk(3'000, 21, 0.001);
    for (std::size_t i = 700; i < 900; ++i) walk.prices[i] = walk.prices[699];
    std::fill_n(walk.prices.begin(), 70, walk.prices[0]);  // no bit before the first move
    for (const char* const kernels : {"portable", "AVX2", "AVX-512"}) {
        setenv("SEP_SIMD", kernels, 1);
        try {
            simd::kernels();
        } catch (const BackendError&) {
            continue;
        }
        for (const Encoding encoding : {Encoding::moves, Encoding::strict_up, Encoding::tick_carry,
                                        Encoding::pip_trunc_carry}) {
            const RollingSpec spec = spec_of(9, encoding);
            ASSERT_TRUE(
                same_bytes(roll(walk, spec, Backend::simd, 1), roll(walk, spec, Backend::scalar)))
                << kernels << ", " << name_of(encoding);
        }
        for (const double bad :
             {0.0, -1.0, 1.000004, 1e300, std::nan(""), std::numeric_limits<double>::infinity()}) {
            Walk broken = walk;
            broken.prices[2'000] = bad;
            std::string message;
            std::string expected;
            try {
                roll(broken, spec_of(9), Backend::simd, 1);
            } catch (const InvalidArgument& error) {
                message = error.what();
            }
            try {
                roll(broken, spec_of(9), Backend::scalar);
            } catch (const InvalidArgument& error) {
                expected = error.what();
            }
            ASSERT_NE(expected.find("row 2000"), std::string::npos) << expected;
            ASSERT_EQ(message, expected);
        }
    }
    unsetenv("SEP_SIMD");
}

TEST(Simd, RefusesKernelsThatItDoesNotHave) {
    setenv("SEP_SIMD", "abacus", 1);
    EXPECT_THROW(Roller(spec_of(64), Backend::simd, 1), BackendError);
    unsetenv("SEP_SIMD");
}

TEST(Roller, WithAStrideGivesEveryOne) {
    const Walk walk(3000, 9, 0.001);
    RollingSpec spec = spec_of(20);
    const Rolled whole = roll(walk, spec);
    for (const std::uint64_t stride : {2, 63, 64, 1000, 5000}) {
        spec.stride = stride;
        const Rolled some = roll(walk, spec);
        ASSERT_EQ(some.complete.size(), (3000 + stride - 1) / stride);
        for (std::size_t i = 0; i < some.complete.size(); ++i) {
            const WindowMetrics a = some.at(i);
            const WindowMetrics b = whole.at(i * stride);
            ASSERT_EQ(std::memcmp(&a, &b, sizeof(a)), 0) << "stride " << stride << ", " << i;
        }
    }
}

}  // namespace
}  // namespace sep
