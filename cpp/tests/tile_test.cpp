#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "sep/window.hpp"
#include "series.hpp"
#include "tile_tables.hpp"
#include "window_tables.hpp"

// The arithmetic of the CUDA backend's tiles, on the processor: its float32 results have to be the
// reference's, rounded once, wherever it says that they are settled.
namespace sep::cuda {
namespace {

using tests::random_bits;

bool same_bytes(float value, double expected) {
    const auto rounded = static_cast<float>(expected);
    return std::memcmp(&value, &rounded, sizeof(value)) == 0;
}

struct Compared {
    int windows = 0;
    int unsettled = 0;
    int wrong = 0;
};

/// Compare windows 2048 .. of a series with the reference.
template <int Chunks>
Compared compare(const std::vector<std::uint8_t>& series, int window) {
    const std::vector<std::uint64_t> packed = pack(series);
    const std::vector<std::uint64_t> all(packed.size(), ~std::uint64_t{0});
    const WindowTables window_tables(window, false);
    const TileTables tile_tables(window, window_tables.spans);
    const TileView view = tile_tables.view();
    WindowSpec spec;
    spec.window = window;

    std::vector<TileWord> words(2 * packed.size());
    std::uint32_t before = 0;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const auto now = static_cast<std::uint32_t>(packed[i / 2] >> (32 * (i % 2)));
        const std::uint32_t older = i == 0 ? 0 : words[i - 1].bits;
        const std::uint32_t flips = now ^ (now << 1 | older >> 31);
        words[i] = {now, older, flips, before};
        before += static_cast<std::uint32_t>(ones32(flips) + (ones32(now & ~flips) << 16));
    }

    Compared result;
    for (int newest = 2048; newest < static_cast<int>(series.size()); ++newest) {
        const auto end = static_cast<std::uint64_t>(newest) + 1;
        bool complete = false;
        const BitsBefore joined{all.data(), end};
        const WindowMetrics expected =
            window_metrics(BitsBefore{packed.data(), end}, joined, joined, end, spec,
                           view_of(tables(), window_tables), complete);
        const MetricValues values = values_of(expected);
        const TileCounts counts = tile_counts(words.data(), newest, view);
        const TileSum sum = tile_sum<Chunks>(counts, view);
        ++result.windows;
        for (int i = 0; i < 8; ++i) result.wrong += !same_bytes(counts.metric[i], values.value[i]);
        result.wrong += !same_bytes(view.tails[counts.row].lambda, expected.lambda);
        const double turned = counts.newest != 0 ? expected.damped : -expected.damped;
        result.wrong += !(std::fabs(turned - sum.value) <= sum.error);
        const auto low = static_cast<float>(sum.value - sum.error);
        const auto high = static_cast<float>(sum.value + sum.error);
        if (low == high) {
            result.wrong += !same_bytes(low, turned);
        } else {
            ++result.unsettled;
        }
    }
    return result;
}

Compared compare(const std::vector<std::uint8_t>& series, int window) {
    return window <= exact_terms + chunk_bits * chunks_short ? compare<chunks_short>(series, window)
                                                             : compare<chunks_long>(series, window);
}

TEST(Tile, SettlesNearlyAllWindowsOfCoinTossesAndRightly) {
    for (const int window : {32, 33, 63, 64, 65, 66, 67, 83, 84, 85, 256, 1024}) {
        const Compared found = compare(random_bits(22'048, 7), window);
        EXPECT_EQ(found.windows, 20'000);
        EXPECT_EQ(found.wrong, 0) << "window " << window;
        EXPECT_LT(found.unsettled, 100) << "window " << window;  // 0.12 to 0.2 % measured
    }
}

TEST(Tile, IsNeverWrongWhereBitsSeldomFlip) {
    std::mt19937_64 engine(3);
    for (const double share : {0.02, 0.2, 0.9}) {
        std::bernoulli_distribution flip(share);
        std::vector<std::uint8_t> series(12'048);
        for (std::size_t i = 1; i < series.size(); ++i) series[i] = series[i - 1] ^ flip(engine);
        for (const int window : {32, 64, 100, 1024}) {
            EXPECT_EQ(compare(series, window).wrong, 0) << "window " << window << ", " << share;
        }
    }
}

TEST(Tile, GivesEveryCountMetricTheReferenceBytes) {
    const Tables& t = tables();
    for (const int window : {32, 63, 64, 65, 129, 257, 1024}) {
        const WindowTables window_tables(window, false);
        const TileTables tile_tables(window, window_tables.spans);
        const TileView v = tile_tables.view();
        const int total = window - 1;
        int wrong = 0;
        for (int n00 = 0; n00 <= total; ++n00) {
            for (int n11 = 0; n00 + n11 <= total; ++n11) {
                const int flips = total - n00 - n11;
                const PairCounts pairs{n00, flips / 2, flips - flips / 2, n11};
                const double equal = v.counts[n00].g + v.counts[n11].g;
                const double entropy = quotient(v.g_all - (equal + v.counts[flips].g),
                                                v.entropy_scale, v.entropy_reciprocal);
                const double next =
                    quotient(v.g_after[n11 + pairs.n10] - (equal + v.g_changed[flips]),
                             v.transitions, v.transitions_reciprocal);
                double known = 1.0 - next;
                known = known < 0.0 ? 0.0 : known > 1.0 ? 1.0 : known;
                const double h = entropy_of(pairs, total, t.g.data(), t.log2_3);
                wrong += std::memcmp(&entropy, &h, sizeof(h)) != 0;
                wrong +=
                    !same_bytes(static_cast<float>(known), coherence_of(pairs, total, t.g.data()));
                wrong += !same_bytes(v.counts[n11].share, n11 / static_cast<double>(total));
                wrong +=
                    !same_bytes(v.counts[flips].rest, 1.0 - flips / static_cast<double>(total));
            }
        }
        EXPECT_EQ(wrong, 0) << "window " << window;
    }
}

}  // namespace
}  // namespace sep::cuda
