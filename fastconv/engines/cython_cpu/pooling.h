/* Row operations of pooling: folds, divisions, scans, moves.
 *
 * A kind of pooling of a type is a PoolOps: what it begins with, how rows and columns are
 * folded over taps, how an accumulator becomes an element.  The loops over planes, rows and
 * windows are in pool.pxi.
 */
#ifndef FASTCONV_POOLING_H
#define FASTCONV_POOLING_H
#include "tiles_all.h"

typedef void (*Fold)(char *dst, const char *src, const int64_t *at, int64_t scale, int64_t taps, int64_t n, int resume);
typedef void (*Divide)(char *dst, const char *src, int64_t n, int64_t divisor);
typedef void (*Scan)(char *best, char *place, const char *src, const int64_t *at, int64_t scale, int64_t taps,
                     int64_t offset, int64_t step, int64_t n);

/* Neighbouring pixels' windows, of the same taps: where these are (bytes) and their places, from the window's corner. */
typedef struct {
    const int64_t *at, *place;
    int64_t taps, pixels, lanes;
    int64_t src_step;            /* bytes from a pixel's window to the next one's */
    int64_t corner, corner_step; /* positions in the plane */
} ScannedWindows;
typedef void (*ScanWindows)(char *out, char *idx, const char *src, const ScannedWindows *w);

typedef void (*Runs)(char *dst, const char *src, const int64_t *windows, int64_t n);
typedef void (*ScanRuns)(char *best, char *place, const char *src, const int64_t *windows, int64_t offset, int64_t n);

/* Lines that are called for so many bytes ahead come in time: 2x2 windows of 512 planes of 112x112 take 0.6 ms rather than 1.9. */
#define AHEAD 8192

typedef struct {
    int64_t size, acc_size, place_size; /* bytes of an element, an accumulator, a place */
    int64_t identity;                   /* bits of the accumulator of no taps */
    Fold fold_rows, fold_taps;
    Divide divide; /* NULL: the accumulator is the element */
    Scan scan;
    ScanWindows scan_windows;
    Runs fold_runs;
    ScanRuns scan_runs;
} PoolOps;

#define LOOSE __attribute__((aligned(1), may_alias))
typedef uint8_t any8 LOOSE;
typedef uint16_t any16 LOOSE;
typedef uint32_t any32 LOOSE;
typedef uint64_t any64 LOOSE;
typedef int32_t place32 LOOSE;

/* NaN is greater than all before it, as in PyTorch. */
#define GREATER(value, best) (((value) > (best)) | ((value) != (value)))
/* `yes` in the lanes where the mask is set: compiles to one masked move. */
#define BLEND(mask, yes, no) \
    ((__typeof__(yes))(((mask) & (__typeof__(mask))(yes)) | (~(mask) & (__typeof__(mask))(no))))
#define MAX(acc, value) BLEND(GREATER(value, acc), value, acc)
/* Without a branch that depends on which is greater. */
#define MAX1(acc, value) ((value) != (value) ? (value) : (value) > (acc) ? (value) : (acc))
#define ADD(acc, value) ((acc) + (value))

/* ---- by size alone ---------------------------------------------------------------------- */

#define FOR_SIZE(size, DO)             \
    switch (size) {                    \
        case 1: DO(any8) break;        \
        case 2: DO(any16) break;       \
        case 4: DO(any32) break;       \
        default: DO(any64)             \
    }

/* n elements of the given bits */
static void pool_fill(char *dst, int64_t bits, int64_t size, int64_t n) {
#define FILL(E) for (int64_t i = 0; i < n; i++) ((E *)dst)[i] = (E)bits;
    FOR_SIZE(size, FILL)
#undef FILL
}

/* n pixels of `lanes` elements from one place to another; steps in bytes */
static void pool_move(char *dst, int64_t dst_col, int64_t dst_lane, const char *src, int64_t src_col, int64_t src_lane,
                      int64_t n, int64_t lanes, int64_t size) {
    if (lanes == 1) lanes = n, n = 1, dst_lane = dst_col, src_lane = src_col; /* one long run */
    const int packed = dst_lane == size && src_lane == size;
    if (packed && dst_col == lanes * size && src_col == dst_col) lanes *= n, n = 1;
    if (packed && lanes * size >= 32) {
        for (int64_t i = 0; i < n; i++) memcpy(dst + i * dst_col, src + i * src_col, lanes * size);
        return;
    }
#define MOVE_LANES(E, lanes)            \
    for (int64_t i = 0; i < n; i++)     \
        for (int64_t c = 0; c < lanes; c++) \
            *(E *)(dst + i * dst_col + c * dst_lane) = *(const E *)(src + i * src_col + c * src_lane);
#define MOVE(E)                                      \
    switch (lanes) { /* pictures: twice as fast */   \
        case 2: MOVE_LANES(E, 2) break;              \
        case 3: MOVE_LANES(E, 3) break;              \
        case 4: MOVE_LANES(E, 4) break;              \
        default: MOVE_LANES(E, lanes)                \
    }
    FOR_SIZE(size, MOVE)
#undef MOVE
#undef MOVE_LANES
}

