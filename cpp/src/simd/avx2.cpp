#include <immintrin.h>

#include "kernels.hpp"

namespace sep::simd {
namespace {

inline std::int64_t population(std::uint64_t x) { return __builtin_popcountll(x); }

std::uint64_t compress(std::uint64_t word, std::uint64_t mask) { return _pext_u64(word, mask); }

std::uint64_t nonzero(const std::uint8_t* values, bool& bad) {
    const auto* const in = reinterpret_cast<const __m256i*>(values);
    const __m256i low = _mm256_loadu_si256(in);
    const __m256i high = _mm256_loadu_si256(in + 1);
    bad |= _mm256_testz_si256(_mm256_or_si256(low, high), _mm256_set1_epi8(~1)) == 0;
    const auto zeros = [](__m256i bytes) {
        return static_cast<std::uint32_t>(
            _mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_setzero_si256())));
    };
    return ~(zeros(low) | std::uint64_t{zeros(high)} << 32);
}

inline __m256 two_quarters(const float* low, const float* high) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_load_ps(low)), _mm_load_ps(high), 1);
}

inline __m256d two_halves(const double* low, const double* high) {
    return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_load_pd(low)), _mm_load_pd(high), 1);
}

inline void lines_end() { _mm_sfence(); }

int put_lines(const float* from, int begin, int end, float* to) {
    int i = begin;
    for (; i + 16 <= end; i += 16) {
        _mm256_stream_ps(to + i, _mm256_loadu_ps(from + i));
        _mm256_stream_ps(to + i + 8, _mm256_loadu_ps(from + i + 8));
    }
    return i;
}

int put_lines(const double* from, int begin, int end, double* to) {
    int i = begin;
    for (; i + 8 <= end; i += 8) {
        _mm256_stream_pd(to + i, _mm256_loadu_pd(from + i));
        _mm256_stream_pd(to + i + 4, _mm256_loadu_pd(from + i + 4));
    }
    return i;
}

/// Four columns of eight windows: half a record of windows j and j + 4 in one register, then 4 x 4
/// turned in each half.
inline void turn(const float* records, const std::uint32_t* record, int m, __m256* columns) {
    const float* row[8];
    for (int j = 0; j < 8; ++j) row[j] = records + std::size_t{record[j]} * 8 + m;
    const __m256 r0 = two_quarters(row[0], row[4]);
    const __m256 r1 = two_quarters(row[1], row[5]);
    const __m256 r2 = two_quarters(row[2], row[6]);
    const __m256 r3 = two_quarters(row[3], row[7]);
    const __m256 a = _mm256_unpacklo_ps(r0, r1);
    const __m256 b = _mm256_unpackhi_ps(r0, r1);
    const __m256 c = _mm256_unpacklo_ps(r2, r3);
    const __m256 d = _mm256_unpackhi_ps(r2, r3);
    columns[0] = _mm256_shuffle_ps(a, c, 0x44);
    columns[1] = _mm256_shuffle_ps(a, c, 0xEE);
    columns[2] = _mm256_shuffle_ps(b, d, 0x44);
    columns[3] = _mm256_shuffle_ps(b, d, 0xEE);
}

inline void turn(const double* records, const std::uint32_t* record, int m, __m256d* columns) {
    const double* row[4];
    for (int j = 0; j < 4; ++j) row[j] = records + std::size_t{record[j]} * 8 + m;
    const __m256d r0 = two_halves(row[0], row[2]);
    const __m256d r1 = two_halves(row[1], row[3]);
    columns[0] = _mm256_unpacklo_pd(r0, r1);
    columns[1] = _mm256_unpackhi_pd(r0, r1);
}

template <bool past_caches>
inline void put(__m256 values, float* to) {
    past_caches ? _mm256_stream_ps(to, values) : _mm256_storeu_ps(to, values);
}

template <bool past_caches>
inline void put(__m256d values, double* to) {
    past_caches ? _mm256_stream_pd(to, values) : _mm256_storeu_pd(to, values);
}

template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
    using type = __m256;
};
template <>
struct VectorOf<double> {
    using type = __m256d;
};

/// A line of each column at a time: one that is written in two parts must not wait for the second.
template <bool past_caches, class T>
int spread(const T* records, const std::uint32_t* record, int begin, int end, T* const* out) {
    using Vector = typename VectorOf<T>::type;
    constexpr int half = sizeof(Vector) / sizeof(T);
    constexpr int together = half / 2;  // columns
    int i = begin;
    for (; i + 2 * half <= end; i += 2 * half) {
        for (int m = 0; m < 8; m += together) {
            Vector low[together];
            Vector high[together];
            turn(records, record + i, m, low);
            turn(records, record + i + half, m, high);
            for (int j = 0; j < together; ++j) {
                if (out[m + j] == nullptr) continue;
                put<past_caches>(low[j], out[m + j] + i);
                put<past_caches>(high[j], out[m + j] + i + half);
            }
        }
    }
    return i;
}

}  // namespace
}  // namespace sep::simd

#define SEP_KERNELS avx2
#define SEP_KERNELS_NAME "AVX2"
#include "bytes.inc"
#include "kernels.inc"
