/* Convolution of planes of 8-bit numbers where four products of bytes are one instruction: lanes are outputs.
 *
 * Four elements of the windows of 64 outputs are brought together by unpacking, which packing the results undoes: vector j has
 * outputs 16 l + 4 j to 16 l + 4 j + 3 in its l-th 16 bytes.  Sums of up to 6 filters stay in registers. */
#ifndef FASTCONV_PANELS8_H
#define FASTCONV_PANELS8_H
#include "conv8.h"
#include "conv8_round.h"
enum { PANEL8_ROWS = 6, PANEL8_LANES = 64 };

/* Where windows lie: bytes from channel to channel, row to row. */
struct planes8 {
    int64_t x_channel, x_row, height, width, out_height, out_width;
    int64_t kernel_y, kernel_x, stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x;
};

/* Neighbouring outputs of a tile that read neighbours, or every other element: lane 0 would read at `at`. */
struct piece8 {
    const char *at;
    uint64_t lanes, low, high; /* lanes; elements of two vectors, of which every other one is taken */
};

/* What the filters of a panel have of their own: sums begin with, scale and offset of results times 65536, scale, offset. */
struct filters8 {
    int32_t start[PANEL8_ROWS];
    float by[PANEL8_ROWS], plus[PANEL8_ROWS];
    const double *scale, *offset;
    int32_t zero_point, low, high, near;
};

#if defined(__AVX512F__)
/* How the taps of a tile are read: all outputs where the image lies, those of a mask, or several pieces. */
enum { WHOLE8, MASKED8, PIECES8 };

/* The pieces of each tap of `lanes` outputs from `pixel` on, at least one: first[t] .. first[t + 1] - 1. */
static int find_pieces8(const struct planes8 *s, const char *plane, int64_t pixel, int64_t lanes, struct piece8 *pieces, int32_t *first) {
    const int64_t step = s->stride_x, taps = s->kernel_y * s->kernel_x;
    uint64_t all = ~(uint64_t)0;
    int32_t n = 0;
    *first++ = 0;
    for (int64_t t = 0; t < taps; t++) {
        const int64_t down = t / s->kernel_x * s->dilation_y - s->pad_y, across = t % s->kernel_x * s->dilation_x - s->pad_x;
        const int64_t inside = s->width - across; /* outputs x whose element x step + across lies inside: */
        const int64_t before = across < 0 ? (step - 1 - across) / step : 0, behind = inside > 0 ? (inside + step - 1) / step : 0;
        const int32_t begin = n;
        int64_t y = pixel / s->out_width, x = pixel % s->out_width, next;
        for (int64_t lane = 0; lane < lanes; lane = next, x = 0, y++) {
            next = lanes - lane < s->out_width - x ? lanes : lane + s->out_width - x;
            const int64_t row = y * s->stride_y + down, from = before > x ? lane + before - x : lane;
            const int64_t to = lane + behind - x < next ? lane + behind - x : next;
            if (row < 0 || row >= s->height || from >= to) continue;
            const uint64_t bits = (~(uint64_t)0 >> (64 - (to - from))) << from;
            const char *at = plane + row * s->x_row + (x - lane) * step + across;
            if (step == 1 && n > begin && pieces[n - 1].at == at) pieces[n - 1].lanes |= bits; /* rows follow each other as outputs do */
            else pieces[n++] = (struct piece8){at, bits, _pdep_u64(bits, 0x5555555555555555), _pdep_u64(bits >> 32, 0x5555555555555555)};
        }
        if (n == begin) pieces[n++] = (struct piece8){plane, 0, 0, 0};
        all &= pieces[begin].lanes;
        *first++ = n;
    }
    return n > taps || step > 1 ? PIECES8 : all == ~(uint64_t)0 ? WHOLE8 : MASKED8;
}

