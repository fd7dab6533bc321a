/* Depthwise convolution of 8-bit numbers. */
#ifndef FASTCONV_CONV8_DEPTH_H
#define FASTCONV_CONV8_DEPTH_H
#include "conv8.h"
#include "conv8_round.h"

/* Lanes are channels: `together` taps of each become 4 bytes by unpacking, which leaves the lanes of a block
 * of together * INTS channels in an order of their own, in fours (unit_of); packing them restores it. */
#if defined(__AVX512F__)
#define LOW_8(a, b) (ints)_mm512_unpacklo_epi8((__m512i)(a), (__m512i)(b))
#define HIGH_8(a, b) (ints)_mm512_unpackhi_epi8((__m512i)(a), (__m512i)(b))
#define LOW_16(a, b) (ints)_mm512_unpacklo_epi16((__m512i)(a), (__m512i)(b))
#define HIGH_16(a, b) (ints)_mm512_unpackhi_epi16((__m512i)(a), (__m512i)(b))
#elif defined(__AVX2__)
#define LOW_16(a, b) (ints)_mm256_unpacklo_epi16((__m256i)(a), (__m256i)(b))
#define HIGH_16(a, b) (ints)_mm256_unpackhi_epi16((__m256i)(a), (__m256i)(b))
#elif defined(__SSE2__)
typedef short shorts __attribute__((vector_size(16)));
#define LOW_16(a, b) (ints)__builtin_shufflevector((shorts)(a), (shorts)(b), 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH_16(a, b) (ints)__builtin_shufflevector((shorts)(a), (shorts)(b), 4, 12, 5, 13, 6, 14, 7, 15)
#endif

static inline __attribute__((always_inline)) void depth_taps(const char *const *at, const ints *w, ints *acc, const int together) {
    ints x[4];
    _Pragma("GCC unroll 4") for (int i = 0; i < together; i++) x[i] = *(const loose_ints *)at[i];
#ifdef LOW_8
    if (together == 4) {
        const ints a = LOW_8(x[0], x[1]), b = HIGH_8(x[0], x[1]), c = LOW_8(x[2], x[3]), d = HIGH_8(x[2], x[3]);
        x[0] = LOW_16(a, c), x[1] = HIGH_16(a, c), x[2] = LOW_16(b, d), x[3] = HIGH_16(b, d);
    }
#endif
#ifdef LOW_16
    if (together == 2) {
        const ints a = LOW_16(x[0], x[1]);
        x[1] = HIGH_16(x[0], x[1]), x[0] = a;
    }
#endif
    _Pragma("GCC unroll 4") for (int j = 0; j < together; j++) acc[j] = dot(acc[j], w[j], x[j], together);
}

#define DEPTH_ARGUMENTS                                                                                                     \
    const char *w, const char *src, const int64_t *pixel_of, const int64_t *tap_of, int64_t groups, const int32_t *start,   \
        int32_t *sums, int64_t rows
static inline __attribute__((always_inline)) void depth_body(DEPTH_ARGUMENTS, const int known, const int together) {
    ints kept[3 * 4]; /* weights of as many groups stay in registers */
    _Pragma("GCC unroll 12") for (int i = 0; i < known * together; i++) kept[i] = ((const loose_ints *)w)[i];
    for (int64_t r = 0; r < rows; r++) {
        const char *pixel = src + pixel_of[r], *at[4];
        ints acc[4];
        _Pragma("GCC unroll 4") for (int j = 0; j < together; j++) acc[j] = ((const loose_ints *)start)[j];
        _Pragma("GCC unroll 3") for (int t = 0; t < known; t++) {
            _Pragma("GCC unroll 4") for (int i = 0; i < together; i++) at[i] = pixel + tap_of[t * together + i];
            depth_taps(at, kept + t * together, acc, together);
        }
        for (int64_t t = known; t < groups; t++) {
            ints taps[4];
            _Pragma("GCC unroll 4") for (int i = 0; i < together; i++) {
                at[i] = pixel + tap_of[t * together + i];
                taps[i] = ((const loose_ints *)w)[t * together + i];
            }
            depth_taps(at, taps, acc, together);
        }
        _Pragma("GCC unroll 4") for (int j = 0; j < together; j++)
            ((loose_ints *)sums)[r * together + j] = acc[j];
    }
}
#define DEPTH(known, together)                                                                                              \
    static __attribute__((noinline)) void depth_##known##_##together(DEPTH_ARGUMENTS) {                                     \
        depth_body(w, src, pixel_of, tap_of, groups, start, sums, rows, known, together);                                   \
    }
