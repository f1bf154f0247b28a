#include <algorithm>
#include <chrono>
#include <limits>

#include "arguments.hpp"
#include "arrays.hpp"
#include "columns.hpp"
#include "register.hpp"
#include "specification.hpp"

namespace sep::bindings {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// Prices that are handed over at once: many, because threads begin and end with each call, which
/// costs 0.1 ms, and no more than can be encoded, which nothing interrupts, in a good part of the
/// 200 ms within which Ctrl-C is heard. A backend that does not work in pieces gets fewer.
class ChunkSize {
public:
    /// The path metrics take time in proportion to the window.
    explicit ChunkSize(const Roller& roller)
        : most_(std::size_t{1} << (roller.in_pieces() ? 22 : 19)),
          prices_(roller.spec().window.groups & group_path
                      ? least
                      : static_cast<std::size_t>(std::clamp(roller.threads(), 1, 8)) << 18) {}

    std::size_t prices() const { return prices_; }

    void learn(Clock::duration taken) {
        if (taken < milliseconds(25)) prices_ *= 4;
        if (taken > milliseconds(100)) prices_ /= 2;
        prices_ = std::clamp(prices_, least, most_);
    }

private:
    static constexpr std::size_t least = std::size_t{1} << 14;
    std::size_t most_;
    std::size_t prices_;
};

/// Python's signals have their turn in the middle of a call, but not so often that the lock, which
/// other threads may hold, is waited for all the time.
class Signals {
public:
    void hear() {
        if (Clock::now() - heard_ < milliseconds(25)) return;
        const py::gil_scoped_acquire acquire;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        heard_ = Clock::now();
    }

private:
    Clock::time_point heard_ = Clock::now();
};

/// Take the values in chunks; between them Python's signals and the progress callback have their
/// turn.
template <class T>
void take(Roller& roller, const Array<T>& values, const std::optional<Array<std::uint8_t>>& gap,
          const py::dict& columns, const py::object& progress) {
    const std::span<const T> all = view(values);
    const std::span<const std::uint8_t> all_gap = view(gap);
    if (!progress.is_none() && PyCallable_Check(progress.ptr()) == 0) {
        refuse_kind("progress", "something to call", progress);
    }
    if (!all_gap.empty() && all_gap.size() != all.size()) {
        throw InvalidArgument(std::string("gap must have one value per ") +
                              (std::is_same_v<T, double> ? "price, " : "bit, ") +
                              std::to_string(all.size()) + ", had " +
                              std::to_string(all_gap.size()));
    }
    const RollingOutputs out = outputs(columns);
    ChunkSize chunk(roller);
    Signals signals;
    const Between between = [&signals] { signals.hear(); };
    std::size_t written = 0;
    std::size_t count = 0;
    for (std::size_t first = 0; first < all.size(); first += count) {
        count = std::min(chunk.prices(), all.size() - first);
        const auto part = all.subspan(first, count);
        const auto part_gap = all_gap.empty() ? all_gap : all_gap.subspan(first, count);
        {
            const py::gil_scoped_release release;
            const Clock::time_point begin = Clock::now();
            const std::size_t more = roller.outputs_of(count);
            if constexpr (std::is_same_v<T, double>) {
                roller.take_prices(part, part_gap, out.from(written), between);
            } else {
                roller.take_bits(part, part_gap, out.from(written), between);
            }
            written += more;
            chunk.learn(Clock::now() - begin);
        }
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        if (!progress.is_none()) progress(first + count, all.size());
    }
}

}  // namespace

void register_rolling(py::module_& module) {
    py::class_<Roller>(module, "Roller")
        .def(py::init([](const py::object& tick, const py::object& window, const py::object& stride,
                         const py::object& encoding, const py::object& metrics,
                         const py::object& predictor, const py::object& collapse_share,
                         const py::object& backend, const py::object& threads) {
                 const Backend chosen = backend_named(word("backend", backend));
                 const auto step = static_cast<std::uint64_t>(
                     whole("stride", stride, 1, std::numeric_limits<std::int64_t>::max()));
                 return Roller(
                     specification(
                         number("tick", tick),
                         static_cast<int>(whole("window", window, window_min, window_max)), step,
                         word("encoding", encoding), words("metrics", metrics),
                         word("predictor", predictor), number("collapse_share", collapse_share)),
                     chosen, static_cast<int>(whole("threads", threads, 0, 1024)));
             }),
             py::kw_only(), py::arg("tick"), py::arg("window"), py::arg("stride"),
             py::arg("encoding"), py::arg("metrics"), py::arg("predictor"),
             py::arg("collapse_share"), py::arg("backend"), py::arg("threads"))
        .def("outputs_of", &Roller::outputs_of)
        .def("take_prices", &take<double>)
        .def("take_bits", &take<std::uint8_t>);
}

}  // namespace sep::bindings
