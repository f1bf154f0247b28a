#include "sep/sweep_queue.hpp"

#include <algorithm>
#include <utility>

#include "sep/errors.hpp"

namespace sep {
namespace {

// Rules that are written at a time: figures are read in the order in which they lie, and each kind
// of them is written in runs.
constexpr std::size_t rules_in_run = 1024;

struct Rank {
    double statistic;
    std::int64_t place;
};

bool is_better(const Rank& a, const Rank& b) {
    return a.statistic > b.statistic || (a.statistic == b.statistic && a.place < b.place);
}

/// Call `row` with a function that reads one kind of figure, kind by kind.
template <class Row>
void each_figure(const Row& row) {
    row([](const SweepFigures& f) { return f.signals; });
    row([](const SweepFigures& f) { return f.tally.trades; });
    row([](const SweepFigures& f) { return f.tally.wins; });
    row([](const SweepFigures& f) { return f.tally.gross; });
    row([](const SweepFigures& f) { return f.tally.net; });
    row([](const SweepFigures& f) { return f.tally.day_squares; });
    row([](const SweepFigures& f) { return f.tally.drawdown; });
    row([](const SweepFigures& f) { return f.tally.longest_losing_run; });
    row([](const SweepFigures& f) { return f.tally.held; });
    for (std::size_t reason = 0; reason < exit_reason_count; ++reason) {
        row([reason](const SweepFigures& f) { return f.tally.exits[reason]; });
    }
}

}  // namespace

void write_figures(std::span<const SweepFigures> figures, const FigureSink& sink) {
    const auto width = static_cast<std::size_t>(sink.width);
    for (std::size_t at = 0; at < figures.size();) {
        const std::size_t count = std::min({rules_in_run, width - at % width, figures.size() - at});
        const auto number = sink.first + static_cast<std::int64_t>(at / width) * sink.pitch +
                            static_cast<std::int64_t>(at % width);
        const SweepFigures* from = figures.data() + at;
        std::int64_t* kind = sink.data + number * sink.rule_step;
        each_figure([&](const auto& value) {
            std::int64_t* to = kind;
            for (std::size_t i = 0; i < count; ++i, to += sink.rule_step) *to = value(from[i]);
            kind += sink.figure_step;
        });
        at += count;
    }
}

BestRules best_rules(std::span<const SweepFigures> figures, std::size_t count, Statistic by,
                     std::int64_t days) {
    std::vector<Rank> ranks;
    const std::size_t wanted = std::min(count, figures.size());
    if (wanted == 0) return {};
    const auto last = static_cast<std::ptrdiff_t>(wanted - 1);
    const auto cut = [&] {
        std::nth_element(ranks.begin(), ranks.begin() + last, ranks.end(), is_better);
        ranks.resize(wanted);
    };
    // Whoever is not better than the worst of as many as are wanted is not looked at again.
    for (std::size_t i = 0; i < figures.size(); ++i) {
        const Tally& tally = figures[i].tally;
        const double statistic = by == Statistic::net
                                     ? static_cast<double>(tally.net)
                                     : daily_t_value(tally.net, tally.day_squares, days);
        const Rank rank{statistic, static_cast<std::int64_t>(i)};
        if (ranks.size() >= wanted && !is_better(rank, ranks[wanted - 1])) continue;
        ranks.push_back(rank);
        if (ranks.size() == wanted || ranks.size() >= 2 * wanted + 64) cut();
    }
    if (ranks.size() > wanted) cut();
    std::sort(ranks.begin(), ranks.end(), is_better);
    std::vector<SweepFigures> chosen;
    BestRules best;
    for (const Rank& rank : ranks) {
        best.places.push_back(rank.place);
        chosen.push_back(figures[static_cast<std::size_t>(rank.place)]);
    }
    best.figures.resize(sweep_figures * wanted);
    const auto width = static_cast<std::int64_t>(wanted);
    write_figures(chosen, {best.figures.data(), width, 1, 0, width, width});
    return best;
}

SweepQueue::~SweepQueue() {
    stop_.set(true);
    {
        const std::lock_guard lock(guard_);
        closed_ = true;
        jobs_.clear();
    }
    changed_.notify_all();
}

void SweepQueue::put(SweepBlock block) {
    auto job = std::make_shared<Job>();
    job->block = std::move(block);
    {
        const std::lock_guard lock(guard_);
        jobs_.push_back(std::move(job));
    }
    if (threads_.size() < static_cast<std::size_t>(lanes())) {
        const int lane = static_cast<int>(threads_.size());
        threads_.emplace_back([this, lane] { work(lane); });
    }
    changed_.notify_all();
}

std::size_t SweepQueue::size() {
    const std::lock_guard lock(guard_);
    return jobs_.size();
}

std::optional<BestRules> SweepQueue::take(std::chrono::milliseconds patience) {
    std::unique_lock lock(guard_);
    if (jobs_.empty()) throw InvalidArgument("no block of rules is being swept");
    if (!changed_.wait_for(lock, patience, [&] { return jobs_.front()->state == State::done; })) {
        return std::nullopt;
    }
    const std::shared_ptr<Job> job = std::move(jobs_.front());
    jobs_.pop_front();
    if (job->thrown) std::rethrow_exception(job->thrown);
    return std::move(job->best);
}

void SweepQueue::clear() {
    stop_.set(true);
    {
        std::unique_lock lock(guard_);
        std::erase_if(jobs_, [](const auto& job) { return job->state == State::waiting; });
        changed_.wait(lock, [&] {
            return std::all_of(jobs_.begin(), jobs_.end(),
                               [](const auto& job) { return job->state == State::done; });
        });
        jobs_.clear();
    }
    stop_.set(false);
}

void SweepQueue::work(int lane) {
    std::vector<SweepFigures> made;  // kept from block to block: its pages are there
    std::unique_lock lock(guard_);
    for (;;) {
        std::shared_ptr<Job> job;
        changed_.wait(lock, [&] {
            const auto found = std::find_if(jobs_.begin(), jobs_.end(), [](const auto& one) {
                return one->state == State::waiting;
            });
            if (found != jobs_.end()) job = *found;
            return closed_ || job;
        });
        if (closed_) return;
        job->state = State::running;
        lock.unlock();
        std::exception_ptr thrown;
        try {
            sweep(*job, lane, made);
        } catch (...) {  // handed over, not swallowed
            thrown = std::current_exception();
        }
        lock.lock();
        job->thrown = thrown;
        job->state = State::done;
        changed_.notify_all();
    }
}

void SweepQueue::sweep(Job& job, int lane, std::vector<SweepFigures>& made) const {
    const SweepBlock& block = job.block;
    const std::size_t count = block.rules->rules.size();
    made.resize(std::max(made.size(), count));
    const std::span<SweepFigures> figures = std::span(made).first(count);
    backend_.figures(*block.rules, figures, stop_, lane);
    for (const FigureSink& sink : block.sinks) {
        if (!stop_.stopped()) write_figures(figures, sink);
    }
    if (block.best > 0 && !stop_.stopped()) {
        job.best = best_rules(figures, block.best, block.by, block.days);
    }
}

}  // namespace sep
