#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <initializer_list>
#include <limits>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../src/backends.hpp"
#include "device.cuh"
#include "sweep_days.cuh"
#include "sweep_device.cuh"
#include "sweep_rules.cuh"
#include "sweep_walk.cuh"
#include "sweep_worlds.cuh"

namespace sep::cuda {
namespace {

constexpr int outcome_threads = 256;
constexpr int predicate_threads = 256;
constexpr int decision_threads = 128;

// Bars times rules of one batch of worlds: some 50 ms, so that a stop is heard.
constexpr double batch_work = 1e11;

// While one lane orders its rules and takes figures home the others keep the device busy.
constexpr int lanes_of_device = 3;
// Of the memory that is free, what a sweep takes.
constexpr double memory_fraction = 0.8;

unsigned blocks_of(std::size_t threads, int block) {
    return static_cast<unsigned>((threads + static_cast<std::size_t>(block) - 1) /
                                 static_cast<std::size_t>(block));
}

/// One device with the bars on it.
class Device {
public:
    Device(int ordinal, const SweepBars& bars)
        : ordinal_(ordinal),
          size_(bars.size()),
          days_(bars.days()),
          words_((bars.size() + 31) / 32),
          tick_(bars.tick),
          per_side_(bars.per_side) {
        const OnDevice here(ordinal);
        memory_ = std::make_unique<KeptMemory>(ordinal);
        stream_ = std::make_unique<Stream>();
        windows_ = std::make_unique<Windows>(*stream_);
        const std::size_t size = bars.open.size();
        std::vector<std::int32_t> gaps_until(size, 0);
        std::vector<std::int32_t> day_end(size, 0);
        std::int32_t gaps = 0;
        for (std::size_t i = 0; i < size; ++i) {
            gaps += !bars.gap.empty() && bars.gap[i] != 0;
            gaps_until[i] = gaps;
        }
        for (std::size_t i = size; i-- > 0;) {
            const bool last = i + 1 == size || bars.day[i + 1] != bars.day[i];
            day_end[i] = last ? static_cast<std::int32_t>(i + 1) : day_end[i + 1];
        }
        const std::initializer_list<const std::vector<std::int32_t>*> columns{
            &bars.open,    &bars.high, &bars.low,   &bars.close, &bars.bid_off,
            &bars.ask_off, &bars.day,  &gaps_until, &day_end};
        for (const auto* column : columns) {
            columns_.push_back(
                std::make_unique<DeviceArray<std::int32_t>>(view(*column), *stream_));
        }
        price_ = std::make_unique<DeviceArray<double>>(view(bars.price), *stream_);
        std::vector<std::uint32_t> counts(static_cast<std::size_t>(words_), ~0U);
        for (std::size_t i = 0; i < bars.counts.size(); ++i) {
            if (bars.counts[i] == 0) counts[i / 32] &= ~(1U << (i % 32));
        }
        counts_ =
            std::make_unique<DeviceArray<std::uint32_t>>(view(std::as_const(counts)), *stream_);
        stream_->wait();
    }
    ~Device() {
        int before = 0;
        cudaGetDevice(&before);
        cudaSetDevice(ordinal_);
        counts_.reset();
        price_.reset();
        columns_.clear();
        windows_.reset();
        cudaStreamSynchronize(stream_->get());
        stream_.reset();
        memory_.reset();
        cudaSetDevice(before);
    }
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    int ordinal() const { return ordinal_; }
    const KeptMemory& memory() const { return *memory_; }
    Windows& windows() { return *windows_; }
    std::int32_t size() const { return size_; }
    std::int32_t days() const { return days_; }
    std::int32_t words() const { return words_; }
    double tick() const { return tick_; }
    const double* price() const { return price_->get(); }
    BarsView bars() const {
        return {column(0), column(1), column(2), column(3), column(4),
                column(5), column(6), per_side_, size_};
    }
    const std::int32_t* day() const { return column(6); }
    const std::int32_t* gaps_until() const { return column(7); }
    const std::int32_t* day_end() const { return column(8); }
    /// Bars whose decisions count, by words of 32.
    const std::uint32_t* counts() const { return counts_->get(); }

    /// Held shared by calls that take their share of the memory, and alone by one that needs all.
    std::shared_mutex& whole() { return whole_; }

private:
    const std::int32_t* column(std::size_t place) const { return columns_[place]->get(); }

    int ordinal_;
    std::int32_t size_;
    std::int32_t days_;
    std::int32_t words_;
    double tick_;
    std::int32_t per_side_;
    std::unique_ptr<KeptMemory> memory_;
    std::unique_ptr<Stream> stream_;
    std::unique_ptr<Windows> windows_;
    std::vector<std::unique_ptr<DeviceArray<std::int32_t>>> columns_;
    std::unique_ptr<DeviceArray<double>> price_;
    std::unique_ptr<DeviceArray<std::uint32_t>> counts_;
    std::shared_mutex whole_;
};

/// A way to work on a device beside others. One call at a time, made while it is the current
/// device.
class Lane {
public:
    explicit Lane(Device& device) : device_(device), size_(device.size()), words_(device.words()) {
        const OnDevice here(device.ordinal());
        stream_ = std::make_unique<Stream>();
        stop_word_ = std::make_unique<StopWord>(*stream_);
    }
    ~Lane() {
        int before = 0;
        cudaGetDevice(&before);
        cudaSetDevice(device_.ordinal());
        forget();
        stop_word_.reset();
        cudaStreamSynchronize(stream_->get());
        stream_.reset();
        cudaSetDevice(before);
    }
    Lane(const Lane&) = delete;
    Lane& operator=(const Lane&) = delete;

