#include <algorithm>

#include "arrays.hpp"
#include "columns.hpp"
#include "register.hpp"
#include "specification.hpp"

namespace sep::bindings {
namespace {

// Also where gaps leave most windows to the reference a chunk takes less than 200 ms, so that
// Ctrl-C is heard within that time. The path metrics take time in proportion to the window.
std::size_t chunk_prices(const Roller& roller) {
    if (roller.spec().window.groups & group_path) return std::size_t{1} << 14;
    return static_cast<std::size_t>(std::clamp(roller.threads(), 1, 16)) << 18;
}

/// Take the values in chunks; between them Python's signals and the progress callback have their
/// turn.
template <class T>
void take(Roller& roller, const Array<T>& values, const std::optional<Array<std::uint8_t>>& gap,
          const py::dict& columns, const py::object& progress) {
    const std::span<const T> all = view(values);
    const std::span<const std::uint8_t> all_gap = view(gap);
    if (!all_gap.empty() && all_gap.size() != all.size()) {
        throw InvalidArgument(std::string("gap must have one value per ") +
                              (std::is_same_v<T, double> ? "price, " : "bit, ") +
                              std::to_string(all.size()) + ", had " +
                              std::to_string(all_gap.size()));
    }
    const RollingOutputs out = outputs(columns);
    const std::size_t chunk = chunk_prices(roller);
    std::size_t written = 0;
    for (std::size_t first = 0; first < all.size(); first += chunk) {
        const std::size_t count = std::min(chunk, all.size() - first);
        const auto part = all.subspan(first, count);
        const auto part_gap = all_gap.empty() ? all_gap : all_gap.subspan(first, count);
        {
            const py::gil_scoped_release release;
            const std::size_t more = roller.outputs_of(count);
            if constexpr (std::is_same_v<T, double>) {
                roller.take_prices(part, part_gap, out.from(written));
            } else {
                roller.take_bits(part, part_gap, out.from(written));
            }
            written += more;
        }
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        if (!progress.is_none()) progress(first + count, all.size());
    }
}

}  // namespace

void register_rolling(py::module_& module) {
    py::class_<Roller>(module, "Roller")
        .def(py::init([](double tick, int window, std::uint64_t stride, std::string_view encoding,
                         const std::vector<std::string>& metrics, std::string_view predictor,
                         double collapse_share, std::string_view backend, int threads) {
                 const Backend chosen = backend_named(backend);
                 return Roller(specification(tick, window, stride, encoding, metrics, predictor,
                                             collapse_share),
                               chosen, threads);
             }),
             py::kw_only(), py::arg("tick"), py::arg("window"), py::arg("stride"),
             py::arg("encoding"), py::arg("metrics"), py::arg("predictor"),
             py::arg("collapse_share"), py::arg("backend"), py::arg("threads"))
        .def("outputs_of", &Roller::outputs_of)
        .def("take_prices", &take<double>)
        .def("take_bits", &take<std::uint8_t>);
}

}  // namespace sep::bindings
