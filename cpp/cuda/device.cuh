#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "sep/errors.hpp"

namespace sep::cuda {

/// The device has too little memory left.
class OutOfMemory : public BackendError {
public:
    using BackendError::BackendError;
};

/// @throws BackendError  naming the call and what CUDA said. The error is taken off the runtime, so
///                       that the next call starts clean.
inline void check(cudaError_t status, const char* call) {
    if (status == cudaSuccess) return;
    cudaGetLastError();
    std::string what = std::string("backend cuda: ") + call + ": " + cudaGetErrorString(status);
    if (status == cudaErrorInitializationError) {
        what += "; CUDA does not outlive a fork of the process that began it";
    }
    if (status == cudaErrorMemoryAllocation) throw OutOfMemory(what);
    throw BackendError(what);
}

class Stream {
public:
    Stream() {
        check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
    }
    ~Stream() { cudaStreamDestroy(stream_); }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    cudaStream_t get() const { return stream_; }
    void wait() const { check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

private:
    cudaStream_t stream_ = nullptr;
};

/// Device memory for `size` values, freed in the order of the stream.
template <class T>
class DeviceArray {
public:
    DeviceArray(std::size_t size, const Stream& stream) : size_(size), stream_(stream.get()) {
        if (size > 0) check(cudaMallocAsync(&data_, size * sizeof(T), stream_), "cudaMallocAsync");
    }
    DeviceArray(std::span<const T> host, const Stream& stream) : DeviceArray(host.size(), stream) {
        if (size_ == 0) return;
        check(
            cudaMemcpyAsync(data_, host.data(), host.size_bytes(), cudaMemcpyHostToDevice, stream_),
            "cudaMemcpyAsync to the device");
    }
    ~DeviceArray() {
        if (data_ != nullptr) cudaFreeAsync(data_, stream_);
    }
    DeviceArray(DeviceArray&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(other.size_), stream_(other.stream_) {}
    DeviceArray(const DeviceArray&) = delete;
    DeviceArray& operator=(const DeviceArray&) = delete;

    T* get() const { return data_; }

private:
    T* data_ = nullptr;
    std::size_t size_;
    cudaStream_t stream_;
};

/// A place in the order of a stream.
class Event {
public:
    Event() { check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate"); }
    ~Event() { cudaEventDestroy(event_); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;

    void record(const Stream& stream) {
        check(cudaEventRecord(event_, stream.get()), "cudaEventRecord");
    }
    cudaError_t wait() const { return cudaEventSynchronize(event_); }

private:
    cudaEvent_t event_ = nullptr;
};

/// Memory of the host that the device reads and writes without a detour; it never shrinks.
class PinnedMemory {
public:
    PinnedMemory() = default;
    ~PinnedMemory() { cudaFreeHost(data_); }
    PinnedMemory(const PinnedMemory&) = delete;
    PinnedMemory& operator=(const PinnedMemory&) = delete;

    std::byte* at_least(std::size_t size_bytes) {
        if (size_bytes > size_) {
            cudaFreeHost(std::exchange(data_, nullptr));
            size_ = 0;
            check(cudaMallocHost(&data_, size_bytes), "cudaMallocHost");
            size_ = size_bytes;
        }
        return static_cast<std::byte*>(data_);
    }

private:
    void* data_ = nullptr;
    std::size_t size_ = 0;
};

/// Multiprocessors of the current device.
inline int processors() {
    int device = 0;
    int count = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device),
          "cudaDeviceGetAttribute");
    return count;
}

inline void copy_to_host(void* host, const void* device, std::size_t size_bytes,
                         const Stream& stream) {
    check(cudaMemcpyAsync(host, device, size_bytes, cudaMemcpyDeviceToHost, stream.get()),
          "cudaMemcpyAsync to the host");
}

}  // namespace sep::cuda
