#include <algorithm>

#include "rolling_kernels.cuh"

namespace sep::cuda {
namespace {

constexpr int block_size = tile_outputs;
constexpr int blocks_per_processor = 8;

/// What the plain kernel computes.
struct PlainOutputs {
    Column metric[window_metric_count];
    Column flat_ratio;
    std::uint8_t* complete;
    bool any;  ///< a metric or `complete` is wanted
};

__host__ __device__ std::uint64_t tile_count(std::uint64_t outputs) {
    return (outputs + tile_outputs - 1) / tile_outputs;
}

// A block computes one tile after the other; of all tiles, or of those that the tile kernel left.
__global__ void plain_kernel(DeviceChunk on_device, WindowSpec spec, TableView view,
                             std::uint64_t outputs, const PlainOutputs out, const LeftTiles left) {
    const Chunk& chunk = on_device.chunk;
    const std::uint64_t tiles = left.count != nullptr ? *left.count : tile_count(outputs);
    for (std::uint64_t i = blockIdx.x; i < tiles; i += gridDim.x) {
        const std::uint64_t tile = left.count != nullptr ? left.tiles[i] : i;
        const std::uint64_t t = tile * tile_outputs + threadIdx.x;
        if (t >= outputs) continue;
        const std::uint64_t k = chunk.first_output() + t * chunk.stride;
        if (out.any) {
            const std::uint64_t bits = on_device.bits_at(k);
            bool complete = false;
            const WindowMetrics metrics =
                window_metrics(chunk.bits.before(bits), chunk.joined.before(bits),
                               chunk.errors.before(bits), bits, spec, view, complete);
            const MetricValues values = values_of(metrics);
#pragma unroll
            for (int m = 0; m < window_metric_count; ++m) {
                if (out.metric[m]) out.metric[m].store(t, values.value[m]);
            }
            if (out.complete != nullptr) out.complete[t] = complete;
        }
        if (out.flat_ratio) {
            const std::uint64_t price = chunk.prices_before + k;
            out.flat_ratio.store(t, flat_ratio(chunk.flat.before(price + 1), price, spec.window));
        }
    }
}

constexpr unsigned group_of(int metric) {
    if (metric < 8) return group_counts;
    if (metric < 11) return group_damped;
    if (metric < 13) return group_path;
    if (metric < 16) return group_qbsa;
    return group_collapse;
}

bool aligned(const Column& column) {
    return reinterpret_cast<std::uintptr_t>(column.data) % 16 == 0;
}

}  // namespace

RollingKernels::RollingKernels(const WindowSpec& spec, const Stream& stream)
    : spec_(spec),
      tables_(spec.window, spec.groups & group_path),
      g_(std::span<const double>(tables().g), stream),
      rows_(std::span<const DampedRow>(tables().rows), stream),
      row_of_(std::span<const std::uint8_t>(tables().row_of), stream),
      spans_(std::span<const DampedSpan>(tables_.spans), stream),
      decays_(std::span<const double>(tables_.decays), stream),
      decays_first_(std::span<const std::uint32_t>(tables_.decays_first), stream),
      templates_(std::span<const double>(tables_.templates), stream),
      processors_(processors()) {
    if (spec.window >= tile_window_min && TileKernel::fits(spec.window))
        tiles_.emplace(spec.window, tables_.spans, stream);
}

TableView RollingKernels::view() const {
    return {g_.get(),     tables().log2_3, rows_.get(),         row_of_.get(),
            spans_.get(), decays_.get(),   decays_first_.get(), templates_.get()};
}

void RollingKernels::launch(const DeviceChunk& chunk, std::uint64_t outputs,
                            const RollingOutputs& out, const Stream& stream) const {
    if (outputs == 0) return;
    const std::uint64_t tiles = tile_count(outputs);
    const auto plain = [&](const RollingOutputs& wanted, LeftTiles left) {
        WindowSpec spec = spec_;
        spec.groups = 0;
        PlainOutputs columns{{}, wanted.flat_ratio, wanted.complete, wanted.complete != nullptr};
        for (int m = 0; m < window_metric_count; ++m) {
            columns.metric[m] = wanted.metrics[m];
            if (!wanted.metrics[m]) continue;
            spec.groups |= group_of(m);
            columns.any = true;
        }
        if (!columns.any && !wanted.flat_ratio) return;
        const auto blocks = static_cast<unsigned>(std::min<std::uint64_t>(
            tiles, static_cast<std::uint64_t>(processors_) * blocks_per_processor));
        plain_kernel<<<blocks, block_size, 0, stream.get()>>>(chunk, spec, view(), outputs, columns,
                                                              left);
        check(cudaGetLastError(), "plain_kernel");
    };

    // The tile kernel takes the float32 columns that it knows; the plain kernel takes the others,
    // and in the tiles that are left also those.
    RollingOutputs rest = out;
    RollingOutputs tiled;
    TileColumns columns{};
    bool any = false;
    const bool tile_by_tile = tiles_ && chunk.chunk.stride == 1;
    for (int m = 0; tile_by_tile && m < tile_column_count; ++m) {
        if (!out.metrics[m] || !out.metrics[m].single || !aligned(out.metrics[m])) continue;
        columns.column[m] = static_cast<float*>(out.metrics[m].data);
        std::swap(tiled.metrics[m], rest.metrics[m]);
        any = true;
    }
    if (any) {
        std::swap(tiled.complete, rest.complete);
        columns.complete = tiled.complete;
        // Tiles taken, tiles left, and which.
        const DeviceArray<std::uint32_t> words(2 + tiles, stream);
        check(cudaMemsetAsync(words.get(), 0, 2 * sizeof(std::uint32_t), stream.get()),
              "cudaMemsetAsync");
        const LeftTiles list{words.get() + 1, words.get() + 2};
        tiles_->launch(chunk, outputs, view(), columns, list, words.get(), stream.get());
        plain(tiled, list);
    }
    plain(rest, {});
}

}  // namespace sep::cuda
