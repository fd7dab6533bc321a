/* Row operations of moving windows: staging, folds, windows down the columns, means.
 *
 * A kind of window of a type is a WindowOps.  Rows lie in scratch memory, in whole vectors, those of a
 * few rows without gaps: a fold along all of them is one loop.
 */
#ifndef FASTCONV_SLIDING_H
#define FASTCONV_SLIDING_H
#include "sliding_lanes.h"

/* How sums become means: by the divisor, if the quotient is to be the nearest number; else by a product that is
 * almost always the nearest.  Sums in 16 bits: floor(sum * factor / 2^(16 + shift)), `_reciprocal` of algorithms/sliding.py. */
typedef struct {
    int64_t divisor, factor, shift, nearest;
} Quotient;

/* Memory that is called for before it is used: the rows of the output, and what rows of the image hold `by` bytes on.
 * Windows down read memory and windows across write it, in turns: neither alone keeps it busy. */
typedef struct {
    const char *out;
    int64_t out_step, by;
    const char *const *row; /* NULL: nothing is */
} Ahead;

typedef int (*Few)(char *dst, int64_t step, const char *const *row, int64_t n, const Quotient *q, const Ahead *ahead);
typedef void (*Around)(char *dst, int64_t step, const char *const *before, const char *core, const char *const *after,
                       int64_t n, const Quotient *q, const Ahead *ahead);

/* Windows down the columns. */
typedef struct {
    Few twos, threes, fives;
    Around fours;
    int (*eights)(char *dst, int64_t step, const char *const *row, int64_t taps, const char *const *core, int64_t cores,
                  char *block, int64_t n, const Quotient *q, const Ahead *ahead);
    void (*gather)(char *dst, const char *const *row, int64_t rows, const char *like, int64_t n);
} Downwards;

typedef struct {
    int64_t size; /* bytes of an accumulator */
    void (*load)(char *dst, const char *memory, int64_t step, int64_t n, int64_t code);
    void (*save)(const char *src, char *memory, int64_t step, int64_t n, int64_t code);
    void (*fold)(char *dst, const char *const *src, int64_t count, int64_t n);
    void (*last)(char *dst, int64_t dst_step, const char *const *src, int64_t src_step, int64_t count, int64_t rows, int64_t n,
                 const Quotient *q, const Ahead *ahead);
    Downwards down;
    void (*overlapping)(char *dst, int64_t dst_step, char *src, int64_t src_step, int64_t taps, int64_t rows, int64_t n,
                   const Ahead *ahead); /* or NULL: by folds */
} WindowOps;

/* Elements that are compared as they are stored. */
#define COPY_RUN(E)                                                                                               \
    static void load_##E(char *restrict dst, const char *restrict memory, int64_t step, int64_t n, int64_t code) {                  \
        if (step == (int64_t)sizeof(E)) memcpy(dst, memory, n * sizeof(E));                                       \
        /* steps for which GCC vectorises, as in convert.h */                                                     \
        else if (step == -(int64_t)sizeof(E)) for (int64_t i = 0; i < n; i++) ((E *)dst)[i] = ((const E *)memory)[-i];      \
        else if (step == 2 * (int64_t)sizeof(E)) for (int64_t i = 0; i < n; i++) ((E *)dst)[i] = ((const E *)memory)[2 * i]; \
        else if (step == 3 * (int64_t)sizeof(E)) for (int64_t i = 0; i < n; i++) ((E *)dst)[i] = ((const E *)memory)[3 * i]; \
        else if (step == 4 * (int64_t)sizeof(E)) for (int64_t i = 0; i < n; i++) ((E *)dst)[i] = ((const E *)memory)[4 * i]; \
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
#define LANES ((int64_t)(VECTOR_BYTES / sizeof(T)))
#define IS_FLOAT 0
#define NAME(x) x##_u16
#include "convert.h"
#undef LANES
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

#define S i8
#define BITS 8
#include "sliding_extremes.h"
#define S u8
#define BITS 8
#include "sliding_extremes.h"
#define S i16
#define BITS 16
#include "sliding_extremes.h"
#define S u16
#define BITS 16
#include "sliding_extremes.h"
#define S i32
#define BITS 32
#include "sliding_extremes.h"
#define S u32
#define BITS 32
#include "sliding_extremes.h"
#define S i64
#define BITS 64
#include "sliding_extremes.h"
#define S u64
#define BITS 64
#include "sliding_extremes.h"
#define WITH_NUMBERS /* floats without a NaN too: what keeps NaN takes twice as many instructions */
#define S f32
#define BITS 32
#include "sliding_extremes.h"
/* 64-bit floats also stand for elements of other types. */
#define S f64
#define LOAD load_f64
#define SAVE save_f64
#define DIVISION
#define RESULT(v) (v)
#define KIND larger
#define OP larger_f64
#include "sliding_kind.h"
#define KIND smaller
#define OP smaller_f64
#include "sliding_kind.h"
#define OF_NUMBERS
#define KIND quick_larger
#define OP quick_larger_f64
#include "sliding_kind.h"
#define KIND quick_smaller
#define OP quick_smaller_f64
#include "sliding_kind.h"
#undef OF_NUMBERS
#undef WITH_NUMBERS
#undef DIVISION
#undef RESULT
#undef LOAD
#undef SAVE
#undef S

