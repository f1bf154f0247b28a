// Arguments are checked here, once, before a backend is chosen; the backends trust them.
#include <string>

#include "backends.hpp"
#include "sep/errors.hpp"
#include "sep/rolling.hpp"

namespace sep {

std::vector<BackendStatus> backends() {
    const cuda::Status gpu = cuda::status();
    return {{"scalar", true, "portable C++"}, {"cuda", gpu.available, gpu.detail}};
}

Backend backend_named(std::string_view name) {
    if (name == "auto") return Backend::automatic;
    if (name == "scalar") return Backend::scalar;
    if (name == "cuda") return Backend::cuda;
    throw InvalidArgument("backend must be one of auto, scalar, cuda, was " + std::string(name));
}

void check_window(int window) {
    if (window < window_min || window > window_max) {
        throw InvalidArgument("window must be in 8..1024, was " + std::to_string(window));
    }
}

void rolling(const Encoded& encoded, int window, const RollingOutputs& out, Backend backend) {
    check_window(window);
    switch (backend) {
        case Backend::automatic:
        case Backend::scalar:
            scalar::rolling(encoded, window, out);
            return;
        case Backend::cuda: {
            const cuda::Status gpu = cuda::status();
            if (!gpu.available) throw BackendError("backend cuda cannot run here: " + gpu.detail);
            cuda::rolling(encoded, window, out);
            return;
        }
    }
}

}  // namespace sep
