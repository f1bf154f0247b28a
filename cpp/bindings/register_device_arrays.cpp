#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "device_arrays.hpp"
#include "dlpack.hpp"
#include "instances.hpp"
#include "register.hpp"
#include "sep/device.hpp"
#include "sep/errors.hpp"

namespace sep::bindings {
namespace {

namespace py = pybind11;

constexpr const char* capsule_name = "dltensor";
constexpr const char* capsule_name_versioned = "dltensor_versioned";

struct TypeOfArray {
    DeviceType type;
    const char* name;
    std::size_t size;
    std::uint8_t code;  ///< of DLPack
    const char* text;   ///< of the array interface
};

constexpr std::array<TypeOfArray, 4> types{{
    {DeviceType::float32, "float32", 4, dlpack::code_float, "<f4"},
    {DeviceType::float64, "float64", 8, dlpack::code_float, "<f8"},
    {DeviceType::uint8, "uint8", 1, dlpack::code_uint, "|u1"},
    {DeviceType::boolean, "bool", 1, dlpack::code_bool, "|b1"},
}};

const TypeOfArray& row_of(DeviceType type) { return types[static_cast<std::size_t>(type)]; }

[[noreturn]] void refuse_type(const std::string& name, const std::string& found) {
    throw py::type_error(name + " must have dtype float32, float64, uint8 or bool, had " + found);
}

/// Check the form of a borrowed array and take it over.
DeviceArray checked(const std::string& name, DeviceArray array,
                    const std::vector<std::int64_t>& shape, std::int64_t stride) {
    if (shape.size() != 1) {
        throw InvalidArgument(name + " must have one dimension, had " +
                              std::to_string(shape.size()));
    }
    if (shape[0] == 0) throw InvalidArgument(name + " must not be empty");
    if (shape[0] > 1 && stride != 1) {
        throw InvalidArgument(name + " must be contiguous on the device, its stride was " +
                              std::to_string(stride) + " elements; pass a copy");
    }
    array.size = static_cast<std::uint64_t>(shape[0]);
    return array;
}

/// What a capsule holds. Its deleter runs when the last user lets go.
template <class Managed>
std::pair<const dlpack::Tensor*, std::shared_ptr<void>> taken_over(PyObject* capsule,
                                                                   const char* name,
                                                                   const char* used_name) {
    auto* const managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, name));
    if (managed == nullptr) throw py::error_already_set();
    PyCapsule_SetName(capsule, used_name);
    std::shared_ptr<void> owner(managed, [](void* held) {
        const py::gil_scoped_acquire acquire;
        auto* const lent = static_cast<Managed*>(held);
        if (lent->deleter != nullptr) lent->deleter(lent);
    });
    return {&managed->tensor, std::move(owner)};
}

DeviceArray from_dlpack(const std::string& name, const py::object& array, std::uintptr_t stream) {
    const auto where = array.attr("__dlpack_device__")().cast<std::pair<int, int>>();
    if (where.first != dlpack::device_cuda && where.first != dlpack::device_cuda_managed) {
        throw InvalidArgument(name + " must lie on a GPU, its DLPack device type was " +
                              std::to_string(where.first));
    }
    py::object capsule;
    try {
        capsule = array.attr("__dlpack__")(py::arg("stream") = stream,
                                           py::arg("max_version") = py::make_tuple(1, 0));
    } catch (py::error_already_set& error) {
        if (!error.matches(PyExc_TypeError)) throw;  // older libraries know no max_version
        capsule = array.attr("__dlpack__")(py::arg("stream") = stream);
    }
    DeviceArray out;
    const dlpack::Tensor* tensor = nullptr;
    if (PyCapsule_IsValid(capsule.ptr(), capsule_name_versioned)) {
        const auto* const managed = static_cast<const dlpack::ManagedVersioned*>(
            PyCapsule_GetPointer(capsule.ptr(), capsule_name_versioned));
        if (managed->major != 1) {
            throw InvalidArgument(name + " has DLPack version " + std::to_string(managed->major) +
                                  ", known is 1");
        }
        out.read_only = (managed->flags & dlpack::flag_read_only) != 0;
        std::tie(tensor, out.owner) = taken_over<dlpack::ManagedVersioned>(
            capsule.ptr(), capsule_name_versioned, "used_dltensor_versioned");
    } else {
        std::tie(tensor, out.owner) =
            taken_over<dlpack::Managed>(capsule.ptr(), capsule_name, "used_dltensor");
    }
    const dlpack::DataType dtype = tensor->dtype;
    const TypeOfArray* found = nullptr;
    for (const TypeOfArray& type : types) {
        if (type.code == dtype.code && 8 * type.size == dtype.bits && dtype.lanes == 1) {
            found = &type;
        }
    }
    if (found == nullptr) {
        refuse_type(name, "DLPack type code " + std::to_string(dtype.code) + ", " +
                              std::to_string(dtype.bits) + " bits");
    }
    out.type = found->type;
    out.data = static_cast<char*>(tensor->data) + tensor->byte_offset;
    out.device = tensor->device.id;
    const std::vector<std::int64_t> shape(tensor->shape, tensor->shape + tensor->ndim);
    const std::int64_t stride =
        tensor->strides == nullptr || shape.size() != 1 ? 1 : tensor->strides[0];
    return checked(name, out, shape, stride);
}

