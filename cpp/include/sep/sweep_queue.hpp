#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "sep/sweep.hpp"

/// Blocks of rules in flight: each lane of a backend works on one while the others wait.
namespace sep {

/// Kinds of figures that every rule has, in the order of FIGURES in
/// python/sep_engine/backtest/sweep_plan.py.
inline constexpr std::size_t sweep_figures = 13;

/// Where figures of a block go: figure f of the block's rule i is
/// data[f * figure_step + (first + i / width * pitch + i % width) * rule_step].
struct FigureSink {
    std::int64_t* data = nullptr;
    std::ptrdiff_t figure_step = 0;
    std::ptrdiff_t rule_step = 0;
    std::int64_t first = 0;
    std::int64_t width = 1;
    std::int64_t pitch = 1;
};

/// Rules to sweep together, and what is wanted of them.
struct SweepBlock {
    std::shared_ptr<const SweepRules> rules;
    std::vector<FigureSink> sinks;
    Choice best;              ///< so many of the best rules are wanted
    bool every_pair = false;  ///< each decision with each exit; `rules` lists no rules then

    std::size_t size() const;
};

/// Write the figures of a block where they go.
void write_figures(std::span<const SweepFigures> figures, const FigureSink& sink);

/// Places of the largest of `size` statistics, the largest first; of equals the first.
template <class Statistic>
std::vector<std::int64_t> best_places(std::size_t size, std::size_t count,
                                      const Statistic& statistic) {
    struct Rank {
        double statistic;
        std::int64_t place;
    };
    const auto is_better = [](const Rank& a, const Rank& b) {
        return a.statistic > b.statistic || (a.statistic == b.statistic && a.place < b.place);
    };
    std::vector<Rank> ranks;
    const std::size_t wanted = std::min(count, size);
    if (wanted == 0) return {};
    const auto last = static_cast<std::ptrdiff_t>(wanted - 1);
    const auto cut = [&] {
        std::nth_element(ranks.begin(), ranks.begin() + last, ranks.end(), is_better);
        ranks.resize(wanted);
    };
    // Whoever is not better than the worst of as many as are wanted is not looked at again.
    for (std::size_t i = 0; i < size; ++i) {
        const Rank rank{statistic(i), static_cast<std::int64_t>(i)};
        if (ranks.size() >= wanted && !is_better(rank, ranks[wanted - 1])) continue;
        ranks.push_back(rank);
        if (ranks.size() == wanted || ranks.size() >= 2 * wanted + 64) cut();
    }
    if (ranks.size() > wanted) cut();
    std::sort(ranks.begin(), ranks.end(), is_better);
    std::vector<std::int64_t> places;
    for (const Rank& rank : ranks) places.push_back(rank.place);
    return places;
}

ChosenRules best_rules(std::span<const SweepFigures> figures, const Choice& choice);

/// What a lane keeps from the blocks that it has swept.
struct LaneDecisions {
    const SweepDecisions* made = nullptr;  ///< by the lane, for its last block
    int blocks = 0;                        ///< that it has swept with them
};

/// Which block a lane takes next: one whose decisions it has made, else the oldest.
///
/// Blocks with the same decisions follow each other. If all lanes made the next ones when the last
/// block of the old ones is taken, a device would have nothing to walk meanwhile; so lanes change
/// one after the other, the first of them while some blocks with the old decisions wait for the
/// others. A lane that has swept few blocks stays: decisions that few blocks have are not worth it.
///
/// @param waiting  decisions of the blocks that wait, the oldest first, not empty
std::size_t next_block(std::span<const SweepDecisions* const> waiting, LaneDecisions of_lane,
                       int lane, int lanes);

/// Puts blocks on the lanes of a backend and hands them back in the order in which they came.
///
/// One thread calls; each lane has a thread of its own, which begins with the first block.
class SweepQueue {
public:
    explicit SweepQueue(SweepBackend& backend) : backend_(backend) {}
    ~SweepQueue();
    SweepQueue(const SweepQueue&) = delete;
    SweepQueue& operator=(const SweepQueue&) = delete;

    /// Blocks that are worked on at a time.
    int lanes() const { return backend_.lanes(); }
    void put(SweepBlock block);
    /// Blocks that were put and not taken.
    std::size_t size();
    /// Wait for the oldest block; nothing if it is not done within `patience`.
    /// @throws InvalidArgument  there is no block.
    /// @throws what its sweep threw. It counts as taken then.
    std::optional<ChosenRules> take(std::chrono::milliseconds patience);
    /// End what is being worked on and forget all blocks. Nobody writes into a sink any more.
    void clear();

private:
    enum class State { waiting, running, done };
    struct Job {
        SweepBlock block;
        State state = State::waiting;
        ChosenRules best;
        std::exception_ptr thrown;
    };
    class Stop final : public StopFlag {
    public:
        bool stopped() const override { return asked_.load(std::memory_order_relaxed); }
        void set(bool asked) { asked_.store(asked, std::memory_order_relaxed); }

    private:
        std::atomic<bool> asked_{false};
    };

    /// What a lane keeps from block to block: its pages, and whose decisions it has made.
    struct Kept {
        SweepRules rules;
        std::vector<SweepFigures> figures;
        std::shared_ptr<const SweepDecisions> decided;
        int blocks = 0;  ///< swept with these decisions
    };

    std::shared_ptr<Job> next(int lane, const Kept& kept) const;

    void work(int lane);
    void sweep(Job& job, int lane, Kept& kept) const;

    SweepBackend& backend_;
    Stop stop_;
    std::mutex guard_;
    std::condition_variable changed_;
    std::deque<std::shared_ptr<Job>> jobs_;  ///< oldest first
    bool closed_ = false;
    std::vector<std::jthread> threads_;
};

}  // namespace sep
