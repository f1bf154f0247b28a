#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sep {

/// Who computes. All backends give the same bytes.
enum class Backend : std::uint8_t {
    automatic,  ///< the fastest that runs on this machine's processor; never a GPU, because moving
                ///< the data there and back costs more than the work
    scalar,     ///< the reference, one thread
    simd,       ///< vector instructions: AVX-512 or AVX2 where the processor has them
    cuda,       ///< an NVIDIA GPU
};

struct BackendStatus {
    std::string name;
    bool available;
    std::string detail;  ///< what runs it, or why it cannot run here
};

/// Every backend that can be named, in a fixed order.
std::vector<BackendStatus> backends();

/// @throws InvalidArgument  the name is none of the backends; the message lists them.
Backend backend_named(std::string_view name);

}  // namespace sep
