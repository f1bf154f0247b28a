#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "arguments.hpp"
#include "arrays.hpp"
#include "register.hpp"
#include "sep/errors.hpp"
#include "sep/sweep.hpp"
#include "sep/sweep_queue.hpp"

namespace sep::bindings {
namespace {

constexpr std::chrono::milliseconds between_signals{50};

class AtomicStop final : public StopFlag {
public:
    bool stopped() const override { return stopped_.load(std::memory_order_relaxed); }
    void stop() { stopped_.store(true, std::memory_order_relaxed); }

private:
    std::atomic<bool> stopped_{false};
};

/// Run `work(stop)` on a thread of its own while this one listens to Python's signals.
template <class Work>
void run_listening(const Work& work) {
    AtomicStop stop;
    std::exception_ptr thrown;
    bool done = false;
    std::mutex guard;
    std::condition_variable ended;
    bool interrupted = false;
    {
        const py::gil_scoped_release release;
        const std::jthread worker([&] {
            std::exception_ptr caught;
            try {
                work(stop);
            } catch (...) {  // handed over, not swallowed
                caught = std::current_exception();
            }
            const std::lock_guard lock(guard);
            thrown = caught;
            done = true;
            ended.notify_one();
        });
        std::unique_lock lock(guard);
        while (!ended.wait_for(lock, between_signals, [&] { return done; })) {
            lock.unlock();
            if (!interrupted) {
                const py::gil_scoped_acquire acquire;
                interrupted = PyErr_CheckSignals() != 0;
                if (interrupted) stop.stop();
            }
            lock.lock();
        }
    }
    if (interrupted) throw py::error_already_set();
    if (thrown) std::rethrow_exception(thrown);
}

template <class T>
std::vector<T> vector_of(const Array<T>& array) {
    return {array.data(), array.data() + array.size()};
}

template <class T>
std::span<T> writable(const Array<T>& array) {
    return {const_cast<T*>(array.data()), static_cast<std::size_t>(array.size())};
}

// Columns of the arrays that rules come in; python/sep_engine/backtest/sweep_plan.py makes them.
constexpr py::ssize_t decision_columns = 6;
constexpr py::ssize_t exit_columns = 4;
constexpr py::ssize_t rule_columns = 2;

SweepDecisions decisions_of(const Array<std::int32_t>& gate_metrics,
                            const Array<double>& gate_ranges,
                            const Array<std::int32_t>& decisions) {
    SweepDecisions result;
    const std::int32_t* metric = gate_metrics.data();
    const double* range = gate_ranges.data();
    for (py::ssize_t i = 0; i < gate_metrics.size() / 2; ++i) {
        result.gates.push_back({metric[2 * i], metric[2 * i + 1], range[2 * i], range[2 * i + 1]});
    }
    const std::int32_t* d = decisions.data();
    for (py::ssize_t i = 0; i < decisions.size() / decision_columns; ++i, d += decision_columns) {
        result.decisions.push_back({static_cast<Encoding>(d[0]), static_cast<SignalDirection>(d[1]),
                                    static_cast<std::uint8_t>(d[2]), d[3], d[4], d[5]});
    }
    check(result);
    return result;
}

/// Rules as Python has them: a list, or each decision with each exit, which is listed only for
/// those who look at all of them.
class Rules {
public:
    Rules(std::shared_ptr<SweepDecisions> decided, const Array<std::int32_t>& exits,
          const std::optional<Array<std::int32_t>>& rules)
        : every_pair_(!rules), rules_(std::make_shared<SweepRules>()) {
        rules_->decided = std::move(decided);
        const std::int32_t* e = exits.data();
        for (py::ssize_t i = 0; i < exits.size() / exit_columns; ++i, e += exit_columns) {
            rules_->exits.push_back({e[0], e[1], e[2], static_cast<EntryAt>(e[3])});
        }
        if (rules) {
            const std::int32_t* r = rules->data();
            for (py::ssize_t i = 0; i < rules->size() / rule_columns; ++i, r += rule_columns) {
                rules_->rules.push_back({r[0], r[1]});
            }
        }
        check(*rules_);
    }

