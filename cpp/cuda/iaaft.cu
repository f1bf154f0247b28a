#include <algorithm>
#include <cub/device/device_radix_sort.cuh>
#include <numeric>
#include <string>

#include "../src/butterflies.hpp"
#include "../src/simd/transforms.hpp"
#include "device.cuh"
#include "sep/iaaft.hpp"
#include "sep/sweep.hpp"

namespace sep::cuda {
namespace {

constexpr int threads = 256;
constexpr std::size_t shared_numbers_max = 8192;  // 128 KiB of a multiprocessor's 227
constexpr double batch_bytes = 2e9;
constexpr double worlds_max = 60'000;  // a row each in the second dimension of a grid
constexpr int lanes = static_cast<int>(simd::transform_lanes);

unsigned blocks_for(std::size_t work) {
    return static_cast<unsigned>((work + threads - 1) / threads);
}

class DeviceComplex {
public:
    DeviceComplex(const ComplexValues& values, const Stream& stream)
        : re_(std::span<const double>(values.re), stream),
          im_(std::span<const double>(values.im), stream) {}

    simd::ComplexView view() const { return {re_.get(), im_.get()}; }

private:
    DeviceArray<double> re_, im_;
};

__device__ inline Complex at(simd::ComplexView values, std::size_t i) {
    return {values.re[i], values.im[i]};
}

/// A group of transforms in shared memory; number i of transform v lies at i * step + v * apart.
struct Group {
    Complex* numbers;
    int count, length, step, apart;

