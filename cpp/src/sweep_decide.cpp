#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <memory>

#include "parallel.hpp"
#include "sep/rolling.hpp"
#include "sweep_parts.hpp"

namespace sep {
namespace {

constexpr int metric_balance = 7;
constexpr int metric_damped = 9;
constexpr int metric_flat = window_metric_count;
// Some 10 ms of work, so that a stop is heard soon.
constexpr std::size_t chunk = std::size_t{1} << 16;

unsigned group_of_metric(int metric) {
    if (metric < 8) return group_counts;
    if (metric < 11) return group_damped;
    if (metric < 13) return group_path;
    if (metric < 16) return group_qbsa;
    return metric == metric_flat ? 0U : unsigned{group_collapse};
}

/// The decisions that share bits and metrics.
struct Family {
    Encoding encoding;
    int window;
    std::vector<std::size_t> decisions;
};

std::vector<Family> families_of(const SweepRules& rules) {
    std::vector<Family> families;
    for (std::size_t d = 0; d < rules.decisions().size(); ++d) {
        const DecisionSpec& decision = rules.decisions()[d];
        const auto same = std::find_if(families.begin(), families.end(), [&](const Family& f) {
            return f.encoding == decision.encoding && f.window == decision.window;
        });
        if (same != families.end()) {
            same->decisions.push_back(d);
        } else {
            families.push_back({decision.encoding, decision.window, {d}});
        }
    }
    return families;
}

/// Which bars came with a bit, and what it was.
struct BarBits {
    std::vector<std::uint64_t> counted;  ///< a bit that may decide, with a full window
    std::vector<std::uint64_t> up;
    std::vector<std::uint64_t> in_run;  ///< equal to the bit before, without a gap between
};

BarBits bar_bits(const SweepBars& bars, Encoding encoding, int window) {
    const std::size_t words = word_count(bars.price.size());
    BarBits result{std::vector<std::uint64_t>(words), std::vector<std::uint64_t>(words),
                   std::vector<std::uint64_t>(words)};
    LastPrice last;
    int previous = -1;
    std::int64_t seen = 0;
    for (std::size_t k = 0; k < bars.price.size(); ++k) {
        const bool gap = !bars.gap.empty() && bars.gap[k] != 0;
        const Step step =
            advance(last, encoding, bars.tick, bars.price[k], gap, static_cast<std::int64_t>(k));
        if (!step.bit) continue;
        const std::uint64_t here = std::uint64_t{1} << (k % 64);
        const bool counts = bars.counts.empty() || bars.counts[k] != 0;
        if (++seen >= window && counts) result.counted[k / 64] |= here;
        if (*step.bit) result.up[k / 64] |= here;
        if (step.joined && previous == int{*step.bit}) result.in_run[k / 64] |= here;
        previous = *step.bit;
    }
    return result;
}

/// The metrics that a family looks at, and the bits that they decide.
class FamilyMetrics {
public:
    FamilyMetrics(const SweepBars& bars, const SweepRules& rules, const Family& family,
                  Backend backend, const StopFlag& stop) {
        unsigned groups = 0;
        std::array<bool, window_metric_count + 1> wanted{};
        for (const std::size_t d : family.decisions) {
            const DecisionSpec& decision = rules.decisions()[d];
            if (decision.direction == SignalDirection::balance) wanted[metric_balance] = true;
            if (decision.direction == SignalDirection::damped) wanted[metric_damped] = true;
            for (int g = 0; g < decision.gates_count; ++g) {
                const GateSpec& gate =
                    rules.gates()[static_cast<std::size_t>(decision.gates_first + g)];
                wanted[static_cast<std::size_t>(gate.metric)] = true;
                needs_complete_ |= gate.complete != 0;
            }
        }
        RollingOutputs out;
        bool any = needs_complete_;
        for (int m = 0; m <= window_metric_count; ++m) {
            if (!wanted[static_cast<std::size_t>(m)]) continue;
            any = true;
            groups |= group_of_metric(m);
            auto& values = values_[static_cast<std::size_t>(m)];
            values.resize(bars.price.size());
            Column& column =
                m == metric_flat ? out.flat_ratio : out.metrics[static_cast<std::size_t>(m)];
            column.data = values.data();
        }
        if (!any) return;
        if (needs_complete_) {
            complete_.resize(bars.price.size());
            out.complete = complete_.data();
        }
        RollingSpec spec;
        spec.window.window = family.window;
        spec.window.groups = groups;
        spec.tick = bars.tick;
        spec.encoding = family.encoding;
        Roller roller(spec, backend, 1);
        const std::span<const double> prices = bars.price;
        const std::span<const std::uint8_t> gaps = bars.gap;
        for (std::size_t first = 0; first < prices.size() && !stop.stopped(); first += chunk) {
            const std::size_t count = std::min(chunk, prices.size() - first);
            roller.take_prices(prices.subspan(first, count),
                               gaps.empty() ? gaps : gaps.subspan(first, count), out.from(first));
        }
    }

    const std::vector<double>& of(int metric) const {
        return values_[static_cast<std::size_t>(metric)];
    }

