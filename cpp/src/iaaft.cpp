#include "sep/iaaft.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <numeric>
#include <string>
#include <utility>

#include "backends.hpp"
#include "butterflies.hpp"
#include "sep/errors.hpp"
#include "sep/sweep.hpp"
#include "simd/transforms.hpp"

namespace sep {
namespace {

constexpr std::size_t size_max = std::size_t{1} << 28;

/// e^(-2 pi i j / n) for j < n <= 2**30, in operations that IEEE 754 says all of: libraries differ.
Complex root_of_unity(std::uint64_t j, std::uint64_t n) {
    const std::uint64_t octant = 8 * j / n;
    std::uint64_t rest = 8 * j % n;
    if (octant % 2 == 1) rest = n - rest;
    const double angle =
        std::numbers::pi / 4 * (static_cast<double>(rest) / static_cast<double>(n));
    // Taylor's series up to angle^20: what is left out is below 2^-70.
    const double square = angle * angle;
    double cosine = 1;
    double sine = 1;
    for (int k = 20; k >= 2; k -= 2) {
        cosine = 1 - square / ((k - 1) * k) * cosine;
        sine = 1 - square / (k * (k + 1)) * sine;
    }
    sine *= angle;
    // Octants 1, 2, 5 and 6 lie nearer to the imaginary axis.
    if (octant % 4 == 1 || octant % 4 == 2) std::swap(cosine, sine);
    if (octant >= 2 && octant < 6) cosine = -cosine;
    if (octant < 4) sine = -sine;
    return {cosine, sine};
}

void put(ComplexValues& values, std::size_t i, Complex value) {
    values.re[i] = value.re;
    values.im[i] = value.im;
}

ComplexValues roots_of(std::size_t n, std::size_t count) {
    ComplexValues roots(count);
    for (std::size_t j = 0; j < count; ++j) put(roots, j, root_of_unity(j, n));
    return roots;
}

/// The frequency at a place of a transform of `length`: quarter m of a step holds those that leave
/// m when divided by four.
std::size_t frequency_at(std::size_t place, std::size_t length) {
    std::size_t frequency = 0;
    std::size_t weight = 1;
    for (; length >= 4; length /= 4, weight *= 4) {
        frequency += place / (length / 4) * weight;
        place %= length / 4;
    }
    return frequency + place * weight;
}

simd::ComplexView view(const ComplexValues& values) { return {values.re.data(), values.im.data()}; }

simd::TransformView view(const Iaaft::Transform& t) {
    return {t.length,          t.rows,
            t.columns,         view(t.chirp),
            view(t.row_roots), view(t.column_roots),
            view(t.turns),     view(t.kernel)};
}

std::vector<double> matrix_of(const Iaaft::Transform& t) {
    return std::vector<double>(simd::matrix_size(t.rows, t.columns));
}

std::vector<double> scratch_of(const Iaaft::Transform& t) {
    return std::vector<double>(2 * simd::transform_lanes * t.columns);
}

Iaaft::Transform transform_of(std::size_t length) {
    Iaaft::Transform t;
    t.length = length;
    t.rows = t.columns = simd::transform_lanes;
    while (t.size() < 2 * length - 1) (t.columns < t.rows ? t.columns : t.rows) *= 2;
    t.row_roots = roots_of(t.rows, t.rows);
    t.column_roots = roots_of(t.columns, t.columns);
    t.turns = ComplexValues(t.size());
    constexpr std::size_t lanes = simd::transform_lanes;
    for (std::size_t row = 0; row < t.rows; ++row) {
        const std::size_t frequency = frequency_at(row, t.rows);
        for (std::size_t column = 0; column < t.columns; ++column) {
            const std::size_t stripe = column / lanes * t.rows * lanes;
            put(t.turns, stripe + row * lanes + column % lanes,
                root_of_unity(frequency * column, t.size()));
        }
    }
    t.chirp = ComplexValues(length);
    std::vector<double> matrix = matrix_of(t);
    const auto enter = [&](std::size_t i, Complex value) {
        const std::size_t column = i % t.columns;
        const std::size_t at =
            column / lanes * simd::column_stride(t.rows) + i / t.columns * lanes + column % lanes;
        matrix[at] = value.re;
        matrix[matrix.size() / 2 + at] = value.im;
    };
    const double scale = 1 / static_cast<double>(t.size());  // a power of two
    for (std::size_t j = 0; j < length; ++j) {
        const Complex root = root_of_unity(j * j % (2 * length), 2 * length);
        put(t.chirp, j, root);
        const Complex back{root.re * scale, -root.im * scale};
        enter(j, back);
        if (j > 0) enter(t.size() - j, back);
    }
    t.kernel = ComplexValues(t.size());
    std::vector<double> scratch = scratch_of(t);
    simd::transform_kernels().kernel(view(t), matrix.data(), scratch.data(), t.kernel.re.data(),
                                     t.kernel.im.data());
    return t;
}

/// Room for one surrogate at a time.
class Worker {
public:
    explicit Worker(const Iaaft& of)
        : kernels_(simd::transform_kernels()),
          of_(of),
          transform_(view(of.transform())),
          even_(of.series().size() % 2 == 0),
          numbers_(of.transform().length),
          matrix_(matrix_of(of.transform())),
          scratch_(scratch_of(of.transform())) {}