#if defined(__AVX512F__)
DEPTH(3, 4)
DEPTH(0, 4)
DEPTH(0, 2)
#elif defined(__SSE2__)
DEPTH(0, 2)
#else
DEPTH(0, 1)
#endif
#undef DEPTH

/* Sums of `rows` pixels for the channels of a block; groups of taps. */
static void depths(DEPTH_ARGUMENTS, int64_t together) {
#if defined(__AVX512F__)
    (together == 2 ? depth_0_2 : groups == 3 ? depth_3_4 : depth_0_4)(w, src, pixel_of, tap_of, groups, start, sums, rows);
#elif defined(__SSE2__)
    depth_0_2(w, src, pixel_of, tap_of, groups, start, sums, rows);
#else
    depth_0_1(w, src, pixel_of, tap_of, groups, start, sums, rows);
#endif
}

/* The channel, in fours, of the lanes of a block from 4 * unit on. */
static inline int64_t unit_of(int64_t unit, int64_t together) {
    return unit % (VECTOR_BYTES / 16) * together + unit / (VECTOR_BYTES / 16);
}

static inline void eighths_in_order(const int32_t *sums, int64_t n, const struct eighth *q, char *out, int64_t together) {
    uint8_t row[4 * INTS], channels[4 * INTS];
    eighth_exactly(row, sums, q, together * INTS);
    for (int64_t u = 0; u < together * INTS / 4; u++) memcpy(channels + 4 * unit_of(u, together), row + 4 * u, 4);
    memcpy(out, channels, n);
}

#if defined(__AVX512F__)
static void eighths_of_bytes(const int32_t *sums, int64_t rows, int64_t n, const struct eighth *q, char *out, const int64_t *out_of) {
    const __m512i zero = _mm512_set1_epi16(q->zero_point), low = _mm512_set1_epi16(q->low), high = _mm512_set1_epi16(q->high);
    const __m512 most = _mm512_set1_ps(1e6f), guard = _mm512_set1_ps(q->guard);
    const __mmask64 kept = n >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << n) - 1;
    __m512 scale[4], offset[4];
    for (int j = 0; j < 4; j++) scale[j] = eighth_scales(q, 16 * j), offset[j] = eighth_offsets(q, 16 * j);
    for (int64_t r = 0; r < rows; r++, sums += 64) {
        __m512 v[4];
        __m512i i[4];
        _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++)
            v[j] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sums + 16 * j)), scale[j], offset[j]);
        const __m512 a = _mm512_range_ps(_mm512_reduce_ps(v[0], 8), _mm512_reduce_ps(v[1], 8), 0x0b);
        const __m512 b = _mm512_range_ps(_mm512_reduce_ps(v[2], 8), _mm512_reduce_ps(v[3], 8), 0x0b);
        if (__builtin_expect(_mm512_cmp_ps_mask(_mm512_range_ps(a, b, 0x0b), guard, _CMP_NLT_UQ), 0)) {
            eighths_in_order(sums, n, q, out + out_of[r], 4);
            continue;
        }
        _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++) i[j] = _mm512_cvtps_epi32(_mm512_min_ps(v[j], most));
        const __m512i c = _mm512_adds_epi16(_mm512_packs_epi32(i[0], i[1]), zero);
        const __m512i d = _mm512_adds_epi16(_mm512_packs_epi32(i[2], i[3]), zero);
        const __m512i e = _mm512_min_epi16(_mm512_max_epi16(c, low), high), f = _mm512_min_epi16(_mm512_max_epi16(d, low), high);
        const __m512i mask = _mm512_set1_epi16(255);
        _mm512_mask_storeu_epi8(out + out_of[r], kept, _mm512_packus_epi16(_mm512_and_si512(e, mask), _mm512_and_si512(f, mask)));
    }
}
#endif

