/* Row operations of moving windows: staging, folds, divisions.
 *
 * A kind of window of a type is a WindowOps.  Accumulators of tiles lie in scratch memory without
 * gaps, so that a fold is one flat loop over the tile, whether it goes along rows or down columns:
 *
 *     dst[i] = src[0][i] OP src[1][i] OP ...   for 0 <= i < n, with 2 to 4 sources (1: a copy)
 *
 * dst may be src[0] if the other sources lie behind it.  Loops run over whole vectors: n is
 * rounded up to 64 bytes.
 */
#ifndef FASTCONV_SLIDING_H
#define FASTCONV_SLIDING_H
#include "pooling.h"

typedef struct {
    int64_t size; /* bytes of an accumulator */
    void (*load)(char *dst, const char *memory, int64_t step, int64_t n, int64_t code);
    void (*save)(const char *src, char *memory, int64_t step, int64_t n, int64_t code);
    void (*fold)(char *dst, const char *const *src, int64_t taps, int64_t n);
    void (*divide)(char *dst, int64_t n, int64_t divisor, int64_t factor, int64_t shift); /* NULL: no mean */
} WindowOps;

/* NaN is the extreme of every window that it is in. */
#define LARGER(a, b) ((a) != (a) ? (a) : (a) > (b) ? (a) : (b))
#define SMALLER(a, b) ((a) != (a) ? (a) : (a) < (b) ? (a) : (b))

#define EACH(T, EXPRESSION)                                          \
    {                                                                \
        const int64_t lanes = 64 / sizeof(T);                        \
        n = (n + lanes - 1) / lanes * lanes;                         \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) { EXPRESSION; } \
    }

#define FOLD_WINDOWS(T, NAME, OP)                                                          \
    static void NAME(char *to, const char *const *src, int64_t taps, int64_t n) {          \
        T *dst = (T *)to;                                                                  \
        const T *a = (const T *)src[0], *b = (const T *)src[1], *c = (const T *)src[2], *d = (const T *)src[3]; \
        switch (taps) {                                                                    \
            case 1: EACH(T, dst[i] = a[i]) break;                                         \
            case 2: EACH(T, dst[i] = OP(a[i], b[i])) break;                               \
            case 3: EACH(T, const T ab = OP(a[i], b[i]); dst[i] = OP(ab, c[i])) break;     \
            case 4: EACH(T, const T ab = OP(a[i], b[i]); const T cd = OP(c[i], d[i]); dst[i] = OP(ab, cd)) \
        }                                                                                  \
    }

/* Elements that are compared as they are stored. */
#define COPY_RUN(E)                                                                                               \
    static void load_##E(char *dst, const char *memory, int64_t step, int64_t n, int64_t code) {                  \
        if (step == (int64_t)sizeof(E)) memcpy(dst, memory, n * sizeof(E));                                       \
        else for (int64_t i = 0; i < n; i++) ((E *)dst)[i] = *(const E *)(memory + i * step);                     \
    }                                                                                                             \
    static void save_##E(const char *src, char *memory, int64_t step, int64_t n, int64_t code) {                  \
        if (step == (int64_t)sizeof(E)) memcpy(memory, src, n * sizeof(E));                                       \
        else for (int64_t i = 0; i < n; i++) *(E *)(memory + i * step) = ((const E *)src)[i];                     \
    }
COPY_RUN(any8)
COPY_RUN(any16)
COPY_RUN(any32)
COPY_RUN(any64)
#undef COPY_RUN

#define T uint16_t
#define IS_FLOAT 0
#define NAME(x) x##_u16
#include "convert.h"
#undef T
#undef NAME

/* Elements that become accumulators of another type. */
#define CONVERT_RUN(T, suffix)                                                                              \
    static void load_##suffix(char *dst, const char *memory, int64_t step, int64_t n, int64_t code) {       \
        stage_run_##suffix((T *)dst, memory, step, n, code);                                                \
    }                                                                                                       \
    static void save_##suffix(const char *src, char *memory, int64_t step, int64_t n, int64_t code) {       \
        store_run_##suffix((const T *)src, memory, step, n, code);                                          \
    }
CONVERT_RUN(uint16_t, u16)
CONVERT_RUN(float, f32)
CONVERT_RUN(double, f64)
#undef CONVERT_RUN