    Device& device() const { return device_; }
    /// Give back what is kept between calls.
    void forget() {
        kept_.reset();
        returns_.reset();
        choosing_.reset();
    }

    /// How many decisions and exits, and worlds of all of them with `results` bytes of results
    /// each, fit into `fraction` of the memory that is free.
    Shares shares(const Plan& plan, const SweepRules& rules, std::size_t worlds, bool with_paths,
                  double results, double fraction) const {
        stream_->wait();  // so that what was freed counts as free
        const double free = device_.memory().free_bytes();
        const double room = fraction * free;
        const double bars = size_;
        const auto decisions = static_cast<double>(rules.decisions().size());
        const auto exits = static_cast<double>(rules.exits.size());
        const auto encodings = static_cast<double>(plan.encodings.size());
        const auto predicates = static_cast<double>(plan.predicate_count() + plan.error_count());
        const double world = with_paths ? 0.0 : 24.0 * bars + results;
        const double fixed = world + bars / 8 * (5 * encodings + predicates) + 4096;
        const double decision = 8.0 * words_;
        const double exit = 2.0 * bars * (with_paths ? sizeof(int4) + sizeof(int2) : sizeof(int2));
        Shares shares;
        const double whole = fixed + decisions * decision + exits * exit;
        if (whole <= room) {
            shares.decisions = static_cast<std::int32_t>(decisions);
            shares.exits = static_cast<std::int32_t>(std::min(exits, exits_max));
            shares.worlds = static_cast<std::int32_t>(
                std::clamp(room / whole, 1.0, std::min<double>(worlds, worlds_max)));
            return shares;
        }
        const double left = room - fixed;
        shares.exits =
            static_cast<std::int32_t>(std::clamp(left / 2 / exit, 1.0, std::min(exits, exits_max)));
        const double rest = (left - shares.exits * exit) / decision;
        if (rest < 1) {
            throw OutOfMemory("backend cuda: " + std::to_string(size_) +
                              " bars are too many for the " +
                              std::to_string(std::llround(free / 0x1p20)) +
                              " MiB of device memory that are free");
        }
        shares.decisions = static_cast<std::int32_t>(std::min(rest, decisions));
        return shares;
    }

    /// What both kinds of calls hold on the device.
    class Work {
    public:
        Work(Lane& lane, const Plan& plan, const SweepRules& rules, Shares shares, bool with_paths)
            : Work(lane, plan, Features(plan, lane.device_.windows()), rules, shares, with_paths) {}

        Work(Lane& lane, const Plan& plan, const Features& features, const SweepRules& rules,
             Shares shares, bool with_paths)
            : lane_(lane),
              shares_(shares),
              words_(lane.words_ + lane.words_ % 2 + 2),
              features_(view(features.features), *lane.stream_),
              questions_(view(features.predicates), *lane.stream_),
              encodings_(view(plan.encodings), *lane.stream_),
              gates_(view(plan.gates), *lane.stream_),
              exits_(rules.exits.size(), *lane.stream_),
              plans_(plan.decisions.size(), *lane.stream_),
              predicate_count_(static_cast<std::int32_t>(plan.predicate_count())),
              feature_count_(static_cast<unsigned>(plan.features.size())),
              bits_(parts(plan) / 2, *lane.stream_),
              joined_(parts(plan) / 2, *lane.stream_),
              flat_(parts(plan) / 2, *lane.stream_),
              emitted_(parts(plan), *lane.stream_),
              bits_before_(parts(plan), *lane.stream_),
              error_count_(static_cast<std::int32_t>(plan.error_count())),
              errors_(worlds() * plan.error_count() * static_cast<std::size_t>(words_) / 2,
                      *lane.stream_),
              predicates_(worlds() * static_cast<std::size_t>(lane.words_) * plan.predicate_count(),
                          *lane.stream_),
              decided_(worlds() * static_cast<std::size_t>(lane.words_) *
                           static_cast<std::size_t>(shares.decisions),
                       *lane.stream_),
              paths_(with_paths ? table_size() : 0, *lane.stream_),
              rests_(table_size(), *lane.stream_),
              encoding_count_(static_cast<unsigned>(plan.encodings.size())) {
            lane.stream_->wait();
        }

