/* Vectors of every element type, and the larger and the smaller of two; NaN is the extreme of every window it is in.
 *
 * GCC makes two instructions (four for floats) of a comparison and a blend, x86 has one; so those are named here.
 */
#ifndef FASTCONV_SLIDING_LANES_H
#define FASTCONV_SLIDING_LANES_H
#include "pooling.h"
#if defined(__SSE4_1__)
#include <immintrin.h>
#endif

#define LANE_TYPE(T, s)                                       \
    typedef T lanes_##s __attribute__((vector_size(VECTOR_BYTES))); \
    typedef T loose_##s __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
LANE_TYPE(int8_t, i8)
LANE_TYPE(uint8_t, u8)
LANE_TYPE(int16_t, i16)
LANE_TYPE(uint16_t, u16)
LANE_TYPE(int32_t, i32)
LANE_TYPE(uint32_t, u32)
LANE_TYPE(int64_t, i64)
LANE_TYPE(uint64_t, u64)
LANE_TYPE(float, f32)
LANE_TYPE(double, f64)
#undef LANE_TYPE

#define NATIVE(s, name, instruction, type) \
    static inline lanes_##s name##_##s(lanes_##s a, lanes_##s b) { return (lanes_##s)instruction((type)a, (type)b); }
#define COMPARED(s, name, sign) \
    static inline lanes_##s name##_##s(lanes_##s a, lanes_##s b) { return BLEND(a sign b, a, b); }
#define BOTH_NATIVE(s, width, element, type)                    \
    NATIVE(s, larger, width##_max_##element, type)              \
    NATIVE(s, smaller, width##_min_##element, type)
#define BOTH_COMPARED(s) COMPARED(s, larger, >) COMPARED(s, smaller, <)

#if defined(__AVX512F__)
#define INTEGERS(s, element) BOTH_NATIVE(s, _mm512, element, __m512i)
#define LONG_INTEGERS(s, element) INTEGERS(s, element)
#elif defined(__AVX2__)
#define INTEGERS(s, element) BOTH_NATIVE(s, _mm256, element, __m256i)
#define LONG_INTEGERS(s, element) BOTH_COMPARED(s)
#elif defined(__SSE4_1__)
#define INTEGERS(s, element) BOTH_NATIVE(s, _mm, element, __m128i)
#define LONG_INTEGERS(s, element) BOTH_COMPARED(s)
#else
#define INTEGERS(s, element) BOTH_COMPARED(s)
#define LONG_INTEGERS(s, element) BOTH_COMPARED(s)
#endif
INTEGERS(i8, epi8)
INTEGERS(u8, epu8)
INTEGERS(i16, epi16)
INTEGERS(u16, epu16)
INTEGERS(i32, epi32)
INTEGERS(u32, epu32)
LONG_INTEGERS(i64, epi64)
LONG_INTEGERS(u64, epu64)

/* x86 gives b where either is NaN, so a has to be looked at. */
#if defined(__AVX512F__)
#define FLOATS(s, name, instruction, type, fixup, integers)                                             \
    static inline lanes_##s name##_##s(lanes_##s a, lanes_##s b) {                                      \
        return (lanes_##s)fixup(instruction((type)a, (type)b), (type)a, integers(0x11), 0); /* a if NaN */ \
    }
FLOATS(f32, larger, _mm512_max_ps, __m512, _mm512_fixupimm_ps, _mm512_set1_epi32)
FLOATS(f32, smaller, _mm512_min_ps, __m512, _mm512_fixupimm_ps, _mm512_set1_epi32)
FLOATS(f64, larger, _mm512_max_pd, __m512d, _mm512_fixupimm_pd, _mm512_set1_epi64)
FLOATS(f64, smaller, _mm512_min_pd, __m512d, _mm512_fixupimm_pd, _mm512_set1_epi64)
#else
#define FLOATS(s, bits, name, extreme)                                          \
    static inline lanes_##s name##_##s(lanes_##s a, lanes_##s b) {              \
        const lanes_##s best = (lanes_##s)extreme;                              \
        return (lanes_##s)((lanes_##bits)best | (lanes_##bits)(a != a));        \
    }
#if defined(__AVX2__)
FLOATS(f32, i32, larger, _mm256_max_ps((__m256)a, (__m256)b))
FLOATS(f32, i32, smaller, _mm256_min_ps((__m256)a, (__m256)b))
FLOATS(f64, i64, larger, _mm256_max_pd((__m256d)a, (__m256d)b))
FLOATS(f64, i64, smaller, _mm256_min_pd((__m256d)a, (__m256d)b))
#elif defined(__SSE4_1__)
FLOATS(f32, i32, larger, _mm_max_ps((__m128)a, (__m128)b))
FLOATS(f32, i32, smaller, _mm_min_ps((__m128)a, (__m128)b))
FLOATS(f64, i64, larger, _mm_max_pd((__m128d)a, (__m128d)b))
FLOATS(f64, i64, smaller, _mm_min_pd((__m128d)a, (__m128d)b))
#else
FLOATS(f32, i32, larger, BLEND(a > b, a, b))
FLOATS(f32, i32, smaller, BLEND(a < b, a, b))
FLOATS(f64, i64, larger, BLEND(a > b, a, b))
FLOATS(f64, i64, smaller, BLEND(a < b, a, b))
#endif
#endif
/* Of numbers alone. */
#if defined(__AVX512F__)
NATIVE(f32, quick_larger, _mm512_max_ps, __m512)
NATIVE(f32, quick_smaller, _mm512_min_ps, __m512)
NATIVE(f64, quick_larger, _mm512_max_pd, __m512d)
NATIVE(f64, quick_smaller, _mm512_min_pd, __m512d)
#elif defined(__AVX2__)
NATIVE(f32, quick_larger, _mm256_max_ps, __m256)
NATIVE(f32, quick_smaller, _mm256_min_ps, __m256)
NATIVE(f64, quick_larger, _mm256_max_pd, __m256d)
NATIVE(f64, quick_smaller, _mm256_min_pd, __m256d)
#elif defined(__SSE4_1__)
NATIVE(f32, quick_larger, _mm_max_ps, __m128)
NATIVE(f32, quick_smaller, _mm_min_ps, __m128)
NATIVE(f64, quick_larger, _mm_max_pd, __m128d)
NATIVE(f64, quick_smaller, _mm_min_pd, __m128d)
#else
COMPARED(f32, quick_larger, >)
COMPARED(f32, quick_smaller, <)
COMPARED(f64, quick_larger, >)
COMPARED(f64, quick_smaller, <)
#endif
#undef FLOATS
#undef INTEGERS
#undef LONG_INTEGERS
#undef BOTH_NATIVE
#undef BOTH_COMPARED
#undef NATIVE
#undef COMPARED

/* For all vectors of a row of n bytes, not less than one, `i` bytes from its begin: the first, those from
 * a line of memory on, which the row has `line` bytes of, the last; they overlap, and `at` counts them.  What crosses lines takes two cycles. */
#define EVERY_VECTOR(line)                                                                                           \
    for (int64_t i = 0, at = 0, next = VECTOR_BYTES - (line), done = 0; !done; \
         done = i >= n - VECTOR_BYTES, i = next < n - VECTOR_BYTES ? next : n - VECTOR_BYTES, next += VECTOR_BYTES, at++)

/* What is known of floats that were looked at: lanes without a NaN, or those with one. */
#if defined(__AVX512F__)
#define WATCHING(s, bits, suffix, mask)                                                                   \
    typedef mask Numbers_##s;                                                                             \
    static const Numbers_##s NUMBERS_##s = (mask)-1;                                                      \
    static inline Numbers_##s watched_##s(Numbers_##s so_far, lanes_##s a, lanes_##s b) {                 \
        return _mm512_mask_cmp_##suffix##_mask(so_far, a, b, _CMP_ORD_Q);                                 \
    }                                                                                                     \
    static inline int only_numbers_##s(Numbers_##s seen) { return seen == NUMBERS_##s; }
#else
#define WATCHING(s, bits, suffix, mask)                                                                   \
    typedef lanes_##bits Numbers_##s;                                                                     \
    static const Numbers_##s NUMBERS_##s = {0};                                                           \
    static inline Numbers_##s watched_##s(Numbers_##s so_far, lanes_##s a, lanes_##s b) {                 \
        return so_far | (a != a) | (b != b);                                                              \
    }                                                                                                     \
    static inline int only_numbers_##s(Numbers_##s seen) {                                                 \
        int found = 0;                                                                                    \
        for (unsigned k = 0; k < sizeof(seen) / sizeof(seen[0]); k++) found |= seen[k] != 0;              \
        return !found;                                                                                    \
    }
