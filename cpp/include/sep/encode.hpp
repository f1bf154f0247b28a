#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace sep {

/// The rule that turns prices into bits (docs/reference/qfh.md, "From prices to bits").
enum class Encoding : std::uint8_t {
    moves = 0,       ///< in ticks: a rise is 1, a fall is 0, an equal price gives no bit
    strict_up = 1,   ///< price above the one before: 1, else 0; the published rule
    tick_carry = 2,  ///< as moves, but an equal price repeats the bit before, once there is one
    pip_trunc_carry = 3,  ///< sign of the change cut to whole ticks, 0 repeats the bit before, at
                          ///< first 0; published, and prices need not be multiples of the tick
};

std::string_view name_of(Encoding encoding);

/// @throws InvalidArgument  the name is none of the encodings; the message lists them.
Encoding encoding_named(std::string_view name);

/// Beyond 2^53 neighbouring integers are no longer different doubles: a price has fewer ticks.
inline constexpr double ticks_max = 9007199254740992.0;
/// How far from a whole number of ticks a price may lie, in ticks; not for pip_trunc_carry.
inline constexpr double off_grid_max = 1e-3;

/// The last price, as the next one needs it.
struct LastPrice {
    double price = 0;
    double ticks = 0;          ///< round(price / tick)
    int bit = -1;              ///< the last bit, -1 before the first
    bool gap_pending = false;  ///< a gap was seen since the last bit
    bool seen = false;         ///< false before the first price
};

/// What one price adds to the series.
struct Step {
    std::optional<bool> bit;  ///< nullopt: this price gives no bit
    bool joined = false;      ///< of the bit: the transition into it is valid
    bool flat = false;        ///< the price, in ticks, equals the one before
};

/// @throws InvalidArgument  tick is not finite or not > 0.
void check_tick(double tick);

/// Take in one price. A gap before a price that gives no bit counts for the next bit.
///
/// @param row  named in the message of an error; negative: leaves the row out.
/// @throws InvalidArgument  the price is not finite, not > 0, 2^53 ticks or more, or (but for
///     pip_trunc_carry) more than 1e-3 of a tick off the grid. `last` is then unchanged.
Step advance(LastPrice& last, Encoding encoding, double tick, double price, bool gap,
             std::int64_t row);

}  // namespace sep