    __device__ Complex& at(int i, int v) const { return numbers[i * step + v * apart]; }
};

/// The threads share the steps; neighbours take those that lie side by side.
template <bool back>
__device__ inline void quarters(const Group& x, int part, simd::ComplexView roots) {
    const int quarter = part / 4;
    for (int k = threadIdx.x; k < x.length / 4 * x.count; k += blockDim.x) {
        const bool across = x.step > 1;
        const int v = across ? k % x.count : k / (x.length / 4);
        const int place = across ? k / x.count : k % (x.length / 4);
        const int j = place % quarter;
        const int i = place / quarter * part + j;
        const int step = x.length / part * j;
        const Complex w1 = cuda::at(roots, step);
        const Complex w2 = cuda::at(roots, 2 * step);
        const Complex w3 = cuda::at(roots, 3 * step);
        Complex& a = x.at(i, v);
        Complex& b = x.at(i + quarter, v);
        Complex& c = x.at(i + 2 * quarter, v);
        Complex& d = x.at(i + 3 * quarter, v);
        back ? quarter_back(a, b, c, d, w1, w2, w3) : quarter_forward(a, b, c, d, w1, w2, w3);
    }
    __syncthreads();
}

__device__ inline void halves(const Group& x) {
    for (int k = threadIdx.x; k < x.length / 2 * x.count; k += blockDim.x) {
        const int v = k % x.count;
        const int i = k / x.count * 2;
        half_step(x.at(i, v), x.at(i + 1, v));
    }
    __syncthreads();
}

__device__ inline void forward(const Group& x, simd::ComplexView roots) {
    int part = x.length;
    for (; part >= 4; part /= 4) quarters<false>(x, part, roots);
    if (part == 2) halves(x);
}

__device__ inline void back(const Group& x, simd::ComplexView roots) {
    int part = 4;
    while (part < x.length) part *= 4;
    if (part != x.length) {  // twice a power of four
        halves(x);
        part = 8;
    } else {
        part = 4;
    }
    for (; part <= x.length; part *= 4) quarters<true>(x, part, roots);
}

/// World by world `length` numbers, and matrices row by row.
struct TransformArgs {
    simd::TransformView transform;
    Complex* numbers;
    Complex* matrix;
    int count;       ///< columns, or rows, of a block
    bool exchanged;  ///< real and imaginary parts of the numbers
};

__device__ inline Complex parts(Complex x, bool exchanged) {
    return exchanged ? Complex{x.im, x.re} : x;
}

// A block makes `count` columns of one world.
template <bool to_numbers>
__global__ void columns_kernel(TransformArgs a) {
    extern __shared__ Complex shared[];
    const simd::TransformView& t = a.transform;
    const int rows = static_cast<int>(t.rows);
    const std::size_t first = static_cast<std::size_t>(blockIdx.x) * a.count;
    Complex* const numbers = a.numbers + blockIdx.y * t.length;
    Complex* const matrix = a.matrix + blockIdx.y * t.rows * t.columns;
    const Group x{shared, a.count, rows, a.count, 1};
    const auto turn_of = [&](std::size_t row, std::size_t column) {
        return at(t.turns, column / lanes * t.rows * lanes + row * lanes + column % lanes);
    };
    for (int k = threadIdx.x; k < rows * a.count; k += blockDim.x) {
        const std::size_t row = k / a.count;
        const std::size_t column = first + k % a.count;
        const std::size_t i = row * t.columns + column;
        Complex value{0, 0};
        if (to_numbers) {
            value = matrix[i] * conj(turn_of(row, column));
        } else if (i < t.length) {
            value = parts(numbers[i], a.exchanged) * at(t.chirp, i);
        }
        shared[k] = value;
    }
    __syncthreads();
    to_numbers ? back(x, t.row_roots) : forward(x, t.row_roots);
    for (int k = threadIdx.x; k < rows * a.count; k += blockDim.x) {
        const std::size_t row = k / a.count;
        const std::size_t column = first + k % a.count;
        const std::size_t i = row * t.columns + column;
        if (!to_numbers) {
            matrix[i] = shared[k] * turn_of(row, column);
        } else if (i < t.length) {
            numbers[i] = parts(shared[k] * at(t.chirp, i), a.exchanged);
        }
    }
}

// A block makes `count` rows of one world.
__global__ void rows_kernel(TransformArgs a) {
    extern __shared__ Complex shared[];
    const simd::TransformView& t = a.transform;
    const int columns = static_cast<int>(t.columns);
    const std::size_t first = static_cast<std::size_t>(blockIdx.x) * a.count;
    Complex* const matrix = a.matrix + (blockIdx.y * t.rows + first) * t.columns;
    const Group x{shared, a.count, columns, 1, columns};
    for (int k = threadIdx.x; k < columns * a.count; k += blockDim.x) shared[k] = matrix[k];
    __syncthreads();
    forward(x, t.column_roots);
    for (int k = threadIdx.x; k < columns * a.count; k += blockDim.x) {
        const std::size_t row = first + k / columns;
        const std::size_t column = k % columns;
        shared[k] = shared[k] *
                    at(t.kernel, row / lanes * lanes * t.columns + column * lanes + row % lanes);
    }
    __syncthreads();
    back(x, t.column_roots);
    for (int k = threadIdx.x; k < columns * a.count; k += blockDim.x) matrix[k] = shared[k];
}

/// Worlds are places in a batch; `active` are those whose ranks have not settled.
struct RoundArgs {
    std::size_t size;    ///< of the series
    std::size_t length;  ///< of the transform
    bool even;
    const std::int32_t* active;
    const double* series;
    const std::int32_t* by_value;
    const double* amplitudes;
    simd::ComplexView half_roots;
    Complex* numbers;
    std::uint64_t* keys;
    std::uint32_t* places;  ///< among all values of the active worlds
    std::int32_t* order;
    std::int32_t* changed;  ///< by place in `active`
};

// A thread makes a number of the series in its order.
__global__ void gather_kernel(RoundArgs a) {
    const std::size_t j = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (j >= a.length) return;
    const std::int32_t* const order =
        a.order + static_cast<std::size_t>(a.active[blockIdx.y]) * a.size;
    Complex value{a.series[order[a.even ? 2 * j : j]], 0};
    if (a.even) value.im = a.series[order[2 * j + 1]];
    a.numbers[blockIdx.y * a.length + j] = value;
}

// A thread gives two frequencies of an even series, or one of an odd one, their amplitudes.
__global__ void shape_kernel(RoundArgs a) {
    const std::size_t k = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    Complex* const x = a.numbers + blockIdx.y * a.length;
    if (!a.even) {
        if (k < a.length) x[k] = sized(x[k], a.amplitudes[k]);
        return;
    }
    if (2 * k > a.length) return;
    if (k == 0) {
        const Complex none = sized({x[0].re + x[0].im, 0}, a.amplitudes[0]);
        const Complex all = sized({x[0].re - x[0].im, 0}, a.amplitudes[a.length]);
        x[0] = {none.re + all.re, none.re - all.re};
        return;
    }
    const Complex root = at(a.half_roots, k);
    Pair pair = pair_of(x[k], x[a.length - k], root);
    pair = {sized(pair.low, a.amplitudes[k]), sized(pair.high, a.amplitudes[a.length - k])};
    Complex low, high;
    unpair(pair, root, low, high);
    x[k] = low;
    x[a.length - k] = high;
}

/// In the order of the values; both zeros are one.
__device__ inline std::uint64_t key_of(double value) {
    const auto bits = static_cast<std::uint64_t>(__double_as_longlong(value == 0 ? 0.0 : value));
    return bits >> 63 ? ~bits : bits | std::uint64_t{1} << 63;
}

// A thread makes the key of a value.
__global__ void key_kernel(RoundArgs a) {
    const std::size_t i = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= a.size) return;
    const Complex x = a.numbers[blockIdx.y * a.length + (a.even ? i / 2 : i)];
    const std::size_t place = blockIdx.y * a.size + i;
    a.keys[place] = key_of(a.even && i % 2 == 1 ? x.im : x.re);
    a.places[place] = static_cast<std::uint32_t>(place);
}

// A thread makes the random number of a place in world `first` + its own.
__global__ void random_kernel(RoundArgs a, std::uint64_t seed, std::uint64_t first) {
    const std::size_t i = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= a.size) return;
    const std::size_t place = blockIdx.y * a.size + i;
    a.keys[place] = surrogate_word(seed, first + blockIdx.y, i) >> 11;
    a.places[place] = static_cast<std::uint32_t>(place);
}