    /// The transform of the series in an order; of an even one that of `pair_of`.
    void transform(std::span<const std::int32_t> order) {
        const std::vector<double>& series = of_.series();
        double* const re = numbers_.re.data();
        double* const im = numbers_.im.data();
        for (std::size_t j = 0; j < transform_.length; ++j) {
            re[j] = series[static_cast<std::size_t>(order[even_ ? 2 * j : j])];
            im[j] = even_ ? series[static_cast<std::size_t>(order[2 * j + 1])] : 0;
        }
        kernels_.transform(transform_, re, im, matrix_.data(), scratch_.data());
    }

    std::vector<double> amplitudes() const {
        const std::size_t length = transform_.length;
        std::vector<double> result(even_ ? length + 1 : length);
        const auto size = [](Complex x) { return std::sqrt(x.re * x.re + x.im * x.im); };
        if (!even_) {
            for (std::size_t k = 0; k < length; ++k) result[k] = size(at(k));
            return result;
        }
        result[0] = std::abs(numbers_.re[0] + numbers_.im[0]);
        result[length] = std::abs(numbers_.re[0] - numbers_.im[0]);
        for (std::size_t k = 1; 2 * k <= length; ++k) {
            const Pair pair = pair_of(at(k), at(length - k), root(k));
            result[k] = size(pair.low) / 2;
            result[length - k] = size(pair.high) / 2;
        }
        return result;
    }

    /// The series that has the amplitudes of the first and the phases of the transform, times a
    /// positive number.
    void shape(std::vector<double>& out) {
        double* const re = numbers_.re.data();
        double* const im = numbers_.im.data();
        const double* const amplitudes = of_.amplitudes().data();
        const std::size_t length = transform_.length;
        if (even_) {
            kernels_.shape_even(length, view(of_.half_roots()), amplitudes, re, im);
        } else {
            kernels_.shape_odd(length, amplitudes, re, im);
        }
        // A transform of exchanged parts is the way back, parts exchanged.
        kernels_.transform(transform_, im, re, matrix_.data(), scratch_.data());
        for (std::size_t j = 0; j < length; ++j) {
            out[even_ ? 2 * j : j] = re[j];
            if (even_) out[2 * j + 1] = im[j];
        }
    }

private:
    Complex at(std::size_t k) const { return {numbers_.re[k], numbers_.im[k]}; }
    Complex root(std::size_t k) const { return {of_.half_roots().re[k], of_.half_roots().im[k]}; }

    const simd::TransformKernels& kernels_;
    const Iaaft& of_;
    simd::TransformView transform_;
    bool even_;
    ComplexValues numbers_;
    std::vector<double> matrix_;
    std::vector<double> scratch_;
};

/// Sorts by 32 bits of where a value lies between the least and the greatest, and then, where these
/// are equal, by the values.
class Places {
public:
    std::span<const std::int32_t> sorted(std::span<const double> values) {
        const std::size_t size = values.size();
        places_.resize(size);
        entries_.resize(size);
        other_.resize(size);
        double least = size == 0 ? 0 : values[0];
        double greatest = least;
        for (const double value : values) {
            least = value < least ? value : least;
            greatest = value > greatest ? value : greatest;
        }
        const double scale = 0xFFFFFF00p0 / (greatest - least);
        const bool usable = std::isfinite(scale) && scale > 0;
        for (std::size_t i = 0; i < size; ++i) {
            const std::uint64_t key =
                usable ? static_cast<std::uint32_t>((values[i] - least) * scale) : 0;
            entries_[i] = key << 32 | i;
        }
        if (usable) {
            for (const int shift : {32, 43, 54}) pass(shift);
        }
        for (std::size_t i = 0; i < size; ++i) {
            places_[i] = static_cast<std::int32_t>(entries_[i] & 0xFFFFFFFF);
        }
        std::size_t begin = 0;
        for (std::size_t i = 1; i <= size; ++i) {
            if (i < size && entries_[i] >> 32 == entries_[begin] >> 32) continue;
            if (i - begin > 1) settle(values, begin, i);
            begin = i;
        }
        return places_;
    }

private:
    static constexpr std::size_t digits = 2048;

