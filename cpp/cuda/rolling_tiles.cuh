#pragma once

#include <cstdint>
#include <vector>

#include "device.cuh"
#include "sep/rolling.hpp"
#include "tile_tables.hpp"

namespace sep::cuda {

/// Outputs that a warp computes together, or a block of the plain kernel. Memory is filled best
/// where what is being written lies close together; fewer cost more for the words before them.
inline constexpr int tile_outputs = 192;

/// A chunk in device memory.
struct DeviceChunk {
    Chunk chunk;
    /// Bits of the series before each 64 prices of the chunk; nullptr: every price gave a bit.
    const std::uint64_t* before;

    /// Bits of the series up to price k of the chunk.
    __device__ std::uint64_t bits_at(std::uint64_t k) const {
        if (before == nullptr) return chunk.bits_before + k + 1;
        const std::uint64_t up_to_k = ~std::uint64_t{0} >> (63 - k % 64);
        return before[k / 64] + ones(chunk.emitted[k / 64] & up_to_k);
    }
};

/// The outputs of the tile kernel, in the order of the first members of WindowMetrics.
inline constexpr int tile_column_count = 11;
struct TileColumns {
    float* column[tile_column_count];  ///< nullptr: not wanted
    std::uint8_t* complete;
};

/// The tiles that have a gap or a window that is not full, for the plain kernel.
struct LeftTiles {
    std::uint32_t* count;
    std::uint32_t* tiles;
};

/// Computes float32 metrics of stride 1 tile by tile; for windows of at least tile_window_min.
class TileKernel {
public:
    /// Whether a block of the current device has the shared memory that this window needs.
    static bool fits(int window);

    /// @param spans  of WindowTables for this window.
    TileKernel(int window, const std::vector<DampedSpan>& spans, const Stream& stream);

    /// @param tables  for the windows that need the canonical sum; in device memory.
    /// @param taken   a 0 in device memory: the tiles that were begun.
    void launch(const DeviceChunk& chunk, std::uint64_t outputs, const sep::TableView& tables,
                const TileColumns& columns, LeftTiles left, std::uint32_t* taken,
                cudaStream_t stream) const;

private:
    TileTables tables_;
    DeviceArray<TileCount> counts_;
    DeviceArray<double> doubles_;
    DeviceArray<float> chunk_sums_;
    DeviceArray<TileRow> rows_;
    DeviceArray<TileTail> tails_;
    int processors_ = 0;
    int block_size_ = 0;
};

}  // namespace sep::cuda
