#include "arrays.hpp"
#include "metric_names.hpp"
#include "register.hpp"
#include "sep/rolling.hpp"

namespace sep::bindings {
namespace {

/// Results as a dictionary from name to array.
py::dict run(const Encoded& encoded, int window, Backend backend, bool with_flat) {
    const auto size = static_cast<py::ssize_t>(encoded.prices);
    py::dict result;
    RollingOutputs out;
    for (int i = 0; i < window_metric_count; ++i) {
        Array<double> values(size);
        out.metrics[i] = values.mutable_data();
        result[py::str(std::string(metric_names[i]))] = values;
    }
    if (with_flat) {
        Array<double> flat(size);
        out.flat_ratio = flat.mutable_data();
        result["flat_ratio"] = flat;
    }
    Array<bool> complete(size);
    out.complete = reinterpret_cast<std::uint8_t*>(complete.mutable_data());
    result["complete"] = complete;

    {
        const py::gil_scoped_release release;
        rolling(encoded, window, out, backend);
    }
    return result;
}

}  // namespace

void register_rolling(py::module_& module) {
    module.def("rolling",
               [](const Array<double>& prices, double tick, int window, std::string_view encoding,
                  const std::optional<Array<std::uint8_t>>& gap, std::string_view backend) {
                   const Backend chosen = backend_named(backend);
                   const Encoded encoded =
                       encode(view(prices), tick, encoding_named(encoding), view(gap));
                   return run(encoded, window, chosen, true);
               });
    module.def("rolling_bits", [](const Array<std::uint8_t>& bits, int window,
                                  const std::optional<Array<std::uint8_t>>& gap,
                                  std::string_view backend) {
        const Backend chosen = backend_named(backend);
        return run(one_price_per_bit(bit_series(view(bits), view(gap))), window, chosen, false);
    });
}

}  // namespace sep::bindings