DeviceArray from_array_interface(const std::string& name, const py::object& array) {
    const py::dict fields = array.attr("__cuda_array_interface__");
    const auto shape = fields["shape"].cast<std::vector<std::int64_t>>();
    const auto text = fields["typestr"].cast<std::string>();
    const TypeOfArray* found = nullptr;
    for (const TypeOfArray& type : types) {
        if (text == type.text) found = &type;
    }
    if (found == nullptr) refuse_type(name, text);
    const auto data = fields["data"].cast<std::pair<std::uintptr_t, bool>>();
    DeviceArray out;
    out.type = found->type;
    out.data = reinterpret_cast<void*>(data.first);
    out.read_only = data.second;
    std::int64_t stride = 1;
    if (fields.contains("strides") && !fields["strides"].is_none() && shape.size() == 1) {
        const auto bytes = fields["strides"].cast<std::vector<std::int64_t>>();
        stride = bytes.at(0) % static_cast<std::int64_t>(found->size) == 0
                     ? bytes.at(0) / static_cast<std::int64_t>(found->size)
                     : 0;
    }
    out = checked(name, out, shape, stride);
    out.device = cuda::device_of(out.data);
    if (fields.contains("stream") && !fields["stream"].is_none()) {
        cuda::wait_for_stream(fields["stream"].cast<std::uintptr_t>(), out.device);
    }
    out.owner = {new py::object(array), [](void* held) {
                     const py::gil_scoped_acquire acquire;
                     delete static_cast<py::object*>(held);
                 }};
    return out;
}

/// What a consumer of our memory holds until it calls the deleter.
struct Lent {
    dlpack::Managed managed{};
    dlpack::ManagedVersioned versioned{};
    DeviceArray array;
    std::int64_t shape = 0;
    std::int64_t stride = 1;
};

dlpack::Tensor tensor_of(Lent& lent) {
    const TypeOfArray& type = row_of(lent.array.type);
    lent.shape = static_cast<std::int64_t>(lent.array.size);
    return {lent.array.data,
            {dlpack::device_cuda, lent.array.device},
            1,
            {type.code, static_cast<std::uint8_t>(8 * type.size), 1},
            &lent.shape,
            &lent.stride,
            0};
}

/// A capsule that nobody took over frees what it holds.
template <class Managed>
void free_unused(PyObject* capsule, const char* name) {
    if (!PyCapsule_IsValid(capsule, name)) return;
    auto* const managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, name));
    managed->deleter(managed);
}

py::object lend(const DeviceArray& array, bool versioned) {
    auto lent = std::make_unique<Lent>();
    lent->array = array;
    PyObject* capsule = nullptr;
    if (versioned) {
        lent->versioned = {
            1,
            0,
            lent.get(),
            [](dlpack::ManagedVersioned* self) { delete static_cast<Lent*>(self->context); },
            array.read_only ? dlpack::flag_read_only : 0,
            tensor_of(*lent)};
        capsule = PyCapsule_New(&lent->versioned, capsule_name_versioned, [](PyObject* self) {
            free_unused<dlpack::ManagedVersioned>(self, capsule_name_versioned);
        });
    } else {
        lent->managed = {tensor_of(*lent), lent.get(),
                         [](dlpack::Managed* self) { delete static_cast<Lent*>(self->context); }};
        capsule = PyCapsule_New(&lent->managed, capsule_name, [](PyObject* self) {
            free_unused<dlpack::Managed>(self, capsule_name);
        });
    }
    if (capsule == nullptr) throw py::error_already_set();
    static_cast<void>(lent.release());  // the capsule owns it now
    return py::reinterpret_steal<py::object>(capsule);
}

/// The device of an array, asked without taking the array over.
int device_of_array(const py::object& array) {
    if (py::hasattr(array, "__dlpack_device__")) {
        return array.attr("__dlpack_device__")().cast<std::pair<int, int>>().second;
    }
    return from_array_interface("array", array).device;
}

py::array to_numpy(const DeviceArray& array) {
    py::array host(py::dtype(row_of(array.type).name),
                   std::vector<py::ssize_t>{static_cast<py::ssize_t>(array.size)});
    void* const to = host.mutable_data();
    {
        const py::gil_scoped_release release;
        cuda::copy_from_device(to, array.data, array.size * size_of(array.type), array.device);
    }
    return host;
}

DeviceArray from_numpy(const py::array& host, int device) {
    DeviceArray array;
    const auto name = py::str(static_cast<const py::object&>(host.dtype())).cast<std::string>();
    const TypeOfArray* found = nullptr;
    for (const TypeOfArray& type : types) {
        if (name == type.name) found = &type;
    }
    if (found == nullptr) refuse_type("array", name);
    array.type = found->type;
    array.size = static_cast<std::uint64_t>(host.size());
    array.device = device;
    const void* const from = host.data();
    {
        const py::gil_scoped_release release;
        array.owner = cuda::device_memory(array.size * found->size, device);
        array.data = array.owner.get();
        cuda::copy_to_device(array.data, from, array.size * found->size, device);
    }
    return array;
}

