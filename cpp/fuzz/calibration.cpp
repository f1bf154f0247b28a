// A coin's distribution rises from above 0 to 1, and its percentiles with the value.
#include "sep/calibration.hpp"

#include <array>
#include <cmath>

#include "input.hpp"

namespace sep::fuzz {

void calibration(std::span<const std::uint8_t> bytes) {
    Input input(bytes);
    constexpr std::array<std::string_view, 14> names{
        "null_ratio",      "flip_ratio", "rupture_ratio",  "entropy", "coherence",
        "state_coherence", "stability",  "balance",        "abacus",  "lambda_",
        "qbsa_error",      "confidence", "confidence_low", "collapse"};
    const std::string_view name = names[static_cast<std::size_t>(input.in(0, 13))];
    const int window = static_cast<int>(input.in(0, 3) == 0 ? input.in(-3, 300) : input.in(8, 80));
    try {
        const CoinDistribution coin(name, window);
        const auto atoms = coin.atoms();
        const auto cumulative = coin.cumulative();
        require(!atoms.empty() && atoms.size() == cumulative.size(), "one probability an atom");
        require(std::fabs(cumulative.back() - 1.0) < 1e-9, "probabilities sum to 1");
        for (std::size_t i = 1; i < atoms.size(); ++i) {
            require(atoms[i - 1] < atoms[i], "atoms rise");
            require(cumulative[i - 1] <= cumulative[i], "probabilities do not fall");
        }
        double before = -1;
        double value = -2;
        while (input.left() > 0) {
            value += std::fabs(static_cast<double>(input.take<std::int16_t>())) / 65536.0;
            const double percentile = coin.percentile(value);
            require(percentile >= before && percentile <= 100.0 + 1e-9, "percentiles rise");
            before = percentile;
        }
        const double any = input.take<double>();
        require(std::isnan(coin.percentile(std::nan(""))), "NaN has none");
        coin.percentile(any);
    } catch (const InvalidArgument&) {
        const int window_min = name == "collapse" ? 32 : 8;
        require(name == "abacus" || window < window_min || window > 1024, "a metric it knows");
    }
}

}  // namespace sep::fuzz
