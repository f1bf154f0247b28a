#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sep/errors.hpp"

// Arguments as Python gave them, turned into what C++ takes, or refused in one line that names the
// argument. pybind11's own refusals list signatures, and it cuts what has decimals to an int.
namespace sep::bindings {

namespace py = pybind11;

[[noreturn]] inline void refuse_kind(std::string_view name, std::string_view wanted,
                                     py::handle was) {
    throw py::type_error(std::string(name) + " must be " + std::string(wanted) + ", was " +
                         Py_TYPE(was.ptr())->tp_name);
}

/// A real number: an int, a float, or what turns into one, as NumPy's numbers and Decimal do.
inline double number(std::string_view name, py::handle value) {
    if (PyFloat_CheckExact(value.ptr())) return PyFloat_AS_DOUBLE(value.ptr());
    const bool truth = PyBool_Check(value.ptr());
    if (truth || PyComplex_Check(value.ptr())) refuse_kind(name, "a number", value);
    const double found = PyFloat_AsDouble(value.ptr());
    if (found == -1.0 && PyErr_Occurred() != nullptr) {
        const bool large = PyErr_ExceptionMatches(PyExc_OverflowError) != 0;
        PyErr_Clear();
        if (large) throw InvalidArgument(std::string(name) + " is too large for a float");
        refuse_kind(name, "a number", value);
    }
    return found;
}

/// A whole number in low..high: an int, or NumPy's.
inline std::int64_t whole(std::string_view name, py::handle value, std::int64_t low,
                          std::int64_t high) {
    if (PyBool_Check(value.ptr()) || PyIndex_Check(value.ptr()) == 0) {
        refuse_kind(name, "an int", value);
    }
    const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
    if (!index) {
        PyErr_Clear();
        refuse_kind(name, "an int", value);
    }
    int overflow = 0;
    const long long found = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
    if (overflow == 0 && low <= found && found <= high) return found;
    throw InvalidArgument(std::string(name) + " must be in " + std::to_string(low) + ".." +
                          std::to_string(high) + ", was " + py::str(index).cast<std::string>());
}

inline bool truth(std::string_view name, py::handle value) {
    if (value.ptr() == Py_True) return true;
    if (value.ptr() == Py_False) return false;
    const std::string_view type = Py_TYPE(value.ptr())->tp_name;
    if (type != "numpy.bool" && type != "numpy.bool_") refuse_kind(name, "True or False", value);
    return PyObject_IsTrue(value.ptr()) == 1;
}

inline std::string word(std::string_view name, py::handle value) {
    if (!PyUnicode_Check(value.ptr())) refuse_kind(name, "a str", value);
    return value.cast<std::string>();
}

/// The names in a sequence.
inline std::vector<std::string> words(std::string_view name, py::handle value) {
    if (PyUnicode_Check(value.ptr()) || PySequence_Check(value.ptr()) == 0) {
        refuse_kind(name, "a sequence of names", value);
    }
    std::vector<std::string> found;
    for (const py::handle item : value) {
        if (!PyUnicode_Check(item.ptr()))
            refuse_kind(name, "a sequence of names, each a str", item);
        found.push_back(item.cast<std::string>());
    }
    return found;
}

}  // namespace sep::bindings
