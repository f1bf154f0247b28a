#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "sep/rolling.hpp"
#include "sep/sweep.hpp"

namespace sep {

/// The chosen backend for windows that `check` has passed.
/// @throws BackendError  it cannot run here.
std::unique_ptr<RollingBackend> make_rolling(const WindowSpec& spec, Backend backend);

/// Threads that a backend uses when `threads` are asked for; 0 asks for as many as the machine has.
/// @throws InvalidArgument  not in 0..1024.
int thread_count(Backend backend, int threads);

}  // namespace sep

namespace sep::scalar {

std::unique_ptr<RollingBackend> make_rolling(const WindowSpec& spec);

}  // namespace sep::scalar

namespace sep::simd {

struct Kernels;

/// The best kernels of this processor, or those that the environment variable SEP_SIMD names.
/// @throws BackendError  SEP_SIMD names kernels that cannot run here.
const Kernels& kernels();
std::string_view name_of(const Kernels& kernels);
std::unique_ptr<RollingBackend> make_rolling(const WindowSpec& spec);

}  // namespace sep::simd

namespace sep::cuda {

struct Status {
    bool available;
    std::string detail;
};

Status status();
std::unique_ptr<RollingBackend> make_rolling(const WindowSpec& spec);
/// On all devices that are visible, for bars that `check` has passed.
std::unique_ptr<SweepBackend> make_sweep(const SweepBars& bars);

}  // namespace sep::cuda