        /// Answer all questions at all bars of `count` worlds.
        void answer(const double* price, std::int32_t count) {
            const Device& d = lane_.device_;
            const cudaStream_t stream = lane_.stream_->get();
            const std::size_t bytes =
                static_cast<std::size_t>(count) * encoding_count_ * words_ * sizeof(std::uint32_t);
            check(cudaMemsetAsync(bits_.get(), 0, bytes, stream), "cudaMemsetAsync");
            check(cudaMemsetAsync(joined_.get(), 0, bytes, stream), "cudaMemsetAsync");
            // Metrics read whole words of 64 bits, also the one that the last bars end in.
            check(cudaMemsetAsync(flat_.get(), 0, bytes, stream), "cudaMemsetAsync");
            const WorldBits bits{bits_.get(),        joined_.get(), flat_.get(),  emitted_.get(),
                                 bits_before_.get(), words_,        errors_.get()};
            const auto worlds = static_cast<unsigned>(count);
            encode_kernel<<<dim3(worlds, encoding_count_), scan_threads, 0, stream>>>(
                {price, d.gaps_until(), encodings_.get(), d.tick(), d.size(), bits});
            check(cudaGetLastError(), "encode_kernel");
            if (error_count_ > 0) {
                const unsigned blocks =
                    blocks_of(32 * static_cast<std::size_t>(words_), predicate_threads);
                world_error_kernel<<<dim3(blocks, feature_count_, worlds), predicate_threads, 0,
                                     stream>>>({bits, features_.get(),
                                                static_cast<std::int32_t>(encoding_count_),
                                                d.size(), error_count_});
                check(cudaGetLastError(), "world_error_kernel");
            }
            const unsigned blocks =
                blocks_of(static_cast<std::size_t>(d.size()), predicate_threads);
            predicate_kernel<<<dim3(blocks, feature_count_, worlds), predicate_threads, 0,
                               stream>>>({bits, features_.get(), questions_.get(),
                                          static_cast<std::int32_t>(encoding_count_), d.size(),
                                          predicate_count_, error_count_, predicates_.get()});
            check(cudaGetLastError(), "predicate_kernel");
        }

        /// How often each decision of `plan` decides in the first world.
        std::vector<std::int32_t> signals(const Plan& plan) {
            const Stream& stream = *lane_.stream_;
            const DeviceArray<std::int32_t> counts(plan.decisions.size(), stream);
            check(cudaMemsetAsync(counts.get(), 0, plan.decisions.size() * sizeof(std::int32_t),
                                  stream.get()),
                  "cudaMemsetAsync");
            take_plans(plan.decisions);
            const DecisionArgs args =
                decision_args(static_cast<std::int32_t>(plan.decisions.size()));
            signal_kernel<<<decision_grid(args, 1), decision_threads, 0, stream.get()>>>(
                args, counts.get());
            check(cudaGetLastError(), "signal_kernel");
            std::vector<std::int32_t> host(plan.decisions.size());
            copy_to_host(host.data(), counts.get(), host.size() * sizeof(std::int32_t), stream);
            stream.wait();
            return host;
        }

        /// Make the decisions of a part of `walks`, from number `first` on.
        void decide(const Plan& plan, const Walks& walks, std::int32_t first, std::int32_t count) {
            const auto end = std::min(static_cast<std::size_t>(first + shares_.decisions),
                                      walks.decisions.size());
            std::vector<DecisionPlan> plans;
            for (auto i = static_cast<std::size_t>(first); i < end; ++i) {
                plans.push_back(plan.decisions[static_cast<std::size_t>(walks.decisions[i])]);
            }
            take_plans(plans);
            const DecisionArgs args = decision_args(static_cast<std::int32_t>(plans.size()));
            decision_kernel<<<decision_grid(args, count), decision_threads, 0,
                              lane_.stream_->get()>>>(args, decided_.get());
            check(cudaGetLastError(), "decision_kernel");
            decision_count_ = args.decisions;
        }

        /// Make the outcomes of a part of `walks`, from exit `first` on.
        template <bool with_paths>
        void settle(const SweepRules& rules, const Walks& walks, std::int32_t first, BarsView bars,
                    std::int32_t count, std::int32_t* largest) {
            const auto end =
                std::min(static_cast<std::size_t>(first + shares_.exits), walks.exits.size());
            host_exits_.clear();
            for (auto i = static_cast<std::size_t>(first); i < end; ++i) {
                host_exits_.push_back(rules.exits[static_cast<std::size_t>(walks.exits[i])]);
            }
            exit_count_ = static_cast<std::int32_t>(host_exits_.size());
            const Stream& stream = *lane_.stream_;
            check(cudaMemcpyAsync(exits_.get(), host_exits_.data(),
                                  host_exits_.size() * sizeof(ExitSpec), cudaMemcpyHostToDevice,
                                  stream.get()),
                  "cudaMemcpyAsync to the device");
            const dim3 grid(blocks_of(static_cast<std::size_t>(lane_.size_), outcome_threads),
                            static_cast<unsigned>(2 * exit_count_), static_cast<unsigned>(count));
            outcome_kernel<with_paths>
                <<<grid, outcome_threads, 0, stream.get()>>>({bars,
                                                              exits_.get(),
                                                              {paths_.get(), rests_.get()},
                                                              largest,
                                                              lane_.stop_word_->signal()});
            check(cudaGetLastError(), "outcome_kernel");
        }

        WalkArgs walk_args(const Segment* segments, const WalkRule* rules) const {
            WalkArgs args{};
            args.decisions = decided_.get();
            args.tables = {paths_.get(), rests_.get()};
            args.exits = exits_.get();
            args.day = lane_.device_.day();
            args.day_end = lane_.device_.day_end();
            args.segments = segments;
            args.rules = rules;
            args.bars = lane_.size_;
            args.words = lane_.words_;
            args.decision_count = decision_count_;
            args.exit_count = exit_count_;
            args.stop = lane_.stop_word_->signal();
            return args;
        }