/* An element of the windows of 64 outputs. */
static inline __attribute__((always_inline)) __m512i element8(const struct piece8 *p, int64_t n, int64_t offset, __m512i fill, const int step, const int kind) {
    if (kind == WHOLE8) return _mm512_loadu_si512(p->at + offset);
    if (kind == MASKED8) return _mm512_mask_loadu_epi8(fill, p->lanes, p->at + offset);
    if (step == 1) {
        for (int64_t i = 0; i < n; i++) fill = _mm512_mask_loadu_epi8(fill, p[i].lanes, p[i].at + offset);
        return fill;
    }
    __m512i low = _mm512_and_si512(fill, _mm512_set1_epi16(255)), high = low; /* of which every other byte is an output's */
    for (int64_t i = 0; i < n; i++) {
        if (p[i].low) low = _mm512_mask_loadu_epi8(low, p[i].low, p[i].at + offset);
        if (p[i].high) high = _mm512_mask_loadu_epi8(high, p[i].high, p[i].at + offset + 64);
    }
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), _mm512_packus_epi16(low, high));
}

/* The windows of a tile as [4 elements][pixel][element], signs changed by `flip`. */
static inline __attribute__((always_inline)) void take_fours8(const struct planes8 *s, const struct piece8 *pieces, const int32_t *first, int64_t depth,
                                                              __m512i fill, __m512i flip, char *to, const int step, const int kind, const int vectors) {
    const int64_t taps = s->kernel_y * s->kernel_x;
    int64_t tap = 0, channel = 0;
    for (int64_t k = 0; k < depth; k += 4, to += 64 * vectors) {
        __m512i e[4];
        _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) {
            e[i] = fill;
            if (k + i >= depth) continue;
            const int32_t at = kind == PIECES8 ? first[tap] : (int32_t)tap;
            e[i] = element8(pieces + at, kind == PIECES8 ? first[tap + 1] - at : 1, channel, fill, step, kind);
            if (++tap == taps) tap = 0, channel += s->x_channel;
        }
        const __m512i a = _mm512_unpacklo_epi8(e[0], e[1]), b = _mm512_unpackhi_epi8(e[0], e[1]);
        const __m512i c = _mm512_unpacklo_epi8(e[2], e[3]), d = _mm512_unpackhi_epi8(e[2], e[3]);
        __m512i v[4] = {_mm512_unpacklo_epi16(a, c), _mm512_unpackhi_epi16(a, c), _mm512_unpacklo_epi16(b, d), _mm512_unpackhi_epi16(b, d)};
        if (vectors < 4) { /* the outputs that there are side by side */
            v[0] = vectors == 1 ? _mm512_inserti32x4(v[0], _mm512_castsi512_si128(v[1]), 1)
                                : _mm512_inserti64x4(v[0], _mm512_castsi512_si256(v[1]), 1);
            v[1] = vectors == 1 ? _mm512_inserti32x4(v[2], _mm512_castsi512_si128(v[3]), 1)
                                : _mm512_inserti64x4(v[2], _mm512_castsi512_si256(v[3]), 1);
            if (vectors == 1) v[0] = _mm512_inserti64x4(v[0], _mm512_castsi512_si256(v[1]), 1);
        }
        _Pragma("GCC unroll 4") for (int j = 0; j < vectors; j++) _mm512_store_si512(to + 64 * j, _mm512_xor_si512(v[j], flip));
    }
}
static inline int64_t vectors8(int64_t n) { return n <= 16 ? 1 : n <= 32 ? 2 : 4; }

