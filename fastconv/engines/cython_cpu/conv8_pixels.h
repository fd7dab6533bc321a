/* 3x3 depthwise convolution of 8-bit numbers, channels last: columns of three pixels are brought together once. */
#ifndef FASTCONV_CONV8_PIXELS_H
#define FASTCONV_CONV8_PIXELS_H
#include "conv8.h"
#include "conv8_round.h"
#if defined(__AVX512F__)
/* What is near a half among sums of 64 channels, in the order of unpacking, once more in float64. */
static __attribute__((noinline)) void mend_pixel(__m512i s, __m512i t, __m512i u, __m512i v, uint64_t halves, const struct eighth *q,
                                                 int64_t channels, char *out) {
    int32_t sums[64];
    _mm512_storeu_si512(sums, s), _mm512_storeu_si512(sums + 16, t), _mm512_storeu_si512(sums + 32, u), _mm512_storeu_si512(sums + 48, v);
    for (; halves; halves &= halves - 1) {
        const int64_t k = __builtin_ctzll(halves), vector = k / 32 * 2 + k % 2, lane = k % 32 / 2, i = 16 * vector + lane;
        const int64_t channel = lane / 4 * 16 + 4 * vector + lane % 4;
        if (channel < channels) out[channel] = (char)exact_eighth(sums[i], q->scale[i], q->offset[i], q->zero_point, q->low, q->high);
    }
}

/* Sums of 64 channels as bytes in order: results times 65536, so that a half is a whole number. */
static inline __attribute__((always_inline)) void round_pixel(const __m512i *sums, const struct eighth *q, const __m512 *scale,
                                                              const __m512 *offset, __m512i near, int is_signed, int64_t channels,
                                                              __mmask64 kept, char *out) {
    __m512i i[4], v[4];
    _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++) {
        i[j] = _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[j]), scale[j], offset[j]));
        v[j] = _mm512_srai_epi32(i[j], 16);
    }
    const __m512i d = _mm512_packs_epi32(v[0], v[1]), e = _mm512_packs_epi32(v[2], v[3]);
    const __m512i bytes = is_signed ? _mm512_packs_epi16(d, e) : _mm512_packus_epi16(d, e);
    if (channels >= 64) _mm512_storeu_si512(out, bytes);
    else _mm512_mask_storeu_epi8(out, kept, bytes);
    const __m512i a = _mm512_add_epi16(_mm512_mask_blend_epi16(0xaaaaaaaa, i[0], _mm512_slli_epi32(i[1], 16)), near);
    const __m512i b = _mm512_add_epi16(_mm512_mask_blend_epi16(0xaaaaaaaa, i[2], _mm512_slli_epi32(i[3], 16)), near);
    const __m512i twice = _mm512_add_epi16(near, near);
    if (__builtin_expect(_mm512_cmple_epu16_mask(_mm512_min_epu16(a, b), twice), 0)) {
        const uint64_t halves = _mm512_cmple_epu16_mask(a, twice) | (uint64_t)_mm512_cmple_epu16_mask(b, twice) << 32;
        mend_pixel(sums[0], sums[1], sums[2], sums[3], halves, q, channels, out);
    }
}

/* A column of three pixels as fours of bytes of 64 channels, as unpacking leaves them. */
static inline __attribute__((always_inline)) void column8(const char *at, int64_t row, __m512i *fours) {
    const __m512i a = _mm512_loadu_si512(at), b = _mm512_loadu_si512(at + row), c = _mm512_loadu_si512(at + 2 * row);
    const __m512i ab = _mm512_unpacklo_epi8(a, b), above = _mm512_unpackhi_epi8(a, b);
    const __m512i cc = _mm512_unpacklo_epi8(c, c), over = _mm512_unpackhi_epi8(c, c);
    fours[0] = _mm512_unpacklo_epi16(ab, cc), fours[1] = _mm512_unpackhi_epi16(ab, cc);
    fours[2] = _mm512_unpacklo_epi16(above, over), fours[3] = _mm512_unpackhi_epi16(above, over);
}

#define PIXELS_ARGUMENTS                                                                                                     \
    const char *w, const char *src, int64_t row, int64_t pixel, int64_t step, const int32_t *start, int64_t n,              \
        const struct eighth *q, int64_t channels, char *out, int64_t out_step
#define DOTS(s, t)                                                                                                           \
    _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++)                                                                      \
        s[j] = (__m512i)dot((ints)s[j], ((const loose_ints *)(w + 256 * t))[j], (ints)x[j], 4);
#define BEGIN(s) _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++) s[j] = _mm512_loadu_si512(start + 16 * j);
#define DONE(s)                                                                                                              \
    round_pixel(s, q, scale, offset, near, is_signed, channels, kept, out);                                                  \
    out += out_step;
/* n outputs of a row, of up to 64 channels, windows `step` bytes apart.  `rolling`: that is a pixel, then each column is added to
 * three outputs. */
static inline __attribute__((always_inline)) void pixels_body(PIXELS_ARGUMENTS, const int rolling) {
    const __m512i near = _mm512_set1_epi16((int16_t)q->near);
    const __m512 size = _mm512_set1_ps(65536), point = _mm512_set1_ps((float)q->zero_point + 0.5f);
    const __mmask64 kept = channels >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << channels) - 1;
    const int is_signed = q->low < 0;
    __m512 scale[4], offset[4];
    __m512i x[4], a[4], b[4], c[4];
    for (int j = 0; j < 4; j++) {
        scale[j] = _mm512_mul_ps(eighth_scales(q, 16 * j), size);
        offset[j] = _mm512_mul_ps(_mm512_add_ps(eighth_offsets(q, 16 * j), point), size);
    }
    if (rolling) {
        BEGIN(a) BEGIN(b)
        column8(src, row, x);
        DOTS(a, 0)
        column8(src += pixel, row, x);
        DOTS(a, 1) DOTS(b, 0)
#define TURN(a, b, c)                                                                                                        \
    {                                                                                                                        \
        BEGIN(c)                                                                                                             \
        column8(src += pixel, row, x);                                                                                       \
        DOTS(a, 2) DOTS(b, 1) DOTS(c, 0) DONE(a)                                                                             \
        if (--n == 0) return;                                                                                                \
    }
        for (;;) { TURN(a, b, c) TURN(b, c, a) TURN(c, a, b) }
#undef TURN
    }
    for (; n > 0; n--, src += step) {
        BEGIN(a)
        _Pragma("GCC unroll 3") for (int t = 0; t < 3; t++) {
            column8(src + t * pixel, row, x);
            DOTS(a, t)
        }
        DONE(a)
    }
}
#undef DONE
#undef BEGIN
#undef DOTS
static __attribute__((noinline)) void pixels_rolling(PIXELS_ARGUMENTS) {
    pixels_body(w, src, row, pixel, step, start, n, q, channels, out, out_step, 1);
}
static __attribute__((noinline)) void pixels_apart(PIXELS_ARGUMENTS) {
    pixels_body(w, src, row, pixel, step, start, n, q, channels, out, out_step, 0);
}
static void pixels8(PIXELS_ARGUMENTS) {
    (step == pixel ? pixels_rolling : pixels_apart)(w, src, row, pixel, step, start, n, q, channels, out, out_step);
}
#undef PIXELS_ARGUMENTS
#else /* these have no such instruction */
#define pixels8(...) ((void)0)
#endif
#endif