    private:
        std::size_t worlds() const { return static_cast<std::size_t>(shares_.worlds); }
        std::size_t parts(const Plan& plan) const {
            return worlds() * plan.encodings.size() * static_cast<std::size_t>(words_);
        }
        std::size_t table_size() const {
            return worlds() * static_cast<std::size_t>(shares_.exits) * 2 *
                   static_cast<std::size_t>(lane_.size_);
        }
        void take_plans(const std::vector<DecisionPlan>& plans) {
            check(cudaMemcpyAsync(plans_.get(), plans.data(), plans.size() * sizeof(DecisionPlan),
                                  cudaMemcpyHostToDevice, lane_.stream_->get()),
                  "cudaMemcpyAsync to the device");
            lane_.stream_->wait();  // `plans` may go away
        }
        DecisionArgs decision_args(std::int32_t count) const {
            const std::int32_t words = lane_.words_;
            return {predicates_.get(),
                    lane_.device_.counts(),
                    plans_.get(),
                    gates_.get(),
                    words,
                    predicate_count_,
                    count,
                    std::max(16, words / 60'000 + 1)};
        }
        static dim3 decision_grid(const DecisionArgs& args, std::int32_t worlds) {
            return dim3(blocks_of(static_cast<std::size_t>(args.decisions), decision_threads),
                        blocks_of(static_cast<std::size_t>(args.words), args.words_per_thread),
                        static_cast<unsigned>(worlds));
        }

        Lane& lane_;
        Shares shares_;
        std::int32_t words_;  ///< of a part of the bits
        DeviceArray<Feature> features_;
        DeviceArray<Predicate> questions_;
        DeviceArray<Encoding> encodings_;
        DeviceArray<std::int32_t> gates_;
        DeviceArray<ExitSpec> exits_;
        DeviceArray<DecisionPlan> plans_;
        std::int32_t predicate_count_;
        unsigned feature_count_;
        DeviceArray<std::uint64_t> bits_;
        DeviceArray<std::uint64_t> joined_;
        DeviceArray<std::uint64_t> flat_;
        DeviceArray<std::uint32_t> emitted_;
        DeviceArray<std::uint32_t> bits_before_;
        std::int32_t error_count_;
        DeviceArray<std::uint64_t> errors_;
        DeviceArray<std::uint32_t> predicates_;
        DeviceArray<uint2> decided_;
        DeviceArray<int4> paths_;
        DeviceArray<int2> rests_;
        unsigned encoding_count_;
        std::vector<ExitSpec> host_exits_;
        std::int32_t decision_count_ = 0;
        std::int32_t exit_count_ = 0;
    };

    /// The work of a call, with all questions answered on the bars themselves.
    std::unique_ptr<Work> begin(const Plan& plan, const SweepRules& rules, Shares shares,
                                bool with_paths) {
        auto work = std::make_unique<Work>(*this, plan, rules, shares, with_paths);
        work->answer(device_.price(), 1);
        return work;
    }

    /// The figures of all rules, in at most `fraction` of the memory that is free.
    void figures(const SweepRules& rules, std::span<SweepFigures> out, const StopFlag& stop,
                 double fraction) {
        keep(rules, fraction);
        walk(*kept_, rules, out, nullptr, stop);
    }

    /// The best of all rules.
    ChosenRules choose(const SweepRules& rules, const Choice& choice, const StopFlag& stop,
                       double fraction) {
        if (!choosing_ || choosing_->size() < rules.rules.size()) {
            choosing_.reset();
            choosing_ = std::make_unique<Choosing>(rules.rules.size(), *stream_);
        }
        keep(rules, fraction);
        walk(*kept_, rules, {}, choosing_->figures(), stop);
        if (stop.stopped()) return {};
        return choosing_->chosen(rules.rules.size(), choice);
    }

    /// Keep the decisions of the rules, and the order of their walks.
    void keep(const SweepRules& rules, double fraction) {
        // Blocks of a grid have their decisions in common.
        if (!kept_ || (kept_->decided != rules.decided && *kept_->decided != *rules.decided)) {
            kept_.reset();
            auto kept = std::make_unique<Kept>(rules);
            kept->shares = shares(kept->plan, rules, 1, true, 0, fraction);
            kept->work = begin(kept->plan, rules, kept->shares, true);
            kept->signals = kept->work->signals(kept->plan);
            kept_ = std::move(kept);
        }
        // They also have it in common, unless exits of the block take turns in another order.
        if (!kept_->order || kept_->order->rules != rules.rules ||
            kept_->order->walks.exits != exits_of(rules)) {
            kept_->order.reset();
            kept_->order = std::make_unique<Order>(
                rules, walks_of(rules, kept_->signals, kept_->shares), *stream_);
        }
    }

    /// The order in which rules are walked, here and on the device.
    struct Order {
        Order(const SweepRules& of, Walks order, const Stream& stream)
            : rules(of.rules),
              walks(std::move(order)),
              walk_rules(view(std::as_const(walks.rules)), stream),
              signals(view(std::as_const(walks.signals)), stream) {}

        std::vector<RuleSpec> rules;
        Walks walks;
        DeviceArray<WalkRule> walk_rules;
        DeviceArray<std::int32_t> signals;
    };

    /// Decisions, what they are made of, and those that are on the device.
    struct Kept {
        explicit Kept(const SweepRules& rules) : decided(rules.decided), plan(rules) {}

        std::shared_ptr<const SweepDecisions> decided;
        Plan plan;
        Shares shares;
        std::unique_ptr<Work> work;
        std::vector<std::int32_t> signals;
        std::vector<std::int32_t> made;  ///< decisions whose bits `work` holds
        std::unique_ptr<Order> order;
    };

    /// The figures of the rules whose order is kept, brought home to `out`, or left in `on_device`
    /// if that is not nullptr.
    void walk(Kept& kept, const SweepRules& rules, std::span<SweepFigures> out,
              SweepFigures* on_device, const StopFlag& stop) {
        Work& work = *kept.work;
        const Walks& walks = kept.order->walks;
        const Stream& stream = *stream_;
        const DeviceArray<std::int32_t> largest(1, stream);
        const std::size_t launch_rules =
            std::min(launch_rules_max, walks.rules.size() + walk_threads);
        if (!returns_ || returns_->size() < launch_rules) {
            returns_.reset();
            returns_ = std::make_unique<Returns>(launch_rules);
        }
        Returns& returns = *returns_;
        returns.clear();
        stop_word_->clear(stream);
        for (const Walks::Part& part : walks.parts) {
            const auto first_made = walks.decisions.begin() + part.decisions_first;
            const auto left = walks.decisions.end() - first_made;
            const std::vector<std::int32_t> wanted(
                first_made, first_made + std::min<std::ptrdiff_t>(kept.shares.decisions, left));
            if (kept.made != wanted) {
                kept.made.clear();
                work.decide(kept.plan, walks, part.decisions_first, 1);
                kept.made = wanted;
            }
            check(cudaMemsetAsync(largest.get(), 0, sizeof(std::int32_t), stream.get()),
                  "cudaMemsetAsync");
            work.settle<true>(rules, walks, part.exits_first, device_.bars(), 1, largest.get());
            // A copy to memory that is not pinned waits for what is before it, and hears no stop.
            stop_word_->wait(stream, stop);
            if (stop.stopped()) return;
            std::int32_t size = 0;
            copy_to_host(&size, largest.get(), sizeof(size), stream);
            stream.wait();
            // Every sum is one of at most as many parts as there are bars.
            const bool narrow = static_cast<double>(size) * size_ < 0x1p31;
            // Rules of a part follow each other, and so do those of a launch.
            std::vector<Segment> segments = part.segments;
            std::vector<std::size_t> begins{0};
            std::int32_t first = segments[0].first;
            for (std::size_t i = 0; i < segments.size(); ++i) {
                if (static_cast<std::size_t>(segments[i].first + segments[i].count - first) >
                    launch_rules) {
                    begins.push_back(i);
                    first = segments[i].first;
                }
                segments[i].place = segments[i].first - first;
            }
            begins.push_back(segments.size());
            const DeviceArray<Segment> all_segments(view(std::as_const(segments)), stream);
            stream.wait();
            for (std::size_t i = 0; i + 1 < begins.size() && !stop.stopped(); ++i) {
                const Segment& last = segments[begins[i + 1] - 1];
                const auto count = static_cast<std::size_t>(last.place + last.count);
                const WalkRule* expected =
                    &walks.rules[static_cast<std::size_t>(segments[begins[i]].first)];
                WalkArgs args =
                    work.walk_args(all_segments.get() + begins[i], kept.order->walk_rules.get());
                args.signals = kept.order->signals.get() + part.decisions_first;
                args.figures = on_device;
                args.by_rule = on_device != nullptr;
                if (args.by_rule) {
                    returns.next();
                } else {
                    args.figures = returns.next(out, *stop_word_, stop);
                }
                const auto grid = static_cast<unsigned>(begins[i + 1] - begins[i]);
                const cudaStream_t on = returns.stream().get();
                if (narrow) {
                    walk_kernel<Figures<std::int32_t>><<<grid, walk_threads, 0, on>>>(args);
                } else {
                    walk_kernel<Figures<std::int64_t>><<<grid, walk_threads, 0, on>>>(args);
                }
                check(cudaGetLastError(), "walk_kernel");
                if (!args.by_rule) returns.fetch({expected, count});
            }
            // What the walks read is made anew, or goes away.
            returns.finish(out, *stop_word_, stop);
            if (stop.stopped()) return;
        }
    }

    /// A search of null worlds, as one device has it.
    struct Search {
        Work& work;
        const Plan& plan;
        const SweepRules& rules;
        const Walks& walks;
        Shares shares;
        NullWorlds worlds;  ///< those of this device
        const StopFlag& stop;

        std::size_t worlds_at_a_time() const { return static_cast<std::size_t>(shares.worlds); }
        std::int32_t rule_count() const { return static_cast<std::int32_t>(rules.rules.size()); }
    };

    /// The best rule of each world.
    void best(const Search& search, Statistic statistic, std::span<SurrogateBest> out) {
        const Stream& stream = *stream_;
        const std::size_t most = search.worlds_at_a_time();
        const std::int32_t rules = search.rule_count();
        const DeviceArray<double> statistics(most * static_cast<std::size_t>(rules), stream);
        const DeviceArray<SurrogateBest> found(most, stream);
        const auto walk = [&](WalkArgs args, dim3 grid) {
            args.statistic = statistic;
            args.statistics = statistics.get();
            args.rule_count = rules;
            walk_kernel<NetOnly><<<grid, walk_threads, 0, stream.get()>>>(args);
        };
        const auto finish = [&](std::size_t at, std::int32_t count, const WalkRule*) {
            best_kernel<<<static_cast<unsigned>(count), 256, 0, stream.get()>>>(statistics.get(),
                                                                                rules, found.get());
            check(cudaGetLastError(), "best_kernel");
            copy_to_host(out.data() + at, found.get(),
                         static_cast<std::size_t>(count) * sizeof(SurrogateBest), stream);
        };
        each_batch(search, [](std::int32_t) {}, walk, finish);
    }

    /// The best rules of each world by their daily results.
    void best_by_days(const Search& search, std::span<const std::int32_t> cuts, std::int32_t days,
                      const BestByDays& out) {
        const Stream& stream = *stream_;
        const std::size_t most = search.worlds_at_a_time();
        const std::int32_t rules = search.rule_count();
        const auto row = static_cast<std::size_t>(days);
        const std::size_t panel = row * static_cast<std::size_t>(rules);
        const std::size_t cells = most * cuts.size();
        const DeviceArray<std::int64_t> day_nets(most * panel, stream);
        const DeviceArray<std::int32_t> cuts_here(cuts, stream);
        const DeviceArray<double> t_values(cells, stream);
        const DeviceArray<std::int64_t> best(cells, stream);
        const DeviceArray<std::int64_t> best_days(cells * row, stream);
        const auto begin = [&](std::int32_t count) {
            const std::size_t bytes =
                static_cast<std::size_t>(count) * panel * sizeof(std::int64_t);
            check(cudaMemsetAsync(day_nets.get(), 0, bytes, stream.get()), "cudaMemsetAsync");
        };
        const auto walk = [&](WalkArgs args, dim3 grid) {
            args.day_nets = day_nets.get();
            args.rule_count = rules;
            walk_kernel<DaysOnly><<<grid, walk_threads, 0, stream.get()>>>(args);
        };
        const auto finish = [&](std::size_t at, std::int32_t count, const WalkRule* places) {
            const dim3 grid(static_cast<unsigned>(cuts.size()), static_cast<unsigned>(count));
            choose_kernel<<<grid, choose_threads, 0, stream.get()>>>(
                {day_nets.get(), places, cuts_here.get(), rules, days, t_values.get(), best.get(),
                 best_days.get()});
            check(cudaGetLastError(), "choose_kernel");
            const BestByDays to =
                out.part(at, static_cast<std::size_t>(count), search.worlds.count);
            copy_to_host(to.t_values.data(), t_values.get(), to.t_values.size_bytes(), stream);
            copy_to_host(to.rules.data(), best.get(), to.rules.size_bytes(), stream);
            copy_to_host(to.days.data(), best_days.get(), to.days.size_bytes(), stream);
        };
        each_batch(search, begin, walk, finish);
    }

private:
    /// Walk all rules in null worlds, as many worlds at a time as there is room for.
    ///
    /// `begin` gets the number of worlds of a batch, `walk` launches the walks of a part of the
    /// rules; `finish` gets the batch's first world, their number, and the rules in the order of
    /// their places.
    template <class Begin, class Walk, class Finish>
    void each_batch(const Search& search, const Begin& begin, const Walk& walk,
                    const Finish& finish) {
        const Walks& walks = search.walks;
        const NullWorlds& worlds = search.worlds;
        const StopFlag& stop = search.stop;
        Work& work = search.work;
        const Stream& stream = *stream_;
        const auto size = static_cast<std::size_t>(size_);
        const std::size_t most = search.worlds_at_a_time();
        const DeviceArray<std::int32_t> open(most * size, stream);
        const DeviceArray<std::int32_t> high(most * size, stream);
        const DeviceArray<std::int32_t> low(most * size, stream);
        const DeviceArray<std::int32_t> close(most * size, stream);
        const DeviceArray<double> price(most * size, stream);
        const WorldPrices prices{open.get(), high.get(), low.get(), close.get(), price.get()};
        const DeviceArray<WalkRule> walk_rules(view(walks.rules), stream);
        const DeviceArray<std::int32_t> refused(1, stream);
        check(cudaMemsetAsync(refused.get(), 0, sizeof(std::int32_t), stream.get()),
              "cudaMemsetAsync");
        std::vector<std::unique_ptr<DeviceArray<Segment>>> segments;
        for (const Walks::Part& part : walks.parts) {
            segments.push_back(std::make_unique<DeviceArray<Segment>>(view(part.segments), stream));
        }
        BarsView of_worlds = device_.bars();
        of_worlds.open = open.get();
        of_worlds.high = high.get();
        of_worlds.low = low.get();
        of_worlds.close = close.get();
        stop_word_->clear(stream);
        for (std::size_t at = 0; at < worlds.count && !stop.stopped(); at += most) {
            const auto count = static_cast<std::int32_t>(std::min(most, worlds.count - at));
            make_worlds(worlds, at, count, prices, refused.get());
            begin(count);
            work.answer(price.get(), count);
            std::int32_t decided = -1;
            for (std::size_t i = 0; i < walks.parts.size(); ++i) {
                const Walks::Part& part = walks.parts[i];
                if (decided != part.decisions_first) {
                    work.decide(search.plan, walks, part.decisions_first, count);
                    decided = part.decisions_first;
                }
                work.settle<false>(search.rules, walks, part.exits_first, of_worlds, count,
                                   nullptr);
                walk(work.walk_args(segments[i]->get(), walk_rules.get()),
                     dim3(static_cast<unsigned>(part.segments.size()),
                          static_cast<unsigned>(count)));
                check(cudaGetLastError(), "walk_kernel");
            }
            stop_word_->wait(stream, stop);
            if (stop.stopped()) return;
            finish(at, count, walk_rules.get());
            std::int32_t why = 0;
            copy_to_host(&why, refused.get(), sizeof(why), stream);
            stream.wait();
            if (why == 1) {
                throw InvalidArgument(
                    "a surrogate of these bars leaves the range of prices below " +
                    std::to_string(sweep_price_max) + " ticks; use a coarser tick");
            }
            if (why == 2) {
                throw InvalidArgument(
                    "the path of prices and costs must be below 3e9 ticks, so that squares of "
                    "daily sums fit 63 bits; use a coarser tick or fewer bars");
            }
        }
    }

    /// Put the prices of worlds `at` and on, `count` of them, into `out`.
    void make_worlds(const NullWorlds& worlds, std::size_t at, std::int32_t count, WorldPrices out,
                     std::int32_t* refused) const {
        const cudaStream_t stream = stream_->get();
        if (worlds.given.empty()) {
            const SurrogateArgs args{
                device_.bars(),
                worlds.surrogates,
                static_cast<std::int64_t>(std::nearbyint(worlds.surrogates.block)),
                worlds.first + at,
                device_.tick(),
                out,
                refused};
            surrogate_kernel<<<static_cast<unsigned>(count), scan_threads, 0, stream>>>(args);
            check(cudaGetLastError(), "surrogate_kernel");
            return;
        }
        const auto size = static_cast<std::size_t>(size_);
        const auto copy = [&](auto* to, const auto& column) {
            check(cudaMemcpyAsync(to, column.data(), size * sizeof(*to), cudaMemcpyHostToDevice,
                                  stream),
                  "cudaMemcpyAsync to the device");
        };
        for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
            const SweepBars& world = worlds.given[at + i];
            copy(out.open + i * size, world.open);
            copy(out.high + i * size, world.high);
            copy(out.low + i * size, world.low);
            copy(out.close + i * size, world.close);
            copy(out.price + i * size, world.price);
        }
    }

