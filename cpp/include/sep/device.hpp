#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "sep/rolling.hpp"

/// Rolling metrics of arrays that lie on a GPU and of results that stay there.
namespace sep::cuda {

/// Memory on a device; freed, once the device has done its work, with its last owner.
/// @throws BackendError  there is no such device, or it has too little memory left.
std::shared_ptr<void> device_memory(std::size_t size_bytes, int device);

/// Copy between the memory of the host and that of a device, and return when it is done.
void copy_from_device(void* host, const void* on_device, std::size_t size_bytes, int device);
void copy_to_device(void* on_device, const void* host, std::size_t size_bytes, int device);

/// The device that memory belongs to.
/// @throws BackendError  it is memory of the host.
int device_of(const void* memory);

/// Wait for the work queued on a stream, given as the handle of the CUDA runtime.
void wait_for_stream(std::uintptr_t stream, int device);

/// The rolling metrics of one series, all of it on a device. Pointers are to that device's memory.
class DeviceRoller {
public:
    virtual ~DeviceRoller() = default;

    /// The stream that reads the arguments, as the handle of the CUDA runtime.
    virtual std::uintptr_t stream() const = 0;

    /// Take a series in, in place of the one before. `gap`: nullptr, or one value for each price or
    /// bit.
    /// @throws InvalidArgument  a value breaks a rule; the message is that of `Roller`.
    virtual void take_prices(const double* prices, const std::uint8_t* gap, std::uint64_t size) = 0;
    virtual void take_bits(const std::uint8_t* bits, const std::uint8_t* gap,
                           std::uint64_t size) = 0;

    /// Give the memory of the series back; the tables of the window stay.
    virtual void forget() = 0;

    /// Values that the series gives.
    virtual std::uint64_t outputs() const = 0;

    /// Write outputs first .. first + count - 1 to the same places of `out`, and return when they
    /// are there. `first` is a multiple of 64.
    virtual void run(std::uint64_t first, std::uint64_t count, const RollingOutputs& out) = 0;
};

/// @throws InvalidArgument  a part of the specification is out of range.
/// @throws BackendError     there is no such device here.
std::unique_ptr<DeviceRoller> make_device_roller(const RollingSpec& spec, int device);

}  // namespace sep::cuda
