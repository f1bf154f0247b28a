#include <pybind11/pybind11.h>

#include "register.hpp"
#include "sep/errors.hpp"

namespace py = pybind11;

PYBIND11_MODULE(_core, module) {
    module.doc() = "The compiled engine. Use it through sep_engine.";
    module.attr("__version__") = SEP_VERSION;

    const py::module_ errors = py::module_::import("sep_engine.errors");
    static const py::object argument_error = errors.attr("ArgumentError");
    static const py::object backend_error = errors.attr("BackendError");
    py::register_exception_translator([](std::exception_ptr raised) {
        try {
            if (raised) std::rethrow_exception(raised);
        } catch (const sep::InvalidArgument& error) {
            py::set_error(argument_error, error.what());
        } catch (const sep::BackendError& error) {
            py::set_error(backend_error, error.what());
        }
    });

    sep::bindings::register_backends(module);
    sep::bindings::register_bits(module);
    sep::bindings::register_rolling(module);
    sep::bindings::register_device_arrays(module);
    sep::bindings::register_device_rolling(module);
    sep::bindings::register_stream(module);
    sep::bindings::register_iaaft(module);
    sep::bindings::register_sweep(module);
    sep::bindings::register_calibration(module);
    sep::bindings::register_legacy(module);
}
