#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

/// The published QFH behaviour, number for number (docs/reference/qfh.md, "Legacy layer").
///
/// Kept so that old figures can be checked. The constants and the places where a value is rounded
/// to binary32 are part of the behaviour.
namespace sep::legacy {

enum class State : char { null = 'N', flip = 'F', rupture = 'R' };

/// A maximal stretch of transitions of one state.
struct Run {
    std::size_t first;  ///< index of its first transition
    State state;
    std::size_t length;
};

/// The damped sum from one anchor forward, and what was said of its path.
struct Trajectory {
    std::optional<double> lambda;  ///< none when the anchor is past the last bit
    double value = 0;
    double confidence = 0;
    std::vector<double> path;  ///< the anchor bit, then the partial sums
    double similarity = 0.5;

    bool converged() const { return confidence > 0.7; }
};

struct Analysis {
    std::uint64_t null_count = 0;
    std::uint64_t flip_count = 0;
    std::uint64_t rupture_count = 0;
    float flip_ratio = 0;
    float rupture_ratio = 0;
    double entropy = 0;
    double coherence = 0;
    std::vector<Run> runs;
    Trajectory trajectory;  ///< from bit 0

    bool collapse(float threshold) const { return rupture_ratio >= threshold; }
};

/// Values other than 0 and 1 leave the counts and runs empty; the trajectory takes them as they
/// are.
Analysis analyze(std::span<const std::uint8_t> bits);

Trajectory trajectory(std::span<const std::uint8_t> bits, std::size_t anchor);

/// Similarity of a path to a decay, a line and a sine, in 0..1; 0.5 below three points.
double path_similarity(std::span<const double> path);

/// Cosine of two vectors; 0 if a norm is 0 or the lengths differ.
double cosine(std::span<const double> a, std::span<const double> b);

/// Indices where probe and expectation differ, and their share.
struct Qbsa {
    std::vector<std::size_t> corrections;
    float correction_ratio = 0;

    /// Level 1: the share of corrections reaches the threshold.
    bool collapse(float threshold) const { return correction_ratio >= threshold; }
    /// Level 2: level 1, or the corrections per bit reach it.
    bool collapse(std::size_t total_bits, float threshold) const;
};

/// @throws InvalidArgument  the sizes differ.
Qbsa qbsa(std::span<const std::uint32_t> probes, std::span<const std::uint32_t> expectations);

}  // namespace sep::legacy
