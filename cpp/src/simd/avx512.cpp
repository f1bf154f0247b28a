#include <immintrin.h>

#include "kernels.hpp"

namespace sep::simd {
namespace {

inline std::int64_t population(std::uint64_t x) { return __builtin_popcountll(x); }

std::uint64_t compress(std::uint64_t word, std::uint64_t mask) { return _pext_u64(word, mask); }

std::uint64_t nonzero(const std::uint8_t* values, bool& bad) {
    const __m512i in = _mm512_loadu_si512(values);
    bad |= _mm512_test_epi8_mask(in, _mm512_set1_epi8(~1)) != 0;
    return _mm512_test_epi8_mask(in, in);
}

using Sums = __m512d;

inline Sums no_sums() { return _mm512_setzero_pd(); }

inline void store(Sums sums, double* out) { _mm512_store_pd(out, sums); }

/// A byte's sum is made of its nibbles', as the table's is; those of one lambda are in two
/// registers.
inline void add_bytes(const DampedKey& key, const std::uint64_t* words, std::uint64_t inside,
                      int bytes, Sums& sums) {
    const __m512d low = _mm512_loadu_pd(key.nibble_sum);
    const __m512d high = _mm512_loadu_pd(key.nibble_sum + 8);
    const __m512d decay4 = _mm512_set1_pd(key.decay4);
    const __m512d decay8 = _mm512_set1_pd(key.decay8);
    __m512i word = _mm512_and_si512(_mm512_load_si512(words),
                                    _mm512_set1_epi64(static_cast<long long>(inside)));
    const auto add_byte = [&] {
        // Of an index the lookup reads four bits.
        const __m512d older = _mm512_permutex2var_pd(low, word, high);
        word = _mm512_srli_epi64(word, 4);
        const __m512d newer = _mm512_permutex2var_pd(low, word, high);
        word = _mm512_srli_epi64(word, 4);
        const __m512d byte = _mm512_add_pd(newer, _mm512_mul_pd(decay4, older));
        sums = _mm512_add_pd(byte, _mm512_mul_pd(decay8, sums));
    };
    if (bytes == 8) {
        for (int j = 0; j < 8; ++j) add_byte();
        return;
    }
    word = _mm512_srl_epi64(word, _mm_cvtsi32_si128(64 - 8 * bytes));
    for (int j = 0; j < bytes; ++j) add_byte();
}

/// Quarter m of the records of windows j, j + 4, j + 8 and j + 12 in one register.
inline __m512 four_quarters(const float* const* row, int m) {
    __m512 all = _mm512_castps128_ps512(_mm_load_ps(row[0] + m));
    all = _mm512_insertf32x4(all, _mm_load_ps(row[4] + m), 1);
    all = _mm512_insertf32x4(all, _mm_load_ps(row[8] + m), 2);
    return _mm512_insertf32x4(all, _mm_load_ps(row[12] + m), 3);
}

inline __m512d four_quarters(const double* const* row, int m) {
    __m512d all = _mm512_castpd128_pd512(_mm_load_pd(row[0] + m));
    all = _mm512_insertf64x2(all, _mm_load_pd(row[2] + m), 1);
    all = _mm512_insertf64x2(all, _mm_load_pd(row[4] + m), 2);
    return _mm512_insertf64x2(all, _mm_load_pd(row[6] + m), 3);
}

inline void lines_end() { _mm_sfence(); }

template <bool past_caches>
inline void put(__m512 values, float* to) {
    past_caches ? _mm512_stream_ps(to, values) : _mm512_storeu_ps(to, values);
}

template <bool past_caches>
inline void put(__m512d values, double* to) {
    past_caches ? _mm512_stream_pd(to, values) : _mm512_storeu_pd(to, values);
}

int put_lines(const float* from, int begin, int end, float* to) {
    int i = begin;
    for (; i + 16 <= end; i += 16) _mm512_stream_ps(to + i, _mm512_loadu_ps(from + i));
    return i;
}

int put_lines(const double* from, int begin, int end, double* to) {
    int i = begin;
    for (; i + 8 <= end; i += 8) _mm512_stream_pd(to + i, _mm512_loadu_pd(from + i));
    return i;
}

template <bool past_caches>
int spread(const float* records, const std::uint32_t* record, int begin, int end,
           float* const* out) {
    int i = begin;
    for (; i + 16 <= end; i += 16) {
        const float* row[16];
        for (int j = 0; j < 16; ++j) row[j] = records + std::size_t{record[i + j]} * 8;
        for (int m = 0; m < 8; m += 4) {
            const __m512 r0 = four_quarters(row, m);
            const __m512 r1 = four_quarters(row + 1, m);
            const __m512 r2 = four_quarters(row + 2, m);
            const __m512 r3 = four_quarters(row + 3, m);
            const __m512 a = _mm512_unpacklo_ps(r0, r1);
            const __m512 b = _mm512_unpackhi_ps(r0, r1);
            const __m512 c = _mm512_unpacklo_ps(r2, r3);
            const __m512 d = _mm512_unpackhi_ps(r2, r3);
            if (out[m]) put<past_caches>(_mm512_shuffle_ps(a, c, 0x44), out[m] + i);
            if (out[m + 1]) put<past_caches>(_mm512_shuffle_ps(a, c, 0xEE), out[m + 1] + i);
            if (out[m + 2]) put<past_caches>(_mm512_shuffle_ps(b, d, 0x44), out[m + 2] + i);
            if (out[m + 3]) put<past_caches>(_mm512_shuffle_ps(b, d, 0xEE), out[m + 3] + i);
        }
    }
    return i;
}

template <bool past_caches>
int spread(const double* records, const std::uint32_t* record, int begin, int end,
           double* const* out) {
    int i = begin;
    for (; i + 8 <= end; i += 8) {
        const double* row[8];
        for (int j = 0; j < 8; ++j) row[j] = records + std::size_t{record[i + j]} * 8;
        for (int m = 0; m < 8; m += 2) {
            const __m512d r0 = four_quarters(row, m);
            const __m512d r1 = four_quarters(row + 1, m);
            if (out[m]) put<past_caches>(_mm512_unpacklo_pd(r0, r1), out[m] + i);
            if (out[m + 1]) put<past_caches>(_mm512_unpackhi_pd(r0, r1), out[m + 1] + i);
        }
    }
    return i;
}

}  // namespace
}  // namespace sep::simd

#define SEP_KERNELS avx512
#define SEP_KERNELS_NAME "AVX-512"
#include "kernels.inc"