/* The same of sums of channels in the order of `depths`. */
static void eighths_of_depths(const int32_t *sums, int64_t rows, int64_t n, const struct eighth *q, char *out,
                              const int64_t *out_of, int64_t together) {
#if defined(__AVX512F__)
    if (together == 4) {
        eighths_of_bytes(sums, rows, n, q, out, out_of);
        return;
    }
#endif
    for (int64_t r = 0; r < rows; r++) eighths_in_order(sums + r * together * INTS, n, q, out + out_of[r], together);
}

/* Weights [channel][tap] of a block, `depth` each, less their shifts, as [group of taps][lane][tap of it]; then their sums.  Packed
 * tap e is tap index_of[e], or none. */
#define PACK(T, U, name)                                                                                                    \
    static void name(const U *w, int64_t depth, int64_t channels, const int32_t *index_of, int64_t n, int64_t together,     \
                     const int32_t *shift, T *to) {                                                                         \
        int32_t sums[4 * INTS] = {0};                                                                                       \
        for (int64_t lane = 0; lane < together * INTS; lane++) {                                                            \
            const int64_t c = 4 * unit_of(lane / 4, together) + lane % 4;                                                   \
            T *at = to + lane * together;                                                                                   \
            for (int64_t e = 0; e < n; e++) {                                                                               \
                const int32_t v = c < channels && index_of[e] >= 0 ? w[c * depth + index_of[e]] - shift[c] : 0;             \
                at[e / together * together * INTS * together + e % together] = (T)v;                                        \
                sums[lane] += v;                                                                                            \
            }                                                                                                               \
        }                                                                                                                   \
        memcpy(to + n * together * INTS, sums, 4 * together * INTS);                                                        \
    }
PACK(int8_t, int8_t, pack_depth_8s)
PACK(int8_t, uint8_t, pack_depth_8u)
PACK(int16_t, int8_t, pack_depth_16s)
PACK(int16_t, uint8_t, pack_depth_16u)
PACK(int32_t, int8_t, pack_depth_32s)
PACK(int32_t, uint8_t, pack_depth_32u)
#undef PACK
static void pack_depths(const char *w, int signed_bytes, int64_t depth, int64_t channels, const int32_t *index_of, int64_t n,
                        int64_t together, const int32_t *shift, char *to) {
#define TO(T, bits)                                                                                                         \
    if (signed_bytes) pack_depth_##bits##s((const int8_t *)w, depth, channels, index_of, n, together, shift, (T *)to);      \
    else pack_depth_##bits##u((const uint8_t *)w, depth, channels, index_of, n, together, shift, (T *)to);
    if (together == 4) { TO(int8_t, 8) }
    else if (together == 2) { TO(int16_t, 16) }
    else { TO(int32_t, 32) }
#undef TO
}

/* Weights of 1 for all taps there are, which sum windows. */
static void ones_of_depths(const int32_t *index_of, int64_t n, int64_t together, char *to) {
    for (int64_t i = 0; i < n * together * INTS; i++) {
        const int64_t one = index_of[i / (together * together * INTS) * together + i % together] >= 0;
        if (together == 4) ((int8_t *)to)[i] = (int8_t)one;
        else if (together == 2) ((int16_t *)to)[i] = (int16_t)one;
        else ((int32_t *)to)[i] = (int32_t)one;
    }
}

/* What zero points of the weights add to sums, of windows of each channel. */
static inline void less_products(int32_t *sums, int64_t n, const int32_t *zero, int64_t lanes, const int32_t *windows) {
    for (int64_t i = 0; i < n; i++) sums[i] = (int32_t)((uint32_t)sums[i] - (uint32_t)zero[i % lanes] * (uint32_t)windows[i]);
}

#endif
