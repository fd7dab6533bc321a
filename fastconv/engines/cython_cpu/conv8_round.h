/* Sums of products of 8-bit numbers made to numbers of 8 bits again. */
#ifndef FASTCONV_CONV8_ROUND_H
#define FASTCONV_CONV8_ROUND_H
#include "conv8.h"
#include "quantized.h"

/* What sums are made to numbers of 8 bits by; scales and offsets are those of the filters of the lanes. */
struct eighth {
    const double *scale, *offset;
    int32_t zero_point, low, high;
    float guard;  /* nearer to a half than this no float32 is rounded */
    int32_t near; /* the same in 65536 parts, of results that need no clamping but to their bytes; 0: others */
};

static inline uint8_t exact_eighth(int32_t sum, double scale, double offset, int32_t zero_point, int32_t low, int32_t high) {
    return (uint8_t)byte_between(__builtin_rint(((double)sum + offset) * scale) + zero_point, low, high);
}
static inline void eighth_exactly(uint8_t *to, const int32_t *sums, const struct eighth *q, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const double v = __builtin_rint(((double)sums[i] + q->offset[i]) * q->scale[i]) + q->zero_point;
        to[i] = (uint8_t)byte_between(v, q->low, q->high);
    }
}

#if defined(__AVX512F__)
static inline __m512 joined_floats(__m512d a, __m512d b) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(a)), _mm512_cvtpd_ps(b), 1);
}
static inline __m512 eighth_scales(const struct eighth *q, int64_t i) {
    return joined_floats(_mm512_loadu_pd(q->scale + i), _mm512_loadu_pd(q->scale + i + 8));
}
static inline __m512 eighth_offsets(const struct eighth *q, int64_t i) {
    return joined_floats(_mm512_mul_pd(_mm512_loadu_pd(q->scale + i), _mm512_loadu_pd(q->offset + i)),
                         _mm512_mul_pd(_mm512_loadu_pd(q->scale + i + 8), _mm512_loadu_pd(q->offset + i + 8)));
}
/* Rows of sums as results times 65536: a half is a whole number, and what is near one is made in float64.  A row has two vectors. */
static void eighths_scaled(const int32_t *sums, int64_t rows, int64_t n, const struct eighth *q, char *out, const int64_t *out_of) {
    const __m512i near = _mm512_set1_epi16((int16_t)q->near), twice = _mm512_add_epi16(near, near);
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 0, 4, 8, 12, 1, 5, 9, 13);
    const __m512 size = _mm512_set1_ps(65536), point = _mm512_set1_ps((float)q->zero_point + 0.5f);
    const __mmask32 kept = n >= DOT_LANES ? ~(__mmask32)0 : ((__mmask32)1 << n) - 1;
    __m512 scale[2], offset[2];
    for (int j = 0; j < 2; j++) {
        scale[j] = _mm512_mul_ps(eighth_scales(q, 16 * j), size);
        offset[j] = _mm512_mul_ps(_mm512_add_ps(eighth_offsets(q, 16 * j), point), size);
    }
    for (int64_t r = 0; r < rows; r++, sums += DOT_LANES) {
        const __m512i a = _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sums)), scale[0], offset[0]));
        const __m512i b = _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sums + 16)), scale[1], offset[1]));
        const __m512i parts = _mm512_add_epi16(_mm512_mask_blend_epi16(0xaaaaaaaa, a, _mm512_slli_epi32(b, 16)), near);
        uint32_t halves = _mm512_cmple_epu16_mask(parts, twice);
        const __m512i v = _mm512_packs_epi32(_mm512_srai_epi32(a, 16), _mm512_srai_epi32(b, 16));
        const __m512i bytes = _mm512_permutexvar_epi32(order, q->low < 0 ? _mm512_packs_epi16(v, v) : _mm512_packus_epi16(v, v));
        if (n >= DOT_LANES) _mm256_storeu_si256((__m256i *)(out + out_of[r]), _mm512_castsi512_si256(bytes));
        else _mm256_mask_storeu_epi8(out + out_of[r], kept, _mm512_castsi512_si256(bytes));
        for (; __builtin_expect(halves, 0); halves &= halves - 1) {
            const int64_t k = __builtin_ctz(halves), i = k / 2 + k % 2 * 16;
            if (i < n) out[out_of[r] + i] = (char)exact_eighth(sums[i], q->scale[i], q->offset[i], q->zero_point, q->low, q->high);
        }
    }
}

/* Rows of sums as float32, those that come near a half once more as float64.  A row has two vectors. */
static void eighths(const int32_t *sums, int64_t rows, int64_t n, const struct eighth *q, char *out, const int64_t *out_of) {
    if (q->near) {
        eighths_scaled(sums, rows, n, q, out, out_of);
        return;
    }
    const __m512i zero = _mm512_set1_epi16(q->zero_point), low = _mm512_set1_epi16(q->low), high = _mm512_set1_epi16(q->high);
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    const __m512 most = _mm512_set1_ps(1e6f), guard = _mm512_set1_ps(q->guard);
    const __mmask32 kept = n >= DOT_LANES ? ~(__mmask32)0 : ((__mmask32)1 << n) - 1;
    const __m512 scale[2] = {eighth_scales(q, 0), eighth_scales(q, 16)}, offset[2] = {eighth_offsets(q, 0), eighth_offsets(q, 16)};
    for (int64_t r = 0; r < rows; r++, sums += DOT_LANES) {
        const __m512 a = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sums)), scale[0], offset[0]);
        const __m512 b = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sums + 16)), scale[1], offset[1]);
        const __m512 worst = _mm512_range_ps(_mm512_reduce_ps(a, 8), _mm512_reduce_ps(b, 8), 0x0b); /* larger absolute value */
        if (__builtin_expect(_mm512_cmp_ps_mask(worst, guard, _CMP_NLT_UQ), 0)) {
            uint8_t row[DOT_LANES];
            eighth_exactly(row, sums, q, n);
            memcpy(out + out_of[r], row, n);
            continue;
        }
        const __m512i c = _mm512_cvtps_epi32(_mm512_min_ps(a, most)), d = _mm512_cvtps_epi32(_mm512_min_ps(b, most));
        __m512i v = _mm512_adds_epi16(_mm512_packs_epi32(c, d), zero);
        v = _mm512_min_epi16(_mm512_max_epi16(v, low), high);
        const __m256i bytes = _mm512_cvtepi16_epi8(_mm512_permutexvar_epi64(order, v));
        if (n >= DOT_LANES) _mm256_storeu_si256((__m256i *)(out + out_of[r]), bytes);
        else _mm256_mask_storeu_epi8(out + out_of[r], kept, bytes);
    }
}
#else
static void eighths(const int32_t *sums, int64_t rows, int64_t n, const struct eighth *q, char *out, const int64_t *out_of) {
    for (int64_t r = 0; r < rows; r++, sums += DOT_LANES) {
        uint8_t row[DOT_LANES];
        eighth_exactly(row, sums, q, DOT_LANES);
        memcpy(out + out_of[r], row, n);
    }
}
#endif

#endif
