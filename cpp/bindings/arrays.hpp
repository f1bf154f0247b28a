#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

// Arrays reach this module checked: python/sep_engine/qfh/_arrays.py gives one-dimensional,
// contiguous arrays of the right type, or raises. No conversion is asked for here.
namespace sep::bindings {

namespace py = pybind11;

template <class T>
using Array = py::array_t<T, py::array::c_style>;

template <class T>
std::span<const T> view(const Array<T>& array) {
    return {array.data(), static_cast<std::size_t>(array.size())};
}

inline std::span<const std::uint8_t> view(const std::optional<Array<std::uint8_t>>& array) {
    return array ? view(*array) : std::span<const std::uint8_t>{};
}

template <class T>
Array<T> copy(std::span<const T> values) {
    return Array<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

}  // namespace sep::bindings