/* The even and the odd ones of 2n elements, n rounded up to whole vectors: all is scratch memory. */
static void pool_split(char *even_bytes, char *odd_bytes, const char *src_bytes, int64_t n, int64_t size) {
#define SPLIT(E)                                                                       \
    {                                                                                  \
        E *restrict even = (E *)even_bytes, *restrict odd = (E *)odd_bytes;            \
        const E *restrict src = (const E *)src_bytes;                                  \
        const uint64_t lanes = VECTOR_BYTES / sizeof(E), whole = (n + lanes - 1) / lanes * lanes; \
        for (uint64_t i = 0; i < whole; i++) even[i] = src[2 * i], odd[i] = src[2 * i + 1]; \
    }
    FOR_SIZE(size, SPLIT)
#undef SPLIT
}

/* Positions in the plane of n pixels' maxima: `place` counts from the corner of the pixel's window, -1 is none; those of
 * a pixel begin `pitch` places after those of the one before. */
static void pool_positions(char *dst, const char *place, int64_t size, int64_t corner, int64_t step, int64_t n,
                           int64_t lanes, int64_t pitch) {
    typedef int64_t position LOOSE;
    int64_t lane_step = 0;
    if (lanes == 1) lanes = n, n = 1, lane_step = step;
#define POSITIONS(E)                                                                      \
    for (int64_t i = 0; i < n; i++)                                                       \
        for (int64_t c = 0; c < lanes; c++) {                                             \
            const int64_t at = ((const E *)place)[i * pitch + c];                         \
            ((position *)dst)[i * lanes + c] = at < 0 ? -1 : at + corner + i * step + c * lane_step; \
        }
    if (size == 4) { POSITIONS(place32) }
    else { POSITIONS(position) }
#undef POSITIONS
}

#include "pool_convert.h"
#include "pool_lanes.h"

/* ---- by type ---------------------------------------------------------------------------- */

#define PASTE2(a, b) a##b
#define PASTE(a, b) PASTE2(a, b)

#define T int8_t
#define PLACE int32_t
#define LOWEST -0x80
#define NAME(x) x##_i8
#include "pool_max.h"
#define T uint8_t
#define PLACE int32_t
#define LOWEST 0
#define NAME(x) x##_u8
#include "pool_max.h"
#define T int16_t
#define PLACE int32_t
#define LOWEST -0x8000
#define NAME(x) x##_i16
#include "pool_max.h"
#define T uint16_t
#define PLACE int32_t
#define LOWEST 0
#define NAME(x) x##_u16
#include "pool_max.h"
#define T int32_t
#define PLACE int32_t
#define LOWEST INT32_MIN
#define NAME(x) x##_i32
#include "pool_max.h"
#define T uint32_t
#define PLACE int32_t
#define LOWEST 0
#define NAME(x) x##_u32
#include "pool_max.h"
#define T int64_t
#define PLACE int64_t
#define LOWEST INT64_MIN
#define NAME(x) x##_i64
#include "pool_max.h"
#define T uint64_t
#define PLACE int64_t
#define LOWEST 0
#define NAME(x) x##_u64
#include "pool_max.h"
#define T float
#define PLACE int32_t
#define LOWEST 0xff800000
#define NAME(x) x##_f32
#define SUFFIX f32
#include "pool_max.h"
#define T double
#define PLACE int64_t
#define LOWEST 0xfff0000000000000
#define NAME(x) x##_f64
#define SUFFIX f64
#include "pool_max.h"

#define ACC int16_t
#include "pool_sum.h"
#define ACC uint16_t
#include "pool_sum.h"
#define ACC int32_t
#include "pool_sum.h"
#define ACC uint64_t
#include "pool_sum.h"
#define ACC float
#define SUFFIX f32
#include "pool_sum.h"
#define ACC double
#define SUFFIX f64
#include "pool_sum.h"

/* Integer quotients truncate toward zero.  Sums below 2^24 divide exactly in float, those below 2^31 in double:
 * a quotient that is not whole is further from the next whole number than rounding can move it. */
#define FRACTION(sum, divisor) ((sum) / (__typeof__(sum))(divisor))
#define IN_FLOAT(sum, divisor) ((int32_t)((float)(sum) / (float)(divisor)))
#define IN_DOUBLE(sum, divisor) ((int32_t)((double)(sum) / (double)(divisor)))
#define SIGNED(sum, divisor) ((int64_t)(sum) / (divisor))
#define UNSIGNED(sum, divisor) ((sum) / (uint64_t)(divisor))

