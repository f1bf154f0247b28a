#pragma once

#include <cstddef>

// Declarations and plain data only, as in kernels.hpp.
namespace sep::simd {

/// Transforms that are computed side by side.
inline constexpr std::size_t transform_lanes = 8;

struct ComplexView {
    const double* re;
    const double* im;
};

/// Members of Iaaft::Transform.
struct TransformView {
    std::size_t length;
    std::size_t rows, columns;
    ComplexView chirp, row_roots, column_roots, turns, kernel;
};

/// Numbers from one stripe of eight columns to the next: a tile more than they hold, because tiles
/// of a row that lie a power of two apart would share few lines of the caches.
constexpr std::size_t column_stride(std::size_t rows) {
    return transform_lanes * (rows + transform_lanes);
}

/// Room for the matrix: stripe by stripe, of each row eight columns; real parts, then imaginary.
constexpr std::size_t matrix_size(std::size_t rows, std::size_t columns) {
    return 2 * columns / transform_lanes * column_stride(rows);
}

/// `scratch` is 16 times `columns`.
struct TransformKernels {
    /// The transform that `kernel` of a view is, from its matrix.
    void (*kernel)(const TransformView& transform, double* matrix, double* scratch, double* re,
                   double* im);
    /// The transform of `length` numbers, in their place.
    void (*transform)(const TransformView& transform, double* re, double* im, double* matrix,
                      double* scratch);
    /// Give frequencies of a series of even length, and of an odd one, their amplitudes.
    void (*shape_even)(std::size_t length, ComplexView half_roots, const double* amplitudes,
                       double* re, double* im);
    void (*shape_odd)(std::size_t length, const double* amplitudes, double* re, double* im);
};

extern const TransformKernels transforms_portable;
#ifdef SEP_X86_KERNELS
extern const TransformKernels transforms_avx2;
extern const TransformKernels transforms_avx512;
#endif

/// Those of the instruction set that `kernels` gives.
const TransformKernels& transform_kernels();

}  // namespace sep::simd