/* `n` outputs from `pixel` on: what `depth` elements of their windows are. */
static void take_pixels8(const struct planes8 *s, const char *plane, int64_t pixel, int64_t n, int64_t depth, int32_t filler, int32_t flipped,
                         char *scratch, char *to) {
    int32_t *first = (int32_t *)scratch;
    struct piece8 *pieces = (struct piece8 *)(scratch + (4 * (s->kernel_y * s->kernel_x + 1) + 63) / 64 * 64);
    const __m512i fill = _mm512_set1_epi8((char)filler), flip = _mm512_set1_epi8((char)flipped);
    const int kind = find_pieces8(s, plane, pixel, n, pieces, first);
#define TAKE(step, kind, vectors) take_fours8(s, pieces, first, depth, fill, flip, to, step, kind, vectors)
    switch (vectors8(n) + 10 * s->stride_x) {
    case 11: TAKE(1, PIECES8, 1); break;
    case 12: TAKE(1, PIECES8, 2); break;
    case 21: TAKE(2, PIECES8, 1); break;
    case 22: TAKE(2, PIECES8, 2); break;
    case 24: TAKE(2, PIECES8, 4); break;
    default:
        if (kind == WHOLE8) TAKE(1, WHOLE8, 4);
        else if (kind == MASKED8) TAKE(1, MASKED8, 4);
        else TAKE(1, PIECES8, 4);
    }
#undef TAKE
}

/* What is near a half among sums of 64 outputs, once more in float64: the first n. */
static __attribute__((noinline)) void mend_panel8(const int32_t *sums, int64_t next, uint64_t halves, const struct filters8 *f, int64_t r,
                                                  int64_t n, char *out) {
    for (; halves; halves &= halves - 1) {
        const int64_t k = __builtin_ctzll(halves), vector = k / 32 * 2 + k % 2, lane = k % 32 / 2, at = lane / 4 * 16 + 4 * vector + lane % 4;
        if (at < n) out[at] = (char)exact_eighth(sums[vector * next + lane], f->scale[r], f->offset[r], f->zero_point, f->low, f->high);
    }
}

/* Rows of sums as the first n bytes of rows of `out`: results times 65536, so that a half is a whole number.  (By the function that
 * makes the sums, GCC keeps these on the stack: half as fast.) */
static __attribute__((noinline)) void round_panel8(const int32_t *sums, int64_t rows, int64_t vectors, const struct filters8 *f, int64_t n,
                                                   char *out, int64_t out_step) {
    const __m512i near = _mm512_set1_epi16((int16_t)f->near), twice = _mm512_add_epi16(near, near);
    const int64_t next = vectors == 4 ? 16 : 4 * vectors;
    const int is_signed = f->low < 0;
    for (int64_t r = 0; r < rows; r++, out += out_step, sums += 16 * vectors) {
        const __m512 by = _mm512_set1_ps(f->by[r]), plus = _mm512_set1_ps(f->plus[r]);
        __m512i s[4], i[4], v[4];
        _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++) {
            s[j] = _mm512_loadu_si512(sums + j * next);
            i[j] = _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_cvtepi32_ps(s[j]), by, plus));
            v[j] = _mm512_srai_epi32(i[j], 16);
        }
        const __m512i d = _mm512_packs_epi32(v[0], v[1]), e = _mm512_packs_epi32(v[2], v[3]);
        const __m512i bytes = is_signed ? _mm512_packs_epi16(d, e) : _mm512_packus_epi16(d, e);
        if (n >= 64) _mm512_storeu_si512(out, bytes);
        else _mm512_mask_storeu_epi8(out, ((__mmask64)1 << n) - 1, bytes);
        const __m512i a = _mm512_add_epi16(_mm512_mask_blend_epi16(0xaaaaaaaa, i[0], _mm512_slli_epi32(i[1], 16)), near);
        const __m512i b = _mm512_add_epi16(_mm512_mask_blend_epi16(0xaaaaaaaa, i[2], _mm512_slli_epi32(i[3], 16)), near);
        if (__builtin_expect(_mm512_cmple_epu16_mask(_mm512_min_epu16(a, b), twice), 0)) {
            const uint64_t halves = _mm512_cmple_epu16_mask(a, twice) | (uint64_t)_mm512_cmple_epu16_mask(b, twice) << 32;
            mend_panel8(sums, next, halves, f, r, n, out);
        }
    }
}

