#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sep {

/// The order that makes a surrogate, and the rounds it took.
struct IaaftOrder {
    std::vector<std::int32_t> order;
    int rounds;
};

/// Real and imaginary parts apart, so that loops over many numbers are plain.
struct ComplexValues {
    std::vector<double> re, im;

    explicit ComplexValues(std::size_t size = 0) : re(size), im(size) {}
};

/// Surrogates of a series with its values and nearly its spectrum (iterated amplitude adjusted
/// Fourier transform): the spectrum is imposed, then the ranks, until no rank changes.
///
/// The transform is Bluestein's of exactly the series' length, in binary64, with sums and products
/// in an order that is the same on every backend; its roots of unity are computed here. So every
/// backend, instruction set and GPU gives the same order.
///
/// Source: Schreiber and Schmitz (1996), "Improved surrogate data for nonlinearity tests";
/// Bluestein (1970), "A linear filtering approach to the computation of discrete Fourier
/// transform".
class Iaaft {
public:
    /// @param series  finite values, at most 2**28 of them.
    /// @throws InvalidArgument  a rule above is broken.
    explicit Iaaft(std::span<const double> series);

    /// Surrogate `index` of `seed`: `series[order]`. Thread-safe.
    ///
    /// @param rounds_max  at most so many rounds, >= 0; that many in the answer: ranks had not
    ///                    settled.
    IaaftOrder order(std::uint64_t seed, std::uint64_t index, int rounds_max) const;

    /// Surrogates `first` to `first + count - 1`, on the current GPU.
    /// @throws BackendError  there is none, or it has too little memory.
    std::vector<IaaftOrder> orders_on_gpu(std::uint64_t seed, std::uint64_t first,
                                          std::size_t count, int rounds_max) const;

    /// What a transform of `length` complex numbers needs; a series of even length is half as many.
    ///
    /// The transform is a convolution of `rows * columns` numbers, a matrix row by row, both powers
    /// of two: transforms along columns, a turn, transforms along rows; and back. Along columns and
    /// rows frequencies stay in the order in which radix-4 steps leave them.
    struct Transform {
        std::size_t length;
        std::size_t rows, columns;
        ComplexValues chirp;         ///< (length) e^(-pi i j^2 / length)
        ComplexValues row_roots;     ///< (rows) e^(-2 pi i j / rows)
        ComplexValues column_roots;  ///< (columns)
        /// e^(-2 pi i f c / size) of the frequency f of each row and column c; of each eight
        /// columns number v of a row lies at 8 * row + v.
        ComplexValues turns;
        /// The conjugate chirp, transformed and scaled; of each eight rows number v of column c
        /// lies at 8 * c + v.
        ComplexValues kernel;
        std::size_t size() const { return rows * columns; }
    };

    const std::vector<double>& series() const { return series_; }
    const std::vector<std::int32_t>& by_value() const { return by_value_; }
    const Transform& transform() const { return transform_; }
    /// (length + 1) of an even series, from frequency 0 to the highest; (length) of an odd one.
    const std::vector<double>& amplitudes() const { return amplitudes_; }
    /// (length / 2 + 1) e^(-2 pi i k / n) of an even series of n.
    const ComplexValues& half_roots() const { return half_roots_; }

private:
    std::vector<double> series_;
    std::vector<std::int32_t> by_value_;
    Transform transform_;
    std::vector<double> amplitudes_;
    ComplexValues half_roots_;
};

/// The order in which a surrogate starts: that of (size) uniform numbers, the high 53 bits of
/// words.
std::vector<std::int32_t> random_order(std::size_t size, std::uint64_t seed, std::uint64_t index);

/// What a stable sort of finite values gives.
std::vector<std::int32_t> sorted_places(std::span<const double> values);

}  // namespace sep

namespace sep::cuda {

/// What `Iaaft::orders_on_gpu` gives, where a GPU can run.
std::vector<IaaftOrder> iaaft_orders(const Iaaft& of, std::uint64_t seed, std::uint64_t first,
                                     std::size_t count, int rounds_max);

}  // namespace sep::cuda