    static constexpr double exits_max = 30'000;   // two rows each in the second dimension of a grid
    static constexpr double worlds_max = 60'000;  // a row each in its third

    Device& device_;
    std::int32_t size_;
    std::int32_t words_;
    std::unique_ptr<Stream> stream_;
    std::unique_ptr<StopWord> stop_word_;
    std::unique_ptr<Returns> returns_;
    std::unique_ptr<Choosing> choosing_;
    std::unique_ptr<Kept> kept_;
};

/// Asks on behalf of one device: a failure on another stops it too.
class SharedStop final : public StopFlag {
public:
    SharedStop(const StopFlag& caller, const std::atomic<bool>& failed)
        : caller_(caller), failed_(failed) {}
    bool stopped() const override { return failed_.load() || caller_.stopped(); }

private:
    const StopFlag& caller_;
    const std::atomic<bool>& failed_;
};

class Sweep final : public SweepBackend {
public:
    explicit Sweep(const SweepBars& bars) {
        int count = 0;
        check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
        for (int i = 0; i < count; ++i) devices_.push_back(std::make_unique<Device>(i, bars));
        for (int lane = 0; lane < lanes_of_device; ++lane) {
            for (const auto& device : devices_) lanes_.push_back(std::make_unique<Lane>(*device));
        }
    }

