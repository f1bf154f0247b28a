#include <gtest/gtest.h>

#include "backends.hpp"
#include "sep/errors.hpp"
#include "series.hpp"

// All results are integers, table values and +, -, *, / in binary64 of one source: the GPU has to
// give the same bytes, so there is no tolerance. Sizes straddle a word (64), a block (256) and a
// chunk (2^20 prices).
namespace sep {
namespace {

using tests::Rolled;
using tests::Walk;

class Cuda : public testing::Test {
protected:
    void SetUp() override {
        const cuda::Status gpu = cuda::status();
        if (!gpu.available) GTEST_SKIP() << "backend cuda cannot run here: " << gpu.detail;
    }

    static void expect_same(const Encoded& encoded, int window) {
        const Rolled cpu(encoded, window, Backend::scalar);
        const Rolled gpu(encoded, window, Backend::cuda);
        for (int i = 0; i < window_metric_count; ++i) {
            ASSERT_TRUE(tests::same_bytes(cpu.metrics[i], gpu.metrics[i]))
                << "metric " << i << ", window " << window << ", prices " << encoded.prices;
        }
        ASSERT_TRUE(tests::same_bytes(cpu.flat_ratio, gpu.flat_ratio));
        ASSERT_EQ(cpu.complete, gpu.complete);
    }
};

TEST_F(Cuda, GivesTheBytesOfTheReferenceAtEverySize) {
    for (const std::size_t size : {1, 63, 64, 65, 255, 256, 257, 1025, 5000}) {
        for (const int window : {8, 31, 32, 33, 63, 64, 65, 127, 128, 129, 1023, 1024}) {
            const Walk walk(size, size + static_cast<std::size_t>(window), 0.003);
            expect_same(encode(walk.prices, Walk::tick, Encoding::moves, walk.gap), window);
            expect_same(encode(walk.prices, Walk::tick, Encoding::strict_up, {}), window);
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
            expect_same(one_price_per_bit(bit_series(bits, {})), window);
        }
    }
}

TEST_F(Cuda, GivesTheBytesOfTheReferenceBeyondOneChunk) {
    const Walk walk((std::size_t{1} << 20) + 12'345, 42, 0.001);
    expect_same(encode(walk.prices, Walk::tick, Encoding::moves, walk.gap), 64);
}

TEST(CudaAbsent, IsRefusedByName) {
    if (cuda::status().available) GTEST_SKIP() << "a GPU is here";
    const Encoded encoded = one_price_per_bit(bit_series(tests::random_bits(100, 1), {}));
    EXPECT_THROW(rolling(encoded, 64, {}, Backend::cuda), BackendError);
}

}  // namespace
}  // namespace sep
