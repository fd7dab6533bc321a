/* Sums of products of 8-bit numbers, four of them at a time, and what becomes of the sums.
 *
 * A register of weights has `together` neighbouring elements of a window for each filter, in 4 bytes: as many elements of a pixel
 * are broadcast, multiplied and added to the sums by one instruction.  Four bytes with VNNI (unsigned elements of the image,
 * signed weights), else two 16-bit numbers, or one of 32 bits where processors have neither.  Nothing saturates on the way
 * (vpmaddubsw would). */
#ifndef FASTCONV_CONV8_H
#define FASTCONV_CONV8_H
#include <stdint.h>
#include <string.h>

typedef int32_t ints __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t loose_ints __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
typedef int32_t loose_int __attribute__((aligned(1), may_alias));
enum { INTS = VECTOR_BYTES / 4, DOT_LANES = GEMM_COLS * VECTOR_BYTES / 4 };

/* How many elements one instruction multiplies and adds. */
static int64_t dot_together(void) {
#if defined(__AVX512F__)
    return __builtin_cpu_supports("avx512vnni") ? 4 : 2;
#elif defined(__SSE2__)
    return 2;
#else
    return 1;
#endif
}

static inline __attribute__((always_inline)) ints dot(ints sum, ints w, ints x, const int together) {
#if defined(__AVX512F__)
    if (together == 4) { /* by name: this file is compiled for processors without it, too */
        __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w));
        return sum;
    }
    return sum + (ints)_mm512_madd_epi16((__m512i)w, (__m512i)x);
#elif defined(__AVX2__)
    return sum + (ints)_mm256_madd_epi16((__m256i)w, (__m256i)x);
#elif defined(__SSE2__)
    return sum + (ints)__builtin_ia32_pmaddwd128((short __attribute__((vector_size(16))))w, (short __attribute__((vector_size(16))))x);
#else
    return sum + w * x;
#endif
}

/* Sums of `rows` pixels: a window is `segments` runs of `quads` times 4 bytes, segment_of[] bytes from its corner. */
#define DOTS_ARGUMENTS                                                                                                      \
    const char *w, const char *src, const int64_t *pixel_of, const int64_t *segment_of, int64_t segments, int64_t quads,    \
        const int32_t *start, int32_t *sums
static inline __attribute__((always_inline)) void dots_body(DOTS_ARGUMENTS, const int rows, const int cols, const int together) {
    ints acc[GEMM_ROWS][GEMM_COLS];
    const char *pixel[GEMM_ROWS];
    _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++) {
        pixel[r] = src + pixel_of[r];
        _Pragma("GCC unroll 4") for (int j = 0; j < cols; j++) acc[r][j] = *(const loose_ints *)(start + j * INTS);
    }
    for (int64_t s = 0; s < segments; s++) {
        const int64_t end = segment_of[s] + 4 * quads;
        for (int64_t k = segment_of[s]; k < end; k += 4, w += 4 * DOT_LANES) {
            ints taps[GEMM_COLS];
            _Pragma("GCC unroll 4") for (int j = 0; j < cols; j++) taps[j] = *(const loose_ints *)(w + j * VECTOR_BYTES);
            _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++) {
                const ints x = *(const loose_int *)(pixel[r] + k) - (ints){0};
                _Pragma("GCC unroll 4") for (int j = 0; j < cols; j++) acc[r][j] = dot(acc[r][j], taps[j], x, together);
            }
        }
    }
    _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++)
        _Pragma("GCC unroll 4") for (int j = 0; j < cols; j++) *(loose_ints *)(sums + r * DOT_LANES + j * INTS) = acc[r][j];
}

#if GEMM_ROWS == 14
#define EACH_HEIGHT(DO) DO(14) DO(10) DO(7) DO(4) DO(2) DO(1)
#else
#define EACH_HEIGHT(DO) DO(6) DO(4) DO(2) DO(1)
#endif
static inline int64_t dots_height(int64_t left) {
#define TRY(h) if (left >= h) return h;
    EACH_HEIGHT(TRY)
#undef TRY
    return 0;
}

#define SHAPE(h, cols, together)                                                                                            \
    static __attribute__((noinline)) void dots_##h##_##cols##_##together(DOTS_ARGUMENTS) {                                  \
        dots_body(w, src, pixel_of, segment_of, segments, quads, start, sums, h, cols, together);                           \
    }
