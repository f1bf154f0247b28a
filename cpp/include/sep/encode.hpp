#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "sep/bits.hpp"

namespace sep {

/// The rule that turns prices into bits (docs/reference/qfh.md, "From prices to bits").
enum class Encoding : std::uint8_t {
    moves = 0,      ///< in ticks: a rise is 1, a fall is 0, an equal price gives no bit
    strict_up = 1,  ///< price above the one before: 1, else 0; the published rule
};

std::string_view name_of(Encoding encoding);

/// @throws InvalidArgument  the name is none of the encodings; the message lists them.
Encoding encoding_named(std::string_view name);

/// The last price, as the next one needs it.
struct LastPrice {
    double price = 0;
    double ticks = 0;          ///< round(price / tick)
    bool gap_pending = false;  ///< a gap was seen since the last bit
    bool seen = false;         ///< false before the first price
};

/// What one price adds to the series.
struct Step {
    std::optional<bool> bit;  ///< nullopt: this price gives no bit
    bool joined = false;      ///< of the bit: the transition into it is valid
    bool flat = false;        ///< the price, in ticks, equals the one before
};

/// A price in ticks, rounded to the nearest.
/// @throws InvalidArgument  the price is not finite, not > 0, more than 1e-3 of a tick off the
/// grid,
///                          or 2^53 ticks or more. `row` < 0 leaves the row out of the message.
double to_ticks(double price, double tick, std::int64_t row);

/// @throws InvalidArgument  tick is not finite or not > 0.
void check_tick(double tick);

/// Take in one price. A gap before a price that gives no bit counts for the next bit.
Step advance(LastPrice& last, Encoding encoding, double price, double ticks, bool gap);

/// A price series as bits.
struct Encoded {
    BitSeries series;
    std::vector<std::uint64_t> emitted;  ///< packed, per price: this price gave a bit
    std::vector<std::uint64_t> flat;     ///< packed, per price: this price did not move
    std::size_t prices = 0;
};

/// @param prices  finite, > 0, multiples of `tick` within 1e-3 of a tick; oldest first.
/// @param gap     empty, or one value per price; non-zero: something is missing before that price.
/// @throws InvalidArgument  a rule is broken; the message names the first offending row.
Encoded encode(std::span<const double> prices, double tick, Encoding encoding,
               std::span<const std::uint8_t> gap);

}  // namespace sep