    int lanes() const override { return static_cast<int>(lanes_.size()); }

    void figures(const SweepRules& rules, std::span<SweepFigures> out, const StopFlag& stop,
                 int number) override {
        if (rules.rules.empty()) return;
        Lane& lane = *lanes_[static_cast<std::size_t>(number)];
        if (lane.device().size() == 0) {
            std::fill(out.begin(), out.end(), SweepFigures{});
            return;
        }
        beside_others(lane, [&](double fraction) { lane.figures(rules, out, stop, fraction); });
    }

    std::optional<ChosenRules> choose(const SweepRules& rules, const Choice& choice,
                                      const StopFlag& stop, int number) override {
        Lane& lane = *lanes_[static_cast<std::size_t>(number)];
        if (rules.rules.empty() || lane.device().size() == 0) return std::nullopt;
        ChosenRules best;
        beside_others(lane,
                      [&](double fraction) { best = lane.choose(rules, choice, stop, fraction); });
        return best;
    }

    void best(const SweepRules& rules, const SurrogateSpec& surrogates, std::uint64_t first,
              Statistic statistic, std::span<SurrogateBest> out, const StopFlag& stop) override {
        if (out.empty()) return;
        if (!(surrogates.block >= 1)) {
            throw InvalidArgument("block must be >= 1, was " + std::to_string(surrogates.block));
        }
        if (rules.rules.empty() || devices_[0]->size() == 0) {
            const double nothing = statistic == Statistic::net && !rules.rules.empty()
                                       ? 0.0
                                       : -std::numeric_limits<double>::infinity();
            std::fill(out.begin(), out.end(), SurrogateBest{nothing, 0});
            return;
        }
        const double results = 8.0 * static_cast<double>(rules.rules.size());
        search(rules, {out.size(), surrogates, first, {}}, results, stop,
               [&](Lane& lane, const Lane::Search& part, std::size_t from) {
                   lane.best(part, statistic, out.subspan(from, part.worlds.count));
               });
    }

