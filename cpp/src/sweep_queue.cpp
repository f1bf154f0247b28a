#include "sep/sweep_queue.hpp"

#include <algorithm>
#include <utility>

#include "sep/errors.hpp"

namespace sep {
namespace {

// A lane that changes its decisions early has swept so many blocks with the old ones, and leaves so
// many to each lane that changes after it.
constexpr int blocks_before_change = 8;
constexpr std::ptrdiff_t blocks_between_changes = 2;

// Rules that are written at a time: figures are read in the order in which they lie, and each kind
// of them is written in runs.
constexpr std::size_t rules_in_run = 1024;

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

std::size_t SweepBlock::size() const {
    return every_pair ? rules->decisions().size() * rules->exits.size() : rules->rules.size();
}

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

ChosenRules best_rules(std::span<const SweepFigures> figures, const Choice& choice) {
    ChosenRules best;
    best.places = best_places(figures.size(), choice.count,
                              [&](std::size_t i) { return choice.statistic(figures[i].tally); });
    for (const std::int64_t place : best.places) {
        best.figures.push_back(figures[static_cast<std::size_t>(place)]);
    }
    return best;
}

std::size_t next_block(std::span<const SweepDecisions* const> waiting, LaneDecisions of_lane,
                       int lane, int lanes) {
    const auto is_own = [&](const SweepDecisions* one) { return one == of_lane.made; };
    const auto own = std::find_if(waiting.begin(), waiting.end(), is_own);
    if (own == waiting.end()) return 0;
    const auto place = [&](auto found) {
        return static_cast<std::size_t>(found - waiting.begin());
    };
    const auto newer = std::find_if_not(own, waiting.end(), is_own);
    const bool leaves_enough =
        std::count_if(own, waiting.end(), is_own) <= blocks_between_changes * (lanes - 1 - lane);
    const bool changes = newer != waiting.end() && of_lane.blocks >= blocks_before_change;
    return place(changes && leaves_enough ? newer : own);
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

std::optional<ChosenRules> SweepQueue::take(std::chrono::milliseconds patience) {
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
    Kept kept;
    std::unique_lock lock(guard_);
    for (;;) {
        std::shared_ptr<Job> job;
        changed_.wait(lock, [&] {
            job = next(lane, kept);
            return closed_ || job;
        });
        if (closed_) return;
        job->state = State::running;
        const std::shared_ptr<const SweepDecisions>& decided = job->block.rules->decided;
        kept.blocks = kept.decided == decided ? kept.blocks + 1 : 1;
        kept.decided = decided;
        lock.unlock();
        std::exception_ptr thrown;
        try {
            sweep(*job, lane, kept);
        } catch (...) {  // handed over, not swallowed
            thrown = std::current_exception();
        }
        lock.lock();
        job->thrown = thrown;
        job->state = State::done;
        changed_.notify_all();
    }
}

std::shared_ptr<SweepQueue::Job> SweepQueue::next(int lane, const Kept& kept) const {
    std::vector<std::shared_ptr<Job>> waiting;
    std::vector<const SweepDecisions*> decisions;
    for (const std::shared_ptr<Job>& job : jobs_) {
        if (job->state != State::waiting) continue;
        waiting.push_back(job);
        decisions.push_back(job->block.rules->decided.get());
    }
    if (waiting.empty()) return nullptr;
    return waiting[next_block(decisions, {kept.decided.get(), kept.blocks}, lane, lanes())];
}

void SweepQueue::sweep(Job& job, int lane, Kept& kept) const {
    const SweepBlock& block = job.block;
    if (block.every_pair) {
        kept.rules.decided = block.rules->decided;
        kept.rules.exits = block.rules->exits;
        combine(kept.rules);
    }
    const SweepRules& rules = block.every_pair ? kept.rules : *block.rules;
    if (block.sinks.empty()) {
        if (std::optional<ChosenRules> chosen = backend_.choose(rules, block.best, stop_, lane)) {
            job.best = std::move(*chosen);
            return;
        }
    }
    kept.figures.resize(std::max(kept.figures.size(), rules.rules.size()));
    const std::span<SweepFigures> figures = std::span(kept.figures).first(rules.rules.size());
    backend_.figures(rules, figures, stop_, lane);
    for (const FigureSink& sink : block.sinks) {
        if (!stop_.stopped()) write_figures(figures, sink);
    }
    if (!stop_.stopped()) job.best = best_rules(figures, block.best);
}

}  // namespace sep
