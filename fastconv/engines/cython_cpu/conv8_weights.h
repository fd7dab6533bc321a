/* Weights of convolutions of 8-bit numbers as their sums read them. */
#ifndef FASTCONV_CONV8_WEIGHTS_H
#define FASTCONV_CONV8_WEIGHTS_H
#include "conv8.h"

/* Weights of up to DOT_LANES filters, `depth` each, less their shifts: element e of lane f becomes part e % together of the 4 bytes
 * [e / together][f]; index_of[e] < 0 is none.  The sums of the packed elements follow. */
#define PACK(T, U, name)                                                                                                    \
    static void name(const U *w, int64_t depth, int64_t filters, const int32_t *index_of, int64_t n, int64_t together,      \
                     const int32_t *shift, T *to) {                                                                         \
        int32_t sums[DOT_LANES] = {0};                                                                                      \
        for (int64_t e = 0; e < n; e += together, to += DOT_LANES * together)                                               \
            for (int64_t f = 0; f < DOT_LANES; f++)                                                                         \
                for (int64_t i = 0; i < together; i++) {                                                                    \
                    const int32_t at = index_of[e + i], v = f < filters && at >= 0 ? w[f * depth + at] - shift[f] : 0;      \
                    to[f * together + i] = (T)v;                                                                            \
                    sums[f] += v;                                                                                           \
                }                                                                                                           \
        memcpy(to, sums, sizeof sums);                                                                                      \
    }
PACK(int16_t, int8_t, pack_16s)
PACK(int16_t, uint8_t, pack_16u)
PACK(int32_t, int8_t, pack_32s)
PACK(int32_t, uint8_t, pack_32u)
#undef PACK
/* The same of bytes, four at a time, `flip` moving unsigned ones by 128: 0.4 ns each with 3x3 taps. */
static void pack_bytes(const uint8_t *w, int64_t depth, int64_t filters, const int32_t *index_of, int64_t n, uint32_t flip, char *to) {
    typedef uint32_t loose_four __attribute__((aligned(1), may_alias));
    ints sums[GEMM_COLS] = {0};
    for (int64_t e = 0; e < n; e += 4, to += 4 * DOT_LANES) {
        const int32_t *i = index_of + e;
        loose_four *row = (loose_four *)to;
        if (i[1] == i[0] + 1 && i[2] == i[0] + 2 && i[3] == i[0] + 3)
            for (int64_t f = 0; f < filters; f++) row[f] = *(const loose_four *)(w + f * depth + i[0]) ^ flip;
        else if (i[3] >= 0)
            for (int64_t f = 0; f < filters; f++) {
                const uint8_t *at = w + f * depth;
                row[f] = (at[i[0]] | (uint32_t)at[i[1]] << 8 | (uint32_t)at[i[2]] << 16 | (uint32_t)at[i[3]] << 24) ^ flip;
            }
        else
            for (int64_t f = 0; f < filters; f++) {
                row[f] = 0;
                for (int64_t j = 0; j < 4; j++)
                    if (i[j] >= 0) row[f] |= (uint32_t)(uint8_t)(w[f * depth + i[j]] ^ flip) << 8 * j;
            }
        for (int64_t f = filters; f < DOT_LANES; f++) row[f] = 0;
        for (int64_t j = 0; j < GEMM_COLS; j++)
            sums[j] = dot(sums[j], ((const loose_ints *)to)[j], 0x01010101 - (ints){0}, 4);
    }
    memcpy(to, sums, sizeof sums);
}
#if defined(__AVX512F__)
/* 16 rows of 64 bytes, `step` apart, those of `rows` that there are, as 16 numbers of each column: `n` columns, `kept` bytes of
 * each row.  Returns the sums of the lanes. */
static inline __m512i turn_weights(const uint8_t *w, int64_t step, int64_t rows, __mmask64 kept, uint32_t flip, char *to,
                                   int64_t to_step, int64_t n, __m512i sums) {
    __m512i a[16], b[16];
    _Pragma("GCC unroll 16") for (int i = 0; i < 16; i++) {
        a[i] = _mm512_maskz_loadu_epi8(i < rows ? kept : 0, w + (i < rows ? i : 0) * step);
        if (flip) a[i] = _mm512_maskz_mov_epi8(i < rows ? kept : 0, _mm512_xor_si512(a[i], _mm512_set1_epi32((int)flip)));
    }
    _Pragma("GCC unroll 8") for (int i = 0; i < 8; i++) { /* pairs of rows, then fours, of each 16 bytes */
        b[2 * i] = _mm512_unpacklo_epi32(a[2 * i], a[2 * i + 1]);
        b[2 * i + 1] = _mm512_unpackhi_epi32(a[2 * i], a[2 * i + 1]);
    }
    _Pragma("GCC unroll 4") for (int i = 0; i < 16; i += 4) {
        a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
        a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
        a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
        a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
    }
    _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) {
        b[i] = _mm512_shuffle_i32x4(a[i], a[i + 4], 0x88), b[i + 8] = _mm512_shuffle_i32x4(a[i], a[i + 4], 0xdd);
        b[i + 4] = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0x88), b[i + 12] = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0xdd);
    }
    _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) {
        a[i] = _mm512_shuffle_i32x4(b[i], b[i + 4], 0x88), a[i + 8] = _mm512_shuffle_i32x4(b[i], b[i + 4], 0xdd);
        a[i + 4] = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0x88), a[i + 12] = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0xdd);
    }
    _Pragma("GCC unroll 16") for (int i = 0; i < 16; i++) {
        if (i >= n) break;
        _mm512_storeu_si512(to + i * to_step, a[i]);
        sums = (__m512i)dot((ints)sums, (ints)a[i], 0x01010101 - (ints){0}, 4);
    }
    return sums;
}

