#include "backends.hpp"
#include "sep/errors.hpp"

// Stands for cpp/cuda in a build without CUDA.
namespace sep::cuda {

Status status() { return {false, "built without CUDA"}; }

void rolling(const Encoded&, int, const RollingOutputs&) {
    throw BackendError("backend cuda cannot run here: built without CUDA");
}

}  // namespace sep::cuda