/* The sums of some filters, weights [4 elements of depth][filter][element], and pixels. */
#define PANEL8_ARGUMENTS const int32_t *w, const char *x, int64_t fours, const int32_t *start, int32_t *sums
static inline __attribute__((always_inline)) void panel8_body(PANEL8_ARGUMENTS, const int rows, const int vectors) {
    __m512i acc[PANEL8_ROWS][4];
    _Pragma("GCC unroll 6") for (int r = 0; r < rows; r++)
        _Pragma("GCC unroll 4") for (int j = 0; j < vectors; j++) acc[r][j] = _mm512_set1_epi32(start[r]);
    for (int64_t k = 0; k < fours; k++, w += rows, x += 64 * vectors) {
        __m512i v[4];
        _Pragma("GCC unroll 4") for (int j = 0; j < vectors; j++) v[j] = _mm512_load_si512(x + 64 * j);
        _Pragma("GCC unroll 6") for (int r = 0; r < rows; r++) {
            const __m512i tap = _mm512_set1_epi32(w[r]);
            _Pragma("GCC unroll 4") for (int j = 0; j < vectors; j++) acc[r][j] = (__m512i)dot((ints)acc[r][j], (ints)tap, (ints)v[j], 4);
        }
    }
    _Pragma("GCC unroll 6") for (int r = 0; r < rows; r++)
        _Pragma("GCC unroll 4") for (int j = 0; j < vectors; j++) _mm512_store_si512(sums + 16 * (vectors * r + j), acc[r][j]);
}
#define EACH_PANEL8(DO) DO(6) DO(5) DO(4) DO(3) DO(2) DO(1)
#define SHAPE(h, vectors)                                                                                                    \
    static __attribute__((noinline)) void panel8_##h##_##vectors(PANEL8_ARGUMENTS) { panel8_body(w, x, fours, start, sums, h, vectors); }
#define SHAPES(h) SHAPE(h, 1) SHAPE(h, 2) SHAPE(h, 4)
EACH_PANEL8(SHAPES)

/* The results of some filters and n outputs; `sums`: a tile of them. */
static void panel8_tile(const int32_t *w, const char *x, int64_t fours, const struct filters8 *f, int32_t *sums, int64_t rows, int64_t n,
                        char *out, int64_t out_step) {
    const int64_t vectors = vectors8(n);
#define CALL(h) case h: (vectors == 1 ? panel8_##h##_1 : vectors == 2 ? panel8_##h##_2 : panel8_##h##_4)(w, x, fours, f->start, sums); break;
    switch (rows) { EACH_PANEL8(CALL) }
    round_panel8(sums, rows, vectors, f, n, out, out_step);
#undef CALL
}
#undef SHAPES
#undef SHAPE
#undef EACH_PANEL8
#undef PANEL8_ARGUMENTS
#else /* these have no such instruction: conv8 does it all */
#define take_pixels8(...) ((void)0)
#define panel8_tile(...) ((void)0)
#endif

/* Weights of `rows` filters, `depth` each, as signed bytes [4 elements][filter][element], and their sums. */
static void take_weights8(const uint8_t *w, int64_t depth, int64_t rows, int32_t flip, uint32_t *to, int32_t *sums) {
    for (int64_t r = 0; r < rows; r++) {
        int32_t sum = 0;
        for (int64_t k = 0; k < depth; k++) sum += (int8_t)(w[r * depth + k] ^ flip);
        sums[r] = sum;
    }
    const uint32_t flips = 0x01010101 * (uint32_t)flip;
    const int64_t whole = depth / 4;
    for (int64_t k = 0; k < whole; k++)
        for (int64_t r = 0; r < rows; r++) {
            uint32_t four;
            memcpy(&four, w + r * depth + 4 * k, 4);
            to[k * rows + r] = four ^ flips;
        }
    for (int64_t r = 0; depth % 4 && r < rows; r++) {
        uint8_t four[4] = {0};
        for (int64_t k = 4 * whole; k < depth; k++) four[k - 4 * whole] = w[r * depth + k] ^ (uint8_t)flip;
        memcpy(to + whole * rows + r, four, 4);
    }
}
#endif
