#include "sep/encode.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <utility>

#include "sep/errors.hpp"

namespace sep {
namespace {

constexpr std::array<std::pair<Encoding, std::string_view>, 2> encodings{{
    {Encoding::moves, "moves"},
    {Encoding::strict_up, "strict_up"},
}};

// Beyond 2^53 neighbouring integers are no longer different doubles.
constexpr double ticks_max = 9007199254740992.0;
constexpr double off_grid_max = 1e-3;

// The shortest text that reads back as the same number. Streams are avoided: a process may hold a
// second C++ library, and their locales do not mix.
std::string text_of(double value) {
    std::array<char, 32> text{};
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
    return {text.data(), end};
}

[[noreturn]] void refuse(const std::string& rule, double price, std::int64_t row) {
    if (row < 0) throw InvalidArgument("price must " + rule + ", was " + text_of(price));
    throw InvalidArgument("prices must " + rule + ", was " + text_of(price) + " at row " +
                          std::to_string(row));
}

}  // namespace

std::string_view name_of(Encoding encoding) {
    for (const auto& [value, name] : encodings) {
        if (value == encoding) return name;
    }
    return "unknown";
}

Encoding encoding_named(std::string_view name) {
    std::string known;
    for (const auto& [value, candidate] : encodings) {
        if (candidate == name) return value;
        known += (known.empty() ? "" : ", ") + std::string(candidate);
    }
    throw InvalidArgument("encoding must be one of " + known + ", was " + std::string(name));
}

void check_tick(double tick) {
    if (!std::isfinite(tick) || tick <= 0) {
        throw InvalidArgument("tick must be finite and > 0, was " + text_of(tick));
    }
}

double to_ticks(double price, double tick, std::int64_t row) {
    if (!std::isfinite(price)) refuse("be finite", price, row);
    if (price <= 0) refuse("be > 0", price, row);
    const double ratio = price / tick;
    if (!(ratio < ticks_max)) refuse("be below 2^53 ticks", price, row);
    const double ticks = std::nearbyint(ratio);
    if (std::fabs(ratio - ticks) > off_grid_max) {
        refuse("be multiples of tick " + text_of(tick) + " within 1e-3 of it", price, row);
    }
    return ticks;
}

Step advance(LastPrice& last, Encoding encoding, double price, double ticks, bool gap) {
    Step step;
    const bool gap_seen = last.gap_pending || gap;
    if (last.seen) {
        step.flat = ticks == last.ticks;
        if (encoding == Encoding::strict_up) {
            step.bit = price > last.price;
        } else if (!step.flat) {
            step.bit = ticks > last.ticks;
        }
    }
    step.joined = step.bit.has_value() && !gap_seen;
    last = {price, ticks, gap_seen && !step.bit.has_value(), true};
    return step;
}

Encoded encode(std::span<const double> prices, double tick, Encoding encoding,
               std::span<const std::uint8_t> gap) {
    check_tick(tick);
    if (!gap.empty() && gap.size() != prices.size()) {
        throw InvalidArgument("gap must have one value per price, " +
                              std::to_string(prices.size()) + ", had " +
                              std::to_string(gap.size()));
    }
    Encoded encoded;
    encoded.prices = prices.size();
    LastPrice last;
    for (std::size_t k = 0; k < prices.size(); ++k) {
        const double ticks = to_ticks(prices[k], tick, static_cast<std::int64_t>(k));
        const bool gap_here = !gap.empty() && gap[k] != 0;
        const Step step = advance(last, encoding, prices[k], ticks, gap_here);
        if (step.bit) encoded.series.append(*step.bit, step.joined);
        append_bit(encoded.emitted, k, step.bit.has_value());
        append_bit(encoded.flat, k, step.flat);
    }
    return encoded;
}

}  // namespace sep
