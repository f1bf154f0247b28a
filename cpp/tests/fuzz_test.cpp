// The fuzz targets on fixed inputs: a short look at each in every run of the tests.
#include <gtest/gtest.h>

#include <random>

#include "input.hpp"

namespace sep {
namespace {

void run(void (*target)(std::span<const std::uint8_t>), int inputs) {
    std::mt19937 engine(11);
    target({});
    for (int i = 0; i < inputs; ++i) {
        std::vector<std::uint8_t> bytes(engine() % 1'500);
        for (auto& byte : bytes) byte = static_cast<std::uint8_t>(engine());
        ASSERT_NO_THROW(target(bytes)) << "input " << i;
    }
    unsetenv("SEP_SIMD");
}

TEST(Fuzz, PricesKeepTheirPromises) { run(&fuzz::prices, 100); }
TEST(Fuzz, BitsKeepTheirPromises) { run(&fuzz::bits, 100); }
TEST(Fuzz, StreamsKeepTheirPromises) { run(&fuzz::streams, 60); }
TEST(Fuzz, SnapshotsKeepTheirPromises) { run(&fuzz::snapshot, 100); }
TEST(Fuzz, CalibrationKeepsItsPromises) { run(&fuzz::calibration, 30); }
TEST(Fuzz, SweepsKeepTheirPromises) { run(&fuzz::sweep, 100); }

}  // namespace
}  // namespace sep
