#include <algorithm>
#include <string>

#include "device.cuh"
#include "device_series.cuh"
#include "rolling_kernels.cuh"
#include "sep/device.hpp"

namespace sep::cuda {
namespace {

/// Makes a device the current one of this thread, for a while.
class CurrentDevice {
public:
    explicit CurrentDevice(int device) {
        int count = 0;
        check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
        if (device < 0 || device >= count) {
            throw BackendError("backend cuda: there is no device " + std::to_string(device) +
                               ", only " + std::to_string(count));
        }
        check(cudaGetDevice(&before_), "cudaGetDevice");
        check(cudaSetDevice(device), "cudaSetDevice");
    }
    ~CurrentDevice() { cudaSetDevice(before_); }
    CurrentDevice(const CurrentDevice&) = delete;
    CurrentDevice& operator=(const CurrentDevice&) = delete;

private:
    int before_ = 0;
};

/// Let so much of what is freed on a device stay with it for the next call: bringing memory in
/// takes a tenth of a call on 2^28 bits.
void keep_freed_memory(int device) {
    constexpr std::uint64_t kept_bytes = std::uint64_t{1} << 28;
    cudaMemPool_t pool = nullptr;
    check(cudaDeviceGetDefaultMemPool(&pool, device), "cudaDeviceGetDefaultMemPool");
    std::uint64_t now = 0;
    check(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &now),
          "cudaMemPoolGetAttribute");
    std::uint64_t wanted = kept_bytes;
    if (now >= wanted) return;
    check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &wanted),
          "cudaMemPoolSetAttribute");
}

class Rolling final : public DeviceRoller {
public:
    Rolling(const RollingSpec& spec, int device)
        : spec_(spec), device_(device), kernels_(spec.window, stream_) {
        stream_.wait();
    }
    ~Rolling() override {
        // What the members free belongs to this device, whichever is the current one.
        int before = 0;
        if (cudaGetDevice(&before) != cudaSuccess) return;
        cudaSetDevice(device_);
        series_.reset();
        cudaSetDevice(before);
    }

    std::uintptr_t stream() const override {
        return reinterpret_cast<std::uintptr_t>(stream_.get());
    }

    void take_prices(const double* prices, const std::uint8_t* gap, std::uint64_t size) override {
        const CurrentDevice current(device_);
        keep_freed_memory(device_);
        series_.emplace(encoded_series(prices, gap, size, spec_, stream_));
    }

    void take_bits(const std::uint8_t* bits, const std::uint8_t* gap, std::uint64_t size) override {
        const CurrentDevice current(device_);
        keep_freed_memory(device_);
        series_.emplace(packed_series(bits, gap, size, spec_, stream_));
    }

    void forget() override {
        const CurrentDevice current(device_);
        series_.reset();
    }

    std::uint64_t outputs() const override {
        return series_ ? (series_->prices + spec_.stride - 1) / spec_.stride : 0;
    }

    void run(std::uint64_t first, std::uint64_t count, const RollingOutputs& out) override {
        const CurrentDevice current(device_);
        const DeviceSeries& s = *series_;
        const std::uint64_t price = first * spec_.stride;
        Chunk chunk{};
        chunk.bits = {s.bits.get(), 0};
        chunk.joined = {s.joined.get(), 0};
        chunk.errors = {s.errors ? s.errors->get() : nullptr, 0};
        chunk.flat = {s.flat ? s.flat->get() : nullptr, 0};
        chunk.emitted = s.emitted ? s.emitted->get() + price / 64 : nullptr;
        chunk.bits_before = s.emitted ? 0 : price;
        chunk.prices_before = price;
        chunk.prices = std::min(s.prices - price, count * spec_.stride);
        chunk.stride = spec_.stride;
        const std::uint64_t* const before = s.before ? s.before->get() + price / 64 : nullptr;
        kernels_.launch({chunk, before}, count, out.from(first), stream_);
        stream_.wait();
    }

private:
    RollingSpec spec_;
    int device_;
    Stream stream_;
    RollingKernels kernels_;
    std::optional<DeviceSeries> series_;
};

}  // namespace

std::shared_ptr<void> device_memory(std::size_t size_bytes, int device) {
    const CurrentDevice current(device);
    void* memory = nullptr;
    check(cudaMalloc(&memory, std::max<std::size_t>(size_bytes, 1)), "cudaMalloc");
    // cudaFree waits for the device: a reader on another stream may still be at work.
    return {memory, [device](void* owned) {
                int before = 0;
                if (cudaGetDevice(&before) != cudaSuccess) return;
                cudaSetDevice(device);
                cudaFree(owned);
                cudaSetDevice(before);
            }};
}

void copy_from_device(void* host, const void* on_device, std::size_t size_bytes, int device) {
    const CurrentDevice current(device);
    check(cudaMemcpy(host, on_device, size_bytes, cudaMemcpyDeviceToHost), "cudaMemcpy");
}

void copy_to_device(void* on_device, const void* host, std::size_t size_bytes, int device) {
    const CurrentDevice current(device);
    check(cudaMemcpy(on_device, host, size_bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
    // From pageable memory cudaMemcpy returns once the values are staged; a stream that does not
    // wait for the default one could still read what was there before.
    check(cudaStreamSynchronize(cudaStreamLegacy), "cudaStreamSynchronize");
}

int device_of(const void* memory) {
    cudaPointerAttributes attributes{};
    check(cudaPointerGetAttributes(&attributes, memory), "cudaPointerGetAttributes");
    if (attributes.type != cudaMemoryTypeDevice && attributes.type != cudaMemoryTypeManaged) {
        throw BackendError("backend cuda: the array is not in the memory of a device");
    }
    return attributes.device;
}

void wait_for_stream(std::uintptr_t stream, int device) {
    const CurrentDevice current(device);
    // The array interface names the legacy and the per-thread default streams 1 and 2, as CUDA
    // does.
    check(cudaStreamSynchronize(reinterpret_cast<cudaStream_t>(stream)), "cudaStreamSynchronize");
}

std::unique_ptr<DeviceRoller> make_device_roller(const RollingSpec& spec, int device) {
    sep::check(spec.window);
    check_tick(spec.tick);
    if (spec.stride == 0) throw InvalidArgument("stride must be >= 1, was 0");
    const CurrentDevice current(device);
    return std::make_unique<Rolling>(spec, device);
}

}  // namespace sep::cuda