    SweepBlock block() const {
        SweepBlock block;
        block.rules = rules_;
        block.every_pair = every_pair_;
        return block;
    }
    SweepRules listed() const {
        SweepRules all = *rules_;
        if (every_pair_) combine(all);
        return all;
    }

private:
    bool every_pair_;
    std::shared_ptr<SweepRules> rules_;
};

/// The sink that Python names by an array of (13, rules), in any order in memory, and the numbers
/// of the block's rules in it.
FigureSink sink_of(const py::tuple& given, std::size_t rules) {
    const auto array = given[0].cast<py::array>();
    if (!py::isinstance<py::array_t<std::int64_t>>(array) || array.ndim() != 2 ||
        array.shape(0) != static_cast<py::ssize_t>(sweep_figures) || !array.writeable()) {
        throw InvalidArgument("figures must be a writable array of (13, rules) int64");
    }
    FigureSink sink;
    sink.first = given[1].cast<std::int64_t>();
    sink.width = given[2].cast<std::int64_t>();
    sink.pitch = given[3].cast<std::int64_t>();
    const auto last = static_cast<std::int64_t>(rules) - 1;
    if (sink.first < 0 || sink.width < 1 || sink.pitch < sink.width ||
        (last >= 0 && sink.first + last / sink.width * sink.pitch + last % sink.width >=
                          static_cast<std::int64_t>(array.shape(1)))) {
        throw InvalidArgument("the numbers of a block's rules leave the array");
    }
    constexpr auto item = static_cast<py::ssize_t>(sizeof(std::int64_t));
    if (array.strides(0) % item != 0 || array.strides(1) % item != 0 ||
        reinterpret_cast<std::uintptr_t>(array.data()) % alignof(std::int64_t) != 0) {
        throw InvalidArgument("figures must be aligned");
    }
    sink.data = static_cast<std::int64_t*>(const_cast<void*>(array.data()));
    sink.figure_step = array.strides(0) / item;
    sink.rule_step = array.strides(1) / item;
    return sink;
}

SurrogateSpec surrogates_of(const std::string& kind, std::uint64_t seed, double block) {
    SurrogateSpec spec;
    spec.seed = seed;
    spec.block = block;
    if (kind == "sign") {
        spec.kind = SurrogateKind::sign;
    } else if (kind == "block") {
        spec.kind = SurrogateKind::stationary;
    } else if (kind == "circular") {
        spec.kind = SurrogateKind::circular;
    } else {
        throw InvalidArgument("kind must be one of sign, block, circular, was " + kind);
    }
    return spec;
}

DaySum day_sum_of(const std::string& what) {
    if (what == "gross") return DaySum::gross;
    if (what == "net") return DaySum::net;
    if (what == "won") return DaySum::won;
    if (what == "lost") return DaySum::lost;
    throw InvalidArgument("daily sums are of gross, net, won or lost, not of " + what);
}

class Sweep {
public:
    Sweep(SweepBars bars, std::string_view backend, int threads)
        : bars_(std::move(bars)),
          threads_(threads),
          backend_(make_sweep(bars_, backend_named(backend), threads)),
          queue_(*backend_) {}

    int lanes() const { return queue_.lanes(); }

    /// Put a block in the queue; each sink is (array, first, width, pitch).
    void begin(const Rules& rules, const py::list& sinks, std::size_t best, bool sharpe,
               std::int64_t days) {
        SweepBlock block = rules.block();
        for (const py::handle sink : sinks) {
            block.sinks.push_back(sink_of(sink.cast<py::tuple>(), block.size()));
        }
        block.best = {best, sharpe ? Statistic::sharpe : Statistic::net, days};
        queue_.put(std::move(block));
        written_.push_back(sinks);
    }

    /// Wait for the oldest block: places and (13, m) figures of its best rules.
    py::tuple finish() {
        for (;;) {
            std::optional<ChosenRules> found;
            try {
                const py::gil_scoped_release release;
                found = queue_.take(between_signals);
            } catch (...) {
                if (!written_.empty()) written_.pop_front();
                throw;
            }
            if (found) {
                written_.pop_front();
                const auto count = static_cast<std::int64_t>(found->places.size());
                Array<std::int64_t> figures({static_cast<py::ssize_t>(sweep_figures), count});
                const std::int64_t width = std::max<std::int64_t>(1, count);
                write_figures(found->figures, {figures.mutable_data(), count, 1, 0, width, width});
                return py::make_tuple(copy<std::int64_t>(found->places), figures);
            }
            if (PyErr_CheckSignals() != 0) {
                clear();
                throw py::error_already_set();
            }
        }
    }