#define EXTREMES(T, suffix, LOAD, SAVE)                                                                        \
    FOLD_WINDOWS(T, fold_larger_##suffix, LARGER)                                                              \
    FOLD_WINDOWS(T, fold_smaller_##suffix, SMALLER)                                                            \
    static const WindowOps larger_##suffix = {sizeof(T), LOAD, SAVE, fold_larger_##suffix, NULL};              \
    static const WindowOps smaller_##suffix = {sizeof(T), LOAD, SAVE, fold_smaller_##suffix, NULL};
EXTREMES(int8_t, i8, load_any8, save_any8)
EXTREMES(uint8_t, u8, load_any8, save_any8)
EXTREMES(int16_t, i16, load_any16, save_any16)
EXTREMES(uint16_t, u16, load_any16, save_any16)
EXTREMES(int32_t, i32, load_any32, save_any32)
EXTREMES(uint32_t, u32, load_any32, save_any32)
EXTREMES(int64_t, i64, load_any64, save_any64)
EXTREMES(uint64_t, u64, load_any64, save_any64)
EXTREMES(float, f32, load_any32, save_any32)
EXTREMES(double, f64, load_f64, save_f64)
#undef EXTREMES

/* Sums in 16 bits are divided as floor(sum * factor / 2^(16 + shift)); see `_reciprocal` of algorithms/sliding.py. */
#define DIVIDED(v) (v) / by
#define SCALED(v) (uint16_t)(((uint32_t)(v) * by) >> 16) >> shift
#define MEAN(T, suffix, QUOTIENT, number)                                                                   \
    FOLD_WINDOWS(T, fold_sum_##suffix, ADD)                                                                 \
    static void divide_sum_##suffix(char *at, int64_t n, int64_t divisor, int64_t factor, int64_t shift) {      \
        T *dst = (T *)at;                                                                                   \
        const T by = (T)(number);                                                                           \
        EACH(T, dst[i] = QUOTIENT(dst[i]))                                                                \
    }                                                                                                       \
    static const WindowOps mean_##suffix = {sizeof(T), load_##suffix, save_##suffix, fold_sum_##suffix, divide_sum_##suffix};
MEAN(uint16_t, u16, SCALED, factor)
MEAN(float, f32, DIVIDED, divisor)
MEAN(double, f64, DIVIDED, divisor)
#undef MEAN
#undef DIVIDED
#undef SCALED
#undef FOLD_WINDOWS

/* By WINDOW_KINDS and DTYPE_CODES of fastconv.engines.contract. */
static const WindowOps *const WINDOW_OPS[3][FLOAT64 + 1] = {
    {&larger_u8, &larger_i8, &larger_u8, &larger_i16, &larger_u16, &larger_i32, &larger_u32, &larger_i64, &larger_u64,
     &larger_f32, &larger_f64},
    {&smaller_u8, &smaller_i8, &smaller_u8, &smaller_i16, &smaller_u16, &smaller_i32, &smaller_u32, &smaller_i64,
     &smaller_u64, &smaller_f32, &smaller_f64},
    {[UINT16] = &mean_u16, [FLOAT32] = &mean_f32, [FLOAT64] = &mean_f64},
};

/* Taps of a structure: dst[i] = (src[0][i] + numbers[0]) OP (src[1][i] + numbers[1]) ... */
#define FOLD_RAISED(NAME, OP)                                                                                  \
    static void NAME(char *to, const char *const *src, const double *numbers, int64_t taps, int64_t n) {       \
        double *dst = (double *)to;                                                                            \
        const double *a = (const double *)src[0], *b = (const double *)src[1];                                 \
        const double *c = (const double *)src[2], *d = (const double *)src[3];                                 \
        const double an = numbers[0], bn = numbers[1], cn = numbers[2], dn = numbers[3];                       \
        switch (taps) {                                                                                        \
            case 1: EACH(double, dst[i] = a[i] + an) break;                                                    \
            case 2: EACH(double, const double v = a[i] + an; const double w = b[i] + bn; dst[i] = OP(v, w)) break; \
            case 3: EACH(double, const double v = a[i] + an; const double w = b[i] + bn; const double x = c[i] + cn; \
                         const double vw = OP(v, w); dst[i] = OP(vw, x)) break;                                \
            case 4: EACH(double, const double v = a[i] + an; const double w = b[i] + bn; const double x = c[i] + cn; \
                         const double y = d[i] + dn; const double vw = OP(v, w); const double xy = OP(x, y);   \
                         dst[i] = OP(vw, xy))                                                                  \
        }                                                                                                      \
    }
FOLD_RAISED(fold_larger_raised, LARGER)
FOLD_RAISED(fold_smaller_raised, SMALLER)
#undef FOLD_RAISED
#undef EACH
#endif
