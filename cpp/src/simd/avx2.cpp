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

int spread(const float* records, const std::uint32_t* record, int count, float* const* out) {
    int i = 0;
    for (; i + 8 <= count; i += 8) {
        const float* row[8];
        for (int j = 0; j < 8; ++j) row[j] = records + std::size_t{record[i + j]} * 8;
        for (int m = 0; m < 8; m += 4) {
            // Half a record of windows j and j + 4 in one register; then 4 x 4 turned in each half.
            const __m256 r0 = two_quarters(row[0] + m, row[4] + m);
            const __m256 r1 = two_quarters(row[1] + m, row[5] + m);
            const __m256 r2 = two_quarters(row[2] + m, row[6] + m);
            const __m256 r3 = two_quarters(row[3] + m, row[7] + m);
            const __m256 a = _mm256_unpacklo_ps(r0, r1);
            const __m256 b = _mm256_unpackhi_ps(r0, r1);
            const __m256 c = _mm256_unpacklo_ps(r2, r3);
            const __m256 d = _mm256_unpackhi_ps(r2, r3);
            if (out[m]) _mm256_storeu_ps(out[m] + i, _mm256_shuffle_ps(a, c, 0x44));
            if (out[m + 1]) _mm256_storeu_ps(out[m + 1] + i, _mm256_shuffle_ps(a, c, 0xEE));
            if (out[m + 2]) _mm256_storeu_ps(out[m + 2] + i, _mm256_shuffle_ps(b, d, 0x44));
            if (out[m + 3]) _mm256_storeu_ps(out[m + 3] + i, _mm256_shuffle_ps(b, d, 0xEE));
        }
    }
    return i;
}

int spread(const double* records, const std::uint32_t* record, int count, double* const* out) {
    int i = 0;
    for (; i + 4 <= count; i += 4) {
        const double* row[4];
        for (int j = 0; j < 4; ++j) row[j] = records + std::size_t{record[i + j]} * 8;
        for (int m = 0; m < 8; m += 2) {
            const __m256d r0 = two_halves(row[0] + m, row[2] + m);
            const __m256d r1 = two_halves(row[1] + m, row[3] + m);
            if (out[m]) _mm256_storeu_pd(out[m] + i, _mm256_unpacklo_pd(r0, r1));
            if (out[m + 1]) _mm256_storeu_pd(out[m + 1] + i, _mm256_unpackhi_pd(r0, r1));
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
