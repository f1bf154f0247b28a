#include "sep/iaaft.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>
#include <string>

#include "sep/errors.hpp"
#include "simd/transforms.hpp"

namespace sep {
namespace {

std::vector<std::int32_t> by_stable_sort(const std::vector<double>& values) {
    std::vector<std::int32_t> places(values.size());
    std::iota(places.begin(), places.end(), 0);
    std::stable_sort(places.begin(), places.end(), [&](std::int32_t a, std::int32_t b) {
        return values[static_cast<std::size_t>(a)] < values[static_cast<std::size_t>(b)];
    });
    return places;
}

TEST(SortedPlaces, AreThoseOfAStableSort) {
    std::mt19937_64 random(3);
    const auto drawn = [&](std::size_t size, auto draw) {
        std::vector<double> values(size);
        for (double& value : values) value = draw();
        return values;
    };
    std::normal_distribution<double> normal;
    std::cauchy_distribution<double> wide;  // most values share few of the 2^32 cells
    std::uniform_int_distribution<int> ties(-3, 3);
    const double largest = std::numeric_limits<double>::max();
    const std::vector<std::vector<double>> cases{
        {},
        {1},
        {2, 1},
        {0.0, -0.0, 0.0},
        {5, 5, 5, 5},
        {largest, -largest, 0, 1},  // their distance is not finite
        {4 * std::numeric_limits<double>::denorm_min(), 0},
        drawn(100'000, [&] { return normal(random); }),
        drawn(100'000, [&] { return wide(random); }),
        drawn(5'000, [&] { return static_cast<double>(ties(random)); }),
        drawn(5'000, [&] { return 1 + 1e-15 * ties(random); }),
    };
    for (const std::vector<double>& values : cases) {
        EXPECT_EQ(sorted_places(values), by_stable_sort(values)) << values.size();
    }
}

TEST(Iaaft, HasTheAmplitudesOfFourNumbersByHand) {
    // 1, 2, 4, 8: sums 15; 1 - 4 and 8 - 2 make (-3, 6), of size sqrt(45); 1 - 2 + 4 - 8 = -5.
    const double values[] = {1, 2, 4, 8};
    const Iaaft even(values);
    ASSERT_EQ(even.amplitudes().size(), 3U);
    EXPECT_NEAR(even.amplitudes()[0], 15, 1e-14);
    EXPECT_NEAR(even.amplitudes()[1], 6.708203932499369, 1e-14);
    EXPECT_NEAR(even.amplitudes()[2], 5, 1e-14);
    // 1, 2, 4: the others are 1 - 3 + i sqrt(3), of size sqrt(7).
    const Iaaft odd(std::span(values, 3));
    ASSERT_EQ(odd.amplitudes().size(), 3U);
    EXPECT_NEAR(odd.amplitudes()[0], 7, 1e-14);
    EXPECT_NEAR(odd.amplitudes()[1], 2.6457513110645907, 1e-14);
    EXPECT_NEAR(odd.amplitudes()[2], 2.6457513110645907, 1e-14);
}

TEST(Iaaft, RefusesWhatIsNotFinite) {
    const double values[] = {1, std::numeric_limits<double>::quiet_NaN()};
    EXPECT_THROW(Iaaft{values}, InvalidArgument);
}

#ifdef SEP_X86_KERNELS
TEST(Iaaft, TransformsHaveTheSameBytesInEveryInstructionSet) {
    std::vector<const simd::TransformKernels*> all{&simd::transforms_portable};
    if (__builtin_cpu_supports("avx2")) all.push_back(&simd::transforms_avx2);
    if (__builtin_cpu_supports("avx512dq")) all.push_back(&simd::transforms_avx512);
    std::mt19937_64 random(5);
    std::normal_distribution<double> normal;
    for (const std::size_t size : {2, 9, 64, 65, 1'000, 6'001, 30'002}) {
        std::vector<double> series(size);
        for (double& value : series) value = normal(random);
        const Iaaft iaaft(series);
        const Iaaft::Transform& t = iaaft.transform();
        const auto view = [](const ComplexValues& values) {
            return simd::ComplexView{values.re.data(), values.im.data()};
        };
        const simd::TransformView transform{t.length,          t.rows,
                                            t.columns,         view(t.chirp),
                                            view(t.row_roots), view(t.column_roots),
                                            view(t.turns),     view(t.kernel)};
        std::vector<std::vector<double>> found;
        for (const simd::TransformKernels* kernels : all) {
            std::vector<double> re(series.begin(), series.begin() + static_cast<long>(t.length));
            std::vector<double> im(series.end() - static_cast<long>(t.length), series.end());
            std::vector<double> matrix(simd::matrix_size(t.rows, t.columns));
            std::vector<double> scratch(16 * t.columns);
            kernels->transform(transform, re.data(), im.data(), matrix.data(), scratch.data());
            if (size % 2 == 0) {
                kernels->shape_even(t.length, view(iaaft.half_roots()), iaaft.amplitudes().data(),
                                    re.data(), im.data());
            } else {
                kernels->shape_odd(t.length, iaaft.amplitudes().data(), re.data(), im.data());
            }
            re.insert(re.end(), im.begin(), im.end());
            found.push_back(re);
        }
        for (const std::vector<double>& one : found) EXPECT_EQ(one, found[0]) << size;
    }
}
#endif

}  // namespace
}  // namespace sep
