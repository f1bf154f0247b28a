#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "../src/backends.hpp"
#include "device.cuh"
#include "rolling_kernels.cuh"

namespace sep::cuda {
namespace {

using Words = std::span<const std::uint64_t>;

// Fresh pages of the caller's arrays are the bottleneck: more than these add little.
constexpr unsigned copy_threads = 4;

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

/// Chunks in the memory of the host: their words go to the device, the results come back.
class RollingFromHost final : public RollingBackend {
public:
    explicit RollingFromHost(const WindowSpec& spec) : kernels_(spec, stream_) {}

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
        DeviceChunk on_device{chunk, before.get()};
        on_device.chunk.bits.words = bits.get();
        on_device.chunk.joined.words = joined.get();
        on_device.chunk.errors.words = errors.get();
        on_device.chunk.flat.words = flat.get();
        on_device.chunk.emitted = emitted.get();

        // Columns one after the other, each at a multiple of 16 bytes.
        std::size_t size_bytes = 0;
        const auto place = [&](std::size_t bytes) {
            const std::size_t at = size_bytes;
            size_bytes += (outputs * bytes + 15) / 16 * 16;
            return at;
        };
        std::array<std::size_t, window_metric_count + 1> at{};
        for (int i = 0; i <= window_metric_count; ++i) {
            const Column& column = column_of(out, i);
            if (column) at[i] = place(column.single ? sizeof(float) : sizeof(double));
        }
        const std::size_t complete_at = out.complete == nullptr ? 0 : place(1);
        const DeviceArray<std::byte> results(size_bytes, stream_);
        RollingOutputs to = out;
        for (int i = 0; i <= window_metric_count; ++i) {
            if (column_of(out, i)) column_of(to, i).data = results.get() + at[i];
        }
        if (out.complete != nullptr) {
            to.complete = reinterpret_cast<std::uint8_t*>(results.get() + complete_at);
        }
        kernels_.launch(on_device, outputs, to, stream_);
        std::vector<Part> parts;
        for (int i = 0; i <= window_metric_count; ++i) {
            const Column& column = column_of(out, i);
            if (!column) continue;
            const std::size_t size = outputs * (column.single ? sizeof(float) : sizeof(double));
            parts.push_back({column.data, at[i], size});
        }
        if (out.complete != nullptr) parts.push_back({out.complete, complete_at, outputs});
        if (std::exchange(is_first_, false)) {
            // Pinning memory takes longer than the one copy that it would save.
            for (const Part& part : parts) {
                copy_to_host(part.host, results.get() + part.at, part.size_bytes, stream_);
            }
            stream_.wait();
        } else {
            copy_staged(parts, results.get(), size_bytes);
        }
    }

private:
    static const Column& column_of(const RollingOutputs& out, int i) {
        return i < window_metric_count ? out.metrics[i] : out.flat_ratio;
    }
    static Column& column_of(RollingOutputs& out, int i) {
        return i < window_metric_count ? out.metrics[i] : out.flat_ratio;
    }

    /// A result: where it goes, and where it lies among the results on the device.
    struct Part {
        void* host;
        std::size_t at;
        std::size_t size_bytes;
    };

    /// Copy through pinned memory: threads hand parts on while the device sends later ones.
    void copy_staged(const std::vector<Part>& parts, const std::byte* results,
                     std::size_t size_bytes) {
        std::byte* const pinned = pinned_.at_least(size_bytes);
        while (sent_.size() < parts.size()) sent_.push_back(std::make_unique<Event>());
        for (std::size_t i = 0; i < parts.size(); ++i) {
            copy_to_host(pinned + parts[i].at, results + parts[i].at, parts[i].size_bytes, stream_);
            sent_[i]->record(stream_);
        }
        std::atomic<std::size_t> next = 0;
        std::atomic<cudaError_t> failed = cudaSuccess;
        const auto hand_on = [&] {
            for (std::size_t i = next++; i < parts.size(); i = next++) {
                const cudaError_t status = sent_[i]->wait();
                if (status != cudaSuccess) {
                    failed = status;
                    return;
                }
                std::memcpy(parts[i].host, pinned + parts[i].at, parts[i].size_bytes);
            }
        };
        {
            std::vector<std::jthread> workers;
            const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
            for (unsigned i = 1; i < std::min(cores, copy_threads); ++i) {
                workers.emplace_back(hand_on);
            }
            hand_on();
        }
        check(failed, "cudaEventSynchronize");
    }

    Stream stream_;
    RollingKernels kernels_;
    PinnedMemory pinned_;
    std::vector<std::unique_ptr<Event>> sent_;  ///< of each part
    bool is_first_ = true;
};

}  // namespace

std::unique_ptr<RollingBackend> make_rolling(const WindowSpec& spec) {
    return std::make_unique<RollingFromHost>(spec);
}

}  // namespace sep::cuda