// A thread names the world of a value.
__global__ void world_kernel(const std::uint32_t* places, std::uint64_t* keys, std::size_t size,
                             std::size_t all) {
    const std::size_t i = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < all) keys[i] = places[i] / size;
}

// A thread gives the value of a rank its place. `random`: the ranks are the first order.
__global__ void rank_kernel(RoundArgs a, bool random) {
    const std::size_t i = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= a.size) return;
    const std::size_t begin = blockIdx.y * a.size;
    const std::size_t place = a.places[begin + i] - begin;
    std::int32_t* const order = a.order + static_cast<std::size_t>(a.active[blockIdx.y]) * a.size;
    if (random) {
        order[i] = static_cast<std::int32_t>(place);
        return;
    }
    const std::int32_t value = a.by_value[i];
    if (order[place] == value) return;
    order[place] = value;
    a.changed[blockIdx.y] = 1;
}

/// Surrogates of one series on the current device, a batch at a time.
class Batches {
public:
    explicit Batches(const Iaaft& of)
        : of_(of),
          size_(of.series().size()),
          series_(std::span<const double>(of.series()), stream_),
          by_value_(std::span<const std::int32_t>(of.by_value()), stream_),
          amplitudes_(std::span<const double>(of.amplitudes()), stream_),
          half_roots_(of.half_roots(), stream_),
          chirp_(of.transform().chirp, stream_),
          row_roots_(of.transform().row_roots, stream_),
          column_roots_(of.transform().column_roots, stream_),
          turns_(of.transform().turns, stream_),
          kernel_(of.transform().kernel, stream_) {
        const Iaaft::Transform& t = of.transform();
        transform_ = {t.length,          t.rows,
                      t.columns,         chirp_.view(),
                      row_roots_.view(), column_roots_.view(),
                      turns_.view(),     kernel_.view()};
        const auto wide = static_cast<int>(std::max(t.rows, t.columns) * sizeof(Complex));
        count_ = std::clamp(static_cast<int>(shared_numbers_max / std::max(t.rows, t.columns)), 1,
                            lanes);
        shared_bytes_ = count_ * wide;
        for (const auto kernel : {&columns_kernel<false>, &columns_kernel<true>, &rows_kernel}) {
            check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                       shared_bytes_),
                  "cudaFuncSetAttribute");
        }
    }

    /// Worlds that are made together.
    std::size_t at_a_time() const {
        const double one = 16.0 * static_cast<double>(transform_.rows * transform_.columns) +
                           16.0 * static_cast<double>(transform_.length) +
                           28.0 * static_cast<double>(size_);
        const double most = std::min(worlds_max, 4e9 / static_cast<double>(size_));
        return static_cast<std::size_t>(std::clamp(batch_bytes / one, 1.0, most));
    }

    void make(std::uint64_t seed, std::uint64_t first, int rounds_max, std::span<IaaftOrder> out) {
        const std::size_t all = out.size() * size_;
        const DeviceArray<Complex> numbers(out.size() * transform_.length, stream_);
        const DeviceArray<Complex> matrix(out.size() * transform_.rows * transform_.columns,
                                          stream_);
        const DeviceArray<std::uint64_t> keys[] = {{all, stream_}, {all, stream_}};
        const DeviceArray<std::uint32_t> places[] = {{all, stream_}, {all, stream_}};
        const DeviceArray<std::int32_t> order(all, stream_);
        const DeviceArray<std::int32_t> changed(out.size(), stream_);
        const DeviceArray<std::int32_t> active(out.size(), stream_);
        cub::DoubleBuffer<std::uint64_t> sorted(keys[0].get(), keys[1].get());
        cub::DoubleBuffer<std::uint32_t> moved(places[0].get(), places[1].get());
        std::size_t room = 0;
        check(cub::DeviceRadixSort::SortPairs(nullptr, room, sorted, moved, all, 0, 64,
                                              stream_.get()),
              "SortPairs");
        const DeviceArray<std::byte> temporary(room, stream_);
        const auto sort = [&](std::size_t worlds) {
            const auto pass = [&](int bits) {
                check(cub::DeviceRadixSort::SortPairs(temporary.get(), room, sorted, moved,
                                                      worlds * size_, 0, bits, stream_.get()),
                      "SortPairs");
            };
            pass(64);
            if (worlds == 1) return;
            world_kernel<<<blocks_for(worlds * size_), threads, 0, stream_.get()>>>(
                moved.Current(), sorted.Current(), size_, worlds * size_);
            check(cudaGetLastError(), "world_kernel");
            pass(32 - __builtin_clz(static_cast<unsigned>(worlds - 1)));
        };

        std::vector<std::int32_t> here(out.size());
        std::iota(here.begin(), here.end(), 0);
        std::vector<std::int32_t> still(out.size());
        const auto args = [&] {
            return RoundArgs{
                size_,         transform_.length, size_ % 2 == 0,    active.get(),
                series_.get(), by_value_.get(),   amplitudes_.get(), half_roots_.view(),
                numbers.get(), sorted.Current(),  moved.Current(),   order.get(),
                changed.get()};
        };
        const auto tell = [&] {
            check(cudaMemcpyAsync(active.get(), here.data(), here.size() * sizeof(std::int32_t),
                                  cudaMemcpyHostToDevice, stream_.get()),
                  "cudaMemcpyAsync to the device");
        };
        tell();
        const auto grid = [&](std::size_t work) {
            return dim3(blocks_for(work), static_cast<unsigned>(here.size()));
        };
        random_kernel<<<grid(size_), threads, 0, stream_.get()>>>(args(), seed, first);
        check(cudaGetLastError(), "random_kernel");
        sort(here.size());
        rank_kernel<<<grid(size_), threads, 0, stream_.get()>>>(args(), true);
        check(cudaGetLastError(), "rank_kernel");
        for (IaaftOrder& one : out) one.rounds = rounds_max;
        for (int round = 0; round < rounds_max && !here.empty(); ++round) {
            check(cudaMemsetAsync(changed.get(), 0, here.size() * sizeof(std::int32_t),
                                  stream_.get()),
                  "cudaMemsetAsync");
            gather_kernel<<<grid(transform_.length), threads, 0, stream_.get()>>>(args());
            check(cudaGetLastError(), "gather_kernel");
            transform(numbers.get(), matrix.get(), here.size(), false);
            shape_kernel<<<grid(transform_.length), threads, 0, stream_.get()>>>(args());
            check(cudaGetLastError(), "shape_kernel");
            transform(numbers.get(), matrix.get(), here.size(), true);
            key_kernel<<<grid(size_), threads, 0, stream_.get()>>>(args());
            check(cudaGetLastError(), "key_kernel");
            sort(here.size());
            rank_kernel<<<grid(size_), threads, 0, stream_.get()>>>(args(), false);
            check(cudaGetLastError(), "rank_kernel");
            copy_to_host(still.data(), changed.get(), here.size() * sizeof(std::int32_t), stream_);
            stream_.wait();
            std::vector<std::int32_t> left;
            for (std::size_t i = 0; i < here.size(); ++i) {
                if (still[i] != 0) {
                    left.push_back(here[i]);
                } else {
                    out[static_cast<std::size_t>(here[i])].rounds = round;
                }
            }
            if (left.size() < here.size()) {
                here.swap(left);
                tell();
                stream_.wait();  // before `left`, and what it was, goes away
            }
        }
        for (std::size_t i = 0; i < out.size(); ++i) {
            out[i].order.resize(size_);
            copy_to_host(out[i].order.data(), order.get() + i * size_, size_ * sizeof(std::int32_t),
                         stream_);
        }
        stream_.wait();
    }

