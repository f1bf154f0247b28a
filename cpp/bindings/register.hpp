#pragma once

#include <pybind11/pybind11.h>

namespace sep::bindings {

void register_backends(pybind11::module_& module);
void register_bits(pybind11::module_& module);
void register_rolling(pybind11::module_& module);
void register_device_arrays(pybind11::module_& module);
void register_device_rolling(pybind11::module_& module);
void register_stream(pybind11::module_& module);
void register_iaaft(pybind11::module_& module);
void register_sweep(pybind11::module_& module);
void register_calibration(pybind11::module_& module);
void register_legacy(pybind11::module_& module);

}  // namespace sep::bindings
