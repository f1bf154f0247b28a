#include "sep/encode.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <utility>

#include "sep/errors.hpp"

namespace sep {
namespace {

constexpr std::array<std::pair<Encoding, std::string_view>, 4> encodings{{
    {Encoding::moves, "moves"},
    {Encoding::strict_up, "strict_up"},
    {Encoding::tick_carry, "tick_carry"},
    {Encoding::pip_trunc_carry, "pip_trunc_carry"},
}};

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

Step advance(LastPrice& last, Encoding encoding, double tick, double price, bool gap,
             std::int64_t row) {
    if (!std::isfinite(price)) refuse("be finite", price, row);
    if (price <= 0) refuse("be > 0", price, row);
    const double ratio = price / tick;
    if (!(ratio < ticks_max)) refuse("be below 2^53 ticks", price, row);
    const double ticks = std::nearbyint(ratio);
    if (encoding != Encoding::pip_trunc_carry && std::fabs(ratio - ticks) > off_grid_max) {
        refuse("be multiples of tick " + text_of(tick) + " within 1e-3 of it", price, row);
    }

    Step step;
    if (last.seen) {
        step.flat = ticks == last.ticks;
        switch (encoding) {
            case Encoding::moves:
                if (!step.flat) step.bit = ticks > last.ticks;
                break;
            case Encoding::strict_up:
                step.bit = price > last.price;
                break;
            case Encoding::tick_carry:
                if (!step.flat) {
                    step.bit = ticks > last.ticks;
                } else if (last.bit >= 0) {
                    step.bit = last.bit == 1;
                }
                break;
            case Encoding::pip_trunc_carry: {
                const double whole = std::trunc((price - last.price) / tick);
                step.flat = price == last.price;
                step.bit = whole == 0 ? last.bit == 1 : whole > 0;
                break;
            }
        }
    }
    const bool gap_seen = last.gap_pending || gap;
    step.joined = step.bit.has_value() && !gap_seen;
    last = {price, ticks, step.bit ? int{*step.bit} : last.bit, gap_seen && !step.bit, true};
    return step;
}

}  // namespace sep
