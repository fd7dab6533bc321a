/* Depthwise convolution of 8-bit numbers where four products of bytes are one instruction: planes, whose lanes are outputs.
 *
 * A staged plane is one line of rows, as far apart as those of the output, so that a vector holds outputs of several rows.
 * Four neighbouring taps of each output are brought together by one shuffle within 16 bytes; bytes beyond the ends of their
 * row are replaced by the fill value (masks that the host has made), rows beyond the border are staged. */
#ifndef FASTCONV_DEPTHWISE8_H
#define FASTCONV_DEPTHWISE8_H
#include "conv8.h"
#include "conv8_round.h"
enum { MOST_GROUPS = 64 };

struct plane8 {
    int64_t groups, columns;   /* fours of taps, and of those a row of the kernel has */
    const int64_t *group_of;   /* bytes from an output's corner */
    const uint64_t *inside;    /* [vector of outputs][column][4] bytes that lie in their row */
    const int8_t *order;       /* [2][16] how the bytes of every other output are brought together */
    int32_t filler, zero_point, low, high;
    int32_t near;              /* parts of 65536 in which roundings may err; 0: all are done in double */
};

/* What is the same for all outputs of a channel. */
struct channel8 {
    uint32_t w[MOST_GROUPS], there[MOST_GROUPS]; /* taps; 1 for each */
    int32_t start, zero;                         /* sums begin with; the zero point of the weights, if windows are summed */
    double scale, offset;
};

#if defined(__AVX512F__)
/* What is near a half among sums of 16 outputs each, every other one of 32, once more in float64: the first n. */
static __attribute__((noinline)) void mend_plane(__m512i s, __m512i t, __m512i u, __m512i v, uint64_t halves, const struct plane8 *p,
                                                 const struct channel8 *c, int step, int64_t n, char *out) {
    int32_t sums[64];
    _mm512_storeu_si512(sums, s), _mm512_storeu_si512(sums + 16, t), _mm512_storeu_si512(sums + 32, u), _mm512_storeu_si512(sums + 48, v);
    for (; halves; halves &= halves - 1) {
        const int64_t k = __builtin_ctzll(halves), i = 16 * (k / 32 * 2 + k % 2) + k % 32 / 2;
        const int64_t at = step == 1 ? k % 32 / 8 * 16 + k / 32 * 8 + k % 8 : k;
        if (at < n) out[at] = (char)exact_eighth(sums[i], c->scale, c->offset, p->zero_point, p->low, p->high);
    }
}

/* Sums of 16 outputs each, every other one of 32, as the first n of 64 bytes: results times 65536, so that a half is a whole number. */
static inline __attribute__((always_inline)) void round_plane(const __m512i *sums, const struct plane8 *p, const struct channel8 *c,
                                                              __m512 scale, __m512 offset, __m512i near, int is_signed,
                                                              const int step, const int slowly, int64_t n, char *out) {
    __m512i i[4];
    _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++)
        i[j] = _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[j]), scale, offset));
    const __m512i d = _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(i[0], 16), i[1]);
    const __m512i e = _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(i[2], 16), i[3]);
    __m512i bytes = is_signed ? _mm512_packs_epi16(d, e) : _mm512_packus_epi16(d, e);
    if (step == 2) bytes = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), bytes);
    if (n >= 64) _mm512_storeu_si512(out, bytes);
    else _mm512_mask_storeu_epi8(out, ((__mmask64)1 << n) - 1, bytes);
    const __m512i a = _mm512_add_epi16(_mm512_mask_blend_epi16(0xaaaaaaaa, i[0], _mm512_slli_epi32(i[1], 16)), near);
    const __m512i b = _mm512_add_epi16(_mm512_mask_blend_epi16(0xaaaaaaaa, i[2], _mm512_slli_epi32(i[3], 16)), near);
    const __m512i twice = _mm512_add_epi16(near, near);
    const int all = slowly && !p->near;
    if (__builtin_expect(all || _mm512_cmple_epu16_mask(_mm512_min_epu16(a, b), twice), 0)) {
        const uint64_t halves = _mm512_cmple_epu16_mask(a, twice) | (uint64_t)_mm512_cmple_epu16_mask(b, twice) << 32;
        mend_plane(sums[0], sums[1], sums[2], sums[3], all ? ~(uint64_t)0 : halves, p, c, step, n, out);
    }
}

