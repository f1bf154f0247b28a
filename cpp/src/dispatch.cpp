// Arguments are checked here, once, before a backend is chosen; the backends trust them.
#include <algorithm>
#include <string>
#include <thread>

#include "backends.hpp"
#include "sep/errors.hpp"
#include "sep/rolling.hpp"

namespace sep {

std::unique_ptr<RollingBackend> make_rolling(const WindowSpec& spec, Backend backend) {
    if (backend == Backend::scalar) return scalar::make_rolling(spec);
    if (backend != Backend::cuda) return simd::make_rolling(spec);
    const cuda::Status gpu = cuda::status();
    if (!gpu.available) throw BackendError("backend cuda cannot run here: " + gpu.detail);
    return cuda::make_rolling(spec);
}

int thread_count(Backend backend, int threads) {
    if (threads < 0 || threads > 1024) {
        throw InvalidArgument("threads must be in 0..1024, was " + std::to_string(threads));
    }
    if (backend == Backend::cuda || backend == Backend::scalar) return 1;
    if (threads > 0) return threads;
    return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

std::vector<BackendStatus> backends() {
    const cuda::Status gpu = cuda::status();
    return {{"scalar", true, "the reference"},
            {"simd", true, std::string(simd::name_of(simd::kernels()))},
            {"cuda", gpu.available, gpu.detail}};
}

Backend backend_named(std::string_view name) {
    if (name == "auto") return Backend::automatic;
    if (name == "scalar") return Backend::scalar;
    if (name == "simd") return Backend::simd;
    if (name == "cuda") return Backend::cuda;
    throw InvalidArgument("backend must be one of auto, scalar, simd, cuda, was " +
                          std::string(name));
}

void check(const WindowSpec& spec) {
    if (spec.window < window_min || spec.window > window_max) {
        throw InvalidArgument("window must be in 8..1024, was " + std::to_string(spec.window));
    }
    if (!(spec.collapse_share > 0 && spec.collapse_share <= 1)) {
        throw InvalidArgument("collapse_share must be in (0, 1], was " +
                              std::to_string(spec.collapse_share));
    }
}

}  // namespace sep
