#include "sep/stream.hpp"

#include <gtest/gtest.h>

#include "sep/errors.hpp"
#include "series.hpp"

namespace sep {
namespace {

using tests::roll;
using tests::Rolled;
using tests::spec_of;
using tests::Walk;

template <class T>
bool same(const T& a, const T& b) {
    return std::memcmp(&a, &b, sizeof(T)) == 0;
}

RollingSpec cents() {
    RollingSpec spec = spec_of(8);
    spec.tick = 0.01;
    return spec;
}

TEST(Stream, GivesTheBytesOfTheBatch) {
    for (const Encoding encoding :
         {Encoding::moves, Encoding::strict_up, Encoding::tick_carry, Encoding::pip_trunc_carry}) {
        for (const int window : {8, 20, 64, 65, 300}) {
            const Walk walk(2000, static_cast<std::uint64_t>(window), 0.01);
            const Rolled batch = roll(walk, spec_of(window, encoding));
            Stream stream(spec_of(window, encoding));
            for (std::size_t k = 0; k < walk.prices.size(); ++k) {
                const StreamMetrics m = stream.update(walk.prices[k], walk.gap[k] != 0);
                ASSERT_TRUE(same(m.window, batch.at(k))) << "window " << window << ", price " << k;
                ASSERT_TRUE(same(m.flat_ratio, batch.flat_ratio[k]));
                ASSERT_EQ(m.complete, batch.complete[k] != 0);
            }
        }
    }
}

TEST(Stream, GoesOnAfterARestoreAsIfNothingHadHappened) {
    const Walk walk(400, 3, 0.02);
    Stream stream(spec_of(64));
    for (std::size_t k = 0; k < walk.prices.size(); ++k) {
        Stream restored = Stream::restore(stream.snapshot());
        const StreamMetrics a = stream.update(walk.prices[k], walk.gap[k] != 0);
        const StreamMetrics b = restored.update(walk.prices[k], walk.gap[k] != 0);
        ASSERT_TRUE(same(a.window, b.window)) << k;
        ASSERT_EQ(a.run_length, b.run_length);
        ASSERT_EQ(stream.snapshot(), restored.snapshot());
    }
}

TEST(Stream, RefusesADamagedSnapshot) {
    Stream stream(spec_of(64));
    stream.update(1.1, false);
    const auto good = stream.snapshot();
    for (std::size_t i = 0; i < good.size(); ++i) {
        auto bad = good;
        bad[i] ^= std::byte{1};
        EXPECT_THROW(Stream::restore(bad), InvalidArgument) << "byte " << i;
        EXPECT_THROW(Stream::restore(std::span(good).first(i)), InvalidArgument) << i << " bytes";
    }
    EXPECT_NO_THROW(Stream::restore(good));
}

// Enough streams that their windows are computed together; some have gaps, some no new price.
TEST(StreamBank, GivesTheBytesOfItsStreams) {
    constexpr std::size_t size = 37;
    constexpr std::size_t steps = 300;
    std::vector<Walk> walks;
    for (std::size_t i = 0; i < size; ++i) walks.emplace_back(steps, i, i % 3 == 0 ? 0.02 : 0.0);
    for (const unsigned groups :
         {group_counts | group_damped, group_counts + 0U, group_damped + 0U, tests::all_groups}) {
        for (const int window : {8, 20, 63, 64, 65}) {
            const RollingSpec spec = spec_of(window, Encoding::moves, groups);
            StreamBank bank(spec, std::vector<double>(size, spec.tick));
            std::vector<Stream> streams(size, Stream(spec));
            Rolled found(size);
            for (std::size_t k = 0; k < steps; ++k) {
                std::vector<double> prices;
                std::vector<std::uint8_t> gap;
                for (std::size_t i = 0; i < size; ++i) {
                    const bool absent = (k + i) % 11 == 0;
                    prices.push_back(absent ? std::nan("") : walks[i].prices[k]);
                    gap.push_back(walks[i].gap[k]);
                    if (!absent) streams[i].update(prices[i], gap[i] != 0);
                }
                bank.update(prices, gap, found.outputs());
                for (std::size_t i = 0; i < size; ++i) {
                    const StreamMetrics& expected = streams[i].metrics();
                    ASSERT_TRUE(same(found.at(i), expected.window))
                        << "window " << window << ", groups " << groups << ", stream " << i
                        << ", step " << k;
                    ASSERT_TRUE(same(found.flat_ratio[i], expected.flat_ratio));
                    ASSERT_EQ(found.complete[i] != 0, expected.complete);
                }
            }
        }
    }
}

TEST(StreamBank, GoesOnFromItsSnapshotAndRefusesADamagedOne) {
    for (const std::size_t size : {0U, 1U, 20U}) {
        const RollingSpec spec = spec_of(16, Encoding::moves, tests::all_groups);
        StreamBank bank(spec, std::vector<double>(size, spec.tick));
        const Walk walk(60, 4, 0.02);
        StreamBank restored = StreamBank::restore(bank.snapshot());
        for (std::size_t k = 0; k < walk.prices.size(); ++k) {
            const std::vector<double> prices(size, walk.prices[k]);
            const std::vector<std::uint8_t> gap(size, walk.gap[k]);
            bank.update(prices, gap, {});
            restored.update(prices, gap, {});
            if (k == 30) restored = StreamBank::restore(restored.snapshot());
        }
        const auto good = bank.snapshot();
        EXPECT_EQ(restored.snapshot(), good);
        for (std::size_t i = 0; i < good.size(); ++i) {
            auto bad = good;
            bad[i] ^= std::byte{1};
            EXPECT_THROW(StreamBank::restore(bad), InvalidArgument) << "byte " << i;
        }
    }
}

TEST(Stream, IsUnchangedByAPriceThatItRefuses) {
    Stream stream(cents());
    stream.update(1.10, false);
    const auto before = stream.snapshot();
    EXPECT_THROW(stream.update(1.105, false), InvalidArgument);
    EXPECT_THROW(stream.update(std::nan(""), true), InvalidArgument);
    EXPECT_EQ(stream.snapshot(), before);
}

TEST(Stream, CountsTheRunOfTheNewestBitAndStartsAnewAfterAGap) {
    Stream stream(cents());
    EXPECT_EQ(stream.update(1.10, false).last_bit, -1);
    EXPECT_EQ(stream.update(1.11, false).run_length, 1);
    EXPECT_EQ(stream.update(1.11, false).run_length, 1);  // no move, no bit
    EXPECT_EQ(stream.update(1.12, false).run_length, 2);
    EXPECT_EQ(stream.update(1.13, true).run_length, 1);
    EXPECT_EQ(stream.update(1.12, false).last_bit, 0);
    EXPECT_EQ(stream.metrics().bits_seen, 4);
}

}  // namespace
}  // namespace sep