    void best_by_days(const SweepRules& rules, const NullWorlds& worlds,
                      std::span<const std::int32_t> cuts, const BestByDays& out,
                      const StopFlag& stop) override {
        if (worlds.count == 0 || cuts.empty()) return;
        const std::int32_t days = devices_[0]->days();
        const double results = 8.0 * days * static_cast<double>(rules.rules.size() + cuts.size());
        search(rules, worlds, results, stop,
               [&](Lane& lane, const Lane::Search& part, std::size_t from) {
                   lane.best_by_days(part, cuts, days,
                                     out.part(from, part.worlds.count, worlds.count));
               });
    }

private:
    using Works = std::vector<std::unique_ptr<Lane::Work>>;

    /// Call `work` with a fraction of the memory that leaves as much to the other lanes; if that is
    /// too little, alone on the device with more.
    template <class Call>
    void beside_others(Lane& lane, const Call& work) const {
        const OnDevice here(lane.device().ordinal());
        try {
            const std::shared_lock beside(lane.device().whole());
            work(memory_fraction / lanes_of_device);
            return;
        } catch (const OutOfMemory&) {
        }
        const std::unique_lock alone(lane.device().whole());
        for (const auto& other : lanes_) {
            if (&other->device() == &lane.device()) other->forget();
        }
        lane.device().memory().trim();
        in_less_and_less_memory(work);
    }

