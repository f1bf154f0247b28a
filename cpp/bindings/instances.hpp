#pragma once

#include <pybind11/pybind11.h>

namespace sep::bindings {

/// A class of which Python cannot hold an instance that nobody has initialized: `__new__` alone
/// gives one otherwise, and pybind11 hands out its memory as it is. No class can be derived.
///
/// Made by `__init__`, which `__new__` calls; pybind11 takes no notice of the second call.
inline PyObject* new_initialized(PyTypeObject* type, PyObject* arguments, PyObject* named) {
    PyObject* const made = type->tp_base->tp_new(type, arguments, named);
    if (made != nullptr && type->tp_init(made, arguments, named) != 0) {
        Py_DECREF(made);
        return nullptr;
    }
    return made;
}

inline pybind11::custom_type_setup always_initialized() {
    return pybind11::custom_type_setup(
        [](PyHeapTypeObject* type) { type->ht_type.tp_new = new_initialized; });
}

}  // namespace sep::bindings
