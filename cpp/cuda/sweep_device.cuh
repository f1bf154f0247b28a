#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "../src/window_tables.hpp"
#include "device.cuh"
#include "sep/sweep.hpp"
#include "sep/sweep_queue.hpp"
#include "sweep_rules.cuh"
#include "sweep_walk.cuh"

/// What a sweep holds on a device and brings back from it.
namespace sep::cuda {

// Figures come home launch by launch; a few launches at a time keep the device busy to the end of
// each.
constexpr std::size_t launch_rules_max = std::size_t{1} << 15;
constexpr int launches = 4;

template <class T>
std::span<const T> view(const std::vector<T>& values) {
    return values;
}

/// Host memory that the device copies to and from without a stop.
template <class T>
class PinnedArray {
public:
    explicit PinnedArray(std::size_t size) {
        check(cudaMallocHost(&data_, std::max<std::size_t>(1, size) * sizeof(T)), "cudaMallocHost");
    }
    ~PinnedArray() { cudaFreeHost(data_); }
    PinnedArray(const PinnedArray&) = delete;
    PinnedArray& operator=(const PinnedArray&) = delete;
    T* get() const { return data_; }

private:
    T* data_ = nullptr;
};

/// The tables of windows on the device, made when they are first asked for, on whatever thread.
class Windows {
public:
    explicit Windows(const Stream& stream)
        : stream_(stream),
          g_(std::span<const double>(tables().g), stream),
          rows_(std::span<const DampedRow>(tables().rows), stream),
          row_of_(std::span<const std::uint8_t>(tables().row_of), stream) {}

    TableView of(const WindowSpec& spec) {
        const bool with_path = (spec.groups & group_path) != 0;
        const std::lock_guard lock(guard_);
        std::unique_ptr<Window>& window = windows_[{spec.window, with_path}];
        if (!window) {
            const WindowTables host(spec.window, with_path);
            window = std::make_unique<Window>(host, stream_);
            stream_.wait();  // `host` goes away
        }
        return {g_.get(),
                tables().log2_3,
                rows_.get(),
                row_of_.get(),
                window->spans.get(),
                window->decays.get(),
                window->decays_first.get(),
                window->templates.get()};
    }

private:
    struct Window {
        Window(const WindowTables& host, const Stream& stream)
            : spans(view(host.spans), stream),
              decays(view(host.decays), stream),
              decays_first(view(host.decays_first), stream),
              templates(view(host.templates), stream) {}
        DeviceArray<DampedSpan> spans;
        DeviceArray<double> decays;
        DeviceArray<std::uint32_t> decays_first;
        DeviceArray<double> templates;
    };

    const Stream& stream_;
    DeviceArray<double> g_;
    DeviceArray<DampedRow> rows_;
    DeviceArray<std::uint8_t> row_of_;
    std::mutex guard_;
    std::map<std::pair<int, bool>, std::unique_ptr<Window>> windows_;
};

/// The features of a plan and their predicates, as kernels take them.
struct Features {
    std::vector<Feature> features;
    std::vector<Predicate> predicates;

    Features(const Plan& plan, Windows& windows) {
        std::int32_t errors = 0;
        for (std::size_t i = 0; i < plan.features.size(); ++i) {
            const auto& [encoding, spec] = plan.features[i];
            const bool predicts = (spec.groups & group_qbsa) != 0;
            features.push_back(
                {spec, windows.of(spec), encoding, static_cast<std::int32_t>(predicates.size()),
                 static_cast<std::int32_t>(plan.predicates[i].size()), predicts ? errors++ : -1});
            predicates.insert(predicates.end(), plan.predicates[i].begin(),
                              plan.predicates[i].end());
        }
    }
};

/// What is freed on a device stays with it while this lives: bringing memory in costs more than
/// many a call.
class KeptMemory {
public:
    explicit KeptMemory(int device) {
        check(cudaDeviceGetDefaultMemPool(&pool_, device), "cudaDeviceGetDefaultMemPool");
        keep(UINT64_MAX);
    }
    ~KeptMemory() {
        std::uint64_t nothing = 0;
        cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &nothing);
        cudaMemPoolTrimTo(pool_, 0);
    }
    KeptMemory(const KeptMemory&) = delete;
    KeptMemory& operator=(const KeptMemory&) = delete;

    /// Bytes that can be taken on the current device.
    double free_bytes() const {
        std::size_t free = 0;
        std::size_t total = 0;
        check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
        std::uint64_t reserved = 0;
        std::uint64_t used = 0;
        check(cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrReservedMemCurrent, &reserved),
              "cudaMemPoolGetAttribute");
        check(cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrUsedMemCurrent, &used),
              "cudaMemPoolGetAttribute");
        return static_cast<double>(free) + static_cast<double>(reserved - used);
    }
    /// Give back what is not in use.
    void trim() const { check(cudaMemPoolTrimTo(pool_, 0), "cudaMemPoolTrimTo"); }

private:
    void keep(std::uint64_t bytes) const {
        check(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &bytes),
              "cudaMemPoolSetAttribute");
    }
    cudaMemPool_t pool_ = nullptr;
};

/// The device that calls on this thread go to, for the time of a scope.
class OnDevice {
public:
    explicit OnDevice(int device) {
        check(cudaGetDevice(&before_), "cudaGetDevice");
        check(cudaSetDevice(device), "cudaSetDevice");
    }
    ~OnDevice() { cudaSetDevice(before_); }
    OnDevice(const OnDevice&) = delete;
    OnDevice& operator=(const OnDevice&) = delete;

private:
    int before_ = 0;
};