#define OF_FLOATS(T, s)                                                                                       \
    static inline lanes_##s quotient_##s(lanes_##s v, T by, T near, T rest, int nearest) {                    \
        if (nearest) return v / by;                                                                           \
        lanes_##s low = v * rest;                                                                             \
        HOLD(low); /* v * near + low is one operation, rounded once */                                        \
        return v * near + low;                                                                                \
    }
OF_FLOATS(float, f32)
OF_FLOATS(double, f64)
#undef OF_FLOATS
/* 1 / divisor in two parts, both above 0, so that infinities stay what they are. */
#define DIVISION_OF(T, epsilon)                                                                               \
    const T by = (T)q->divisor, near = (T)((T)1 / by * (1 - 2 * (T)epsilon));                                 \
    const T rest = (T)(__builtin_fma(-(double)near, (double)by, 1.0) / (double)by);                           \
    const int nearest = !FUSED || q->nearest;
#if defined(__FMA__)
enum { FUSED = 1 };
#else
enum { FUSED = 0 };
#endif
#define KIND mean
#define S f32
#define OP(a, b) ((a) + (b))
#define LOAD load_f32
#define SAVE save_f32
#define DIVISION DIVISION_OF(float, 0x1p-24)
#define RESULT(v) quotient_f32(v, by, near, rest, nearest)
#include "sliding_kind.h"
#undef S
#undef LOAD
#undef SAVE
#undef DIVISION
#undef RESULT
#define KIND mean
#define S f64
#define OP(a, b) ((a) + (b))
#define LOAD load_f64
#define SAVE save_f64
#define DIVISION DIVISION_OF(double, 0x1p-53)
#define RESULT(v) quotient_f64(v, by, near, rest, nearest)
#include "sliding_kind.h"
#undef S
#undef LOAD
#undef SAVE
#undef DIVISION
#undef RESULT
#define KIND mean
#define S u16
#define OP(a, b) ((a) + (b))
#define LOAD load_u16
#define SAVE save_u16
#define DIVISION \
    const lanes_u16 factor = (lanes_u16){0} + (uint16_t)q->factor; \
    const int shift = (int)q->shift;
#define RESULT(v) (multiply_high(v, factor) >> shift)
#include "sliding_kind.h"
#undef S
#undef LOAD
#undef SAVE
#undef DIVISION
#undef RESULT

#include "sliding_bytes.h"

/* By WINDOW_KINDS and DTYPE_CODES of fastconv.engines.contract. */
static const WindowOps *const WINDOW_OPS[3][FLOAT64 + 1] = {
    {&ops_larger_u8, &ops_larger_i8, &ops_larger_u8, &ops_larger_i16, &ops_larger_u16, &ops_larger_i32, &ops_larger_u32,
     &ops_larger_i64, &ops_larger_u64, &ops_larger_f32, &ops_larger_f64},
    {&ops_smaller_u8, &ops_smaller_i8, &ops_smaller_u8, &ops_smaller_i16, &ops_smaller_u16, &ops_smaller_i32,
     &ops_smaller_u32, &ops_smaller_i64, &ops_smaller_u64, &ops_smaller_f32, &ops_smaller_f64},
    {[UINT8] = &ops_larger_u8 /* for staging: sliding_bytes.h has the means */, [UINT16] = &ops_mean_u16, [FLOAT32] = &ops_mean_f32, [FLOAT64] = &ops_mean_f64},
};

/* The same of numbers alone, and whether rows are that. */
static const WindowOps *const QUICK_OPS[3][FLOAT64 + 1] = {
    {[FLOAT32] = &ops_quick_larger_f32, [FLOAT64] = &ops_quick_larger_f64},
    {[FLOAT32] = &ops_quick_smaller_f32, [FLOAT64] = &ops_quick_smaller_f64},
};
static int rows_of_numbers(int64_t code, const char *const *row, int64_t rows, int64_t n) {
    return code == FLOAT32 ? rows_of_numbers_f32(row, rows, n) : rows_of_numbers_f64(row, rows, n);
}
static inline int is_number(int64_t code, const char *p) {
    const double value = code == FLOAT32 ? *(const float *)p : *(const double *)p;
    return value == value;
}

/* Taps of a structure: dst = (src[0] + numbers[0]) OP (src[1] + numbers[1]) ..., of 1 to 4 sources of n bytes. */
#define FOLD_RAISED(NAME, OP)                                                                                   \
    static void NAME(char *dst, const char *const *src, const double *numbers, int64_t count, int64_t n) {      \
        for (int64_t i = 0; i < n; i += VECTOR_BYTES) {                                                         \
            lanes_f64 best = *(const loose_f64 *)(src[0] + i) + numbers[0];                                     \
            for (int64_t k = 1; k < count; k++) best = OP(best, *(const loose_f64 *)(src[k] + i) + numbers[k]); \
            *(loose_f64 *)(dst + i) = best;                                                                     \
        }                                                                                                       \
    }
FOLD_RAISED(fold_larger_raised, larger_f64)
FOLD_RAISED(fold_smaller_raised, smaller_f64)
#undef FOLD_RAISED
#endif