#endif
WATCHING(f32, i32, ps, __mmask16)
WATCHING(f64, i64, pd, __mmask8)
#undef WATCHING

/* Whether rows of n bytes, not less than a vector, hold no NaN. */
#define ROWS_OF_NUMBERS(s)                                                                                \
    static int rows_of_numbers_##s(const char *const *row, int64_t rows, int64_t n) {                     \
        Numbers_##s some = NUMBERS_##s, others = NUMBERS_##s;                                             \
        for (int64_t j = 0; j < rows; j += 2) {                                                           \
            const char *a = row[j], *b = row[j + 1 < rows ? j + 1 : j];                                   \
            EVERY_VECTOR((int64_t)((uintptr_t)a % VECTOR_BYTES)) {                                        \
                const lanes_##s x = *(const loose_##s *)(a + i), y = *(const loose_##s *)(b + i);          \
                const Numbers_##s seen = watched_##s(some, x, y);                                         \
                some = others, others = seen;                                                             \
            }                                                                                             \
        }                                                                                                 \
        return only_numbers_##s(some) && only_numbers_##s(others);                                          \
    }
ROWS_OF_NUMBERS(f32)
ROWS_OF_NUMBERS(f64)
#undef ROWS_OF_NUMBERS

/* floor(v * factor / 2^16) */
static inline lanes_u16 multiply_high(lanes_u16 v, lanes_u16 factor) {
#if defined(__AVX512BW__)
    return (lanes_u16)_mm512_mulhi_epu16((__m512i)v, (__m512i)factor);
#elif defined(__AVX2__)
    return (lanes_u16)_mm256_mulhi_epu16((__m256i)v, (__m256i)factor);
#elif defined(__SSE4_1__)
    return (lanes_u16)_mm_mulhi_epu16((__m128i)v, (__m128i)factor);
#else
    lanes_u16 high;
    for (unsigned i = 0; i < VECTOR_BYTES / 2; i++) high[i] = (uint16_t)((uint32_t)v[i] * factor[i] >> 16);
    return high;
#endif
}
#endif
