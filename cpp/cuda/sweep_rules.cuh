#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>
#include <tuple>
#include <utility>
#include <vector>

#include "sep/errors.hpp"
#include "sep/sweep.hpp"
#include "sweep_walk.cuh"
#include "sweep_worlds.cuh"

/// What rules are made of, and the order in which a device takes them.
namespace sep::cuda {

inline unsigned groups_of(std::int32_t metric) {
    if (metric < 8) return group_counts;
    if (metric < 11) return group_damped;
    if (metric < 13) return group_path;
    if (metric < 16) return group_qbsa;
    return metric == window_metric_count ? 0U : unsigned{group_collapse};
}

/// What decisions are made of, each part once.
struct Plan {
    std::vector<Encoding> encodings;
    std::vector<std::pair<std::int32_t, WindowSpec>> features;  ///< place of the encoding
    std::vector<std::vector<Predicate>> predicates;             ///< by feature
    std::vector<DecisionPlan> decisions;
    std::vector<std::int32_t> gates;

    explicit Plan(const SweepRules& rules) {
        using GateKey = std::tuple<std::int32_t, std::int32_t, double, double>;
        std::map<std::pair<Encoding, std::int32_t>, std::int32_t> feature_of;
        std::map<std::tuple<std::int32_t, Test, bool>, std::int32_t> way_of;
        std::map<std::pair<std::int32_t, GateKey>, std::int32_t> gate_of;
        const auto add = [&](std::int32_t feature, const Predicate& predicate) {
            auto& list = predicates[static_cast<std::size_t>(feature)];
            list.push_back(predicate);
            return static_cast<std::int32_t>(list.size() - 1);
        };
        std::vector<std::int32_t> feature_of_decision;
        for (const DecisionSpec& decision : rules.decisions()) {
            const auto [place, is_new] = feature_of.try_emplace(
                {decision.encoding, decision.window}, static_cast<std::int32_t>(features.size()));
            const std::int32_t feature = place->second;
            if (is_new) {
                auto known = std::find(encodings.begin(), encodings.end(), decision.encoding);
                if (known == encodings.end()) {
                    known = encodings.insert(encodings.end(), decision.encoding);
                }
                WindowSpec spec;
                spec.window = decision.window;
                spec.groups = 0;
                features.emplace_back(static_cast<std::int32_t>(known - encodings.begin()), spec);
                predicates.emplace_back();
            }
            unsigned& groups = features[static_cast<std::size_t>(feature)].second.groups;
            Test test = Test::bit;
            bool turned = decision.invert != 0;
            if (decision.direction == SignalDirection::last_bit_reversal) turned = !turned;
            if (decision.direction == SignalDirection::run_persistence) test = Test::run;
            if (decision.direction == SignalDirection::balance) {
                test = Test::balance;
                groups |= group_counts;
            }
            if (decision.direction == SignalDirection::damped) {
                test = Test::damped;
                groups |= group_damped;
            }
            const auto way = [&](bool rise) {
                const auto [found, missing] = way_of.try_emplace({feature, test, rise}, 0);
                if (missing) found->second = add(feature, {test, {}, rise});
                return found->second;
            };
            DecisionPlan made{way(!turned), way(turned), static_cast<std::int32_t>(gates.size()),
                              decision.gates_count};
            for (std::int32_t k = 0; k < decision.gates_count; ++k) {
                const GateSpec& gate =
                    rules.gates()[static_cast<std::size_t>(decision.gates_first + k)];
                groups |= groups_of(gate.metric);
                const GateKey key{gate.metric, gate.complete, gate.low, gate.high};
                const auto [found, missing] = gate_of.try_emplace({feature, key}, 0);
                if (missing) found->second = add(feature, {Test::gate, gate, false});
                gates.push_back(found->second);
            }
            decisions.push_back(made);
            feature_of_decision.push_back(feature);
        }
        // Predicates are numbered through all features.
        std::vector<std::int32_t> first(predicates.size() + 1, 0);
        for (std::size_t i = 0; i < predicates.size(); ++i) {
            first[i + 1] = first[i] + static_cast<std::int32_t>(predicates[i].size());
        }
        for (std::size_t d = 0; d < decisions.size(); ++d) {
            const std::int32_t shift = first[static_cast<std::size_t>(feature_of_decision[d])];
            decisions[d].buy += shift;
            decisions[d].sell += shift;
            for (std::int32_t k = 0; k < decisions[d].gates_count; ++k) {
                gates[static_cast<std::size_t>(decisions[d].gates_first + k)] += shift;
            }
        }
    }

    /// Windows that predictions are asked for.
    std::size_t error_count() const {
        return static_cast<std::size_t>(std::count_if(
            features.begin(), features.end(),
            [](const auto& feature) { return (feature.second.groups & group_qbsa) != 0; }));
    }

