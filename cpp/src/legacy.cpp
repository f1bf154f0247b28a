#include "sep/legacy.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "sep/errors.hpp"

namespace sep::legacy {
namespace {

bool all_bits(std::span<const std::uint8_t> values) {
    return std::all_of(values.begin(), values.end(), [](std::uint8_t value) { return value <= 1; });
}

State state_of(std::uint8_t before, std::uint8_t now) {
    if (before != now) return State::flip;
    return now == 1 ? State::rupture : State::null;
}

struct Counts {
    std::uint64_t null_count = 0;
    std::uint64_t flip_count = 0;
    std::uint64_t rupture_count = 0;

    std::uint64_t total() const { return null_count + flip_count + rupture_count; }
};

/// None at all if a value is neither 0 nor 1.
Counts count(std::span<const std::uint8_t> bits) {
    Counts counts;
    if (!all_bits(bits)) return counts;
    for (std::size_t i = 1; i < bits.size(); ++i) {
        const State state = state_of(bits[i - 1], bits[i]);
        if (state == State::null) ++counts.null_count;
        if (state == State::flip) ++counts.flip_count;
        if (state == State::rupture) ++counts.rupture_count;
    }
    return counts;
}

float ratio(std::uint64_t part, std::uint64_t total) {
    return static_cast<float>(part) / static_cast<float>(total);
}

/// Entropy in bits of the three states, every step rounded to binary32.
float raw_entropy(const Counts& counts) {
    float sum = 0;
    for (const std::uint64_t n : {counts.null_count, counts.flip_count, counts.rupture_count}) {
        const float p = ratio(n, counts.total());
        if (p > 0) sum -= p * std::log2(p);
    }
    return sum;
}

float pattern_coherence(double entropy, double flip_ratio, double rupture_ratio) {
    const auto a = static_cast<float>((1.0 - entropy) * 1.2f);
    const auto s = static_cast<float>((1.0 - rupture_ratio) * 1.1f);
    const auto f = static_cast<float>((1.0 - flip_ratio) * 1.05f);
    const float q = a * 0.5f + s * 0.3f + f * 0.2f;
    return std::clamp(q * q * 1.1f, 0.0f, 1.0f);
}

double local_lambda(std::span<const std::uint8_t> window) {
    const Counts counts = count(window);
    double h = 0.5;
    if (counts.total() > 0) {
        h = std::clamp(static_cast<double>(raw_entropy(counts)) / 1.585, 0.05, 1.0);
    }
    const double c = 1.0 - h;
    return std::clamp(0.30 * h + 0.20 * (1.0 - c), 0.01, 1.0);
}

double path_confidence(std::span<const double> path) {
    if (path.size() <= 2) return 0.5;
    double sum = 0;
    for (const double value : path) sum += value;
    const double mean = sum / static_cast<double>(path.size());
    double squares = 0;
    for (const double value : path) squares += (value - mean) * (value - mean);
    const double variance = squares / static_cast<double>(path.size());
    return std::clamp(1.0 / (1.0 + variance), 0.0, 1.0);
}

}  // namespace

double cosine(std::span<const double> a, std::span<const double> b) {
    if (a.size() != b.size() || a.empty()) return 0;
    double dot = 0;
    double a_square = 0;
    double b_square = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        dot += a[i] * b[i];
        a_square += a[i] * a[i];
        b_square += b[i] * b[i];
    }
    const double norms = std::sqrt(a_square) * std::sqrt(b_square);
    return norms == 0 ? 0 : dot / norms;
}

double path_similarity(std::span<const double> path) {
    const std::size_t m = path.size();
    if (m < 3) return 0.5;
    const double first = path.front();
    const double last = path.back();
    const double middle = (last + first) / 2.0;
    const double amplitude = (last - first) / 2.0;
    std::vector<double> decay(m);
    std::vector<double> line(m);
    std::vector<double> sine(m);
    for (std::size_t k = 0; k < m; ++k) {
        const auto step = static_cast<double>(k);
        decay[k] = first * std::exp(-0.1 * step);
        line[k] = first + (last - first) * step / static_cast<double>(m - 1);
        sine[k] =
            middle + amplitude * std::sin(2.0 * std::numbers::pi * step / static_cast<double>(m));
    }
    const double best = std::max({cosine(path, decay), cosine(path, line), cosine(path, sine)});
    return std::clamp(best, 0.0, 1.0);
}

Trajectory trajectory(std::span<const std::uint8_t> bits, std::size_t anchor) {
    Trajectory result;
    if (anchor >= bits.size()) return result;
    const std::size_t local = std::min<std::size_t>(20, bits.size() - anchor);
    result.lambda = local_lambda(bits.subspan(anchor, local));
    result.path.push_back(bits[anchor]);
    for (std::size_t j = anchor + 1; j < bits.size(); ++j) {
        const double difference = static_cast<double>(bits[j]) - static_cast<double>(bits[anchor]);
        result.value += difference * std::exp(-*result.lambda * static_cast<double>(j - anchor));
        result.path.push_back(result.value);
    }
    result.confidence = path_confidence(result.path);
    result.similarity = path_similarity(result.path);
    return result;
}

Analysis analyze(std::span<const std::uint8_t> bits) {
    Analysis result;
    result.trajectory = trajectory(bits, 0);
    const Counts counts = count(bits);
    if (counts.total() > 0) {
        result.null_count = counts.null_count;
        result.flip_count = counts.flip_count;
        result.rupture_count = counts.rupture_count;
        result.flip_ratio = ratio(counts.flip_count, counts.total());
        result.rupture_ratio = ratio(counts.rupture_count, counts.total());
        const double entropy = static_cast<double>(raw_entropy(counts)) / 1.585f;
        result.entropy = std::clamp<double>(entropy, 0.05f, 1.0f);
        result.coherence =
            pattern_coherence(result.entropy, result.flip_ratio, result.rupture_ratio);
        for (std::size_t i = 1; i < bits.size(); ++i) {
            const State state = state_of(bits[i - 1], bits[i]);
            if (result.runs.empty() || result.runs.back().state != state) {
                result.runs.push_back({i - 1, state, 1});
            } else {
                ++result.runs.back().length;
            }
        }
    }
    if (bits.size() > 10) {
        const auto similarity = static_cast<float>(result.trajectory.similarity);
        const auto pattern = static_cast<float>(result.coherence);
        double coherence = 0.3f * similarity + 0.7f * pattern;
        const double size = std::fabs(result.trajectory.value);
        if (size < 2.0) coherence *= 1.0f / (1.0f + 0.1f * static_cast<float>(size));
        result.coherence = std::clamp(coherence, 0.0, 1.0);
    }
    return result;
}

bool Qbsa::collapse(std::size_t total_bits, float threshold) const {
    if (collapse(threshold)) return true;
    return total_bits > 0 && ratio(corrections.size(), total_bits) >= threshold;
}

Qbsa qbsa(std::span<const std::uint32_t> probes, std::span<const std::uint32_t> expectations) {
    if (probes.size() != expectations.size()) {
        throw InvalidArgument("expectations must have one value per probe, " +
                              std::to_string(probes.size()) + ", had " +
                              std::to_string(expectations.size()));
    }
    Qbsa result;
    for (std::size_t i = 0; i < probes.size(); ++i) {
        if (probes[i] != expectations[i]) result.corrections.push_back(i);
    }
    if (!probes.empty()) result.correction_ratio = ratio(result.corrections.size(), probes.size());
    return result;
}

}  // namespace sep::legacy
