#include "backends.hpp"
#include "sep/device.hpp"
#include "sep/errors.hpp"
#include "sep/iaaft.hpp"

// Stands for cpp/cuda in a build without CUDA.
namespace sep::cuda {
namespace {

[[noreturn]] void refuse() {
    throw BackendError("backend cuda cannot run here: built without CUDA");
}

}  // namespace

Status status() { return {false, "built without CUDA"}; }

std::unique_ptr<RollingBackend> make_rolling(const WindowSpec&) { refuse(); }

std::shared_ptr<void> device_memory(std::size_t, int) { refuse(); }
void copy_from_device(void*, const void*, std::size_t, int) { refuse(); }
void copy_to_device(void*, const void*, std::size_t, int) { refuse(); }
int device_of(const void*) { refuse(); }
void wait_for_stream(std::uintptr_t, int) { refuse(); }
std::unique_ptr<DeviceRoller> make_device_roller(const RollingSpec&, int) { refuse(); }

std::unique_ptr<SweepBackend> make_sweep(const SweepBars&) { refuse(); }

std::vector<IaaftOrder> iaaft_orders(const Iaaft&, std::uint64_t, std::uint64_t, std::size_t, int) {
    refuse();
}

}  // namespace sep::cuda