private:
    void transform(Complex* numbers, Complex* matrix, std::size_t worlds, bool exchanged) const {
        const TransformArgs args{transform_, numbers, matrix, count_, exchanged};
        const auto grid = [&](std::size_t lines) {
            return dim3(static_cast<unsigned>(lines / static_cast<std::size_t>(count_)),
                        static_cast<unsigned>(worlds));
        };
        const cudaStream_t stream = stream_.get();
        const auto bytes = static_cast<std::size_t>(shared_bytes_);
        columns_kernel<false><<<grid(transform_.columns), threads, bytes, stream>>>(args);
        check(cudaGetLastError(), "columns_kernel");
        rows_kernel<<<grid(transform_.rows), threads, bytes, stream>>>(args);
        check(cudaGetLastError(), "rows_kernel");
        columns_kernel<true><<<grid(transform_.columns), threads, bytes, stream>>>(args);
        check(cudaGetLastError(), "columns_kernel");
    }

    Stream stream_;
    const Iaaft& of_;
    std::size_t size_;
    DeviceArray<double> series_;
    DeviceArray<std::int32_t> by_value_;
    DeviceArray<double> amplitudes_;
    DeviceComplex half_roots_, chirp_, row_roots_, column_roots_, turns_, kernel_;
    simd::TransformView transform_{};
    int count_ = 1;  ///< columns, or rows, of a block
    int shared_bytes_ = 0;
};

}  // namespace

std::vector<IaaftOrder> iaaft_orders(const Iaaft& of, std::uint64_t seed, std::uint64_t first,
                                     std::size_t count, int rounds_max) {
    std::vector<IaaftOrder> result(count);
    if (of.series().size() < 2) {
        for (std::size_t i = 0; i < count; ++i) result[i] = of.order(seed, first + i, rounds_max);
        return result;
    }
    if (std::max(of.transform().rows, of.transform().columns) > shared_numbers_max) {
        throw BackendError("backend cuda: IAAFT takes fewer than 2**24 values");
    }
    Batches batches(of);
    const std::size_t most = batches.at_a_time();
    for (std::size_t at = 0; at < count; at += most) {
        const std::size_t some = std::min(most, count - at);
        batches.make(seed, first + at, rounds_max, std::span(result).subspan(at, some));
    }
    return result;
}

}  // namespace sep::cuda
