
#include <string>

#include "arrays.hpp"
#include "columns.hpp"
#include "register.hpp"
#include "sep/stream.hpp"
#include "specification.hpp"

namespace sep::bindings {
namespace {

/// Stream metrics as Python sees them: the values, and what their percentile needs.
struct Reading {
    StreamMetrics metrics;
    int window;
    bool calibrated;

    /// The value that a coin could have had; NaN for a window that no coin tossed.
    double calibrated_value(std::string_view name) const {
        if (!calibrated || !metrics.complete) return not_a_number();
        const MetricValues values = values_of(metrics.window);
        for (int i = 0; i < window_metric_count; ++i) {
            if (metric_names[i] == name) return values.value[i];
        }
        return not_a_number();
    }
};

Reading reading(const Stream& stream) {
    return {stream.metrics(), stream.spec().window.window,
            stream.spec().encoding == Encoding::moves};
}

template <int index>
double metric(const Reading& reading) {
    return values_of(reading.metrics.window).value[index];
}

template <int... index>
void define_metrics(py::class_<Reading>& type, std::integer_sequence<int, index...>) {
    (type.def_property_readonly(std::string(metric_names[index]).c_str(), &metric<index>), ...);
}

std::span<const std::byte> view(const py::bytes& bytes) {
    const auto text = static_cast<std::string_view>(bytes);
    return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

void register_stream(py::module_& module) {
    py::class_<Reading> metrics(module, "StreamMetrics");
    define_metrics(metrics, std::make_integer_sequence<int, window_metric_count>{});
    metrics
        .def_property_readonly("flat_ratio", [](const Reading& r) { return r.metrics.flat_ratio; })
        .def_property_readonly("complete", [](const Reading& r) { return r.metrics.complete; })
        .def_property_readonly("window", [](const Reading& r) { return r.window; })
        .def_property_readonly("last_bit",
                               [](const Reading& r) -> std::optional<int> {
                                   if (r.metrics.last_bit < 0) return std::nullopt;
                                   return r.metrics.last_bit;
                               })
        .def_property_readonly("run_length", [](const Reading& r) { return r.metrics.run_length; })
        .def_property_readonly("bits_seen", [](const Reading& r) { return r.metrics.bits_seen; })
        .def("percentile", [](const Reading& r, const std::string& name) {
            return py::module_::import("sep_engine.qfh.calibration")
                .attr("percentile")(name, r.window, r.calibrated_value(name))
                .cast<double>();
        });

    py::class_<Stream>(module, "Stream")
        .def(py::init([](double tick, int window, std::string_view encoding,
                         const std::vector<std::string>& metrics, std::string_view predictor,
                         double collapse_share) {
                 return Stream(
                     specification(tick, window, 1, encoding, metrics, predictor, collapse_share));
             }),
             py::kw_only(), py::arg("tick"), py::arg("window") = 64, py::arg("encoding") = "moves",
             py::arg("metrics") = default_metrics(), py::arg("predictor") = "markov",
             py::arg("collapse_share") = 0.6)
        .def(
            "update",
            [](Stream& stream, double price, bool gap) {
                stream.update(price, gap);
                return reading(stream);
            },
            py::arg("price"), py::arg("gap") = false)
        .def_property_readonly("metrics", &reading)
        .def_property_readonly("tick", [](const Stream& stream) { return stream.spec().tick; })
        .def_property_readonly("window",
                               [](const Stream& stream) { return stream.spec().window.window; })
        .def_property_readonly("encoding",
                               [](const Stream& stream) { return name_of(stream.spec().encoding); })
        .def_property_readonly("computed",
                               [](const Stream& stream) {
                                   py::list names;
                                   for (int i = 0; i < window_metric_count; ++i) {
                                       if (stream.spec().window.groups & group_of(i))
                                           names.append(metric_names[i]);
                                   }
                                   names.append("flat_ratio");
                                   return py::tuple(names);
                               })
        .def_property_readonly(
            "predictor",
            [](const Stream& stream) { return name_of(stream.spec().window.predictor); })
        .def_property_readonly(
            "collapse_share",
            [](const Stream& stream) { return stream.spec().window.collapse_share; })
        .def("snapshot",
             [](const Stream& stream) {
                 const auto bytes = stream.snapshot();
                 return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
             })
        .def_static(
            "restore", [](const py::bytes& snapshot) { return Stream::restore(view(snapshot)); },
            py::arg("snapshot"));

    py::class_<StreamBank>(module, "StreamBank")
        .def(py::init([](const Array<double>& ticks, int window, std::string_view encoding,
                         const std::vector<std::string>& metrics, std::string_view predictor,
                         double collapse_share) {
            return StreamBank(
                specification(1.0, window, 1, encoding, metrics, predictor, collapse_share),
                view(ticks));
        }))
        .def("__len__", &StreamBank::size)
        .def("update", [](StreamBank& bank, const Array<double>& prices,
                          const std::optional<Array<std::uint8_t>>& gap, const py::dict& columns) {
            bank.update(view(prices), view(gap), outputs(columns));
        });
}

}  // namespace sep::bindings
