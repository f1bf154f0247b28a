#include <gtest/gtest.h>

#include "backends.hpp"
#include "sep/errors.hpp"
#include "series.hpp"

// All results are integers, table values and +, -, *, / in binary64 of one source: the GPU has to
// give the same bytes, so there is no tolerance. Sizes straddle a word (64), a block (256) and a
// chunk (2^20 prices).
namespace sep {
namespace {

using tests::roll;
using tests::roll_bits;
using tests::spec_of;
using tests::Walk;

class Cuda : public testing::Test {
protected:
    void SetUp() override {
        const cuda::Status gpu = cuda::status();
        if (!gpu.available) GTEST_SKIP() << "backend cuda cannot run here: " << gpu.detail;
    }
};

TEST_F(Cuda, GivesTheBytesOfTheReferenceAtEverySize) {
    for (const std::size_t size : {1, 63, 64, 65, 255, 256, 257, 1025, 5000}) {
        for (const int window : {8, 31, 32, 33, 63, 64, 65, 127, 128, 129, 1023, 1024}) {
            for (const Encoding encoding : {Encoding::moves, Encoding::strict_up}) {
                const Walk walk(size, size + static_cast<std::size_t>(window), 0.003);
                const RollingSpec spec = spec_of(window, encoding);
                ASSERT_TRUE(same_bytes(roll(walk, spec), roll(walk, spec, Backend::cuda)))
                    << "window " << window << ", prices " << size;
            }
        }
    }
}

TEST_F(Cuda, GivesTheBytesOfTheReferenceForUniformBits) {
    for (const int pattern : {0, 1, 2}) {  // all down, all up, alternating
        std::vector<std::uint8_t> bits(3000);
        for (std::size_t i = 0; i < bits.size(); ++i) {
            bits[i] = static_cast<std::uint8_t>(pattern == 2 ? i % 2 : pattern);
        }
        for (const int window : {8, 64, 1024}) {
            ASSERT_TRUE(
                same_bytes(roll_bits(bits, window), roll_bits(bits, window, {}, Backend::cuda)));
        }
    }
}

TEST_F(Cuda, GivesTheBytesOfTheReferenceForAMillionPrices) {
    const Walk walk((std::size_t{1} << 20) + 12'345, 42, 0.001);
    RollingSpec spec = spec_of(64);
    EXPECT_TRUE(same_bytes(roll(walk, spec), roll(walk, spec, Backend::cuda)));
    spec.stride = 7;
    EXPECT_TRUE(same_bytes(roll(walk, spec), roll(walk, spec, Backend::cuda)));
}

TEST(CudaAbsent, IsRefusedByName) {
    if (cuda::status().available) GTEST_SKIP() << "a GPU is here";
    EXPECT_THROW(Roller(spec_of(64), Backend::cuda, 0), BackendError);
}

}  // namespace
}  // namespace sep
