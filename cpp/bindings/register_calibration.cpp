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
             [](const CoinDistribution& coin, const Array<double>& values, double tolerance) {
                 Array<double> result(values.size());
                 for (py::ssize_t i = 0; i < values.size(); ++i) {
                     result.mutable_data()[i] = coin.percentile(values.data()[i] + tolerance);
                 }
                 return result;
             })
        .def_property_readonly("mean", &CoinDistribution::mean)
        .def_property_readonly("atoms",
                               [](const CoinDistribution& coin) { return copy(coin.atoms()); })
        .def_property_readonly(
            "cumulative", [](const CoinDistribution& coin) { return copy(coin.cumulative()); });

    // The tables as bytes, so that tests can tell whether they are the same everywhere.
    module.def("table_bytes", [](int window) {
        const Tables& t = tables();
        const WindowTables w(window, true);
        py::dict result;
        const auto put = [&result](const char* name, const auto& values) {
            result[name] = py::bytes(reinterpret_cast<const char*>(values.data()),
                                     values.size() * sizeof(values[0]));
        };
        put("g", t.g);
        put("damped_rows", t.rows);
        put("row_of", t.row_of);
        put("spans", w.spans);
        put("decays", w.decays);
        put("templates", w.templates);
        return result;
    });
}

}  // namespace sep::bindings