/// Arrays of one size that share one allocation, each at a multiple of 256 bytes.
std::vector<DeviceArray> device_arrays(std::uint64_t size, const std::vector<std::string>& names,
                                       int device) {
    // Taking and giving back nothing would still wait for the device.
    if (names.empty()) return {};
    std::vector<DeviceArray> arrays;
    std::size_t size_bytes = 0;
    std::vector<std::size_t> at;
    for (const std::string& name : names) {
        const TypeOfArray* found = nullptr;
        for (const TypeOfArray& type : types) {
            if (name == type.name) found = &type;
        }
        if (found == nullptr) refuse_type("results", name);
        at.push_back(size_bytes);
        size_bytes += (size * found->size + 255) / 256 * 256;
        arrays.push_back({nullptr, nullptr, size, found->type, device, false});
    }
    std::shared_ptr<void> memory;
    {
        const py::gil_scoped_release release;
        memory = cuda::device_memory(size_bytes, device);
    }
    for (std::size_t i = 0; i < arrays.size(); ++i) {
        arrays[i].owner = memory;
        arrays[i].data = static_cast<char*>(memory.get()) + at[i];
    }
    return arrays;
}

}  // namespace

std::size_t size_of(DeviceType type) { return row_of(type).size; }
const char* name_of(DeviceType type) { return row_of(type).name; }

DeviceArray borrowed(const std::string& name, const py::object& array, std::uintptr_t stream) {
    if (py::isinstance<DeviceArray>(array)) return array.cast<DeviceArray>();
    if (py::hasattr(array, "__dlpack__") && py::hasattr(array, "__dlpack_device__")) {
        return from_dlpack(name, array, stream);
    }
    if (py::hasattr(array, "__cuda_array_interface__")) return from_array_interface(name, array);
    throw py::type_error(
        name + " must be an array on a GPU (DLPack or __cuda_array_interface__), " + "was " +
        py::str(py::type::of(array).attr("__name__")).cast<std::string>());
}

void register_device_arrays(py::module_& module) {
    py::class_<DeviceArray>(
        module, "DeviceArray", always_initialized(), py::is_final(),
        "(n,) float32, float64, uint8 or bool in the memory of a GPU.\n\n"
        "`rolling_device` makes it. DLPack and the CUDA array interface give it to CuPy, PyTorch\n"
        "and others without a copy; `to_numpy` copies it to the host.")
        .def_property_readonly("size", [](const DeviceArray& self) { return self.size; })
        .def_property_readonly("shape",
                               [](const DeviceArray& self) { return py::make_tuple(self.size); })
        .def_property_readonly(
            "dtype", [](const DeviceArray& self) { return py::dtype(name_of(self.type)); })
        .def_property_readonly("device", [](const DeviceArray& self) { return self.device; })
        .def("__len__", [](const DeviceArray& self) { return self.size; })
        .def("__repr__",
             [](const DeviceArray& self) {
                 return "DeviceArray(size=" + std::to_string(self.size) +
                        ", dtype=" + name_of(self.type) +
                        ", device=" + std::to_string(self.device) + ")";
             })
        .def("to_numpy", &to_numpy)
        .def("__dlpack_device__",
             [](const DeviceArray& self) {
                 return py::make_tuple(static_cast<int>(dlpack::device_cuda), self.device);
             })
        .def(
            "__dlpack__",
            [](const DeviceArray& self, const py::object&,
               const std::optional<std::pair<int, int>>& max_version,
               const std::optional<std::pair<int, int>>& dl_device, std::optional<bool> copy) {
                // The values are there since the call that made them returned, so that no stream
                // has to wait for them.
                const std::pair<int, int> here{dlpack::device_cuda, self.device};
                if ((dl_device && *dl_device != here) || copy.value_or(false)) {
                    PyErr_SetString(PyExc_BufferError,
                                    "the array is given as it is: no copy, on its own device");
                    throw py::error_already_set();
                }
                return lend(self, max_version && max_version->first >= 1);
            },
            py::kw_only(), py::arg("stream") = py::none(), py::arg("max_version") = py::none(),
            py::arg("dl_device") = py::none(), py::arg("copy") = py::none())
        .def_property_readonly("__cuda_array_interface__", [](const DeviceArray& self) {
            py::dict fields;
            fields["shape"] = py::make_tuple(self.size);
            fields["typestr"] = row_of(self.type).text;
            fields["data"] = py::make_tuple(reinterpret_cast<std::uintptr_t>(self.data), false);
            fields["version"] = 3;
            fields["strides"] = py::none();
            fields["stream"] = py::none();
            return fields;
        });
    module.def("device_arrays", &device_arrays);
    module.def("to_device", &from_numpy);
    // 1 names the default stream, which the copy to the host runs on.
    module.def("to_host", [](const std::string& name, const py::object& array) {
        return to_numpy(borrowed(name, array, 1));
    });
    module.def("device_of", &device_of_array);
}

}  // namespace sep::bindings
