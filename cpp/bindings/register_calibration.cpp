#include "arguments.hpp"
#include "arrays.hpp"
#include "instances.hpp"
#include "register.hpp"
#include "sep/calibration.hpp"
#include "sep/tables.hpp"
#include "sep/window.hpp"

namespace sep::bindings {

void register_calibration(py::module_& module) {
    py::options options;
    options.disable_function_signatures();
    py::class_<CoinDistribution>(
        module, "CoinDistribution", always_initialized(), py::is_final(),
        "The exact distribution of a metric over fair coin tosses.\n\n"
        "From the joint distribution of the pair counts of a window (binomials, no simulation);\n"
        "values that differ by less than 2^-40 are one atom. Source: docs/reference/qfh.md,\n"
        "\"Calibration\". `coin_distribution` makes it, once for each metric and window.")
        .def(py::init([](const py::object& metric, const py::object& window) {
            return CoinDistribution(
                word("metric", metric),
                static_cast<int>(whole("window", window, window_min, window_max)));
        }))
        .def(
            "percentile",
            [](const CoinDistribution& coin, py::handle value) {
                return coin.percentile(number("value", value));
            },
            py::arg("value"), py::pos_only(),
            "percentile(value): return 100 P(X <= value), in 0..100; NaN for NaN.")
        .def(
            "percentiles",
            [](const CoinDistribution& coin, const py::object& values,
               const py::object& tolerance) {
                const auto given =
                    py::module_::import("sep_engine.qfh._arrays")
                        .attr("one_dimensional")("values", values, py::type::of(py::float_(0.0)))
                        .cast<Array<double>>();
                const double more = number("tolerance", tolerance);
                Array<double> result(given.size());
                for (py::ssize_t i = 0; i < given.size(); ++i) {
                    result.mutable_data()[i] = coin.percentile(given.data()[i] + more);
                }
                return result;
            },
            py::arg("values"), py::arg("tolerance") = 0.0, py::pos_only(),
            "percentiles(values, tolerance=0.0): return 100 P(X <= value + tolerance).\n\n"
            "values: (m,) float64. The result is (m,) float64 in 0..100, NaN for NaN.")
        .def_property_readonly("mean", &CoinDistribution::mean, "Of the metric over the tosses.")
        .def_property_readonly(
            "atoms", [](const CoinDistribution& coin) { return copy(coin.atoms()); },
            "(k,) float64, rising: the smallest value of each atom.")
        .def_property_readonly(
            "cumulative", [](const CoinDistribution& coin) { return copy(coin.cumulative()); },
            "(k,) float64, rising to 1: P(X <= atom).");

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
