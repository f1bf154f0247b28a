#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>

#include "device_arrays.hpp"
#include "register.hpp"
#include "sep/device.hpp"
#include "specification.hpp"

namespace sep::bindings {
namespace {

namespace py = pybind11;

// A piece takes some 50 ms at most, so that Ctrl-C is heard within 200 ms.
std::uint64_t outputs_at_once(const WindowSpec& spec) {
    return std::uint64_t{1} << (spec.groups & (group_path | group_collapse) ? 24 : 28);
}

/// A series on a GPU, and its rolling metrics there.
class RollerOnDevice {
public:
    RollerOnDevice(const RollingSpec& spec, int device)
        : spec_(spec), device_(device), roller_(cuda::make_device_roller(spec, device)) {}

    std::uint64_t take(const py::object& values, const py::object& gap, bool are_prices) {
        const char* const name = are_prices ? "prices" : "bits";
        const DeviceArray array = borrow(name, values);
        if (are_prices ? array.type != DeviceType::float64
                       : array.type != DeviceType::uint8 && array.type != DeviceType::boolean) {
            throw py::type_error(std::string(name) + " must have dtype " +
                                 (are_prices ? "float64" : "uint8 or bool") + ", had " +
                                 name_of(array.type));
        }
        const std::uint8_t* gaps = nullptr;
        DeviceArray mask;
        if (!gap.is_none()) {
            mask = borrow("gap", gap);
            if (mask.type != DeviceType::boolean) {
                throw py::type_error(std::string("gap must have dtype bool, had ") +
                                     name_of(mask.type));
            }
            if (mask.size != array.size) {
                throw InvalidArgument(std::string("gap must have one value per ") +
                                      (are_prices ? "price, " : "bit, ") +
                                      std::to_string(array.size) + ", had " +
                                      std::to_string(mask.size));
            }
            gaps = static_cast<const std::uint8_t*>(mask.data);
        }
        const py::gil_scoped_release release;
        if (are_prices) {
            roller_->take_prices(static_cast<const double*>(array.data), gaps, array.size);
        } else {
            roller_->take_bits(static_cast<const std::uint8_t*>(array.data), gaps, array.size);
        }
        return array.size;
    }

    void forget() { roller_->forget(); }

    void run(const py::dict& columns, const py::object& progress) {
        std::vector<DeviceArray> held;
        RollingOutputs out;
        for (const auto& [key, value] : columns) {
            const auto name = key.cast<std::string>();
            const std::string label = "out['" + name + "']";
            DeviceArray array = borrow(label, py::reinterpret_borrow<py::object>(value));
            const bool is_flag = name == "complete";
            if (is_flag ? array.type != DeviceType::boolean
                        : array.type != DeviceType::float32 && array.type != DeviceType::float64) {
                throw py::type_error(label + " must have dtype " +
                                     (is_flag ? "bool" : "float32 or float64") + ", had " +
                                     name_of(array.type));
            }
            if (array.read_only) throw InvalidArgument(label + " must be writable");
            if (array.size != roller_->outputs()) {
                throw InvalidArgument(label + " must have size " +
                                      std::to_string(roller_->outputs()) + ", had " +
                                      std::to_string(array.size));
            }
            place(out, name, array);
            held.push_back(std::move(array));
        }
        const std::uint64_t piece = outputs_at_once(spec_.window);
        const std::uint64_t all = roller_->outputs();
        for (std::uint64_t first = 0; first < all; first += piece) {
            const std::uint64_t count = std::min(piece, all - first);
            {
                const py::gil_scoped_release release;
                roller_->run(first, count, out);
            }
            if (PyErr_CheckSignals() != 0) throw py::error_already_set();
            if (!progress.is_none()) progress(first + count, all);
        }
    }

private:
    DeviceArray borrow(const std::string& name, const py::object& array) const {
        DeviceArray found = borrowed(name, array, roller_->stream());
        if (found.device != device_) {
            throw InvalidArgument(name + " must lie on device " + std::to_string(device_) +
                                  " like the series, was on " + std::to_string(found.device));
        }
        return found;
    }

    static void place(RollingOutputs& out, const std::string& name, const DeviceArray& array) {
        const Column column{array.data, array.type == DeviceType::float32};
        if (name == "complete") out.complete = static_cast<std::uint8_t*>(array.data);
        if (name == "flat_ratio") out.flat_ratio = column;
        for (int i = 0; i < window_metric_count; ++i) {
            if (metric_names[i] == name) out.metrics[i] = column;
        }
    }

    RollingSpec spec_;
    int device_;
    std::unique_ptr<cuda::DeviceRoller> roller_;
};

}  // namespace

void register_device_rolling(py::module_& module) {
    py::class_<RollerOnDevice>(module, "DeviceRoller")
        .def(py::init([](double tick, int window, std::uint64_t stride, std::string_view encoding,
                         const std::vector<std::string>& metrics, std::string_view predictor,
                         double collapse_share, int device) {
                 return RollerOnDevice(specification(tick, window, stride, encoding, metrics,
                                                     predictor, collapse_share),
                                       device);
             }),
             py::kw_only(), py::arg("tick"), py::arg("window"), py::arg("stride"),
             py::arg("encoding"), py::arg("metrics"), py::arg("predictor"),
             py::arg("collapse_share"), py::arg("device"))
        .def("take_prices", [](RollerOnDevice& self, const py::object& prices,
                               const py::object& gap) { return self.take(prices, gap, true); })
        .def("take_bits", [](RollerOnDevice& self, const py::object& bits,
                             const py::object& gap) { return self.take(bits, gap, false); })
        .def("forget", &RollerOnDevice::forget)
        .def("run", &RollerOnDevice::run);
}

}  // namespace sep::bindings
