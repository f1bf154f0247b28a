#pragma once

#include "arrays.hpp"
#include "metric_names.hpp"
#include "sep/rolling.hpp"

namespace sep::bindings {

inline Column column(const py::array& array) {
    return {const_cast<void*>(array.data()), array.itemsize() == sizeof(float)};
}

/// The arrays of a dictionary from metric (or "complete") to array, checked by the caller.
inline RollingOutputs outputs(const py::dict& columns) {
    RollingOutputs out;
    for (int i = 0; i < window_metric_count; ++i) {
        const py::str name(metric_names[i].data(), metric_names[i].size());
        if (columns.contains(name)) out.metrics[i] = column(columns[name].cast<py::array>());
    }
    if (columns.contains("flat_ratio")) {
        out.flat_ratio = column(columns["flat_ratio"].cast<py::array>());
    }
    if (columns.contains("complete")) {
        const auto complete = columns["complete"].cast<py::array>();
        out.complete = static_cast<std::uint8_t*>(const_cast<void*>(complete.data()));
    }
    return out;
}

}  // namespace sep::bindings