    /// Search null worlds that are shared out among the devices. A world's results take `results`
    /// bytes; `call` gets a lane, its part of the search, and the number of its first world.
    template <class Call>
    void search(const SweepRules& rules, const NullWorlds& worlds, double results,
                const StopFlag& stop, const Call& call) const {
        for (const auto& lane : lanes_) {
            const OnDevice here(lane->device().ordinal());
            lane->forget();
        }
        const Plan plan(rules);
        const std::size_t devices = std::min(devices_.size(), worlds.count);
        const std::size_t share = (worlds.count + devices - 1) / devices;
        const double work =
            static_cast<double>(devices_[0]->size()) * static_cast<double>(rules.rules.size());
        const auto at_a_time = static_cast<std::size_t>(
            std::clamp(batch_work / work, 1.0, static_cast<double>(share)));
        in_less_and_less_memory([&](double fraction) {
            const Shares taken = shares(plan, rules, at_a_time, false, results, fraction);
            Works works = begin(devices, plan, rules, taken, false, stop);
            const Walks walks = walks_of(rules, signals(plan, works), taken);
            on_all(devices, stop, [&](std::size_t i, const StopFlag& flag) {
                const std::unique_ptr<Lane::Work> of_device = std::move(works[i]);
                const std::size_t from = std::min(i * share, worlds.count);
                const std::size_t count = std::min(share, worlds.count - from);
                call(*lanes_[i],
                     {*of_device, plan, rules, walks, taken, worlds.part(from, count), flag}, from);
            });
        });
    }

    Works begin(std::size_t devices, const Plan& plan, const SweepRules& rules, Shares shares,
                bool with_paths, const StopFlag& stop) const {
        Works works(devices);
        on_all(devices, stop, [&](std::size_t i, const StopFlag&) {
            works[i] = lanes_[i]->begin(plan, rules, shares, with_paths);
        });
        return works;
    }

    std::vector<std::int32_t> signals(const Plan& plan, const Works& works) const {
        const OnDevice here(devices_[0]->ordinal());
        return works[0]->signals(plan);
    }

    /// What fits on every device.
    Shares shares(const Plan& plan, const SweepRules& rules, std::size_t worlds, bool with_paths,
                  double results, double fraction) const {
        Shares least;
        for (std::size_t i = 0; i < devices_.size(); ++i) {
            const OnDevice here(devices_[i]->ordinal());
            const Shares fit =
                lanes_[i]->shares(plan, rules, worlds, with_paths, results, fraction);
            const bool first = least.decisions == 0;
            least.decisions = first ? fit.decisions : std::min(least.decisions, fit.decisions);
            least.exits = first ? fit.exits : std::min(least.exits, fit.exits);
            least.worlds = first ? fit.worlds : std::min(least.worlds, fit.worlds);
        }
        return least;
    }

    /// Others may take memory between the question how much is free and its use: ask for less, a
    /// few times.
    template <class Call>
    void in_less_and_less_memory(const Call& call) const {
        constexpr double least = 0.1;
        for (double fraction = memory_fraction;; fraction /= 2) {
            try {
                call(fraction);
                return;
            } catch (const OutOfMemory&) {
                if (fraction / 2 < least) throw;
                for (const auto& device : devices_) device->memory().trim();
            }
        }
    }

    /// Call `work` for every device on a thread of its own, and throw what the first to fail threw.
    template <class Call>
    void on_all(std::size_t devices, const StopFlag& stop, const Call& work) const {
        std::atomic<bool> failed{false};
        const SharedStop flag(stop, failed);
        std::vector<std::exception_ptr> thrown(devices);
        const auto run = [&](std::size_t i) {
            try {
                const OnDevice here(devices_[i]->ordinal());
                work(i, flag);
            } catch (...) {  // handed over, not swallowed
                thrown[i] = std::current_exception();
                failed = true;
            }
        };
        {
            std::vector<std::jthread> others;
            for (std::size_t i = 1; i < devices; ++i) others.emplace_back(run, i);
            run(0);
        }
        for (const std::exception_ptr& error : thrown) {
            if (error) std::rethrow_exception(error);
        }
    }

    std::vector<std::unique_ptr<Device>> devices_;
    std::vector<std::unique_ptr<Lane>> lanes_;  ///< those of all devices in turn, several times
};

}  // namespace

std::unique_ptr<SweepBackend> make_sweep(const SweepBars& bars) {
    return std::make_unique<Sweep>(bars);
}

}  // namespace sep::cuda