    /// End and forget all blocks.
    void clear() {
        {
            const py::gil_scoped_release release;
            queue_.clear();
        }
        written_.clear();
    }

    void best(const Rules& given, const SurrogateSpec& spec, std::uint64_t first, bool sharpe,
              const Array<double>& statistics, const Array<std::int64_t>& numbers) {
        const SweepRules rules = given.listed();
        if (rules.rules.empty()) throw InvalidArgument("there must be at least one rule");
        std::vector<SurrogateBest> made(static_cast<std::size_t>(statistics.size()));
        if (made.size() != static_cast<std::size_t>(numbers.size())) {
            throw InvalidArgument("statistics and numbers must have the same length");
        }
        run_listening([&](const StopFlag& stop) {
            backend_->best(rules, spec, first, sharpe ? Statistic::sharpe : Statistic::net, made,
                           stop);
        });
        for (std::size_t i = 0; i < made.size(); ++i) {
            writable(statistics)[i] = made[i].statistic;
            writable(numbers)[i] = made[i].rule;
        }
    }

    /// `panels`: by what they sum. `trades` go with the first of them.
    void panels(const Rules& given, const std::map<std::string, Array<std::int64_t>>& panels,
                const Array<std::int64_t>& trades) {
        const SweepRules rules = given.listed();
        std::vector<DayPanel> out;
        for (const auto& [what, sums] : panels) {
            const bool first = out.empty();
            out.push_back({day_sum_of(what), writable(sums),
                           first ? writable(trades) : std::span<std::int64_t>()});
        }
        run_listening([&](const StopFlag& stop) { day_panels(bars_, rules, out, threads_, stop); });
    }

    void best_by_days(const Rules& given_rules, NullWorlds worlds,
                      const std::optional<Array<std::int32_t>>& given,
                      const Array<std::int32_t>& cuts, const Array<double>& t_values,
                      const Array<std::int64_t>& numbers, const Array<std::int64_t>& days) {
        const SweepRules rules = given_rules.listed();
        if (rules.rules.empty()) throw InvalidArgument("there must be at least one rule");
        std::vector<SweepBars> made;
        if (given) made = worlds_of(*given, worlds.count);
        worlds.given = made;
        const BestByDays out{writable(t_values), writable(numbers), writable(days)};
        const std::span<const std::int32_t> at(cuts.data(), static_cast<std::size_t>(cuts.size()));
        run_listening([&](const StopFlag& stop) {
            check(bars_, worlds, at, out);
            backend_->best_by_days(rules, worlds, at, out, stop);
        });
    }

    const SweepBars& bars() const { return bars_; }

private:
    /// Worlds from (worlds, 4, n) open, high, low and close.
    std::vector<SweepBars> worlds_of(const Array<std::int32_t>& prices, std::size_t count) const {
        const std::size_t size = bars_.open.size();
        if (static_cast<std::size_t>(prices.size()) != count * 4 * size) {
            throw InvalidArgument("prices of worlds must be (worlds, 4, " + std::to_string(size) +
                                  ")");
        }
        std::vector<SweepBars> worlds(count, bars_);
        const std::int32_t* from = prices.data();
        for (SweepBars& world : worlds) {
            for (auto* column : {&world.open, &world.high, &world.low, &world.close}) {
                std::copy_n(from, size, column->begin());
                from += size;
            }
            for (std::size_t k = 0; k < size; ++k) {
                world.price[k] = static_cast<double>(world.close[k]) * bars_.tick;
            }
        }
        return worlds;
    }