enum { MOST_TURNED = 25 }; /* taps; 16 fours of channels of 16 filters stay in the first cache */

/* Fours of channels [four][channel of it][tap] as [tap][four]: `turned` has 4 bytes of these of 16 filters in a vector.  A four's
 * bytes of a tap lie in four such vectors at four different places, as their number is odd. */
static inline void part_taps(const char *turned, int64_t taps, int64_t fours, char *to, int64_t to_four, int64_t to_tap) {
    for (int64_t t = 0; t < taps; t++) {
        const char *at[4];
        uint32_t order = 0;
        for (uint32_t i = 0; i < 4; i++) {
            const int64_t byte = taps * i + t;
            at[byte % 4] = turned + byte / 4 * 64;
            order |= (uint32_t)(byte % 4) << 8 * i;
        }
        const __m512i places = _mm512_add_epi32(_mm512_set1_epi32((int)order), _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0));
        for (int64_t q = 0; q < fours; q++) {
            const int64_t from = q * taps * 64;
            const __m512i a = _mm512_mask_loadu_epi8(_mm512_load_si512(at[0] + from), 0x2222222222222222, at[1] + from);
            const __m512i b = _mm512_mask_loadu_epi8(_mm512_load_si512(at[2] + from), 0x8888888888888888, at[3] + from);
            _mm512_storeu_si512(to + t * to_tap + q * to_four, _mm512_shuffle_epi8(_mm512_mask_blend_epi16(0xaaaaaaaa, a, b), places));
        }
    }
}

/* Fours of channels with all taps of each filter: blocks of 16 numbers by 16 filters are turned in registers, taps parted after. */
static void pack_turned(const uint8_t *w, int64_t depth, int64_t filters, int64_t taps, uint32_t flip, char *to) {
    char turned[MOST_TURNED * 16 * 64] __attribute__((aligned(64)));
    const int64_t fours = (depth / taps + 3) / 4, numbers = (depth + 3) / 4;
    __m512i sums[GEMM_COLS];
    for (int j = 0; j < GEMM_COLS; j++) sums[j] = _mm512_setzero_si512();
    for (int64_t q = 0; q < fours; q += 16)
        for (int64_t j = 0; j < GEMM_COLS; j++) {
            const int64_t some = fours - q < 16 ? fours - q : 16, end = (q + some) * taps < numbers ? (q + some) * taps : numbers;
            char *const there = to + (q * GEMM_COLS + j) * 64;
            for (int64_t n = q * taps; n < end; n += 16) {
                const int64_t left = depth - 4 * n;
                char *const place = taps == 1 ? there : turned + (n - q * taps) * 64;
                sums[j] = turn_weights(w + 16 * j * depth + 4 * n, depth, filters - 16 * j, left >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << left) - 1,
                                       flip, place, taps == 1 ? 64 * GEMM_COLS : 64, end - n, sums[j]);
            }
            if (taps > 1) part_taps(turned, taps, some, there, 64 * GEMM_COLS, fours * 64 * GEMM_COLS);
        }
    memcpy(to + 4 * DOT_LANES * fours * taps, sums, sizeof sums);
}
#endif

/* `taps`: of whole fours of channels, or of one, if all are packed tap by tap; else 0. */
static void pack_dots(const char *w, int signed_bytes, int64_t depth, int64_t filters, const int32_t *index_of, int64_t n,
                      int64_t together, int64_t taps, const int32_t *shift, char *to) {
#if defined(__AVX512F__)
    if (together == 4 && (taps & 1) && taps <= MOST_TURNED) {
        pack_turned((const uint8_t *)w, depth, filters, taps, signed_bytes ? 0 : 0x80808080, to);
        return;
    }
#endif
#define TO(T, bits)                                                                                                         \
    if (signed_bytes) pack_##bits##s((const int8_t *)w, depth, filters, index_of, n, together, shift, (T *)to);             \
    else pack_##bits##u((const uint8_t *)w, depth, filters, index_of, n, together, shift, (T *)to);
    if (together == 4) pack_bytes((const uint8_t *)w, depth, filters, index_of, n, signed_bytes ? 0 : 0x80808080, to);
    else if (together == 2) { TO(int16_t, 16) }
    else { TO(int32_t, 32) }
#undef TO
}
#endif