    std::size_t predicate_count() const {
        std::size_t count = 0;
        for (const auto& list : predicates) count += list.size();
        return count;
    }
};

/// How much of the rules a device takes at a time, and of how many worlds.
struct Shares {
    std::int32_t decisions = 0;
    std::int32_t exits = 0;
    std::int32_t worlds = 1;
};

/// Rules of all devices in the order in which they are walked.
struct Walks {
    std::vector<std::int32_t> decisions;  ///< used ones, by how often they decide, most first
    std::vector<std::int32_t> signals;    ///< of each of them
    std::vector<std::int32_t> exits;      ///< those of `exits_of`
    std::vector<WalkRule> rules;
    struct Part {
        std::int32_t decisions_first;  ///< of `decisions`
        std::int32_t exits_first;
        std::vector<Segment> segments;
    };
    std::vector<Part> parts;
};

/// Where each key's part of a sorted list begins, and where the last one ends.
template <class Key>
std::vector<std::size_t> parts_by(std::size_t size, std::size_t keys, const Key& key) {
    std::vector<std::size_t> first(keys + 1, 0);
    for (std::size_t i = 0; i < size; ++i) ++first[key(i) + 1];
    std::partial_sum(first.begin(), first.end(), first.begin());
    return first;
}

/// The exits that rules have, in the order of their walks: many trades take long, so that they
/// begin first and the device does not wait for them at the end.
inline std::vector<std::int32_t> exits_of(const SweepRules& rules) {
    std::vector<char> used(rules.exits.size(), 0);
    for (const RuleSpec& rule : rules.rules) used[static_cast<std::size_t>(rule.exit)] = 1;
    std::vector<std::int32_t> exits;
    for (std::size_t e = 0; e < used.size(); ++e) {
        if (used[e] != 0) exits.push_back(static_cast<std::int32_t>(e));
    }
    std::stable_sort(exits.begin(), exits.end(), [&](std::int32_t a, std::int32_t b) {
        return rules.exits[static_cast<std::size_t>(a)].horizon <
               rules.exits[static_cast<std::size_t>(b)].horizon;
    });
    return exits;
}

/// Rules side by side in a warp take their trades together, so that those that decide about as
/// often, on the same exit, are put together.
inline Walks walks_of(const SweepRules& rules, const std::vector<std::int32_t>& signals,
                      Shares shares) {
    const std::size_t size = rules.rules.size();
    const auto decision_of = [&](std::size_t rule) {
        return static_cast<std::size_t>(rules.rules[rule].decision);
    };
    const auto exit_of = [&](std::size_t rule) {
        return static_cast<std::size_t>(rules.rules[rule].exit);
    };
    const std::vector<std::size_t> rules_first =
        parts_by(size, rules.decisions().size(), decision_of);
    bool grouped = true;  // by decision, as the rules of a grid are
    for (std::size_t rule = 1; rule < size; ++rule) {
        grouped = grouped && decision_of(rule - 1) <= decision_of(rule);
    }
    std::vector<std::int32_t> by_decision(size);
    std::iota(by_decision.begin(), by_decision.end(), 0);
    if (!grouped) {
        std::stable_sort(by_decision.begin(), by_decision.end(),
                         [&](std::int32_t a, std::int32_t b) {
                             return decision_of(static_cast<std::size_t>(a)) <
                                    decision_of(static_cast<std::size_t>(b));
                         });
    }
    Walks walks;
    walks.exits = exits_of(rules);
    std::vector<std::int32_t> exit_place(rules.exits.size(), -1);
    for (std::size_t i = 0; i < walks.exits.size(); ++i) {
        exit_place[static_cast<std::size_t>(walks.exits[i])] = static_cast<std::int32_t>(i);
    }
    for (std::size_t d = 0; d < rules.decisions().size(); ++d) {
        if (rules_first[d] < rules_first[d + 1]) {
            walks.decisions.push_back(static_cast<std::int32_t>(d));
        }
    }
    const auto signals_of = [&](std::int32_t decision) {
        return signals[static_cast<std::size_t>(decision)];
    };
    std::stable_sort(walks.decisions.begin(), walks.decisions.end(),
                     [&](std::int32_t a, std::int32_t b) { return signals_of(a) > signals_of(b); });
    const auto share = static_cast<std::size_t>(shares.decisions);
    const std::size_t chunks = (walks.decisions.size() - 1) / share + 1;
    std::vector<std::size_t> chunk(rules.decisions().size(), 0);
    for (std::size_t i = 0; i < walks.decisions.size(); ++i) {
        chunk[static_cast<std::size_t>(walks.decisions[i])] = i / share;
    }

    // A row for each chunk of decisions and exit, in which decisions keep their order.
    const std::size_t exits = walks.exits.size();
    const std::vector<std::size_t> rows = parts_by(size, chunks * exits, [&](std::size_t rule) {
        return chunk[decision_of(rule)] * exits +
               static_cast<std::size_t>(exit_place[exit_of(rule)]);
    });
    std::vector<std::size_t> end(rows);
    walks.rules.resize(size);
    for (std::size_t i = 0; i < walks.decisions.size(); ++i) {
        const auto d = static_cast<std::size_t>(walks.decisions[i]);
        walks.signals.push_back(signals[d]);
        const std::size_t row = i / share * exits;
        const auto place = static_cast<std::int32_t>(i % share);
        for (std::size_t k = rules_first[d]; k < rules_first[d + 1]; ++k) {
            const std::int32_t rule = by_decision[k];
            const std::int32_t exit = exit_place[exit_of(static_cast<std::size_t>(rule))];
            walks.rules[end[row + static_cast<std::size_t>(exit)]++] = {place, rule};
        }
    }

    for (std::size_t row = 0; row + 1 < rows.size(); ++row) {
        if (rows[row] == rows[row + 1]) continue;
        const auto exit = static_cast<std::int32_t>(row % exits);
        const auto decisions_first = static_cast<std::int32_t>(row / exits * share);
        const std::int32_t exits_first = exit / shares.exits * shares.exits;
        if (walks.parts.empty() || walks.parts.back().decisions_first != decisions_first ||
            walks.parts.back().exits_first != exits_first) {
            walks.parts.push_back({decisions_first, exits_first, {}});
        }
        for (std::size_t at = rows[row]; at < rows[row + 1]; at += walk_threads) {
            const std::size_t count = std::min<std::size_t>(walk_threads, rows[row + 1] - at);
            walks.parts.back().segments.push_back({exit - exits_first,
                                                   static_cast<std::int32_t>(at),
                                                   static_cast<std::int32_t>(count), 0});
        }
    }
    return walks;
}

}  // namespace sep::cuda
