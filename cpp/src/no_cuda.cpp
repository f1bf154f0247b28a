#include "backends.hpp"
#include "sep/errors.hpp"

// Stands for cpp/cuda in a build without CUDA.
namespace sep::cuda {

Status status() { return {false, "built without CUDA"}; }

std::unique_ptr<RollingBackend> make_rolling(const WindowSpec&) {
    throw BackendError("backend cuda cannot run here: built without CUDA");
}

}  // namespace sep::cuda