    void pass(int shift) {
        std::array<std::uint32_t, digits> next{};
        for (const std::uint64_t entry : entries_) ++next[entry >> shift & (digits - 1)];
        std::uint32_t before = 0;
        for (std::uint32_t& place : next) before += std::exchange(place, before);
        for (const std::uint64_t entry : entries_) {
            other_[next[entry >> shift & (digits - 1)]++] = entry;
        }
        entries_.swap(other_);
    }

    void settle(std::span<const double> values, std::size_t begin, std::size_t end) {
        if (end - begin == 2) {
            const auto a = static_cast<std::size_t>(places_[begin]);
            const auto b = static_cast<std::size_t>(places_[begin + 1]);
            if (values[b] < values[a]) std::swap(places_[begin], places_[begin + 1]);
            return;
        }
        std::stable_sort(places_.begin() + static_cast<std::ptrdiff_t>(begin),
                         places_.begin() + static_cast<std::ptrdiff_t>(end),
                         [&](std::int32_t a, std::int32_t b) {
                             return values[static_cast<std::size_t>(a)] <
                                    values[static_cast<std::size_t>(b)];
                         });
    }

    std::vector<std::int32_t> places_;
    std::vector<std::uint64_t> entries_;
    std::vector<std::uint64_t> other_;
};

}  // namespace

std::vector<std::int32_t> sorted_places(std::span<const double> values) {
    Places places;
    const auto sorted = places.sorted(values);
    return {sorted.begin(), sorted.end()};
}

std::vector<std::int32_t> random_order(std::size_t size, std::uint64_t seed, std::uint64_t index) {
    std::vector<double> uniform(size);
    PhiloxWords words{};
    for (std::size_t i = 0; i < size; ++i) {
        if (i % 4 == 0) words = philox(seed, index, i / 4 + 1);
        uniform[i] = static_cast<double>(words.word[i % 4] >> 11);
    }
    return sorted_places(uniform);
}

Iaaft::Iaaft(std::span<const double> series) : series_(series.begin(), series.end()) {
    if (series.size() > size_max) {
        throw InvalidArgument("a series must have at most 2**28 values, had " +
                              std::to_string(series.size()));
    }
    if (!std::ranges::all_of(series, [](double x) { return std::isfinite(x); })) {
        throw InvalidArgument("a series must be finite");
    }
    by_value_ = sorted_places(series_);
    if (series.size() < 2) return;
    const bool even = series.size() % 2 == 0;
    transform_ = transform_of(even ? series.size() / 2 : series.size());
    if (even) half_roots_ = roots_of(series.size(), series.size() / 2 + 1);
    std::vector<std::int32_t> as_it_is(series.size());
    std::iota(as_it_is.begin(), as_it_is.end(), 0);
    Worker worker(*this);
    worker.transform(as_it_is);
    amplitudes_ = worker.amplitudes();
}

IaaftOrder Iaaft::order(std::uint64_t seed, std::uint64_t index, int rounds_max) const {
    const std::size_t size = series_.size();
    IaaftOrder result{random_order(size, seed, index), 0};
    if (size < 2) return result;
    Worker worker(*this);
    Places places;
    std::vector<double> shaped(size);
    std::vector<std::int32_t> ranked(size);
    for (; result.rounds < rounds_max; ++result.rounds) {
        worker.transform(result.order);
        worker.shape(shaped);
        const auto sorted = places.sorted(shaped);
        for (std::size_t i = 0; i < size; ++i) {
            ranked[static_cast<std::size_t>(sorted[i])] = by_value_[i];
        }
        if (ranked == result.order) break;
        result.order.swap(ranked);
    }
    return result;
}

std::vector<IaaftOrder> Iaaft::orders_on_gpu(std::uint64_t seed, std::uint64_t first,
                                             std::size_t count, int rounds_max) const {
    const cuda::Status gpu = cuda::status();
    if (!gpu.available) throw BackendError("backend cuda cannot run here: " + gpu.detail);
    return cuda::iaaft_orders(*this, seed, first, count, rounds_max);
}

}  // namespace sep
