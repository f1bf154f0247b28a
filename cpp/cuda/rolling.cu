#include <algorithm>
#include <array>
#include <vector>

#include "../src/backends.hpp"
#include "device.cuh"

namespace sep::cuda {
namespace {

constexpr int block_size = 256;
// 2^20 prices hold the device's share of a call below 128 MB: 12 outputs of 8 bytes and a flag
// each.
constexpr std::size_t chunk_prices = std::size_t{1} << 20;
constexpr int output_count = window_metric_count + 1;  // the metrics, then flat_ratio

struct Series {
    const std::uint64_t* bits;
    const std::uint64_t* joined;
    const std::uint64_t* emitted;
    const std::uint64_t* flat;
    const std::uint64_t* bits_before;  // per 64 prices: bits given by the prices before them
};

// Thread t computes price first + t.
__global__ void rolling_kernel(Series series, TableView view, int window, std::uint64_t first,
                               std::uint64_t count, double* values, std::uint8_t* complete_out) {
    const std::uint64_t t = blockIdx.x * static_cast<std::uint64_t>(blockDim.x) + threadIdx.x;
    if (t >= count) return;
    const std::uint64_t k = first + t;
    const std::uint64_t up_to_k = ~std::uint64_t{0} >> (63 - k % 64);
    const std::uint64_t end = series.bits_before[k / 64] + ones(series.emitted[k / 64] & up_to_k);

    bool complete = false;
    const WindowMetrics metrics = window_metrics(
        BitsBefore{series.bits, end}, BitsBefore{series.joined, end}, end, window, view, complete);
    const MetricValues metric = values_of(metrics);
    for (int i = 0; i < window_metric_count; ++i) values[i * count + t] = metric.value[i];
    values[window_metric_count * count + t] =
        k >= static_cast<std::uint64_t>(window)
            ? count_ones(BitsBefore{series.flat, k + 1}, window) / static_cast<double>(window)
            : not_a_number();
    complete_out[t] = complete;
}

std::vector<std::uint64_t> count_bits_before(const Encoded& encoded) {
    std::vector<std::uint64_t> before(encoded.emitted.size());
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
        before[i] = sum;
        sum += ones(encoded.emitted[i]);
    }
    return before;
}

}  // namespace

void rolling(const Encoded& encoded, int window, const RollingOutputs& out) {
    if (encoded.prices == 0) return;
    const Tables& t = tables();
    const std::vector<DampedSpan> host_spans = damped_spans(window);
    const std::vector<std::uint64_t> host_before = count_bits_before(encoded);

    const Stream stream;
    const DeviceArray<double> g(std::span<const double>(t.g), stream);
    const DeviceArray<DampedRow> rows(std::span<const DampedRow>(t.rows), stream);
    const DeviceArray<std::uint8_t> row_of(std::span<const std::uint8_t>(t.row_of), stream);
    const DeviceArray<DampedSpan> spans(std::span<const DampedSpan>(host_spans), stream);
    const TableView view{g.get(), t.log2_3, rows.get(), row_of.get(), spans.get()};

    using Words = std::span<const std::uint64_t>;
    const DeviceArray<std::uint64_t> bits(Words(encoded.series.bits), stream);
    const DeviceArray<std::uint64_t> joined(Words(encoded.series.joined), stream);
    const DeviceArray<std::uint64_t> emitted(Words(encoded.emitted), stream);
    const DeviceArray<std::uint64_t> flat(Words(encoded.flat), stream);
    const DeviceArray<std::uint64_t> before(Words(host_before), stream);
    const Series series{bits.get(), joined.get(), emitted.get(), flat.get(), before.get()};

    std::array<double*, output_count> host{};
    std::copy(out.metrics.begin(), out.metrics.end(), host.begin());
    host[window_metric_count] = out.flat_ratio;

    const std::size_t chunk = std::min(chunk_prices, encoded.prices);
    const DeviceArray<double> values(output_count * chunk, stream);
    const DeviceArray<std::uint8_t> complete(chunk, stream);
    for (std::size_t first = 0; first < encoded.prices; first += chunk) {
        const std::size_t count = std::min(chunk, encoded.prices - first);
        const auto blocks = static_cast<unsigned>((count + block_size - 1) / block_size);
        rolling_kernel<<<blocks, block_size, 0, stream.get()>>>(series, view, window, first, count,
                                                                values.get(), complete.get());
        check(cudaGetLastError(), "rolling_kernel");
        for (int i = 0; i < output_count; ++i) {
            if (host[i] != nullptr) values.copy_to(host[i] + first, i * count, count);
        }
        if (out.complete != nullptr) complete.copy_to(out.complete + first, 0, count);
    }
    stream.wait();
}

}  // namespace sep::cuda
