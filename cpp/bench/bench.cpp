// What the engine does in a second, in C++. Items are windows, updates or prices; python/benchmarks
// reads the figures by name and sets them beside each other.
#include <benchmark/benchmark.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "backends.hpp"
#include "sep/errors.hpp"
#include "sep/legacy.hpp"
#include "sep/stream.hpp"
#include "simd/kernels.hpp"

namespace sep {
namespace {

constexpr std::size_t windows = std::size_t{1} << 22;
constexpr std::size_t windows_scalar = std::size_t{1} << 18;  // the reference takes its time
constexpr std::size_t outputs = 10;  // the count metrics, lambda and damped: 40 bytes a window
constexpr double tick = 1e-5;

const std::vector<std::uint8_t>& coin() {
    static const std::vector<std::uint8_t> bits = [] {
        std::mt19937_64 engine(1);
        std::vector<std::uint8_t> made(windows);
        for (auto& bit : made) bit = engine() >> 63;
        return made;
    }();
    return bits;
}

std::vector<double> walk(std::size_t size, std::uint64_t seed) {
    std::mt19937_64 engine(seed);
    std::vector<double> prices;
    double ticks = 110'000;
    for (std::size_t i = 0; i < size; ++i) {
        ticks += static_cast<double>(engine() % 5) - 2;
        prices.push_back(ticks * tick);
    }
    return prices;
}

RollingSpec spec_of(int window) {
    RollingSpec spec;
    spec.window.window = window;
    spec.tick = tick;
    return spec;
}

enum class Pages { large, small };

/// Memory as a fresh array has it: pages come at the first write. Large ones, if the system grants
/// them, as NumPy asks for too; or small ones, as malloc and std::vector give them.
template <class T>
class Fresh {
public:
    explicit Fresh(Pages pages = Pages::large)
        : data_(static_cast<T*>(std::aligned_alloc(alignment, size_bytes))) {
        if (data_ == nullptr) throw std::bad_alloc();
#ifdef __linux__
        const bool large = pages == Pages::large;
        madvise(data_.get(), size_bytes, large ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#else
        static_cast<void>(pages);
#endif
    }
    T* data() const { return data_.get(); }
    /// Write every page, so that the memory is no longer fresh.
    void warm() const { std::fill_n(data_.get(), windows, T{1}); }

private:
    static constexpr std::size_t alignment = std::size_t{1} << 21;
    static constexpr std::size_t size_bytes = windows * sizeof(T);
    struct Free {
        void operator()(T* memory) const { std::free(memory); }
    };
    std::unique_ptr<T[], Free> data_;
};

std::vector<Fresh<float>> fresh_columns(Pages pages) {
    std::vector<Fresh<float>> columns;
    for (std::size_t m = 0; m < outputs; ++m) columns.emplace_back(pages);
    return columns;
}

template <class T>
RollingOutputs outputs_in(const std::vector<Fresh<T>>& columns) {
    RollingOutputs out;
    for (std::size_t m = 0; m < columns.size(); ++m) {
        out.metrics[m] = {columns[m].data(), sizeof(T) == sizeof(float)};
    }
    return out;
}

void count_items(benchmark::State& state, std::size_t items) {
    state.SetItemsProcessed(static_cast<std::int64_t>(items) * state.iterations());
}

template <class T>
void rolling_warm(benchmark::State& state, Backend backend, int window, int threads) {
    const std::vector<Fresh<T>> columns(outputs);
    for (const Fresh<T>& column : columns) column.warm();
    const RollingOutputs out = outputs_in(columns);
    const std::size_t count = backend == Backend::scalar ? windows_scalar : windows;
    for (auto _ : state) {
        Roller roller(spec_of(window), backend, threads);
        roller.take_bits(std::span(coin()).first(count), {}, out);
    }
    count_items(state, count);
}

void rolling_fresh(benchmark::State& state, int window, Pages pages) {
    for (auto _ : state) {
        const std::vector<Fresh<float>> columns = fresh_columns(pages);
        Roller roller(spec_of(window), Backend::simd, 1);
        roller.take_bits(coin(), {}, outputs_in(columns));
    }
    count_items(state, windows);
}

void store_only(benchmark::State& state, bool fresh, Pages pages) {
    std::vector<Fresh<float>> columns = fresh_columns(pages);
    for (const Fresh<float>& column : columns) column.warm();
    for (auto _ : state) {
        if (fresh) {
            columns.clear();
            columns = fresh_columns(pages);
        }
        for (const Fresh<float>& column : columns) {
            std::fill_n(column.data(), windows, 1.0F);
            benchmark::DoNotOptimize(column.data());
            benchmark::ClobberMemory();
        }
    }
    count_items(state, windows);
}

void rolling_prices(benchmark::State& state) {
    const std::vector<double> prices = walk(windows, 3);
    const std::vector<Fresh<float>> columns(outputs);
    for (const Fresh<float>& column : columns) column.warm();
    const RollingOutputs out = outputs_in(columns);
    for (auto _ : state) {
        Roller roller(spec_of(64), Backend::simd, 1);
        roller.take_prices(prices, {}, out);
    }
    count_items(state, windows);
}

/// Both analyses count the same states: what is timed beside each other gives the same shares.
bool same_shares(std::size_t window) {
    const std::span<const std::uint8_t> bits(coin());
    constexpr std::size_t count = 2'000;
    std::vector<float> flip(count);
    std::vector<float> rupture(count);
    RollingOutputs out;
    out.metrics[simd::flip_ratio] = {flip.data(), true};
    out.metrics[simd::rupture_ratio] = {rupture.data(), true};
    Roller roller(spec_of(static_cast<int>(window)), Backend::simd, 1);
    roller.take_bits(bits.first(count), {}, out);
    for (std::size_t end = window; end <= count; ++end) {
        const legacy::Analysis theirs = legacy::analyze(bits.subspan(end - window, window));
        if (std::abs(theirs.flip_ratio - flip[end - 1]) > 1e-6F ||
            std::abs(theirs.rupture_ratio - rupture[end - 1]) > 1e-6F) {
            return false;
        }
    }
    return true;
}

void published(benchmark::State& state, std::size_t window) {
    if (!same_shares(window)) {
        state.SkipWithError("the published analysis counts other states than rolling");
        return;
    }
    const std::span<const std::uint8_t> bits(coin());
    std::size_t first = 0;
    for (auto _ : state) {
        benchmark::DoNotOptimize(legacy::analyze(bits.subspan(first, window)));
        first = (first + 1) % 100'000;
    }
    count_items(state, 1);
}

void stream_update(benchmark::State& state, int window) {
    const std::vector<double> prices = walk(100'000, 4);
    Stream stream(spec_of(window));
    std::size_t i = 0;
    for (auto _ : state) {
        benchmark::DoNotOptimize(stream.update(prices[i], false).window.damped);
        i = (i + 1) % prices.size();
    }
    count_items(state, 1);
}

void bank_update(benchmark::State& state) {
    constexpr std::size_t size = 1'000;
    const std::vector<double> prices = walk(500 + size, 5);
    StreamBank bank(spec_of(64), std::vector<double>(size, tick));
    std::vector<std::vector<double>> columns(window_metric_count, std::vector<double>(size));
    RollingOutputs out;
    for (std::size_t m = 0; m < 11; ++m) out.metrics[m] = {columns[m].data(), false};
    std::size_t step = 0;
    for (auto _ : state) {
        bank.update(std::span(prices).subspan(step, size), {}, out);
        step = (step + 1) % 500;
    }
    count_items(state, 1);
}

benchmark::internal::Benchmark* timed(benchmark::internal::Benchmark* added) {
    return added->Unit(benchmark::kMicrosecond);
}

template <class... Arguments>
void add(const char* name, int window, Arguments... arguments) {
    std::string full(name);
    full.append(1, '/').append(std::to_string(window));
    timed(benchmark::RegisterBenchmark(full.c_str(), arguments...));
}

void add_all() {
    timed(benchmark::RegisterBenchmark("store_only/fresh", store_only, true, Pages::large));
    timed(benchmark::RegisterBenchmark("store_only/small", store_only, true, Pages::small));
    timed(benchmark::RegisterBenchmark("store_only/warm", store_only, false, Pages::large));
    for (const int window : {64, 256, 1024}) {
        add("published", window, published, static_cast<std::size_t>(window));
        add("rolling/scalar", window, rolling_warm<float>, Backend::scalar, window, 1);
        add("rolling/warm", window, rolling_warm<float>, Backend::simd, window, 1);
        add("rolling/fresh", window, rolling_fresh, window, Pages::large);
        add("rolling/small", window, rolling_fresh, window, Pages::small);
    }
    add("rolling/double", 64, rolling_warm<double>, Backend::simd, 64, 1);
    add("rolling/prices", 64, rolling_prices);
    add("stream/update", 64, stream_update, 64);
    add("stream/update", 1024, stream_update, 1024);
    add("stream/bank1000", 64, bank_update);
    // Several threads are timed by the clock on the wall, and so is the one they are set beside.
    for (const int threads : {1, 2, 4}) {
        for (const int window : {64, 256, 1024}) {
            const std::string name = std::string("threads")
                                         .append(std::to_string(threads))
                                         .append("/")
                                         .append(std::to_string(window));
            timed(benchmark::RegisterBenchmark(name.c_str(), rolling_warm<float>, Backend::simd,
                                               window, threads))
                ->UseRealTime();
        }
    }
}

}  // namespace
}  // namespace sep

int main(int argc, char** argv) {
    sep::add_all();
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
    benchmark::AddCustomContext("kernels", std::string(sep::simd::name_of(sep::simd::kernels())));
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
