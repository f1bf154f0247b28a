#include "arrays.hpp"
#include "register.hpp"
#include "sep/calibration.hpp"
#include "sep/tables.hpp"
#include "sep/window.hpp"

namespace sep::bindings {

void register_calibration(py::module_& module) {
    py::class_<CoinDistribution>(module, "CoinDistribution")
        .def(py::init<std::string_view, int>())
        .def("percentile", &CoinDistribution::percentile)
        .def("percentiles",
             [](const CoinDistribution& coin, const Array<double>& values,
                const Array<bool>& complete) {
                 Array<double> result(values.size());
                 for (py::ssize_t i = 0; i < values.size(); ++i) {
                     result.mutable_data()[i] =
                         complete.data()[i] ? coin.percentile(values.data()[i]) : not_a_number();
                 }
                 return result;
             })
        .def_property_readonly("mean", &CoinDistribution::mean)
        .def_property_readonly("atoms",
                               [](const CoinDistribution& coin) { return copy(coin.atoms()); })
        .def_property_readonly(
            "cumulative", [](const CoinDistribution& coin) { return copy(coin.cumulative()); });

    module.def("table_bytes", [] {
        const Tables& t = tables();
        py::dict result;
        const auto bytes = [](const auto& values) {
            return py::bytes(reinterpret_cast<const char*>(values.data()),
                             values.size() * sizeof(values[0]));
        };
        result["g"] = bytes(t.g);
        result["damped_rows"] = bytes(t.rows);
        result["row_of"] = bytes(t.row_of);
        return result;
    });
    module.def("damped_span_bytes", [](int window) {
        const auto spans = damped_spans(window);
        return py::bytes(reinterpret_cast<const char*>(spans.data()),
                         spans.size() * sizeof(spans[0]));
    });
}

}  // namespace sep::bindings