/// How a stop reaches kernels that run.
///
/// A copy to the device would not do: a device has eight queues for all streams of a process, and
/// waits in one behind what another stream has put there. Measured on two H200: up to 476 ms behind
/// kernels that should have ended.
class StopWord {
public:
    explicit StopWord(const Stream& stream) : asked_(1), heard_(1, stream) { clear(stream); }

    StopSignal signal() const { return {asked_.get(), heard_.get()}; }

    /// Let kernels to come on `stream`, or after it, begin.
    void clear(const Stream& stream) {
        ask(0);
        check(cudaMemsetAsync(heard_.get(), 0, sizeof(StopHeard), stream.get()), "cudaMemsetAsync");
    }

    /// Wait for a stream; when `stop` says so its kernels end early.
    void wait(const Stream& stream, const StopFlag& stop) {
        constexpr std::chrono::microseconds between_questions{100};
        for (;;) {
            const cudaError_t status = cudaStreamQuery(stream.get());
            if (status != cudaErrorNotReady) {
                check(status, "cudaStreamQuery");
                return;
            }
            if (stop.stopped()) ask(1);
            std::this_thread::sleep_for(between_questions);
        }
    }

private:
    void ask(int value) {
        std::atomic_ref<int>(*asked_.get()).store(value, std::memory_order_release);
    }

    PinnedArray<int> asked_;
    DeviceArray<StopHeard> heard_;
};

/// Figures of a block of rules that stay on the device but for the best.
class Choosing {
public:
    /// For blocks of at most `size` rules.
    Choosing(std::size_t size, const Stream& stream)
        : size_(size),
          stream_(stream),
          figures_(size, stream),
          statistics_(size, stream),
          host_(size) {}

    std::size_t size() const { return size_; }
    /// Where the walks write, rule by rule.
    SweepFigures* figures() const { return figures_.get(); }

    /// The best of the first `count` rules. Whoever wrote them has ended.
    ChosenRules chosen(std::size_t count, const Choice& choice) {
        constexpr unsigned threads = 256;
        const auto blocks = [](std::size_t all) {
            return static_cast<unsigned>((all + threads - 1) / threads);
        };
        statistic_kernel<<<blocks(count), threads, 0, stream_.get()>>>(
            figures_.get(), static_cast<std::int32_t>(count), choice, statistics_.get());
        check(cudaGetLastError(), "statistic_kernel");
        copy_to_host(host_.get(), statistics_.get(), count * sizeof(double), stream_);
        stream_.wait();
        ChosenRules best;
        best.places =
            best_places(count, choice.count, [&](std::size_t i) { return host_.get()[i]; });
        best.figures.resize(best.places.size());
        if (best.places.empty()) return best;
        const DeviceArray<std::int64_t> places(view(std::as_const(best.places)), stream_);
        const DeviceArray<SweepFigures> found(best.places.size(), stream_);
        chosen_kernel<<<blocks(best.places.size()), threads, 0, stream_.get()>>>(
            figures_.get(), places.get(), static_cast<std::int32_t>(best.places.size()),
            found.get());
        check(cudaGetLastError(), "chosen_kernel");
        copy_to_host(best.figures.data(), found.get(), best.figures.size() * sizeof(SweepFigures),
                     stream_);
        stream_.wait();
        return best;
    }

private:
    std::size_t size_;
    const Stream& stream_;
    DeviceArray<SweepFigures> figures_;
    DeviceArray<double> statistics_;
    PinnedArray<double> host_;
};

/// Launches in flight, and the way of their figures to the caller's list.
class Returns {
public:
    explicit Returns(std::size_t size) : size_(size) {
        for (int i = 0; i < launches; ++i) slots_.push_back(std::make_unique<Slot>(size));
    }

    /// Figures of one launch, at the most.
    std::size_t size() const { return size_; }

    /// Where the next launch may write, on `stream()`; `out` gets what was there.
    SweepFigures* next(std::span<SweepFigures> out, StopWord& word, const StopFlag& stop) {
        next();
        slots_[current_]->empty(out, word, stop);
        return slots_[current_]->device.get();
    }
    /// A launch that brings nothing home is on `stream()`.
    void next() { current_ = (current_ + 1) % slots_.size(); }
    const Stream& stream() const { return slots_[current_]->stream; }
    /// Bring home the figures of the launch, which wrote those of `rules` in order.
    void fetch(std::span<const WalkRule> rules) {
        Slot& slot = *slots_[current_];
        slot.rules = rules;
        copy_to_host(slot.host.get(), slot.device.get(), rules.size() * sizeof(SweepFigures),
                     slot.stream);
    }
    void finish(std::span<SweepFigures> out, StopWord& word, const StopFlag& stop) {
        for (const auto& slot : slots_) {
            word.wait(slot->stream, stop);
            slot->empty(out, word, stop);
        }
    }
    /// Forget what a call that failed left.
    void clear() {
        for (const auto& slot : slots_) {
            cudaStreamSynchronize(slot->stream.get());
            slot->rules = {};
        }
    }

private:
    struct Slot {
        explicit Slot(std::size_t size) : device(size, stream), host(size) {}
        void empty(std::span<SweepFigures> out, StopWord& word, const StopFlag& stop) {
            if (rules.empty()) return;
            word.wait(stream, stop);
            for (std::size_t i = 0; i < rules.size(); ++i) {
                out[static_cast<std::size_t>(rules[i].rule)] = host.get()[i];
            }
            rules = {};
        }
        Stream stream;
        DeviceArray<SweepFigures> device;
        PinnedArray<SweepFigures> host;
        std::span<const WalkRule> rules;
    };

    std::size_t size_;
    std::vector<std::unique_ptr<Slot>> slots_;
    std::size_t current_ = 0;
};

}  // namespace sep::cuda
