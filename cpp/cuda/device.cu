#include "../src/backends.hpp"
#include "device.cuh"

namespace sep::cuda {

Status status() {
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
