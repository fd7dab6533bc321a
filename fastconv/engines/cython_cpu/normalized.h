/* Samples that are missing: taken out of a staged window, and the weight that windows lack by them. */
#ifndef FASTCONV_NORMALIZED_H
#define FASTCONV_NORMALIZED_H
#include "tiles_all.h"
#if defined(__SSE2__)
#include <immintrin.h>
#endif

/* Bytes from what is read or written to what is called for: the width of a patch (fastconv.algorithms.normalized). */
enum { AHEAD_BYTES = 1024 };

/* Bit i: byte i of up to 64 is not 0. */
static inline uint64_t mask_bits(const uint8_t *mask, int64_t n) {
    const uint64_t all = n < 64 ? ((uint64_t)1 << n) - 1 : ~(uint64_t)0;
#if defined(__AVX512BW__)
    const __m512i bytes = _mm512_maskz_loadu_epi8(all, mask);
    return _mm512_test_epi8_mask(bytes, bytes);
#else
    uint64_t bits = 0, word;
    for (int64_t i = 0; i < 64 && all >> i; i += 8) {
        word = 0;
        memcpy(&word, mask + i, n - i < 8 ? n - i : 8);
        for (int64_t j = i; word; j++, word >>= 8) bits |= (uint64_t)((word & 255) != 0) << j;
    }
    return bits;
#endif
}

#define T float
#define INT int32_t
#define NAME(x) x##_f32
#define NAN_BITS512(v) _mm512_cmp_ps_mask((__m512)(v), (__m512)(v), _CMP_UNORD_Q)
#define NAN_BITS256(v) _mm256_movemask_ps((__m256)((v) != (v)))
#define NAN_BITS128(v) _mm_movemask_ps((__m128)((v) != (v)))
#include "normalized_gaps.h"
#define T double
#define INT int64_t
#define NAME(x) x##_f64
#define NAN_BITS512(v) _mm512_cmp_pd_mask((__m512d)(v), (__m512d)(v), _CMP_UNORD_Q)
#define NAN_BITS256(v) _mm256_movemask_pd((__m256d)((v) != (v)))
#define NAN_BITS128(v) _mm_movemask_pd((__m128d)((v) != (v)))
#include "normalized_gaps.h"

#define PICK_REAL(name, p) \
    _Generic((p), float *: name##_f32, const float *: name##_f32, double *: name##_f64, const double *: name##_f64)
#define mark(values, ...) PICK_REAL(mark, values)(values, __VA_ARGS__)
#define take_gaps(dst, ...) PICK_REAL(take_gaps, dst)(dst, __VA_ARGS__)
#define add_missing(missing, ...) PICK_REAL(add_missing, missing)(missing, __VA_ARGS__)
#define scale(sums, ...) PICK_REAL(scale, sums)(sums, __VA_ARGS__)
#endif
