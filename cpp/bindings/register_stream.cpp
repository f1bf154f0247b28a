
#include <array>
#include <string>
#include <vector>

#include "arguments.hpp"
#include "arrays.hpp"
#include "columns.hpp"
#include "instances.hpp"
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

constexpr std::array<const char*, window_metric_count> metric_docs{
    "Share of the pairs 00, 0..1.",
    "Share of the pairs 01 and 10, 0..1.",
    "Share of the pairs 11, 0..1.",
    "Entropy of the three kinds of pairs, over log2 3, 0..1.",
    "1 minus the entropy in bits of the next bit given this one, 0..1.",
    "1 - entropy.",
    "1 - flip_ratio.",
    "rupture_ratio - null_ratio, -1..1.",
    "Decay rate from the newest 20 bits, 0.01..0.5.",
    "Sum of +1 and -1 for bits 1 and 0, weighted e^(-lambda k), k = 0 the newest.",
    "The same of (bit - newest bit): its sign is fixed by the newest bit.",
    "1 / (1 + variance of the partial sums of `damped`), 0..1.",
    "Largest absolute cosine of those sums with a decay, a line and a sine, 0..1.",
    "Share of the newest `window` bits that the predictor got wrong, 0..1.",
    "1 - qbsa_error.",
    "Wilson 95 % lower bound of `confidence`.",
    "1 if the newest quarter of the transitions collapsed but not the rest, else 0.",
};

template <int... index>
void define_metrics(py::class_<Reading>& type, std::integer_sequence<int, index...>) {
    (type.def_property_readonly(std::string(metric_names[index]).c_str(), &metric<index>,
                                metric_docs[index]),
     ...);
}

std::span<const std::byte> view(py::handle snapshot) {
    if (!PyBytes_Check(snapshot.ptr())) refuse_kind("snapshot", "bytes", snapshot);
    return std::as_bytes(std::span(PyBytes_AS_STRING(snapshot.ptr()),
                                   static_cast<std::size_t>(PyBytes_GET_SIZE(snapshot.ptr()))));
}

py::bytes bytes_of(const std::vector<std::byte>& snapshot) {
    return {reinterpret_cast<const char*>(snapshot.data()), snapshot.size()};
}

RollingSpec specification_of(double tick, const py::object& window, const py::object& encoding,
                             const py::object& metrics, const py::object& predictor,
                             const py::object& collapse_share) {
    return specification(tick, static_cast<int>(whole("window", window, window_min, window_max)), 1,
                         word("encoding", encoding), words("metrics", metrics),
                         word("predictor", predictor), number("collapse_share", collapse_share));
}

/// The metrics that are not left NaN.
py::tuple computed(const RollingSpec& spec) {
    py::list names;
    for (int i = 0; i < window_metric_count; ++i) {
        if (spec.window.groups & group_of(i)) names.append(metric_names[i]);
    }
    names.append("flat_ratio");
    return py::tuple(names);
}

std::string text_of(double value) { return py::str(py::float_(value)).cast<std::string>(); }

std::string kind_of(const RollingSpec& spec) {
    return "window=" + std::to_string(spec.window.window) + ", encoding='" +
           std::string(name_of(spec.encoding)) + "'";
}

}  // namespace

