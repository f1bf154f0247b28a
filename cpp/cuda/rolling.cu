#include <algorithm>
#include <array>
#include <vector>

#include "../src/backends.hpp"
#include "device.cuh"

namespace sep::cuda {
namespace {

constexpr int block_size = 256;
constexpr int column_count = window_metric_count + 1;  // the metrics, then flat_ratio

using Words = std::span<const std::uint64_t>;

/// Where the kernel writes; a column that is not wanted has no data.
struct DeviceColumns {
    Column column[column_count];
    std::uint8_t* complete;
};

// Thread t computes output t of the chunk.
__global__ void rolling_kernel(Chunk chunk, const std::uint64_t* bits_before_word, WindowSpec spec,
                               TableView view, std::uint64_t outputs, DeviceColumns out) {
    const std::uint64_t t = blockIdx.x * static_cast<std::uint64_t>(blockDim.x) + threadIdx.x;
    if (t >= outputs) return;
    const std::uint64_t k = chunk.first_output() + t * chunk.stride;
    const std::uint64_t up_to_k = ~std::uint64_t{0} >> (63 - k % 64);
    const std::uint64_t bits = bits_before_word[k / 64] + ones(chunk.emitted[k / 64] & up_to_k);

    bool complete = false;
    const WindowMetrics metrics =
        window_metrics(chunk.bits.before(bits), chunk.joined.before(bits),
                       chunk.errors.before(bits), bits, spec, view, complete);
    const MetricValues values = values_of(metrics);
    for (int i = 0; i < window_metric_count; ++i) {
        if (out.column[i]) out.column[i].store(t, values.value[i]);
    }
    const Column& flat_column = out.column[window_metric_count];
    if (flat_column) {
        const std::uint64_t price = chunk.prices_before + k;
        flat_column.store(t, flat_ratio(chunk.flat.before(price + 1), price, spec.window));
    }
    if (out.complete != nullptr) out.complete[t] = complete;
}

/// Bits of the series before each 64 prices of the chunk.
std::vector<std::uint64_t> count_bits_before(const Chunk& chunk) {
    std::vector<std::uint64_t> before(word_count(chunk.prices));
    std::uint64_t sum = chunk.bits_before;
    for (std::size_t i = 0; i < before.size(); ++i) {
        before[i] = sum;
        sum += ones(chunk.emitted[i]);
    }
    return before;
}

/// The words of a series that hold its first `size` bits.
Words words_of(const Chunk::Series& series, std::uint64_t size) {
    return {series.words, series.words == nullptr ? 0 : word_count(size - series.forgotten)};
}

class Rolling final : public RollingBackend {
public:
    explicit Rolling(const WindowSpec& spec)
        : spec_(spec),
          tables_(spec.window, spec.groups & group_path),
          g_(std::span<const double>(tables().g), stream_),
          rows_(std::span<const DampedRow>(tables().rows), stream_),
          row_of_(std::span<const std::uint8_t>(tables().row_of), stream_),
          spans_(std::span<const DampedSpan>(tables_.spans), stream_),
          decays_(std::span<const double>(tables_.decays), stream_),
          decays_first_(std::span<const std::uint32_t>(tables_.decays_first), stream_),
          templates_(std::span<const double>(tables_.templates), stream_) {}

    void run(const Chunk& chunk, const RollingOutputs& out) override {
        const std::uint64_t outputs = chunk.outputs();
        if (outputs == 0) return;
        const std::vector<std::uint64_t> host_before = count_bits_before(chunk);
        std::uint64_t size = chunk.bits_before;
        for (const std::uint64_t word : Words(chunk.emitted, host_before.size()))
            size += ones(word);
        // Bits that are set beyond the chunk's prices in its last word are no bits of the series.
        if (chunk.prices % 64 != 0) {
            size -= ones(chunk.emitted[chunk.prices / 64] >> (chunk.prices % 64));
        }

        const DeviceArray<std::uint64_t> bits(words_of(chunk.bits, size), stream_);
        const DeviceArray<std::uint64_t> joined(words_of(chunk.joined, size), stream_);
        const DeviceArray<std::uint64_t> errors(words_of(chunk.errors, size), stream_);
        const DeviceArray<std::uint64_t> flat(
            words_of(chunk.flat, chunk.prices_before + chunk.prices), stream_);
        const DeviceArray<std::uint64_t> emitted(Words(chunk.emitted, host_before.size()), stream_);
        const DeviceArray<std::uint64_t> before(Words(host_before), stream_);
        Chunk on_device = chunk;
        on_device.bits.words = bits.get();
        on_device.joined.words = joined.get();
        on_device.errors.words = errors.get();
        on_device.flat.words = flat.get();
        on_device.emitted = emitted.get();

        std::array<Column, column_count> host{};
        std::copy(out.metrics.begin(), out.metrics.end(), host.begin());
        host[window_metric_count] = out.flat_ratio;
        const DeviceArray<double> values(column_count * outputs, stream_);
        const DeviceArray<std::uint8_t> complete(outputs, stream_);
        DeviceColumns columns{};
        for (int i = 0; i < column_count; ++i) {
            if (host[i]) columns.column[i] = {values.get() + i * outputs, host[i].single};
        }
        columns.complete = complete.get();

        const TableView view{g_.get(),     tables().log2_3, rows_.get(),         row_of_.get(),
                             spans_.get(), decays_.get(),   decays_first_.get(), templates_.get()};
        const auto blocks = static_cast<unsigned>((outputs + block_size - 1) / block_size);
        rolling_kernel<<<blocks, block_size, 0, stream_.get()>>>(on_device, before.get(), spec_,
                                                                 view, outputs, columns);
        check(cudaGetLastError(), "rolling_kernel");
        for (int i = 0; i < column_count; ++i) {
            if (!host[i]) continue;
            const std::size_t size_bytes =
                outputs * (host[i].single ? sizeof(float) : sizeof(double));
            copy_to_host(host[i].data, columns.column[i].data, size_bytes, stream_);
        }
        if (out.complete != nullptr) copy_to_host(out.complete, complete.get(), outputs, stream_);
        stream_.wait();
    }

private:
    WindowSpec spec_;
    WindowTables tables_;
    Stream stream_;
    DeviceArray<double> g_;
    DeviceArray<DampedRow> rows_;
    DeviceArray<std::uint8_t> row_of_;
    DeviceArray<DampedSpan> spans_;
    DeviceArray<double> decays_;
    DeviceArray<std::uint32_t> decays_first_;
    DeviceArray<double> templates_;
};

}  // namespace

std::unique_ptr<RollingBackend> make_rolling(const WindowSpec& spec) {
    return std::make_unique<Rolling>(spec);
}

}  // namespace sep::cuda
