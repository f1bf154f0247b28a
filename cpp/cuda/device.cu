#ifndef _WIN32
#include <unistd.h>
#endif

#include "../src/backends.hpp"
#include "device.cuh"

namespace sep::cuda {
namespace {

/// Whether the process that first asked for a device is another one: CUDA does not outlive a fork,
/// but still counts the devices there.
bool is_fork() {
#ifdef _WIN32
    return false;
#else
    static const pid_t first = getpid();
    return getpid() != first;
#endif
}

}  // namespace

Status status() {
    if (is_fork()) return {false, "CUDA was begun before this process was forked"};
    int driver = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
        cudaGetLastError();
        return {false, "no NVIDIA driver"};
    }
    int count = 0;
    const cudaError_t counted = cudaGetDeviceCount(&count);
    if (counted != cudaSuccess) {
        cudaGetLastError();
        return {false, std::string("no usable GPU: ") + cudaGetErrorString(counted)};
    }
    if (count == 0) return {false, "no GPU is visible"};
    cudaDeviceProp properties{};
    const cudaError_t read = cudaGetDeviceProperties(&properties, 0);
    if (read != cudaSuccess) {
        cudaGetLastError();
        return {false, std::string("GPU 0 does not answer: ") + cudaGetErrorString(read)};
    }
    return {true, properties.name};
}

}  // namespace sep::cuda