/* The first n outputs of a staged plane, in order.  `step`: how many bytes they are apart, 1 or 2; `known`: groups, or 0. */
static inline __attribute__((always_inline)) void plane_body(const struct plane8 *p, const struct channel8 *c, const char *staged, int64_t n, char *to,
                                                             const int step, const int windows, const int known) {
    const __m512i filler = _mm512_set1_epi8((int8_t)p->filler);
    const __m512i order[2] = {_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)p->order)),
                              _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)p->order + 1))};
    const __m512 scale = _mm512_set1_ps((float)(65536 * c->scale)), offset = _mm512_set1_ps((float)(65536 * (c->scale * c->offset + p->zero_point + 0.5)));
    const int64_t groups = known ? known : p->groups, columns = known ? 1 : p->columns;
    const __m512i near = _mm512_set1_epi16((int16_t)p->near), start = _mm512_set1_epi32(c->start);
    const uint64_t *inside = p->inside;
    const int is_signed = p->low < 0;
    __m512i taps[3];
    int64_t places[3];
    _Pragma("GCC unroll 3") for (int g = 0; g < known; g++) taps[g] = _mm512_set1_epi32((int)c->w[g]), places[g] = p->group_of[g];
    for (int64_t at = 0; at < n; at += 64, inside += 4 * columns) {
        __m512i sums[4], around[4];
        _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++) sums[j] = start, around[j] = _mm512_setzero_si512();
        _Pragma("GCC unroll 4") for (int64_t g = 0; g < groups; g++) {
            const char *src = staged + step * at + (known ? places[g] : p->group_of[g]);
            const uint64_t *in = inside + (known ? 0 : g % columns * 4);
            _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++) {
                const __m512i x = _mm512_loadu_si512(src + (step == 1 ? 8 * (j / 2) : 64 * (j / 2) + 2 * (j % 2)));
                const __m512i fours = _mm512_mask_shuffle_epi8(filler, in[j], x, order[step == 1 ? j % 2 : 0]);
                sums[j] = (__m512i)dot((ints)sums[j], (ints)(known ? taps[g] : _mm512_set1_epi32((int)c->w[g])), (ints)fours, 4);
                if (windows) around[j] = (__m512i)dot((ints)around[j], (ints)_mm512_set1_epi32((int)c->there[g]), (ints)fours, 4);
            }
        }
        if (windows)
            _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++)
                sums[j] = _mm512_sub_epi32(sums[j], _mm512_mullo_epi32(around[j], _mm512_set1_epi32(c->zero)));
        round_plane(sums, p, c, scale, offset, near, is_signed, step, windows, n - at, to + at);
    }
}
#define PLANE(name, step, windows, known)                                                                                       \
    static __attribute__((noinline)) void name(const struct plane8 *p, const struct channel8 *c, const char *staged, int64_t n, char *to) { \
        plane_body(p, c, staged, n, to, step, windows, known);                                                                  \
    }
PLANE(plane_3, 1, 0, 3)
PLANE(plane_3_by_2, 2, 0, 3)
PLANE(plane_any, 1, 0, 0)
PLANE(plane_any_by_2, 2, 0, 0)
PLANE(plane_windows, 1, 1, 0)
PLANE(plane_windows_by_2, 2, 1, 0)
#undef PLANE

/* `windows`: whether zero points of the weights, or roundings in double, are asked for. */
static void plane8(const struct plane8 *p, const struct channel8 *c, int64_t windows, int64_t step, const char *staged, int64_t n, char *to) {
    const int usual = p->groups == 3 && p->columns == 1;
    if (step == 1) (windows ? plane_windows : usual ? plane_3 : plane_any)(p, c, staged, n, to);
    else (windows ? plane_windows_by_2 : usual ? plane_3_by_2 : plane_any_by_2)(p, c, staged, n, to);
}

/* A channel's taps as signed bytes, four together, tap_of[] < 0: none; returns their sum. */
static inline int32_t take_taps8(uint32_t *fours, const uint8_t *w, int64_t taps, const int8_t *tap_of, int64_t groups, int flip) {
    int32_t total = 0;
    for (int64_t g = 0; g < groups; g += 4, tap_of += 16) {
        if (taps > 16) { /* beyond what one shuffle reaches */
            uint8_t *bytes = (uint8_t *)(fours + g);
            for (int64_t i = 0; i < 16; i++) bytes[i] = tap_of[i] < 0 ? 0 : w[tap_of[i]] ^ (flip ? 128 : 0);
        } else {
            const __m128i all = _mm_maskz_loadu_epi8((__mmask16)((1u << taps) - 1), w);
            const __m128i bits = _mm_set1_epi8(flip ? -128 : 0), order = _mm_loadu_si128((const __m128i *)tap_of);
            _mm_storeu_si128((__m128i *)(fours + g), _mm_shuffle_epi8(_mm_xor_si128(all, bits), order));
        }
        const __m128i four = _mm_loadu_si128((const __m128i *)(fours + g));
        const __m128i pairs = _mm_maddubs_epi16(_mm_set1_epi8(1), four), sums = _mm_madd_epi16(pairs, _mm_set1_epi16(1));
        const __m128i halves = _mm_add_epi32(sums, _mm_srli_si128(sums, 8));
        total += _mm_cvtsi128_si32(halves) + _mm_extract_epi32(halves, 1);
    }
    return total;
}

/* `rows` lines of n bytes, whose highest bit `flip` may change; every other one goes to `to` and to `to_odd`, if they are not one. */
static void stage_lines8(char *to, char *to_odd, int64_t to_step, const char *from, int64_t step, int64_t rows, int64_t n, int flip) {
    const __m512i bits = _mm512_set1_epi8(flip ? -128 : 0);
    const int64_t whole = n / 64 * 64;
    const __mmask64 left = ((__mmask64)1 << (n - whole)) - 1;
    for (int64_t r = 0; r < rows; r++, from += step) {
        int64_t i = 0;
        for (; i < whole; i += 64) _mm512_storeu_si512(to + i, _mm512_xor_si512(_mm512_loadu_si512(from + i), bits));
        if (left) _mm512_mask_storeu_epi8(to + i, left, _mm512_xor_si512(_mm512_maskz_loadu_epi8(left, from + i), bits));
        char *const next = to + to_step;
        to = to_odd, to_odd = next;
    }
}
#else /* these have no such instruction: conv8 does it all */
#define plane8(...) ((void)0)
#define stage_lines8(...) ((void)0)
#define take_taps8(...) 0
#endif
#endif
