
#include <limits>
#include <string>

#include "arguments.hpp"
#include "arrays.hpp"
#include "register.hpp"
#include "sep/legacy.hpp"

namespace sep::bindings {

void register_legacy(py::module_& module) {
    using legacy::Analysis;
    using legacy::Qbsa;
    using legacy::Trajectory;

    py::class_<Trajectory>(
        module, "LegacyTrajectory",
        "The damped sum from a bit forward, as it was published: `lambda_` (None\n"
        "without a pair), `value`, `confidence` 0..1, `converged` (confidence above\n"
        "0.7), `similarity` 0..1, and `path`, (k,) float64 partial sums.")
        .def_readonly("lambda_", &Trajectory::lambda)
        .def_readonly("value", &Trajectory::value)
        .def_readonly("confidence", &Trajectory::confidence)
        .def_property_readonly("converged", &Trajectory::converged)
        .def_readonly("similarity", &Trajectory::similarity)
        .def_property_readonly("path", [](const Trajectory& t) { return copy<double>(t.path); });

    py::class_<Analysis>(
        module, "LegacyAnalysis",
        "Counts, ratios (binary32), entropy, coherence and runs, as published.\n\n"
        "`collapse(threshold=0.5)` is True from that rupture_ratio on. `runs` are\n"
        "(index of the first transition, state N, F or R, length).")
        .def_readonly("null", &Analysis::null_count)
        .def_readonly("flip", &Analysis::flip_count)
        .def_readonly("rupture", &Analysis::rupture_count)
        .def_readonly("flip_ratio", &Analysis::flip_ratio)
        .def_readonly("rupture_ratio", &Analysis::rupture_ratio)
        .def_readonly("entropy", &Analysis::entropy)
        .def_readonly("coherence", &Analysis::coherence)
        .def_property_readonly("V0", [](const Analysis& a) { return a.trajectory.value; })
        .def_property_readonly("lambda_", [](const Analysis& a) { return a.trajectory.lambda; })
        .def_property_readonly("traj_confidence",
                               [](const Analysis& a) { return a.trajectory.confidence; })
        .def_property_readonly("path_similarity",
                               [](const Analysis& a) { return a.trajectory.similarity; })
        .def_property_readonly(
            "runs",
            [](const Analysis& a) {
                py::list runs;
                for (const legacy::Run& run : a.runs) {
                    runs.append(py::make_tuple(
                        run.first, std::string(1, static_cast<char>(run.state)), run.length));
                }
                return runs;
            })
        .def(
            "collapse",
            [](const Analysis& a, py::handle threshold) {
                return a.collapse(static_cast<float>(number("threshold", threshold)));
            },
            py::arg("threshold") = 0.5);

    py::class_<Qbsa>(module, "LegacyQbsa",
                     "Where probes and expectations differ, and the share that does (binary32).\n\n"
                     "`collapse(threshold=0.6, total_bits=None)` compares that share with the\n"
                     "threshold, or with total_bits given the corrections over them.")
        .def_readonly("corrections", &Qbsa::corrections)
        .def_readonly("correction_ratio", &Qbsa::correction_ratio)
        .def(
            "collapse",
            [](const Qbsa& q, py::handle threshold, const py::object& total_bits) {
                const auto level = static_cast<float>(number("threshold", threshold));
                if (total_bits.is_none()) return q.collapse(level);
                const std::int64_t bits =
                    whole("total_bits", total_bits, 0, std::numeric_limits<std::int64_t>::max());
                return q.collapse(static_cast<std::size_t>(bits), level);
            },
            py::arg("threshold") = 0.6, py::kw_only(), py::arg("total_bits") = py::none());

    module.def("legacy_analyze",
               [](const Array<std::uint8_t>& bits) { return legacy::analyze(view(bits)); });
    module.def("legacy_trajectory", [](const Array<std::uint8_t>& bits, std::size_t anchor) {
        return legacy::trajectory(view(bits), anchor);
    });
    module.def("legacy_path_similarity",
               [](const Array<double>& path) { return legacy::path_similarity(view(path)); });
    module.def("legacy_cosine", [](const Array<double>& a, const Array<double>& b) {
        return legacy::cosine(view(a), view(b));
    });
    module.def("legacy_qbsa",
               [](const Array<std::uint32_t>& probes, const Array<std::uint32_t>& expectations) {
                   return legacy::qbsa(view(probes), view(expectations));
               });
}

}  // namespace sep::bindings