void register_stream(py::module_& module) {
    py::options options;
    options.disable_function_signatures();

    py::class_<Reading> metrics(
        module, "StreamMetrics", always_initialized(), py::is_final(),
        "What a stream knows after a price: the metrics of `RollingMetrics` as floats.\n\n"
        "NaN until the window is full, where a gap leaves too little, and for metrics that the\n"
        "stream was not asked for. Source of the formulas: docs/reference/qfh.md.");
    define_metrics(metrics, std::make_integer_sequence<int, window_metric_count>{});
    metrics
        .def_property_readonly(
            "flat_ratio", [](const Reading& r) { return r.metrics.flat_ratio; },
            "Share of the newest `window` prices that did not move, 0..1.")
        .def_property_readonly(
            "complete", [](const Reading& r) { return r.metrics.complete; },
            "The window is full and has no gap in it.")
        .def_property_readonly(
            "window", [](const Reading& r) { return r.window; }, "Bits.")
        .def_property_readonly(
            "last_bit",
            [](const Reading& r) -> std::optional<int> {
                if (r.metrics.last_bit < 0) return std::nullopt;
                return r.metrics.last_bit;
            },
            "0 or 1; None before the first bit.")
        .def_property_readonly(
            "run_length", [](const Reading& r) { return r.metrics.run_length; },
            "Newest equal bits; a gap starts a new run.")
        .def_property_readonly(
            "bits_seen", [](const Reading& r) { return r.metrics.bits_seen; },
            "Bits since the stream began.")
        .def("__repr__",
             [](const Reading& r) {
                 return "StreamMetrics(window=" + std::to_string(r.window) +
                        ", bits_seen=" + std::to_string(r.metrics.bits_seen) +
                        ", complete=" + (r.metrics.complete ? "True" : "False") +
                        ", entropy=" + text_of(r.metrics.window.entropy) +
                        ", coherence=" + text_of(r.metrics.window.coherence) +
                        ", damped=" + text_of(r.metrics.window.damped) + ")";
             })
        .def(
            "percentile",
            [](const Reading& r, const py::object& name) {
                const std::string metric = word("name", name);
                return py::module_::import("sep_engine.qfh.calibration")
                    .attr("percentile")(metric, r.window, r.calibrated_value(metric))
                    .cast<double>();
            },
            py::arg("name"), py::pos_only(),
            "Return 100 P(X <= value) under a fair coin, 0..100, as "
            "`RollingMetrics.percentile`.\n\n"
            "NaN where the window is not full or has a gap, and for encodings other than `moves`.\n"
            "Raises ArgumentError for a name that is none of CALIBRATED_METRICS.");

    py::class_<Stream>(
        module, "Stream", always_initialized(), py::is_final(),
        "The rolling metrics one price at a time, equal to `rolling` to the last bit.\n\n"
        "Args, by name:\n"
        "    tick: the price step, > 0.\n"
        "    window: bits, 8 to 1024.\n"
        "    encoding: `moves`, `tick_carry`, `strict_up` or `pip_trunc_carry`, as in `encode`.\n"
        "    metrics: names (METRICS), by default CHEAP_METRICS. What is not asked for is NaN.\n"
        "    predictor: of `qbsa_error`: `markov`, `persistence` or `majority8`.\n"
        "    collapse_share: of `collapse`, in (0, 1].\n\n"
        "Raises ArgumentError for a value out of range, TypeError for one of another type. One\n"
        "thread at a time may use a stream: Python's lock is held during an update. It can be\n"
        "copied and pickled, both by its snapshot. Source of the formulas: docs/reference/qfh.md.")
        .def(py::init([](const py::object& tick, const py::object& window,
                         const py::object& encoding, const py::object& metrics,
                         const py::object& predictor, const py::object& collapse_share) {
                 return Stream(specification_of(number("tick", tick), window, encoding, metrics,
                                                predictor, collapse_share));
             }),
             py::kw_only(), py::arg("tick"), py::arg("window") = 64, py::arg("encoding") = "moves",
             py::arg("metrics") = py::tuple(py::cast(default_metrics())),
             py::arg("predictor") = "markov", py::arg("collapse_share") = 0.6)
        .def(py::init([](const py::args&, const py::kwargs&) -> Stream {
            throw py::type_error(
                "Stream takes by name: tick, and if wanted window, encoding, metrics, predictor, "
                "collapse_share");
        }))
        .def(
            "update",
            [](Stream& stream, py::handle price, py::handle gap) {
                stream.update(number("price", price), truth("gap", gap));
                return reading(stream);
            },
            py::arg("price"), py::arg("gap") = false,
            "update(price, gap=False): take in the next price and return the metrics then.\n\n"
            "price: finite, > 0, a multiple of the tick within 1e-3 of it.\n"
            "gap: True says that something is missing before this price.\n\n"
            "Raises ArgumentError, and leaves the stream as it was, if the price breaks a rule.")
        .def("update",
             [](const Stream&, const py::args&, const py::kwargs&) -> Reading {
                 throw py::type_error("update takes price, and if wanted gap");
             })
        .def_property_readonly("metrics", &reading, "What the last update returned.")
        .def_property_readonly(
            "tick", [](const Stream& stream) { return stream.spec().tick; }, "The price step.")
        .def_property_readonly(
            "window", [](const Stream& stream) { return stream.spec().window.window; }, "Bits.")
        .def_property_readonly(
            "encoding", [](const Stream& stream) { return name_of(stream.spec().encoding); },
            "The rule that turns prices into bits.")
        .def_property_readonly(
            "computed", [](const Stream& stream) { return computed(stream.spec()); },
            "The metrics that are not left NaN: those asked for, and what comes with them.")
        .def_property_readonly(
            "predictor",
            [](const Stream& stream) { return name_of(stream.spec().window.predictor); },
            "Of `qbsa_error`.")
        .def_property_readonly(
            "collapse_share",
            [](const Stream& stream) { return stream.spec().window.collapse_share; },
            "Of `collapse`.")
        .def("__repr__",
             [](const Stream& stream) {
                 return "Stream(tick=" + text_of(stream.spec().tick) + ", " +
                        kind_of(stream.spec()) + ", " + std::to_string(stream.metrics().bits_seen) +
                        " bits seen)";
             })
        .def(
            "snapshot", [](const Stream& stream) { return bytes_of(stream.snapshot()); },
            "Return the whole state as bytes, with the version of its layout and a checksum.")
        .def_static(
            "restore", [](py::handle snapshot) { return Stream::restore(view(snapshot)); },
            py::arg("snapshot"),
            "restore(snapshot): return the stream of a snapshot, also of an older layout.\n\n"
            "Raises ArgumentError if the bytes are no snapshot, damaged, or of a newer layout.")
        .def("__reduce__", [](const py::object& self) {
            // Called with the class, it restores: neither copy nor pickle makes an empty stream.
            const py::object restore =
                py::module_::import("operator")
                    .attr("methodcaller")("restore", self.attr("snapshot")());
            return py::make_tuple(restore, py::make_tuple(py::type::of(self)));
        });

    py::class_<StreamBank>(module, "StreamBank", always_initialized(), py::is_final())
        .def(py::init([](const Array<double>& ticks, const py::object& window,
                         const py::object& encoding, const py::object& metrics,
                         const py::object& predictor, const py::object& collapse_share) {
            return StreamBank(
                specification_of(1.0, window, encoding, metrics, predictor, collapse_share),
                view(ticks));
        }))
        .def("__len__", &StreamBank::size)
        .def_property_readonly("computed",
                               [](const StreamBank& bank) { return computed(bank.spec()); })
        .def_property_readonly("kind", [](const StreamBank& bank) { return kind_of(bank.spec()); })
        .def("snapshot", [](const StreamBank& bank) { return bytes_of(bank.snapshot()); })
        .def_static("restore",
                    [](py::handle snapshot) { return StreamBank::restore(view(snapshot)); })
        .def("update", [](StreamBank& bank, const Array<double>& prices,
                          const std::optional<Array<std::uint8_t>>& gap, const py::dict& columns) {
            bank.update(view(prices), view(gap), outputs(columns));
        });
}

}  // namespace sep::bindings