#define T int8_t
#define MID int16_t
#define ACC int16_t
#define QUOTIENT IN_FLOAT
#define NAME(x) x##_i8_16
#include "pool_average.h"
#define T uint8_t
#define MID uint16_t
#define ACC uint16_t
#define QUOTIENT IN_FLOAT
#define NAME(x) x##_u8_16
#include "pool_average.h"
#define T int8_t
#define MID int16_t
#define ACC int32_t
#define QUOTIENT IN_DOUBLE
#define NAME(x) x##_i8_32
#include "pool_average.h"
#define T uint8_t
#define MID uint16_t
#define ACC int32_t
#define QUOTIENT IN_DOUBLE
#define NAME(x) x##_u8_32
#include "pool_average.h"
#define T int16_t
#define MID int32_t
#define ACC int32_t
#define QUOTIENT IN_DOUBLE
#define NAME(x) x##_i16_32
#include "pool_average.h"
#define T uint16_t
#define MID int32_t
#define ACC int32_t
#define QUOTIENT IN_DOUBLE
#define NAME(x) x##_u16_32
#include "pool_average.h"
#define T int8_t
#define MID int32_t
#define ACC uint64_t
#define QUOTIENT SIGNED
#define NAME(x) x##_i8_64
#include "pool_average.h"
#define T uint8_t
#define MID uint32_t
#define ACC uint64_t
#define QUOTIENT UNSIGNED
#define NAME(x) x##_u8_64
#include "pool_average.h"
#define T int16_t
#define MID int32_t
#define ACC uint64_t
#define QUOTIENT SIGNED
#define NAME(x) x##_i16_64
#include "pool_average.h"
#define T uint16_t
#define MID uint32_t
#define ACC uint64_t
#define QUOTIENT UNSIGNED
#define NAME(x) x##_u16_64
#include "pool_average.h"
#define T int32_t
#define MID int64_t
#define ACC uint64_t
#define QUOTIENT SIGNED
#define NAME(x) x##_i32_64
#include "pool_average.h"
#define T uint32_t
#define MID uint64_t
#define ACC uint64_t
#define QUOTIENT UNSIGNED
#define NAME(x) x##_u32_64
#include "pool_average.h"
#define T int64_t
#define MID uint64_t
#define ACC uint64_t
#define QUOTIENT SIGNED
#define NAME(x) x##_i64_64
#include "pool_average.h"
#define T uint64_t
#define MID uint64_t
#define ACC uint64_t
#define QUOTIENT UNSIGNED
#define NAME(x) x##_u64_64
#include "pool_average.h"
#define T float
#define MID float
#define ACC float
#define QUOTIENT FRACTION
#define NAME(x) x##_f32
#include "pool_average.h"
#define T double
#define MID double
#define ACC double
#define QUOTIENT FRACTION
#define NAME(x) x##_f64
#include "pool_average.h"

#include "pool_planes.h"

/* By DTYPE_CODES. */
static const PoolOps *const MAX_POOL[] = {
    [BOOL] = &max_pool_u8, [INT8] = &max_pool_i8, [UINT8] = &max_pool_u8, [INT16] = &max_pool_i16,
    [UINT16] = &max_pool_u16, [INT32] = &max_pool_i32, [UINT32] = &max_pool_u32, [INT64] = &max_pool_i64,
    [UINT64] = &max_pool_u64, [FLOAT32] = &max_pool_f32, [FLOAT64] = &max_pool_f64,
};

/* Averages by the bytes that sums of the window's taps need: see SUM_LEVEL. */
static const PoolOps *const AVG_POOL[3][FLOAT64 + 1] = {
    {
        [INT8] = &avg_pool_i8_16, [UINT8] = &avg_pool_u8_16, [INT16] = &avg_pool_i16_32,
        [UINT16] = &avg_pool_u16_32, [INT32] = &avg_pool_i32_64, [UINT32] = &avg_pool_u32_64,
        [INT64] = &avg_pool_i64_64, [UINT64] = &avg_pool_u64_64, [FLOAT32] = &avg_pool_f32,
        [FLOAT64] = &avg_pool_f64,
    },
    {
        [INT8] = &avg_pool_i8_32, [UINT8] = &avg_pool_u8_32, [INT16] = &avg_pool_i16_32,
        [UINT16] = &avg_pool_u16_32, [INT32] = &avg_pool_i32_64, [UINT32] = &avg_pool_u32_64,
        [INT64] = &avg_pool_i64_64, [UINT64] = &avg_pool_u64_64, [FLOAT32] = &avg_pool_f32,
        [FLOAT64] = &avg_pool_f64,
    },
    {
        [INT8] = &avg_pool_i8_64, [UINT8] = &avg_pool_u8_64, [INT16] = &avg_pool_i16_64,
        [UINT16] = &avg_pool_u16_64, [INT32] = &avg_pool_i32_64, [UINT32] = &avg_pool_u32_64,
        [INT64] = &avg_pool_i64_64, [UINT64] = &avg_pool_u64_64, [FLOAT32] = &avg_pool_f32,
        [FLOAT64] = &avg_pool_f64,
    },
};
/* 255 elements of 8 bits add up to 16, 32768 of up to 16 bits to 32. */
#define SUM_LEVEL(taps) ((taps) <= 255 ? 0 : (taps) <= 32768 ? 1 : 2)

#endif
