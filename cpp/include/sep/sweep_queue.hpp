#pragma once

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
    std::size_t best = 0;  ///< so many of the best rules are wanted
    Statistic by = Statistic::sharpe;
    std::int64_t days = 0;  ///< trading days of the bars
};

/// The best rules of a block, the best first; of equals the first of the block.
struct BestRules {
    std::vector<std::int64_t> places;   ///< in the block
    std::vector<std::int64_t> figures;  ///< figure f of best rule k is figures[f * best + k]
};

/// Write the figures of a block where they go.
void write_figures(std::span<const SweepFigures> figures, const FigureSink& sink);

BestRules best_rules(std::span<const SweepFigures> figures, std::size_t count, Statistic by,
                     std::int64_t days);

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
    std::optional<BestRules> take(std::chrono::milliseconds patience);
    /// End what is being worked on and forget all blocks. Nobody writes into a sink any more.
    void clear();

private:
    enum class State { waiting, running, done };
    struct Job {
        SweepBlock block;
        State state = State::waiting;
        BestRules best;
        std::exception_ptr thrown;
    };
    class Stop final : public StopFlag {
    public:
        bool stopped() const override { return asked_.load(std::memory_order_relaxed); }
        void set(bool asked) { asked_.store(asked, std::memory_order_relaxed); }

    private:
        std::atomic<bool> asked_{false};
    };

    void work(int lane);
    void sweep(Job& job, int lane, std::vector<SweepFigures>& made) const;

    SweepBackend& backend_;
    Stop stop_;
    std::mutex guard_;
    std::condition_variable changed_;
    std::deque<std::shared_ptr<Job>> jobs_;  ///< oldest first
    bool closed_ = false;
    std::vector<std::jthread> threads_;
};

}  // namespace sep
