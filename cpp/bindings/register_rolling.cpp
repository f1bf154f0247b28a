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

/// Prices that are handed over at once: as many as take a good part of the 200 ms within which
/// Ctrl-C is heard, because threads begin and end with each call, which costs 0.1 ms. Not more than
/// the reference does in that time, for which gaps may leave all windows from one call to the next.
class ChunkSize {
public:
    /// The path metrics take time in proportion to the window.
    explicit ChunkSize(const Roller& roller)
        : threads_(static_cast<std::size_t>(std::clamp(roller.threads(), 1, 8))),
          prices_(roller.spec().window.groups & group_path ? prices_min : threads_ << 18) {}

    std::size_t prices() const { return prices_; }

    void learn(std::chrono::steady_clock::duration taken) {
        using std::chrono::milliseconds;
        if (taken < milliseconds(25)) prices_ *= 2;
        if (taken > milliseconds(75)) prices_ /= 2;
        prices_ = std::clamp(prices_, prices_min, threads_ << 19);
    }

private:
    static constexpr std::size_t prices_min = std::size_t{1} << 14;
    std::size_t threads_;
    std::size_t prices_;
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
    std::size_t written = 0;
    std::size_t count = 0;
    for (std::size_t first = 0; first < all.size(); first += count) {
        count = std::min(chunk.prices(), all.size() - first);
        const auto part = all.subspan(first, count);
        const auto part_gap = all_gap.empty() ? all_gap : all_gap.subspan(first, count);
        {
            const py::gil_scoped_release release;
            const auto begin = std::chrono::steady_clock::now();
            const std::size_t more = roller.outputs_of(count);
            if constexpr (std::is_same_v<T, double>) {
                roller.take_prices(part, part_gap, out.from(written));
            } else {
                roller.take_bits(part, part_gap, out.from(written));
            }
            written += more;
            chunk.learn(std::chrono::steady_clock::now() - begin);
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
