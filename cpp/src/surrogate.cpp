#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "sep/errors.hpp"
#include "sep/sweep.hpp"

namespace sep {
namespace {

/// Words of one surrogate in order.
class Words {
public:
    Words(std::uint64_t seed, std::uint64_t index, std::uint64_t first)
        : seed_(seed), index_(index), next_(first) {
        if (next_ % 4 != 0) block_ = philox(seed_, index_, next_ / 4 + 1);
    }

    std::uint64_t next() {
        if (next_ % 4 == 0) block_ = philox(seed_, index_, next_ / 4 + 1);
        return block_.word[next_++ % 4];
    }

private:
    std::uint64_t seed_;
    std::uint64_t index_;
    std::uint64_t next_;
    PhiloxWords block_{};
};

/// The bar that stands at each place of a block bootstrap.
std::vector<std::int32_t> block_rows(std::int32_t size, const SurrogateSpec& spec,
                                     std::uint64_t index) {
    const auto count = static_cast<std::uint64_t>(size);
    std::vector<std::int32_t> rows(static_cast<std::size_t>(size));
    std::uint64_t start = 0;
    std::uint64_t first = 0;
    if (spec.kind == SurrogateKind::circular) {
        const auto length = static_cast<std::uint64_t>(std::nearbyint(spec.block));
        for (std::uint64_t place = 0; place < count; ++place) {
            if (place % length == 0) {
                start = (surrogate_word(spec.seed, index, place) >> 32) * count >> 32;
                first = place;
            }
            rows[place] = static_cast<std::int32_t>((start + place - first) % count);
        }
        return rows;
    }
    Words starts(spec.seed, index, 0);
    Words begins(spec.seed, index, count);
    const double share = 1.0 / spec.block;
    for (std::uint64_t place = 0; place < count; ++place) {
        const std::uint64_t word = starts.next();
        const double uniform = static_cast<double>(begins.next() >> 11) * 0x1p-53;
        if (place == 0 || uniform < share) {
            start = (word >> 32) * count >> 32;
            first = place;
        }
        rows[place] = static_cast<std::int32_t>((start + place - first) % count);
    }
    return rows;
}

}  // namespace

SweepBars surrogate(const SweepBars& bars, const SurrogateSpec& spec, std::uint64_t index) {
    if (!(spec.block >= 1)) {
        throw InvalidArgument("block must be >= 1, was " + std::to_string(spec.block));
    }
    SweepBars result = bars;
    const std::int32_t size = bars.size();
    if (size == 0) return result;
    std::vector<std::int32_t> rows;
    if (spec.kind != SurrogateKind::sign) rows = block_rows(size, spec, index);
    Words words(spec.seed, index, 0);
    std::uint64_t signs = 0;
    std::int64_t before = bars.open[0];
    std::int64_t lowest = std::numeric_limits<std::int64_t>::max();
    std::int64_t highest = 0;
    std::vector<std::array<std::int64_t, 4>> made(static_cast<std::size_t>(size));
    for (std::size_t k = 0; k < made.size(); ++k) {
        const std::size_t row = rows.empty() ? k : static_cast<std::size_t>(rows[k]);
        const std::int64_t from = row == 0 ? bars.open[0] : bars.close[row - 1];
        const std::int64_t open = bars.open[row] - from;
        const std::int64_t high = bars.high[row] - from;
        const std::int64_t low = bars.low[row] - from;
        const std::int64_t close = bars.close[row] - from;
        if (spec.kind == SurrogateKind::sign && k % 64 == 0) signs = words.next();
        const bool mirrored = spec.kind == SurrogateKind::sign && (signs >> (k % 64) & 1) == 0;
        made[k] = mirrored ? std::array{before - open, before - low, before - high, before - close}
                           : std::array{before + open, before + high, before + low, before + close};
        before = made[k][3];
        for (const std::int64_t price : made[k]) {
            lowest = std::min(lowest, price);
            highest = std::max(highest, price);
        }
    }
    const std::int64_t lift = std::max<std::int64_t>(0, 1 - lowest);
    if (highest + lift >= sweep_price_max) {
        throw InvalidArgument("a surrogate of these bars leaves the range of prices below " +
                              std::to_string(sweep_price_max) + " ticks; use a coarser tick");
    }
    for (std::size_t k = 0; k < made.size(); ++k) {
        result.open[k] = static_cast<std::int32_t>(made[k][0] + lift);
        result.high[k] = static_cast<std::int32_t>(made[k][1] + lift);
        result.low[k] = static_cast<std::int32_t>(made[k][2] + lift);
        result.close[k] = static_cast<std::int32_t>(made[k][3] + lift);
        result.price[k] = static_cast<double>(made[k][3] + lift) * bars.tick;
    }
    check(result);
    return result;
}

}  // namespace sep