    SweepBars bars_;
    int threads_;
    std::unique_ptr<SweepBackend> backend_;
    std::deque<py::object> written_;  ///< what blocks in the queue write into, oldest first
    SweepQueue queue_;                ///< ends before what it uses goes away
};

}  // namespace

void register_sweep(py::module_& module) {
    py::class_<SweepDecisions, std::shared_ptr<SweepDecisions>>(module, "SweepDecisions")
        .def(py::init(&decisions_of), py::kw_only(), py::arg("gate_metrics"),
             py::arg("gate_ranges"), py::arg("decisions"));

    py::class_<Rules>(module, "SweepRules")
        .def(py::init<std::shared_ptr<SweepDecisions>, const Array<std::int32_t>&,
                      const std::optional<Array<std::int32_t>>&>(),
             py::kw_only(), py::arg("decisions").none(false), py::arg("exits"), py::arg("rules"))
        .def("__len__", [](const Rules& rules) { return rules.block().size(); });

    py::class_<Sweep>(module, "Sweep")
        .def(py::init([](const Array<std::int32_t>& open, const Array<std::int32_t>& high,
                         const Array<std::int32_t>& low, const Array<std::int32_t>& close,
                         const Array<std::int32_t>& bid_off, const Array<std::int32_t>& ask_off,
                         const Array<std::int32_t>& day, const Array<double>& price,
                         const std::optional<Array<std::uint8_t>>& gap,
                         const std::optional<Array<std::uint8_t>>& counts, std::int32_t per_side,
                         double tick, const py::object& backend, const py::object& threads) {
                 SweepBars bars;
                 bars.open = vector_of(open);
                 bars.high = vector_of(high);
                 bars.low = vector_of(low);
                 bars.close = vector_of(close);
                 bars.bid_off = vector_of(bid_off);
                 bars.ask_off = vector_of(ask_off);
                 bars.day = vector_of(day);
                 bars.price = vector_of(price);
                 if (gap) bars.gap = vector_of(*gap);
                 if (counts) bars.counts = vector_of(*counts);
                 bars.per_side = per_side;
                 bars.tick = tick;
                 const auto count = static_cast<int>(whole("threads", threads, 0, 1024));
                 return std::make_unique<Sweep>(std::move(bars), word("backend", backend), count);
             }),
             py::kw_only(), py::arg("open"), py::arg("high"), py::arg("low"), py::arg("close"),
             py::arg("bid_off"), py::arg("ask_off"), py::arg("day"), py::arg("price"),
             py::arg("gap"), py::arg("counts") = py::none(), py::arg("per_side"), py::arg("tick"),
             py::arg("backend"), py::arg("threads"))
        .def_property_readonly("lanes", &Sweep::lanes)
        .def("begin", &Sweep::begin)
        .def("finish", &Sweep::finish)
        .def("clear", &Sweep::clear)
        .def("best",
             [](Sweep& sweep, const Rules& rules, const py::object& kind, std::uint64_t seed,
                double block, std::uint64_t first, bool sharpe, const Array<double>& statistics,
                const Array<std::int64_t>& numbers) {
                 sweep.best(rules, surrogates_of(word("kind", kind), seed, block), first, sharpe,
                            statistics, numbers);
             })
        .def("panels", &Sweep::panels)
        .def("best_by_days",
             [](Sweep& sweep, const Rules& rules, const std::string& kind, std::uint64_t seed,
                double block, std::uint64_t first, const Array<std::int32_t>& cuts,
                const Array<double>& t_values, const Array<std::int64_t>& numbers,
                const Array<std::int64_t>& days) {
                 const auto count = static_cast<std::size_t>(t_values.shape(0));
                 sweep.best_by_days(rules, {count, surrogates_of(kind, seed, block), first, {}},
                                    std::nullopt, cuts, t_values, numbers, days);
             })
        .def("best_by_days_of",
             [](Sweep& sweep, const Rules& rules, const Array<std::int32_t>& prices,
                const Array<std::int32_t>& cuts, const Array<double>& t_values,
                const Array<std::int64_t>& numbers, const Array<std::int64_t>& days) {
                 const auto count = static_cast<std::size_t>(t_values.shape(0));
                 sweep.best_by_days(rules, {count, {}, 0, {}}, prices, cuts, t_values, numbers,
                                    days);
             })
        .def("surrogate", [](const Sweep& sweep, const std::string& kind, std::uint64_t seed,
                             double block, std::uint64_t index) {
            const SweepBars made = surrogate(sweep.bars(), surrogates_of(kind, seed, block), index);
            return py::make_tuple(copy<std::int32_t>(made.open), copy<std::int32_t>(made.high),
                                  copy<std::int32_t>(made.low), copy<std::int32_t>(made.close));
        });

    module.def("daily_t_values", [](const Array<std::int64_t>& sums,
                                    const Array<std::int64_t>& squares, std::int64_t days) {
        Array<double> values(sums.size());
        if (squares.size() != sums.size()) {
            throw InvalidArgument("sums and squares must have the same length");
        }
        for (py::ssize_t i = 0; i < sums.size(); ++i) {
            values.mutable_data()[i] = daily_t_value(sums.data()[i], squares.data()[i], days);
        }
        return values;
    });
}

}  // namespace sep::bindings
