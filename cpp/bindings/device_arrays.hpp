#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <string>

namespace sep::bindings {

/// The types that arrays on a device have here.
enum class DeviceType : std::uint8_t { float32, float64, uint8, boolean };

std::size_t size_of(DeviceType type);
const char* name_of(DeviceType type);

/// One-dimensional, contiguous memory of a GPU, of this package or lent by another.
struct DeviceArray {
    std::shared_ptr<void> owner;
    void* data = nullptr;
    std::uint64_t size = 0;
    DeviceType type = DeviceType::float32;
    int device = 0;
    bool read_only = false;
};

/// Borrow an array of this package, CuPy, PyTorch and others that lies on a GPU: by DLPack, or by
/// `__cuda_array_interface__` where that is all it has.
///
/// @param name    of the argument, for messages.
/// @param stream  work that is queued on it afterwards finds the array's values there.
/// @throws InvalidArgument  not one-dimensional, empty, strided, or not on a GPU.
/// @throws TypeError        no array at all, or of a type that is none of DeviceType.
DeviceArray borrowed(const std::string& name, const pybind11::object& array, std::uintptr_t stream);

}  // namespace sep::bindings