    std::uint64_t passing(const GateSpec& gate, std::size_t word) const {
        const std::vector<double>& values = of(gate.metric);
        const std::size_t first = 64 * word;
        const std::size_t count = std::min<std::size_t>(64, values.size() - first);
        std::uint64_t bits = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const double value = values[first + i];
            const bool in_range = (value >= gate.low) & (value <= gate.high);
            const bool usable = gate.complete == 0 || complete_[first + i] != 0;
            bits |= std::uint64_t{in_range && usable} << i;
        }
        return bits;
    }

    void sign(int metric, std::size_t word, std::uint64_t& above, std::uint64_t& below) const {
        const std::vector<double>& values = of(metric);
        const std::size_t first = 64 * word;
        const std::size_t count = std::min<std::size_t>(64, values.size() - first);
        above = below = 0;
        for (std::size_t i = 0; i < count; ++i) {
            above |= std::uint64_t{values[first + i] > 0} << i;
            below |= std::uint64_t{values[first + i] < 0} << i;
        }
    }

private:
    bool needs_complete_ = false;
    std::array<std::vector<double>, window_metric_count + 1> values_;
    std::vector<std::uint8_t> complete_;
};

/// The bars at which a gate lets pass and those at which a metric has a sign, kept because many
/// decisions share them.
class GateBits {
public:
    struct Signs {
        std::vector<std::uint64_t> above;
        std::vector<std::uint64_t> below;
    };

    GateBits(const FamilyMetrics& metrics, std::size_t words) : metrics_(metrics), words_(words) {}

    const Signs& signs(int metric) {
        Signs& signs = metric == metric_balance ? balance_ : damped_;
        if (signs.above.size() < words_) {
            signs.above.resize(words_);
            signs.below.resize(words_);
            for (std::size_t w = 0; w < words_; ++w) {
                metrics_.sign(metric, w, signs.above[w], signs.below[w]);
            }
        }
        return signs;
    }

    const std::vector<std::uint64_t>& of(const GateSpec& gate) {
        for (const Kept& kept : kept_) {
            if (kept.gate == gate) return *kept.bits;
        }
        auto bits = std::make_unique<std::vector<std::uint64_t>>(words_);
        for (std::size_t w = 0; w < words_; ++w) (*bits)[w] = metrics_.passing(gate, w);
        kept_.push_back({gate, std::move(bits)});
        return *kept_.back().bits;
    }

private:
    struct Kept {
        GateSpec gate;
        std::unique_ptr<std::vector<std::uint64_t>> bits;
    };
    const FamilyMetrics& metrics_;
    std::size_t words_;
    std::vector<Kept> kept_;
    Signs balance_;
    Signs damped_;
};

DecisionBits decision_bits(const DecisionSpec& decision, const SweepRules& rules,
                           const BarBits& bar, GateBits& gates) {
    const std::size_t words = bar.counted.size();
    DecisionBits result{std::vector<DecisionWord>(words + 1), 0};
    const std::uint64_t turn = decision.invert ? ~std::uint64_t{0} : 0;
    const bool by_balance = decision.direction == SignalDirection::balance;
    const bool by_sign = by_balance || decision.direction == SignalDirection::damped;
    const GateBits::Signs* signs =
        by_sign ? &gates.signs(by_balance ? metric_balance : metric_damped) : nullptr;
    for (std::size_t w = 0; w < words; ++w) {
        std::uint64_t decided = bar.counted[w];
        std::uint64_t bought = bar.up[w];
        if (by_sign) {
            bought = signs->above[w];
            decided &= bought | signs->below[w];
        } else if (decision.direction == SignalDirection::last_bit_reversal) {
            bought = ~bought;
        } else if (decision.direction == SignalDirection::run_persistence) {
            decided &= bar.in_run[w];
        }
        result.words[w] = {decided, bought ^ turn};
    }
    for (int g = 0; g < decision.gates_count; ++g) {
        const auto& passing =
            gates.of(rules.gates()[static_cast<std::size_t>(decision.gates_first + g)]);
        for (std::size_t w = 0; w < words; ++w) result.words[w].decided &= passing[w];
    }
    for (std::size_t w = 0; w < words; ++w) {
        result.words[w].bought &= result.words[w].decided;
        result.signals += ones(result.words[w].decided);
    }
    return result;
}

}  // namespace

std::vector<DecisionBits> decide(const SweepBars& bars, const SweepRules& rules, Backend backend,
                                 int threads, const StopFlag& stop) {
    const std::vector<Family> families = families_of(rules);
    std::vector<DecisionBits> result(rules.decisions().size());
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
        for (std::size_t f = next++; f < families.size() && !stop.stopped(); f = next++) {
            const Family& family = families[f];
            const BarBits bar = bar_bits(bars, family.encoding, family.window);
            const FamilyMetrics metrics(bars, rules, family, backend, stop);
            GateBits gates(metrics, bar.counted.size());
            for (const std::size_t d : family.decisions) {
                if (stop.stopped()) return;
                result[d] = decision_bits(rules.decisions()[d], rules, bar, gates);
            }
        }
    };
    in_parallel(threads, families.size(), work);
    return result;
}

}  // namespace sep
