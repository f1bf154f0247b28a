#include <pybind11/stl.h>

#include "register.hpp"
#include "sep/backend.hpp"

namespace sep::bindings {

void register_backends(pybind11::module_& module) {
    module.def("backends", [] {
        pybind11::list rows;
        for (const BackendStatus& status : backends()) {
            rows.append(pybind11::make_tuple(status.name, status.available, status.detail));
        }
        return rows;
    });
}

}  // namespace sep::bindings
