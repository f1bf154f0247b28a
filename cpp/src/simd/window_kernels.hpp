#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "../window_tables.hpp"
#include "kernels.hpp"

namespace sep::simd {

/// An array without values that begins at a cache line.
struct FreeAligned {
    void operator()(void* memory) const { ::operator delete(memory, alignment); }
    static constexpr std::align_val_t alignment{64};
};
template <class T>
using AlignedArray = std::unique_ptr<T[], FreeAligned>;

/// The vector kernels of this machine beside the tables of one window length.
class WindowKernels {
public:
    /// @param tables  of spec.window; it lives longer.
    WindowKernels(const WindowSpec& spec, const Kernels& kernels, const WindowTables& tables);

    const Kernels& kernels() const { return kernels_; }

    /// What the kernels read for so many more windows. The records of all count metrics are made
    /// once there have been enough to be worth it. Threads may call this together.
    KernelTables tables_for(std::uint64_t windows, bool single);

private:
    template <class T>
    AlignedArray<T> make_records() const;

    int window_;
    const double* templates_;
    const Kernels& kernels_;
    std::vector<double> shares_;
    std::array<double, key_count> lambda_of_;
    std::array<float, key_count> lambda_single_of_;
    std::array<DampedKey, key_count> damped_of_;
    std::atomic<std::uint64_t> windows_{0};
    std::once_flag single_made_;
    std::once_flag wide_made_;
    AlignedArray<float> records_single_;
    AlignedArray<double> records_;
};

}  // namespace sep::simd
