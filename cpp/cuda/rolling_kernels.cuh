#pragma once

#include <cstdint>
#include <optional>

#include "rolling_tiles.cuh"
#include "sep/rolling.hpp"

namespace sep::cuda {

/// The kernels of one window specification, and the tables that they need, on one device.
class RollingKernels {
public:
    RollingKernels(const WindowSpec& spec, const Stream& stream);

    /// Queue the computation of the outputs of a chunk; `out` points to device memory.
    void launch(const DeviceChunk& chunk, std::uint64_t outputs, const RollingOutputs& out,
                const Stream& stream) const;

private:
    TableView view() const;

    WindowSpec spec_;
    WindowTables tables_;
    DeviceArray<double> g_;
    DeviceArray<DampedRow> rows_;
    DeviceArray<std::uint8_t> row_of_;
    DeviceArray<DampedSpan> spans_;
    DeviceArray<double> decays_;
    DeviceArray<std::uint32_t> decays_first_;
    DeviceArray<double> templates_;
    std::optional<TileKernel> tiles_;  ///< none for short windows and small devices
    int processors_ = 0;
};

}  // namespace sep::cuda