#if defined(__AVX512F__)
#define SHAPES(h) SHAPE(h, 1, 4) SHAPE(h, 2, 4) SHAPE(h, 1, 2) SHAPE(h, 2, 2)
#define WIDE(h) (together == 4 ? dots_##h##_2_4 : dots_##h##_2_2)
#define NARROW(h) (together == 4 ? dots_##h##_1_4 : dots_##h##_1_2)
#else
#define SHAPES(h) SHAPE(h, 1, 2) SHAPE(h, 2, 2)
#define WIDE(h) dots_##h##_2_2
#define NARROW(h) dots_##h##_1_2
#endif
EACH_HEIGHT(SHAPES)

static void dots(DOTS_ARGUMENTS, int64_t rows, int64_t lanes, int64_t together) {
    switch (rows) {
#define CALL(h)                                                                                                             \
    case h:                                                                                                                 \
        (lanes > INTS ? WIDE(h) : NARROW(h))(w, src, pixel_of, segment_of, segments, quads, start, sums);                   \
        break;
        EACH_HEIGHT(CALL)
#undef CALL
    }
}
#undef SHAPES
#undef SHAPE
#undef WIDE
#undef NARROW
#undef EACH_HEIGHT

/* What a zero point of the weights adds to the sums of a pixel: as much of the sum of its window. */
static inline void less_windows(int32_t *sums, int64_t rows, const int32_t *zero, const int32_t *window) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < DOT_LANES; i++) sums[r * DOT_LANES + i] = (int32_t)((uint32_t)sums[r * DOT_LANES + i] - (uint32_t)zero[i] * (uint32_t)window[r]);
}

static inline int32_t sum_of_window(const char *at, const int64_t *segment_of, int64_t segments, int64_t run) {
    uint32_t sum = 0;
    for (int64_t s = 0; s < segments; s++)
        for (int64_t i = 0; i < run; i++) sum += ((const uint8_t *)at)[segment_of[s] + i];
    return (int32_t)sum;
}

/* Staged bytes, as unsigned (int8: 128 more), or less their zero point as wider numbers. */
static inline void offset_bytes(uint8_t *at, int64_t n) { for (int64_t i = 0; i < n; i++) at[i] ^= 128; }
#define WIDEN(T, name)                                                                                                      \
    static inline void name(T *to, const char *from, int64_t n, int signed_bytes, int32_t shift) {                          \
        if (signed_bytes)                                                                                                   \
            for (int64_t i = 0; i < n; i++) to[i] = (T)(((const int8_t *)from)[i] - shift);                                 \
        else                                                                                                                \
            for (int64_t i = 0; i < n; i++) to[i] = (T)(((const uint8_t *)from)[i] - shift);                                \
    }
WIDEN(int16_t, widen_16)
WIDEN(int32_t, widen_32)
#undef WIDEN
static inline void staged_bytes(char *to, const char *from, int64_t n, int signed_bytes, int32_t shift, int64_t together) {
    if (together == 2) widen_16((int16_t *)to, from, n, signed_bytes, shift);
    else if (together == 1) widen_32((int32_t *)to, from, n, signed_bytes, shift);
    else if (signed_bytes) offset_bytes((uint8_t *)to, n);
}

/* A row of n pixels: where their windows begin, and where their results go. */
static inline void place_row(int64_t *restrict pixel_of, int64_t *restrict out_of, int64_t n, int64_t first, int64_t step,
                             int64_t to, int64_t to_step) {
    for (int64_t i = 0; i < n; i++) pixel_of[i] = first + i * step, out_of[i] = to + i * to_step;
}

/* to[f * to_step + p * size] = from[p * from_step + f * size]: pixels of filters become planes, and planes pixels. */
static void turn_dots(const char *from, int64_t from_step, char *to, int64_t to_step, int64_t pixels, int64_t filters, int64_t size) {
    const int64_t k = 16 / size;
    for (int64_t p = 0; p < pixels; p += k) {
        const int64_t at = p + k <= pixels || pixels < k ? p : pixels - k;
        transpose(from + at * from_step, from_step, to + at * size, to_step, pixels < k ? pixels : k, filters, size);
    }
}
#endif
